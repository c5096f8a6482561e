"""Places to append events to, durably: ours, the raw file, and what others use."""

from __future__ import annotations

import abc
import functools
import importlib
import json
import os
import sqlite3
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgpack  # type: ignore[import-untyped]  # it ships no types

from understudy.benchmarks._libraries import (
    DEFAULT_POSTGRES,
    DEFAULT_REDIS,
    POSTGRES_URL,
    REDIS_URL,
    service_url,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Event = dict[str, Any]
STREAM = "account:ada"
LIMIT = 60.0
#: Events of a batch that a journal makes safe with one flush, whatever follows.
LONE = 10


def events(count: int, start: int = 0) -> list[Event]:
    """Events as applications write them: about 120 bytes of msgpack each."""
    return [
        {
            "amount": i,
            "currency": "EUR",
            "account": f"account:{i % 1000:04}",
            "note": "a transfer between two accounts, with a line of text",
            "tags": ["transfer", "internal"],
        }
        for i in range(start, start + count)
    ]


class Store(abc.ABC):
    """A place for events. `append` returns once they survive a power cut, if the store can."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)

    @abc.abstractmethod
    def append(self, batch: Sequence[Event]) -> None:
        """Append a batch, all or nothing where the store has that."""

    def flush(self) -> None:
        """Wait until all that was appended is safe; nothing to do where append has waited."""
        return

    @abc.abstractmethod
    def replay(self, *, decode: bool) -> int:
        """Read everything back; how many there were. Payloads are looked at if `decode`."""

    def disk(self) -> int:
        """Bytes on disk."""
        return sum(
            path.stat().st_blocks * 512 for path in self.directory.rglob("*") if path.is_file()
        )

    @abc.abstractmethod
    def close(self) -> None:
        """Let go."""


class Raw(Store):
    """The physical limit: the same bytes at the end of a file, one fdatasync a batch."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.path = self.directory / "raw.msgpack"
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, batch: Sequence[Event]) -> None:
        """One write, one flush."""
        os.write(self.file, b"".join(map(msgpack.packb, batch)))  # pyright: ignore[reportArgumentType]  # bytes, without an autoreset
        os.fdatasync(self.file)

    def replay(self, *, decode: bool) -> int:
        """Unpack them all: without an index there is no other way."""
        del decode
        with self.path.open("rb") as file:
            return sum(1 for _ in msgpack.Unpacker(file))

    def disk(self) -> int:
        """The length of the file."""
        return self.path.stat().st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self.file)


class Lines(Store):
    """JSON Lines, one fsync a batch."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.path = self.directory / "events.jsonl"
        self.file = self.path.open("a", encoding="utf-8")

    def append(self, batch: Sequence[Event]) -> None:
        """One line each."""
        self.file.write("".join(json.dumps(event) + "\n" for event in batch))
        self.file.flush()
        os.fsync(self.file.fileno())

    def replay(self, *, decode: bool) -> int:
        """Parse them all."""
        del decode
        with self.path.open(encoding="utf-8") as file:
            return sum(1 for line in file if json.loads(line))

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Sqlite(Store):
    """One table with a unique index by stream and seq; WAL, synchronous=FULL."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.db = sqlite3.connect(self.directory / "events.sqlite", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute(
            "CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, "
            "seq INTEGER NOT NULL, type TEXT NOT NULL, payload BLOB NOT NULL, "
            "UNIQUE (stream, seq))"
        )
        self.seq = 0

    def append(self, batch: Sequence[Event]) -> None:
        """One transaction."""
        first = self.seq + 1
        self.seq += len(batch)
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(
            "INSERT INTO events (stream, seq, type, payload) VALUES (?, ?, ?, ?)",
            [(STREAM, first + i, "moved", msgpack.packb(e)) for i, e in enumerate(batch)],
        )
        self.db.execute("COMMIT")

    def replay(self, *, decode: bool) -> int:
        """In order of position."""
        rows = self.db.execute("SELECT payload FROM events ORDER BY position")
        return sum(1 for (payload,) in rows if not decode or msgpack.unpackb(payload))

    def disk(self) -> int:
        """After a checkpoint."""
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return super().disk()

    def close(self) -> None:
        """Close it."""
        self.db.close()


