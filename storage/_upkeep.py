"""Looking after a journal: taking away, keeping, copying, checking, counting."""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import IO, TYPE_CHECKING, Any, cast

from understudy.storage import _archive, _pruning, _transfer
from understudy.storage._backup import backup
from understudy.storage._durable import MAX_ATTEMPTS, DurableSubscription, floors, waiting
from understudy.storage._errors import StorageUnavailable
from understudy.storage._record import from_us, to_us
from understudy.storage._retention import Keeper, RetentionPolicy, RetentionReport
from understudy.storage._stats import collect
from understudy.storage._verify import Verifier

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator

    from understudy.storage._archive import Archive
    from understudy.storage._backup import BackupReport
    from understudy.storage._catalog import Segment
    from understudy.storage._core import Core
    from understudy.storage._feed import Feed
    from understudy.storage._journal import Journal
    from understudy.storage._outbox import Outbox
    from understudy.storage._reader import Reader
    from understudy.storage._record import Record
    from understudy.storage._seal import StoredSource
    from understudy.storage._snapshots import Snapshots
    from understudy.storage._state import State
    from understudy.storage._stats import JournalStats
    from understudy.storage._verify import VerifyReport

#: Seconds after which an archive is purged where nothing else is said: 30 days.
ARCHIVE_SECONDS = 30 * 86400.0


