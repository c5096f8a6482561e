"""The retention keeper: what drops from the journal what nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.actors import Actor
from understudy.storage import RetentionPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.storage import Journal

__all__ = ["RetentionKeeper"]

_KEEP = object()
LEASE = 3600.0
"""Seconds a round may stand still: it waits for the disk, and nothing waits for it."""


class RetentionKeeper(Actor):
    """Has the journal keep to a policy, once an interval.

    With the default policy no event is ever dropped: only archives, completed effects with their
    dedupe keys and expired rows go, after 30 days. Any message but its own is answered with how
    many rounds it has made.

    Args:
        journal: gives the open journal, or None while there is none.
        policy: what is kept; optional, and if absent the default policy.

    """

    def __init__(
        self, journal: Callable[[], Journal | None], policy: RetentionPolicy | None = None
    ) -> None:
        super().__init__()
        self._us_journal = journal
        self._us_policy = policy or RetentionPolicy()
        self._us_rounds = 0

    def on_start(self) -> None:
        """Set the timer."""
        self.context.schedule_every(self._us_policy.interval, _KEEP)

    def on_receive(self, message: Any) -> int:
        """One round, on a thread of the pool; the journal's writer carries it out."""
        if message is _KEEP:
            journal = self._us_journal()
            if journal is not None:
                self.context.heartbeat(lease=LEASE)
                journal.keep(self._us_policy)
                self._us_rounds += 1
        return self._us_rounds
