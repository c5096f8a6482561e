"""Snapshots: states of streams, so that a replay may begin late."""

from __future__ import annotations

import gc
import logging
import struct
import zlib
from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import key_of, u64
from understudy.storage._frame import check_name
from understudy.storage._record import Snapshot, from_us, to_us
from understudy.storage._tables import encoded, unpack

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from understudy.storage._future import CommitFuture
    from understudy.storage._tables import Core

log = logging.getLogger("understudy.storage")

#: Bytes of a state from which the collector of cycles is kept out while it is decoded.
LARGE_STATE = 1 << 18

#: checksum of the rest, microseconds, length of the metadata
_header = struct.Struct(">IQI")


class Snapshots:
    """The snapshots of a journal; `Journal` hands its methods on."""

    def __init__(
        self,
        core: Core,
        pack: Callable[[Any], bytes],
        unpack_state: Callable[[Any], Any],
        seal: Callable[[str, bytes], bytes],
        unseal: Callable[[str, memoryview], bytes | memoryview | None],
    ) -> None:
        self._core = core
        self._pack = pack
        self._unpack = unpack_state
        self._seal = seal
        self._unseal = unseal
        self.unreadable = 0

    def submit(self, stream: str, seq: int, state: Any, metadata: Any = None) -> CommitFuture[None]:
        """Save without waiting."""
        check_name("stream", stream)
        if seq < 0:
            raise ValueError(f"seq is {seq}: use 0 or more")
        try:
            packed = self._pack(state)
        except Exception:
            packed = encoded("state", state)  # names what is wrong
        blob = self._seal(stream, packed)
        about = encoded("metadata", metadata)
        us = int(self._core.clock() * 1e6)
        head = _header.pack(0, us, len(about))[4:] + about
        row = b"".join((zlib.crc32(blob, zlib.crc32(head)).to_bytes(4, "big"), head, blob))
        key = _key(stream, seq)
        return self._core.call(
            lambda txn: txn.put(key, row, db=self._core.database("snapshots")) and None, len(row)
        )

    def load(
        self, stream: str, max_seq: int | None, max_time: dt.datetime | None
    ) -> Snapshot | None:
        """The newest readable one within the bounds."""
        core = self._core
        limit = None if max_time is None else to_us(max_time)
        seq = (1 << 63) if max_seq is None else max_seq
        while seq >= 0:
            with core.environment.reading() as txn:
                found = _at_or_below(txn, core.database("snapshots"), stream, seq)
            if found is None:
                return None
            number, row = found
            snapshot = self._read(stream, number, row, limit)
            if snapshot is not None:
                return snapshot
            seq = number - 1
        return None

    def _read(self, stream: str, seq: int, row: bytes, limit: int | None) -> Snapshot | None:
        try:
            checksum, us, length = _header.unpack_from(row)
            if limit is not None and us > limit:
                return None
            view = memoryview(row)  # ten megabytes are not copied for each step
            if zlib.crc32(view[4:]) != checksum:
                raise ValueError("its checksum does not fit")
            start = _header.size + length
            about = unpack(view[_header.size : start])
            blob = self._unseal(stream, view[start:])
            if blob is None:
                raise ValueError("its encryption key is gone")
            return Snapshot(stream, seq, self._decode(blob), from_us(us), about)
        except Exception as error:
            self.unreadable += 1
            log.warning(
                "snapshot of stream %r at seq %d cannot be read (%s); "
                "an older one, or a replay from the start, takes its place",
                stream,
                seq,
                error,
            )
            return None

    def _decode(self, blob: bytes | memoryview) -> Any:
        """The state; without collections of cycles, of which fresh data has none.

        Tens of thousands of new dicts set the collector off again and again, which takes longer
        than decoding them. The interpreter lock is not given up meanwhile, so that no other
        thread misses the collector.
        """
        if len(blob) < LARGE_STATE or not gc.isenabled():
            return self._unpack(blob)
        gc.disable()
        try:
            return self._unpack(blob)
        finally:
            gc.enable()

    def delete(
        self,
        stream: str,
        min_seq: int | None,
        max_seq: int | None,
        max_time: dt.datetime | None,
    ) -> int:
        """Remove those within the bounds, both inclusive."""
        core = self._core
        low = 0 if min_seq is None else min_seq
        high = (1 << 63) if max_seq is None else max_seq
        limit = None if max_time is None else to_us(max_time)
        prefix = stream.encode() + b"\0"

        def apply(txn: Any) -> int:
            cursor = txn.cursor(core.database("snapshots"))
            doomed = []
            if cursor.set_range(prefix + key_of(max(low, 0))):
                for key, row in cursor:
                    if not key.startswith(prefix) or u64.unpack(key[-8:])[0] > high:
                        break
                    if limit is None or _header.unpack_from(row)[1] <= limit:
                        doomed.append(key)
            for key in doomed:
                txn.delete(key, db=core.database("snapshots"))
            return len(doomed)

        return core.call(apply).result()

    def seqs(self, stream: str) -> list[int]:
        """The seqs at which there are snapshots, rising."""
        prefix = stream.encode() + b"\0"
        found = []
        with self._core.environment.reading() as txn:
            cursor = txn.cursor(self._core.database("snapshots"))
            known = cursor.set_range(prefix)
            while known and cursor.key().startswith(prefix):
                found.append(u64.unpack(cursor.key()[-8:])[0])
                known = cursor.next()
        return found

    def newest(self, txn: Any, stream: str) -> int:
        """The highest seq with a snapshot whose checksum fits, 0 for none."""
        db = self._core.database("snapshots")
        seq = 1 << 63
        while seq > 0:
            found = _at_or_below(txn, db, stream, seq)
            if found is None:
                return 0
            number, row = found
            if zlib.crc32(row[4:]) == int.from_bytes(row[:4], "big"):
                return number
            seq = number - 1
        return 0

    def all(self) -> Iterator[Snapshot]:
        """Every snapshot that can be read, by stream and seq."""
        key = b""
        while True:
            with self._core.environment.reading() as txn:
                cursor = txn.cursor(self._core.database("snapshots"))
                if not (cursor.set_range(key + b"\0") if key else cursor.first()):
                    return
                key, row = cursor.item()
            snapshot = self._read(key[:-9].decode(), u64.unpack(key[-8:])[0], row, None)
            if snapshot is not None:
                yield snapshot


def _key(stream: str, seq: int) -> bytes:
    return stream.encode() + b"\0" + key_of(seq)


def _at_or_below(txn: Any, db: Any, stream: str, seq: int) -> tuple[int, bytes] | None:
    prefix = stream.encode("utf-8", "replace") + b"\0"
    wanted = prefix + key_of(seq)
    if len(wanted) > 511:
        return None
    cursor = txn.cursor(db)
    if cursor.set_range(wanted):
        if cursor.key() != wanted and not cursor.prev():
            return None
    elif not cursor.last():
        return None
    if not cursor.key().startswith(prefix):
        return None
    return u64.unpack(cursor.key()[-8:])[0], cursor.value()
