"""Restart strategies, their limits, and backoff."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from understudy.supervision._budget import Budget
from understudy.supervision._errors import InvalidChildSpec, InvalidStrategy

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

__all__ = ["Backoff", "OneForAll", "OneForOne", "RestForOne", "Strategy"]

INTENSITY = 3
"""Restarts allowed in a period. OTP's 1 punishes the first hiccup twice; 3 is Elixir's choice."""
PERIOD = 5.0
"""Seconds of the window, as in OTP and Elixir."""

_HUGE = 1e15  # exponents beyond this many seconds are cut off before they overflow a float


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Backoff:
    """Waiting times between a failure and the restart.

    The n-th failure in a row waits `min(maximum, first * factor**n)`, stretched by up to `jitter`
    of itself. As in Akka the jitter comes after the cap, so the longest wait is
    `maximum * (1 + jitter)`; that keeps a thousand children which all reached the maximum from
    coming back in the same instant. A child that stays up for `reset_after` starts from `first`
    again.

    Args:
        first: seconds before the first restart; optional, and if absent it is 0.1.
        factor: growth from one failure to the next, 1 or more; optional, and if absent it is 2.
        maximum: seconds the growth stops at; optional, and if absent it is 30.
        jitter: share of the wait that chance may add; optional, and if absent it is 0.2.
        reset_after: seconds of being up after which failures count anew; optional, and if absent
            it is `(first + maximum) / 2`.

    Raises:
        InvalidStrategy: a value that cannot be used.

    """

    first: float = 0.1
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.2
    reset_after: float | None = None

    def __post_init__(self) -> None:
        InvalidStrategy.raise_any(self._problems())

    def _problems(self) -> Iterator[InvalidChildSpec]:
        if not _number(self.first) or self.first < 0:
            yield InvalidStrategy("first", self.first, "seconds, 0 or more")
        if not _number(self.factor) or self.factor < 1:
            yield InvalidStrategy("factor", self.factor, "a number, 1 or more")
        if not _number(self.maximum) or (_number(self.first) and self.maximum < self.first):
            yield InvalidStrategy("maximum", self.maximum, "seconds, `first` or more")
        if not _number(self.jitter) or self.jitter < 0:
            yield InvalidStrategy("jitter", self.jitter, "a share, 0 or more (0.2 adds up to 20 %)")
        if self.reset_after is not None and (not _number(self.reset_after) or self.reset_after < 0):
            yield InvalidStrategy("reset_after", self.reset_after, "seconds, or None")

    @property
    def stable(self) -> float:
        """Seconds of being up after which failures count anew."""
        if self.reset_after is not None:
            return self.reset_after
        return (self.first + self.maximum) / 2

    def delay(self, failures: int, random: random.Random) -> float:
        """Seconds to wait when `failures` restarts in a row came before this one."""
        if self.first > 0 and self.factor > 1:
            # Past this exponent the power is above the cap anyway, and might overflow.
            failures = min(failures, int(math.log(_HUGE / self.first, self.factor)) + 1)
        wait = min(self.maximum, self.first * self.factor**failures)
        if self.jitter:
            wait *= 1 + random.uniform(0, self.jitter)
        return wait


@dataclass(frozen=True)
class Strategy:
    """What a supervisor restarts when a child fails, and how often it may.

    Use one of `OneForOne`, `OneForAll`, `RestForOne`.

    Args:
        intensity: restarts allowed within `period`; one more and the supervisor gives up, which is
            a failure to the supervisor above. 0 gives up at the first failure. `None` (no limit)
            only with `budget="child"`. Optional, and if absent it is 3.
        period: seconds of the sliding window; optional, and if absent it is 5.
        budget: `"supervisor"` counts the restarts of all children together, as OTP does; a group
            restart counts once. `"child"` counts each child alone, as Akka does: a child over its
            budget stops with `RestartLimit`, its siblings and the supervisor live on. Optional,
            and if absent it is `"supervisor"`.
        backoff: waiting times before a restart; optional, and if absent restarts are immediate.

    Raises:
        InvalidStrategy: a value that cannot be used.

    """

    name: ClassVar[str] = ""

    intensity: int | None = INTENSITY
    period: float = PERIOD
    budget: Literal["supervisor", "child"] = "supervisor"
    backoff: Backoff | None = None

    def __post_init__(self) -> None:
        InvalidStrategy.raise_any(self._problems())

    def _problems(self) -> Iterator[InvalidChildSpec]:
        if type(self) is Strategy:
            yield InvalidStrategy("strategy", Strategy, "OneForOne, OneForAll or RestForOne")
        if self.budget not in ("supervisor", "child"):
            yield InvalidStrategy("budget", self.budget, '"supervisor" or "child"')
        if self.intensity is None:
            if self.budget == "supervisor":
                yield InvalidStrategy(
                    "intensity", None, 'a whole number; no limit is for budget="child" only'
                )
        elif (
            not isinstance(self.intensity, int)
            or isinstance(self.intensity, bool)
            or self.intensity < 0
        ):
            yield InvalidStrategy("intensity", self.intensity, "a whole number, 0 or more")
        if not _number(self.period) or self.period <= 0:
            yield InvalidStrategy("period", self.period, "seconds, more than 0 and finite")
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            yield InvalidStrategy("backoff", self.backoff, "a Backoff or None")

    def new_budget(self) -> Budget:
        """A fresh budget with this strategy's limits."""
        return Budget(self.intensity, self.period)


@dataclass(frozen=True)
class OneForOne(Strategy):
    """Restart the child that failed, and it alone. See `Strategy` for the arguments."""

    name: ClassVar[str] = "one_for_one"


@dataclass(frozen=True)
class OneForAll(Strategy):
    """Stop all children in reverse order, then start all again. See `Strategy`."""

    name: ClassVar[str] = "one_for_all"


@dataclass(frozen=True)
class RestForOne(Strategy):
    """Stop the children started after the failed one, then start it and them. See `Strategy`."""

    name: ClassVar[str] = "rest_for_one"


STRATEGIES: dict[str, type[Strategy]] = {
    kind.name: kind for kind in (OneForOne, OneForAll, RestForOne)
}
