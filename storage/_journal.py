"""The journal: streams of events in one LMDB environment, and what must change with them."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from understudy.storage import _prepared
from understudy.storage._core import Core, migrate, open_core
from understudy.storage._cursors import Cursors
from understudy.storage._environment import DEFAULT_MAP_SIZE
from understudy.storage._errors import JournalClosed, JournalReadOnly
from understudy.storage._feed import Feed
from understudy.storage._frame import PlainCodec, check_name, encode_batch
from understudy.storage._ledger import Ledger
from understudy.storage._outbox import Outbox
from understudy.storage._reader import Filter, Reader
from understudy.storage._seal import KeyRing, Sealer, StoredSource
from understudy.storage._shrink import compact_file
from understudy.storage._snapshots import Snapshots
from understudy.storage._state import State
from understudy.storage._upkeep import Upkeep
from understudy.storage._writer import PreparedAppend, Work

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from understudy.storage._durable import DurableSubscription
    from understudy.storage._feed import LiveSubscription
    from understudy.storage._frame import Codec
    from understudy.storage._future import CommitFuture
    from understudy.storage._record import AppendResult, NewEvent, Record, Snapshot
    from understudy.storage._schema import Migration
    from understudy.storage._shrink import CompactReport
    from understudy.storage._write import Write, WriteResult
    from understudy.storage._writer import CommitInfo, Durability

log = logging.getLogger("understudy.storage")

_open_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


class Journal(Upkeep):
    """An embedded event store: append-only streams, numbered densely, safe when they say so.

    Make one with `Journal.open` or `Journal.in_memory`. All methods may be called from any
    thread; concurrent writes share commits, and what one thread was told is safe every thread
    reads. One journal object per directory writes; others, also in other processes, read beside
    it with `readonly=True`.

    Example:
        >>> from understudy.storage import Journal, NewEvent
        >>> with Journal.in_memory() as journal:
        ...     result = journal.append("account:ada", [NewEvent("deposited", {"amount": 5})])
        ...     [record.payload["amount"] for record in journal.read("account:ada")]
        [5]
    """

    def __init__(
        self,
        core: Core,
        *,
        readonly: bool,
        codec: Codec | None,
        clock: Callable[[], float],
        sealer: Sealer,
    ) -> None:
        """Private: use `Journal.open` or `Journal.in_memory`."""
        self._core = core
        self._readonly = readonly
        self._clock = clock
        self._codec: Any = PlainCodec() if codec is None else codec
        self._sealer = sealer
        self._source = StoredSource(core.event_ids, self._codec.unpack, sealer)
        self._reader = Reader(core.catalog, self._source, clock, core.refresh if readonly else None)
        if readonly:
            self._reader.refresh = self._refresh
        self._feed = Feed(self._reader, poll=readonly and core.writer is None)
        self._closed = False
        self._running: weakref.WeakSet[DurableSubscription] = weakref.WeakSet()
        self._snapshots = Snapshots(
            core, self._codec.pack, self._codec.unpack, sealer.seal_blob, sealer.unseal_blob
        )
        self.outbox = Outbox(core)
        self.state = State(core)
        self.ledger = Ledger(core)
        self.cursors = Cursors(core)
        if core.writer is not None:
            core.writer.on_safe.append(self._feed.notify)
        _open_journals.add(self)
        self._finalizer = weakref.finalize(self, _release, core, self._feed, not readonly)
        self._finalizer.atexit = False  # _close_all does it, in order

    # --- opening and closing -------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        durability: Durability = "sync",
        *,
        readonly: bool = False,
        codec: Codec | None = None,
        clock: Callable[[], float] = time.time,
        keys: KeyRing | None = None,
        encrypt: Callable[[str], str | None] | None = None,
        compress: Callable[[str], bool] | None = None,
        map_size: int = DEFAULT_MAP_SIZE,
        migrations: Sequence[Migration] = (),
        **limits: Any,
    ) -> Journal:
        """Open the journal in a directory, which is made if it is missing.

        Args:
            path: the directory. On a local disk: LMDB is not safe on network file systems.
            durability: when a write counts as safe, so that `append` returns.

                - "sync" (default): its data and meta page are flushed to disk. A process crash
                  and a power cut lose nothing that was acknowledged. One flush for a commit that
                  only appends, and little (about 3 KB): it is also written down beside the meta
                  page, and put back from there by the next opening for writing where a power cut
                  took that page; readers do not see it before. Two flushes for other commits.
                - "pipelined": as "sync", but the meta page of a larger commit goes to disk with the
                  next one, or with a flush of its own when nothing follows. A process crash and a
                  power cut lose nothing that was acknowledged. One flush a commit where writes
                  follow one another; a lone large `append` waits for two, so submit without
                  waiting, or from many threads.
                - "relaxed": it is handed to the operating system. A process crash loses nothing.
                  A power cut loses what was written since the last flush (about a second), and
                  may leave a file that does not open: restore a backup then.

                At the first two levels the file is kept up to 1 MiB longer than what is in it, so
                that a flush need not grow it; closing the journal cuts it to size.
            readonly: read beside the writer, in this process or another. Optional, default False.
            codec: makes bytes of payloads and back. Optional, and if absent plain msgpack data.
            clock: gives epoch seconds. Optional, default `time.time`.
            keys: encryption keys. Optional; needed where `encrypt` names one.
            encrypt: the key id for a stream, None to keep it in the clear. Optional.
            compress: whether a stream's payloads are compressed. Optional.
            map_size: bytes of address space, not of disk. Optional, default 1 TiB; it grows when
                it is full.
            migrations: steps to layouts of your own. Optional; the journal brings its own.
            limits: segment_events (250,000), segment_seconds (3600), checkpoint_events (50,000).

        Raises:
            JournalLocked: the directory is open for writing already, here or elsewhere.
            StorageUnavailable: it cannot be read, written or made.
            SchemaMismatch: another version of the layout.
        """
        core = open_core(
            os.fspath(path),
            readonly=readonly,
            durability=durability,
            clock=clock,
            map_size=map_size,
            migrations=migrations,
            **limits,
        )
        return cls(
            core,
            readonly=readonly,
            codec=codec,
            clock=clock,
            sealer=Sealer(keys, encrypt, compress),
        )

    @classmethod
    def in_memory(
        cls,
        *,
        codec: Codec | None = None,
        clock: Callable[[], float] = time.time,
        keys: KeyRing | None = None,
        encrypt: Callable[[str], str | None] | None = None,
        compress: Callable[[str], bool] | None = None,
        **limits: Any,
    ) -> Journal:
        """A journal that is gone with the process: for tests and demonstrations.

        The same code over the same engine, in files that are unlinked as soon as they are open,
        on a memory file system where there is one.
        """
        core = open_core(None, readonly=False, durability="relaxed", clock=clock, **limits)
        return cls(
            core,
            readonly=False,
            codec=codec,
            clock=clock,
            sealer=Sealer(keys, encrypt, compress),
        )

    @staticmethod
    def migrate(path: str | os.PathLike[str], to: int, migrations: Sequence[Migration] = ()) -> int:
        """Bring the layout of a closed journal up or down to a schema number; steps taken.

        Make a backup first. All steps or none are applied.

        Raises:
            SchemaMismatch: a step is missing.
            JournalLocked: somebody has it open.
        """
        return migrate(os.fspath(path), to, migrations)

    @staticmethod
    def compact_file(path: str | os.PathLike[str]) -> CompactReport:
        """Make the file of a closed journal as small as what is in it.

        The pages in use are copied into a new file beside it, which is verified, flushed and
        renamed over the old one: it takes as much free disk as the data and, cut short at any
        moment, leaves a complete file. Call `compact` before, while the journal is open, so that
        hidden events are freed. Journals that this process opens meanwhile wait.

        Raises:
            JournalLocked: somebody has it open, to write or to read.
            StorageFull: there is no room for the copy; the journal stays as it was.
            CorruptRecord: the journal is damaged; it stays as it was.
            StorageUnavailable: there is no journal, or it cannot be copied; it stays as it was.
        """
        return compact_file(os.fspath(path))

    @property
    def path(self) -> str:
        """The directory; of a journal in memory, where it was before it was unlinked."""
        return self._core.environment.path

    @property
    def readonly(self) -> bool:
        """Whether it was opened with readonly=True."""
        return self._readonly

    @property
    def durability(self) -> Durability:
        """The level of safety it was opened with."""
        return self._core.durability

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the writer had to give up."""
        writer = self._core.writer
        return self._closed or (writer is not None and writer.broken is not None)

    @property
    def generation(self) -> int:
        """How often this journal has been opened for writing; 1 the first time."""
        return self._core.generation

    def close(self) -> None:
        """Write what was submitted, make it safe, write the index, and let go of the directory.

        Again does nothing. Submits after it raise `JournalClosed`; readers that are between two
        records raise it at the next batch.
        """
        if self._closed:
            return
        self._closed = True
        _open_journals.discard(self)
        self._finalizer.detach()
        for subscription in list(self._running):
            subscription.end()
        _release(self._core, self._feed, not self._readonly)
        self.ledger.notify()  # whoever waits for a key learns that the journal is closed

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "read-only" if self._readonly else self.durability
        return f"<Journal {self.path} {state}, position {self._core.catalog.view.position}>"

    def _check(self) -> None:
        if self._closed:
            self._core.environment.check_fork()
            raise JournalClosed(self.path)

    def _writable(self) -> Any:
        self._check()
        if self._readonly:
            raise JournalReadOnly(self.path)
        return self._core.own_writer()

    def _refresh(self) -> None:
        if self._core.writer is None:
            self._core.refresh()

    # --- writing -------------------------------------------------------------

    def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        expected_seq: int | None = None,
        epoch: int | None = None,
    ) -> AppendResult:
        """Append a batch, all or nothing, and wait until it is safe.

        Args:
            stream: name of the stream, 1 to 400 bytes of UTF-8.
            events: one or more.
            expected_seq: the last seq the stream must have; 0 for "no stream yet". Optional, and
                if absent any. If the place is taken by events with the same ids, the append is
                a repeat: it succeeds without a write. Ids are remembered as long as their
                events are in the log; what retention took may be written anew.
            epoch: incarnation of the writer. Optional; a lower one than the highest the stream
                has seen is refused.

        Raises:
            BadEvent: an event cannot be stored; it is named.
            WrongExpectedSeq: the stream is elsewhere. Its subclass DuplicateEvent: the batch
                repeats known ids in part.
            StaleEpoch: a newer incarnation writes to the stream.
            StreamTombstoned: the stream was deleted for ever.
            StorageFull, StorageUnavailable: the disk; the journal goes on when it does.
            JournalClosed, JournalReadOnly, JournalForked: this object cannot write.
        """
        return self.submit(stream, events, expected_seq, epoch).result()

    def submit(
        self,
        stream: str,
        events: Sequence[NewEvent],
        expected_seq: int | None = None,
        epoch: int | None = None,
    ) -> CommitFuture[AppendResult]:
        """`append` without waiting: order of submits is order of positions.

        Raises at once what is wrong with the events or with this object; all else is in the
        future.
        """
        writer = self._core.writer
        if writer is None or self._closed or self._readonly:  # the common case without a call
            writer = self._writable()
        batch = self._prepare(stream, events, expected_seq, epoch)
        return writer.submit(Work(batch.apply, batch.size, batch.count, plain=True))

    def _prepare(
        self,
        stream: str,
        events: Sequence[NewEvent],
        expected_seq: int | None,
        epoch: int | None,
    ) -> PreparedAppend:
        if stream not in self._core.catalog.heads:
            check_name("stream", stream)
        if expected_seq is not None and expected_seq < 0:
            raise ValueError(f"expected_seq is {expected_seq}: use 0 or more, or None for any")
        pieces, ids = encode_batch(
            stream, events, self._codec.pack, self._sealer.for_stream(stream)
        )
        return PreparedAppend(stream, pieces, ids, expected_seq, epoch)

    def write(self, write: Write) -> WriteResult:
        """Apply one transaction, all or nothing, and wait until it is safe; raises as `append`."""
        return self.submit_write(write).result()

    def submit_write(self, write: Write) -> CommitFuture[WriteResult]:
        """`write` without waiting."""
        writer = self._writable()
        appends = [
            self._prepare(one.stream, one.events, one.expected_seq, one.epoch)
            for one in write.appends
        ]
        prepared = _prepared.PreparedWrite(self._core, write, appends)
        future: CommitFuture[WriteResult] = writer.submit(
            Work(prepared.apply, prepared.size, prepared.events, plain=prepared.plain)
        )
        if write.ledger:
            future.add_done_callback(lambda _: self.ledger.notify())
        return future

    def sync(self) -> None:
        """Wait until everything submitted before is safe, and flush, whatever the durability."""
        writer = self._writable()
        writer.control(self._core.environment.sync).result()

    # --- reading -------------------------------------------------------------

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
        """The events of a stream, as far as they are safe.

        Args:
            stream: its name; one that never was has no events.
            after: only seqs above this one. Optional, default 0.
            until_seq: only seqs up to this one, inclusive. Optional.
            types: only these types. Optional.
            topics: only events with one of these topics. Optional.
            since: only from this moment on (aware). Optional.
            until: only before this moment (aware). Optional.
            priority: "critical" or "normal". Optional, default both.
            limit: at most so many. Optional.
            reverse: newest first. Optional, default False.

        Returns:
            An iterator that holds no transaction between batches: it may be kept as long as one
            likes, and sees what becomes safe meanwhile up to where the stream then ends.

        Raises:
            CorruptRecord: while iterating, at the first damaged or missing record.
            ValueError: a bound makes no sense.
        """
        self._check()
        _bounds(after, limit)
        wanted = Filter.of(types, topics, since, until, priority)
        return self._reader.stream(stream, after, until_seq, wanted, limit, reverse)

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
        until_position: int | None = None,
    ) -> Iterator[Record]:
        """The events of all streams in the order of their commits; arguments as in `read`.

        Args:
            after: only positions above this one. Optional, default 0.
            types: as in `read`.
            topics: as in `read`.
            since: as in `read`.
            until: as in `read`.
            priority: as in `read`.
            limit: as in `read`.
            reverse: as in `read`.
            until_position: only positions up to this one, inclusive. Optional.
        """
        self._check()
        _bounds(after, limit)
        wanted = Filter.of(types, topics, since, until, priority)
        return self._reader.everything(after, wanted, limit, reverse, until_position)

    def record_at(self, position: int) -> Record | None:
        """The event at a global position, or None."""
        self._check()
        if self._reader.refresh is not None:
            self._reader.refresh()
        return self._reader.at(position) if position > 0 else None

    def last_seq(self, stream: str) -> int:
        """The highest seq the stream ever had, 0 for none; no deletion lowers it."""
        self._check()
        head = self._head(stream)
        return 0 if head is None else head.visible

    def first_seq(self, stream: str) -> int:
        """The lowest seq that can be read, one above `last_seq` where none can."""
        self._check()
        head = self._head(stream)
        return 1 if head is None else min(head.low, head.visible + 1)

    def deleted_seq(self, stream: str) -> int:
        """The last seq its last deletion hid, 0 where it never was deleted."""
        self._check()
        head = self._head(stream)
        return 0 if head is None else head.deleted_at

    def _head(self, stream: str) -> Any:
        if self._reader.refresh is not None:
            self._reader.refresh()
        core = self._core
        with core.environment.reading() as txn:
            return core.catalog.head(txn, stream)

    def last_position(self) -> int:
        """The position of the last safe event, 0 for none."""
        self._check()
        if self._reader.refresh is not None:
            self._reader.refresh()
        return self._core.catalog.view.position

    def streams(self, prefix: str = "") -> list[str]:
        """The names of the streams that hold events, sorted."""
        self._check()
        if self._reader.refresh is not None:
            self._reader.refresh()
        core = self._core
        with core.environment.reading() as txn:
            return sorted(
                name
                for name, head in core.catalog.names(txn)
                if head.visible >= head.low and name.startswith(prefix)
            )

    # --- live ----------------------------------------------------------------

    def subscribe(
        self,
        callback: Callable[[Record], object],
        stream: str | None = None,
        types: Iterable[str] | None = None,
        after: int = 0,
        *,
        topics: Iterable[str] | None = None,
        priority: str | None = None,
    ) -> LiveSubscription:
        """Call `callback(record)` for every event there is, then for every event to come.

        Each record once and in order, without a gap between the two. Runs on the journal's feed
        thread: a callback that blocks delays the other subscribers, not the writer. What it
        raises is logged and counted, and the next record follows.

        Args:
            callback: what to call.
            stream: only this stream. Optional, default all.
            types: only these types. Optional.
            after: the seq (with a stream) or position to start behind. Optional, default 0.
            topics: only events with one of these topics. Optional.
            priority: "critical" or "normal". Optional, default both.

        Raises:
            TypeError: the callback cannot be called.
        """
        self._check()
        if not callable(callback):
            msg = f"{callback!r} cannot be called: give a function of one record"
            raise TypeError(msg)
        _bounds(after, None)
        wanted = Filter.of(types, topics, None, None, priority)
        return self._feed.subscribe(callback, stream, wanted, after)

    def on_commit(self, listener: Callable[[CommitInfo], object]) -> Callable[[], None]:
        """Call `listener(info)` after each safe commit; returns what cancels it.

        Runs on the writer's thread: it must not block, and above all not write and wait.
        """
        writer = self._writable()
        writer.on_safe.append(listener)

        def cancel() -> None:
            with contextlib.suppress(ValueError):
                writer.on_safe.remove(listener)

        return cancel

    # --- snapshots -----------------------------------------------------------

    def save_snapshot(
        self, stream: str, seq: int, state: Any, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Save the state of a stream as of `seq`; one of the same seq is overwritten.

        Returns when it is safe. Raises as `append`, and BadEvent where the state is no plain
        data.
        """
        self.submit_snapshot(stream, seq, state, metadata).result()

    def submit_snapshot(
        self, stream: str, seq: int, state: Any, metadata: Mapping[str, Any] | None = None
    ) -> CommitFuture[None]:
        """`save_snapshot` without waiting; the state is encoded before this returns."""
        self._writable()
        return self._snapshots.submit(stream, seq, state, metadata)

    def load_snapshot(
        self, stream: str, max_seq: int | None = None, max_time: dt.datetime | None = None
    ) -> Snapshot | None:
        """The newest snapshot at or below a seq and a time, or None.

        One that cannot be read (damaged, or its encryption key is gone) is passed over for an
        older one, with a warning in the log.
        """
        self._check()
        return self._snapshots.load(stream, max_seq, max_time)

    def delete_snapshots(
        self,
        stream: str,
        min_seq: int | None = None,
        max_seq: int | None = None,
        max_time: dt.datetime | None = None,
    ) -> int:
        """Delete the snapshots within the bounds, all of the stream without any; how many."""
        self._writable()
        return self._snapshots.delete(stream, min_seq, max_seq, max_time)

    def snapshots(self, stream: str | None = None) -> Iterator[Snapshot]:
        """Every snapshot that can be read, by stream and seq."""
        self._check()
        if stream is None:
            yield from self._snapshots.all()
            return
        for seq in self._snapshots.seqs(stream):
            snapshot = self._snapshots.load(stream, seq, None)
            if snapshot is not None and snapshot.seq == seq:
                yield snapshot


def _bounds(after: int, limit: int | None) -> None:
    if after < 0:
        raise ValueError(f"after is {after}: use 0 or more")
    if limit is not None and limit < 0:
        raise ValueError(f"limit is {limit}: use 0 or more, or None for all")


def _release(core: Core, feed: Feed, writing: bool) -> None:
    if core.environment.forked:
        return  # the parent's, all of it
    writer = core.writer
    # A journal may be dropped, or closed, on a thread of its own: that one cannot be joined.
    own = writer is not None and writer.on_own_thread
    if writing and writer is not None:
        writer.stop(wait=not own)
    elif writer is not None:
        with contextlib.suppress(ValueError):
            writer.on_safe.remove(feed.notify)
    feed.close()
    if own and writing:
        _close_later(core)
        return
    core.release(writing=writing)


def _close_later(core: Core) -> None:
    import threading

    threading.Thread(
        target=core.release, kwargs={"writing": True}, name="understudy-journal-closer", daemon=True
    ).start()


@atexit.register
def _close_all() -> None:
    for journal in list(_open_journals):
        try:
            journal.close()
        except Exception:
            log.exception("journal %s was not closed cleanly", journal.path)