class EventSourcingRecorder(Store):
    """The `eventsourcing` library's SQLite recorder, below its applications."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        library: Any = importlib.import_module("eventsourcing.sqlite")
        self.stored: Any = importlib.import_module("eventsourcing.persistence").StoredEvent
        datastore = library.SQLiteDatastore(str(self.directory / "recorder.sqlite"))
        self.recorder = library.SQLiteApplicationRecorder(datastore)
        self.recorder.create_table()
        self.id = uuid.uuid4()
        self.seq = 0

    def append(self, batch: Sequence[Event]) -> None:
        """One insert."""
        first = self.seq + 1
        self.seq += len(batch)
        self.recorder.insert_events(
            [self.stored(self.id, first + i, "moved", msgpack.packb(e))
             for i, e in enumerate(batch)]
        )  # fmt: skip

    def replay(self, *, decode: bool) -> int:
        """`select_events`."""
        found = self.recorder.select_events(self.id)
        return sum(1 for stored in found if not decode or msgpack.unpackb(stored.state))

    def close(self) -> None:
        """Close its connections."""
        self.recorder.datastore.close()


@functools.cache
def _aggregate() -> Any:
    """An aggregate class; the library wants one of its name in a process."""
    domain: Any = importlib.import_module("eventsourcing.domain")

    class Account(domain.Aggregate):  # type: ignore[misc]  # imported at run time
        @domain.event("Opened")  # type: ignore[untyped-decorator]  # as is its decorator
        def __init__(self) -> None:
            self.count = 0

        @domain.event("Moved")  # type: ignore[untyped-decorator]
        def move(self, data: Event) -> None:
            del data
            self.count += 1

    return Account


class EventSourcingApplication(Store):
    """The `eventsourcing` library as its users use it: an aggregate, saved by an application."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        application: Any = importlib.import_module("eventsourcing.application")
        self.app = application.Application(
            env={
                "PERSISTENCE_MODULE": "eventsourcing.sqlite",
                "SQLITE_DBNAME": str(self.directory / "application.sqlite"),
            }
        )

        self.account = _aggregate()()
        self.app.save(self.account)

    def append(self, batch: Sequence[Event]) -> None:
        """Trigger the events, and save the aggregate."""
        for event in batch:
            self.account.move(event)
        self.app.save(self.account)

    def replay(self, *, decode: bool) -> int:
        """`repository.get`: the aggregate from its events, which decodes them."""
        del decode
        count: int = self.app.repository.get(self.account.id).count
        return count

    def close(self) -> None:
        """Close its connections."""
        self.app.close()


class Rocks(Store):
    """RocksDB with synchronous writes; key = position, big-endian."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.library: Any = importlib.import_module("rocksdict")
        options = self.library.Options(raw_mode=True)
        options.create_if_missing(True)
        self.db = self.library.Rdict(str(self.directory / "rocks"), options)
        self.write = self.library.WriteOptions()
        self.write.sync = True
        self.position = 0

    def append(self, batch: Sequence[Event]) -> None:
        """One write batch."""
        writes = self.library.WriteBatch(raw_mode=True)
        for event in batch:
            self.position += 1
            writes.put(self.position.to_bytes(8, "big"), msgpack.packb(event))
        self.db.write(writes, self.write)

    def replay(self, *, decode: bool) -> int:
        """In order of position."""
        return sum(1 for payload in self.db.values() if not decode or msgpack.unpackb(payload))

    def disk(self) -> int:
        """After a flush of the memory table."""
        self.db.flush()
        return super().disk()

    def close(self) -> None:
        """Close it."""
        self.db.close()


class Postgres(Store):
    """One table in PostgreSQL, its defaults, which are durable; dropped at the end."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        psycopg: Any = importlib.import_module("psycopg")
        self.db = psycopg.connect(service_url(POSTGRES_URL, DEFAULT_POSTGRES), autocommit=False)
        self.table = f"understudy_bench_{os.getpid()}"
        self.db.execute(
            f"CREATE TABLE {self.table} (position BIGSERIAL PRIMARY KEY, stream TEXT NOT NULL, "
            "seq BIGINT NOT NULL, type TEXT NOT NULL, payload BYTEA NOT NULL, "
            "UNIQUE (stream, seq))"
        )
        self.db.commit()
        self.seq = 0

    def append(self, batch: Sequence[Event]) -> None:
        """One transaction of pipelined inserts."""
        first = self.seq + 1
        self.seq += len(batch)
        with self.db.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self.table} (stream, seq, type, payload) VALUES (%s, %s, %s, %s)",
                [(STREAM, first + i, "moved", msgpack.packb(e)) for i, e in enumerate(batch)],
            )
        self.db.commit()

    def replay(self, *, decode: bool) -> int:
        """In order of position."""
        rows = self.db.execute(f"SELECT payload FROM {self.table} ORDER BY position")
        return sum(1 for (payload,) in rows if not decode or msgpack.unpackb(payload))

    def disk(self) -> int:
        """Table and indexes."""
        row = self.db.execute(f"SELECT pg_total_relation_size('{self.table}')").fetchone()
        return int(row[0])

    def close(self) -> None:
        """Drop the table."""
        self.db.rollback()
        self.db.execute(f"DROP TABLE {self.table}")
        self.db.commit()
        self.db.close()


