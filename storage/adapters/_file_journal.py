"""Streams of events as files that people can read, with an index in memory."""

from __future__ import annotations

import bisect
import contextlib
import errno
import itertools
import os
from dataclasses import replace
from io import FileIO
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import CorruptRecord
from understudy.storage._record import AppendResult
from understudy.storage.adapters import _file_log as log
from understudy.storage.adapters._file_index import FileIndex
from understudy.storage.adapters._files import (
    remove,
    reported,
    sync_folder,
    write_whole,
)
from understudy.storage.adapters._rules import (
    PAGE,
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
    from pathlib import Path

    from understudy.storage._protocols import StreamEnd
    from understudy.storage._record import NewEvent, Record
    from understudy.storage.adapters._file_index import FileStream
    from understudy.storage.adapters._file_log import Entry

#: Files kept open for appending; chosen by feel, far below what a process may open.
OPEN_FILES = 64

_SEQ = attrgetter("seq")
_POSITION = itemgetter(0)


class FileJournal:
    """The journal of a filesystem store. See `JournalStore` for what each method promises.

    An append is one write and one flush of one file. What a stream was before its events
    were dropped (its last seq, its tombstone) stands in `metadata.json`.
    """

    def __init__(
        self,
        entered: Callable[[], threading.RLock],
        clock: Callable[[], float],
        forget_snapshots: Callable[[str], object],
    ) -> None:
        self._entered = entered
        self._clock = clock
        self._forget_snapshots = forget_snapshots
        self._index = FileIndex()
        self._files: dict[str, FileIO] = {}

    # --- opening and closing, called by the adapter under its lock ------------------------

    def load(self, events: Path, settings: dict[str, Any]) -> None:
        """Read the index from the files below `events`, and see that the settings stand there."""
        self._index.load(events)
        if self._index.settings != settings:
            self._index.settings = settings
            self._index.write_metadata()

    def unload(self) -> None:
        """Close the files and forget the index."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._index.clear()

    # --- writing --------------------------------------------------------------------------

    def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected_seq: int | None = None,
        epoch: int | None = None,
    ) -> AppendResult:
        """Add events to the end of a stream, all or none, flushed to the disk."""
        rows = new_rows(stream, events, seconds_to_micros(self._clock()))
        ids = [row.id for row in rows]
        with self._entered(), reported():
            known_stream = self._index.streams.get(stream)
            head = known_stream.head if known_stream else Head()
            seqs = known_stream.seqs if known_stream else {}
            known = {i: seqs[i] for i in ids if i in seqs}
            before = plan_append(stream, head, ids, known, expected_seq=expected_seq, epoch=epoch)
            if before is not None and known_stream is not None:
                first, last = before
                place = bisect.bisect_left(known_stream.entries, last, key=_SEQ)
                position = known_stream.entries[place].position
                return AppendResult(stream, first, last, position, duplicate=True)
            first = head.last_seq + 1
            for seq, row in enumerate(rows, first):
                row.seq = seq
            self._write(self._index.stream(stream), rows, epoch or 0)
            return AppendResult(stream, first, first + len(rows) - 1, self._index.position)

    def _write(
        self, stream: FileStream, rows: Sequence[Row], epoch: int, *, flush: bool = True
    ) -> None:
        """Write rows that have their seq, as one batch; gives them their positions."""
        lines = []
        entries = []
        offset = stream.size
        for number, row in enumerate(rows, 1):
            row.position = self._index.position + number
            line = log.write_line(row, more=len(rows) - number, epoch=epoch)
            lines.append(line)
            entries.append(log.Entry(row.seq, row.position, row.id, offset, len(line)))
            offset += len(line)
        self._write_lines(stream, b"".join(lines), flush=flush)
        stream.size = offset
        stream.head.epoch = max(stream.head.epoch, epoch)
        stream.add(entries)
        self._index.order += [(entry.position, stream.name, entry.seq) for entry in entries]
        self._index.position += len(rows)

    def _write_lines(self, stream: FileStream, data: bytes, *, flush: bool) -> None:
        try:
            file = self._opened(stream)
            written = file.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(stream.path))
            if flush:
                os.fsync(file.fileno())
        except OSError:
            # Part of it may have reached the file; opening it again cuts that off.
            self._close_file(stream.name)
            with contextlib.suppress(OSError):
                self._opened(stream)
            raise

    def _opened(self, stream: FileStream) -> FileIO:
        """The file, ready to be written where the last acknowledged event ends."""
        file = self._files.pop(stream.name, None)
        if file is None:
            is_new = not stream.path.exists()
            file = FileIO(stream.path, "ab")
            try:
                if file.seek(0, os.SEEK_END) > stream.size:
                    file.truncate(stream.size)
                    os.fsync(file.fileno())
                if is_new:
                    sync_folder(stream.path.parent)
            except OSError:
                file.close()
                raise
            if len(self._files) >= OPEN_FILES:
                self._close_file(next(iter(self._files)))
        self._files[stream.name] = file  # at the end: the least used is the first
        return file

    def _close_file(self, name: str) -> None:
        file = self._files.pop(name, None)
        if file is not None:
            file.close()

    def restore(self, records: Iterable[Record]) -> int:
        """Take over events of another store with their seq, id and time.

        They are flushed together, a thousand at a time.
        """
        written = 0
        page: list[Row] = []
        for record in records:
            page.append(row_of(record))
            if len(page) == PAGE:
                written += self._restore(page)
                page = []
        return written + self._restore(page)

    def _restore(self, rows: Sequence[Row]) -> int:
        written = 0
        touched: dict[str, FileStream] = {}
        with self._entered(), reported():
            try:
                for name, run in itertools.groupby(rows, key=attrgetter("stream")):
                    known = self._index.streams.get(name)
                    head = replace(known.head) if known else Head()
                    new: list[Row] = []
                    for row in run:
                        same = known is not None and known.seqs.get(row.id) == row.seq
                        if plan_restore(head, row, row.id if same else None):
                            if not head.last_seq:
                                head.low_seq = row.seq
                            head.last_seq = row.seq
                            new.append(row)
                    if new:
                        touched[name] = stream = self._index.stream(name)
                        stream.head.low_seq = head.low_seq
                        self._write(stream, new, 0, flush=False)
                        written += len(new)
            finally:
                for stream in touched.values():
                    os.fsync(self._opened(stream).fileno())
        return written

    # --- reading --------------------------------------------------------------------------

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
        last = self.last_seq(stream)
        high = last if until_seq is None else min(last, until_seq)

        def fetch(after: int, until: int, size: int) -> Sequence[Row]:
            with self._entered(), reported():
                found = self._index.streams.get(stream)
                if found is None:
                    return []
                entries = _cut(found.entries, _SEQ, after, until, size, reverse=reverse)
                rows = self._read(found, sorted(entries, key=_SEQ))
                return rows[::-1] if reverse else rows

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

        def fetch(after: int, until: int, size: int) -> Sequence[Row]:
            with self._entered(), reported():
                places = _cut(self._index.order, _POSITION, after, until, size, reverse=reverse)
                wanted: dict[str, list[Entry]] = {}
                for _, name, seq in sorted(places):
                    entries = self._index.streams[name].entries
                    place = bisect.bisect_left(entries, seq, key=_SEQ)
                    wanted.setdefault(name, []).append(entries[place])
                rows = [
                    row
                    for name, entries in wanted.items()
                    for row in self._read(self._index.streams[name], entries)
                ]
                rows.sort(key=attrgetter("position"), reverse=reverse)
                return rows

        return select(fetch, "position", selection, after, self.last_position(), reverse=reverse)

    def _read(self, stream: FileStream, entries: Sequence[Entry]) -> list[log.EventLine]:
        """The events at some places of a file, in one pass over it."""
        rows: list[log.EventLine] = []
        if not entries:
            return rows
        with stream.path.open("rb") as file:
            for entry in entries:
                file.seek(entry.offset)
                try:
                    rows.append(log.read_line(file.read(entry.length)))
                except ValueError as error:
                    raise CorruptRecord(
                        stream.name, entry.seq, entry.position, f"{stream.path}: {error}"
                    ) from error
        return rows

    def last_seq(self, stream: str) -> int:
        """The highest seq the stream ever had, 0 if none."""
        with self._entered():
            found = self._index.streams.get(stream)
            return 0 if found is None else found.head.last_seq

    def last_position(self) -> int:
        """The position of the last event written, 0 if none."""
        with self._entered():
            return self._index.position

    def streams(self) -> list[str]:
        """The names of the streams with at least one event that can be read, sorted."""
        with self._entered():
            return sorted(name for name, stream in self._index.streams.items() if stream.entries)

    def ends(self) -> Iterator[StreamEnd]:
        """Every stream that was written or closed and holds no event, by name."""
        with self._entered():
            found = [
                stream.head.end(name)
                for name, stream in sorted(self._index.streams.items())
                if not stream.entries and (stream.head.last_seq or stream.head.tombstone)
            ]
        return iter(found)

    # --- dropping -------------------------------------------------------------------------

    def truncate(self, stream: str, before_seq: int) -> int:
        """Drop the events with a seq below `before_seq`; returns how many."""
        with self._entered(), reported():
            found = self._index.streams.get(stream)
            return 0 if found is None else self._drop(found, before_seq)

    def delete(self, stream: str, *, tombstone: bool = False) -> int:
        """Drop all events of a stream, and its snapshots; returns how many events."""
        with self._entered(), reported():
            found = self._index.stream(stream)
            found.head.delete(stream, tombstone=tombstone)
            self._forget_snapshots(stream)
            return self._drop(found, found.head.last_seq + 1)

    def _drop(self, stream: FileStream, before_seq: int) -> int:
        count = bisect.bisect_left(stream.entries, before_seq, key=_SEQ)
        end = min(before_seq, stream.head.last_seq + 1)
        stream.head.low_seq = max(stream.head.low_seq, end)
        # First what says that they are dropped, then the dropping: a crash in between
        # leaves lines that the next opening passes over.
        self._index.write_metadata()
        if not count:
            return 0
        self._close_file(stream.name)
        kept = stream.entries[count:]
        if kept:
            start = kept[0].offset
            with stream.path.open("rb") as file:
                file.seek(start)
                data = file.read(stream.size - start)
            write_whole(stream.path, data)
            for entry in kept:
                entry.offset -= start
            stream.size = len(data)
        else:
            remove(stream.path)
            stream.size = 0
        gone = {entry.position for entry in stream.entries[:count]}
        for entry in stream.entries[:count]:
            stream.seqs.pop(entry.id, None)
        stream.entries = kept
        self._index.order = [place for place in self._index.order if place[0] not in gone]
        return count

    def lines(self, stream: str, until: int) -> list[log.EventLine]:
        """The events of a stream from its first up to one not written before a time."""
        with self._entered(), reported():
            found = self._index.streams[stream]
            rows = self._read(found, found.entries)
        return list(itertools.takewhile(lambda row: row.time < until, rows))

    def count(self) -> int:
        """How many events can be read."""
        return len(self._index.order)

    def size_bytes(self) -> int:
        """Bytes of the files of active events."""
        return sum(stream.size for stream in self._index.streams.values())

    def clear(self) -> None:
        """Forget all streams, also how far they had come."""
        for name in list(self._files):
            self._close_file(name)
        for stream in self._index.streams.values():
            remove(stream.path)
        self._index.clear()
        self._index.write_metadata()


def _cut(
    places: Sequence[Any],
    key: Callable[[Any], int],
    after: int,
    until: int,
    size: int,
    *,
    reverse: bool,
) -> Sequence[Any]:
    """At most `size` places above `after` up to `until`: the lowest, or the highest."""
    start = bisect.bisect_right(places, after, key=key)
    stop = bisect.bisect_right(places, until, key=key)
    if reverse:
        return places[max(start, stop - size) : max(start, stop)]
    return places[start : min(stop, start + size)]
