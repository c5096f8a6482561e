"""The restart budget: how many restarts fit into a sliding window."""

from __future__ import annotations

from collections import deque

__all__ = ["Budget"]


class Budget:
    """At most `intensity` restarts within any `period` seconds.

    A ring of the last `intensity` restart times: one more is allowed unless the ring is full and
    its oldest time still lies inside the window. So a restart costs the same however many came
    before it (OTP walks its list at each one), and memory is bounded by the intensity.

    The window is half open: a restart exactly `period` seconds old has left it.
    """

    __slots__ = ("_period", "_times")

    def __init__(self, intensity: int | None, period: float) -> None:
        self._times: deque[float] | None = None if intensity is None else deque(maxlen=intensity)
        self._period = period

    def spend(self, now: float) -> bool:
        """Count one restart at `now` (seconds); whether the budget allowed it."""
        times = self._times
        if times is None:
            return True
        if times and now - times[0] >= self._period:
            # At most one leaves at each spend: bounded work, and a quiet ring shrinks again.
            times.popleft()
        if len(times) == times.maxlen:
            return False
        times.append(now)
        return True

    def used(self, now: float) -> int:
        """How many restarts lie in the window now."""
        if self._times is None:
            return 0
        return sum(now - t < self._period for t in self._times)
