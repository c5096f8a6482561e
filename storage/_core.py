"""One directory, opened once per process: environment, catalog, writer, and who shares them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import lmdb

from understudy.storage import _outbox, _schema
from understudy.storage._catalog import Catalog, Segment, pack, unpack
from understudy.storage._environment import DEFAULT_MAP_SIZE, NOTES, Environment
from understudy.storage._errors import (
    JournalClosed,
    JournalLocked,
    JournalReadOnly,
    StorageUnavailable,
)
from understudy.storage._ids import Ids
from understudy.storage._reader import Reader
from understudy.storage._record import EventIds
from understudy.storage._stats import Meter
from understudy.storage._tables import TABLES
from understudy.storage._writer import Work, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from understudy.storage._future import CommitFuture
    from understudy.storage._record import Record
    from understudy.storage._writer import Durability

T = TypeVar("T")

DURABILITIES = ("sync", "pipelined", "relaxed")


class Core:
    """What the journals of one directory in one process share."""

    def __init__(self, environment: Environment, clock: Callable[[], float]) -> None:
        self.environment = environment
        self.clock = clock
        self.catalog = Catalog(environment)
        self.meter = Meter()
        self.writer: Writer | None = None
        self.generation = 0
        self.schema = _schema.SCHEMA
        self.durability: Durability = "sync"
        self.event_ids = EventIds(0)
        self.users = 0
        #: Retention and backups take turns: a copy holds a read transaction for its whole length.
        self.upkeep = threading.RLock()
        self.freed_lows: dict[str, int] = {}  # low ends below which nothing is left to free
        self._refresh_lock = threading.Lock()
        self._seen_change = -1

    # --- opening -------------------------------------------------------------

    def open_readonly(self) -> None:
        """Load what is there."""
        self._open_handles()
        with self.environment.reading() as txn:
            self._load(txn)

    def _open_handles(self) -> None:
        """Open the databases of a journal that is not ours to write.

        Each in a transaction of its own: a handle opened in a read transaction that is recycled
        is nobody's.
        """
        env = self.environment
        try:
            for name in TABLES:
                env.open_shared(name)
            while True:
                with env.reading() as txn:
                    segments = [
                        Segment.from_row(row) for _, row in txn.cursor(env.databases["segments"])
                    ]
                missing = [
                    name
                    for segment in segments
                    for name in (segment.log_name, segment.index_name)
                    if name not in env.databases
                ]
                if not missing:
                    return
                for name in missing:
                    # A segment dropped meanwhile is looked for again, and is not there then.
                    with contextlib.suppress(lmdb.NotFoundError):
                        env.open_shared(name)
        except (lmdb.NotFoundError, lmdb.ReadonlyError) as error:
            raise StorageUnavailable(env.path, "this LMDB environment is no journal") from error

    def open_writer(
        self,
        durability: Durability,
        clock: Callable[[], float],
        migrations: Any,
        **limits: Any,
    ) -> None:
        """Make or load the journal and start its writer."""
        env = self.environment
        self.clock = clock
        self.durability = durability
        with contextlib.suppress(lmdb.Error):
            env.reader_check()
        try:
            txn = env.begin()
            try:
                self._create(txn)
                _schema.upgrade(env, txn, migrations)
                self._load(txn)
                self.generation += 1
                meta = env.databases["meta"]
                txn.put(b"generation", pack(self.generation), db=meta)
                _outbox.recover(self, txn, clock())
            except BaseException:
                txn.abort()
                env.databases.clear()
                raise
            txn.commit()
            if durability == "sync":
                env.sync()
        except lmdb.Error as error:
            raise env.translate(error) from error
        reader = Reader(self.catalog, _IdsOnly(self.event_ids), clock)
        self.writer = Writer(
            env,
            self.catalog,
            Ids(self.catalog, reader, self.event_ids),
            self.meter,
            durability=durability,
            clock=clock,
            **limits,
        )
        self.writer.start()

    def _create(self, txn: Any) -> None:
        meta = self.environment.open_db("meta", txn)
        if txn.get(b"schema", db=meta) is None:
            txn.put(b"schema", pack(_schema.SCHEMA), db=meta)
            txn.put(b"salt", pack(secrets.randbits(34)), db=meta)
        for name in TABLES:
            self.environment.open_db(name, txn)

    def _load(self, txn: Any) -> None:
        env = self.environment
        meta = env.databases["meta"]
        self.schema = unpack(txn.get(b"schema", db=meta) or b"\x00")
        if env.readonly:
            _schema.check(env.path, self.schema)
        self.event_ids = EventIds(unpack(txn.get(b"salt", db=meta)))
        self.generation = unpack(txn.get(b"generation", db=meta) or b"\x00")
        self._seen_change = unpack(txn.get(b"changes", db=meta) or b"\x00")
        self.catalog.load(txn)

    def refresh(self) -> None:
        """Take over what the writer of another process has committed."""
        with self._refresh_lock:
            env = self.environment
            catalog = self.catalog
            with env.reading() as txn:
                meta = env.databases["meta"]
                fresh = (
                    unpack(txn.get(b"checkpoint", db=meta) or b"\x00") == catalog.checkpoint
                    and unpack(txn.get(b"changes", db=meta) or b"\x00") == self._seen_change
                    and (catalog.segments or not txn.stat(env.databases["segments"])["entries"])
                )
                if fresh:
                    if catalog.extend(txn):
                        catalog.view = catalog.view._replace(
                            position=catalog.last_position, timestamp=catalog.last_us
                        )
                    return
            self._open_handles()
            with env.reading() as txn:
                self._load(txn)

    # --- for tables ----------------------------------------------------------

    def call(self, apply: Callable[[Any], T], size: int = 64) -> CommitFuture[T]:
        """Run `apply(txn)` in the next write transaction."""
        return self.own_writer().submit(Work(lambda _, txn: apply(txn), size))

    def own_writer(self) -> Writer:
        """The writer, or the reason why there is none."""
        writer = self.writer
        if writer is None:
            self.environment.check_fork()
            if self.users:
                raise JournalReadOnly(self.environment.path)
            raise JournalClosed(self.environment.path)
        return writer

    def database(self, name: str) -> Any:
        """A database of the environment."""
        return self.environment.databases[name]

    def bump_changes(self, txn: Any) -> None:
        """Tell readers in other processes that streams or segments were taken away."""
        meta = self.environment.databases["meta"]
        self._seen_change += 1
        txn.put(b"changes", pack(self._seen_change), db=meta)

    # --- sharing -------------------------------------------------------------

    def release(self, *, writing: bool, wait: bool = True) -> None:
        """One user less; the last one closes the environment."""
        if writing and self.writer is not None:
            self.writer.stop(wait=wait)
        with _registry_lock:
            if writing:
                self.writer = None
            self.users -= 1
            last = self.users <= 0
            if last:
                for key in [key for key, core in _registry.items() if core is self]:
                    del _registry[key]
        if last:
            self.environment.close()
        elif writing:
            self.environment.release_lock()


class _IdsOnly:
    """The source of records whose payload nobody will ask for."""

    def __init__(self, ids: EventIds) -> None:
        self._ids = ids

    def event_id(self, position: int, timestamp_us: int) -> str:
        return self._ids.make(position, timestamp_us)

    def unpack(self, record: Record) -> tuple[Any, Any]:
        raise AssertionError(f"the writer does not look at the payload of {record.position}")


_registry: dict[tuple[int, int], Core] = {}
_registry_lock = threading.RLock()


def _after_fork() -> None:
    # What the parent had open is not the child's; the lock may have been held by another thread.
    global _registry_lock  # noqa: PLW0603 - a lock of the parent cannot be released here
    _registry_lock = threading.RLock()
    _registry.clear()


os.register_at_fork(after_in_child=_after_fork)


def _key(path: str) -> tuple[int, int] | None:
    try:
        status = pathlib.Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _opening(path: str) -> Iterator[Core | None]:
    with _registry_lock:
        key = _key(path)
        yield None if key is None else _registry.get(key)


def open_core(
    path: str | None,
    *,
    readonly: bool,
    durability: Durability,
    clock: Callable[[], float],
    map_size: int = DEFAULT_MAP_SIZE,
    migrations: Any = None,
    **limits: Any,
) -> Core:
    """The core of a directory, opened now or shared with who has it open in this process."""
    if durability not in DURABILITIES:
        raise ValueError(f"durability is {durability!r}: use one of {', '.join(DURABILITIES)}")
    # Where small commits are written down beside themselves, the writer flushes meta pages.
    flags = {"metasync": durability == "sync" and not NOTES, "sync": durability != "relaxed"}
    if path is None:
        core = Core(Environment(None, metasync=False, sync=False, map_size=map_size), clock)
        core.users = 1
        core.open_writer("relaxed", clock, migrations, **limits)
        return core
    with _opening(path) as known:
        if known is not None:
            if not readonly:
                if known.writer is not None:
                    raise JournalLocked(known.environment.path, "this process")
                known.environment.reopen(**flags)
                known.open_writer(durability, clock, migrations, **limits)
            known.users += 1
            return known
        environment = Environment(path, readonly=readonly, map_size=map_size, **flags)
        core = Core(environment, clock)
        core.users = 1
        try:
            if readonly:
                core.open_readonly()
            else:
                core.open_writer(durability, clock, migrations, **limits)
        except BaseException:
            environment.close()
            raise
        key = _key(path)
        if key is not None:
            _registry[key] = core
        return core


@contextlib.contextmanager
def not_open_here(path: str) -> Iterator[None]:
    """Refuse a directory that this process has open; nothing is opened until this is over."""
    with _opening(path) as known:
        if known is not None:
            raise JournalLocked(known.environment.path, "this process")
        yield


def migrate(path: str, to: int, migrations: Any) -> int:
    """Bring the layout of a closed journal to a schema number; returns the steps taken."""
    with _opening(path) as known:
        if known is not None:
            raise JournalLocked(known.environment.path, "this process")
        environment = Environment(path)
        try:
            txn = environment.begin()
            try:
                environment.open_db("meta", txn)
                steps = _schema.upgrade(environment, txn, migrations, to)
            except BaseException:
                txn.abort()
                raise
            txn.commit()
        finally:
            environment.close()
    return steps