class Redis(Store):
    """A stream in Redis with appendfsync always, set for the time of the measurement."""

    SETTINGS: ClassVar = {"appendonly": "yes", "appendfsync": "always"}

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        redis: Any = importlib.import_module("redis")
        self.db = redis.Redis.from_url(service_url(REDIS_URL, DEFAULT_REDIS))
        self.before = {name: self.db.config_get(name)[name] for name in self.SETTINGS}
        for name, value in self.SETTINGS.items():
            self.db.config_set(name, value)
        self.key = f"understudy-bench-{os.getpid()}"

    def append(self, batch: Sequence[Event]) -> None:
        """One MULTI of XADDs."""
        with self.db.pipeline(transaction=True) as pipe:
            for event in batch:
                pipe.xadd(self.key, {"payload": msgpack.packb(event)})
            pipe.execute()

    def replay(self, *, decode: bool) -> int:
        """A thousand at a time."""
        count, after = 0, "-"
        while found := self.db.xrange(self.key, min=after, count=1_000):
            count += sum(
                1 for _, fields in found if not decode or msgpack.unpackb(fields[b"payload"])
            )
            after = "(" + found[-1][0].decode()
        return count

    def close(self) -> None:
        """Delete the stream and put the settings back."""
        self.db.delete(self.key)
        for name, value in self.before.items():
            self.db.config_set(name, value)
        self.db.close()


class Understudy(Store):
    """Our journal, used alone; the durability by the peer's name."""

    DURABILITY: ClassVar[dict[str, Any]] = {
        "understudy": "sync",
        "pipelined": "pipelined",
        "relaxed": "relaxed",
        "metrics": "sync",
    }

    def __init__(self, directory: str, peer: str = "understudy") -> None:
        super().__init__(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        from understudy.storage import Journal, NewEvent

        self.event = NewEvent
        self.durability = self.DURABILITY[peer]
        self.journal: Any = Journal.open(self.directory / "journal", durability=self.durability)
        self.seq = 0
        self.last: Any = None

    def append(self, batch: Sequence[Event]) -> None:
        """With the expected seq, so that all checks and indexes are in."""
        event = self.event
        news = [event("moved", data) for data in batch]
        if self.durability == "pipelined":
            # A small commit is safe by itself: it is waited for before the next is submitted, or
            # two would share a flush, where the raw file has one for each. A larger one's meta
            # page goes with the next commit, so that one is under way while the next is made.
            before = self.last
            if before is not None and len(news) <= LONE:
                before.result(LIMIT)
            self.last = self.journal.submit(STREAM, news, expected_seq=self.seq)
            if before is not None:
                before.result(LIMIT)
        else:
            self.journal.append(STREAM, news, expected_seq=self.seq)
        self.seq += len(batch)

    def flush(self) -> None:
        """Wait for the last one submitted."""
        if self.last is not None:
            self.last.result(LIMIT)

    def replay(self, *, decode: bool) -> int:
        """The whole log; a payload is decoded when it is asked for."""
        return sum(1 for record in self.journal.read_all() if not decode or record.payload)

    def close(self) -> None:
        """Close it."""
        self.journal.close()


STORES: dict[str, type[Store]] = {
    "understudy": Understudy,
    "pipelined": Understudy,
    "relaxed": Understudy,
    "raw": Raw,
    "file": Lines,
    "sqlite": Sqlite,
    "eventsourcing": EventSourcingRecorder,
    "eventsourcing-app": EventSourcingApplication,
    "rocksdict": Rocks,
    "postgres": Postgres,
    "redis": Redis,
}


def store(peer: str, directory: str) -> Store:
    """Open a store in an empty directory."""
    if STORES[peer] is Understudy:
        return Understudy(directory, peer)
    return STORES[peer](directory)
