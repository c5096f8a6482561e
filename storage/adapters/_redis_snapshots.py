"""Saved states of streams on a Redis server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage._record import Snapshot
from understudy.storage.adapters import _redis_scripts as scripts
from understudy.storage.adapters._values import (
    check_name,
    from_micros,
    pack,
    seconds_to_micros,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from understudy.storage.adapters._redis_server import RedisServer


class RedisSnapshots:
    """The snapshots of a Redis store. See `SnapshotStore` for what each method promises."""

    def __init__(self, server: Callable[[], RedisServer], clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock

    def save_snapshot(
        self, stream: str, seq: int, state: Any, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Save the state after event `seq`; the same seq is overwritten."""
        check_name(stream, "stream")
        packed = pack([seconds_to_micros(self._clock()), state, metadata], stream=stream)
        self._server().run(scripts.SAVE_SNAPSHOT, stream, seq, packed)

    def load_snapshot(self, stream: str, max_seq: int | None = None) -> Snapshot | None:
        """The snapshot with the highest seq, at or below `max_seq` if given; or None."""
        highest = "+inf" if max_seq is None else max_seq
        found = self._server().run(scripts.LOAD_SNAPSHOT, stream, highest)
        return _snapshot(stream, int(found[0]), found[1]) if found else None

    def delete_snapshots(
        self, stream: str, *, min_seq: int | None = None, max_seq: int | None = None
    ) -> int:
        """Drop the snapshots from `min_seq` to `max_seq`, both inclusive; returns how many."""
        low = "-inf" if min_seq is None else min_seq
        high = "+inf" if max_seq is None else max_seq
        return int(self._server().run(scripts.DELETE_SNAPSHOTS, stream, low, high))

    def snapshots(self) -> Iterator[Snapshot]:
        """Every snapshot, by stream and seq."""
        server = self._server()
        for stream in self._streams():
            with server.asked() as client:
                seqs: Any = client.zrange(server.key("snapshots", stream), 0, -1)
            for seq in seqs:
                (packed,) = server.values(server.key("states", stream), [seq])
                if packed is not None:
                    yield _snapshot(stream, int(seq), packed)

    def _streams(self) -> list[str]:
        server = self._server()
        with server.asked() as client:
            members: Any = client.smembers(server.key("snapshot-streams"))
        return sorted(member.decode() for member in members)

    def count(self) -> int:
        """How many snapshots there are."""
        server = self._server()
        with server.asked() as client:
            return sum(
                int(client.zcard(server.key("snapshots", stream))) for stream in self._streams()
            )


def _snapshot(stream: str, seq: int, packed: bytes) -> Snapshot:
    when, state, metadata = unpack(packed)
    return Snapshot(stream, seq, state, from_micros(when), metadata)
