"""Which ids a stream holds, so that a repeated append is recognised.

Ids of the journal's own making name their position and need no index. Ids given by writers are
kept in memory until the next checkpoint, then as (hash, position) pairs in the index of their
segment: dropping the segment forgets them. A bit filter per segment, built when it is first
asked, answers for most ids that are new.
"""

from __future__ import annotations

import zlib
from array import array
from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import key_of, u64

if TYPE_CHECKING:
    from understudy.storage._catalog import Catalog, Head, Segment
    from understudy.storage._reader import Reader
    from understudy.storage._record import EventIds

#: Bits of a filter: with 250,000 ids and two probes one new id in 20 is looked up in vain.
FILTER_BITS = 1 << 21
_MASK = FILTER_BITS - 1


def hash_of(stream: str, event_id: str) -> int:
    """32 bits of an id; what they find is compared with the record itself."""
    return zlib.crc32(event_id.encode(), zlib.crc32(stream.encode()))


class Ids:
    """Looks ids up; the writer's thread only."""

    def __init__(self, catalog: Catalog, reader: Reader, made: EventIds) -> None:
        self._catalog = catalog
        self._reader = reader
        self._made = made
        self._filters: dict[int, bytearray] = {}
        self.staged: dict[tuple[str, str], tuple[int, int]] = {}  # of the running transaction

    def find(self, txn: Any, stream: str, head: Head, event_id: str) -> tuple[int, int] | None:
        """(seq, position) of an id in a stream, or None."""
        key = (stream, event_id)
        found = self.staged.get(key) or self._catalog.tail.ids.get(key)
        if found is not None:
            return found
        position = self._made.position(event_id)
        if position is not None:
            return self._at(txn, stream, event_id, position)
        if not head.ids_from:
            return None
        code = hash_of(stream, event_id)
        for segment in reversed(self._catalog.segments):
            if segment.number < head.ids_from:
                break
            bits = self._filter(txn, segment)
            one, two = code & _MASK, code >> 11
            if not (bits[one >> 3] >> (one & 7) & 1 and bits[two >> 3] >> (two & 7) & 1):
                continue
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
        bits = self._filters.get(segment.number)
        if bits is None:
            bits = bytearray(FILTER_BITS // 8)
            cursor = txn.cursor(segment.index)
            if cursor.set_range(b"I"):
                for key, value in cursor:
                    if key[:1] != b"I":
                        break
                    _mark(bits, _codes(value))
            self._filters[segment.number] = bits
        return bits

    def write(self, txn: Any, segment: Segment) -> None:
        """Write the ids of the tail into the index of its segment, as part of a checkpoint."""
        ids = self._catalog.tail.ids
        if not ids:
            return
        pairs = sorted(
            (hash_of(stream, event_id), position - segment.first)
            for (stream, event_id), (_, position) in ids.items()
        )
        bits = self._filters.get(segment.number)
        if bits is not None:
            _mark(bits, [code for code, _ in pairs])
        suffix = key_of(self._catalog.last_position)
        start = 0
        while start < len(pairs):
            bucket = pairs[start][0] >> 24
            end = start
            while end < len(pairs) and pairs[end][0] >> 24 == bucket:
                end += 1
            part = pairs[start:end]
            value = array("I", [code for code, _ in part]).tobytes()
            value += array("I", [offset for _, offset in part]).tobytes()
            txn.put(b"I" + bytes((bucket,)) + suffix, value, db=segment.index)
            start = end

    def forget(self, number: int) -> None:
        """Drop the filter of a segment that is gone or was changed."""
        self._filters.pop(number, None)


def _codes(value: bytes) -> array[int]:
    codes = array("I")
    codes.frombytes(value[: len(value) // 2])
    return codes


def _mark(bits: bytearray, codes: Any) -> None:
    for code in codes:
        one, two = code & _MASK, code >> 11
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
            codes = _codes(value)
            if code not in codes:
                continue
            offsets = array("I")
            offsets.frombytes(value[len(value) // 2 :])
            found += [
                segment.first + offset
                for one, offset in zip(codes, offsets, strict=True)
                if one == code
            ]
    return found
