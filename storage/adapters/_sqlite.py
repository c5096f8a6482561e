"""A store in one SQLite file, with nothing to install."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from understudy.storage.adapters._errors import StoreFailed
from understudy.storage.adapters._sql import SqlAdapter
from understudy.storage.adapters._sql_database import Database, Executor, Pool

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

Synchronous = Literal["normal", "full"]

#: Seconds a writer waits for another process that writes; chosen by feel.
BUSY_TIMEOUT = 30.0


class SQLiteAdapter(SqlAdapter):
    """Sessions, keys, events, snapshots and effects in one SQLite file.

    Readers go on beside a writer, also in other processes; writers wait for each other.

    After a process crash nothing acknowledged is lost. After a power cut: nothing with
    `synchronous="full"`; the last commits, never more, with "normal" (the default), and
    the file opens in any case.
    """

    name = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "normal",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name the file; `initialize()` opens it.

        Args:
            path: the file, made with its folders if missing.
            synchronous: what a power cut may cost, see above.
            clock: seconds since 1970; the system's if absent.
        """
        if synchronous not in ("normal", "full"):
            raise ValueError(f"synchronous is {synchronous!r}: use 'normal' or 'full'")
        super().__init__(clock)
        self.path = Path(path)
        self.synchronous: Synchronous = synchronous

    def _make_database(self) -> Database:
        return _SQLiteDatabase(self.path, self.synchronous)


class _SQLiteDatabase(Database):
    blob = "BLOB"
    text = "TEXT"  # compares bytes of UTF-8, which is the order of code points
    integer = "INTEGER"

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._path = path
        self._synchronous = synchronous
        # Of the threads of this process one writes at a time: cheaper than SQLite's own
        # way of waiting, which sleeps and tries again.
        self._writing = threading.Lock()
        self._pool = Pool(self._connect, sqlite3.Connection.close)

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path,
                timeout=BUSY_TIMEOUT,
                isolation_level=None,
                check_same_thread=False,  # the pool gives it to one thread at a time
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous.upper()}")
            connection.execute("PRAGMA cache_size = 10000")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA mmap_size = 30000000000")
        except sqlite3.Error as error:
            raise StoreFailed("sqlite", f"{self._path}: {error}") from error
        return connection

    def open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFailed("sqlite", str(error)) from error
        with self._pool.connection(_usable):
            pass

    def close(self) -> None:
        self._pool.close()

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Executor]:
        with self._pool.connection(_usable) as connection:
            try:
                connection.execute(begin)
                try:
                    yield _Executor(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    # A full disk makes SQLite roll back by itself.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreFailed("sqlite", f"{self._path}: {error}") from error

    def reading(self) -> contextlib.AbstractContextManager[Executor]:
        return self._transaction("BEGIN DEFERRED")

    @contextlib.contextmanager
    def writing(self) -> Iterator[Executor]:
        with self._writing, self._transaction("BEGIN IMMEDIATE") as tx:
            yield tx

    def lock_schema(self, tx: Executor) -> None:
        """Nothing to do: a writing transaction keeps all other writers out."""

    def size_bytes(self) -> int | None:
        total = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                total += Path(f"{self._path}{suffix}").stat().st_size
        return total

    def details(self) -> dict[str, Any]:
        return {
            "path": str(self._path),
            "synchronous": self._synchronous,
            "sqlite": sqlite3.sqlite_version,
        }


def _usable(connection: sqlite3.Connection) -> bool:
    return not connection.in_transaction


class _Executor:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.executemany(sql, rows)
