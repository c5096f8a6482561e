"""Streams of events on a Redis server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import msgpack  # type: ignore[import-untyped] # ships no types

from understudy.storage._record import AppendResult
from understudy.storage.adapters import _redis_scripts as scripts
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
    from understudy.storage._record import NewEvent, Priority, Record
    from understudy.storage.adapters._redis_server import RedisServer

#: Events dropped at once: the server does nothing else meanwhile.
DROP_PAGE = 5000


class RedisJournal:
    """The journal of a Redis store. See `JournalStore` for what each method promises.

    An append reads the stream's head, decides, and commits if the stream has not changed
    in between; positions are given by the server in the order of commits.
    """

    def __init__(self, server: Callable[[], RedisServer], clock: Callable[[], float]) -> None:
        self._server = server
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
        server = self._server()
        rows = new_rows(stream, events, seconds_to_micros(self._clock()))
        ids = [row.id for row in rows]
        given = any(event.id for event in events)
        while True:
            head, revision = _head(server, stream)
            known: dict[str, int] = {}
            if given:
                seqs = server.values(server.key("ids", stream), ids)
                known = {i: int(seq) for i, seq in zip(ids, seqs, strict=True) if seq is not None}
            before = plan_append(stream, head, ids, known, expected_seq=expected_seq, epoch=epoch)
            if before is not None:
                first, last = before
                with server.asked() as client:
                    members = client.zrangebyscore(server.key("stream", stream), last, last)
                if not members:
                    continue  # dropped since its id was read
                return AppendResult(stream, first, last, _place(members[0]), duplicate=True)
            first = head.last_seq + 1
            for seq, row in enumerate(rows, first):
                row.seq = seq
            head.last_seq += len(rows)
            head.epoch = max(head.epoch, epoch or 0)
            position = _commit(server, heads={stream: (head, revision)}, rows=rows)
            if position is not None:
                return AppendResult(stream, first, head.last_seq, position)

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
        server = self._server()
        while True:
            heads: dict[str, tuple[Head, str]] = {}
            new: list[Row] = []
            for row in rows:
                if row.stream not in heads:
                    heads[row.stream] = _head(server, row.stream)
                head, _ = heads[row.stream]
                known = None
                if row.seq <= head.last_seq:
                    (seq,) = server.values(server.key("ids", row.stream), [row.id])
                    known = row.id if seq is not None and int(seq) == row.seq else None
                if plan_restore(head, row, known):
                    if not head.last_seq:
                        head.low_seq = row.seq
                    head.last_seq = row.seq
                    new.append(row)
            if not new or _commit(server, heads=heads, rows=new) is not None:
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
        server = self._server()
        selection = Selection(types, topics, since, until, priority, limit)
        last = self.last_seq(stream)
        high = last if until_seq is None else min(last, until_seq)
        index = server.key("stream", stream)

        def fetch(after: int, until: int, size: int) -> Sequence[Row]:
            return _page(self._server(), index, after, until, size, reverse=reverse)

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
        server = self._server()
        selection = Selection(types, topics, since, until, priority, limit)
        index = server.key("order")

        def fetch(after: int, until: int, size: int) -> Sequence[Row]:
            return _page(self._server(), index, after, until, size, reverse=reverse)

        return select(fetch, "position", selection, after, self.last_position(), reverse=reverse)

    def last_seq(self, stream: str) -> int:
        """The highest seq the stream ever had, 0 if none."""
        head, _ = _head(self._server(), stream)
        return head.last_seq

    def last_position(self) -> int:
        """The position of the last event written, 0 if none."""
        server = self._server()
        with server.asked() as client:
            found = client.get(server.key("position"))
        return int(found or 0)

    def streams(self) -> list[str]:
        """The names of the streams with at least one event that can be read, sorted."""
        server = self._server()
        with server.asked() as client:
            members: Any = client.smembers(server.key("streams"))
        return sorted(member.decode() for member in members)

    def ends(self) -> Iterator[StreamEnd]:
        """Every stream that was written or closed and holds no event, by name."""
        server = self._server()
        prefix = server.key("head", "")
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        with server.asked() as client:
            keys: Any = set(client.scan_iter(match=pattern, count=1000))
        names = {key.decode()[len(prefix) :] for key in keys}.difference(self.streams())
        for name in sorted(names):
            head, _ = _head(server, name)
            if head.last_seq or head.tombstone:
                yield head.end(name)

    def truncate(self, stream: str, before_seq: int) -> int:
        """Drop the events with a seq below `before_seq`; returns how many.

        Long streams are dropped piece by piece, oldest first; the server does other work
        in between.
        """
        return self._drop(stream, before_seq, tombstone=False)

    def delete(self, stream: str, *, tombstone: bool = False) -> int:
        """Drop all events of a stream, and its snapshots; returns how many events."""
        head, _ = _head(self._server(), stream)
        head.delete(stream, tombstone=tombstone)  # refused before anything is dropped
        self._server().run(scripts.DELETE_SNAPSHOTS, stream, "-inf", "+inf")
        return self._drop(stream, None, tombstone=tombstone)

    def _drop(self, stream: str, before_seq: int | None, *, tombstone: bool) -> int:
        server = self._server()
        index = server.key("stream", stream)
        dropped = 0
        while True:
            head, revision = _head(server, stream)
            end = head.last_seq + 1 if before_seq is None else min(before_seq, head.last_seq + 1)
            with server.asked() as client:
                low: Any = client.zrange(index, 0, 0, withscores=True)
                first = int(low[0][1]) if low else end
                stop = min(end, first + DROP_PAGE)
                count: Any = client.zcount(index, "-inf", f"({stop}")
            head.low_seq = max(head.low_seq, stop)
            if before_seq is None:
                head.delete(stream, tombstone=tombstone)
            heads = {stream: (head, revision)}
            if _commit(server, heads=heads, drops=[(stream, stop)]) is None:
                continue
            dropped += int(count)
            if stop >= end:
                return dropped


def _head(server: RedisServer, stream: str) -> tuple[Head, str]:
    """A stream's head and its revision, which changes with every write to the stream."""
    last, low, epoch, tombstone, deleted_at, revision = server.values(
        server.key("head", stream),
        ["last", "low", "epoch", "tombstone", "deleted_at", "revision"],
    )
    if revision is None:
        return Head(), "0"
    head = Head(
        int(last or 0), int(low or 1), int(epoch or 0), tombstone == b"1", int(deleted_at or 0)
    )
    return head, revision.decode()


