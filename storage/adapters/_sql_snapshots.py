"""Saved states of streams, in an SQL table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage._record import Snapshot
from understudy.storage.adapters._values import (
    check_name,
    from_micros,
    pack,
    seconds_to_micros,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from understudy.storage.adapters._sql_database import Database


class SqlSnapshots:
    """The snapshots of an SQL store. See `SnapshotStore` for what each method promises."""

    def __init__(self, database: Callable[[], Database], clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def save_snapshot(
        self, stream: str, seq: int, state: Any, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Save the state after event `seq`; the same seq is overwritten."""
        check_name(stream, "stream")
        packed = pack([state, metadata], stream=stream)
        with self._database().writing() as tx:
            tx.execute(
                "INSERT INTO us_snapshots (stream, seq, time, state) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (stream, seq) DO UPDATE SET "
                "time = excluded.time, state = excluded.state",
                (stream, seq, seconds_to_micros(self._clock()), packed),
            )

    def load_snapshot(self, stream: str, max_seq: int | None = None) -> Snapshot | None:
        """The snapshot with the highest seq, at or below `max_seq` if given; or None."""
        with self._database().reading() as tx:
            row = tx.execute(
                "SELECT stream, seq, time, state FROM us_snapshots "
                "WHERE stream = ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
                (stream, 2**62 if max_seq is None else max_seq),
            ).fetchone()
        return None if row is None else _snapshot(row)

    def delete_snapshots(
        self, stream: str, *, min_seq: int | None = None, max_seq: int | None = None
    ) -> int:
        """Drop the snapshots from `min_seq` to `max_seq`, both inclusive; returns how many."""
        with self._database().writing() as tx:
            done = tx.execute(
                "DELETE FROM us_snapshots WHERE stream = ? AND seq >= ? AND seq <= ?",
                (stream, min_seq or 0, 2**62 if max_seq is None else max_seq),
            )
            return done.rowcount

    def snapshots(self) -> Iterator[Snapshot]:
        """Every snapshot, by stream and seq, fetched one by one: a state may be large."""
        stream, seq = "", 0
        while True:
            with self._database().reading() as tx:
                row = tx.execute(
                    "SELECT stream, seq, time, state FROM us_snapshots "
                    "WHERE stream > ? OR (stream = ? AND seq > ?) "
                    "ORDER BY stream, seq LIMIT 1",
                    (stream, stream, seq),
                ).fetchone()
            if row is None:
                return
            yield _snapshot(row)
            stream, seq = row[0], row[1]


def _snapshot(row: tuple[str, int, int, bytes]) -> Snapshot:
    stream, seq, time, packed = row
    state, metadata = unpack(packed)
    return Snapshot(stream, seq, state, from_micros(time), metadata)
