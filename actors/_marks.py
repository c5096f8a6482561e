"""Marks in mailboxes: how long mail has waited, at no cost to those who send it.

A send to a default mailbox reads no clock, and a plain message has no place for a time. Instead
somebody who sweeps (the failure detector) puts a mark with the time at the end of every mailbox
where mail waits. What lies before a mark has waited at least since then; when the actor comes to
the mark, all of that is served, and the next mark speaks for the rest.

Where to look is known without looking at all actors: mail waits behind a handler that runs, in
the queues of the dispatchers, and behind a suspended incarnation.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from understudy.actors._envelope import Special
from understudy.actors._strand import strands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from understudy.actors._runtime import Runtime

__all__ = ["Mark", "Marks"]

READY = 1000
"""How many of the actors that wait for a thread are marked in one sweep: those who waited longest.
More than that is a dispatcher that starves, which is reported as such."""


class Mark(Special):
    """All before it was sent before `since`, in the clock's monotonic seconds."""

    __slots__ = ("since",)

    def __init__(self, since: float) -> None:
        self.since = since


class Marks:
    """The marks that lie in the mailboxes of one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._marks: dict[Any, deque[Mark]] = {}
        self.active = False

    def sweep(self, now: float, passed_over: AbstractSet[Any] = frozenset()) -> None:
        """Set marks where mail waits, and forget mailboxes that are empty again.

        Called at an interval, by one thread at a time; `now` is in the clock's monotonic seconds.
        Suspended calls that are `passed_over` are not looked behind this time.
        """
        self.active = True
        for cell in {*self._marks, *self._candidates(passed_over)}:
            self._look(cell, now)

    def _candidates(self, passed_over: AbstractSet[Any]) -> Iterator[Any]:
        runtime = self._runtime
        for strand in strands():
            for cell in islice(strand.stack(), 64):
                if cell._us_rt is runtime:
                    yield cell
        for turn in runtime.turns.difference(passed_over):
            yield turn.cell
        for dispatcher in tuple(runtime.dispatchers.values()):
            yield from tuple(getattr(dispatcher, "ready", ()))[:READY]

    def _look(self, cell: Any, now: float) -> None:
        marks = self._marks.get(cell)
        if not cell._us_markable() or (not cell._us_mail() and not cell._us_suspended()):
            if marks is not None:
                del self._marks[cell]
            return
        if marks is None:
            marks = self._marks[cell] = deque()
        last = cell._us_waiting(-1)
        if last is not None and last.__class__ is not Mark:  # something has come since the last
            mark = Mark(now)
            marks.append(mark)
            cell._us_put((mark, None, None, None, 0, None, None))

    def expect(self, cell: Any) -> None:
        """Look at this actor too: it is suspended, and mail may come."""
        if self.active:
            self._marks.setdefault(cell, deque())

    def served(self, cell: Any, mark: Mark) -> None:
        """The actor has come to a mark."""
        marks = self._marks.get(cell)
        while marks:
            if marks.popleft() is mark:
                return

    def count(self, cell: Any) -> int:
        """How many marks lie in this mailbox."""
        marks = self._marks.get(cell)
        return len(marks) if marks is not None else 0

    def oldest_age(self, cell: Any, now: float) -> float | None:
        """Seconds the longest waiting message has waited at least; None if nobody sweeps."""
        if not self.active:
            return None
        first = cell._us_waiting(0)
        for mark in tuple(islice(self._marks.get(cell, ()), 2)):
            if mark is not first:  # one that is next says nothing about the mail behind it
                return max(0.0, now - mark.since)
        return 0.0
