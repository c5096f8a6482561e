"""The restart budget: how many restarts fit into a sliding window."""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """At most `intensity` restarts within any `period` seconds.

    A ring of the last `intensity` restart times: one more is allowed unless the ring is full and
    its oldest time still lies inside the window. So a restart costs the same however many came
    before it (OTP walks its list at each one), and memory is bounded by the intensity. The ring is
    a list: a `deque` would take ten times the memory for the usual three.

    The window is half open: a restart exactly `period` seconds old has left it.
    """

    __slots__ = ("_intensity", "_oldest", "_period", "_times")

    def __init__(self, intensity: int | None, period: float) -> None:
        self._intensity = intensity
        self._period = period
        self._times: list[float] = []
        self._oldest = 0  # where in the ring, once it is full

    def spend(self, now: float) -> bool:
        """Count one restart at `now` (seconds); whether the budget allowed it."""
        intensity = self._intensity
        if intensity is None:
            return True
        times = self._times
        if len(times) < intensity:
            times.append(now)
            return True
        if not intensity or now - times[self._oldest] < self._period:
            return False
        times[self._oldest] = now
        self._oldest = (self._oldest + 1) % intensity
        return True

    def used(self, now: float) -> int:
        """How many restarts lie in the window now."""
        return sum(now - t < self._period for t in self._times)
