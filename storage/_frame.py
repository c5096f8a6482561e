"""Rows of the log: how a batch of events becomes bytes and comes back, checked.

A row holds a run: events of one stream with consecutive seqs and positions, all of one commit.
Its key is the position of its first event (u64, big-endian), its value

    crc32 of the rest (4 bytes)
    msgpack [timestamp µs, stream, first seq, epoch, types, checksums, events]

An event is msgpack [type number, payload, flags, version, id, metadata, topics], cut off after
the last field that is not at its default. A row needs nothing but itself to be read, so that
archives are rows copied out, and a type or stream is spelled once per row, not once per event.

Everything but timestamp, seqs and epoch is encoded on the thread that submits the batch; the
writer only puts the parts together. Rows end below half a page, so that two fill a page, or
are so large that the rest of their last page does not matter.
"""

from __future__ import annotations

import struct
import zlib
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from understudy.storage._errors import BadEvent, CorruptRecord
from understudy.storage._record import CRITICAL, NewEvent, Record, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Half a page less the engine's node and page headers and a generous run header.
SMALL_ROW = 1880
#: A batch at least this large is cut into large rows.
LARGE_BATCH = 10_000
LARGE_ROW = 48_000
#: No row holds more events than this, so that one event can be had without decoding many.
ROW_EVENTS = 256

#: LMDB keys end at 511 bytes, and index keys add up to 11 to a name.
LONGEST_NAME = 400

_encode = msgspec.msgpack.Encoder().encode
#: How an event of so many fields and with this type number begins; no row has more types.
_HEADS = [
    [bytes((0x90 | length,)) + _encode(number) for number in range(ROW_EVENTS)]
    for length in range(8)
]
_decode_run = msgspec.msgpack.Decoder(Run).decode
#: Rows with their checksums, in turns.
_decode_runs: Callable[[bytes], list[Any]] = msgspec.msgpack.Decoder(list[int | Run]).decode

#: Bytes of rows that are decoded in one go: a payload keeps what it was decoded from in memory.
PAGE_BYTES = 48_000
#: Rows of a page at most.
PAGE_ROWS = 256
_u32 = struct.Struct(">I")
_u16 = struct.Struct(">H").pack
_body = itemgetter(slice(4, None))


class Codec(Protocol):
    """Makes bytes of payloads and payloads of bytes; the bytes must be one msgpack value.

    `pack` runs on the thread that appends, `unpack` on the thread that first asks a record for
    its payload. What `pack` raises refuses the whole batch with `BadEvent`.
    """

    def pack(self, value: Any) -> bytes: ...

    def unpack(self, data: bytes) -> Any: ...


