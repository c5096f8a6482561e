"""What the SQL adapters ask of a database: transactions, and the few words that differ."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

C = TypeVar("C")


class Cursor(Protocol):
    """The part of a DB-API cursor that is used."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Executor(Protocol):
    """Runs statements inside a transaction; `?` marks a parameter."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor: ...
    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...


class Database(ABC):
    """A database with transactions; every method may be called from any thread."""

    blob: str  # the column type for bytes
    text: str  # the column type for text that sorts by code point
    integer = "BIGINT"

    @abstractmethod
    def open(self) -> None:
        """Connect, so that a wrong address fails here and not at the first use."""

    @abstractmethod
    def close(self) -> None:
        """Let go of all connections."""

    @abstractmethod
    def reading(self) -> contextlib.AbstractContextManager[Executor]:
        """A short transaction that reads one state of the database."""

    @abstractmethod
    def writing(self) -> contextlib.AbstractContextManager[Executor]:
        """A transaction: kept as a whole on leaving, undone as a whole on an exception."""

    @abstractmethod
    def lock_schema(self, tx: Executor) -> None:
        """Keep others from making the tables at the same time, until `tx` ends."""

    @abstractmethod
    def size_bytes(self) -> int | None:
        """Bytes on disk."""

    def details(self) -> dict[str, Any]:
        """What only this database knows."""
        return {}


class Pool(Generic[C]):
    """Connections that are made when wanted and used by one thread at a time.

    As many as there are threads at once in the store. One that a transaction left broken
    is closed and not used again.
    """

    def __init__(self, connect: Callable[[], C], shut: Callable[[C], None]) -> None:
        self._connect = connect
        self._shut = shut
        self._idle: list[C] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def connection(self, usable: Callable[[C], bool]) -> Iterator[C]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        finally:
            with self._lock:
                keep = not self._closed and usable(connection)
                if keep:
                    self._idle.append(connection)
            if not keep:
                self._shut(connection)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            self._shut(connection)
