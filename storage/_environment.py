"""One LMDB environment, opened once, with LMDB's rules kept in one place.

- One environment per directory and process; a second one would share, and on closing drop, the
  locks of the first. Who may write is settled by a lock file of our own, never by touching
  `lock.mdb`: opening and closing that file releases LMDB's locks silently.
- Write transactions begin and end on one OS thread, the writer's.
- Read transactions are short. They pass a gate, because growing the map or dropping a database
  is only safe while no transaction of this process is open.
- After a fork nothing here may be touched: a flag set in the child refuses it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import tempfile
import threading
import weakref
from typing import TYPE_CHECKING, Any

import lmdb

from understudy.storage._errors import (
    JournalClosed,
    JournalForked,
    JournalLocked,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from understudy.storage._redo import Redo
from understudy.storage._room import Room

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: LMDB's own writer mutex is all there is
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger("understudy.storage")

#: Whether commits can be written down beside themselves: not where files cannot be shared so.
NOTES = fcntl is not None

#: Address space, not disk: the file grows as it is written. 1 TiB is more than one journal needs
#: and far below what 64-bit systems map.
DEFAULT_MAP_SIZE = 1 << 40

#: Below this an environment is of no use, so that shrinking to fit a memory limit stops here.
LEAST_MAP_SIZE = 1 << 26

#: Two databases per segment: room for 4,000 segments of 250,000 events.
MAX_DBS = 8192

MAX_READERS = 2048

#: Bytes of free disk below which an I/O error is taken for a full disk: the engine reports a
#: write that was cut short as EIO, whatever cut it short.
NEARLY_FULL = 1 << 20

_environments: weakref.WeakSet[Environment] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for environment in list(_environments):
        environment.forked = True
        for hook in environment.fork_hooks:
            hook()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Environment:
    """An open LMDB environment.

    Args:
        path: the directory; None for a private one that exists in memory only (as far as the
            system has a memory file system) and is gone with the process, however it ends.
        readonly: open beside a writer in another process.
        metasync: flush the meta page at each commit.
        sync: flush at each commit at all.
        map_size: bytes of address space.
    """

    def __init__(
        self,
        path: str | None,
        *,
        readonly: bool = False,
        metasync: bool = True,
        sync: bool = True,
        map_size: int = DEFAULT_MAP_SIZE,
    ) -> None:
        self.forked = False
        self.fork_hooks: list[Callable[[], None]] = []  # run in the child, before anything else
        self.readonly = readonly
        self.memory = path is None
        self._lock_fd: int | None = None
        self._pid = os.getpid()
        self._closed = False
        self._gate = threading.Condition(threading.Lock())
        self._readers = 0
        self._exclusive = False
        self._options = {"metasync": metasync, "sync": sync}
        self.databases: dict[str, Any] = {}
        self._room: Room | None = None
        self._redo: Redo | None = None
        if path is None:
            base = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - a private, unlinked directory
            self.path = tempfile.mkdtemp(prefix="understudy-", dir=base)
        else:
            self.path = os.path.realpath(path)
        try:
            self._prepare(map_size)
        except BaseException:
            self._unlock()
            if self.memory:
                shutil.rmtree(self.path, ignore_errors=True)
            raise
        _environments.add(self)

    # --- opening and closing -------------------------------------------------

    def _prepare(self, map_size: int) -> None:
        directory = pathlib.Path(self.path)
        try:
            if self.readonly:
                if not (directory / "data.mdb").is_file():
                    raise StorageUnavailable(
                        self.path, "there is no journal; open it for writing once to make one"
                    )
            else:
                directory.mkdir(parents=True, exist_ok=True)
                self._take_lock()
                if not self.memory and not (directory / "data.mdb").exists():
                    self._create(directory)
        except OSError as error:
            raise StorageUnavailable(
                self.path, f"{error.strerror}; give a directory this process may write to"
            ) from error
        except lmdb.Error as error:
            raise self.translate(error) from error
        self._env = self._open(map_size)
        if self.memory:
            # The files live on as long as they are open, and a killed process leaves nothing.
            for name in ("data.mdb", "lock.mdb", "journal.lock"):
                with contextlib.suppress(FileNotFoundError):
                    (directory / name).unlink()
            directory.rmdir()
        self._own_file()

    def _own_file(self) -> None:
        """Take hold of the data file of an environment that is ours to write."""
        if self.readonly or self.memory or not NOTES:
            return
        path = f"{self.path}/data.mdb"
        try:
            self._redo = Redo(path, self.page_size())
            if self._options["sync"]:
                self._room = Room(path, self.page_size())
            self._put_back()
        except OSError as error:
            self._env.close()
            raise StorageUnavailable(self.path, str(error)) from error
        except lmdb.Error as error:
            self._env.close()
            raise self.translate(error) from error

    def _put_back(self) -> None:
        """Write again what a power cut has undone; see `_redo`."""
        assert self._redo is not None  # just opened
        lost = self._redo.after(self._env.info()["last_txnid"])
        if lost is not None:
            with self._env.begin(write=True) as txn:
                db = self._env.open_db(lost.database.encode(), txn=txn, create=False)
                for key, value in lost.rows:
                    txn.put(key, value, db=db, overwrite=False)
            log.info("journal %s: its last commit was put back after a crash", self.path)
        if self._redo.noted():
            # One that was under way at the crash must not follow at the opening after this one.
            self._env.sync(True)
            self._redo.clear()

    def _create(self, directory: pathlib.Path) -> None:
        """Make the empty file under another name, flush it, and put it in place.

        The engine writes the first meta pages without a flush: after a power cut a file made in
        place could be there and not open.
        """
        fresh = directory / "new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        env = lmdb.open(str(fresh), map_size=1 << 20, max_dbs=1)
        env.sync(True)
        env.close()
        (fresh / "data.mdb").replace(directory / "data.mdb")
        shutil.rmtree(fresh)
        for name in (directory, directory.parent):
            fd = os.open(name, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _open(self, map_size: int) -> Any:
        while True:
            try:
                return lmdb.open(
                    self.path,
                    map_size=map_size,
                    max_dbs=MAX_DBS,
                    max_readers=MAX_READERS,
                    readonly=self.readonly,
                    create=not self.readonly,
                    meminit=False,
                    max_spare_txns=16,
                    **self._options,
                )
            except (lmdb.MemoryError, MemoryError) as error:
                # A limit on address space (ulimit -v, a small container): take what there is.
                map_size //= 2
                if map_size < LEAST_MAP_SIZE:
                    raise StorageUnavailable(
                        self.path, f"no address space for a map ({error}); raise ulimit -v"
                    ) from error
            except lmdb.Error as error:
                raise self.translate(error) from error
            except OSError as error:
                raise StorageUnavailable(
                    self.path, f"{error.strerror}; give a directory this process may write to"
                ) from error

    def _take_lock(self) -> None:
        if fcntl is None:  # pragma: no cover - Windows
            return
        fd = os.open(pathlib.Path(self.path) / "journal.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # A record lock, not flock: a forked child does not inherit it, so that a child that
            # outlives its parent does not keep the directory locked.
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(fd, 64, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise JournalLocked(self.path, f"process {owner or 'unknown'}") from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd

    def release_lock(self) -> None:
        """Let others open the directory for writing, while readers here go on."""
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def reopen(self, *, metasync: bool, sync: bool) -> None:
        """Turn a read-only environment into a writing one, while no transaction is open."""
        self._options = {"metasync": metasync, "sync": sync}
        with self.exclusive():
            map_size = self._env.info()["map_size"]
            self._take_lock()
            self._env.close()
            self.readonly = False
            self.databases.clear()
            self._env = self._open(max(map_size, DEFAULT_MAP_SIZE))
            self._own_file()

    def close(self) -> None:
        """Close the environment once no read transaction is open; again does nothing."""
        if self._closed:
            return
        self._closed = True
        if self.forked:
            return  # the locks, the reader table and the map belong to the parent
        with self.exclusive():
            self._env.close()
        for file in (self._room, self._redo):
            if file is not None:
                file.close()
        self._unlock()

    # --- transactions --------------------------------------------------------

    def check_fork(self) -> None:
        """Refuse to go on in a forked child."""
        if self.forked:
            raise JournalForked(self.path, self._pid, os.getpid())

    def enter(self) -> Any:
        """Pass the gate and begin a read transaction; `leave` must follow."""
        if self._closed or self.forked:
            self.check_fork()
            raise JournalClosed(self.path)
        gate = self._gate
        with gate:
            while self._exclusive:
                gate.wait()
            if self._closed:
                raise JournalClosed(self.path)
            self._readers += 1
        try:
            return self._begin_read()
        except BaseException:
            self._leave_gate()
            raise

    def _begin_read(self) -> Any:
        while True:
            try:
                return self._env.begin()
            except lmdb.MapResizedError:
                # The writer, another process, has grown the map: take over its size.
                self._env.set_mapsize(0)
            except lmdb.ReadersFullError:
                # Slots of killed readers stay taken until somebody looks.
                if not self._env.reader_check():
                    raise StorageError(
                        f"{MAX_READERS} read transactions are open on {self.path!r}; "
                        "close some readers"
                    ) from None

    def leave(self, txn: Any) -> None:
        """End what `enter` began."""
        try:
            txn.abort()
        finally:
            self._leave_gate()

    def _leave_gate(self) -> None:
        gate = self._gate
        with gate:
            self._readers -= 1
            if not self._readers and self._exclusive:
                gate.notify_all()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """A short read transaction; nothing it yields may be kept as a view."""
        txn = self.enter()
        try:
            yield txn
        finally:
            self.leave(txn)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all readers of this process out; waits for those inside."""
        with self._gate:
            while self._exclusive:
                self._gate.wait()
            self._exclusive = True
            while self._readers:
                self._gate.wait()
        try:
            yield
        finally:
            with self._gate:
                self._exclusive = False
                self._gate.notify_all()

    def begin(self) -> Any:
        """A write transaction, for the writer's thread only."""
        return self._env.begin(write=True)

    # --- the rest ------------------------------------------------------------

    def open_db(self, name: str, txn: Any, *, create: bool = True) -> Any:
        """The database of this name; its handle is kept."""
        db = self.databases.get(name)
        if db is None:
            db = self._env.open_db(name.encode(), txn=txn, create=create)
            self.databases[name] = db
        return db

    def open_shared(self, name: str) -> None:
        """Open a database that must exist, in a transaction of its own."""
        if name not in self.databases:
            self.databases[name] = self._env.open_db(name.encode(), create=False)

    def forget_db(self, name: str) -> None:
        """Drop a handle whose database, or whose opening transaction, is gone."""
        self.databases.pop(name, None)

    def grow(self) -> int:
        """Double the map; returns its new size. No transaction of the caller may be open."""
        with self.exclusive():
            size: int = self._env.info()["map_size"] * 2
            self._env.set_mapsize(size)
        log.warning("journal %s: map grown to %d bytes", self.path, size)
        return size

    def sync(self) -> None:
        """Flush everything, meta page included."""
        self._env.sync(True)

    @property
    def notes(self) -> bool:
        """Whether `note` can make a commit safe whose meta page is not flushed."""
        return self._redo is not None

    def note(self, txn: Any, database: str, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        """Write down all that a transaction has written, right before its commit.

        Returns:
            Whether the commit is safe once it is done; if not, `sync` makes it so.
        """
        return self._redo is not None and self._redo.note(txn.id(), database, rows)

    def cancel_note(self, txn_id: int) -> None:
        """Take back a `note` whose commit came to nothing."""
        if self._redo is not None:
            self._redo.cancel(txn_id)

    def clear_notes(self) -> None:
        """Forget what is noted: everything has been flushed."""
        if self._redo is not None:
            self._redo.clear()

    def keep_room(self) -> None:
        """See that the next commits need not grow the file; the writer's thread only."""
        if self._room is not None:
            self._room.keep(self._env.info()["last_pgno"])

    def give_back_room(self) -> None:
        """Cut off what is not in use at the end of the file; the writer's thread only."""
        if self._room is not None:
            self._room.give_back(self._env.info()["last_pgno"])

    def reader_check(self) -> int:
        """Free the slots of readers that were killed; returns how many."""
        return int(self._env.reader_check())

    def copy(self, path: str) -> None:
        """A consistent, compacted copy of the live environment in an existing empty directory."""
        self._env.copy(path, compact=True)

    def info(self) -> dict[str, int]:
        """What the engine knows of itself: map size, last page, last transaction, readers."""
        return dict(self._env.info())

    def page_size(self) -> int:
        """Bytes of a page."""
        return int(self._env.stat()["psize"])

    def translate(self, error: BaseException) -> StorageError:
        """The engine's error in our words."""
        text = str(error)
        if isinstance(error, lmdb.DiskError) or any(
            os.strerror(code) in text for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        ):
            return StorageFull(self.path, text)
        if os.strerror(errno.EIO) in text and self._nearly_full():
            return StorageFull(self.path, f"{text} (a write was cut short)")
        if isinstance(error, lmdb.MapFullError):
            return StorageFull(self.path, text)
        if isinstance(error, (lmdb.InvalidError, lmdb.VersionMismatchError)):
            return StorageUnavailable(
                self.path, f"{text}: not a journal, or damaged; restore it from a backup"
            )
        return StorageUnavailable(self.path, text)

    def _nearly_full(self) -> bool:
        try:
            import resource

            limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
            if limit != resource.RLIM_INFINITY:
                return True
            disk = os.statvfs(self.path)
        except (ImportError, OSError):
            return False
        return disk.f_bavail * disk.f_frsize < NEARLY_FULL
