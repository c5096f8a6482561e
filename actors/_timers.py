"""Timers of one incarnation: once or at a steady beat, on the system's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.actors._envelope import TimerDue
from understudy.actors._errors import ActorDeadError, MailboxFull

if TYPE_CHECKING:
    from understudy.actors._clock import Clock, Handle

__all__ = ["Timer"]


class Timer:
    """A message that will be sent; `cancel()` keeps it from being sent, and from being handled.

    A timer of `schedule_every` keeps the beat of its start: the n-th message is due n intervals
    after it, however late the one before was.
    """

    __slots__ = (
        "_cell",
        "_clock",
        "_handle",
        "_interval",
        "_message",
        "_start",
        "_target",
        "_tick",
    )

    def __init__(
        self,
        cell: Any,
        clock: Clock,
        delay: float,
        message: Any,
        target: Any,
        *,
        interval: float | None,
    ) -> None:
        self._cell = cell
        self._clock = clock
        self._interval = interval
        self._message = message
        self._target = target
        self._start = clock.monotonic()
        self._tick = 1
        self._handle: Handle | None = clock.call_at(self._start + delay, self._due)

    @property
    def active(self) -> bool:
        """Whether a message of this timer may still come."""
        return self._cell is not None

    def cancel(self) -> bool:
        """Stop it, also if its message waits in the actor's own mailbox already.

        False if it had ended before.
        """
        cell, self._cell = self._cell, None
        if cell is None:
            return False
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()
        self._forget(cell)
        return True

    def _forget(self, cell: Any) -> None:
        extra = cell._us_extra
        if extra is not None and extra.timers is not None:
            extra.timers.discard(self)

    def _due(self) -> None:
        """The time has come (clock thread)."""
        cell = self._cell
        if cell is None:
            return
        interval = self._interval
        if interval is not None:
            self._tick += 1
            self._handle = self._clock.call_at(self._start + self._tick * interval, self._due)
        target = self._target
        if target is None:
            cell._us_put((TimerDue(self, self._message), None, None, None, 0, None, None))
            return
        if interval is None:
            self._cell = None
            self._forget(cell)
        item = (self._message, None, cell, None, 0, None, None)
        try:
            if not target._us_offer(item, wait=False):
                target._us_undeliverable(item, "overflow")
        except MailboxFull:
            target._us_undeliverable(item, "overflow")
        except ActorDeadError:
            if interval is not None:  # nobody is there any more: the dead letter says so, once
                self.cancel()

    def _take(self, cell: Any) -> bool:
        """Its message is about to be handled: is it still wanted?"""
        if self._cell is not cell:
            return False
        if self._interval is None:
            self._cell = None
            self._forget(cell)
        return True
