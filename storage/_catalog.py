"""What the journal knows of itself: segments, heads of streams, and the index of its tail.

The log is the truth. Everything else can be computed from it, and is written lazily: at a
checkpoint, together with the events it covers. What lies after the last checkpoint, the tail, is
indexed in memory and rebuilt from the log when the journal is opened.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from understudy.storage._frame import read_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.storage._environment import Environment
    from understudy.storage._record import Run

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder().decode
u64 = struct.Struct(">Q")
key_of = u64.pack

#: Entries of one row of an index: at 2 to 6 bytes each a row stays within half a page.
INDEX_ROW = 320


class Head:
    """Where a stream stands. Owned by the writer's thread; others read single fields."""

    __slots__ = (
        "deleted_at",
        "epoch",
        "ids_from",
        "last",
        "low",
        "max_age",
        "max_count",
        "packed_name",
        "tombstone",
        "visible",
    )

    def __init__(self, name: str) -> None:
        self.packed_name = pack(name)
        self.last = 0  # highest seq ever given
        self.visible = 0  # highest acknowledged seq
        self.low = 1  # lowest seq that may still be read
        self.epoch = 0  # highest epoch that wrote
        self.deleted_at = 0  # last at the time of deletion; deleted while it equals last
        self.tombstone = False
        self.max_age = 0.0  # seconds, 0 for no limit
        self.max_count = 0
        self.ids_from = 0  # number of the first segment holding ids given by a writer, 0: none

    @property
    def deleted(self) -> bool:
        """Whether the stream was deleted and not written since."""
        return self.last > 0 and self.deleted_at == self.last

    def to_row(self) -> bytes:
        """The head as it lies on disk."""
        return pack(
            (
                self.last,
                self.low,
                self.epoch,
                self.deleted_at,
                self.tombstone,
                self.max_age,
                self.max_count,
                self.ids_from,
            )
        )

    @classmethod
    def from_row(cls, name: str, row: bytes) -> Head:
        """The head that `to_row` wrote."""
        head = cls(name)
        (
            head.last,
            head.low,
            head.epoch,
            head.deleted_at,
            head.tombstone,
            head.max_age,
            head.max_count,
            head.ids_from,
        ) = unpack(row)
        head.visible = head.last
        return head

    def state(self) -> tuple[Any, ...]:
        """What a refused write has to put back."""
        return (
            self.last, self.low, self.epoch, self.deleted_at, self.tombstone,
            self.max_age, self.max_count, self.ids_from,
        )  # fmt: skip

    def restore(self, state: tuple[Any, ...]) -> None:
        """Back to an earlier `state`."""
        (
            self.last, self.low, self.epoch, self.deleted_at, self.tombstone,
            self.max_age, self.max_count, self.ids_from,
        ) = state  # fmt: skip


@dataclasses.dataclass(slots=True)
class Segment:
    """A stretch of the log in a database of its own, so that it can be dropped at once."""

    number: int
    first: int  # position of its first event
    last: int  # position of its last event, first - 1 while empty
    first_us: int
    last_us: int
    events: int
    size: int  # bytes of its rows
    holes: bool  # rows have been taken out
    created_us: int
    closed: bool
    log: Any = None
    index: Any = None

    def to_row(self) -> bytes:
        """The segment as it lies on disk."""
        return pack(
            (
                self.number, self.first, self.last, self.first_us, self.last_us,
                self.events, self.size, self.holes, self.created_us, self.closed,
            )
        )  # fmt: skip

    @classmethod
    def from_row(cls, row: bytes) -> Segment:
        """The segment that `to_row` wrote."""
        return cls(*unpack(row))

    @property
    def log_name(self) -> str:
        """Name of the database of its rows."""
        return f"log.{self.number}"

    @property
    def index_name(self) -> str:
        """Name of the database of its index."""
        return f"idx.{self.number}"


class Tail:
    """The index of what lies after the last checkpoint. Grows only; replaced at a checkpoint.

    The writer adds, readers look, without a lock: lists and dicts are only ever extended, and
    what a reader may see ends at the acknowledged position of its view.
    """

    __slots__ = ("events", "ids", "rows", "streams", "terms")

    def __init__(self) -> None:
        self.events = 0
        self.rows = 0
        self.streams: dict[str, list[int]] = {}  # seq, position, seq, position, … one pair per row
        self.terms: dict[str, list[int]] = {}  # positions of rows
        self.ids: dict[tuple[str, str], tuple[int, int]] = {}  # (stream, id): (seq, position)

    def add(self, stream: str, first_seq: int, position: int, count: int, terms: Any) -> None:
        """Index one row."""
        entries = self.streams.get(stream)
        if entries is None:
            # The list is complete before it can be seen.
            self.streams[stream] = [first_seq, position]
        else:
            entries += (first_seq, position)
        for term in terms:
            positions = self.terms.get(term)
            if positions is None:
                self.terms[term] = [position]
            else:
                positions.append(position)
        self.events += count
        self.rows += 1


