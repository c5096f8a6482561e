"""What a scenario's body holds in its hands: sizes, the stop-watch, samples, checks."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

from understudy.benchmarks._statistics import latency

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE = os.sysconf("SC_PAGE_SIZE")


class WrongAnswer(AssertionError):
    """A benchmark computed something else than it should have: its time means nothing."""


class Bench:
    """One measurement of one scenario on one library, seen from the body.

    Attributes:
        peer: the library or variant to run.
        size: how much to do; already scaled for quick runs, warm-ups and points of a curve.
        warming: whether this is the warm-up, whose figures are thrown away.
        directory: an empty directory on the disk under test, removed afterwards.
        budget: messages a Savina benchmark should need at most.
    """

    def __init__(
        self,
        peer: str,
        size: int,
        *,
        warming: bool = False,
        directory: str = "",
        budget: int = 0,
    ) -> None:
        self.peer = peer
        self.size = size
        self.warming = warming
        self.directory = directory
        self.budget = budget
        self.figures: dict[str, Any] = {}
        self._blocks = self._rss = 0
        self._cpu = self._wall = 0.0

    @contextlib.contextmanager
    def measure(self, items: int | None = None) -> Iterator[None]:
        """Time what is inside: wall, CPU, resident memory and live allocations.

        The garbage collector runs just before and is left as it is inside, as in a user's
        program. When a body measures twice, the times add up.

        Args:
            items: how many items are done inside; optional, `size` if absent.
        """
        self.begin()
        yield
        self.end(items)

    def begin(self) -> None:
        """Start the stop-watch, where what counts is not one block: `end` stops it."""
        gc.collect()
        self._blocks, self._rss = sys.getallocatedblocks(), resident()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def end(self, items: int | None = None) -> None:
        """Stop the stop-watch, on any thread.

        Args:
            items: how many items were done; optional, `size` if absent.
        """
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self.external(
            items=self.size if items is None else items,
            wall=wall,
            cpu=cpu,
            rss=resident() - self._rss,
            blocks=sys.getallocatedblocks() - self._blocks,
        )

    def external(self, **figures: float) -> None:
        """Add figures measured elsewhere, such as in a program of another language.

        Args:
            figures: any of items, wall, cpu (seconds), rss (bytes), blocks.
        """
        for key, value in figures.items():
            self.figures[key] = self.figures.get(key, 0) + value

    def latencies(self, seconds: Iterable[float]) -> None:
        """Record single latencies, in seconds; percentiles are made of them."""
        samples = list(seconds)
        if samples:
            self.figures["latency"] = latency(samples)
            self.figures["samples"] = len(samples)

    def timed(self, call: Any, times: int) -> None:
        """Call something `times` times and record the latency of each call."""
        clock = time.perf_counter_ns
        samples = []
        for _ in range(times):
            begun = clock()
            call()
            samples.append(clock() - begun)
        self.latencies(ns / 1e9 for ns in samples)

    def result(self, value: float) -> None:
        """Say the figure itself, where it is none of those that `measure` takes."""
        self.figures["value"] = value

    def note(self, **facts: Any) -> None:
        """Add facts to the measurement: sizes derived, series of a curve, counts."""
        self.figures.setdefault("extra", {}).update(facts)

    def check(self, ok: object, message: str) -> None:
        """Fail the measurement with `WrongAnswer` unless `ok` is true."""
        if not ok:
            raise WrongAnswer(message)


def resident() -> int:
    """Resident memory of this process in bytes; where /proc is missing, its peak."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * PAGE
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
