"""Pulses: liveness of what runs elsewhere, by signs of life and pings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors import Clock, Heartbeat

__all__ = ["Pulse"]

logger = logging.getLogger("understudy.supervision")


class Pulse:
    """Something that cannot be seen from this process, and whether it lives.

    Natural activity comes first: while `beat()` was called within the interval nobody pings it.
    Then it is pinged once an interval, and after the timeout without a sign of life it is silent.

    Attributes:
        name: what it is called.
        silent: whether it was found silent and has not been heard of since.

    """

    __slots__ = (
        "_asked",
        "_clock",
        "_group",
        "_last",
        "_on_silent",
        "_ping",
        "_rule",
        "name",
        "silent",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        ping: Callable[[], Any],
        on_silent: Callable[[Pulse, float], object],
        rule: Heartbeat,
        clock: Clock,
        group: dict[str, Pulse],
    ) -> None:
        self.name = name
        self.silent = False
        self._ping = ping
        self._on_silent = on_silent
        self._rule = rule
        self._clock = clock
        self._group = group
        self._last = clock.monotonic()
        self._asked: float | None = None

    def beat(self) -> None:
        """It was heard of just now."""
        self._last = self._clock.monotonic()
        self._asked = None
        self.silent = False

    def cancel(self) -> None:
        """Watch it no more."""
        if self._group.get(self.name) is self:
            del self._group[self.name]

    def look(self, now: float, *, late: bool) -> None:
        """Judge it at a sweep; `late` where the detector itself was away."""
        if late:
            self._last = now
            self._asked = None
            return
        quiet = now - self._last
        interval = self._rule.interval or 0.0
        if quiet >= self._rule.timeout:
            if not self.silent:
                self.silent = True
                logger.error("%s has given no sign of life for %.1f s", self.name, quiet)
                self._call(lambda: self._on_silent(self, quiet))
            return
        if quiet >= interval and (self._asked is None or now - self._asked >= interval):
            self._asked = now
            self._call(self._ask)

    def _ask(self) -> None:
        answer = self._ping()
        if answer is True:
            self.beat()
        elif hasattr(answer, "add_done_callback"):
            answer.add_done_callback(self._answered)

    def _answered(self, future: Any) -> None:
        if not future.cancelled() and future.exception() is None:
            self.beat()

    def _call(self, fn: Callable[[], object]) -> None:
        try:
            fn()
        except Exception:
            logger.exception("%s: error while asking for a sign of life", self.name)
