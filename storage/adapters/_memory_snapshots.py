"""Saved states of streams, in memory."""

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
    import threading
    from collections.abc import Callable, Iterator, Mapping


class MemorySnapshots:
    """The snapshots of a memory store. See `SnapshotStore` for what each method promises."""

    def __init__(self, entered: Callable[[], threading.RLock], clock: Callable[[], float]) -> None:
        self._entered = entered
        self._clock = clock
        self._states: dict[str, dict[int, tuple[int, bytes]]] = {}

    def save_snapshot(
        self, stream: str, seq: int, state: Any, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Save the state after event `seq`; the same seq is overwritten."""
        check_name(stream, "stream")
        packed = pack([state, metadata], stream=stream)
        with self._entered():
            saved = self._states.setdefault(stream, {})
            saved[seq] = (seconds_to_micros(self._clock()), packed)

    def load_snapshot(self, stream: str, max_seq: int | None = None) -> Snapshot | None:
        """The snapshot with the highest seq, at or below `max_seq` if given; or None."""
        with self._entered():
            saved = self._states.get(stream, {})
            seqs = [seq for seq in saved if max_seq is None or seq <= max_seq]
            return self._load(stream, max(seqs)) if seqs else None

    def _load(self, stream: str, seq: int) -> Snapshot:
        time, packed = self._states[stream][seq]
        state, metadata = unpack(packed)
        return Snapshot(stream, seq, state, from_micros(time), metadata)

    def delete_snapshots(
        self, stream: str, *, min_seq: int | None = None, max_seq: int | None = None
    ) -> int:
        """Drop the snapshots from `min_seq` to `max_seq`, both inclusive; returns how many."""
        with self._entered():
            saved = self._states.get(stream, {})
            gone = [
                seq
                for seq in saved
                if (min_seq is None or seq >= min_seq) and (max_seq is None or seq <= max_seq)
            ]
            for seq in gone:
                del saved[seq]
            if not saved:
                self._states.pop(stream, None)
            return len(gone)

    def snapshots(self) -> Iterator[Snapshot]:
        """Every snapshot, by stream and seq."""
        with self._entered():
            places = sorted((s, seq) for s, saved in self._states.items() for seq in saved)
        for stream, seq in places:
            with self._entered():
                there = seq in self._states.get(stream, {})
                snapshot = self._load(stream, seq) if there else None
            if snapshot is not None:
                yield snapshot

    def count(self) -> int:
        """How many snapshots there are."""
        return sum(len(saved) for saved in self._states.values())

    def clear(self) -> None:
        """Forget all snapshots."""
        self._states.clear()
