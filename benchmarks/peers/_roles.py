"""Kernel scenarios that only tell: written once against the Savina port."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from understudy.benchmarks.savina._port import Ref, Role, Stage
from understudy.benchmarks.savina._stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.benchmarks._bench import Bench

LIMIT = 60.0


def perform(bench: Bench, items: int, prepare: Callable[[Stage], Callable[[], object]]) -> Any:
    """Prepare on a stage, then time from the first message to the call of `done`.

    `prepare` spawns the actors and returns what sends the first message.
    """
    stage = STAGES[bench.peer]()
    stage.at_end = lambda: bench.end(items)

    def begin(stage: Stage) -> None:
        start = prepare(stage)
        bench.begin()
        start()

    result = stage.play(begin, LIMIT)
    stage.close()
    return result


class _Member(Role):
    def __init__(self) -> None:
        self.next: Ref

    def receive(self, message: Any) -> None:
        if message.__class__ is not int:
            self.next = message
        elif message == 0:
            self.done(None)
        else:
            self.next.tell(message - 1)


def ring(bench: Bench) -> None:
    """A hundred members, `size` hops."""

    def prepare(stage: Stage) -> Callable[[], object]:
        members = [stage.spawn(_Member) for _ in range(100)]
        for member, following in zip(members, members[1:] + members[:1], strict=True):
            member.tell(following)
        return lambda: members[0].tell(bench.size)

    perform(bench, bench.size, prepare)


class _Player(Role):
    def __init__(self, left: int) -> None:
        self.left = left

    def receive(self, other: Ref) -> None:
        if self.left == 0:
            self.done(None)
        else:
            self.left -= 1
            other.tell(self.me)


def ping_pong(bench: Bench) -> None:
    """Two players, `size` round trips."""

    def prepare(stage: Stage) -> Callable[[], object]:
        first, second = stage.spawn(_Player, bench.size), stage.spawn(_Player, bench.size + 1)
        return lambda: first.tell(second)

    perform(bench, bench.size, prepare)


class _Caller(Role):
    def __init__(self, rounds: int, count: int) -> None:
        self.rounds = rounds
        self.heard = 0
        self.listeners = [self.spawn(_Listener, self.me) for _ in range(count)]

    def receive(self, message: Any) -> None:
        del message
        self.heard -= 1
        if self.heard <= 0:
            if self.rounds == 0:
                self.done(None)
                return
            self.rounds -= 1
            self.heard = len(self.listeners)
            for listener in self.listeners:
                listener.tell("news")


class _Listener(Role):
    def __init__(self, caller: Ref) -> None:
        self.caller = caller

    def receive(self, message: Any) -> None:
        self.caller.tell(message)


def fan_out(bench: Bench) -> None:
    """Rounds of a hundred messages out and a hundred back; items are the messages out."""
    rounds = max(1, bench.size // 200)

    def prepare(stage: Stage) -> Callable[[], object]:
        caller = stage.spawn(_Caller, rounds, 100)
        return lambda: caller.tell("start")

    perform(bench, rounds * 100, prepare)


class _Everyone(Role):
    def __init__(self, seed: int, pings: int, counter: Ref) -> None:
        self.left = pings
        self.counter = counter
        self.random = random.Random(seed).random
        self.others: list[Ref] = []

    def receive(self, message: Any) -> None:
        if message is None:
            self.left -= 1
            if self.left:
                self.ping()
            else:
                self.counter.tell(None)
        elif message.__class__ is list:
            self.others = message
        elif message == "start":
            self.ping()
        else:
            message.tell(None)

    def ping(self) -> None:
        self.others[int(self.random() * len(self.others))].tell(self.me)


class _Counter(Role):
    def __init__(self, left: int) -> None:
        self.left = left

    def receive(self, message: Any) -> None:
        del message
        self.left -= 1
        if self.left == 0:
            self.done(None)


def big(bench: Bench) -> None:
    """Fifty actors, `size` pings in all."""
    each = max(1, bench.size // 50)

    def prepare(stage: Stage) -> Callable[[], object]:
        counter = stage.spawn(_Counter, 50)
        refs = [stage.spawn(_Everyone, i, each, counter) for i in range(50)]
        for ref in refs:
            ref.tell(refs)

        def start() -> None:
            for ref in refs:
                ref.tell("start")

        return start

    perform(bench, each * 50, prepare)
