"""The one thread that writes: it gathers what many threads submit into common transactions.

Each turn of the loop drains the queue up to a limit, applies what it got in one write
transaction, commits, and acknowledges when the commit is safe at the journal's level:

- sync: the commit flushed data and, where it is small, what it wrote a second time beside the
  meta page (see `_redo`): safe when it returns. A larger one is safe after one more flush, of the
  meta page.
- pipelined: the same for a small one. A larger one's meta page goes to disk with the next commit's
  flush: safe when that, or an explicit flush if there is none, is done.
- relaxed: nothing was flushed. Acknowledged at once, flushed every second.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import lmdb

from understudy.storage._catalog import Tail, View, key_of
from understudy.storage._errors import (
    DuplicateEvent,
    JournalClosed,
    StaleEpoch,
    StorageError,
    StreamTombstoned,
    WrongExpectedSeq,
)
from understudy.storage._frame import build_row
from understudy.storage._future import CommitFuture, writer_threads
from understudy.storage._record import AppendResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.storage._catalog import Catalog, Head, Segment
    from understudy.storage._environment import Environment
    from understudy.storage._frame import Piece
    from understudy.storage._ids import Ids
    from understudy.storage._stats import Meter

log = logging.getLogger("understudy.storage")

Durability = Literal["sync", "pipelined", "relaxed"]

#: One transaction takes at most so many works and so many bytes: beyond, latency grows and
#: throughput does not.
BATCH_WORKS = 1000
BATCH_BYTES = 1 << 20

#: Events in the tail before the index is written. Measured: below 20,000 the index costs a
#: tenth of the throughput, at 50,000 nothing that shows; recovery reads the tail in about 60 ms.
CHECKPOINT_EVENTS = 50_000

#: Seconds without a write after which a tail of at least IDLE_EVENTS is indexed.
IDLE_SECONDS = 1.0
IDLE_EVENTS = 1000

#: Seconds between looks at the reader table, and between flushes in relaxed mode.
READER_CHECK_SECONDS = 60.0
FLUSH_SECONDS = 1.0

#: Seconds a pipelined commit that nobody waits for may wait for the next one. About two flushes
#: of a good disk; whoever begins to wait meanwhile waits that much longer.
GRACE_SECONDS = 0.0005

SEGMENT_EVENTS = 250_000
SEGMENT_SECONDS = 3600.0
#: A quiet journal's segments are allowed to last longer, so that they do not become thousands.
SEGMENT_LEAST_EVENTS = 10_000


class CommitInfo(NamedTuple):
    """What one commit made safe: last position, streams written, outbox channels filled."""

    position: int
    streams: tuple[str, ...]
    channels: tuple[str, ...]


class PreparedAppend:
    """A batch for one stream, encoded, on its way to the writer."""

    __slots__ = ("count", "epoch", "expected", "ids", "pieces", "seq", "size", "stream", "us")

    def __init__(
        self,
        stream: str,
        pieces: list[Piece],
        ids: list[str | None] | None,
        expected: int | None,
        epoch: int | None,
    ) -> None:
        self.stream = stream
        self.pieces = pieces
        self.ids = ids
        self.expected = expected
        self.epoch = epoch
        if len(pieces) == 1:
            self.count, self.size = pieces[0].count, len(pieces[0].tail)
        else:
            self.count = sum([piece.count for piece in pieces])
            self.size = sum([len(piece.tail) for piece in pieces])
        self.seq: int | None = None  # where a restored batch must stand
        self.us: int | None = None  # the timestamp of a restored batch

    def apply(self, writer: Writer, txn: Any) -> AppendResult:
        """Stage the batch, or refuse it and change nothing."""
        return writer.stage_append(txn, self)


class Work:
    """Something to do in the next transaction, and whom to tell."""

    __slots__ = ("apply", "error", "events", "future", "plain", "result", "size", "started")

    def __init__(
        self,
        apply: Callable[[Writer, Any], Any],
        size: int = 64,
        events: int = 0,
        *,
        plain: bool = False,
    ) -> None:
        self.apply = apply
        self.plain = plain  # writes rows of the log and nothing else
        self.size = size
        self.events = events
        self.future: CommitFuture[Any] = CommitFuture()
        self.started = time.perf_counter()
        self.result: Any = None
        self.error: BaseException | None = None


class Control:
    """Something to do between transactions."""

    __slots__ = ("call", "future")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.future: CommitFuture[Any] = CommitFuture()


#: A row on its way: stream, first seq, position, piece, timestamp, bytes. One is made for each
#: append: a plain tuple costs a fifth of a named one.
_Row: TypeAlias = "tuple[str, int, int, Piece, int, int]"


class _Commit(NamedTuple):
    """A commit that is done, waiting to be safe."""

    works: list[Work]
    view: View
    heads: list[tuple[Head, int]]
    info: CommitInfo


class Writer:
    """Owns all writing of one environment."""

    def __init__(
        self,
        environment: Environment,
        catalog: Catalog,
        ids: Ids,
        meter: Meter,
        *,
        durability: Durability,
        clock: Callable[[], float],
        segment_events: int = SEGMENT_EVENTS,
        segment_seconds: float = SEGMENT_SECONDS,
        checkpoint_events: int = CHECKPOINT_EVENTS,
    ) -> None:
        self.environment = environment
        self.catalog = catalog
        self.ids = ids
        self.meter = meter
        self.durability = durability
        self.clock = clock
        self.segment_events = segment_events
        self.segment_seconds = segment_seconds
        self.checkpoint_events = checkpoint_events
        self.on_safe: list[Callable[[CommitInfo], object]] = []
        self.broken: StorageError | None = None
        self._queue: queue.SimpleQueue[Work | Control | None] = queue.SimpleQueue()
        self._closing = False
        self._unsafe: list[_Commit] = []
        self._unflushed = False
        self._noted = 0  # number of the transaction that was written down beside itself
        self._checkpoint_wanted = False
        self._last_reader_check = time.monotonic()
        self._last_flush = self._last_reader_check
        # of the running transaction
        self._rows: list[_Row] = []
        self._log_rows: list[tuple[bytes, bytes]] = []
        self._undo: dict[Head, tuple[Any, ...]] = {}
        self._touched: dict[str, Head] = {}
        self.next_position = 0
        self._segment_number = 0
        self.us = 0
        self.channels: set[str] = set()
        self._thread = threading.Thread(
            target=self._run, name="understudy-journal-writer", daemon=True
        )

    # --- any thread ----------------------------------------------------------

    def start(self) -> None:
        """Begin to write."""
        self.environment.fork_hooks.append(self._forked)
        self._thread.start()

    @property
    def on_own_thread(self) -> bool:
        """Whether the caller is the writer's thread, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def submit(self, work: Work) -> CommitFuture[Any]:
        """Queue a work."""
        if self._closing:
            raise self._closed()
        self._queue.put(work)
        if self._closing:
            self._refuse_late()
        return work.future

    def control(self, call: Callable[[], Any]) -> CommitFuture[Any]:
        """Queue a call that runs on the writer's thread between transactions."""
        if self._closing:
            raise self._closed()
        control = Control(call)
        self._queue.put(control)
        if self._closing:
            self._refuse_late()
        return control.future

    def _forked(self) -> None:
        # A child has this object but not its thread; nothing may be queued there.
        self._closing = True

    def _closed(self) -> StorageError:
        self.environment.check_fork()
        cause = "" if self.broken is None else str(self.broken)
        return JournalClosed(self.environment.path, cause)

    def _refuse_late(self) -> None:
        """Answer what was queued behind the end, once the thread is past it."""
        if self._thread.is_alive() and not self.on_own_thread:
            self._thread.join()
        self._drain_closed()

    def _drain_closed(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None:
                    item.future.set_exception(self._closed())

    def stop(self, *, wait: bool = True) -> None:
        """Write what is queued, flush, index the tail, end the thread. Again does nothing."""
        self._closing = True
        self._queue.put(None)
        if wait and not self.on_own_thread and not self.environment.forked:
            self._thread.join()
            self._drain_closed()

    # --- the writer's thread -------------------------------------------------

    def _run(self) -> None:
        ident = threading.get_ident()
        writer_threads.add(ident)
        try:
            while self._turn():
                pass
        except BaseException as error:
            log.exception("journal %s: its writer cannot go on", self.environment.path)
            self._break(
                error
                if isinstance(error, StorageError)
                else StorageError(f"writer died: {error!r}")
            )
        finally:
            self._closing = True
            self._drain_closed()
            writer_threads.discard(ident)

    def _break(self, error: StorageError) -> None:
        """Give up: what is not safe yet is answered with the error, and so is all that follows."""
        self.broken = error
        self._closing = True
        unsafe, self._unsafe = self._unsafe, []
        for commit in unsafe:
            for work in commit.works:
                work.future.set_exception(error)

    def _turn(self) -> bool:
        item = self._next()
        if item is None:
            return False
        if item is _NOTHING:
            self._idle()
            return True
        if isinstance(item, Control):
            self._control(item)
            return True
        works = [item]
        size = item.size
        left = min(self._queue.qsize(), BATCH_WORKS - 1)
        after: Any = _NOTHING
        while left > 0 and size < BATCH_BYTES:
            left -= 1
            item = self._queue.get_nowait()
            if type(item) is Work:
                works.append(item)
                size += item.size
            else:
                after = item
                break
        self._commit(works)
        if self.broken is not None:
            if type(after) is Control:
                after.future.set_exception(self._closed())
            return False
        self.environment.keep_room()
        if after is None:
            self._finish()
            return False
        if after is not _NOTHING:
            self._control(after)
        return True

    def _next(self) -> Any:
        """The next thing to do: a work, a control, None for the end, _NOTHING for a pause."""
        if self._unsafe and self._queue.empty():
            if not self._awaited():
                # Whoever submits without waiting submits again soon, and that commit carries
                # the meta page along: a flush of its own would be a second one for nothing.
                with contextlib.suppress(queue.Empty):
                    item = self._queue.get(timeout=GRACE_SECONDS)
                    if item is None:
                        self._finish()
                    return item
            self._make_safe()
        try:
            item = self._queue.get(timeout=self._patience())
        except queue.Empty:
            return _NOTHING
        if item is None:
            self._finish()
        return item

    def _awaited(self) -> bool:
        """Whether somebody waits for a commit that is not safe yet."""
        return any(work.future.awaited for commit in self._unsafe for work in commit.works)

    def _patience(self) -> float:
        if self._unflushed:
            return max(0.0, self._last_flush + FLUSH_SECONDS - time.monotonic())
        if self.catalog.tail.events >= IDLE_EVENTS:
            return IDLE_SECONDS
        return READER_CHECK_SECONDS

    def _idle(self) -> None:
        if self._unflushed:
            self._flush()
        elif self.catalog.tail.events >= IDLE_EVENTS:
            self.checkpoint()
        if time.monotonic() - self._last_reader_check >= READER_CHECK_SECONDS:
            self._last_reader_check = time.monotonic()
            self.environment.reader_check()

    def _flush(self) -> None:
        self._last_flush = time.monotonic()
        self._unflushed = False
        self.environment.sync()

    def _control(self, control: Control) -> None:
        if self._unsafe:
            self._make_safe()
        try:
            result = control.call()
        except lmdb.Error as error:
            control.future.set_exception(self.environment.translate(error))
        except Exception as error:
            control.future.set_exception(error)
        else:
            if self.durability == "sync" and self.environment.notes:
                # It may have committed a transaction of its own.
                try:
                    self._make_safe()
                except StorageError as error:
                    control.future.set_exception(error)
                    raise
            control.future.set_result(result)

    def _finish(self) -> None:
        """The last turn: what follows in the queue came too late."""
        if self._unsafe:
            self._make_safe()
        if self.broken is None:
            try:
                self.checkpoint()
                self.environment.sync()
                self.environment.clear_notes()
                self.environment.give_back_room()
            except (StorageError, lmdb.Error):
                # Nothing is lost: the next opening rebuilds the index from the log.
                log.warning("journal %s: closed without its index", self.environment.path)

    def checkpoint(self) -> None:
        """Write the index of the tail now; between transactions only."""
        if not self.catalog.tail.rows and not self.catalog.dirty:
            return
        self._checkpoint_wanted = True
        self._commit([])
        if self._unsafe:
            self._make_safe()

    # --- transactions --------------------------------------------------------

    def _commit(self, works: list[Work]) -> None:
        try:
            self._transact(works)
        except lmdb.MapFullError as error:
            self._grow(works, error)
        except lmdb.Error as error:
            if isinstance(error, lmdb.PanicError):
                self._break(self.environment.translate(error))
            self._fail(works, self.environment.translate(error))
        except Exception as error:
            if self.broken is not None:
                raise
            if len(works) == 1:
                # One work broke in the middle of its writing; the transaction was undone.
                log.exception("journal %s: a write broke", self.environment.path)
                works[0].future.set_exception(error)
            elif works:
                for work in works:
                    self._commit([work])
            else:
                raise
        except BaseException as error:
            self._fail(works, StorageError(f"writer died: {error!r}"))
            raise

    def _grow(self, works: list[Work], error: lmdb.MapFullError) -> None:
        try:
            self.environment.grow()
        except (lmdb.Error, MemoryError, OSError):
            self._fail(works, self.environment.translate(error))
            return
        self._commit(works)

    def _fail(self, works: list[Work], error: StorageError) -> None:
        self.meter.failures += len(works)
        if self._unsafe:
            self._make_safe()
        for work in works:
            work.future.set_exception(error)

    def _transact(self, works: list[Work]) -> None:
        catalog = self.catalog
        began = time.perf_counter()
        self._noted = 0
        self._rows = []
        self._log_rows = []
        self._undo = {}
        self._touched = {}
        self.channels = set()
        self.ids.staged = {}
        self.us = max(int(self.clock() * 1e6), catalog.last_us)
        self.next_position = catalog.last_position + 1
        checkpointed = False
        opened: Segment | None = None
        txn = self.environment.begin()
        try:
            segments = catalog.segments
            roll = not segments or self._roll_due(segments[-1])
            if segments and (
                roll or self._checkpoint_wanted or catalog.tail.events >= self.checkpoint_events
            ):
                self._write_checkpoint(txn, segments[-1], closed=roll)
                checkpointed = True
            if roll and works:
                opened = catalog.new_segment(txn, self.us)
                segments = (*segments, opened)
            self._segment_number = segments[-1].number if segments else 0
            done = [work for work in works if self._apply(txn, work)]
            if self._log_rows:
                txn.cursor(segments[-1].log).putmulti(self._log_rows, append=True)
                if (
                    self.durability != "relaxed"
                    and not (opened or checkpointed)
                    and all(work.plain for work in done)
                    and self.environment.note(txn, segments[-1].log_name, self._log_rows)
                ):
                    self._noted = txn.id()
            if done or checkpointed:
                txn.commit()
            else:
                txn.abort()
                opened = None
        except BaseException:
            self._rollback(txn, opened, self._checkpoint_wanted or checkpointed)
            raise
        if not done and not checkpointed:
            segments = catalog.segments
            self._drop_handles(opened)
        self._committed(works, segments, checkpointed, began)

    def _rollback(self, txn: Any, opened: Segment | None, checkpointing: bool) -> None:
        with contextlib.suppress(lmdb.Error):
            txn.abort()
        if self._noted:
            # A refused write must not come back, after a crash, as one that was lost.
            self.environment.cancel_note(self._noted)
        for head, state in self._undo.items():
            head.restore(state)
        self._drop_handles(opened)
        if self.catalog.segments:
            # A checkpoint that was undone may have marked the segment closed.
            self.catalog.segments[-1].closed = False
        self._checkpoint_wanted = checkpointing

    def _drop_handles(self, opened: Segment | None) -> None:
        if opened is not None:
            self.environment.forget_db(opened.log_name)
            self.environment.forget_db(opened.index_name)

    def _roll_due(self, segment: Segment) -> bool:
        if segment.closed:
            return True
        return segment.events >= self.segment_events or (
            segment.events >= min(SEGMENT_LEAST_EVENTS, self.segment_events)
            and self.us - segment.created_us >= self.segment_seconds * 1e6
        )

    def _write_checkpoint(self, txn: Any, segment: Segment, *, closed: bool) -> None:
        catalog = self.catalog
        segment.closed = closed
        self.ids.write(txn, segment)
        catalog.write_checkpoint(txn, segment, catalog.tail, catalog.last_position)

    def _apply(self, txn: Any, work: Work) -> bool:
        """Do one work within the transaction; a refusal leaves no trace."""
        rows = len(self._rows)
        position = self.next_position
        undo = self._undo
        self._undo = {}
        try:
            work.result = work.apply(self, txn)
            work.error = None
        except (StorageError, ValueError) as error:
            work.error = error
            for head, state in self._undo.items():
                head.restore(state)
            for row in self._rows[rows:]:
                self._forget_ids(row)
            del self._rows[rows:]
            del self._log_rows[rows:]
            self.next_position = position
            self._undo = undo
            return False
        except BaseException:
            # The whole transaction will be undone: by what was changed first.
            self._undo = {**self._undo, **undo}
            raise
        for head, state in self._undo.items():
            undo.setdefault(head, state)
        self._undo = undo
        return True

    def _forget_ids(self, row: _Row) -> None:
        stream, first_seq, _, piece, _, _ = row
        end = first_seq + piece.count
        staged = self.ids.staged
        for key in [
            key for key, (seq, _) in staged.items() if key[0] == stream and first_seq <= seq < end
        ]:
            del staged[key]

    def touch(self, stream: str, head: Head) -> None:
        """Announce that a head is about to change in this transaction."""
        if head not in self._undo:
            self._undo[head] = head.state()
        self._touched[stream] = head

    def stage_append(self, txn: Any, batch: PreparedAppend) -> AppendResult:
        """Give a batch its seqs and positions, or refuse it."""
        stream = batch.stream
        catalog = self.catalog
        head = catalog.heads.get(stream)
        if head is None:
            head = catalog.own_head(txn, stream)
        if head.tombstone:
            raise StreamTombstoned(stream, head.last)
        epoch = batch.epoch
        if epoch is None:
            epoch = 0
        elif epoch < head.epoch:
            raise StaleEpoch(stream, epoch, head.epoch)
        expected = batch.expected
        if batch.ids is not None:
            repeated = self._repeated(txn, batch, head)
            if repeated is not None:
                return repeated
        last = head.last
        if expected is not None and expected != last and (expected or not head.deleted):
            raise WrongExpectedSeq(stream, expected, last)
        if batch.seq is not None and last and batch.seq != last + 1:
            raise WrongExpectedSeq(stream, batch.seq - 1, last)
        self.touch(stream, head)
        us = self.us if batch.us is None else batch.us
        if batch.seq is not None:
            if not last:
                head.low = batch.seq
            last = batch.seq - 1
        first = seq = last + 1
        position = self.next_position
        for piece in batch.pieces:
            value = build_row(us, head.packed_name, seq, epoch, piece.tail)
            self._log_rows.append((key_of(position), value))
            self._rows.append((stream, seq, position, piece, us, len(value)))
            seq += piece.count
            position += piece.count
        if batch.ids is not None:
            if not head.ids_from:
                head.ids_from = self._segment_number
            start = self.next_position
            places = zip(range(first, seq), range(start, position), strict=True)
            staged = self.ids.staged
            if None in batch.ids:
                for event_id, place in zip(batch.ids, places, strict=True):
                    if event_id is not None:
                        staged[stream, event_id] = place
            else:
                keys: Any = zip(itertools.repeat(stream), batch.ids)
                staged.update(zip(keys, places, strict=True))
        self.next_position = position
        head.last = seq - 1
        head.epoch = max(head.epoch, epoch)
        if head.max_count and head.last - head.max_count + 1 > head.low:
            head.low = head.last - head.max_count + 1
        return AppendResult(stream, first, seq - 1, position - 1)

    def _repeated(self, txn: Any, batch: PreparedAppend, head: Head) -> AppendResult | None:
        """The earlier result of a batch that is there already; None for a new one."""
        stream = batch.stream
        ids = batch.ids or []
        found = self.ids.find(txn, stream, head, ids)
        if found is None:
            return None
        known = next(place for place in found if place is not None)
        expected = batch.expected
        first = found[0]
        if first is not None and (expected is None or expected == first[0] - 1):
            seqs = [place[0] for place in found if place is not None]
            if seqs == list(range(first[0], first[0] + len(ids))):
                last = found[-1]
                assert last is not None
                return AppendResult(stream, first[0], last[0], last[1], duplicate=True)
        if expected is not None and expected != head.last:
            raise WrongExpectedSeq(stream, expected, head.last)
        index = found.index(known)
        raise DuplicateEvent(stream, ids[index] or "", known[0], head.last)

    def _committed(
        self, works: list[Work], segments: tuple[Segment, ...], checkpointed: bool, began: float
    ) -> None:
        catalog = self.catalog
        if checkpointed:
            self._checkpoint_wanted = False
            catalog.checkpoint = catalog.last_position
            catalog.tail = Tail()
            catalog.dirty = set()
            self._evict()
        catalog.segments = segments
        tail = catalog.tail
        events = 0
        if self._rows:
            size = 0
            for stream, first_seq, position, piece, _, length in self._rows:
                tail.add(stream, first_seq, position, piece.count, piece.terms)
                size += length
                events += piece.count
            catalog.note_rows(
                segments[-1],
                self.next_position - 1,
                rows=len(self._rows),
                events=events,
                size=size,
                first_us=self._rows[0][4],
                last_us=self._rows[-1][4],
            )
            tail.ids.update(self.ids.staged)
        heads = []
        if self._touched:
            catalog.dirty.update(self._touched)
            for stream, head in self._touched.items():
                heads.append((head, head.last))
                if head.low > 1:
                    catalog.lows[stream] = head.low
        self.meter.commit(events, len(works), time.perf_counter() - began)
        commit = _Commit(
            works,
            View(catalog.last_position, catalog.last_us, tail, segments, catalog.view.generation),
            heads,
            CommitInfo(
                catalog.last_position,
                tuple(dict.fromkeys([row[0] for row in self._rows])),
                tuple(self.channels),
            ),
        )
        if self.durability == "pipelined":
            earlier, self._unsafe = self._unsafe, [commit]
            if self._noted:
                earlier, self._unsafe = [*earlier, commit], []
            for one in earlier:
                self._acknowledge(one)
            return
        if self.durability == "sync" and self.environment.notes and not self._noted:
            self._unsafe = [commit]
            self._make_safe()
            return
        if self.durability == "relaxed" and not self.environment.memory:
            if not self._unflushed:
                self._unflushed = True
            if time.monotonic() - self._last_flush >= FLUSH_SECONDS:
                self._flush()
        self._acknowledge(commit)

    def _evict(self) -> None:
        """Forget clean heads when there are very many; the dirty ones were just written."""
        heads = self.catalog.heads
        excess = len(heads) - HEADS_IN_MEMORY
        if excess > 0:
            for name in list(itertools.islice(heads, excess)):
                if name not in self._touched and heads[name].visible == heads[name].last:
                    del heads[name]

    def _make_safe(self) -> None:
        """Flush, so that the last commit is safe too, and acknowledge it."""
        try:
            self.environment.sync()
        except lmdb.Error as error:
            # After a failed flush nobody knows what is on disk: acknowledge nothing more.
            self._break(self.environment.translate(error))
            raise self.broken from error  # type: ignore[misc]  # just set
        unsafe, self._unsafe = self._unsafe, []
        for commit in unsafe:
            self._acknowledge(commit)

    def _acknowledge(self, commit: _Commit) -> None:
        self.catalog.view = commit.view
        for head, last in commit.heads:
            head.visible = last
        now = time.perf_counter()
        observe = self.meter.latency
        for work in commit.works:
            if work.error is None:
                observe(now - work.started)
                work.future.set_result(work.result)
            else:
                work.future.set_exception(work.error)
        for listener in self.on_safe:
            try:
                listener(commit.info)
            except Exception:
                self.meter.listener_errors += 1
                log.exception("a commit listener raised; the commit stands, the journal goes on")


#: Heads kept in memory after a checkpoint, about 300 bytes each.
HEADS_IN_MEMORY = 200_000

_NOTHING: Any = object()
