"""Savina's micro benchmarks: what single features of an actor library cost.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.1.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from understudy.benchmarks.savina._port import Stage


class Latch(Role):
    """Ends the benchmark once it has heard from everybody, with the sum of what they said."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.sum = 0

    def receive(self, message: int) -> None:
        """One more has spoken."""
        self.sum += message
        self.left -= 1
        if self.left == 0:
            self.done(self.sum)


# -- ping-pong --


class _Ping(Role):
    def __init__(self, pings: int, pong: Ref) -> None:
        self.left = pings
        self.pong = pong

    def receive(self, message: int) -> None:
        if self.left == 0:
            self.done(message)
        else:
            self.left -= 1
            self.pong.tell(self.me)


class _Pong(Role):
    def __init__(self) -> None:
        self.count = 0

    def receive(self, sender: Ref) -> None:
        self.count += 1
        sender.tell(self.count)


@dataclass(frozen=True)
class PingPong(Benchmark, key="pingpong", title="Ping-pong", category="micro"):
    """Two actors, one message back and forth: the latency of a send.

    Paper: 40,000 round trips (Imam and Sarkar, AGERE! 2014).
    """

    pings: int = 40_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Half the budget goes forth, half comes back."""
        return cls(capped(budget // 2, 40_000))

    @property
    def messages(self) -> int:
        """Two a round trip."""
        return 2 * self.pings

    def begin(self, stage: Stage) -> None:
        """Serve the first ping."""
        stage.spawn(_Ping, self.pings, stage.spawn(_Pong)).tell(0)

    def check(self, result: Any) -> None:
        """Pong saw every ping."""
        self.expect("pings counted", result, self.pings)


# -- counting actor --


class _Producer(Role):
    def __init__(self, count: int, counter: Ref) -> None:
        self.count = count
        self.counter = counter

    def receive(self, message: Any) -> None:
        if message == "go":
            tell = self.counter.tell
            for _ in range(self.count):
                tell(None)
            tell(self.me)
        else:
            self.done(message)


class _Counter(Role):
    def __init__(self) -> None:
        self.count = 0

    def receive(self, sender: Ref | None) -> None:
        if sender is None:
            self.count += 1
        else:
            sender.tell(self.count)


@dataclass(frozen=True)
class Counting(Benchmark, key="count", title="Counting actor", category="micro"):
    """One actor floods another, then asks what arrived: throughput of a mailbox.

    Paper: 1,000,000 messages (Imam and Sarkar, AGERE! 2014).
    """

    count: int = 1_000_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """One message an increment; these are cheap, so twice the budget."""
        return cls(capped(2 * budget, 1_000_000))

    @property
    def messages(self) -> int:
        """The increments, the question and the answer."""
        return self.count + 2

    def begin(self, stage: Stage) -> None:
        """Start the producer."""
        stage.spawn(_Producer, self.count, stage.spawn(_Counter)).tell("go")

    def check(self, result: Any) -> None:
        """Nothing was lost."""
        self.expect("count", result, self.count)


# -- fork-join --


def _compute(theta: float) -> float:
    sine = math.sin(theta)
    return sine * sine


class _Throughput(Role):
    def __init__(self, messages: int, latch: Ref) -> None:
        self.left = self.all = messages
        self.latch = latch

    def receive(self, theta: float) -> None:
        _compute(theta)
        self.left -= 1
        if self.left == 0:
            self.latch.tell(self.all)
            self.exit()


@dataclass(frozen=True)
class ForkJoinThroughput(Benchmark, key="fjthrput", title="Fork-join throughput", category="micro"):
    """Many actors are flooded in turn, each ends after its share: throughput to many mailboxes.

    Paper: 60 actors, 10,000 messages each (Imam and Sarkar, AGERE! 2014).
    """

    actors: int = 60
    each: int = 10_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's actors, fewer messages."""
        actors = capped(budget // 10, 60)
        return cls(actors, capped(budget // actors, 10_000))

    @property
    def messages(self) -> int:
        """What is sent to the actors, and their last words."""
        return self.actors * (self.each + 1)

    def begin(self, stage: Stage) -> None:
        """Flood them in turn."""
        latch = stage.spawn(Latch, self.actors)
        refs = [stage.spawn(_Throughput, self.each, latch) for _ in range(self.actors)]
        for _ in range(self.each):
            for ref in refs:
                ref.tell(37.2)

    def check(self, result: Any) -> None:
        """Every actor handled its share."""
        self.expect("messages handled", result, self.actors * self.each)


class _Once(Role):
    def __init__(self, latch: Ref) -> None:
        self.latch = latch

    def receive(self, theta: float) -> None:
        _compute(theta)
        self.latch.tell(1)
        self.exit()


@dataclass(frozen=True)
class ForkJoinCreate(Benchmark, key="fjcreate", title="Fork-join creation", category="micro"):
    """Actors are made for one message each and end: the cost of a life.

    Paper: 40,000 actors (Imam and Sarkar, AGERE! 2014).
    """

    actors: int = 40_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """A life costs as much as several messages: a quarter of the budget."""
        return cls(capped(budget // 4, 40_000))

    @property
    def messages(self) -> int:
        """One to each and one from each."""
        return 2 * self.actors

    def begin(self, stage: Stage) -> None:
        """Create, send, go on."""
        latch = stage.spawn(Latch, self.actors)
        for _ in range(self.actors):
            stage.spawn(_Once, latch).tell(37.2)

    def check(self, result: Any) -> None:
        """All of them lived."""
        self.expect("actors", result, self.actors)


# -- thread ring --


class _Member(Role):
    def __init__(self, number: int) -> None:
        self.number = number
        self.next: Ref

    def receive(self, message: Any) -> None:
        if message.__class__ is not int:
            self.next = message
        elif message == 0:
            self.done(self.number)
        else:
            self.next.tell(message - 1)


@dataclass(frozen=True)
class ThreadRing(Benchmark, key="threadring", title="Thread ring", category="micro"):
    """A token goes round a ring: sends and wake-ups, one at a time.

    Paper: 100 actors, 100,000 hops (Imam and Sarkar, AGERE! 2014).
    """

    actors: int = 100
    hops: int = 100_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's ring, fewer hops."""
        return cls(capped(budget // 5, 100, 2), capped(budget, 100_000))

    @property
    def messages(self) -> int:
        """One a hop."""
        return self.hops + self.actors + 1

    def begin(self, stage: Stage) -> None:
        """Close the ring and put the token in."""
        ring = [stage.spawn(_Member, i) for i in range(self.actors)]
        for ref, following in zip(ring, ring[1:] + ring[:1], strict=True):
            ref.tell(following)
        ring[0].tell(self.hops)

    def check(self, result: Any) -> None:
        """The token ends where arithmetic says."""
        self.expect("last member", result, self.hops % self.actors)


# -- chameneos --

_COLOURS = 3


class _Mall(Role):
    def __init__(self, creatures: int, meetings: int) -> None:
        self.left = meetings
        self.creatures = creatures
        self.sum = 0
        self.waiting: Ref | None = None

    def receive(self, message: tuple[str, Any, Any]) -> None:
        kind, colour, sender = message
        if kind == "faded":
            self.sum += colour
            self.creatures -= 1
            if self.creatures == 0:
                self.done(self.sum)
        elif self.left == 0:
            sender.tell(("exit", 0, self.me))
        elif self.waiting is None:
            self.waiting = sender
        else:
            self.left -= 1
            self.waiting.tell(("meet", colour, sender))
            self.waiting = None


class _Creature(Role):
    def __init__(self, colour: int, mall: Ref) -> None:
        self.colour = colour
        self.mall = mall
        self.meetings = 0

    def receive(self, message: tuple[str, int, Ref]) -> None:
        kind, colour, sender = message
        if kind == "exit":
            sender.tell(("faded", self.meetings, self.me))
            return
        if kind == "start":
            self.mall.tell(("meet", self.colour, self.me))
            return
        if kind == "meet":
            # Two of a colour stay as they are; two different ones both take the third.
            if colour != self.colour:
                self.colour = _COLOURS - colour - self.colour
            sender.tell(("change", self.colour, self.me))
        else:
            self.colour = colour
        self.meetings += 1
        self.mall.tell(("meet", self.colour, self.me))


@dataclass(frozen=True)
class Chameneos(Benchmark, key="chameneos", title="Chameneos", category="micro"):
    """Creatures meet in pairs at a mall and change colour: contention for one mailbox.

    Paper: 100 creatures, 200,000 meetings (Imam and Sarkar, AGERE! 2014).
    """

    creatures: int = 100
    meetings: int = 200_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's creatures, fewer meetings."""
        return cls(capped(budget // 20, 100, 2), capped(budget // 4, 200_000))

    @property
    def messages(self) -> int:
        """Two to the mall and two between the creatures for each meeting, and the farewells."""
        return 4 * self.meetings + 3 * self.creatures

    def begin(self, stage: Stage) -> None:
        """Send the creatures to the mall."""
        mall = stage.spawn(_Mall, self.creatures, self.meetings)
        refs = [stage.spawn(_Creature, i % _COLOURS, mall) for i in range(self.creatures)]
        for ref in refs:
            ref.tell(("start", 0, mall))

    def check(self, result: Any) -> None:
        """Each meeting was counted by both."""
        self.expect("meetings counted", result, 2 * self.meetings)


# -- big --


class _Big(Role):
    def __init__(self, number: int, pings: int, latch: Ref) -> None:
        self.all = self.left = pings
        self.latch = latch
        self.random = random.Random(number)
        self.others: list[Ref] = []

    def receive(self, message: Any) -> None:
        if message is None:  # a pong
            self.left -= 1
            if self.left:
                self.random.choice(self.others).tell(self.me)
            else:
                self.latch.tell(self.all)
        elif message.__class__ is list:
            self.others = message
            self.random.choice(self.others).tell(self.me)
        else:
            message.tell(None)


@dataclass(frozen=True)
class Big(Benchmark, key="big", title="Big", category="micro"):
    """Everybody pings somebody chosen at random: many to many.

    Paper: 120 actors, 20,000 pings each (Imam and Sarkar, AGERE! 2014).
    """

    actors: int = 120
    pings: int = 20_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's actors, fewer pings."""
        actors = capped(budget // 10, 120, 2)
        return cls(actors, capped(budget // (2 * actors), 20_000))

    @property
    def messages(self) -> int:
        """A ping and a pong each."""
        return 2 * self.actors * self.pings + 2 * self.actors

    def begin(self, stage: Stage) -> None:
        """Introduce them to each other."""
        latch = stage.spawn(Latch, self.actors)
        refs = [stage.spawn(_Big, i, self.pings, latch) for i in range(self.actors)]
        for ref in refs:
            ref.tell(refs)

    def check(self, result: Any) -> None:
        """Every ping was answered."""
        self.expect("pongs", result, self.actors * self.pings)
