"""What goes into the journal and what comes out of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence  # noqa: TC003 - a struct's types are asked for
from typing import Any, ClassVar, Literal, Protocol

import msgspec

Priority = Literal["critical", "normal"]

#: The priorities, in the order in which they sort.
PRIORITIES: tuple[Priority, Priority] = ("critical", "normal")

#: Event.flags, bit by bit.
CRITICAL = 1
COMPRESSED = 2
ENCRYPTED = 4

NIL = msgspec.Raw(b"\xc0")

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class NewEvent(msgspec.Struct, frozen=True):
    """An event on its way into a stream. Its fields are not checked before it is appended.

    Args:
        type: stable name of what happened.
        payload: plain data (None, bool, int, float, str, bytes, list, tuple, dict, aware datetime),
            or whatever the journal's codec turns into plain data.
        id: unique within its stream; a repeated append of the same ids is a success without a
            write. Optional, and if absent the journal gives it a UUIDv7.
        metadata: plain data beside the payload (trace, user, cause). Optional, default None.
        priority: "critical" or "normal" (default): what a replay asks for first.
        topics: names a reader may filter by. Optional, default none.
        version: schema version of the payload, from 1 (default).
    """

    type: str
    payload: Any = None
    id: str | None = None
    metadata: Mapping[str, Any] | None = None
    priority: Priority = "normal"
    topics: Sequence[str] = ()
    version: int = 1


class AppendResult(msgspec.Struct, frozen=True):
    """Where an append stands.

    Attributes:
        stream: the stream.
        first_seq: seq of the first event of the batch.
        last_seq: seq of its last event.
        position: global position of its last event.
        duplicate: True when the same ids stood there already, so that nothing was written.
    """

    stream: str
    first_seq: int
    last_seq: int
    position: int
    duplicate: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a stream as of one seq.

    Attributes:
        stream: the stream.
        seq: last event the state contains.
        state: the state, as it was saved.
        timestamp: when it was saved, aware UTC.
        metadata: what was saved beside it.
    """

    stream: str
    seq: int
    state: Any
    timestamp: dt.datetime
    metadata: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Shredded:
    """Stands where a payload was whose encryption key is gone: the data cannot come back.

    Attributes:
        key_id: the key that is missing.
    """

    key_id: str


class Source(Protocol):
    """Where a stored record comes from: it makes data of bytes, and ids of positions."""

    def unpack(self, record: Record) -> tuple[Any, Any]: ...

    def event_id(self, position: int, timestamp_us: int) -> str: ...


class Event(msgspec.Struct, array_like=True, gc=False):
    """One event as it lies on disk; trailing fields at their default are left out."""

    type: int
    payload: msgspec.Raw
    flags: int = 0
    version: int = 1
    id: str | None = None
    metadata: msgspec.Raw = NIL
    topics: tuple[str, ...] = ()


class Run(msgspec.Struct, array_like=True, gc=False):
    """Events of one stream that stand together: one row of the log."""

    timestamp: int  # microseconds since 1970, one for the whole commit
    stream: str
    first_seq: int
    epoch: int
    types: tuple[str, ...]
    checksums: bytes  # crc32 of each event, to name the damaged one; empty for a single event
    events: tuple[Event, ...]
    source: Any = None  # never on disk: set by the reader


_UNREAD: Any = msgspec.UNSET


