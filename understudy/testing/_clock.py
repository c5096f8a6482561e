"""A clock that moves when it is told to."""

from __future__ import annotations

import heapq
import itertools
import threading
from typing import TYPE_CHECKING

from understudy.actors._clock import Clock, Handle

if TYPE_CHECKING:
    from collections.abc import Callable

# 2026-01-01T00:00:00Z: a fixed wall clock makes timestamps in failures comparable.
_EPOCH = 1_767_225_600.0


class ManualClock(Clock):
    """A clock for tests: time stands still until `advance()` moves it.

    Give it to a system (`ActorSystem("t", clock=clock)`) and every backoff, restart
    window, timer, lease and time limit in it obeys the test. Thread-safe: any thread
    may read it or schedule on it; due callbacks run on the thread that advances, in the
    order of their time, and those of one moment in the order of their registration.

    Args:
        start: what `monotonic()` says at first, in seconds; 0.0 if absent.
        epoch: what `time()` says at first, in seconds since 1970; 2026-01-01 UTC if
            absent.

    Example:
        >>> clock = ManualClock()
        >>> rang = []
        >>> handle = clock.call_at(2.0, lambda: rang.append(clock.monotonic()))
        >>> clock.advance(1.5)
        0
        >>> clock.advance(1.5)
        1
        >>> rang, clock.monotonic()
        ([2.0], 3.0)

    """

    def __init__(self, start: float = 0.0, epoch: float = _EPOCH) -> None:
        self._now = start
        self._offset = epoch - start
        self._heap: list[tuple[float, int, Handle]] = []
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._advancing = threading.RLock()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; moves with `advance()` only."""
        return self._now

    def time(self) -> float:
        """Seconds since 1970 (UTC); moves with `advance()` only."""
        return self._now + self._offset

    def call_at(self, when: float, fn: Callable[[], object]) -> Handle:
        """Run `fn` when `monotonic()` reaches `when`.

        A time in the past is due at the next `advance()`, also at `advance(0)`. What `fn`
        raises is logged, as with every clock.
        """
        handle = Handle(self, when, fn)
        with self._lock:
            heapq.heappush(self._heap, (when, next(self._order), handle))
        return handle

    def advance(self, seconds: float, *, settle: Callable[[], object] | None = None) -> int:
        """Move time on, and run what becomes due on the way, each at its own moment.

        Args:
            seconds: how far; 0 runs what is already due.
            settle: called before the first and after every callback, for example
                `lambda: us.testing.settle(system)`: lets actors react (and set new
                timers) before time goes on. Absent: time does not wait for anybody.

        Returns:
            How many callbacks ran.

        Raises:
            ValueError: for a negative number of seconds; time never goes back.

        """
        if seconds < 0:
            msg = f"cannot advance by {seconds} s: time does not go back"
            raise ValueError(msg)
        ran = 0
        with self._advancing:
            if settle is not None:
                settle()
            target = self._now + seconds
            while (due := self._pop(target)) is not None:
                self._now = max(self._now, due.when)
                due.fire()
                ran += 1
                if settle is not None:
                    settle()
            self._now = target
        return ran

    def _pop(self, target: float) -> Handle | None:
        with self._lock:
            while self._heap and self._heap[0][0] <= target:
                handle = heapq.heappop(self._heap)[2]
                if not handle.cancelled:
                    return handle
        return None

    def advance_to_next(self, *, settle: Callable[[], object] | None = None) -> float | None:
        """Jump to the next scheduled moment and run what is due there.

        Returns:
            The moment reached, or None (and time stands still) when nothing is scheduled.

        """
        when = self.next_at
        if when is None:
            return None
        self.advance(max(0.0, when - self._now), settle=settle)
        return when

    @property
    def next_at(self) -> float | None:
        """When the next callback is due, on the scale of `monotonic()`; None if none is."""
        with self._lock:
            while self._heap and self._heap[0][2].cancelled:
                heapq.heappop(self._heap)
            return self._heap[0][0] if self._heap else None

    @property
    def pending(self) -> int:
        """How many callbacks are scheduled and not cancelled."""
        with self._lock:
            return sum(not handle.cancelled for _, _, handle in self._heap)

    def __repr__(self) -> str:
        return f"<ManualClock at {self._now} s, {self.pending} scheduled>"