def _commit(
    server: RedisServer,
    *,
    heads: dict[str, tuple[Head, str]],
    rows: Sequence[Row] = (),
    drops: Sequence[tuple[str, int]] = (),
) -> int | None:
    """Write if no head has changed since it was read; the last position, or None if one has."""
    request = {
        "heads": [
            [
                stream,
                revision,
                str(head.last_seq),
                str(head.low_seq),
                str(head.epoch),
                "1" if head.tombstone else "0",
                str(head.deleted_at),
            ]
            for stream, (head, revision) in heads.items()
        ],
        "rows": [[row.stream, row.seq, row.id, _stored(row)] for row in rows],
        "drops": [list(drop) for drop in drops],
    }
    position = server.run(scripts.COMMIT, msgpack.packb(request, use_bin_type=False))
    return None if position < 0 else int(position)


def _stored(row: Row) -> bytes:
    fields = (row.stream, row.seq, row.type, row.version, row.id, row.time, row.priority, row.body)
    return cast("bytes", msgpack.packb(fields))


def _row(position: int, stored: bytes) -> Row:
    stream, seq, event_type, version, event_id, when, priority, body = msgpack.unpackb(stored)
    priority = cast("Priority", priority)
    return Row(position, stream, seq, event_type, version, event_id, when, priority, body)


def _place(member: bytes) -> int:
    """The position in a member of an index: alone, or in front of the event's id."""
    return int(member.partition(b":")[0])


def _page(
    server: RedisServer, index: str, after: int, until: int, size: int, *, reverse: bool
) -> list[Row]:
    low, high = f"({after}", str(until)
    with server.asked() as client:
        found: Any = client.zrange(
            index,
            high if reverse else low,
            low if reverse else high,
            desc=reverse,
            byscore=True,
            offset=0,
            num=size,
        )
    places = [_place(member) for member in found]
    values = server.values(server.key("log"), [str(place) for place in places])
    # What was dropped between the two questions is not there any more.
    return [_row(p, v) for p, v in zip(places, values, strict=True) if v is not None]
