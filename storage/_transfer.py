"""Events as JSON Lines, out and in; what JSON cannot say is spelled with a `$` key."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import BadEvent, WrongExpectedSeq
from understudy.storage._frame import check_name, encode_batch
from understudy.storage._record import FIELDS, NewEvent, Record, Shredded, to_us
from understudy.storage._writer import PreparedAppend, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from understudy.storage._future import CommitFuture
    from understudy.storage._journal import Journal

#: Events of one transaction of a restore, and transactions under way at once.
RESTORE_EVENTS = 1000
RESTORE_AHEAD = 8


def plain(value: Any) -> Any:
    """Data as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dt.datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, Shredded):
        return {"$shredded": value.key_id}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            inner = {key: plain(item) for key, item in value.items()}
            escape = len(inner) == 1 and next(iter(inner)).startswith("$")
            return {"$dict": inner} if escape else inner
        return {"$map": [[plain(key), plain(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {"$text": str(value)}  # a codec's own object: readable, not restorable as it was


def data(value: Any) -> Any:
    """What `plain` was given, tuples as lists."""
    if isinstance(value, list):
        return [data(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, inner = next(iter(value.items()))
        reader = _READERS.get(name)
        if reader is not None:
            return reader(inner)
    return {key: data(item) for key, item in value.items()}


_READERS: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$bytes": base64.b64decode,
    "$datetime": dt.datetime.fromisoformat,
    "$shredded": lambda key_id: {"$shredded": key_id},
    "$dict": lambda inner: {key: data(item) for key, item in inner.items()},
    "$map": lambda pairs: {data(key): data(item) for key, item in pairs},
    "$text": str,
}


def to_line(record: Record) -> str:
    """A record as one line of JSON, without the newline."""
    fields = record.to_dict()
    fields["timestamp"] = record.timestamp.isoformat()
    fields["payload"] = plain(record.payload)
    fields["metadata"] = plain(record.metadata)
    fields["topics"] = list(record.topics)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def from_line(line: str | bytes, number: int) -> Record:
    """The record in a line.

    Raises:
        BadEvent: the line holds none; `number` names it.
    """
    try:
        fields = json.loads(line)
        return Record.of(
            position=fields.get("position", 0),
            stream=fields["stream"],
            seq=fields["seq"],
            type=fields["type"],
            version=fields.get("version", 1),
            timestamp=dt.datetime.fromisoformat(fields["timestamp"]),
            id=fields["id"],
            payload=data(fields.get("payload")),
            metadata=data(fields.get("metadata")),
            priority=fields.get("priority", "normal"),
            topics=tuple(fields.get("topics", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadEvent(
            f"line {number} is no event of an export ({type(error).__name__}: {error}); "
            f"it needs at least the fields {', '.join(FIELDS[1:4])}, timestamp and id"
        ) from error


def lines(source: Iterable[str | bytes]) -> Iterator[Record]:
    """The records of an export."""
    for number, line in enumerate(source, 1):
        if line.strip():
            yield from_line(line, number)


def restore(journal: Journal, records: Iterable[Record]) -> int:
    """Write records as they were; see `Journal.restore`."""
    core = journal._core
    writer = core.own_writer()
    lasts: dict[str, int] = {}
    batch: list[PreparedAppend] = []
    events = 0
    total = 0
    under_way: list[CommitFuture[None]] = []

    def flush() -> None:
        nonlocal batch, events
        appends, batch, events = batch, [], 0
        if not appends:
            return

        def apply(writer: Any, txn: Any) -> None:
            for append in appends:
                append.apply(writer, txn)

        under_way.append(writer.submit(Work(apply, sum(append.size for append in appends))))
        if len(under_way) > RESTORE_AHEAD:
            under_way.pop(0).result()

    for group in _groups(records):
        first = group[0]
        stream = first.stream
        check_name("stream", stream)
        last = lasts.get(stream)
        if last is None:
            last = journal.last_seq(stream)
        fresh = [record for record in group if record.seq > last]
        known = group[: len(group) - len(fresh)]
        if known:
            if last == lasts.get(stream):
                flush()
                while under_way:
                    under_way.pop(0).result()
            _compare(journal, stream, known, last)
        if not fresh:
            lasts[stream] = last
            continue
        append = _prepare(journal, stream, fresh)
        batch.append(append)
        events += len(fresh)
        total += len(fresh)
        lasts[stream] = fresh[-1].seq
        if events >= RESTORE_EVENTS:
            flush()
    flush()
    for future in under_way:
        future.result()
    return total


def _prepare(journal: Journal, stream: str, records: list[Record]) -> PreparedAppend:
    new = [
        NewEvent(
            record.type,
            record.payload,
            record.id,
            record.metadata,
            record.priority,
            record.topics,
            record.version,
        )
        for record in records
    ]
    pieces, ids = encode_batch(stream, new, journal._codec.pack, journal._sealer.for_stream(stream))
    append = PreparedAppend(stream, pieces, ids, None, None)
    append.seq = records[0].seq
    append.us = to_us(records[0].timestamp)
    return append


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Neighbours of one stream and one commit, with consecutive seqs."""
    group: list[Record] = []
    for record in records:
        if group:
            last = group[-1]
            if not (
                record.stream == last.stream
                and record.seq == last.seq + 1
                and record.timestamp == last.timestamp
                and len(group) < RESTORE_EVENTS
            ):
                yield group
                group = []
        group.append(record)
    if group:
        yield group


def _compare(journal: Journal, stream: str, known: list[Record], last: int) -> None:
    """Check that records which should be there already are the same ones."""
    first = journal.first_seq(stream)
    have = {
        record.seq: record.id
        for record in journal.read(stream, after=known[0].seq - 1, until_seq=known[-1].seq)
    }
    for record in known:
        if record.seq >= first and have.get(record.seq) != record.id:
            raise WrongExpectedSeq(stream, record.seq - 1, last)
