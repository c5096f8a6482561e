"""Questions to the log: by stream, type, topic, priority and time, in both directions.

Readers take short transactions, a batch of rows each, and hold none while their caller looks at
a record. What they see ends at the last acknowledged position.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import struct
from operator import add
from typing import TYPE_CHECKING, Any, TypeGuard

from understudy.storage import _frame
from understudy.storage._catalog import key_of, stream_entries, term_entries, u64
from understudy.storage._errors import CorruptRecord
from understudy.storage._record import CRITICAL, Record, to_us

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator

    from understudy.storage._catalog import Catalog, Segment, View
    from understudy.storage._record import Run, Source

#: A batch ends at the first of these, so that no transaction is long and no list large.
BATCH_EVENTS = 1000
BATCH_BYTES = 1 << 20

_NO_LIMIT = 1 << 62

#: Rows of the first page of a batch; each page is four times the one before, up to the limits of
#: a page. Whoever wants one record shall not pay for hundreds.
FIRST_PAGE = 8

#: Rows that follow one another: positions, runs, and the sum of their bytes.
Page = tuple["list[int]", "list[Run]", int]


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which events a reader wants; None everywhere means all."""

    types: frozenset[str] | None = None
    topics: frozenset[str] | None = None
    priority: str | None = None
    since_us: int | None = None
    until_us: int | None = None

    @classmethod
    def of(
        cls,
        types: Iterable[str] | None,
        topics: Iterable[str] | None,
        since: dt.datetime | None,
        until: dt.datetime | None,
        priority: str | None,
    ) -> Filter:
        """The filter of a read, checked."""
        if priority not in (None, "critical", "normal", "all"):
            raise ValueError(f"priority is {priority!r}: use 'critical', 'normal', or None for all")
        return cls(
            _names(types),
            _names(topics),
            None if priority == "all" else priority,
            None if since is None else to_us(since),
            None if until is None else to_us(until),
        )

    @property
    def by_event(self) -> bool:
        """Whether single events of a row have to be looked at."""
        return not (self.types is None and self.topics is None and self.priority is None)

    def terms(self) -> list[list[str]]:
        """Index terms: a row may matter if it has one of each list."""
        groups = []
        if self.types is not None:
            groups.append(["t" + name for name in self.types])
        if self.topics is not None:
            groups.append(["k" + name for name in self.topics])
        if self.priority == "critical":
            groups.append([_frame.CRITICAL_TERM])
        return groups

    def wants_time(self, us: int) -> bool:
        """Whether a commit of this time may matter: since inclusive, until exclusive."""
        return (self.since_us is None or us >= self.since_us) and (
            self.until_us is None or us < self.until_us
        )


