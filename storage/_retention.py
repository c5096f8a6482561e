"""Freeing the space of old events, without taking what somebody still needs.

What is due by age, count or size is archived first and then dropped, whole segments at once and
the rest row by row in short transactions. Protected, unless forced, are the events of a stream
that its replay still needs (those after its newest snapshot, all of them where there is none),
those of a stream with unfinished effects, and those a durable subscription has not acknowledged.
Events hidden by truncate, delete or a limit are free to go.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from understudy.storage import _archive, _frame
from understudy.storage._catalog import key_of, pack, stream_entries, u64
from understudy.storage._errors import CorruptRecord
from understudy.storage._outbox import FINAL, effect_of
from understudy.storage._pruning import truncate

if TYPE_CHECKING:
    import pathlib

    from understudy.storage._archive import Archive
    from understudy.storage._catalog import Segment
    from understudy.storage._core import Core
    from understudy.storage._record import Run, Source
    from understudy.storage._snapshots import Snapshots

#: Rows looked at, or taken out, in one transaction.
STEP = 2000
#: Bytes of rows in one archive file.
ARCHIVE_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class RetentionReport:
    """What a run of retention did.

    Attributes:
        dropped_events: events that are gone from the journal.
        dropped_segments: segments dropped whole.
        archives: the files the events went to.
        kept_events: events that were due and had to stay.
        kept_because: stream (or subscription) to the reason why it was spared.
    """

    dropped_events: int = 0
    dropped_segments: int = 0
    archives: tuple[Archive, ...] = ()
    kept_events: int = 0
    kept_because: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What `Journal.keep` does; meant to be called about once an hour.

    Args:
        max_age: seconds after which events are archived and dropped, from an hour to 30 days.
            Optional, and if absent age does not count.
        max_events: at most so many stay. Optional.
        max_bytes: at most so many bytes of events stay. Optional.
        archive: as in `Journal.retain`. Optional, default True.
        purge_archives: seconds after which archives are deleted. Optional, default 30 days;
            None keeps them for ever.
        purge_effects: seconds after which completed and failed effects are forgotten, with
            their dedupe keys. Optional, default 30 days; None keeps them for ever.
        interval: seconds between two runs, for whoever calls. Optional, default an hour.
        force: drop also what is still needed. Optional, default False.
    """

    max_age: float | None = None
    max_events: int | None = None
    max_bytes: int | None = None
    archive: bool | str = True
    purge_archives: float | None = 30 * 86400.0
    purge_effects: float | None = 30 * 86400.0
    interval: float = 3600.0
    force: bool = False

    def __post_init__(self) -> None:
        if self.max_age is not None and not SHORTEST <= self.max_age <= LONGEST:
            raise ValueError(
                f"max_age is {self.max_age} seconds: use {SHORTEST:.0f} (an hour) to "
                f"{LONGEST:.0f} (30 days), or None to keep events of any age"
            )
        if self.interval <= 0:
            raise ValueError(f"interval is {self.interval}: use more than 0 seconds")


#: The bounds of a policy's max_age: an hour, and 30 days.
SHORTEST = 3600.0
LONGEST = 30 * 86400.0


