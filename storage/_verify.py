"""Looking at everything: does the log hold what its heads and indexes say it holds?"""

from __future__ import annotations

import dataclasses
import zlib
from typing import TYPE_CHECKING

from understudy.storage import _frame
from understudy.storage._catalog import key_of, stream_entries, term_entries, u64
from understudy.storage._errors import CorruptRecord

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from understudy.storage._catalog import Segment, View
    from understudy.storage._core import Core
    from understudy.storage._record import Run

#: Rows of one transaction.
STEP = 2000


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be.

    Attributes:
        stream: the stream, or None where it cannot be told.
        seq: its seq, or None.
        position: global position, or None for what lies beside the log.
        reason: what does not fit.
    """

    stream: str | None
    seq: int | None
    position: int | None
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Journal.verify` found.

    Attributes:
        ok: whether there is no problem.
        events: events looked at.
        rows: rows of the log looked at.
        streams: streams they belong to.
        snapshots: snapshots looked at.
        problems: all of them.
    """

    ok: bool
    events: int
    rows: int
    streams: int
    snapshots: int
    problems: tuple[Problem, ...]


class Verifier:
    """One look at a journal, in short transactions, beside a running writer."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._problems: list[Problem] = []
        self._lasts: dict[str, int] = {}
        self._events = 0
        self._rows = 0
        self._us = 0

    def run(self) -> VerifyReport:
        """Look at log, indexes, heads and snapshots."""
        core = self._core
        view = core.catalog.view
        for segment in view.segments:
            self._segment(view, segment)
        self._heads(view)
        snapshots = self._snapshots()
        return VerifyReport(
            not self._problems,
            self._events,
            self._rows,
            len(self._lasts),
            snapshots,
            tuple(self._problems),
        )

    def _problem(
        self, stream: str | None, seq: int | None, position: int | None, reason: str
    ) -> None:
        self._problems.append(Problem(stream, seq, position, reason))

    def _segment(self, view: View, segment: Segment) -> None:
        end = min(segment.last, view.position)
        rows: dict[int, tuple[str, int]] = {}
        terms: dict[str, set[int]] = {}
        expected = segment.first
        damaged = False
        for position, run in self._runs(segment, end):
            if run is None:
                damaged = True
                expected = 0
                continue
            if expected and position != expected and not segment.holes:
                self._problem(None, None, expected, "positions are missing from the log")
            expected = position + len(run.events)
            self._run(position, run)
            rows[position] = (run.stream, run.first_seq)
            for name in run.types:
                terms.setdefault("t" + name, set()).add(position)
        if expected and expected != end + 1 and end >= segment.first and not segment.holes:
            self._problem(None, None, expected, "positions are missing from the log")
        if not damaged:
            self._index(view, segment, rows, terms)

    def _runs(self, segment: Segment, end: int) -> Iterator[tuple[int, Run | None]]:
        low = segment.first
        while low <= end:
            page: list[tuple[int, bytes]] = []
            with self._core.environment.reading() as txn:
                cursor = txn.cursor(segment.log)
                found = cursor.set_range(key_of(low))
                while found and len(page) < STEP:
                    position = u64.unpack(cursor.key())[0]
                    if position > end:
                        break
                    page.append((position, cursor.value()))
                    found = cursor.next()
            for position, value in page:
                self._rows += 1
                try:
                    yield position, _frame.read_row(position, value)
                except CorruptRecord as error:
                    self._damaged(position, value, error)
                    yield position, None
            if len(page) < STEP:
                return
            low = page[-1][0] + 1

    def _damaged(self, position: int, value: bytes, error: CorruptRecord) -> None:
        found = _frame.diagnose_all(position, value[4:]) or [error]
        for one in found:
            self._problem(one.stream, one.seq, one.position, one.reason)
        if error.stream is not None:
            self._lasts.pop(error.stream, None)

    def _run(self, position: int, run: Run) -> None:
        count = len(run.events)
        self._events += count
        if run.timestamp < self._us:
            self._problem(
                run.stream, run.first_seq, position, "its time lies before its neighbour's"
            )
        self._us = max(self._us, run.timestamp)
        last = self._lasts.get(run.stream)
        if last is not None and run.first_seq != last + 1:
            with self._core.environment.reading() as txn:
                head = self._core.catalog.head(txn, run.stream)
            low = 0 if head is None else head.low
            if run.first_seq <= last:
                self._problem(run.stream, run.first_seq, position, "its seq occurs twice")
            elif low <= last + 1:
                self._problem(run.stream, last + 1, position, "it is missing from its stream")
        self._lasts[run.stream] = run.first_seq + count - 1

    def _index(
        self,
        view: View,
        segment: Segment,
        rows: dict[int, tuple[str, int]],
        terms: dict[str, set[int]],
    ) -> None:
        streams: dict[int, tuple[str, int]] = {}
        found: dict[str, set[int]] = {}
        with self._core.environment.reading() as txn:
            for key, row in txn.cursor(segment.index):
                name = key[1:-9].decode() if key[:1] in b"ST" else ""
                if key[:1] == b"S":
                    for seq, position in stream_entries(row):
                        streams[position] = (name, seq)
                elif key[:1] == b"T":
                    found.setdefault(name, set()).update(term_entries(row))
        if segment is view.segments[-1]:
            for name, entries in list(view.tail.streams.items()):
                pairs = list(entries)
                for at in range(0, len(pairs), 2):
                    streams[pairs[at + 1]] = (name, pairs[at])
            for term, rows_of in list(view.tail.terms.items()):
                found.setdefault(term, set()).update(list(rows_of))
        for position, place in rows.items():
            if streams.get(position) != place:
                self._problem(*place, position, "the index of its stream does not lead to it")
        for term, positions in terms.items():
            for position in positions - found.get(term, set()):
                self._problem(
                    *rows[position], position, "the index of its type does not lead to it"
                )

    def _heads(self, view: View) -> None:
        with self._core.environment.reading() as txn:
            for stream, last in self._lasts.items():
                head = self._core.catalog.head(txn, stream)
                if head is None or head.last < last:
                    self._problem(stream, last, None, "the head of its stream does not know it")
                elif head.visible > last and self._core.catalog.view is view and head.low <= last:
                    self._problem(stream, last + 1, None, "it is missing at the end of its stream")

    def _snapshots(self) -> int:
        count = 0
        key: bytes = b""
        while True:
            with self._core.environment.reading() as txn:
                cursor = txn.cursor(self._core.database("snapshots"))
                if not (cursor.set_range(key + b"\0") if key else cursor.first()):
                    return count
                key, row = cursor.item()
            count += 1
            if zlib.crc32(row[4:]) != int.from_bytes(row[:4], "big"):
                self._problem(
                    key[:-9].decode("utf-8", "replace"),
                    u64.unpack(key[-8:])[0],
                    None,
                    "the checksum of its snapshot does not fit",
                )


def structure(path: pathlib.Path) -> list[str]:
    """What the engine's own offline verifier says of a file nobody has open."""
    try:
        from lmdb.verify import verify
    except ImportError:  # an lmdb before 3.0 ships none
        return []
    found: list[str] = verify(str(path))  # type: ignore[no-untyped-call]  # lmdb types no verifier
    return found