class Record(msgspec.Struct, gc=False, eq=False):
    """One event of the journal, immutable in meaning.

    The payload is decoded when it is first asked for, so that reading a million records and
    looking at ten costs ten decodes. A decoded payload is kept in the record and not copied:
    whoever changes it changes what the next reader of this record object sees.

    Build one by hand with `Record.of`; the journal's own constructor arguments are private.
    """

    position: int
    stream: str
    seq: int
    _run: Run
    _event: Event
    _payload: Any = _UNREAD
    _metadata: Any = _UNREAD

    __hash__: ClassVar[Any] = None

    @classmethod
    def of(
        cls,
        *,
        position: int,
        stream: str,
        seq: int,
        type: str,  # noqa: A002 - the field's name
        timestamp: dt.datetime,
        id: str,  # noqa: A002 - the field's name
        payload: Any = None,
        metadata: Mapping[str, Any] | None = None,
        priority: Priority = "normal",
        topics: Sequence[str] = (),
        version: int = 1,
        epoch: int = 0,
    ) -> Record:
        """A record made of plain values, for adapters and tests."""
        run = Run(to_us(timestamp), stream, seq, epoch, (type,), b"", ())
        event = Event(0, NIL, int(priority == "critical"), version, id, NIL, tuple(topics))
        return cls(position, stream, seq, run, event, payload, metadata)

    @property
    def type(self) -> str:
        """Stable name of what happened."""
        return self._run.types[self._event.type]

    @property
    def version(self) -> int:
        """Schema version of the payload."""
        return self._event.version

    @property
    def timestamp(self) -> dt.datetime:
        """When it was committed, aware UTC; never less than that of an earlier position."""
        return from_us(self._run.timestamp)

    @property
    def epoch(self) -> int:
        """Incarnation of the writer, 0 where none was given."""
        return self._run.epoch

    @property
    def id(self) -> str:
        """Unique within the stream: the writer's, or a UUIDv7 of the journal's making."""
        return self._event.id or self._run.source.event_id(self.position, self._run.timestamp)

    @property
    def priority(self) -> Priority:
        """Either "critical" or "normal"."""
        return "critical" if self._event.flags & CRITICAL else "normal"

    @property
    def topics(self) -> tuple[str, ...]:
        """Names to filter by."""
        return self._event.topics

    @property
    def payload(self) -> Any:
        """The data; `Shredded` where its encryption key is gone."""
        if self._payload is _UNREAD:
            self._payload, self._metadata = self._run.source.unpack(self)
        return self._payload

    @property
    def metadata(self) -> Any:
        """The data beside the payload, or None."""
        if self._metadata is _UNREAD:
            self._payload, self._metadata = self._run.source.unpack(self)
        return self._metadata

    @property
    def payload_bytes(self) -> bytes:
        """The payload as it lies in the journal (msgpack; compressed or encrypted where asked)."""
        return bytes(self._event.payload)

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return {name: getattr(self, name) for name in FIELDS}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        return (
            f"Record(position={self.position}, stream={self.stream!r}, seq={self.seq}, "
            f"type={self.type!r}, payload={self.payload!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.to_dict(), self.epoch))


#: The fields of a record, in the order in which they are shown.
FIELDS = (
    "position",
    "stream",
    "seq",
    "type",
    "version",
    "timestamp",
    "id",
    "payload",
    "metadata",
    "priority",
    "topics",
)


def _rebuild(fields: dict[str, Any], epoch: int) -> Record:
    return Record.of(**fields, epoch=epoch)


def to_us(moment: dt.datetime) -> int:
    """Microseconds since 1970; a moment without a time zone is refused."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; give an aware datetime, as in now(dt.UTC)")
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def from_us(us: int) -> dt.datetime:
    """The aware UTC moment of so many microseconds since 1970."""
    return EPOCH + dt.timedelta(microseconds=us)


class EventIds:
    """Ids the journal makes: a UUIDv7 computed from timestamp, position and the journal's salt.

    Nothing is stored for such an id, and it can be looked up without an index, since it names
    its own position. 34 bits of salt, drawn when the journal is made, keep journals apart.
    """

    def __init__(self, salt: int) -> None:
        self._high = f"-7{salt >> 22 & 0xFFF:03x}-"
        low = f"{1 << 23 | salt & 0x3FFFFF:06x}"
        self._low = f"{low[:4]}-{low[4:]}"

    def make(self, position: int, timestamp_us: int) -> str:
        """The id of the event at a position."""
        time = f"{timestamp_us // 1000 & 0xFFFFFFFFFFFF:012x}"
        return f"{time[:8]}-{time[8:]}{self._high}{self._low}{position & 0xFFFFFFFFFF:010x}"

    def position(self, event_id: str) -> int | None:
        """The position an id of ours names, or None for an id from elsewhere."""
        if event_id[13:19] != self._high or event_id[19:26] != self._low or len(event_id) != 36:
            return None
        try:
            return int(event_id[26:], 16)
        except ValueError:
            return None