class Keeper:
    """One run of retention; on the caller's thread, its changes on the writer's."""

    def __init__(
        self,
        core: Core,
        snapshots: Snapshots,
        source: Source,
        archive: pathlib.Path | None,
        floors: dict[str, int],
        *,
        force: bool,
    ) -> None:
        self._core = core
        self._snapshots = snapshots
        self._source = source
        self._archive = archive
        self._floors = floors
        self._force = force
        self._limits: dict[str, int] = {}
        self._busy: set[str] | None = None
        self._rows: list[tuple[int, Run, bytes]] = []
        self._size = 0
        self.archives: list[Archive] = []
        self.dropped_events = 0
        self.dropped_segments = 0
        self.kept_events = 0
        self.kept_because: dict[str, str] = {}

    def run(self, cut: int) -> RetentionReport:
        """Take away what is droppable at or below a position."""
        cut = self._below_subscriptions(cut)
        self._core.own_writer().control(self._core.own_writer().checkpoint).result()
        for segment in self._core.catalog.view.segments:
            if segment.first > cut:
                break
            if segment.events:
                self._segment(segment, cut)
            elif segment is not self._core.catalog.view.segments[-1]:
                self._drop(segment, [], whole=True)
        return RetentionReport(
            self.dropped_events,
            self.dropped_segments,
            tuple(self.archives),
            self.kept_events,
            self.kept_because,
        )

    def free_hidden(self) -> RetentionReport:
        """Take away what truncate, delete and limits have hidden; nothing is archived."""
        self._force = False
        self._archive = None
        self._hidden_only = True
        core = self._core
        lows = dict(core.catalog.lows)
        if lows == core.freed_lows:
            return RetentionReport()  # nothing was hidden since the last time: no row need be read
        report = self.run(core.catalog.view.position)
        core.freed_lows = lows
        return report

    _hidden_only = False

    def _below_subscriptions(self, cut: int) -> int:
        if self._force or self._hidden_only:
            return cut
        for name, floor in self._floors.items():
            if floor < cut:
                cut = floor
                self.kept_because[name] = f"a subscription has acknowledged up to position {floor}"
        return cut

    def _segment(self, segment: Segment, cut: int) -> None:
        if segment.last <= cut and self._archive is None and not segment.holes:
            # Nothing to copy: the index tells which streams end where, no row need be read.
            lasts = self._lasts_of(segment)
            if all(last <= self._limit(stream) for stream, last in lasts.items()):
                doomed = [(0, stream, last, 0) for stream, last in lasts.items()]
                if segment is not self._core.catalog.view.segments[-1]:
                    self._drop(segment, doomed, whole=True)
                    self.dropped_events += segment.events
                    return
        self._rows_of_segment(segment, cut)

    def _lasts_of(self, segment: Segment) -> dict[str, int]:
        """The last seq of each stream in a segment whose index is complete."""
        core = self._core
        places: dict[str, int] = {}
        with core.environment.reading() as txn:
            cursor = txn.cursor(segment.index)
            if cursor.set_range(b"S"):
                for key, row in cursor:
                    if key[:1] != b"S":
                        break
                    places[key[1:-9].decode()] = stream_entries(row)[-1][1]
            lasts = {}
            for stream, position in places.items():
                run = _frame.read_row(position, txn.get(key_of(position), db=segment.log))
                lasts[stream] = run.first_seq + len(run.events) - 1
        return lasts

    def _rows_of_segment(self, segment: Segment, cut: int) -> None:
        doomed: list[tuple[int, str, int, int]] = []
        hidden: dict[str, int] = {}
        kept = 0
        whole = cut >= segment.last
        low = segment.first
        while low <= min(segment.last, cut):
            page, low = self._page(segment, low, cut)
            for position, run, value in page:
                count = len(run.events)
                last = run.first_seq + count - 1
                limit = self._limit(run.stream)
                if position + count - 1 <= cut and last <= limit:
                    doomed.append((position, run.stream, last, count))
                    self._keep_copy(position, run, value)
                    continue
                whole = False
                kept += min(count, cut - position + 1)
                due = min(run.first_seq + cut - position, last)
                if run.first_seq <= min(due, limit) and not self._hidden_only:
                    # A row goes as a whole; what is due of one that stays is hidden.
                    hidden[run.stream] = min(due, limit) + 1
                    self._keep_copy(position, run, value)
        self._flush_archive()
        if doomed:
            self._drop(segment, doomed, whole=whole)
        for stream, low in hidden.items():
            gone = truncate(self._core, stream, low).result()
            self.dropped_events += gone
            kept -= gone
        self.kept_events += 0 if self._hidden_only else kept

    def _page(
        self, segment: Segment, low: int, cut: int
    ) -> tuple[list[tuple[int, Run, bytes]], int]:
        page: list[tuple[int, Run, bytes]] = []
        core = self._core
        with core.environment.reading() as txn:
            cursor = txn.cursor(segment.log)
            found = cursor.set_range(key_of(low))
            while found and len(page) < STEP:
                position = u64.unpack(cursor.key())[0]
                if position > cut:
                    return page, cut + 1
                value = cursor.value()
                try:
                    run = _frame.read_row(position, value)
                except CorruptRecord:
                    if not self._force:
                        raise
                    return page, position + 1  # forced: it goes if its segment goes
                page.append((position, run, value))
                low = position + len(run.events)
                found = cursor.next()
        return page, low if found else segment.last + 1

    def _limit(self, stream: str) -> int:
        """The seq up to which a stream's events may go."""
        limit = self._limits.get(stream)
        if limit is None:
            limit = self._limits[stream] = self._find_limit(stream)
        return limit

    def _find_limit(self, stream: str) -> int:
        core = self._core
        with core.environment.reading() as txn:
            head = core.catalog.head(txn, stream)
            hidden = 0 if head is None else head.low - 1
            if self._hidden_only or head is None:
                return hidden
            if self._force:
                return head.last
            if self._busy is None:
                self._busy = _busy_streams(core, txn)
            if stream in self._busy:
                if hidden < head.last:
                    self.kept_because[stream] = "it has unfinished effects"
                return hidden
            newest = self._snapshots.newest(txn, stream)
        if newest < head.last and hidden < head.last:
            self.kept_because[stream] = (
                f"its replay begins at the snapshot of seq {newest}"
                if newest
                else "it has no snapshot to replay from"
            )
        return max(hidden, newest)

    def _keep_copy(self, position: int, run: Run, value: bytes) -> None:
        if self._archive is None:
            return
        self._rows.append((position, run, value))
        self._size += len(value)
        if self._size >= ARCHIVE_BYTES:
            self._flush_archive()

    def _flush_archive(self) -> None:
        if self._archive is not None and self._rows:
            self.archives.append(_archive.write(self._archive, self._rows, self._source))
        self._rows = []
        self._size = 0

    def _drop(
        self, segment: Segment, doomed: list[tuple[int, str, int, int]], *, whole: bool
    ) -> None:
        core = self._core
        writer = core.own_writer()
        if whole and segment is not core.catalog.view.segments[-1]:
            writer.control(lambda: _drop_segment(core, segment, doomed)).result()
            self.dropped_segments += 1
        else:
            for start in range(0, len(doomed), STEP):
                part = doomed[start : start + STEP]
                writer.control(functools.partial(_drop_rows, core, segment, part)).result()
        self.dropped_events += sum(count for *_, count in doomed)