def _names(names: Iterable[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    return frozenset((names,) if isinstance(names, str) else names)


class Gone(Exception):
    """A row vanished between index and log: retention took it."""

    def __init__(self, seq: int, position: int) -> None:
        super().__init__(seq, position)
        self.seq = seq
        self.position = position


class Reader:
    """Reads one catalog's log. Thread-safe; every call has its own transactions."""

    def __init__(
        self, catalog: Catalog, source: Source, clock: Callable[[], float], refresh: Any = None
    ) -> None:
        self.catalog = catalog
        self.environment = catalog.environment
        self.source = source
        self.clock = clock
        self.refresh = refresh  # readers beside another process's writer look for news first
        self.queried = 0  # records handed out; a statistic, not exact under threads

    # --- streams -------------------------------------------------------------

    def stream(
        self,
        stream: str,
        after: int,
        until_seq: int | None,
        wanted: Filter,
        limit: int | None,
        reverse: bool,
    ) -> Iterator[Record]:
        """The records of one stream."""
        return itertools.chain.from_iterable(
            self._stream_batches(stream, after, until_seq, wanted, limit, reverse)
        )

    def _stream_batches(
        self,
        stream: str,
        after: int,
        until_seq: int | None,
        wanted: Filter,
        limit: int | None,
        reverse: bool,
    ) -> Iterator[list[Record]]:
        left = _NO_LIMIT if limit is None else limit
        until = _NO_LIMIT if until_seq is None else until_seq
        low, high = after + 1, until
        while left > 0 and low <= high:
            batch, more = self._stream_batch(stream, low, high, wanted, left, reverse)
            self.queried += len(batch)
            left -= len(batch)
            yield batch
            if more is None:
                return
            if reverse:
                high = more
            else:
                low = more

    def _stream_batch(
        self, stream: str, low: int, high: int, wanted: Filter, left: int, reverse: bool
    ) -> tuple[list[Record], int | None]:
        """Records between two seqs, and where to go on (None: nowhere)."""
        if self.refresh is not None:
            self.refresh()
        env = self.environment
        catalog = self.catalog
        txn = env.enter()
        try:
            # The view is older than the transaction: what left the tail before the view was
            # taken is in the index that the transaction sees.
            view = catalog.view
            head = catalog.head(txn, stream)
            if head is None:
                return [], None
            last = min(high, head.visible)
            first = max(low, head.low)
            if head.max_count:
                first = max(first, head.visible - head.max_count + 1)
            if head.max_age:
                oldest = int((self.clock() - head.max_age) * 1e6)
                if wanted.since_us is None or wanted.since_us < oldest:
                    wanted = dataclasses.replace(wanted, since_us=oldest)
            if first > last:
                return [], None
            try:
                if reverse:
                    return self._backward(txn, view, stream, first, last, wanted, left)
                return self._forward(txn, view, stream, first, last, wanted, left)
            except Gone as gone:
                missing = gone
        finally:
            env.leave(txn)
        # A row was not where the index said. If the stream's low end moved meanwhile, go on
        # from there; otherwise it is lost.
        with env.reading() as txn:
            fresh = catalog.head(txn, stream)
            if fresh is not None and fresh.low > first:
                return [], high if reverse else fresh.low
        raise CorruptRecord(
            stream, missing.seq, missing.position, "its row is missing from the log"
        )

    def _forward(
        self, txn: Any, view: View, stream: str, first: int, last: int, wanted: Filter, left: int
    ) -> tuple[list[Record], int | None]:
        out: list[Record] = []
        size = 0
        expected = first
        plain = not wanted.by_event and wanted.since_us is None and wanted.until_us is None
        for entries, runs, lengths in _fetched(
            txn, self._entries(txn, view, stream, first), last, view.position
        ):
            if plain and _follows(runs, stream, expected, entries):
                # One event a row, none missing: the whole page at once.
                for single in runs:
                    single.source = self.source
                out.extend(_frame.single_records([place for _, place in entries], runs))
                expected += len(runs)
                size += sum(lengths)
            else:
                for (seq, position), run, length in zip(entries, runs, lengths, strict=True):
                    if position > view.position:
                        return out[:left], None
                    if run is None:
                        if seq < first:
                            continue  # the row before the first: retention may have taken it
                        raise Gone(seq, position)
                    if run.stream != stream or run.first_seq != seq:
                        raise CorruptRecord(stream, seq, position, "the index names another row")
                    count = len(run.events)
                    if seq + count <= expected:
                        continue  # the row before the one that holds `first`
                    if seq > expected:
                        self._gap(txn, stream, expected, position)
                    expected = seq + count
                    size += length
                    if wanted.wants_time(run.timestamp):
                        run.source = self.source
                        start = max(first - seq, 0)
                        end = min(last - seq + 1, count)
                        out.extend(select(position, run, start, end, wanted))
                    elif wanted.until_us is not None and run.timestamp >= wanted.until_us:
                        return out[:left], None
                    if len(out) >= left:
                        return out[:left], None
            if len(out) >= left:
                return out[:left], None
            if len(out) >= BATCH_EVENTS or size >= BATCH_BYTES:
                return out, expected
        if expected <= last:
            if self.catalog.view is not view:
                return out, expected  # the head ran ahead of the view: look again
            self._gap(txn, stream, expected, 0)
        return out, None

    def _gap(self, txn: Any, stream: str, seq: int, position: int) -> None:
        head = self.catalog.head(txn, stream)
        if head is not None and head.low > seq:
            raise Gone(seq, position)  # cut off while we read
        raise CorruptRecord(stream, seq, position, "it is missing: the stream has a gap")

    def _backward(
        self, txn: Any, view: View, stream: str, first: int, last: int, wanted: Filter, left: int
    ) -> tuple[list[Record], int | None]:
        out: list[Record] = []
        size = 0
        expected = last
        for segment, seq, position in self._entries_reversed(txn, view, stream, last):
            if position > view.position:
                continue
            value = txn.get(key_of(position), db=segment.log)
            if value is None:
                if seq < first:
                    break
                raise Gone(seq, position)
            run = _frame.read_row(position, value)
            if run.stream != stream or run.first_seq != seq:
                raise CorruptRecord(stream, seq, position, "the index names another row")
            count = len(run.events)
            if seq + count - 1 < expected and expected != last:
                self._gap(txn, stream, expected, position)
            expected = seq - 1
            size += len(value)
            if wanted.wants_time(run.timestamp):
                run.source = self.source
                start = max(first - seq, 0)
                end = min(last - seq + 1, count)
                chosen = list(select(position, run, start, end, wanted))
                chosen.reverse()
                out.extend(chosen)
            elif wanted.since_us is not None and run.timestamp < wanted.since_us:
                return out[:left], None
            if seq <= first or len(out) >= left:
                return out[:left], None
            if len(out) >= BATCH_EVENTS or size >= BATCH_BYTES:
                return out, expected
        return out, None

    def _entries(
        self, txn: Any, view: View, stream: str, seq: int
    ) -> Iterator[tuple[Segment, int, int]]:
        """(segment, first seq, position) of each row from the one that may hold `seq` on."""
        # The tail may have grown since the view was taken, even from no segment to one.
        tail = view.tail.streams.get(stream) if view.segments else None
        border = tail[0] if tail else _NO_LIMIT
        if seq < border:
            name = b"S" + stream.encode() + b"\0"
            for segment in view.segments:
                for row in _rows_from(txn, segment.index, name, seq):
                    entries = stream_entries(row)
                    start = 0
                    while start + 1 < len(entries) and entries[start + 1][0] <= seq:
                        start += 1
                    for first, position in entries[start:]:
                        if first >= border:
                            break
                        yield segment, first, position
        if tail:
            segment = view.segments[-1]
            at = _find(tail, seq)
            while at < len(tail) - 1:
                yield segment, tail[at], tail[at + 1]
                at += 2

    def _entries_reversed(
        self, txn: Any, view: View, stream: str, seq: int
    ) -> Iterator[tuple[Segment, int, int]]:
        tail = view.tail.streams.get(stream) if view.segments else None
        border = tail[0] if tail else _NO_LIMIT
        if tail and seq >= border:
            segment = view.segments[-1]
            for at in range(_find(tail, seq), -1, -2):
                yield segment, tail[at], tail[at + 1]
        name = b"S" + stream.encode() + b"\0"
        for segment in reversed(view.segments):
            for row in _rows_back(txn, segment.index, name, seq):
                for first, position in reversed(stream_entries(row)):
                    if first <= seq and first < border:
                        yield segment, first, position

    # --- the whole log -------------------------------------------------------

    def everything(
        self, after: int, wanted: Filter, limit: int | None, reverse: bool, until: int | None = None
    ) -> Iterator[Record]:
        """The records of all streams by position; `after` exclusive, `until` inclusive."""
        return itertools.chain.from_iterable(self._batches(after, wanted, limit, reverse, until))

    def _batches(
        self, after: int, wanted: Filter, limit: int | None, reverse: bool, until: int | None
    ) -> Iterator[list[Record]]:
        left = _NO_LIMIT if limit is None else limit
        low, high = after + 1, _NO_LIMIT if until is None else until
        while left > 0 and low <= high:
            batch, more = self._batch(low, high, wanted, left, reverse)
            self.queried += len(batch)
            left -= len(batch)
            yield batch
            if more is None:
                return
            if reverse:
                high = more
            else:
                low = more

    def _batch(
        self, low: int, high: int, wanted: Filter, left: int, reverse: bool
    ) -> tuple[list[Record], int | None]:
        if self.refresh is not None:
            self.refresh()
        env = self.environment
        txn = env.enter()
        try:
            view = self.catalog.view
            high = min(high, view.position)
            if low > high:
                return [], None
            if wanted.since_us is not None:
                low = max(low, self.position_at(txn, view, wanted.since_us))
            if wanted.until_us is not None:
                high = min(high, self.position_at(txn, view, wanted.until_us) - 1)
            if low > high:
                return [], None
            pages = self._pages(txn, view, low, high, wanted, reverse)
            return self._collect(pages, low, high, wanted, left, reverse)
        finally:
            env.leave(txn)

    def _collect(
        self,
        pages: Iterator[Page],
        low: int,
        high: int,
        wanted: Filter,
        left: int,
        reverse: bool,
    ) -> tuple[list[Record], int | None]:
        out: list[Record] = []
        size = 0
        lows = self.catalog.lows
        source = self.source
        by_event = wanted.by_event
        for positions, runs, length in pages:
            for run in runs:
                run.source = source
            if not (by_event or reverse or lows) and _singles(positions, runs, low, high):
                # Many journals are written one event at a time: those go page by page.
                out.extend(_frame.single_records(positions, runs))
            else:
                for position, run in zip(positions, runs, strict=True):
                    start = max(low - position, 0)
                    end = min(high - position + 1, len(run.events))
                    if lows:
                        start = max(start, lows.get(run.stream, 0) - run.first_seq)
                    if start < end:
                        chosen = select(position, run, start, end, wanted)
                        out.extend(reversed(list(chosen)) if reverse else chosen)
            size += length
            if len(out) >= left:
                return out[:left], None
            if len(out) >= BATCH_EVENTS or size >= BATCH_BYTES:
                last = positions[-1]
                return out, last - 1 if reverse else last + len(runs[-1].events)
        return out, None

    def _pages(
        self, txn: Any, view: View, low: int, high: int, wanted: Filter, reverse: bool
    ) -> Iterator[Page]:
        """The rows between two positions that may hold wanted events."""
        groups = wanted.terms()
        segments = [s for s in view.segments if s.last >= low and s.first <= high]
        if reverse:
            segments.reverse()
        for segment in segments:
            if groups:
                positions = self._candidates(txn, view, segment, groups)
                chosen = [p for p in positions if p <= high]
                # The row that holds `low` may begin before it.
                before = [p for p in chosen if p <= low]
                if len(before) > 1:
                    chosen = chosen[len(before) - 1 :]
                if reverse:
                    chosen.reverse()
                for position in chosen:
                    value = txn.get(key_of(position), db=segment.log)
                    if value is not None:
                        yield [position], [_frame.read_row(position, value)], len(value)
                    elif not segment.holes:
                        raise CorruptRecord(None, None, position, "its row is missing")
            elif reverse:
                yield from _scan_back(txn, segment, low, high)
            else:
                yield from _scan(txn, segment, low, high)

    def _candidates(
        self, txn: Any, view: View, segment: Segment, groups: list[list[str]]
    ) -> list[int]:
        """Positions of the segment's rows that have a term of each group, sorted."""
        result: set[int] | None = None
        for group in groups:
            found: set[int] = set()
            for term in group:
                prefix = b"T" + term.encode() + b"\0"
                for row in _rows_from(txn, segment.index, prefix, 0):
                    found.update(term_entries(row))
                if segment is view.segments[-1]:
                    found.update(view.tail.terms.get(term, ()))
            result = found if result is None else result & found
        return sorted(result or ())

    def position_at(self, txn: Any, view: View, us: int) -> int:
        """The first position of that time or later; one past the end where there is none."""
        for segment in view.segments:
            if not segment.events or segment.last_us < us:
                continue
            if segment.first_us >= us:
                return segment.first
            # Timestamps never fall along positions, so that time needs no index of its own.
            cursor = txn.cursor(segment.log)
            low, high = segment.first, segment.last + 1
            while low < high:
                middle = (low + high) // 2
                if not cursor.set_range(key_of(middle)):
                    high = middle
                    continue
                if int.from_bytes(cursor.value()[6:14], "big") >= us:
                    high = middle
                else:
                    low = u64.unpack(cursor.key())[0] + 1
            if cursor.set_range(key_of(low)):
                return int(u64.unpack(cursor.key())[0])  # low may lie within an earlier row
        return view.position + 1

    def rows_before(self, us: int | None) -> Iterator[tuple[int, Run, bytes]]:
        """(position, run, value) of every readable row, or of those before a time."""
        if self.refresh is not None:
            self.refresh()
        low = 1
        while True:
            page: list[tuple[int, Run, bytes]] = []
            with self.environment.reading() as txn:
                view = self.catalog.view
                lows = self.catalog.lows
                segment = next((s for s in view.segments if s.events and s.last >= low), None)
                if segment is None:
                    return
                cursor = txn.cursor(segment.log)
                found = cursor.set_range(key_of(low))
                while found and len(page) < BATCH_EVENTS:
                    position = u64.unpack(cursor.key())[0]
                    value = cursor.value()
                    run = _frame.read_row(position, value)
                    if position > view.position or (us is not None and run.timestamp >= us):
                        yield from page
                        return
                    low = position + len(run.events)
                    if run.first_seq >= lows.get(run.stream, 0):
                        page.append((position, run, value))
                    found = cursor.next()
                if not found:
                    low = max(low, segment.last + 1)
            yield from page

    # --- single records ------------------------------------------------------

    def at(self, position: int) -> Record | None:
        """The record at a position, hidden or not; None where there is none (any more)."""
        with self.environment.reading() as txn:
            return self.at_in(txn, self.catalog.segments, position)

    def at_in(self, txn: Any, segments: tuple[Segment, ...], position: int) -> Record | None:
        """The same within a transaction."""
        for segment in reversed(segments):
            if segment.first <= position:
                break
        else:
            return None
        cursor = txn.cursor(segment.log)
        if not cursor.set_range(key_of(position)):
            found = cursor.last()
        else:
            found = u64.unpack(cursor.key())[0] == position or cursor.prev()
        if not found:
            return None
        first = u64.unpack(cursor.key())[0]
        run = _frame.read_row(first, cursor.value())
        index = position - first
        if index >= len(run.events):
            return None
        run.source = self.source
        return Record(position, run.stream, run.first_seq + index, run, run.events[index])


def select(position: int, run: Run, start: int, end: int, wanted: Filter) -> Iterable[Record]:
    """The wanted records of a run, of its events from `start` to before `end`."""
    events = run.events
    if not wanted.by_event:
        if not start and end == len(events):
            return _frame.records(position, run)
        return [
            Record(position + i, run.stream, run.first_seq + i, run, events[i])
            for i in range(start, end)
        ]
    types, topics = wanted.types, wanted.topics
    numbers = None
    if types is not None:
        numbers = {number for number, name in enumerate(run.types) if name in types}
        if not numbers:
            return ()
    critical = None if wanted.priority is None else wanted.priority == "critical"
    out = []
    for i in range(start, end):
        event = events[i]
        if numbers is not None and event.type not in numbers:
            continue
        if topics is not None and topics.isdisjoint(event.topics):
            continue
        if critical is not None and bool(event.flags & CRITICAL) is not critical:
            continue
        out.append(Record(position + i, run.stream, run.first_seq + i, run, event))
    return out


def _singles(positions: list[int], runs: list[Run], low: int, high: int) -> bool:
    """Whether every row of a page holds one event, between two positions."""
    first, last = positions[0], positions[-1]
    return (
        first >= low
        and last <= high
        and len(runs) == last - first + 1
        and len(runs[-1].events) == 1
    )


def _grown(rows: int, size: int, page: int) -> int:
    """How many rows the page after one of so many rows and bytes shall have."""
    fitting = _frame.PAGE_BYTES * page // max(size, 1)
    return max(1, min(4 * rows, fitting, _frame.PAGE_ROWS))


def _follows(
    runs: list[Run | None], stream: str, seq: int, entries: list[tuple[int, int]]
) -> TypeGuard[list[Run]]:
    """Whether a page holds the single events of a stream from `seq` on, as its index says."""
    count = len(runs)
    seqs = list(range(seq, seq + count))
    return (
        None not in runs
        and [entry[0] for entry in entries] == seqs
        and [run.first_seq for run in runs if run] == seqs
        and [run.stream for run in runs if run] == [stream] * count
        and (last := runs[-1]) is not None
        and len(last.events) == 1
    )


def _fetched(
    txn: Any, entries: Iterator[tuple[Segment, int, int]], last: int, end: int
) -> Iterator[tuple[list[tuple[int, int]], list[Run | None], list[int]]]:
    """The rows of index entries up to a seq, page by page: entries, runs and their bytes.

    A run is None where there is no row. Ends with the first entry past the position `end`,
    whose row is not read.
    """
    rows = FIRST_PAGE
    while True:
        page: list[tuple[int, int]] = []
        chunk = list(itertools.islice(entries, rows))
        if not chunk:
            return
        segment, seq, position = chunk[-1]
        ending = False
        if chunk[0][0] is segment and seq <= last and position <= end:
            # Entries ascend, segment by segment: with the last one all of them are wanted.
            page = [entry[1:] for entry in chunk]
        else:
            segment = chunk[0][0]
            for at, entry in enumerate(chunk):
                if entry[0] is not segment:
                    entries = itertools.chain(chunk[at:], entries)
                    break
                ending = entry[1] > last
                if not ending:
                    page.append(entry[1:])
                    ending = entry[2] > end
                if ending:
                    break
            if not page:
                return
        keys = [key_of(position) for _, position in page if position <= end]
        found = dict(txn.cursor(segment.log).getmulti(keys))
        at = 0
        size = sum(map(len, found.values()))
        if len(found) == len(page):
            values = [found[key] for key in keys]
            positions = [position for _, position in page]
            while at < len(page):
                # A damaged row is told when it is come to, not before.
                runs = _frame.read_rows(positions[at:], values[at:])
                stop = at + len(runs)
                yield page[at:stop], list(runs), [len(value) for value in values[at:stop]]
                at = stop
        else:
            for seq, position in page:
                value = found.get(key_of(position))
                run = None if value is None else _frame.read_row(position, value)
                yield [(seq, position)], [run], [0 if value is None else len(value)]
        if ending:
            return
        rows = _grown(rows, size, len(page))


def _find(tail: list[int], seq: int) -> int:
    """Index, in a flat list of (seq, position) pairs, of the last pair at or below `seq`."""
    low, high = 0, len(tail) // 2
    while low < high:
        middle = (low + high) // 2
        if tail[2 * middle] <= seq:
            low = middle + 1
        else:
            high = middle
    return 2 * max(low - 1, 0)


def _rows_from(txn: Any, db: Any, prefix: bytes, number: int) -> Iterator[bytes]:
    """Index rows of a name from the one that may hold `number` on."""
    cursor = txn.cursor(db)
    if cursor.set_range(prefix + key_of(number + 1)):
        if cursor.prev():
            if not cursor.key().startswith(prefix) and not cursor.next():
                return
        else:
            cursor.first()
    elif not cursor.last():
        return
    while cursor.key().startswith(prefix):
        yield cursor.value()
        if not cursor.next():
            return


def _rows_back(txn: Any, db: Any, prefix: bytes, number: int) -> Iterator[bytes]:
    """Index rows of a name from the one that may hold `number` backwards."""
    cursor = txn.cursor(db)
    if not (cursor.prev() if cursor.set_range(prefix + key_of(number + 1)) else cursor.last()):
        return
    while cursor.key().startswith(prefix):
        yield cursor.value()
        if not cursor.prev():
            return


def _scan(txn: Any, segment: Segment, low: int, high: int) -> Iterator[Page]:
    """The rows of a segment from the one that holds `low`, none missing in between."""
    cursor = txn.cursor(segment.log)
    expected = max(low, segment.first)
    if not cursor.set_range(key_of(expected)):
        if not cursor.last():
            if segment.holes:
                return
            raise CorruptRecord(None, None, expected, "it is missing: the log has a gap")
    elif u64.unpack(cursor.key())[0] > expected and not cursor.prev():
        cursor.first()
    pairs: Iterator[tuple[bytes, bytes]] = iter(cursor)
    rows = FIRST_PAGE
    while page := list(itertools.islice(pairs, rows)):
        keys, values = map(list, zip(*page, strict=True))
        first, final = u64.unpack(keys[0])[0], u64.unpack(keys[-1])[0]
        # Keys ascend: as many as there are numbers from the first to the last are all of them.
        if final - first == len(keys) - 1:
            positions = list(range(first, final + 1))
        else:
            positions = list(struct.unpack(f">{len(keys)}Q", b"".join(keys)))
        if final > high:
            del positions[bisect.bisect_right(positions, high) :]
            pairs = iter(())
            if not positions:
                break
            del values[len(positions) :]
        if first > expected and not segment.holes:
            raise CorruptRecord(None, None, expected, "it is missing: the log has a gap")
        runs = _frame.read_rows(positions, values)
        sound = len(runs)
        if not segment.holes and positions[sound - 1] - first != sound - 1:
            ends = map(add, positions, [len(run.events) for run in runs])
            gaps = zip(positions[1:sound], ends, strict=False)
            sound = next((i for i, (at, end) in enumerate(gaps, 1) if at > end), sound)
        if sound < len(positions):
            # Damage is told when it is come to, not before.
            pairs = itertools.chain(page[sound : len(positions)], pairs)
            del positions[sound:], values[sound:], runs[sound:]
        expected = positions[-1] + len(runs[-1].events)
        size = sum(map(len, values))
        rows = _grown(rows, size, sound)
        if first + len(runs[0].events) <= low:
            del positions[0], runs[0]
        if positions:
            yield positions, runs, size
    if expected <= min(high, segment.last) and not segment.holes:
        raise CorruptRecord(None, None, expected, "it is missing: the log has a gap")


def _scan_back(txn: Any, segment: Segment, low: int, high: int) -> Iterator[Page]:
    cursor = txn.cursor(segment.log)
    if cursor.set_range(key_of(high)):
        if u64.unpack(cursor.key())[0] > high and not cursor.prev():
            return
    elif not cursor.last():
        return
    for key, value in cursor.iterprev():
        position = u64.unpack(key)[0]
        run = _frame.read_row(position, value)
        if position + len(run.events) <= low:
            return
        yield [position], [run], len(value)
        if position <= low:
            return
