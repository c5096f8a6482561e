"""Archives: stretches of the log in files of their own, by date, still readable record by record.

An archive is rows of the log, copied as they are and compressed, behind a header that says what
is inside. It is written under another name, flushed and renamed, so that a file with the right
name is whole; its checksum is looked at when it is read.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any

from understudy.storage import _frame
from understudy.storage._catalog import pack, unpack
from understudy.storage._errors import CorruptRecord, StorageError
from understudy.storage._reader import Filter, select
from understudy.storage._record import from_us

if TYPE_CHECKING:
    import datetime as dt
    import pathlib
    from collections.abc import Iterable, Iterator

    from understudy.storage._record import Record, Run, Source

MAGIC = b"USARCH1\n"
SUFFIX = ".archive"
_row = struct.Struct(">QI")
_header = struct.Struct(">II")


@dataclasses.dataclass(frozen=True, slots=True)
class Archive:
    """One file of archived events.

    Attributes:
        path: the file.
        date: the UTC day of its last event, and the directory it lies in.
        first_position: of its first event.
        last_position: of its last event.
        first_time: of its first event.
        last_time: of its last event.
        events: how many.
        streams: name to (first seq, last seq).
        types: the event types inside, sorted.
    """

    path: pathlib.Path
    date: dt.date
    first_position: int
    last_position: int
    first_time: dt.datetime
    last_time: dt.datetime
    events: int
    streams: dict[str, tuple[int, int]]
    types: tuple[str, ...]
    _source: Any = dataclasses.field(repr=False, compare=False, default=None)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def read(
        self,
        stream: str,
        after: int = 0,
        until_seq: int | None = None,
        types: Iterable[str] | None = None,
        topics: Iterable[str] | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        priority: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Record]:
        """The archived events of a stream; arguments as in `Journal.read`."""
        if stream not in self.streams:
            return iter(())
        wanted = Filter.of(types, topics, since, until, priority)
        high = (1 << 62) if until_seq is None else until_seq
        found = (record for record in self._records(wanted, stream) if after < record.seq <= high)
        return _limited(found, limit, reverse)

    def read_all(
        self,
        after: int = 0,
        types: Iterable[str] | None = None,
        topics: Iterable[str] | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        priority: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Record]:
        """All archived events in order of positions; arguments as in `Journal.read_all`."""
        wanted = Filter.of(types, topics, since, until, priority)
        found = (record for record in self._records(wanted, None) if record.position > after)
        return _limited(found, limit, reverse)

    def rows(self) -> Iterator[tuple[int, Run, bytes]]:
        """(position, run, value) of each row.

        Raises:
            CorruptRecord: the file is damaged.
        """
        data = self.path.read_bytes()
        length, checksum = _header.unpack_from(data, len(MAGIC))
        start = len(MAGIC) + _header.size + length
        if zlib.crc32(data[start:]) != checksum:
            raise CorruptRecord(
                None, None, self.first_position, f"archive {self.path} does not fit its checksum"
            )
        body = zlib.decompress(data[start:])
        at = 0
        while at < len(body):
            position, size = _row.unpack_from(body, at)
            at += _row.size
            value = body[at : at + size]
            at += size
            run = _frame.read_row(position, value)
            run.source = self._source
            yield position, run, value

    def _records(self, wanted: Filter, stream: str | None) -> Iterator[Record]:
        for position, run, _ in self.rows():
            if stream in (None, run.stream) and wanted.wants_time(run.timestamp):
                yield from select(position, run, 0, len(run.events), wanted)


def _limited(found: Iterator[Record], limit: int | None, reverse: bool) -> Iterator[Record]:
    if reverse:
        found = reversed(list(found))
    if limit is None:
        return found
    return (record for _, record in zip(range(limit), found, strict=False))


def write(directory: pathlib.Path, rows: list[tuple[int, Run, bytes]], source: Source) -> Archive:
    """Write rows into a new archive below `directory`; it is safe when this returns."""
    streams: dict[str, tuple[int, int]] = {}
    types: set[str] = set()
    events = 0
    packer = zlib.compressobj(6)
    parts = []
    for position, run, value in rows:
        count = len(run.events)
        last = run.first_seq + count - 1
        first = streams.get(run.stream, (run.first_seq, 0))[0]
        streams[run.stream] = (first, last)
        types.update(run.types)
        events += count
        parts.append(packer.compress(_row.pack(position, len(value)) + value))
    parts.append(packer.flush())
    body = b"".join(parts)
    position, run, _ = rows[-1]
    first_us, last_us = rows[0][1].timestamp, run.timestamp
    last_position = position + len(run.events) - 1
    header = pack((rows[0][0], last_position, first_us, last_us, events, streams, sorted(types)))
    day = from_us(last_us).date()
    folder = directory / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{rows[0][0]:020d}-{last_position:020d}{SUFFIX}"
    fresh = path.with_suffix(".partial")
    with fresh.open("wb") as file:
        file.write(MAGIC + _header.pack(len(header), zlib.crc32(body)) + header)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    for parent in (folder, directory, directory.parent):
        flush_directory(parent)
    return load(path, source)


def flush_directory(path: pathlib.Path) -> None:
    """Make the names in a directory safe."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def load(path: pathlib.Path, source: Source) -> Archive:
    """The archive in a file; only its header is read.

    Raises:
        StorageError: the file is no archive.
    """
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + _header.size)
        if not start.startswith(MAGIC) or len(start) < len(MAGIC) + _header.size:
            raise StorageError(f"{path} is no archive of a journal; take it out of the directory")
        length, _ = _header.unpack_from(start, len(MAGIC))
        first, last, first_us, last_us, events, streams, types = unpack(file.read(length))
    return Archive(
        path=path,
        date=from_us(last_us).date(),
        first_position=first,
        last_position=last,
        first_time=from_us(first_us),
        last_time=from_us(last_us),
        events=events,
        streams={name: (low, high) for name, (low, high) in streams.items()},
        types=tuple(types),
        _source=source,
    )


def find(
    directory: pathlib.Path,
    source: Source,
    *,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    stream: str | None = None,
    type: str | None = None,  # noqa: A002 - the field's name
) -> list[Archive]:
    """The archives below a directory that may hold what is looked for, by position."""
    if not directory.is_dir():
        return []
    found = [load(path, source) for path in directory.glob(f"*/*{SUFFIX}")]
    return sorted(
        (
            archive
            for archive in found
            if (since is None or archive.last_time >= since)
            and (until is None or archive.first_time < until)
            and (stream is None or stream in archive.streams)
            and (type is None or type in archive.types)
        ),
        key=lambda archive: archive.first_position,
    )


def purge(directory: pathlib.Path, source: Source, before: dt.datetime) -> int:
    """Delete archives whose last event is older than `before`; returns how many."""
    count = 0
    for archive in find(directory, source):
        if archive.last_time < before:
            archive.path.unlink()
            count += 1
            if not any(archive.path.parent.iterdir()):
                archive.path.parent.rmdir()
    return count
