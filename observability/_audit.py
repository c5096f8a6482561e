"""The audit trail: the journal itself, filtered by who did what on whose behalf."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from understudy.storage import Journal, Record

# What the rooms below write into a record's metadata where they know it.
ACTOR = "actor"
REQUEST = "request_id"
TRACE = "traceparent"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the trail.

    Attributes:
        position: Place in the journal; dense over everything, so a gap cannot be hidden.
        at: When it was committed, in UTC.
        stream: The stream it belongs to, such as `session:ada:echo:t1`.
        seq: Its number in that stream.
        what: The event's type.
        actor: The path of the actor that wrote it, where one did.
        request_id: The request it was done for, where there was one.
        trace_id: The trace it belongs to, where there was one.
        metadata: All that was written beside the event.
    """

    position: int
    at: datetime
    stream: str
    seq: int
    what: str
    actor: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def audit(
    journal: Journal,
    *,
    stream: str | None = None,
    after: int = 0,
    types: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    actor: str | None = None,
    request_id: str | None = None,
    trace_id: str | None = None,
    limit: int | None = None,
) -> Iterator[AuditEntry]:
    """What happened, oldest first: a view of the journal that keeps nothing of its own.

    Nothing can be in the trail that is not in the journal, and nothing that was acknowledged can
    be missing from it. Payloads are left out: a trail is shown to people who may know that a
    message was sent and not what it said.

    Args:
        journal: An open journal; one opened `readonly` beside a running system will do.
        stream: Only this stream; `after` then counts in it.
        after: Only what comes behind this position (or seq).
        types: Only these event types.
        since: Only from this time on; an aware datetime.
        until: Only before this time; an aware datetime.
        actor: Only what this actor (a path) wrote, or any actor below it.
        request_id: Only what was done for this request.
        trace_id: Only what belongs to this trace.
        limit: At most so many entries.
    """
    records: Iterator[Record] = (
        iter(journal.read_all(after=after, types=types, since=since, until=until))
        if stream is None
        else iter(journal.read(stream, after=after, types=types, since=since, until=until))
    )
    given = 0
    for record in records:
        if limit is not None and given >= limit:
            return
        entry = _entry(record)
        if actor is not None and not _below(entry.actor, actor):
            continue
        if request_id is not None and entry.request_id != request_id:
            continue
        if trace_id is not None and entry.trace_id != trace_id:
            continue
        given += 1
        yield entry


def _entry(record: Record) -> AuditEntry:
    metadata = record.metadata or {}
    return AuditEntry(
        position=record.position,
        at=record.timestamp,
        stream=record.stream,
        seq=record.seq,
        what=record.type,
        actor=_text(metadata.get(ACTOR)),
        request_id=_text(metadata.get(REQUEST)),
        trace_id=_trace_id(metadata),
        metadata=metadata,
    )


def _trace_id(metadata: Mapping[str, Any]) -> str | None:
    parent = metadata.get(TRACE)
    # version-traceid-spanid-flags, as W3C writes it
    parts = parent.split("-") if isinstance(parent, str) else ()
    return parts[1] if len(parts) >= 4 else _text(metadata.get("trace_id"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _below(path: str | None, root: str) -> bool:
    return path is not None and (path == root or path.startswith(root.rstrip("/") + "/"))
