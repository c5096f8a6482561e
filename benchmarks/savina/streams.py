"""Savina's parallelism benchmarks that are pipelines: filter bank, sieve.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from understudy.benchmarks.savina._port import Stage

# -- filter bank --


class Fir:
    """A finite impulse response over a window of values; None until the window is full."""

    def __init__(self, coefficients: list[float]) -> None:
        self.coefficients = coefficients
        self.data = [0.0] * len(coefficients)
        self.index = 0
        self.full = False

    def take(self, value: float) -> float | None:
        """One value in, one out once the window is full."""
        self.data[self.index] = value
        self.index += 1
        if self.index == len(self.data):
            self.full = True
            self.index = 0
        if not self.full:
            return None
        return sum(map(float.__mul__, self.data, self.coefficients))


class Delay:
    """Gives back what came `length` values ago, zeros at first."""

    def __init__(self, length: int) -> None:
        self.state = [0.0] * length
        self.place = 0

    def take(self, value: float) -> float:
        """One in, an old one out."""
        old, self.state[self.place] = self.state[self.place], value
        self.place = (self.place + 1) % len(self.state)
        return old


class Sample:
    """Lets the first of every `rate` values through and zeros instead of the others."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.seen = 0

    def take(self, value: float) -> float:
        """One in, it or zero out."""
        found = value if self.seen == 0 else 0.0
        self.seen = (self.seen + 1) % self.rate
        return found


def _chain(channel: int, columns: int) -> list[Any]:
    """The filters of one channel, with the paper's coefficients scaled to stay finite."""
    analysis = [float((c * columns + channel * columns + c + channel + 1) % 97)
                for c in range(columns)]  # fmt: skip
    synthesis = [float((channel * columns + c * c) % 89) for c in range(columns)]
    return [
        Delay(columns - 1), Fir(analysis), Sample(columns),
        Delay(columns - 1), Fir(synthesis),
    ]  # fmt: skip


class _Filter(Role):
    def __init__(self, filtering: Any, following: Ref) -> None:
        self.take = filtering.take
        self.following = following

    def receive(self, value: float) -> None:
        out = self.take(value)
        if out is not None:
            self.following.tell(out)


class _Tagger(Role):
    def __init__(self, channel: int, following: Ref) -> None:
        self.channel = channel
        self.following = following

    def receive(self, value: float) -> None:
        self.following.tell((self.channel, value))


class _Integrator(Role):
    """Adds up one value of every channel at a time."""

    def __init__(self, channels: int, outputs: int) -> None:
        self.waiting: list[list[float]] = [[] for _ in range(channels)]
        self.outputs = outputs
        self.sums: list[float] = []

    def receive(self, message: tuple[int, float]) -> None:
        channel, value = message
        self.waiting[channel].append(value)
        if all(self.waiting):
            self.sums.append(math.fsum(each.pop(0) for each in self.waiting))
            if len(self.sums) == self.outputs:
                self.done(self.sums)


class _Branches(Role):
    def __init__(self, banks: list[Ref]) -> None:
        self.banks = banks

    def receive(self, value: float) -> None:
        for bank in self.banks:
            bank.tell(value)


@dataclass(frozen=True)
class FilterBank(Benchmark, key="filterbank", title="Filter bank", category="parallelism"):
    """A signal goes through channels of filters side by side and is put together again.

    Paper: 16,384 columns, 34,816 simulations, 8 channels (Imam and Sarkar, AGERE! 2014). A
    channel is delay, filter, sampler, delay, filter; a column is a coefficient of a filter.
    """

    columns: int = 16_384
    simulations: int = 34_816
    channels: int = 8

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's channels; columns stay about half of the simulations, at most 32."""
        simulations = capped(budget // (7 * 8), 34_816, 16)
        return cls(capped(simulations // 4, 32, 2), simulations)

    @property
    def outputs(self) -> int:
        """Values that come out: each of the two filters swallows a window."""
        return self.simulations - 2 * (self.columns - 1)

    @property
    def messages(self) -> int:
        """One a value, channel and filter, and the tag."""
        return self.simulations * (1 + self.channels * 7)

    def begin(self, stage: Stage) -> None:
        """Build the banks from their end and feed them."""
        integrator = stage.spawn(_Integrator, self.channels, self.outputs)
        banks = []
        for channel in range(self.channels):
            following = stage.spawn(_Tagger, channel, integrator)
            for filtering in reversed(_chain(channel, self.columns)):
                following = stage.spawn(_Filter, filtering, following)
            banks.append(following)
        branches = stage.spawn(_Branches, banks)
        for i in range(self.simulations):
            branches.tell(float(i % 1_000))

    def check(self, result: Any) -> None:
        """The same sums as one loop without actors computes."""
        chains = [_chain(channel, self.columns) for channel in range(self.channels)]
        wanted = []
        for i in range(self.simulations):
            row = [self.through(chain, float(i % 1_000)) for chain in chains]
            if None not in row:
                wanted.append(math.fsum(row))  # type: ignore[arg-type]  # no None in it
        self.expect("outputs", len(result), self.outputs)
        self.expect("sums", result == wanted, wanted=True)

    @staticmethod
    def through(chain: list[Any], value: float | None) -> float | None:
        """One value through all filters of a channel."""
        for filtering in chain:
            if value is None:
                return None
            value = filtering.take(value)
        return value


# -- sieve --


class _PrimeFilter(Role):
    def __init__(self, first: int, capacity: int) -> None:
        self.primes = [first]
        self.capacity = capacity
        self.following: Ref | None = None

    def receive(self, message: Any) -> None:
        if message.__class__ is tuple:
            self.end(*message)
            return
        if any(message % prime == 0 for prime in self.primes):
            return
        if len(self.primes) < self.capacity:
            self.primes.append(message)
        elif self.following is None:
            self.following = self.spawn(_PrimeFilter, message, self.capacity)
        else:
            self.following.tell(message)

    def end(self, word: str, found: int) -> None:
        found += len(self.primes)
        if self.following is None:
            self.done(found)
        else:
            self.following.tell((word, found))


@dataclass(frozen=True)
class Sieve(Benchmark, key="sieve", title="Sieve of Eratosthenes", category="parallelism"):
    """Numbers run through a chain of actors that each know some primes; the chain grows.

    Paper: up to 100,000, 1,000 primes per actor (Imam and Sarkar, AGERE! 2014).
    """

    limit: int = 100_000
    each: int = 1_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Fewer numbers, and fewer primes per actor, so that there is still a chain of ten."""
        limit = capped(budget, 100_000, 30)
        return cls(limit, capped(limit // 100, 1_000))

    @property
    def messages(self) -> int:
        """The odd numbers, and what each filter lets through."""
        primes = int(1.1 * self.limit / math.log(self.limit))
        return self.limit // 2 + primes * max(1, primes // self.each) // 2

    def begin(self, stage: Stage) -> None:
        """Send the odd numbers, and the end after them."""
        first = stage.spawn(_PrimeFilter, 2, self.each)
        for number in range(3, self.limit, 2):
            first.tell(number)
        first.tell(("end", 0))

    def check(self, result: Any) -> None:
        """As many primes as a plain sieve finds."""
        prime = bytearray([1]) * self.limit
        prime[:2] = b"\0\0"
        for number in range(2, math.isqrt(self.limit) + 1):
            if prime[number]:
                prime[number * number :: number] = bytes(len(prime[number * number :: number]))
        self.expect("primes", result, sum(prime))
