"""Which ids a stream holds, so that a repeated append is recognised.

Ids of the journal's own making name their position and need no index. Ids given by writers are
kept in memory until the next checkpoint, then as (hash, position) pairs in the index of their
segment: dropping the segment forgets them. A bit filter per segment, built when it is first
asked, answers for most ids that are new.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import key_of, u64

if TYPE_CHECKING:
    from understudy.storage._catalog import Catalog, Head, Segment
    from understudy.storage._reader import Reader
    from understudy.storage._record import EventIds

#: Bits of a filter: with 250,000 ids and two probes one new id in 20 is looked up in vain.
FILTER_BITS = 1 << 21
_MASK = FILTER_BITS - 1


class Ids:
    """Looks ids up; the writer's thread only."""

    def __init__(self, catalog: Catalog, reader: Reader, made: EventIds) -> None:
        self._catalog = catalog
        self._reader = reader
        self._made = made
        self._filters: dict[int, bytearray] = {}
        self.staged: dict[tuple[str, str], tuple[int, int]] = {}  # of the running transaction

    def find(
        self, txn: Any, stream: str, head: Head, ids: list[str | None]
    ) -> list[tuple[int, int] | None] | None:
        """(seq, position) of each id in a stream, None for one it does not hold.

        None for the whole list where it holds none of them, which is nearly always.
        """
        made = self._made.position
        found: list[tuple[int, int] | None] | None = None
        indexed = bool(head.ids_from)
        staged, tail = self.staged.get, self._catalog.tail.ids.get
        seed = zlib.crc32(stream.encode()) if indexed else 0
        segments = [
            (segment, self._filter(txn, segment))
            for segment in self._catalog.segments
            if indexed and segment.number >= head.ids_from
        ]
        segments = [pair for pair in segments if pair[1]]
        for place, event_id in enumerate(ids):
            if event_id is None:
                continue
            known = None
            if indexed:
                key = (stream, event_id)
                known = staged(key) or tail(key)
                if known is None and segments:
                    code = zlib.crc32(event_id.encode(), seed)
                    known = self._indexed(txn, stream, event_id, code, segments)
            if known is None:
                position = made(event_id)
                if position is None:
                    continue
                known = self._at(txn, stream, event_id, position)
                if known is None:
                    continue
            if found is None:
                unknown: list[tuple[int, int] | None] = [None] * len(ids)
                found = unknown
            found[place] = known
        return found

    def _indexed(
        self,
        txn: Any,
        stream: str,
        event_id: str,
        code: int,
        segments: list[tuple[Segment, bytearray]],
    ) -> tuple[int, int] | None:
        one, two = code & _MASK, code >> 11
        for segment, bits in segments:
            if bits[one >> 3] >> (one & 7) & 1 and bits[two >> 3] >> (two & 7) & 1:
                for position in _candidates(txn, segment, code):
                    found = self._at(txn, stream, event_id, position)
                    if found is not None:
                        return found
        return None

    def _at(self, txn: Any, stream: str, event_id: str, position: int) -> tuple[int, int] | None:
        record = self._reader.at_in(txn, self._catalog.segments, position)
        if record is None or record.stream != stream or record.id != event_id:
            return None
        return record.seq, position

    def _filter(self, txn: Any, segment: Segment) -> bytearray:
        """The bit filter of a segment; empty where it has no ids."""
        bits = self._filters.get(segment.number)
        if bits is None:
            bits = bytearray()
            cursor = txn.cursor(segment.index)
            if cursor.set_range(b"I"):
                for key, value in cursor:
                    if key[:1] != b"I":
                        break
                    bits = bits or bytearray(FILTER_BITS // 8)
                    _mark(bits, _entries(value))
            self._filters[segment.number] = bits
        return bits

    def write(self, txn: Any, segment: Segment) -> None:
        """Write the ids of the tail into the index of its segment, as part of a checkpoint."""
        ids = self._catalog.tail.ids
        if not ids:
            return
        crc32 = zlib.crc32
        first = segment.first
        seeds = {stream: crc32(stream.encode()) for stream in {stream for stream, _ in ids}}
        entries = array(
            "Q",
            sorted(
                [
                    crc32(event_id.encode(), seeds[stream]) << 32 | position - first
                    for (stream, event_id), (_, position) in ids.items()
                ]
            ),
        )
        bits = self._filters.get(segment.number)
        if bits is not None:
            if not bits:
                bits = self._filters[segment.number] = bytearray(FILTER_BITS // 8)
            _mark(bits, entries)
        suffix = key_of(self._catalog.last_position)
        rows = []
        start = 0
        for bucket in range(256):
            end = bisect_left(entries, bucket + 1 << 56) if bucket < 255 else len(entries)
            if end > start:
                rows.append((b"I" + bytes((bucket,)) + suffix, entries[start:end].tobytes()))
            start = end
        txn.cursor(segment.index).putmulti(rows)

    def forget(self, number: int) -> None:
        """Drop the filter of a segment that is gone or was changed."""
        self._filters.pop(number, None)


def _entries(value: bytes) -> array[int]:
    entries = array("Q")
    entries.frombytes(value)
    return entries


def _mark(bits: bytearray, entries: array[int]) -> None:
    for entry in entries:
        one, two = entry >> 32 & _MASK, entry >> 43
        bits[one >> 3] |= 1 << (one & 7)
        bits[two >> 3] |= 1 << (two & 7)


def _candidates(txn: Any, segment: Segment, code: int) -> list[int]:
    """Positions whose ids have this hash."""
    prefix = b"I" + bytes((code >> 24,))
    cursor = txn.cursor(segment.index)
    found = []
    if cursor.set_range(prefix + u64.pack(0)):
        for key, value in cursor:
            if not key.startswith(prefix):
                break
            entries = _entries(value)
            at = bisect_left(entries, code << 32)
            while at < len(entries) and entries[at] >> 32 == code:
                found.append(segment.first + (entries[at] & 0xFFFFFFFF))
                at += 1
    return found
