"""Savina's parallelism benchmarks that sort: radix, bitonic, quick.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.3.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from understudy.benchmarks.savina._port import Stage


def _values(count: int, bits: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(1 << bits) for _ in range(count)]


class _Collector(Role):
    """The end of a pipeline: ends the benchmark once all values have arrived."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.values: list[int] = []

    def receive(self, value: int) -> None:
        self.values.append(value)
        if len(self.values) == self.count:
            self.done(self.values)


# -- radix sort --


class _Radix(Role):
    """Passes on values without its bit at once, the others after them."""

    def __init__(self, count: int, bit: int, following: Ref) -> None:
        self.left = count
        self.bit = bit
        self.following = following
        self.kept: list[int] = []

    def receive(self, value: int) -> None:
        self.left -= 1
        if value & self.bit:
            self.kept.append(value)
        else:
            self.following.tell(value)
        if self.left == 0:
            for each in self.kept:
                self.following.tell(each)


@dataclass(frozen=True)
class RadixSort(Benchmark, key="radixsort", title="Radix sort", category="parallelism"):
    """A pipeline with one actor a bit, every value a message at every stage.

    Paper: 100,000 values below 2^60, seed 2,048 (Imam and Sarkar, AGERE! 2014).
    """

    values: int = 100_000
    bits: int = 60
    seed: int = 2_048

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's sixty stages, fewer values."""
        return cls(capped(budget // 30, 100_000))

    @property
    def messages(self) -> int:
        """One a value and stage."""
        return self.values * (self.bits + 1)

    def begin(self, stage: Stage) -> None:
        """Build the pipeline from its end and feed it."""
        following = stage.spawn(_Collector, self.values)
        for bit in reversed(range(self.bits)):
            following = stage.spawn(_Radix, self.values, 1 << bit, following)
        for value in _values(self.values, self.bits, self.seed):
            following.tell(value)

    def check(self, result: Any) -> None:
        """Sorted, and the same values."""
        wanted = sorted(_values(self.values, self.bits, self.seed))
        self.expect("values", result == wanted, wanted=True)


# -- bitonic sort --


class _Splitter(Role):
    """Deals values to the comparers in turn."""

    def __init__(self, comparers: list[Ref]) -> None:
        self.comparers = comparers
        self.turn = 0

    def receive(self, value: int) -> None:
        self.comparers[self.turn].tell(value)
        self.turn = (self.turn + 1) % len(self.comparers)


class _Comparer(Role):
    """Takes values in pairs and passes them on in order, upwards or downwards."""

    def __init__(self, number: int, span: int, block: int, joiner: Ref) -> None:
        self.number = number
        self.span = span
        self.block = block
        self.joiner = joiner
        self.held: int | None = None
        self.pairs = 0

    def receive(self, value: int) -> None:
        if self.held is None:
            self.held = value
            return
        low, high = (self.held, value) if self.held <= value else (value, self.held)
        upwards = (self.pairs * self.span // self.block) % 2 == 0
        self.pairs += 1
        self.held = None
        self.joiner.tell((self.number, low if upwards else high))
        self.joiner.tell((self.number, high if upwards else low))


class _Joiner(Role):
    """Takes values from the comparers in turn, whatever order they come in."""

    def __init__(self, comparers: int, following: Ref) -> None:
        self.waiting: list[deque[int]] = [deque() for _ in range(comparers)]
        self.turn = 0
        self.following = following

    def receive(self, message: tuple[int, int]) -> None:
        number, value = message
        self.waiting[number].append(value)
        while self.waiting[self.turn]:
            self.following.tell(self.waiting[self.turn].popleft())
            self.turn = (self.turn + 1) % len(self.waiting)


@dataclass(frozen=True)
class BitonicSort(Benchmark, key="bitonicsort", title="Bitonic sort", category="parallelism"):
    """A sorting network as actors: splitters, comparers, joiners, stage after stage.

    Paper: 4,096 values below 2^60, seed 2,048 (Imam and Sarkar, AGERE! 2014).
    """

    values: int = 4_096
    bits: int = 60
    seed: int = 2_048

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The largest power of two whose network fits the budget."""
        values = 4
        while values < 4_096 and cls(values * 2).messages <= budget:
            values *= 2
        return cls(values)

    @property
    def messages(self) -> int:
        """Three a value and stage."""
        log = self.values.bit_length() - 1
        return 3 * self.values * log * (log + 1) // 2

    def begin(self, stage: Stage) -> None:
        """Build the network from its end and feed it."""
        following = stage.spawn(_Collector, self.values)
        for block, span in reversed(self.stages()):
            joiner = stage.spawn(_Joiner, span // 2, following)
            comparers = [stage.spawn(_Comparer, i, span, block, joiner) for i in range(span // 2)]
            following = stage.spawn(_Splitter, comparers)
        for value in _values(self.values, self.bits, self.seed):
            following.tell(value)

    def stages(self) -> list[tuple[int, int]]:
        """(size of the sequences being merged, span of a comparison) from first to last."""
        found = []
        block = 2
        while block <= self.values:
            span = block
            while span > 1:
                found.append((block, span))
                span //= 2
            block *= 2
        return found

    def check(self, result: Any) -> None:
        """Sorted, and the same values."""
        wanted = sorted(_values(self.values, self.bits, self.seed))
        self.expect("values", result == wanted, wanted=True)


# -- quicksort --


class _Quick(Role):
    def __init__(self, parent: Ref | None, side: str, threshold: int) -> None:
        self.parent = parent
        self.side = side
        self.threshold = threshold
        self.left: list[int] | None = None
        self.right: list[int] | None = None
        self.pivots: list[int] = []

    def receive(self, message: tuple[str, list[int]]) -> None:
        kind, values = message
        if kind == "sort":
            if len(values) < self.threshold:
                self.finish(sorted(values))
            else:
                self.split(values)
            return
        if kind == "left":
            self.left = values
        else:
            self.right = values
        if self.left is not None and self.right is not None:
            self.finish(self.left + self.pivots + self.right)

    def split(self, values: list[int]) -> None:
        pivot = values[len(values) // 2]
        self.pivots = [v for v in values if v == pivot]
        for side, part in (
            ("left", [v for v in values if v < pivot]),
            ("right", [v for v in values if v > pivot]),
        ):
            self.spawn(_Quick, self.me, side, self.threshold).tell(("sort", part))

    def finish(self, values: list[int]) -> None:
        if self.parent is None:
            self.done(values)
        else:
            self.parent.tell((self.side, values))
        self.exit()


@dataclass(frozen=True)
class QuickSort(Benchmark, key="quicksort", title="Quicksort", category="parallelism"):
    """Each partition is an actor's, until it is small enough to be sorted at once.

    Paper: 1,000,000 values below 2^60, threshold 2,048, seed 1,024 (Imam and Sarkar, AGERE! 2014).
    """

    values: int = 1_000_000
    threshold: int = 2_048
    bits: int = 60
    seed: int = 1_024

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Fewer values, and a threshold that makes as many actors as the paper's."""
        values = capped(budget * 3, 1_000_000)
        return cls(values, capped(-(-values * 2_048 // 1_000_000), 2_048, 8))

    @property
    def messages(self) -> int:
        """There and back for each of about 1.4 values/threshold partitions, twice."""
        return 4 * max(1, self.values * 14 // (10 * self.threshold))

    def begin(self, stage: Stage) -> None:
        """Hand the whole to the first actor."""
        root = stage.spawn(_Quick, None, "whole", self.threshold)
        root.tell(("sort", _values(self.values, self.bits, self.seed)))

    def check(self, result: Any) -> None:
        """Sorted, and the same values."""
        wanted = sorted(_values(self.values, self.bits, self.seed))
        self.expect("values", result == wanted, wanted=True)
