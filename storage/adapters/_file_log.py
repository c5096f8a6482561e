"""One stream as a file of JSON lines: a line per event, in the order of seq.

    {"stream":"ada:echo:t1","seq":1,"position":7,"time":"2026-01-01T09:30:00.000000Z",
     "type":"message","id":"…","payload":{…},"crc":"5d41402a"}

(on one line). Fields at their default are left out: version 1, priority normal, no topics,
no metadata, epoch 0. `more` counts the lines of the same batch that follow; a batch whose
last line is missing was never acknowledged and is cut off when the file is opened.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import CorruptRecord
from understudy.storage._record import Record
from understudy.storage.adapters import _json_values as json_values
from understudy.storage.adapters._rules import Row
from understudy.storage.adapters._values import from_micros, micros, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = logging.getLogger(__name__)

_CRC = b',"crc":"'
_TAIL = len(_CRC) + len(b'01234567"}')


@dataclass(slots=True)
class EventLine(Row):
    """An event read from a file; its data is turned into values when a reader wants it."""

    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def more(self) -> int:
        """How many lines of the batch follow."""
        return int(self.fields.get("more", 0))

    @property
    def epoch(self) -> int:
        """The writer's incarnation, 0 if it had none."""
        return int(self.fields.get("epoch", 0))

    def record(self) -> Record:
        """The event as readers get it."""
        return Record.of(
            position=self.position,
            stream=self.stream,
            seq=self.seq,
            type=self.type,
            version=self.version,
            timestamp=from_micros(self.time),
            id=self.id,
            payload=json_values.decode(self.fields.get("payload")),
            metadata=json_values.decode(self.fields.get("metadata")),
            priority=self.priority,
            topics=tuple(self.fields.get("topics", ())),
            epoch=self.epoch,
        )


def write_line(row: Row, *, more: int, epoch: int) -> bytes:
    """The line of an event, its end included."""
    payload, metadata, topics = unpack(row.body)
    fields: dict[str, Any] = {
        "stream": row.stream,
        "seq": row.seq,
        "position": row.position,
        "time": json_values.timestamp(from_micros(row.time)),
        "type": row.type,
        "id": row.id,
        "payload": json_values.encode(payload),
    }
    if row.version != 1:
        fields["version"] = row.version
    if row.priority != "normal":
        fields["priority"] = row.priority
    if topics:
        fields["topics"] = topics
    if metadata is not None:
        fields["metadata"] = json_values.encode(metadata)
    if epoch:
        fields["epoch"] = epoch
    if more:
        fields["more"] = more
    return seal(fields)


def seal(fields: dict[str, Any]) -> bytes:
    """A line of JSON with its checksum, its end included."""
    text = json_values.dumps(fields).encode()
    return b'%s%s%08x"}\n' % (text[:-1], _CRC, zlib.crc32(text))


def unseal(line: bytes) -> dict[str, Any]:
    """The fields of a line; `ValueError` says what is wrong with it."""
    line = line.rstrip(b"\n")
    head, tail = line[:-_TAIL], line[-_TAIL:]
    if not tail.startswith(_CRC) or not tail.endswith(b'"}'):
        raise ValueError("the line is not whole")
    text = head + b"}"
    if int(tail[len(_CRC) : -2], 16) != zlib.crc32(text):
        raise ValueError("the checksum does not match the line")
    fields = json_values.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("the line is no JSON object")  # noqa: TRY004 - a fault of the data
    return fields


def read_line(line: bytes) -> EventLine:
    """The event of a line; `ValueError` says what is wrong with it."""
    fields = unseal(line)
    try:
        return EventLine(
            position=fields["position"],
            stream=fields["stream"],
            seq=fields["seq"],
            type=fields["type"],
            version=fields.get("version", 1),
            id=fields["id"],
            time=micros(json_values.parse_timestamp(fields["time"]), "time"),
            priority=fields.get("priority", "normal"),
            body=b"",
            fields=fields,
        )
    except KeyError as error:
        raise ValueError(f"the line has no {error}") from None


@dataclass(slots=True)
class Entry:
    """Where an event stands."""

    seq: int
    position: int
    id: str
    offset: int
    length: int


def load(path: Path) -> tuple[list[Entry], str, int, int]:
    """The events of a file; cuts off what a crash left half-written at its end.

    Returns the entries, the stream's name, the highest epoch and the size in bytes.

    Raises:
        CorruptRecord: a line that is not at the end cannot be read, or a seq is missing.
    """
    entries: list[Entry] = []
    batch: list[Entry] = []
    stream, epoch, offset, good = "", 0, 0, 0
    problem: str | None = None
    for line in _lines(path):
        start, offset = offset, offset + len(line)
        try:
            if not line.endswith(b"\n"):
                raise ValueError("the line is not whole")
            event = read_line(line)
        except ValueError as error:
            problem = problem or str(error)
            continue
        last = batch[-1] if batch else entries[-1] if entries else None
        if problem is not None or (last is not None and event.seq != last.seq + 1):
            reason = problem or f"seq {event.seq} follows seq {last.seq if last else 0}"
            if event.more:
                problem = reason
                continue  # it may yet prove to be the torn end
            raise CorruptRecord(event.stream, event.seq, event.position, f"{path}: {reason}")
        stream, epoch = event.stream, max(epoch, event.epoch)
        batch.append(Entry(event.seq, event.position, event.id, start, len(line)))
        if not event.more:
            entries += batch
            batch, good = [], offset
    if offset > good:
        _log.warning("%s: cut off %d bytes that were never acknowledged", path, offset - good)
        with path.open("r+b") as file:
            file.truncate(good)
    return entries, stream, epoch, good


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
