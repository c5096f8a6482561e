"""Streams of events in memory."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from understudy.storage._record import AppendResult
from understudy.storage.adapters._rules import (
    Head,
    Row,
    Selection,
    new_rows,
    plan_append,
    plan_restore,
    row_of,
    select,
)
from understudy.storage.adapters._values import seconds_to_micros

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from understudy.storage._protocols import StreamEnd
    from understudy.storage._record import NewEvent, Record
    from understudy.storage.adapters._rules import Fetch

_BY_SEQ = attrgetter("seq")
_BY_POSITION = attrgetter("position")


@dataclass(slots=True)
class _Stream:
    head: Head = field(default_factory=Head)
    rows: list[Row] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)  # by event id


class MemoryJournal:
    """The journal of a memory store. See `JournalStore` for what each method promises."""

    def __init__(
        self,
        entered: Callable[[], threading.RLock],
        clock: Callable[[], float],
        forget_snapshots: Callable[[str], object],
    ) -> None:
        self._entered = entered
        self._clock = clock
        self._forget_snapshots = forget_snapshots
        self._streams: dict[str, _Stream] = {}
        self._log: list[Row] = []
        self._position = 0

    def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected_seq: int | None = None,
        epoch: int | None = None,
    ) -> AppendResult:
        """Add events to the end of a stream, all or none."""
        rows = new_rows(stream, events, seconds_to_micros(self._clock()))
        ids = [row.id for row in rows]
        with self._entered():
            known_stream = self._streams.get(stream)
            found = known_stream or _Stream()
            head = found.head
            known = {i: found.seqs[i] for i in ids if i in found.seqs}
            before = plan_append(stream, head, ids, known, expected_seq=expected_seq, epoch=epoch)
            if before is not None:
                first, last = before
                row = found.rows[bisect.bisect_left(found.rows, last, key=_BY_SEQ)]
                return AppendResult(stream, first, last, row.position, duplicate=True)
            self._streams[stream] = found
            first = head.last_seq + 1
            head.epoch = max(head.epoch, epoch or 0)
            for row in rows:
                row.seq = head.last_seq + 1
                self._add(found, row)
            return AppendResult(stream, first, head.last_seq, self._position)

    def _add(self, stream: _Stream, row: Row) -> None:
        self._position += 1
        row.position = self._position
        stream.head.last_seq = row.seq
        stream.rows.append(row)
        stream.seqs[row.id] = row.seq
        self._log.append(row)

    def restore(self, records: Iterable[Record]) -> int:
        """Take over events of another store with their seq, id and time."""
        written = 0
        for record in records:
            row = row_of(record)
            with self._entered():
                stream = self._streams.setdefault(row.stream, _Stream())
                same = stream.seqs.get(row.id) == row.seq
                if plan_restore(stream.head, row, row.id if same else None):
                    if not stream.head.last_seq:
                        stream.head.low_seq = row.seq
                    self._add(stream, row)
                    written += 1
        return written

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        until_seq: int | None = None,
        types: Iterable[str] | None = None,
        topics: Iterable[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        priority: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Record]:
        """The events of one stream, in order of seq."""
        selection = Selection(types, topics, since, until, priority, limit)
        with self._entered():
            found = self._streams.get(stream) or _Stream()
            last = found.head.last_seq
        high = last if until_seq is None else min(last, until_seq)
        fetch = self._fetch(lambda: found.rows, _BY_SEQ, reverse=reverse)
        return select(fetch, "seq", selection, after, high, reverse=reverse)

    def read_all(
        self,
        *,
        after: int = 0,
        types: Iterable[str] | None = None,
        topics: Iterable[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        priority: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Record]:
        """The events of all streams in order of position."""
        selection = Selection(types, topics, since, until, priority, limit)
        fetch = self._fetch(lambda: self._log, _BY_POSITION, reverse=reverse)
        return select(fetch, "position", selection, after, self.last_position(), reverse=reverse)

    def _fetch(
        self, log: Callable[[], list[Row]], place: Callable[[Row], int], *, reverse: bool
    ) -> Fetch:
        def fetch(after: int, until: int, size: int) -> Sequence[Row]:
            with self._entered():
                rows = log()
                start = bisect.bisect_right(rows, after, key=place)
                stop = bisect.bisect_right(rows, until, key=place)
                if reverse:
                    return rows[max(start, stop - size) : stop][::-1]
                return rows[start : min(stop, start + size)]

        return fetch

    def last_seq(self, stream: str) -> int:
        """The highest seq the stream ever had, 0 if none."""
        with self._entered():
            found = self._streams.get(stream)
            return 0 if found is None else found.head.last_seq

    def last_position(self) -> int:
        """The position of the last event written, 0 if none."""
        with self._entered():
            return self._position

    def streams(self) -> list[str]:
        """The names of the streams with at least one event that can be read, sorted."""
        with self._entered():
            return sorted(name for name, stream in self._streams.items() if stream.rows)

    def ends(self) -> Iterator[StreamEnd]:
        """Every stream that was written or closed and holds no event, by name."""
        with self._entered():
            found = [
                stream.head.end(name)
                for name, stream in sorted(self._streams.items())
                if not stream.rows and (stream.head.last_seq or stream.head.tombstone)
            ]
        return iter(found)

    def truncate(self, stream: str, before_seq: int) -> int:
        """Drop the events with a seq below `before_seq`; returns how many."""
        with self._entered():
            found = self._streams.get(stream)
            if found is None:
                return 0
            return self._drop(found, min(before_seq, found.head.last_seq + 1))

    def delete(self, stream: str, *, tombstone: bool = False) -> int:
        """Drop all events of a stream, and its snapshots; returns how many events."""
        with self._entered():
            found = self._streams.setdefault(stream, _Stream())
            found.head.delete(stream, tombstone=tombstone)
            self._forget_snapshots(stream)
            return self._drop(found, found.head.last_seq + 1)

    def _drop(self, stream: _Stream, before_seq: int) -> int:
        stream.head.low_seq = max(stream.head.low_seq, before_seq)
        count = bisect.bisect_left(stream.rows, before_seq, key=_BY_SEQ)
        gone = {row.position for row in stream.rows[:count]}
        for row in stream.rows[:count]:
            del stream.seqs[row.id]
        # New lists: a reader that is under way looks at whole ones, never at a shifting one.
        stream.rows = stream.rows[count:]
        if gone:
            self._log = [row for row in self._log if row.position not in gone]
        return count

    def count(self) -> int:
        """How many events can be read."""
        return len(self._log)

    def clear(self) -> None:
        """Forget all streams, also how far they had come."""
        self._streams.clear()
        self._log = []
        self._position = 0
