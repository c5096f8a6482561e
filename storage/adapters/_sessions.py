"""Choosing sessions where no database does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.storage._protocols import SessionRecord
from understudy.storage.adapters._values import from_micros, micros, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from understudy.storage._protocols import ListOptions


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as stored; `data` may be left empty where only the choice matters."""

    id: str
    data: bytes
    active_agent: str | None
    created_at: int
    updated_at: int

    def record(self) -> SessionRecord:
        """The session as callers get it."""
        return SessionRecord(
            self.id,
            unpack(self.data),
            self.active_agent,
            from_micros(self.created_at),
            from_micros(self.updated_at),
        )


def select_sessions(rows: Iterable[SessionRow], options: ListOptions) -> list[str]:
    """The ids that the options ask for, sorted and cut."""
    agent = options.active_agent
    since = until = None
    if options.updated_since is not None:
        since = micros(options.updated_since, "updated_since")
    if options.updated_until is not None:
        until = micros(options.updated_until, "updated_until")
    chosen = [
        row
        for row in rows
        if (agent is None or row.active_agent == agent)
        and (since is None or row.updated_at >= since)
        and (until is None or row.updated_at < until)
    ]
    if options.sort == "id":
        chosen.sort(key=lambda row: row.id, reverse=options.reverse)
    elif options.sort == "created_at":
        chosen.sort(key=lambda row: (row.created_at, row.id), reverse=options.reverse)
    else:
        chosen.sort(key=lambda row: (row.updated_at, row.id), reverse=options.reverse)
    stop = None if options.limit is None else options.offset + options.limit
    return [row.id for row in chosen[options.offset : stop]]