class View(NamedTuple):
    """What readers see: everything up to a position, and where to look for it."""

    position: int  # last acknowledged
    timestamp: int  # of it, µs
    tail: Tail
    segments: tuple[Segment, ...]
    generation: int  # changes when positions or streams were taken away


class Catalog:
    """Heads, segments and tail of one environment, and their rows on disk.

    Written by the writer's thread (or, where there is no writer, by `refresh` under its lock).
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.heads: dict[str, Head] = {}
        self.dirty: set[str] = set()
        self.lows: dict[str, int] = {}  # streams whose first seqs are gone
        self.tail = Tail()
        self.segments: tuple[Segment, ...] = ()
        self.last_position = 0
        self.last_us = 0
        self.checkpoint = 0
        self.view = View(0, 0, self.tail, (), 0)

    # --- loading -------------------------------------------------------------

    def load(self, txn: Any) -> None:
        """Read the checkpointed state, then index what came after it."""
        env = self.environment
        meta = env.open_db("meta", txn)
        self.checkpoint = unpack(txn.get(b"checkpoint", db=meta) or b"\x00")
        segments = []
        db = env.open_db("segments", txn)
        for _, row in txn.cursor(db):
            segment = Segment.from_row(row)
            segment.log = env.open_db(segment.log_name, txn)
            segment.index = env.open_db(segment.index_name, txn)
            segments.append(segment)
        self.segments = tuple(segments)
        self.heads = {}
        self.dirty = set()
        self.lows = {
            name.decode(): unpack(low) for name, low in txn.cursor(env.open_db("lows", txn))
        }
        self.tail = Tail()
        self.last_position = self.checkpoint
        self.last_us = max((segment.last_us for segment in segments), default=0)
        self.extend(txn)
        self.view = View(
            self.last_position, self.last_us, self.tail, self.segments, self.view.generation + 1
        )

    def extend(self, txn: Any) -> int:
        """Index the rows that lie after the last known position; returns how many."""
        if not self.segments:
            return 0
        segment = self.segments[-1]
        rows = 0
        cursor = txn.cursor(segment.log)
        if cursor.set_range(key_of(self.last_position + 1)):
            for key, value in cursor:
                position = u64.unpack(key)[0]
                self._index_row(txn, segment, position, read_row(position, value), len(value))
                rows += 1
        return rows

    def _index_row(self, txn: Any, segment: Segment, position: int, run: Run, size: int) -> None:
        count = len(run.events)
        terms = {"t" + name for name in run.types}
        last_seq = run.first_seq + count - 1
        head = self.own_head(txn, run.stream)
        for index, event in enumerate(run.events):
            if event.flags & 1:
                terms.add("p")
            for topic in event.topics:
                terms.add("k" + topic)
            if event.id is not None:
                self.tail.ids[run.stream, event.id] = (run.first_seq + index, position + index)
                if not head.ids_from:
                    head.ids_from = segment.number
        if not head.last and run.first_seq > 1:
            head.low = run.first_seq
        self.tail.add(run.stream, run.first_seq, position, count, terms)
        head.last = head.visible = max(head.last, last_seq)
        head.epoch = max(head.epoch, run.epoch)
        self.dirty.add(run.stream)
        self.note_rows(
            segment,
            position + count - 1,
            rows=1,
            events=count,
            size=size,
            first_us=run.timestamp,
            last_us=run.timestamp,
        )

    def note_rows(
        self,
        segment: Segment,
        last: int,
        *,
        rows: int,
        events: int,
        size: int,
        first_us: int,
        last_us: int,
    ) -> None:
        """Count rows that were added to the open segment, the last of which ends at `last`."""
        if not segment.events:
            segment.first_us = first_us
        segment.events += events
        segment.size += size + 16 * rows
        segment.last = self.last_position = last
        segment.last_us = self.last_us = last_us

    # --- heads ---------------------------------------------------------------

    def own_head(self, txn: Any, stream: str) -> Head:
        """The head of a stream for changing it; the writer's thread only."""
        head = self.heads.get(stream)
        if head is None:
            head = self.stored_head(txn, stream) or Head(stream)
            self.heads[stream] = head
        return head

    def stored_head(self, txn: Any, stream: str) -> Head | None:
        """The head as of the last checkpoint."""
        try:
            key = stream.encode()
        except UnicodeEncodeError:
            return None
        if not 0 < len(key) < 512:
            return None  # no such key, so no such stream
        row = txn.get(key, db=self.environment.databases["heads"])
        return None if row is None else Head.from_row(stream, row)

    def head(self, txn: Any, stream: str) -> Head | None:
        """The head of a stream for reading; None for a stream that never was."""
        head = self.heads.get(stream)
        if head is not None:
            return head
        stored = self.stored_head(txn, stream)
        # A head that was made dirty between the two looks has moved to memory.
        return self.heads.get(stream) or stored

    def names(self, txn: Any) -> Iterator[tuple[str, Head]]:
        """Every stream that ever was, with its head, in no order."""
        memory = dict(self.heads)
        for name, head in memory.items():
            if head.last:
                yield name, head
        for key, row in txn.cursor(self.environment.databases["heads"]):
            name = key.decode()
            if name not in memory:
                yield name, Head.from_row(name, row)

    # --- checkpoint ----------------------------------------------------------

    def write_checkpoint(self, txn: Any, segment: Segment, tail: Tail, position: int) -> None:
        """Write index, heads and segment, so that the tail may be forgotten."""
        index = segment.index
        rows: list[tuple[bytes, bytes]] = []
        for stream, entries in tail.streams.items():
            prefix = b"S" + stream.encode() + b"\0"
            for start in range(0, len(entries), 2 * INDEX_ROW):
                part = entries[start : start + 2 * INDEX_ROW]
                rows.append((prefix + key_of(part[0]), pack(_gaps(part, 2))))
        for term, positions in tail.terms.items():
            prefix = b"T" + term.encode() + b"\0"
            for start in range(0, len(positions), INDEX_ROW):
                chunk = positions[start : start + INDEX_ROW]
                rows.append((prefix + key_of(chunk[0]), pack(_gaps(chunk, 1))))
        rows.sort()
        if rows:
            txn.cursor(index).putmulti(rows)
        self.write_heads(txn, self.dirty)
        self.write_segment(txn, segment)
        txn.put(b"checkpoint", pack(position), db=self.environment.databases["meta"])

    def write_heads(self, txn: Any, names: Any) -> None:
        """Write the heads of these streams."""
        rows = sorted((name.encode(), self.heads[name].to_row()) for name in names)
        if rows:
            txn.cursor(self.environment.databases["heads"]).putmulti(rows)

    def write_segment(self, txn: Any, segment: Segment) -> None:
        """Write the figures of a segment."""
        txn.put(key_of(segment.number), segment.to_row(), db=self.environment.databases["segments"])

    def new_segment(self, txn: Any, created_us: int) -> Segment:
        """Make the next segment; it counts once its transaction is committed."""
        last = self.segments[-1] if self.segments else None
        first = self.last_position + 1
        segment = Segment(
            number=last.number + 1 if last else 1,
            first=first,
            last=first - 1,
            first_us=created_us,
            last_us=created_us,
            events=0,
            size=0,
            holes=False,
            created_us=created_us,
            closed=False,
        )
        env = self.environment
        env.forget_db(segment.log_name)
        env.forget_db(segment.index_name)
        segment.log = env.open_db(segment.log_name, txn)
        segment.index = env.open_db(segment.index_name, txn)
        self.write_segment(txn, segment)
        return segment


def _gaps(entries: list[int], width: int) -> list[int]:
    """Numbers that grow, as their differences: small numbers are short in msgpack."""
    gaps = entries[:width]
    if width == 1:
        gaps += [b - a for a, b in itertools.pairwise(entries)]
        return gaps
    previous_seq, previous = entries[0], entries[1]
    for at in range(2, len(entries), 2):
        seq, position = entries[at], entries[at + 1]
        gaps += (seq - previous_seq, position - previous)
        previous_seq, previous = seq, position
    return gaps


def stream_entries(row: bytes) -> list[tuple[int, int]]:
    """The (first seq, position) pairs of an index row of a stream."""
    gaps = unpack(row)
    entries = []
    seq = position = 0
    for at in range(0, len(gaps), 2):
        seq += gaps[at]
        position += gaps[at + 1]
        entries.append((seq, position))
    return entries


def term_entries(row: bytes) -> list[int]:
    """The row positions of an index row of a term."""
    entries = []
    position = 0
    for gap in unpack(row):
        position += gap
        entries.append(position)
    return entries