class Upkeep:
    """The part of `Journal` that is not about writing and reading events."""

    _core: Core
    _clock: Callable[[], float]
    _reader: Reader
    _feed: Feed
    _source: StoredSource
    _snapshots: Snapshots
    outbox: Outbox
    state: State

    if TYPE_CHECKING:

        @property
        def path(self) -> str: ...
        def _check(self) -> None: ...
        def _writable(self) -> Any: ...
        def _head(self, stream: str) -> Any: ...
        def read(self, stream: str, *args: Any, **kwargs: Any) -> Iterator[Record]: ...
        def read_all(self, *args: Any, **kwargs: Any) -> Iterator[Record]: ...

    # --- taking away ---------------------------------------------------------

    def truncate(self, stream: str, before_seq: int) -> int:
        """Hide the events of a stream below `before_seq`; returns how many.

        They cannot be read again; their space is freed by `retain` and `compact`. The stream's
        numbers stay: `last_seq` is not lowered, also where nothing is left.
        """
        self._writable()
        return _pruning.truncate(self._core, stream, before_seq).result()

    def delete(self, stream: str, *, tombstone: bool = False) -> int:
        """Hide all events of a stream and drop its snapshots; returns how many events.

        The stream may be written again, with or without expected_seq=0, and its numbering goes
        on where it was.

        Args:
            stream: its name; one that never was may be deleted too.
            tombstone: for ever: every later append raises StreamTombstoned.
        """
        self._writable()
        return _pruning.delete(self._core, stream, tombstone=tombstone).result()

    def limit(
        self, stream: str, *, max_age: float | None = None, max_count: int | None = None
    ) -> None:
        """Keep at most so many seconds and so many events of a stream; the stricter wins.

        What is beyond is hidden at once, and freed by `retain` and `compact`. None: no limit.
        """
        self._writable()
        _pruning.limit(self._core, stream, max_age, max_count).result()

    # --- durable subscriptions -----------------------------------------------

    def durable(
        self,
        name: str,
        stream: str | None = None,
        types: Iterable[str] | None = None,
        *,
        after: int | None = None,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> DurableSubscription:
        """The durable subscription of this name, made if there is none.

        Args:
            name: its name, for ever.
            stream: only this stream. Optional, default all.
            types: only these types. Optional.
            after: where a new one starts: behind this seq (with a stream) or position. Optional,
                default from the beginning.
            max_attempts: failures of one record after which it is parked. Optional, default 5.

        Raises:
            StorageError: it exists for another stream or other types.
        """
        self._writable()
        return DurableSubscription(cast("Journal", self), name, stream, types, after, max_attempts)

    def durables(self) -> dict[str, int]:
        """The durable subscriptions: name to the position each has acknowledged."""
        self._check()
        return floors(self._core)

    # --- keeping, copying, checking ------------------------------------------

    def retain(
        self,
        max_age: float | None = None,
        max_events: int | None = None,
        max_bytes: int | None = None,
        *,
        stream: str | None = None,
        archive: bool | str | os.PathLike[str] = True,
        force: bool = False,
    ) -> RetentionReport:
        """Archive and then drop old events; the strictest bound wins.

        Events stay that somebody still needs: those after a stream's newest snapshot (all of a
        stream without one), those of a stream with unfinished effects, and those a durable
        subscription has not acknowledged. The report says what stayed and why.

        Args:
            max_age: seconds; older events go. Optional.
            max_events: at most so many stay. Optional.
            max_bytes: at most so many bytes of events stay. Optional.
            stream: with this, `max_age` and `max_events` become lasting limits of one stream
                (as by `limit`), and what they hide is freed. Optional.
            archive: where dropped events go: True (default) for the directory `archive` beside
                the data, a path, or False to drop them for good. A journal in memory has no
                default directory and archives only to a path.
            force: drop also what is still needed. Optional, default False.
        """
        self._writable()
        if stream is not None:
            self.limit(stream, max_age=max_age, max_count=max_events)
            return self.compact()
        for name, bound in (
            ("max_age", max_age), ("max_events", max_events), ("max_bytes", max_bytes)
        ):  # fmt: skip
            if bound is not None and bound < 0:
                raise ValueError(f"{name} is {bound}: use 0 or more, or None for no bound")
        directory = self._archive_directory(archive)
        with self._core.upkeep:
            cut = self._cut(max_age, max_events, max_bytes)
            if cut <= 0:
                return RetentionReport()
            waiting_for = {
                name: floor
                for name, floor in floors(self._core).items()
                if floor < cut and waiting(self._core, self._reader, name)
            }
            keeper = Keeper(
                self._core,
                self._snapshots,
                self._source,
                directory,
                waiting_for,
                force=force,
            )
            return keeper.run(cut)

    def keep(self, policy: RetentionPolicy) -> RetentionReport:
        """Do everything a policy asks for, and what is due anyway.

        Old events are archived and dropped as by `retain`, hidden ones freed, old archives
        deleted, finished effects and expired rows of state and ledger purged.
        """
        self._writable()
        report = self.retain(
            policy.max_age,
            policy.max_events,
            policy.max_bytes,
            archive=policy.archive,
            force=policy.force,
        )
        self.compact()
        if policy.purge_archives is not None:
            path = policy.archive if isinstance(policy.archive, str) else None
            self.purge_archives(policy.purge_archives, path)
        if policy.purge_effects is not None:
            self.outbox.purge(self._clock() - policy.purge_effects)
        self.state.purge_expired()
        return report

    def _cut(self, max_age: float | None, max_events: int | None, max_bytes: int | None) -> int:
        """The last position that is due."""
        core = self._core
        with core.environment.reading() as txn:
            view = core.catalog.view
            cut = 0
            if max_age is not None:
                oldest = int((self._clock() - max_age) * 1e6)
                cut = self._reader.position_at(txn, view, oldest) - 1
            for bound, measure in ((max_events, "events"), (max_bytes, "size")):
                if bound is not None:
                    cut = max(cut, _over(view.segments, bound, measure))
        return min(cut, view.position)

    def _apply_age(self, stream: str) -> None:
        head = self._head(stream)
        if head is None or not head.max_age:
            return
        oldest = from_us(max(int((self._clock() - head.max_age) * 1e6), 0))
        first = next(self.read(stream, since=oldest, limit=1), None)
        self.truncate(stream, head.visible + 1 if first is None else first.seq)

    def compact(self) -> RetentionReport:
        """Free the space of events that truncate, delete and limits have hidden.

        The freed pages are used again by what is written next; the file itself does not shrink.
        `Journal.compact_file` shrinks that of a closed journal, and a `backup` is a copy without
        free pages.
        """
        self._writable()
        with self._core.upkeep:
            for stream in self._aging():
                self._apply_age(stream)
            keeper = Keeper(self._core, self._snapshots, self._source, None, {}, force=False)
            return keeper.free_hidden()

    def _aging(self) -> list[str]:
        core = self._core
        with core.environment.reading() as txn:
            return [name for name, head in core.catalog.names(txn) if head.max_age]

    def _archive_directory(self, archive: bool | str | os.PathLike[str]) -> pathlib.Path | None:
        if archive is False:
            return None
        if archive is True:
            return None if self._core.environment.memory else pathlib.Path(self.path, "archive")
        return pathlib.Path(os.fspath(archive))

    def archive(
        self,
        before: dt.datetime | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Archive | None:
        """Copy events into an archive without dropping them.

        Args:
            before: only events before this moment (aware). Optional, default all.
            path: the directory of archives. Optional, default `archive` beside the data.

        Returns:
            The archive, or None where there was nothing to copy.
        """
        self._check()
        directory = self._archive_directory(True if path is None else path)
        if directory is None:
            raise StorageUnavailable(self.path, "a journal in memory archives only to a path")
        rows = list(self._reader.rows_before(None if before is None else to_us(before)))
        return _archive.write(directory, rows, self._source) if rows else None

    def archives(
        self,
        *,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        stream: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        path: str | os.PathLike[str] | None = None,
    ) -> list[Archive]:
        """The archives that may hold what is looked for, oldest first; read them as a journal.

        Args:
            since: with an event from this moment on. Optional.
            until: with an event before this moment. Optional.
            stream: with events of this stream. Optional.
            type: with events of this type. Optional.
            path: the directory of archives. Optional, default `archive` beside the data.
        """
        self._check()
        directory = self._archive_directory(True if path is None else path)
        if directory is None:
            return []
        return _archive.find(
            directory, self._source, since=since, until=until, stream=stream, type=type
        )

    def purge_archives(
        self, max_age: float = ARCHIVE_SECONDS, path: str | os.PathLike[str] | None = None
    ) -> int:
        """Delete archives whose last event is older than so many seconds; returns how many.

        Args:
            max_age: seconds. Optional, default 30 days.
            path: the directory of archives. Optional, default `archive` beside the data.
        """
        self._check()
        directory = self._archive_directory(True if path is None else path)
        if directory is None:
            return 0
        return _archive.purge(
            directory, self._source, from_us(int((self._clock() - max_age) * 1e6))
        )

    def export(
        self,
        target: str | os.PathLike[str] | IO[str],
        stream: str | None = None,
        **filters: Any,
    ) -> int:
        """Write events as JSON Lines, in order; returns how many.

        Args:
            target: a path, or a text file open for writing.
            stream: only this stream. Optional, default all.
            filters: as in `read` or `read_all`.
        """
        records = self.read_all(**filters) if stream is None else self.read(stream, **filters)
        with contextlib.ExitStack() as stack:
            file: IO[str]
            if isinstance(target, (str, os.PathLike)):
                file = stack.enter_context(
                    pathlib.Path(target).open("w", encoding="utf-8", newline="\n")
                )
            else:
                file = target
            count = 0
            for record in records:
                file.write(_transfer.to_line(record) + "\n")
                count += 1
        return count

    def import_(self, source: str | os.PathLike[str] | Iterable[str]) -> int:
        """Read an export in, as `restore` does; returns how many events were new.

        Raises:
            BadEvent: a line holds no event; what came before it is in.
        """
        if isinstance(source, (str, os.PathLike)):
            with pathlib.Path(source).open(encoding="utf-8") as file:
                return self.restore(_transfer.lines(file))
        return self.restore(_transfer.lines(source))

    def restore(self, records: Iterable[Record]) -> int:
        """Write records of another journal with their seqs, ids and times; how many were new.

        Records that are here already, at their seq and with their id, are passed over, so that a
        restore which was cut short can be repeated. A stream that is empty here may begin at any
        seq. Positions are this journal's own. Times are kept as long as they do not lie before
        those of earlier positions.

        Raises:
            WrongExpectedSeq: a record does not fit behind its stream, or another one has its
                place. What came before it is in.
        """
        self._writable()
        return _transfer.restore(cast("Journal", self), records)

    def backup(self, path: str | os.PathLike[str], *, verify: bool = True) -> BackupReport:
        """A consistent, compacted copy of the running journal in a new directory.

        Writers go on meanwhile. The copy is made under another name, flushed, verified and then
        renamed: a directory of that name is a whole backup. Open it like any journal.

        Args:
            path: the directory to make; its parent must exist.
            verify: look at every record of the copy. Optional, default True.

        Raises:
            StorageUnavailable: the directory exists and is not empty, or cannot be made.
            CorruptRecord: the copy, and so this journal, holds a damaged record.
        """
        self._check()
        with self._core.upkeep:
            return backup(self._core, pathlib.Path(os.fspath(path)), verify=verify)

    def verify(self) -> VerifyReport:
        """Look at every record, index, head and snapshot, beside a running writer.

        Nothing is mended. `report.problems` names stream, seq and position of each.
        """
        self._check()
        if self._reader.refresh is not None:
            self._reader.refresh()
        return Verifier(self._core).run()

    def checkpoint(self) -> None:
        """Write the index of the tail now, so that the next opening has nothing to rebuild."""
        writer = self._writable()
        writer.control(writer.checkpoint).result()

    def stats(self) -> JournalStats:
        """How much the journal holds and how it fares."""
        self._check()
        if self._reader.refresh is not None:
            self._reader.refresh()
        return collect(self._core, self._reader, self._feed)


def _over(segments: tuple[Segment, ...], bound: int, measure: str) -> int:
    """The last position beyond which only `bound` events, or bytes, are left."""
    left = bound
    for segment in reversed(segments):
        amount = getattr(segment, measure)
        if amount <= left:
            left -= amount
            continue
        # Within a segment events count as equally large.
        share = left if measure == "events" else left * segment.events // amount
        return max(segment.first - 1, segment.last - share)
    return 0
