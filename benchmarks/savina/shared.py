"""Savina's concurrency benchmarks around shared structures: dictionary, list, buffer, forks.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.2.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from understudy.benchmarks.savina._port import Stage

KEYS = 512


class _Owner(Role):
    """Counts what its workers report, asks the shared structure for its state at the end."""

    def __init__(self, workers: int, structure: Ref) -> None:
        self.left = workers
        self.structure = structure

    def receive(self, message: Any) -> None:
        if message is not None:  # the structure's last word
            self.done(message)
            return
        self.left -= 1
        if self.left == 0:
            self.structure.tell(("end", 0, self.me))


# -- concurrent dictionary --


class _Dictionary(Role):
    def __init__(self) -> None:
        self.values: dict[int, int] = {}
        self.reads = self.writes = 0

    def receive(self, message: tuple[str, int, Ref]) -> None:
        kind, key, sender = message
        if kind == "read":
            self.reads += 1
            sender.tell(self.values.get(key, 0))
        elif kind == "write":
            self.writes += 1
            self.values[key] = key
            sender.tell(key)
        else:
            sender.tell((self.reads, self.writes, all(k == v for k, v in self.values.items())))


class _DictionaryWorker(Role):
    def __init__(self, seed: int, messages: int, writes: int, shared: Ref, owner: Ref) -> None:
        self.random = random.Random(seed)
        self.left = messages
        self.writes = writes
        self.shared = shared
        self.owner = owner

    def receive(self, message: Any) -> None:
        del message
        if self.left == 0:
            self.owner.tell(None)
            return
        self.left -= 1
        kind = "write" if self.random.randrange(100) < self.writes else "read"
        self.shared.tell((kind, 1 + self.random.randrange(KEYS), self.me))


@dataclass(frozen=True)
class ConcurrentDictionary(
    Benchmark, key="concdict", title="Concurrent dictionary", category="concurrency"
):
    """Workers read from and write to one dictionary that an actor owns.

    Paper: 20 workers, 10,000 messages each, 10 % writes (Imam and Sarkar, AGERE! 2014).
    """

    workers: int = 20
    each: int = 10_000
    writes: int = 10

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's workers, fewer messages."""
        return cls(20, capped(budget // 40, 10_000))

    @property
    def messages(self) -> int:
        """A request and a reply each."""
        return 2 * self.workers * self.each + 2 * self.workers

    def begin(self, stage: Stage) -> None:
        """Start the workers."""
        shared = stage.spawn(_Dictionary)
        owner = stage.spawn(_Owner, self.workers, shared)
        for seed in range(self.workers):
            stage.spawn(
                _DictionaryWorker, seed, self.each, self.writes, shared, owner
            ).tell(None)  # fmt: skip

    def check(self, result: Any) -> None:
        """As many reads and writes as the workers' generators say, and no value mixed up."""
        wanted = _writes(self.workers, self.each, self.writes)
        self.expect("writes", result[1], wanted)
        self.expect("reads", result[0], self.workers * self.each - wanted)
        self.expect("each key maps to itself", result[2], True)


def _writes(workers: int, each: int, share: int) -> int:
    count = 0
    for seed in range(workers):
        draw = random.Random(seed)
        for _ in range(each):
            count += draw.randrange(100) < share
            draw.randrange(KEYS)
    return count


# -- concurrent sorted linked list --


class _Node:
    __slots__ = ("following", "value")

    def __init__(self, value: int, following: _Node | None) -> None:
        self.value = value
        self.following = following


class _SortedList(Role):
    def __init__(self) -> None:
        self.head = _Node(-1, None)
        self.size = 0

    def receive(self, message: tuple[str, int, Ref]) -> None:
        kind, value, sender = message
        if kind == "size":
            sender.tell(self.size)
            return
        if kind == "end":
            sender.tell(self.walk())
            return
        node = self.head
        while node.following is not None and node.following.value < value:
            node = node.following
        if kind == "write":
            node.following = _Node(value, node.following)
            self.size += 1
            sender.tell(self.size)
        else:
            sender.tell(int(node.following is not None and node.following.value == value))

    def walk(self) -> tuple[int, list[int]]:
        values, node = [], self.head.following
        while node is not None:
            values.append(node.value)
            node = node.following
        return self.size, values


class _ListWorker(Role):
    def __init__(
        self, seed: int, messages: int, writes: int, sizes: int, shared: Ref, owner: Ref
    ) -> None:
        self.random = random.Random(seed)
        self.left = messages
        self.writes, self.sizes = writes, sizes
        self.shared = shared
        self.owner = owner

    def receive(self, message: Any) -> None:
        del message
        if self.left == 0:
            self.owner.tell(None)
            return
        self.left -= 1
        draw = self.random.randrange(100)
        value = self.random.randrange(KEYS)
        if draw < self.sizes:
            kind = "size"
        else:
            kind = "write" if draw < self.sizes + self.writes else "contains"
        self.shared.tell((kind, value, self.me))


@dataclass(frozen=True)
class ConcurrentSortedList(
    Benchmark, key="concsll", title="Concurrent sorted linked list", category="concurrency"
):
    """Workers insert into, look up in and measure a sorted linked list that an actor owns.

    Paper: 20 workers, 8,000 messages each, 10 % writes, 1 % size (Imam and Sarkar, AGERE! 2014).
    """

    workers: int = 20
    each: int = 8_000
    writes: int = 10
    size: int = 1

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's workers, fewer messages: each walks the list, which grows with them."""
        return cls(20, capped(budget // 80, 8_000))

    @property
    def messages(self) -> int:
        """A request and a reply each."""
        return 2 * self.workers * self.each + 2 * self.workers

    def begin(self, stage: Stage) -> None:
        """Start the workers."""
        shared = stage.spawn(_SortedList)
        owner = stage.spawn(_Owner, self.workers, shared)
        for seed in range(self.workers):
            stage.spawn(
                _ListWorker, seed, self.each, self.writes, self.size, shared, owner
            ).tell(None)  # fmt: skip

    def check(self, result: Any) -> None:
        """The list holds exactly what was written, in order."""
        wanted = []
        for seed in range(self.workers):
            draw = random.Random(seed)
            for _ in range(self.each):
                kind, value = draw.randrange(100), draw.randrange(KEYS)
                if self.size <= kind < self.size + self.writes:
                    wanted.append(value)
        self.expect("size", result[0], len(wanted))
        self.expect("values", result[1], sorted(wanted))


# -- producer-consumer with a bounded buffer --


def _work(draw: random.Random, cost: int) -> float:
    total = 0.0
    for _ in range(cost):
        total += math.log(draw.random() + 0.01)
    return total


class _Buffer(Role):
    """Pairs produced items with waiting consumers; lets producers wait when it is full."""

    def __init__(self, size: int, producers: list[Ref], consumers: list[Ref]) -> None:
        self.size = size
        self.producers = len(producers)
        self.idle: deque[Ref] = deque(consumers)
        self.consumers = consumers
        self.items: deque[int] = deque()
        self.held: deque[Ref] = deque()
        self.sum = self.count = self.high = 0
        for producer in producers:
            producer.tell(self.me)

    def receive(self, message: tuple[str, Any, Ref]) -> None:
        kind, item, sender = message
        if kind == "item":
            if self.idle:
                self.idle.popleft().tell((item, self.me))
            else:
                self.items.append(item)
                self.high = max(self.high, len(self.items))
            if len(self.items) >= self.size:
                self.held.append(sender)
            else:
                sender.tell(self.me)
            return
        if kind == "free":
            self.sum += item
            self.count += 1
            if self.items:
                sender.tell((self.items.popleft(), self.me))
                if self.held:
                    self.held.popleft().tell(self.me)
            else:
                self.idle.append(sender)
        else:
            self.producers -= 1
        if self.producers == 0 and len(self.idle) == len(self.consumers):
            self.done((self.count, self.sum, self.high))


class _BufferProducer(Role):
    def __init__(self, number: int, items: int, cost: int) -> None:
        self.number = number
        self.left = items
        self.cost = cost
        self.random = random.Random(number)

    def receive(self, buffer: Ref) -> None:
        if self.left == 0:
            buffer.tell(("end", 0, self.me))
            return
        self.left -= 1
        _work(self.random, self.cost)
        buffer.tell(("item", self.number, self.me))


class _BufferConsumer(Role):
    def __init__(self, number: int, cost: int) -> None:
        self.cost = cost
        self.random = random.Random(number)

    def receive(self, message: tuple[int, Ref]) -> None:
        item, buffer = message
        _work(self.random, self.cost)
        buffer.tell(("free", item, self.me))


@dataclass(frozen=True)
class BoundedBuffer(
    Benchmark, key="bndbuffer", title="Producer-consumer, bounded buffer", category="concurrency"
):
    """Producers and consumers meet at a buffer that makes producers wait when it is full.

    Paper: buffer 50, 40 producers, 40 consumers, 1,000 items each, cost 25 (Imam and Sarkar,
    AGERE! 2014). One unit of cost is one logarithm of a random number here.
    """

    buffer: int = 50
    producers: int = 40
    consumers: int = 40
    items: int = 1_000
    cost: int = 25

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's actors and costs, fewer items."""
        return cls(items=capped(budget // 160, 1_000))

    @property
    def messages(self) -> int:
        """Offer, go-ahead, delivery, readiness for each item."""
        return 4 * self.producers * self.items + 2 * self.producers

    def begin(self, stage: Stage) -> None:
        """The buffer calls the producers to work."""
        producers = [
            stage.spawn(_BufferProducer, i, self.items, self.cost) for i in range(self.producers)
        ]
        consumers = [stage.spawn(_BufferConsumer, i, self.cost) for i in range(self.consumers)]
        stage.spawn(_Buffer, self.buffer, producers, consumers)

    def check(self, result: Any) -> None:
        """Every item was consumed once; the buffer kept its bound (and those already under way)."""
        count, total, high = result
        self.expect("items consumed", count, self.producers * self.items)
        self.expect("sum of items", total, self.items * sum(range(self.producers)))
        self.expect("bound kept", high <= self.buffer + self.producers, wanted=True)


# -- dining philosophers --


class _Arbiter(Role):
    def __init__(self, philosophers: int) -> None:
        self.taken = [False] * philosophers
        self.left = philosophers
        self.meals = 0

    def receive(self, message: tuple[str, int, Ref]) -> None:
        kind, seat, sender = message
        other = (seat + 1) % len(self.taken)
        if kind == "hungry":
            if self.taken[seat] or self.taken[other]:
                sender.tell("denied")
            else:
                self.taken[seat] = self.taken[other] = True
                self.meals += 1
                sender.tell("eat")
        elif kind == "sated":
            if not (self.taken[seat] and self.taken[other]):
                raise AssertionError(f"philosopher {seat} puts down forks that nobody holds")
            self.taken[seat] = self.taken[other] = False
        else:
            self.left -= 1
            if self.left == 0:
                self.done((self.meals, any(self.taken)))


class _Philosopher(Role):
    def __init__(self, seat: int, rounds: int, arbiter: Ref) -> None:
        self.seat = seat
        self.left = rounds
        self.arbiter = arbiter

    def receive(self, message: str) -> None:
        if message == "eat":
            self.left -= 1
            self.arbiter.tell(("sated", self.seat, self.me))
        kind = "hungry" if self.left else "leave"
        self.arbiter.tell((kind, self.seat, self.me))


@dataclass(frozen=True)
class DiningPhilosophers(
    Benchmark, key="philosopher", title="Dining philosophers", category="concurrency"
):
    """Philosophers ask an arbiter for their two forks, again and again when denied.

    Paper: 20 philosophers, 10,000 rounds (Imam and Sarkar, AGERE! 2014). How often one is denied
    depends on the schedule, and with it the number of messages.
    """

    philosophers: int = 20
    rounds: int = 10_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's table, fewer rounds."""
        return cls(20, capped(budget // 100, 10_000))

    @property
    def messages(self) -> int:
        """Three a meal, if nobody is denied."""
        return 3 * self.philosophers * self.rounds + 2 * self.philosophers

    def begin(self, stage: Stage) -> None:
        """Seat them."""
        arbiter = stage.spawn(_Arbiter, self.philosophers)
        refs = [
            stage.spawn(_Philosopher, seat, self.rounds, arbiter)
            for seat in range(self.philosophers)
        ]
        for ref in refs:
            ref.tell("start")

    def check(self, result: Any) -> None:
        """Everybody ate every round, and all forks are on the table."""
        self.expect("meals", result[0], self.philosophers * self.rounds)
        self.expect("forks still taken", result[1], wanted=False)
