"""What an LMDB journal keeps beside its events and no other store does, for moving it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import key_of, u64
from understudy.storage._protocols import StreamEnd
from understudy.storage._state import put_state, set_expiry
from understudy.storage._tables import pack, unpack
from understudy.storage.adapters._lmdb_sessions import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from understudy.storage._journal import Journal

    Row = tuple[bytes, bytes]

#: The kinds, in the order in which they are moved.
KINDS = ("state", "ledger", "cursors", "limits", "subscriptions", "parked")

#: Bucket of the journal's state that holds a store's keys.
KEYS = "key"

#: Rows read or written in one transaction.
PAGE = 1000

#: Buckets whose rows hold a position of the journal, and the field it stands in.
_POSITIONED = {b"projections": "position"}

_OWN = frozenset(bucket.encode() for bucket in (*BUCKETS, KEYS))


class Anchors:
    """Positions of one journal told by events, which mean the same in a copy."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def anchor(self, position: int) -> tuple[str, int] | None:
        """The last event up to a position; None where there is none (any more)."""
        records = self._journal.read_all(until_position=position, reverse=True, limit=1)
        return next(((record.stream, record.seq) for record in records), None)

    def exact(self, position: int) -> tuple[str, int] | None:
        """The event at a position; None where it is gone."""
        record = self._journal.record_at(position)
        # What was truncated may lie there still.
        if record is None or record.seq < self._journal.first_seq(record.stream):
            return None
        return record.stream, record.seq

    def position(self, anchor: tuple[str, int] | None) -> int:
        """Where an event stands in this journal; 0 for none."""
        if anchor is None:
            return 0
        stream, seq = anchor
        records = self._journal.read(stream, after=seq - 1, until_seq=seq)
        return next((record.position for record in records), 0)