class PlainCodec:
    """Plain data as msgpack: None, bool, int, float, str, bytes, list, dict, aware datetime.

    Tuples and sets come back as lists, and what else msgspec knows how to write (UUID, Decimal,
    enums, dataclasses) comes back as the plain data it was written as.
    """

    def __init__(self) -> None:
        self.pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
        self.unpack: Callable[[bytes], Any] = msgspec.msgpack.Decoder().decode


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A row to be, still without timestamp, seq and epoch."""

    count: int
    tail: bytes  # types, checksums, events: the end of the row
    terms: frozenset[str]  # what the index shall find the row by


def check_name(what: str, name: str, stream: str | None = None, index: int | None = None) -> None:
    """Refuse a name that cannot be a key."""
    if not isinstance(name, str) or not name:
        raise BadEvent(
            f"{what} is {name!r}: use a text that is not empty", stream=stream, index=index
        )
    if len(name) > 100 or not name.isascii() or "\0" in name:
        try:
            size = len(name.encode())
        except UnicodeEncodeError as error:
            raise BadEvent(
                f"{what} {name!r} is no valid text", stream=stream, index=index
            ) from error
        if size > LONGEST_NAME or "\0" in name:
            raise BadEvent(
                f"{what} {name[:40]!r} is {size} bytes long or holds NUL: "
                f"use at most {LONGEST_NAME} bytes of UTF-8 without NUL",
                stream=stream,
                index=index,
            )


#: Index terms: "t" and a type, "k" and a topic, or this one for critical events.
CRITICAL_TERM = "p"


def encode_batch(
    stream: str,
    events: Sequence[NewEvent],
    pack: Callable[[Any], bytes],
    seal: Callable[[NewEvent, bytes, bytes], tuple[bytes, bytes, int]] | None,
) -> tuple[list[Piece], list[str | None] | None]:
    """The rows of a batch and the ids its writer gave (None where it gave none at all).

    Raises:
        BadEvent: an event cannot be stored; it is named, and nothing happened.
    """
    packed: list[bytes] = []
    lengths: list[int] | None = None  # fields of each event; None while all have two
    ids: list[str | None] | None = None
    try:
        count = len(events)
    except TypeError:
        raise BadEvent(f"{events!r} is no list of events", stream=stream) from None
    index = 0
    try:
        for index, event in enumerate(events):
            payload = pack(event.payload)
            event_id = event.id
            if (
                event.metadata is None
                and event.priority == "normal"
                and not event.topics
                and event.version == 1
                and seal is None
            ):
                if event_id is None:
                    packed.append(payload)
                    if lengths is not None:
                        lengths.append(2)
                    continue
                data, length = payload + b"\x00\x01" + _encode(event_id), 5
            else:
                data, length = _full_event(stream, index, event, payload, pack, seal)
            if event_id is not None:
                if ids is None:
                    unnamed: list[str | None] = [None] * count
                    ids = unnamed
                if not (type(event_id) is str and 0 < len(event_id) <= 100 and event_id.isascii()):
                    check_name("id", event_id, stream, index)
                ids[index] = event_id
            if lengths is None:
                lengths = [2] * index
            packed.append(data)
            lengths.append(length)
    except BadEvent:
        raise
    except Exception as error:
        raise BadEvent(f"{type(error).__name__}: {error}", stream=stream, index=index) from error
    if not packed:
        raise BadEvent("the batch holds no event", stream=stream)
    if ids is not None:
        given = [event_id for event_id in ids if event_id is not None]
        if len(set(given)) != len(given):
            raise BadEvent("two events of the batch have the same id", stream=stream)
    if count == 1:
        event = events[0]
        if event.topics or event.priority != "normal":
            return [_piece(stream, events, packed, lengths, 0, 1)], ids
        return [_lone(stream, event.type, packed[0], 2 if lengths is None else lengths[0])], ids
    return [
        _piece(stream, events, packed, lengths, start, end) for start, end in _cuts(packed)
    ], ids


def _full_event(
    stream: str,
    index: int,
    event: NewEvent,
    payload: bytes,
    pack: Callable[[Any], bytes],
    seal: Callable[[NewEvent, bytes, bytes], tuple[bytes, bytes, int]] | None,
) -> tuple[bytes, int]:
    """Everything after the type number, and the number of fields with it."""
    if event.priority not in ("normal", "critical"):
        raise BadEvent(
            f"priority is {event.priority!r}: use 'critical' or 'normal'",
            stream=stream,
            index=index,
        )
    if not isinstance(event.version, int) or event.version < 1:
        raise BadEvent(
            f"version is {event.version!r}: use a whole number from 1", stream=stream, index=index
        )
    if isinstance(event.topics, str):
        raise BadEvent(
            f"topics is the text {event.topics!r}: use a sequence of texts",
            stream=stream,
            index=index,
        )
    topics = tuple(event.topics)
    for topic in topics:
        check_name("topic", topic, stream, index)
    metadata = b"\xc0" if event.metadata is None else pack(event.metadata)
    flags = CRITICAL if event.priority == "critical" else 0
    if seal is not None:
        payload, metadata, sealed = seal(event, payload, metadata)
        flags |= sealed
    fields = [
        payload,
        _encode(flags),
        _encode(event.version),
        _encode(event.id),
        metadata,
        _encode(topics),
    ]
    if not topics:
        fields.pop()
        if metadata == b"\xc0":
            fields.pop()
            if event.id is None:
                fields.pop()
                if event.version == 1:
                    fields.pop()
                    if not flags:
                        fields.pop()
    return b"".join(fields), len(fields) + 1


def _cuts(packed: list[bytes]) -> Iterator[tuple[int, int]]:
    """Where a batch is cut into rows: from and to before which event."""
    limit = LARGE_ROW if sum(map(len, packed)) >= LARGE_BATCH else SMALL_ROW
    start = 0
    size = 0
    for index, data in enumerate(packed):
        size += len(data) + 8
        if index > start and (size > limit or index - start >= ROW_EVENTS):
            yield start, index
            start = index
            size = len(data) + 8
    yield start, len(packed)


def _lone(stream: str, name: str, data: bytes, length: int) -> Piece:
    """The row of one event that has no topics and is not critical, as most have not."""
    known = _lone_types.get(name)
    if known is None:
        check_name("type", name, stream, 0)
        if len(_lone_types) >= TYPES_KNOWN:
            _lone_types.clear()
        # types, no checksums, and the beginning of an array of one event
        known = _lone_types[name] = _encode([name]) + b"\xc4\x00\x91", frozenset(("t" + name,))
    return Piece(1, b"%b%b%b" % (known[0], _HEADS[length][0], data), known[1])


#: Types of events that came alone lately: how their rows begin, and what finds them.
_lone_types: dict[str, tuple[bytes, frozenset[str]]] = {}
TYPES_KNOWN = 4096


def _piece(
    stream: str,
    events: Sequence[NewEvent],
    packed: list[bytes],
    lengths: list[int] | None,
    start: int,
    end: int,
) -> Piece:
    types: dict[str, int] = {}
    terms: set[str] = set()
    body: list[bytes] = []
    last = None
    number = 0
    heads = _HEADS[2]
    for index in range(start, end):
        event = events[index]
        name = event.type
        if name is not last:
            found = types.get(name)
            if found is None:
                check_name("type", name, stream, index)
                found = types[name] = len(types)
                terms.add("t" + name)
            number = found
            last = name
        if lengths is not None:
            heads = _HEADS[lengths[index]]
            if event.priority == "critical":
                terms.add(CRITICAL_TERM)
            for topic in event.topics:
                terms.add("k" + topic)
        body.append(heads[number] + packed[index])
    count = end - start
    if count == 1:  # in a batch of large ones, or found by more than its type
        return Piece(1, _encode(list(types)) + b"\xc4\x00\x91" + body[0], frozenset(terms))
    checksums = struct.pack(f">{count}I", *map(zlib.crc32, body))
    header = _encode(list(types)) + _encode(checksums)
    array = b"\xdc" + count.to_bytes(2, "big")
    return Piece(count, b"".join((header, array, *body)), frozenset(terms))


def build_row(timestamp: int, packed_name: bytes, first_seq: int, epoch: int, tail: bytes) -> bytes:
    """The value of a row of the log."""
    body = b"".join(
        (b"\x97", _encode(timestamp), packed_name, _encode(first_seq), _encode(epoch), tail)
    )
    return _u32.pack(zlib.crc32(body)) + body


def read_row(position: int, value: bytes) -> Run:
    """The run in a row.

    Raises:
        CorruptRecord: the checksum does not fit; names the first damaged event as far as the
            rest of the row tells.
    """
    body = value[4:]
    if zlib.crc32(body) != int.from_bytes(value[:4], "big"):
        raise diagnose(position, body)
    try:
        return _decode_run(body)
    except msgspec.DecodeError as error:  # a sound checksum over nonsense: a foreign row
        raise CorruptRecord(None, None, position, f"not a row of this journal: {error}") from error


def read_rows(positions: Sequence[int], values: Sequence[bytes]) -> list[Run]:
    """The runs in several rows, those before the first damaged one.

    Raises:
        CorruptRecord: the first row is damaged.
    """
    count = len(values)
    runs: list[Run]
    if 1 < count < 1 << 15 and sum(map(len, values)) <= PAGE_BYTES:
        # With a byte before it, the checksum a row begins with is a number of msgpack: the rows
        # are one array of numbers and runs, and need not be taken apart to be decoded.
        try:
            mixed = _decode_runs(b"\xdc%b\xce%b" % (_u16(2 * count), b"\xce".join(values)))
        except msgspec.DecodeError:
            pass  # one of them is damaged or foreign: which one shows below
        else:
            sums, runs = mixed[::2], mixed[1::2]
            kinds = set(map(type, runs))
            if sums == list(map(zlib.crc32, map(_body, values))) and kinds == {Run}:
                return runs
    runs = []
    for position, value in zip(positions, values, strict=True):
        try:
            runs.append(read_row(position, value))
        except CorruptRecord:
            if runs:
                break
            raise
    return runs


def diagnose(position: int, body: bytes) -> CorruptRecord:
    """Which event of a row with a wrong checksum is the first damaged one."""
    found = diagnose_all(position, body)
    return found[0] if found else CorruptRecord(None, None, position, _ROW_DAMAGED)


_ROW_DAMAGED = "the checksum of its row does not fit"


def diagnose_all(position: int, body: bytes) -> list[CorruptRecord]:
    """Every damaged event of a row with a wrong checksum, as far as the rest of it tells."""
    stream: str | None = None
    first: int | None = None
    found: list[CorruptRecord] = []
    try:
        scanner = _Scanner(body)
        scanner.array()
        scanner.value()
        stream = str(scanner.decoded())
        first = int(scanner.decoded())
        scanner.value()
        scanner.value()
        checksums = bytes(scanner.decoded())
        count = min(scanner.array(), max(len(checksums) // 4, 1))
        for index in range(count):
            at = scanner.at
            try:
                data = scanner.value()
                sound = count > 1 and zlib.crc32(data) == _u32.unpack_from(checksums, index * 4)[0]
            except (ValueError, struct.error):
                sound = False
            if not sound:
                found.append(
                    CorruptRecord(
                        stream, first + index, position + index, "its checksum does not fit"
                    )
                )
                if scanner.at == at:
                    break
    except (ValueError, TypeError, IndexError):
        pass
    return found or [CorruptRecord(stream, first, position, _ROW_DAMAGED)]


class _Scanner:
    """Walks msgpack values without trusting them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def array(self) -> int:
        """Enter an array; returns its length."""
        first = self._data[self.at]
        if 0x90 <= first <= 0x9F:
            self.at += 1
            return first & 0x0F
        if first == 0xDC:
            self.at += 3
            return int.from_bytes(self._data[self.at - 2 : self.at], "big")
        raise ValueError("no array")

    def value(self) -> bytes:
        """Step over a value; returns its bytes."""
        start = self.at
        pending = 1
        while pending:
            pending += self._step() - 1
            if self.at > len(self._data):
                self.at = start
                raise ValueError("cut short")
        return self._data[start : self.at]

    def decoded(self) -> Any:
        """Step over a value and decode it."""
        try:
            return msgspec.msgpack.decode(self.value())
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error

    def _number(self, size: int) -> int:
        number = int.from_bytes(self._data[self.at : self.at + size], "big")
        self.at += size
        return number

    def _step(self) -> int:
        """Step over one header and its bytes; returns how many values lie inside."""
        if self.at >= len(self._data):
            raise ValueError("cut short")
        first = self._data[self.at]
        self.at += 1
        if first <= 0x7F or first >= 0xE0 or first in (0xC0, 0xC2, 0xC3):
            return 0
        if first <= 0x8F:
            return 2 * (first & 0x0F)
        if first <= 0x9F:
            return first & 0x0F
        if first <= 0xBF:
            self.at += first & 0x1F
            return 0
        fixed = _FIXED.get(first)
        if fixed is not None:
            self.at += fixed
            return 0
        sized = _SIZED.get(first)
        if sized is not None:
            size, extra = sized
            length = self._number(size)
            self.at += length + extra
            return 0
        counted = _COUNTED.get(first)
        if counted is None:
            raise ValueError("no msgpack value")
        size, each = counted
        return each * self._number(size)


_FIXED = {
    0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
_SIZED = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
}  # fmt: skip
_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def records(position: int, run: Run) -> Iterator[Record]:
    """The records of a whole run."""
    events = run.events
    count = len(events)
    first = run.first_seq
    return map(
        Record,
        range(position, position + count),
        repeat(run.stream),
        range(first, first + count),
        repeat(run),
        events,
    )


def single_records(positions: list[int], runs: list[Run]) -> Iterator[Record]:
    """The records of runs of one event each."""
    return map(
        Record,
        positions,
        [run.stream for run in runs],
        [run.first_seq for run in runs],
        runs,
        [run.events[0] for run in runs],
    )
