"""Time as a parameter.

Whatever waits in a system takes the system's clock, so that a test can move time by hand.
"""

from __future__ import annotations

import abc
import heapq
import itertools
import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock", "Handle", "SystemClock"]

logger = logging.getLogger("understudy")

_COMPACT_AT = 64
"""Cancelled entries stay in the heap until they are due, or half of at least this many are."""


class Handle:
    """A call that is due later; `cancel()` keeps it from happening."""

    __slots__ = ("_clock", "_fn", "when")

    def __init__(self, clock: Clock, when: float, fn: Callable[[], object]) -> None:
        self._clock = clock
        self._fn: Callable[[], object] | None = fn
        self.when = when

    @property
    def cancelled(self) -> bool:
        """Whether the call will not happen: it was cancelled, or it has been made."""
        return self._fn is None

    def cancel(self) -> bool:
        """Keep the call from happening. False if it is too late or was done before."""
        if self._fn is None:
            return False
        self._fn = None
        self._clock.handle_cancelled(self)
        return True

    def fire(self) -> None:
        """Make the call, on the calling thread; nothing if it was cancelled."""
        fn, self._fn = self._fn, None
        if fn is None:
            return
        try:
            fn()
        except Exception:
            logger.exception("A timed call failed: %r", fn)


class Clock(abc.ABC):
    """Where a system gets its time from."""

    @abc.abstractmethod
    def monotonic(self) -> float:
        """Seconds that only go forward."""

    @abc.abstractmethod
    def time(self) -> float:
        """Seconds since the epoch."""

    @abc.abstractmethod
    def call_at(self, when: float, fn: Callable[[], object]) -> Handle:
        """Call `fn()` once `monotonic()` has reached `when`.

        It runs on the clock's thread (a manual clock: on the thread that moves it), in the order
        of the due times, and must not block. What it raises is logged.
        """

    def close(self) -> None:
        """End whatever the clock keeps running; by default there is nothing."""
        return

    def handle_cancelled(self, handle: Handle) -> None:
        """Told when a handle made by this clock is cancelled; by default it does not care."""
        del handle


class SystemClock(Clock):
    """The machine's time. Its timer thread starts with the first timer and sleeps between two."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Handle]] = []
        self._count = itertools.count()
        self._condition = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._cancelled = 0
        self._closed = False

    def monotonic(self) -> float:
        """`time.monotonic()`."""
        return time.monotonic()

    def time(self) -> float:
        """`time.time()`."""
        return time.time()

    def call_at(self, when: float, fn: Callable[[], object]) -> Handle:
        """Call `fn()` at `when` on the timer thread."""
        handle = Handle(self, when, fn)
        with self._condition:
            if self._closed:
                return handle
            heapq.heappush(self._heap, (when, next(self._count), handle))
            thread = self._thread
            if thread is None or not thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="understudy-timers", daemon=True
                )
                self._thread.start()
            elif self._heap[0][2] is handle:
                self._condition.notify()
        return handle

    def handle_cancelled(self, handle: Handle) -> None:
        """Forget cancelled timers once they are half of the heap."""
        del handle
        with self._condition:
            self._cancelled += 1
            if self._cancelled > _COMPACT_AT and self._cancelled * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if not entry[2].cancelled]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def close(self) -> None:
        """End the timer thread. What is still due is not called any more."""
        with self._condition:
            self._closed = True
            self._heap.clear()
            self._condition.notify()

    def _run(self) -> None:
        condition = self._condition
        while True:
            with condition:
                while not self._closed and (not self._heap or self._heap[0][0] > time.monotonic()):
                    wait = self._heap[0][0] - time.monotonic() if self._heap else None
                    condition.wait(wait if wait is None or wait > 0 else 0)
                if self._closed:
                    return
                handle = heapq.heappop(self._heap)[2]
                if handle.cancelled:
                    self._cancelled = max(0, self._cancelled - 1)
            handle.fire()