class Tables:
    """The rows of one journal, told so that they mean the same in a copy.

    A row's name is what it is found by, its data what it says; positions of the journal, which
    a copy gives anew, are told by the event that stands there.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._core = journal._core
        self._anchors = Anchors(journal)

    # --- reading -----------------------------------------------------------------------------

    def rows(self, kind: str, after: bytes | None = None) -> Iterator[tuple[bytes, Any]]:
        """(name, data) of every row, in order of names, behind `after`."""
        read: dict[str, Callable[[bytes | None], Iterator[tuple[bytes, Any]]]] = {
            "state": self._state,
            "ledger": self._ledger,
            "cursors": lambda a: ((k, unpack(v)) for k, v in self._raw("cursors", a)),
            "limits": self._limits,
            "subscriptions": self._subscriptions,
            "parked": self._parked,
        }
        return read[kind](after)

    def count(self, kind: str) -> int:
        """How many rows there are to be moved."""
        return sum(1 for _ in self.rows(kind))

    def states(self) -> dict[str, int]:
        """The number of rows of each bucket of a program's own state."""
        names = (name.split(b"\0", 1)[0].decode() for name, _ in self._state(None))
        return {bucket: sum(1 for _ in rows) for bucket, rows in itertools.groupby(names)}

    def ends(self) -> list[StreamEnd]:
        """The streams that were written or closed and hold no event, by name."""
        self.journal.last_position()  # a reader beside a writer looks again
        catalog = self._core.catalog
        with self._core.environment.reading() as txn:
            heads = dict(catalog.names(txn))
        # A stream may be closed that never was written.
        heads.update((name, head) for name, head in catalog.heads.copy().items() if head.tombstone)
        found = [
            StreamEnd(name, head.visible, head.deleted, head.tombstone)
            for name, head in heads.items()
            if head.low > head.visible and (head.visible or head.tombstone)
        ]
        return sorted(found, key=lambda end: end.stream)

    def place(self, position: int) -> tuple[str, int] | None:
        """The last event up to a position, which means the same in a copy."""
        return self._anchors.anchor(position)

    def same_place(self, place: tuple[str, int] | None) -> int:
        """The position of that event here."""
        return self._anchors.position(place)

    def lost(self) -> int:
        """How many parked records cannot be moved, because retention has taken them."""
        return sum(
            self._anchors.exact(u64.unpack(key[-8:])[0]) is None for key, _ in self._raw("parked")
        )

    def _raw(self, table: str, after: bytes | None = None) -> Iterator[Row]:
        last = after
        while True:
            with self._core.environment.reading() as txn:
                cursor = txn.cursor(self._core.database(table))
                found = cursor.first() if last is None else cursor.set_range(last)
                if found and cursor.key() == last:
                    found = cursor.next()
                page = list(itertools.islice(cursor, PAGE)) if found else []
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1][0]

    def _state(self, after: bytes | None) -> Iterator[tuple[bytes, Any]]:
        for key, row in self._raw("state", after):
            bucket = key.split(b"\0", 1)[0]
            if bucket in _OWN:
                continue
            expires, value = unpack(row)
            field = _POSITIONED.get(bucket)
            if field is not None and isinstance(value, dict) and isinstance(value.get(field), int):
                value = {**value, field: self._anchors.anchor(value[field])}
            yield key, [expires, value]

    def _ledger(self, after: bytes | None) -> Iterator[tuple[bytes, Any]]:
        for key, row in self._raw("ledger", after):
            expires, status, attempts, _, result = unpack(row)
            yield key, [expires, status, attempts, result]

    def _limits(self, after: bytes | None) -> Iterator[tuple[bytes, Any]]:
        with self._core.environment.reading() as txn:
            found = sorted(
                (name.encode(), [head.max_age, head.max_count])
                for name, head in self._core.catalog.names(txn)
                if head.max_age or head.max_count
            )
        return (row for row in found if after is None or row[0] > after)

    def _subscriptions(self, after: bytes | None) -> Iterator[tuple[bytes, Any]]:
        for key, row in self._raw("subscriptions", after):
            stream, types, seq, position, attempts, error = unpack(row)
            yield key, [stream, types, seq, self._anchors.anchor(position), attempts, error]

    def _parked(self, after: bytes | None) -> Iterator[tuple[bytes, Any]]:
        for key, row in self._raw("parked", after):
            anchor = self._anchors.exact(u64.unpack(key[-8:])[0])
            if anchor is not None:
                # By its event; the key, with its position, only tells how far a copy has come.
                yield key, [key[:-9].decode(), anchor, *unpack(row)]

    # --- writing -----------------------------------------------------------------------------

    def write(self, kind: str, rows: list[tuple[bytes, Any]]) -> None:
        """Set rows, all or none, safe when this returns."""
        if kind == "limits":
            for name, (age, count) in rows:
                self.journal.limit(name.decode(), max_age=age or None, max_count=count or None)
            return
        ready = [self._ready(kind, name, data) for name, data in rows]
        size = sum(len(key) + len(row) for key, row in ready)
        self._core.call(lambda txn: self._put(txn, kind, ready), size).result()

    def _ready(self, kind: str, name: bytes, data: Any) -> Row:
        """The row as it lies in this journal."""
        place = self._anchors.position
        if kind == "state":
            expires, value = data
            field = _POSITIONED.get(name.split(b"\0", 1)[0])
            if field is not None and isinstance(value, dict):
                told = value.get(field)
                if told is None or isinstance(told, tuple):
                    value = {**value, field: place(told)}
            return name, pack([expires, value])
        if kind == "ledger":
            expires, status, attempts, result = data
            # Of no opening of this journal: what was in flight may be begun again.
            return name, pack([expires, status, attempts, 0, result])
        if kind == "subscriptions":
            stream, types, seq, anchor, attempts, error = data
            return name, pack([stream, types, seq, place(anchor), attempts, error])
        if kind == "parked":
            _, anchor, attempts, error = data
            return name[:-8] + key_of(place(anchor)), pack([attempts, error])
        return name, pack(data)

    def _put(self, txn: Any, kind: str, rows: list[Row]) -> None:
        core = self._core
        if kind == "state":
            for key, row in rows:
                put_state(core, txn, key, row)
            return
        db = core.database(kind)
        for key, row in rows:
            if kind == "ledger":
                old = txn.get(key, db=db)
                if old is not None:
                    set_expiry(core, txn, b"l", key, unpack(old)[0], remove=True)
                set_expiry(core, txn, b"l", key, unpack(row)[0])
            txn.put(key, row, db=db)
