"""The archive of a filesystem store: dropped events, by the day they were written on."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.storage.adapters import _file_log as log
from understudy.storage.adapters._files import file_name, reported, sync_folder, write_whole
from understudy.storage.adapters._values import from_micros, micros

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from understudy.storage._record import Record
    from understudy.storage.adapters._file_journal import FileJournal


@dataclass(frozen=True)
class CleanupResult:
    """What a cleanup did.

    Attributes:
        archived: events moved from the active files to the archive.
        purged_days: days whose archive was removed, as "2026-01-31".
    """

    archived: int
    purged_days: tuple[str, ...]


class FileArchive:
    """`events/archive/<day>/<stream>.jsonl`, in the same form as the active files."""

    def __init__(self, folder: Path, journal: FileJournal) -> None:
        self._folder = folder
        self._journal = journal

    def move(self, before: dt.datetime) -> int:
        """Move the events written before a time; returns how many.

        First they are safe in the archive, then they are dropped: a crash in between
        leaves them in both, and the next move writes the same files again.
        """
        moved = 0
        until = micros(before, "before")
        for stream in self._journal.streams():
            days: dict[str, list[bytes]] = {}
            last = 0
            for line in self._journal.lines(stream, until):
                day = from_micros(line.time).date().isoformat()
                fields = {k: v for k, v in line.fields.items() if k not in ("more", "crc")}
                days.setdefault(day, []).append(log.seal(fields))
                last = line.seq
                moved += 1
            for day, lines in days.items():
                self._add(day, stream, lines)
            if last:
                self._journal.truncate(stream, last + 1)
        return moved

    def _add(self, day: str, stream: str, lines: list[bytes]) -> None:
        folder = self._folder / day
        with reported():
            if not folder.exists():
                folder.mkdir(parents=True)
                sync_folder(folder.parent)
            path = folder / f"{file_name(stream)}.jsonl"
            old = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            there = {log.read_line(line).seq for line in old}
            new = [line for line in lines if log.read_line(line).seq not in there]
            write_whole(path, b"".join([*old, *new]))

    def purge(self, before: dt.datetime) -> tuple[str, ...]:
        """Remove the days that ended before a time; returns their names."""
        gone = []
        for day in self.days():
            end = dt.datetime.fromisoformat(f"{day}T00:00:00+00:00") + dt.timedelta(days=1)
            if end <= before:
                with reported():
                    shutil.rmtree(self._folder / day)
                gone.append(day)
        return tuple(gone)

    def days(self) -> list[str]:
        """The days with an archive, oldest first."""
        return sorted(path.name for path in self._folder.glob("????-??-??"))

    def read(self, *, day: str | None = None, stream: str | None = None) -> Iterator[Record]:
        """Archived events of a day, a stream, or all: by day, then stream, then seq."""
        for each in self.days():
            if day is not None and each != day:
                continue
            pattern = "*.jsonl" if stream is None else f"{file_name(stream)}.jsonl"
            for path in sorted((self._folder / each).glob(pattern)):
                entries = path.read_bytes().splitlines(keepends=True)
                for line in entries:
                    yield log.read_line(line).record()

    def clear(self) -> None:
        """Remove the whole archive."""
        for day in self.days():
            shutil.rmtree(self._folder / day)
