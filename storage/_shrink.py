"""Making the file of a closed journal as small as what is in it.

The engine never gives pages back to the file system; freed pages wait for new data. Here all pages
in use are copied into a new file, which is looked through, flushed, and put in place of the old
one by a rename: whenever it is cut short, one complete file is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
import shutil
import time
from typing import TYPE_CHECKING, Any

import lmdb

from understudy.storage._archive import flush_directory
from understudy.storage._backup import verified
from understudy.storage._core import not_open_here
from understudy.storage._environment import MAX_DBS, Environment
from understudy.storage._errors import JournalLocked, StorageFull, StorageUnavailable
from understudy.storage._redo import Redo

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: a rename over an open file fails by itself
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The directory of the new file, beside the old one.
FRESH = "compacting"


@dataclasses.dataclass(frozen=True, slots=True)
class CompactReport:
    """What `Journal.compact_file` did.

    Attributes:
        before_bytes: size of the file before.
        after_bytes: size of the file now.
        seconds: how long it took.
    """

    before_bytes: int
    after_bytes: int
    seconds: float


def compact_file(path: str) -> CompactReport:
    """Copy, verify, flush, rename; see `Journal.compact_file`."""
    began = time.perf_counter()
    directory = pathlib.Path(os.path.realpath(path))
    data = directory / "data.mdb"
    if not data.is_file():
        raise StorageUnavailable(str(directory), "there is no journal to compact")
    fresh = directory / FRESH
    with not_open_here(str(directory)):
        _put_back(directory)
        return _compacted(directory, data, fresh, began)


def _compacted(
    directory: pathlib.Path, data: pathlib.Path, fresh: pathlib.Path, began: float
) -> CompactReport:
    with _alone(directory):
        before = data.stat().st_size
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            _copy(directory, fresh)
            with (fresh / "data.mdb").open("rb") as file:
                os.fsync(file.fileno())
            verified(fresh)
            after = (fresh / "data.mdb").stat().st_size
            (fresh / "data.mdb").replace(data)
            flush_directory(directory)
        except (OSError, lmdb.Error) as error:
            text = str(error)
            if any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)):
                raise StorageFull(str(directory), text) from error
            raise StorageUnavailable(str(directory), f"it stays as it was: {text}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return CompactReport(before, after, time.perf_counter() - began)


def _put_back(directory: pathlib.Path) -> None:
    """See that a commit a power cut has undone is in the file, and not only beside a meta page."""
    if fcntl is None:  # pragma: no cover - Windows
        return
    redo = Redo(str(directory / "data.mdb"), os.sysconf("SC_PAGE_SIZE"))
    try:
        noted = redo.noted()
    finally:
        redo.close()
    if noted:  # not closed in order, or by a power cut
        Environment(str(directory)).close()


def _copy(directory: pathlib.Path, fresh: pathlib.Path) -> None:
    """Copy the pages in use, and see that every database has arrived whole."""
    # Without the engine's lock file: opening and closing it would drop our own hold on it.
    source = lmdb.open(
        str(directory), readonly=True, lock=False, create=False, max_dbs=MAX_DBS, map_size=0
    )
    try:
        source.copy(str(fresh), compact=True)
        before = _entries(source)
    finally:
        source.close()
    copy = lmdb.open(str(fresh), readonly=True, lock=False, create=False, max_dbs=MAX_DBS)
    try:
        after = _entries(copy)
    finally:
        copy.close()
    if before != after:
        raise StorageUnavailable(str(directory), "the copy lacks rows; it stays as it was")


def _entries(env: Any) -> dict[bytes, int]:
    """How many rows each database holds."""
    with env.begin() as txn:
        names = [key for key, _ in txn.cursor()]
    handles = {name: env.open_db(name, create=False) for name in names}
    with env.begin() as txn:
        return {name: txn.stat(db)["entries"] for name, db in handles.items()}


@contextlib.contextmanager
def _alone(directory: pathlib.Path) -> Iterator[None]:
    """Keep writers and readers of other processes out; refuse where one is inside.

    Whoever opens the journal meanwhile as a writer is refused, as a reader waits: the engine
    takes a shared lock on the first byte of its lock file.
    """
    if fcntl is None:  # pragma: no cover - Windows
        yield
        return
    with contextlib.ExitStack() as stack:
        for name, length, who in (
            ("journal.lock", 0, "another process"),
            ("lock.mdb", 1, "a reader in another process"),
        ):
            try:
                fd = os.open(directory / name, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise StorageUnavailable(str(directory), str(error)) from error
            stack.callback(os.close, fd)
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, length)
            except OSError as error:
                raise JournalLocked(str(directory), who) from error
        yield
