"""What a filesystem store knows of its streams: built from their files, kept in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import CorruptRecord
from understudy.storage.adapters import _file_log as log
from understudy.storage.adapters import _json_values as json_values
from understudy.storage.adapters._errors import StoreFailed
from understudy.storage.adapters._files import file_name, write_whole
from understudy.storage.adapters._rules import Head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from understudy.storage.adapters._file_log import Entry


@dataclass(slots=True)
class FileStream:
    """One stream: its file, its head, and where its events stand in the file."""

    name: str
    path: Path
    head: Head = field(default_factory=Head)
    entries: list[Entry] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)  # by event id
    size: int = 0  # bytes that are acknowledged

    def add(self, entries: Iterable[Entry]) -> None:
        """Take over events that follow those there are."""
        for entry in entries:
            self.entries.append(entry)
            self.seqs[entry.id] = entry.seq
            self.head.last_seq = entry.seq


class FileIndex:
    """All streams of a store, and the order of their events.

    Attributes:
        streams: by name.
        order: (position, stream, seq) of each event, by position.
        position: the highest position ever given.
        settings: what the store was made with, for people who read `metadata.json`.
    """

    def __init__(self) -> None:
        self.streams: dict[str, FileStream] = {}
        self.order: list[tuple[int, str, int]] = []
        self.position = 0
        self.settings: dict[str, Any] = {}
        self._folder = Path()

    def load(self, events: Path) -> None:
        """Read the index from the files below `events`."""
        self._folder = events
        active = events / "active"
        active.mkdir(parents=True, exist_ok=True)
        self._read_metadata()
        for path in sorted(active.glob("*.jsonl")):
            entries, name, epoch, size = log.load(path)
            if not entries:
                continue
            stream = self.stream(name)
            stream.size = size
            stream.head.epoch = max(stream.head.epoch, epoch)
            # Dropped events whose file was not yet rewritten are below the low seq.
            stream.add(entry for entry in entries if entry.seq >= stream.head.low_seq)
            stream.head.last_seq = max(stream.head.last_seq, entries[-1].seq)
            if not stream.head.low_seq > 1:
                stream.head.low_seq = entries[0].seq
        for stream in self.streams.values():
            self.order += [(entry.position, stream.name, entry.seq) for entry in stream.entries]
        self.order.sort()
        for (here, *_), (there, name, seq) in zip(self.order, self.order[1:], strict=False):
            if here == there:
                raise CorruptRecord(name, seq, there, "two events have this position")
        if self.order:
            self.position = max(self.position, self.order[-1][0])

    def clear(self) -> None:
        """Forget all streams."""
        self.streams.clear()
        self.order = []
        self.position = 0

    def _read_metadata(self) -> None:
        path = self._folder / "metadata.json"
        if not path.exists():
            self.settings = {}
            return
        try:
            data = json_values.loads(path.read_bytes())
            self.position = data["position"]
            self.settings = data.get("settings", {})
            heads = data["streams"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreFailed("filesystem", f"{path} cannot be read: {error!r}") from error
        for name, head in heads.items():
            self.stream(name).head = Head(
                head["last_seq"],
                head["low_seq"],
                head["epoch"],
                head["tombstone"],
                head["deleted_at"],
            )

    def write_metadata(self) -> None:
        """Make safe what the files of events alone do not tell."""
        heads = {
            name: {
                "last_seq": stream.head.last_seq,
                "low_seq": stream.head.low_seq,
                "epoch": stream.head.epoch,
                "tombstone": stream.head.tombstone,
                "deleted_at": stream.head.deleted_at,
            }
            for name, stream in sorted(self.streams.items())
            if stream.head.low_seq > 1 or stream.head.tombstone
        }
        data = {
            "schema": 1,
            "position": self.position,
            "settings": self.settings,
            "streams": heads,
        }
        text = json.dumps(data, ensure_ascii=False, indent=2) + "\n"
        write_whole(self._folder / "metadata.json", text.encode())

    def stream(self, name: str) -> FileStream:
        """A stream, made if it is not there."""
        stream = self.streams.get(name)
        if stream is None:
            path = self._folder / "active" / f"{file_name(name)}.jsonl"
            stream = self.streams[name] = FileStream(name, path)
        return stream
