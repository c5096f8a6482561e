"""Streams of events in SQL tables."""

# ruff: noqa: S608 - statements are put together from constants; values are parameters

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from understudy.storage._record import AppendResult
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
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from understudy.storage._protocols import StreamEnd
    from understudy.storage._record import NewEvent, Record
    from understudy.storage.adapters._sql_database import Database, Executor

_COLUMNS = "position, stream, seq, type, version, id, time, priority, body"


class SqlJournal:
    """The journal of an SQL store. See `JournalStore` for what each method promises.

    Appends are one after the other, also those of several processes: whoever takes the
    row of the last position first writes first, so that the order of positions is the
    order of commits and no reader ever sees a gap that is filled later.
    """

    def __init__(self, database: Callable[[], Database], clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

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
        with self._database().writing() as tx:
            position = _take_turn(tx)
            head = _head(tx, stream)
            known = _known(tx, stream, ids) if any(event.id for event in events) else {}
            before = plan_append(stream, head, ids, known, expected_seq=expected_seq, epoch=epoch)
            if before is not None:
                first, last = before
                place = tx.execute(
                    "SELECT position FROM us_events WHERE stream = ? AND seq = ?", (stream, last)
                ).fetchone()[0]
                return AppendResult(stream, first, last, place, duplicate=True)
            first = head.last_seq + 1
            for number, row in enumerate(rows, 1):
                row.seq = head.last_seq + number
                row.position = position + number
            head.last_seq += len(rows)
            head.epoch = max(head.epoch, epoch or 0)
            _insert(tx, rows)
            _set_head(tx, stream, head)
            _set_position(tx, position + len(rows))
        return AppendResult(stream, first, head.last_seq, position + len(rows))

    def restore(self, records: Iterable[Record]) -> int:
        """Take over events of another store with their seq, id and time."""
        written = 0
        page: list[Row] = []
        for record in records:
            page.append(row_of(record))
            if len(page) == PAGE:
                written += self._restore(page)
                page = []
        return written + (self._restore(page) if page else 0)

    def _restore(self, rows: Sequence[Row]) -> int:
        heads: dict[str, Head] = {}
        new: list[Row] = []
        with self._database().writing() as tx:
            position = _take_turn(tx)
            for row in rows:
                head = heads.get(row.stream)
                if head is None:
                    head = heads[row.stream] = _head(tx, row.stream)
                known = None
                if row.seq <= head.last_seq:
                    found = tx.execute(
                        "SELECT id FROM us_events WHERE stream = ? AND seq = ?",
                        (row.stream, row.seq),
                    ).fetchone()
                    known = found[0] if found else None
                if plan_restore(head, row, known):
                    position += 1
                    row.position = position
                    if not head.last_seq:
                        head.low_seq = row.seq
                    head.last_seq = row.seq
                    new.append(row)
            _insert(tx, new)
            for stream, head in heads.items():
                _set_head(tx, stream, head)
            _set_position(tx, position)
        return len(new)

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
        return self._select("seq", selection, after, high, stream=stream, reverse=reverse)

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
        high = self.last_position()
        return self._select("position", selection, after, high, stream=None, reverse=reverse)

    def _select(
        self,
        place: Literal["seq", "position"],
        selection: Selection,
        after: int,
        until: int,
        *,
        stream: str | None,
        reverse: bool,
    ) -> Iterator[Record]:
        where, values = _conditions(selection)
        if stream is not None:
            where.append("stream = ?")
            values.append(stream)
        where += [f"{place} > ?", f"{place} <= ?"]
        statement = (
            f"SELECT {_COLUMNS} FROM us_events WHERE {' AND '.join(where)} "
            f"ORDER BY {place} {'DESC' if reverse else 'ASC'} LIMIT ?"
        )

        def fetch(after: int, until: int, size: int) -> Sequence[Row]:
            with self._database().reading() as tx:
                found = tx.execute(statement, (*values, after, until, size)).fetchall()
            return [Row(*row) for row in found]

        return select(fetch, place, selection, after, until, reverse=reverse)

    def last_seq(self, stream: str) -> int:
        """The highest seq the stream ever had, 0 if none."""
        with self._database().reading() as tx:
            return _head(tx, stream).last_seq

    def last_position(self) -> int:
        """The position of the last event written, 0 if none."""
        with self._database().reading() as tx:
            row = tx.execute("SELECT value FROM us_meta WHERE name = 'position'").fetchone()
            return int(row[0])

    def streams(self) -> list[str]:
        """The names of the streams with at least one event that can be read, sorted."""
        with self._database().reading() as tx:
            rows = tx.execute(
                "SELECT name FROM us_streams WHERE low_seq <= last_seq ORDER BY name"
            ).fetchall()
        return [row[0] for row in rows]

    def ends(self) -> Iterator[StreamEnd]:
        """Every stream that was written or closed and holds no event, by name."""
        with self._database().reading() as tx:
            rows = tx.execute(
                "SELECT name, last_seq, low_seq, epoch, tombstone, deleted_at FROM us_streams "
                "WHERE low_seq > last_seq AND (last_seq > 0 OR tombstone <> 0) ORDER BY name"
            ).fetchall()
        for name, last, low, epoch, tombstone, deleted_at in rows:
            yield Head(last, low, epoch, bool(tombstone), deleted_at).end(name)

    def truncate(self, stream: str, before_seq: int) -> int:
        """Drop the events with a seq below `before_seq`; returns how many."""
        with self._database().writing() as tx:
            _take_turn(tx)
            head = _head(tx, stream)
            return _drop(tx, stream, head, min(before_seq, head.last_seq + 1))

    def delete(self, stream: str, *, tombstone: bool = False) -> int:
        """Drop all events of a stream; returns how many."""
        with self._database().writing() as tx:
            _take_turn(tx)
            head = _head(tx, stream)
            head.delete(stream, tombstone=tombstone)
            tx.execute("DELETE FROM us_snapshots WHERE stream = ?", (stream,))
            return _drop(tx, stream, head, head.last_seq + 1)


def _take_turn(tx: Executor) -> int:
    """Wait for the other writers, then the last position."""
    row = tx.execute(
        "UPDATE us_meta SET value = value WHERE name = 'position' RETURNING value"
    ).fetchone()
    return int(row[0])


def _set_position(tx: Executor, position: int) -> None:
    tx.execute("UPDATE us_meta SET value = ? WHERE name = 'position'", (position,))


def _head(tx: Executor, stream: str) -> Head:
    row = tx.execute(
        "SELECT last_seq, low_seq, epoch, tombstone, deleted_at FROM us_streams WHERE name = ?",
        (stream,),
    ).fetchone()
    return Head() if row is None else Head(row[0], row[1], row[2], bool(row[3]), row[4])


def _set_head(tx: Executor, stream: str, head: Head) -> None:
    tx.execute(
        "INSERT INTO us_streams (name, last_seq, low_seq, epoch, tombstone, deleted_at) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "last_seq = excluded.last_seq, low_seq = excluded.low_seq, "
        "epoch = excluded.epoch, tombstone = excluded.tombstone, deleted_at = excluded.deleted_at",
        (
            stream,
            head.last_seq,
            head.low_seq,
            head.epoch,
            int(head.tombstone),
            head.deleted_at,
        ),
    )


def _drop(tx: Executor, stream: str, head: Head, before_seq: int) -> int:
    head.low_seq = max(head.low_seq, before_seq)
    _set_head(tx, stream, head)
    done = tx.execute("DELETE FROM us_events WHERE stream = ? AND seq < ?", (stream, before_seq))
    return done.rowcount


def _known(tx: Executor, stream: str, ids: Sequence[str]) -> dict[str, int]:
    known: dict[str, int] = {}
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        marks = ", ".join("?" * len(part))
        rows = tx.execute(
            f"SELECT id, seq FROM us_events WHERE stream = ? AND id IN ({marks})", (stream, *part)
        ).fetchall()
        known.update((row[0], row[1]) for row in rows)
    return known


def _insert(tx: Executor, rows: Sequence[Row]) -> None:
    if rows:
        tx.executemany(
            f"INSERT INTO us_events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (r.position, r.stream, r.seq, r.type, r.version, r.id, r.time, r.priority, r.body)
                for r in rows
            ],
        )


def _conditions(selection: Selection) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    if selection.types is not None:
        types = sorted(selection.types)
        # No type at all selects nothing, and SQL has no empty list.
        where.append(f"type IN ({', '.join('?' * len(types))})" if types else "1 = 0")
        values += types
    if selection.since is not None:
        where.append("time >= ?")
        values.append(selection.since)
    if selection.until is not None:
        where.append("time < ?")
        values.append(selection.until)
    if selection.priority is not None:
        where.append("priority = ?")
        values.append(selection.priority)
    return where, values