def _busy_streams(core: Core, txn: Any) -> set[str]:
    busy = set()
    outbox = core.database("outbox")
    for key, _ in txn.cursor(core.database("outbox.due")):
        row = txn.get(key[-8:], db=outbox)
        if row is not None:
            effect = effect_of(row)
            if effect.stream is not None and effect.status not in FINAL:
                busy.add(effect.stream)
    return busy


def _raise_lows(core: Core, txn: Any, doomed: list[tuple[int, str, int, int]]) -> dict[str, int]:
    """Write the new low ends of the streams that lose events; returns them."""
    lows: dict[str, int] = {}
    for _, stream, last, _ in doomed:
        lows[stream] = max(lows.get(stream, 0), last + 1)
    catalog = core.catalog
    for stream, low in list(lows.items()):
        head = catalog.own_head(txn, stream)
        lows[stream] = max(head.low, low)
        before, head.low = head.low, lows[stream]
        name = stream.encode()
        txn.put(name, head.to_row(), db=core.database("heads"))
        txn.put(name, pack(lows[stream]), db=core.database("lows"))
        head.low = before
    core.bump_changes(txn)
    return lows


def _set_lows(core: Core, lows: dict[str, int]) -> None:
    catalog = core.catalog
    for stream, low in lows.items():
        head = catalog.heads.get(stream)
        if head is not None:
            head.low = low
        catalog.lows[stream] = low


def _drop_segment(core: Core, segment: Segment, doomed: list[tuple[int, str, int, int]]) -> None:
    """Drop both databases of a segment, while no reader is inside."""
    env = core.environment
    catalog = core.catalog
    with env.exclusive():
        txn = env.begin()
        try:
            lows = _raise_lows(core, txn, doomed)
            txn.drop(segment.log, delete=True)
            txn.drop(segment.index, delete=True)
            txn.delete(key_of(segment.number), db=core.database("segments"))
            txn.commit()
        except BaseException:
            txn.abort()
            _reopen_handles(core, segment)
            raise
        env.forget_db(segment.log_name)
        env.forget_db(segment.index_name)
        _set_lows(core, lows)
        catalog.segments = tuple(s for s in catalog.segments if s is not segment)
        catalog.view = catalog.view._replace(
            segments=catalog.segments, generation=catalog.view.generation + 1
        )
    core.own_writer().ids.forget(segment.number)


def _reopen_handles(core: Core, segment: Segment) -> None:
    """Dropping closed the handles at once, even though its transaction came to nothing."""
    env = core.environment
    env.forget_db(segment.log_name)
    env.forget_db(segment.index_name)
    txn = env.begin()
    try:
        segment.log = env.open_db(segment.log_name, txn)
        segment.index = env.open_db(segment.index_name, txn)
    finally:
        txn.commit()


def _drop_rows(core: Core, segment: Segment, doomed: list[tuple[int, str, int, int]]) -> None:
    """Take rows out of a segment that keeps others."""
    env = core.environment
    catalog = core.catalog
    txn = env.begin()
    before = (segment.events, segment.size, segment.holes)
    try:
        lows = _raise_lows(core, txn, doomed)
        for position, _, _, count in doomed:
            key = key_of(position)
            value = txn.get(key, db=segment.log)
            if value is not None:
                txn.delete(key, db=segment.log)
                segment.events -= count
                segment.size -= len(value) + 16
        segment.holes = True
        catalog.write_segment(txn, segment)
        txn.commit()
    except BaseException:
        txn.abort()
        segment.events, segment.size, segment.holes = before
        raise
    _set_lows(core, lows)
    catalog.view = catalog.view._replace(generation=catalog.view.generation + 1)
