"""The rules of appending and selecting, written once for all adapters.

Adapters differ in where they keep a stream's head, its ids and its events; what may be
appended and what a reader gets is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from understudy.storage._errors import (
    BadEvent,
    DuplicateEvent,
    StaleEpoch,
    StreamTombstoned,
    WrongExpectedSeq,
)
from understudy.storage._protocols import StreamEnd
from understudy.storage._record import PRIORITIES, Record
from understudy.storage.adapters._values import (
    check_name,
    from_micros,
    micros,
    new_id,
    pack,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from understudy.storage._record import NewEvent, Priority

PAGE = 1000  # events fetched at once by a reader: bounds its memory, costs one round trip


@dataclass(slots=True)
class Head:
    """What a store remembers of a stream, also after its events are gone."""

    last_seq: int = 0
    low_seq: int = 1  # the first seq that may still be read
    epoch: int = 0
    tombstone: bool = False
    deleted_at: int = 0  # the last seq when all of it was deleted

    def is_at(self, expected_seq: int) -> bool:
        """Whether a writer that expects this seq may write; a deleted stream is also at 0."""
        if expected_seq == 0 and self.deleted_at == self.last_seq:
            return True
        return expected_seq == self.last_seq

    def end(self, stream: str) -> StreamEnd:
        """The head of a stream without events, as others are told of it."""
        deleted = self.deleted_at == self.last_seq > 0
        return StreamEnd(stream, self.last_seq, deleted, self.tombstone)

    def delete(self, stream: str, *, tombstone: bool) -> None:
        """Note that all events go; what was closed for ever cannot be merely deleted."""
        if self.tombstone and not tombstone:
            raise StreamTombstoned(stream, self.last_seq)
        self.tombstone = tombstone
        self.deleted_at = self.last_seq


@dataclass(slots=True)
class Row:
    """One event as it is stored: the fields that are searched, and the packed rest."""

    position: int
    stream: str
    seq: int
    type: str
    version: int
    id: str
    time: int
    priority: Priority
    body: bytes

    def record(self) -> Record:
        """The event as readers get it."""
        payload, metadata, topics = unpack(self.body)
        return Record.of(
            position=self.position,
            stream=self.stream,
            seq=self.seq,
            type=self.type,
            version=self.version,
            timestamp=from_micros(self.time),
            id=self.id,
            payload=payload,
            metadata=metadata,
            priority=self.priority,
            topics=tuple(topics),
        )


def new_rows(stream: str, events: Sequence[NewEvent], now: int) -> list[Row]:
    """The rows of an append, without their place; refuses the batch as a whole."""
    check_name(stream, "stream")
    if not events:
        raise ValueError(f"append to {stream!r} with no events: give at least one")
    rows = []
    for index, event in enumerate(events):
        reason = _fault(event)
        if reason:
            raise BadEvent(reason, stream=stream, index=index)
        rows.append(
            Row(
                position=0,
                stream=stream,
                seq=0,
                type=event.type,
                version=event.version,
                id=event.id or new_id(),
                time=now,
                priority=event.priority,
                body=pack(
                    (event.payload, event.metadata, list(event.topics)), stream=stream, index=index
                ),
            )
        )
    ids = [row.id for row in rows]
    if len(set(ids)) != len(ids):
        index = next(n for n, i in enumerate(ids) if i in ids[:n])
        raise BadEvent(f"its id {ids[index]!r} is in the batch twice", stream=stream, index=index)
    return rows


def _fault(event: NewEvent) -> str | None:
    """What is wrong with an event apart from its payload, which is found out by packing it."""
    if not isinstance(event.type, str) or not event.type:
        return f"its type is {event.type!r}, not a text"
    if event.priority not in PRIORITIES:
        return f"its priority is {event.priority!r}, not 'normal' or 'critical'"
    if event.id is not None and (not isinstance(event.id, str) or not event.id):
        return f"its id is {event.id!r}, not a text"
    if isinstance(event.topics, str):
        return f"its topics are the text {event.topics!r}, not a list of texts"
    if event.version < 1:
        return f"its version is {event.version!r}, not 1 or more"
    return None


def row_of(record: Record) -> Row:
    """The row of an event that comes from another store."""
    body = pack((record.payload, record.metadata, list(record.topics)), stream=record.stream)
    return Row(
        position=0,
        stream=record.stream,
        seq=record.seq,
        type=record.type,
        version=record.version,
        id=record.id,
        time=micros(record.timestamp, "timestamp"),
        priority=record.priority,
        body=body,
    )


def plan_append(
    stream: str,
    head: Head,
    ids: Sequence[str],
    known: Mapping[str, int],
    *,
    expected_seq: int | None,
    epoch: int | None,
) -> tuple[int, int] | None:
    """Decide an append: None to write it, or the first and last seq it has from before.

    Args:
        stream: for the errors.
        head: the stream's head.
        ids: the ids of the events, in order.
        known: the seq of each of them that the stream already holds.
        expected_seq: what the caller expects.
        epoch: the caller's incarnation.
    """
    if head.tombstone:
        raise StreamTombstoned(stream, head.last_seq)
    if epoch is not None and epoch < head.epoch:
        raise StaleEpoch(stream, epoch, head.epoch)
    if not known:
        if expected_seq is not None and not head.is_at(expected_seq):
            raise WrongExpectedSeq(stream, expected_seq, head.last_seq)
        return None
    seqs = [known.get(i) for i in ids]
    first = seqs[0]
    if first is None or seqs != list(range(first, first + len(ids))):
        there = next(i for i in ids if i in known)
        raise DuplicateEvent(stream, there, known[there], head.last_seq)
    if expected_seq is not None and expected_seq != first - 1:
        raise WrongExpectedSeq(stream, expected_seq, head.last_seq)
    return first, first + len(ids) - 1


def plan_restore(head: Head, row: Row, known_id: str | None) -> bool:
    """Decide one event of a restore: True to write it, False if it is here already.

    Args:
        head: the stream's head.
        row: the event.
        known_id: the id the stream holds at that seq, if it holds one.
    """
    if head.tombstone:
        raise StreamTombstoned(row.stream, head.last_seq)
    if row.seq <= head.last_seq:
        # Below the low seq the event was here and has been dropped since.
        if known_id == row.id or row.seq < head.low_seq:
            return False
        raise WrongExpectedSeq(row.stream, row.seq - 1, head.last_seq)
    if head.last_seq and row.seq != head.last_seq + 1:
        raise WrongExpectedSeq(row.stream, row.seq - 1, head.last_seq)
    return True


class Selection:
    """Which events a reader wants, beside the range of seq or position."""

    def __init__(
        self,
        types: Iterable[str] | None,
        topics: Iterable[str] | None,
        since: datetime | None,
        until: datetime | None,
        priority: str | None,
        limit: int | None,
    ) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"limit is {limit}: use 0 or more, or None for all")
        self.types = None if types is None else _texts(types)
        self.topics = None if topics is None else _texts(topics)
        self.since = None if since is None else micros(since, "since")
        self.until = None if until is None else micros(until, "until")
        self.priority = priority
        self.limit = limit

    def takes(self, row: Row) -> bool:
        """Whether the event is wanted, topics left out: they are in the packed part."""
        return (
            (self.types is None or row.type in self.types)
            and (self.since is None or row.time >= self.since)
            and (self.until is None or row.time < self.until)
            and (self.priority is None or row.priority == self.priority)
        )

    def takes_topics(self, topics: Sequence[Any]) -> bool:
        """Whether one of the topics is wanted."""
        return self.topics is None or not self.topics.isdisjoint(topics)


def _texts(value: Iterable[str]) -> frozenset[str]:
    """The names; a single text is one name."""
    return frozenset((value,) if isinstance(value, str) else value)


class Fetch(Protocol):
    """How a store hands out a page of events."""

    def __call__(self, after: int, until: int, size: int) -> Sequence[Row]:
        """At most `size` events with a place above `after`, up to and including `until`.

        The lowest of them in ascending order; for a reader that goes backwards, the
        highest in descending order.
        """
        ...


def select(
    fetch: Fetch,
    place: Literal["seq", "position"],
    selection: Selection,
    after: int,
    until: int,
    *,
    reverse: bool,
) -> Iterator[Record]:
    """The wanted events, page by page; a reader that is slow holds nothing open."""
    left = selection.limit
    while left is None or left > 0:
        page = fetch(after, until, PAGE)
        for row in page:
            if not selection.takes(row):
                continue
            record = row.record()
            if not selection.takes_topics(record.topics):
                continue
            yield record
            if left is not None:
                left -= 1
                if not left:
                    return
        if len(page) < PAGE:
            return
        last: int = getattr(page[-1], place)
        if reverse:
            until = last - 1
        else:
            after = last
