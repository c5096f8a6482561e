"""Saved states of streams, a file each."""

from __future__ import annotations

import bisect
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from understudy.storage._record import Snapshot
from understudy.storage.adapters import _json_values as json_values
from understudy.storage.adapters._errors import StoreFailed
from understudy.storage.adapters._files import file_name, remove, reported, write_whole
from understudy.storage.adapters._values import check_name, pack, unpack

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


class FileSnapshots:
    """The snapshots of a filesystem store. See `SnapshotStore` for the promises."""

    def __init__(self, entered: Callable[[], threading.RLock], clock: Callable[[], float]) -> None:
        self._entered = entered
        self._clock = clock
        self._folder: Any = None
        self._seqs: dict[str, list[int]] = {}

    def load(self, folder: Path) -> None:
        """Read which snapshots there are."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._seqs = {}
        for path in folder.glob("*/*.json"):
            name = _read(path)["stream"]
            bisect.insort(self._seqs.setdefault(name, []), int(path.stem))

    def _path(self, stream: str, seq: int) -> Path:
        path: Path = self._folder / file_name(stream) / f"{seq:012d}.json"
        return path

    def save_snapshot(
        self, stream: str, seq: int, state: Any, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Save the state after event `seq`; the same seq is overwritten."""
        check_name(stream, "stream")
        state, metadata = unpack(pack([state, metadata], stream=stream))
        data = {
            "stream": stream,
            "seq": seq,
            "time": json_values.timestamp(datetime.fromtimestamp(self._clock(), UTC)),
            "metadata": json_values.encode(metadata),
            "state": json_values.encode(state),
        }
        with self._entered(), reported():
            path = self._path(stream, seq)
            path.parent.mkdir(exist_ok=True)
            write_whole(path, (json_values.dumps(data) + "\n").encode())
            seqs = self._seqs.setdefault(stream, [])
            if seq not in seqs:
                bisect.insort(seqs, seq)

    def load_snapshot(self, stream: str, max_seq: int | None = None) -> Snapshot | None:
        """The snapshot with the highest seq, at or below `max_seq` if given; or None."""
        with self._entered(), reported():
            seqs = self._seqs.get(stream, [])
            place = len(seqs) if max_seq is None else bisect.bisect_right(seqs, max_seq)
            return self._load(stream, seqs[place - 1]) if place else None

    def _load(self, stream: str, seq: int) -> Snapshot:
        data = _read(self._path(stream, seq))
        return Snapshot(
            stream,
            seq,
            json_values.decode(data["state"]),
            json_values.parse_timestamp(data["time"]),
            json_values.decode(data["metadata"]),
        )

    def delete_snapshots(
        self, stream: str, *, min_seq: int | None = None, max_seq: int | None = None
    ) -> int:
        """Drop the snapshots from `min_seq` to `max_seq`, both inclusive; returns how many."""
        with self._entered(), reported():
            seqs = self._seqs.get(stream, [])
            start = 0 if min_seq is None else bisect.bisect_left(seqs, min_seq)
            stop = len(seqs) if max_seq is None else bisect.bisect_right(seqs, max_seq)
            gone = seqs[start:stop]
            for seq in gone:
                remove(self._path(stream, seq))
                seqs.remove(seq)
            return len(gone)

    def snapshots(self) -> Iterator[Snapshot]:
        """Every snapshot, by stream and seq."""
        with self._entered():
            places = [(stream, seq) for stream in sorted(self._seqs) for seq in self._seqs[stream]]
        for stream, seq in places:
            with self._entered(), reported():
                there = seq in self._seqs.get(stream, [])
                snapshot = self._load(stream, seq) if there else None
            if snapshot is not None:
                yield snapshot

    def count(self) -> int:
        """How many snapshots there are."""
        return sum(len(seqs) for seqs in self._seqs.values())

    def clear(self) -> None:
        """Forget all snapshots."""
        for stream in list(self._seqs):
            self.delete_snapshots(stream)
        self._seqs.clear()


def _read(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
        if missing := {"stream", "state", "time", "metadata"} - data.keys():
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (ValueError, AttributeError) as error:
        raise StoreFailed("filesystem", f"{path} cannot be read: {error!r}") from error
    return data
