"""Durable subscriptions: a named reader whose place survives, each record at least once."""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import key_of, u64
from understudy.storage._errors import JournalClosed, StorageError
from understudy.storage._reader import Filter
from understudy.storage._tables import join, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from understudy.storage._core import Core
    from understudy.storage._journal import Journal
    from understudy.storage._record import Record

log = logging.getLogger("understudy.storage")

#: Failures of one record after which it is parked.
MAX_ATTEMPTS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Parked:
    """A record that failed too often.

    Attributes:
        position: of the record.
        attempts: how often it failed.
        error: text of the last failure.
        record: the record itself; None where retention has taken it.
    """

    position: int
    attempts: int
    error: str
    record: Record | None


class DurableSubscription:
    """A named cursor over the journal or one stream; made by `Journal.durable`.

    Pull: `fetch` some records, work on them, `ack` the last one. Push: `run` a handler on a
    thread of its own. What was not acknowledged when the process ended comes again. Retention
    keeps what a durable subscription has not acknowledged.

    One consumer at a time: two that fetch under one name get the same records.
    """

    def __init__(
        self,
        journal: Journal,
        name: str,
        stream: str | None,
        types: Iterable[str] | None,
        after: int | None,
        max_attempts: int,
    ) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts is {max_attempts}: use 1 or more")
        self._journal = journal
        self._core: Core = journal._core
        self._key = join(name)
        self._max_attempts = max_attempts
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stop = False
        self.name = name
        wanted = None if types is None else sorted((types,) if isinstance(types, str) else types)
        start = self._start(stream, after)

        def apply(txn: Any) -> tuple[Any, ...]:
            db = self._core.database("subscriptions")
            row = txn.get(self._key, db=db)
            if row is not None:
                return tuple(unpack(row))
            fresh = (stream, wanted, *start, 0, "")
            txn.put(self._key, pack(fresh), db=db)
            return fresh

        found = self._core.call(apply).result()
        if found[0] != stream or found[1] != wanted:
            raise StorageError(
                f"subscription {name!r} exists for stream {found[0]!r} and types {found[1]!r}; "
                "use another name, or remove that one first"
            )
        self.stream = stream
        self._types = wanted
        self._seq: int = found[2]
        self._position: int = found[3]
        self._attempts: int = found[4]

    def _start(self, stream: str | None, after: int | None) -> tuple[int, int]:
        """(seq, position) to start behind."""
        if not after:
            return 0, 0
        if stream is None:
            return 0, after
        record = next(self._journal.read(stream, after=after - 1, until_seq=after), None)
        return after, 0 if record is None else record.position

    @property
    def position(self) -> int:
        """The global position up to which everything is acknowledged or parked."""
        return self._position

    @property
    def seq(self) -> int:
        """The same as a seq, for a subscription to one stream."""
        return self._seq

    def fetch(self, limit: int = 100) -> list[Record]:
        """The next records behind the last acknowledged one; none where there are none."""
        if self.stream is not None:
            return list(
                self._journal.read(self.stream, after=self._seq, types=self._types, limit=limit)
            )
        return list(self._journal.read_all(after=self._position, types=self._types, limit=limit))

    def ack(self, record: Record) -> None:
        """Everything up to this record is done; safe when this returns.

        Acknowledging a parked record takes it out of the parking place.
        """
        position, seq = record.position, record.seq

        def apply(txn: Any) -> None:
            txn.delete(self._parked_key(position), db=self._core.database("parked"))
            if position > self._position:
                self._write(txn, seq, position, 0, "")

        self._core.call(apply).result()
        self._moved(seq, position, 0)

    def nack(self, record: Record, error: str = "") -> bool:
        """The record failed; whether it was parked, being at its last attempt.

        A parked record counts as passed: the next fetch begins behind it.
        """
        position, seq = record.position, record.seq
        attempts = self._attempts + 1
        parked = attempts >= self._max_attempts

        def apply(txn: Any) -> None:
            if parked:
                row = pack((attempts, error))
                txn.put(self._parked_key(position), row, db=self._core.database("parked"))
                self._write(txn, seq, position, 0, "")
            else:
                self._write(txn, self._seq, self._position, attempts, error)

        self._core.call(apply).result()
        if parked:
            self._moved(seq, position, 0)
        else:
            self._attempts = attempts
        return parked

    def parked(self) -> list[Parked]:
        """The parked records, oldest first."""
        prefix = self._parked_prefix()
        rows = []
        with self._core.environment.reading() as txn:
            cursor = txn.cursor(self._core.database("parked"))
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                rows.append((u64.unpack(cursor.key()[-8:])[0], unpack(cursor.value())))
                found = cursor.next()
        return [
            Parked(position, attempts, error, self._journal.record_at(position))
            for position, (attempts, error) in rows
        ]

    def replay_parked(self, handler: Callable[[Record], object]) -> int:
        """Try the parked records once more, in order; returns how many succeeded.

        What the handler accepts leaves the parking place; what it raises on stays, with one
        attempt more.
        """
        count = 0
        for parked in self.parked():
            if parked.record is None:
                continue
            key = self._parked_key(parked.position)
            try:
                handler(parked.record)
            except Exception as error:
                row = pack((parked.attempts + 1, f"{type(error).__name__}: {error}"))
                self._core.call(
                    lambda txn, key=key, row=row: txn.put(  # type: ignore[misc]
                        key, row, db=self._core.database("parked")
                    )
                ).result()
                continue
            self._core.call(
                lambda txn, key=key: txn.delete(key, db=self._core.database("parked"))  # type: ignore[misc]
            ).result()
            count += 1
        return count

    def run(self, handler: Callable[[Record], object], *, batch: int = 100) -> None:
        """Hand each record to `handler` on a thread of its own until `stop` or close.

        A handler that returns has acknowledged; after one that raises, the record comes again at
        once, and is parked after `max_attempts`. Acknowledgements are written once per batch and
        when nothing more is there, so that a crash repeats at most a batch.
        """
        if self._thread is not None:
            raise StorageError(f"subscription {self.name!r} runs already; stop it first")
        self._stop = False
        self._cancel = self._journal.on_commit(lambda _: self._wake.set())
        self._thread = threading.Thread(
            target=self._loop, args=(handler, batch), name=f"understudy-{self.name}", daemon=True
        )
        self._journal._running.add(self)
        self._thread.start()

    def end(self) -> None:
        """Tell `run` to end, without waiting for it."""
        self._stop = True
        self._wake.set()

    def stop(self) -> None:
        """End `run` after the record it is at; again does nothing."""
        self.end()
        thread = self._thread
        if thread is not None:
            self._cancel()
            if thread is not threading.current_thread():
                thread.join()
            self._thread = None

    def remove(self) -> None:
        """Forget the subscription, its place and its parked records."""
        self.stop()
        prefix = self._parked_prefix()

        def apply(txn: Any) -> None:
            txn.delete(self._key, db=self._core.database("subscriptions"))
            cursor = txn.cursor(self._core.database("parked"))
            while cursor.set_range(prefix) and cursor.key().startswith(prefix):
                cursor.delete()

        self._core.call(apply).result()

    def _loop(self, handler: Callable[[Record], object], batch: int) -> None:
        try:
            while not self._stop:
                self._wake.clear()
                records = self.fetch(batch)
                if not records:
                    self._wake.wait()
                    continue
                self._work(handler, records)
        except JournalClosed:
            return
        except StorageError:
            log.exception("durable subscription %r ended", self.name)

    def _work(self, handler: Callable[[Record], object], records: list[Record]) -> None:
        done: Record | None = None
        for record in records:
            if self._stop:
                break
            try:
                handler(record)
            except Exception as error:
                if done is not None:
                    self.ack(done)
                    done = None
                if self.nack(record, f"{type(error).__name__}: {error}"):
                    log.exception(
                        "durable subscription %r parked record %d", self.name, record.position
                    )
                    continue
                break
            done = record
        if done is not None:
            self.ack(done)

    def _write(self, txn: Any, seq: int, position: int, attempts: int, error: str) -> None:
        row = pack((self.stream, self._types, seq, position, attempts, error))
        txn.put(self._key, row, db=self._core.database("subscriptions"))

    def _moved(self, seq: int, position: int, attempts: int) -> None:
        if position > self._position:
            self._seq, self._position, self._attempts = seq, position, attempts

    def _parked_prefix(self) -> bytes:
        return self._key + b"\0"

    def _parked_key(self, position: int) -> bytes:
        return self._parked_prefix() + key_of(position)


def floors(core: Core) -> dict[str, int]:
    """Name to the position up to which each durable subscription has acknowledged.

    A subscription to one stream holds back nothing but what it has not seen of that stream; that
    is judged by position as well, since its stream's rows are all retention asks about.
    """
    with core.environment.reading() as txn:
        return {
            key.decode(): unpack(row)[3] for key, row in txn.cursor(core.database("subscriptions"))
        }


def waiting(core: Core, reader: Any, name: str) -> bool:
    """Whether anything that a durable subscription wants lies behind its place."""
    with core.environment.reading() as txn:
        row = txn.get(join(name), db=core.database("subscriptions"))
    if row is None:
        return False
    stream, types, seq, position, *_ = unpack(row)
    wanted = Filter.of(types, None, None, None, None)
    if stream is not None:
        return next(reader.stream(stream, seq, None, wanted, 1, False), None) is not None
    return next(reader.everything(position, wanted, 1, False), None) is not None
