"""Sessions and keys in SQL tables, the same for SQLite and PostgreSQL."""

# ruff: noqa: S608 - statements are put together from constants; values are parameters

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from understudy.storage._protocols import ListOptions, SessionRecord, StorageStats, StoredValue
from understudy.storage.adapters import _sql_schema
from understudy.storage.adapters._errors import StoreClosed
from understudy.storage.adapters._rules import PAGE
from understudy.storage.adapters._sql_journal import SqlJournal
from understudy.storage.adapters._sql_outbox import SqlOutbox
from understudy.storage.adapters._sql_snapshots import SqlSnapshots
from understudy.storage.adapters._values import (
    check_name,
    from_micros,
    micros,
    pack,
    seconds_to_micros,
    ttl_to_micros,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from understudy.storage.adapters._sql_database import Database


class SqlAdapter:
    """A store in SQL tables: what SQLite and PostgreSQL have in common.

    Attributes:
        journal: the streams of events.
        snapshots: the saved states.
        outbox: the effects to be carried out.
    """

    name = "sql"
    persistent = True

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._database: Database | None = None
        self.journal = SqlJournal(self._db, clock)
        self.snapshots = SqlSnapshots(self._db, clock)
        self.outbox = SqlOutbox(self._db, clock)

    def _make_database(self) -> Database:
        raise NotImplementedError("a subclass says which database it talks to")

    def _db(self) -> Database:
        database = self._database
        if database is None:
            raise StoreClosed(self.name)
        return database

    def _now(self) -> int:
        return seconds_to_micros(self._clock())

    def initialize(self) -> None:
        """Connect and make the tables if they are missing. Again: nothing happens."""
        if self._database is not None:
            return
        database = self._make_database()
        database.open()
        try:
            _sql_schema.create(database)
        except BaseException:
            database.close()
            raise
        self._database = database

    def close(self) -> None:
        """Let go of the connections. Again: nothing happens. Nothing saved is lost."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save_session(
        self,
        session_id: str,
        data: Any,
        *,
        active_agent: str | None = None,
        created_at: datetime | None = None,
        updated_at: datetime | None = None,
    ) -> None:
        """Save the whole session; the last save wins. See `StorageAdapter.save_session`."""
        check_name(session_id, "session_id")
        packed = pack(data)
        now = self._now()
        created = now if created_at is None else micros(created_at, "created_at")
        updated = now if updated_at is None else micros(updated_at, "updated_at")
        keep = "" if created_at is None else "created_at = excluded.created_at, "
        with self._db().writing() as tx:
            tx.execute(
                "INSERT INTO us_sessions (id, data, active_agent, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                f"{keep}data = excluded.data, active_agent = excluded.active_agent, "
                "updated_at = excluded.updated_at",
                (session_id, packed, active_agent, created, updated),
            )

    def get_session(self, session_id: str) -> SessionRecord | None:
        """The session as last saved, or None."""
        with self._db().reading() as tx:
            row = tx.execute(
                "SELECT data, active_agent, created_at, updated_at FROM us_sessions WHERE id = ?",
                (session_id,),
            ).fetchone()
        if row is None:
            return None
        data, agent, created, updated = row
        return SessionRecord(
            session_id, unpack(data), agent, from_micros(created), from_micros(updated)
        )

    def delete_session(self, session_id: str) -> bool:
        """Forget a session. True if there was one."""
        with self._db().writing() as tx:
            done = tx.execute("DELETE FROM us_sessions WHERE id = ?", (session_id,))
            return done.rowcount > 0

    def list_sessions(self, options: ListOptions | None = None) -> list[str]:
        """The ids that `options` asks for; all, oldest save first, if absent."""
        options = options or ListOptions()
        where: list[str] = []
        values: list[Any] = []
        if options.active_agent is not None:
            where.append("active_agent = ?")
            values.append(options.active_agent)
        if options.updated_since is not None:
            where.append("updated_at >= ?")
            values.append(micros(options.updated_since, "updated_since"))
        if options.updated_until is not None:
            where.append("updated_at < ?")
            values.append(micros(options.updated_until, "updated_until"))
        condition = f"WHERE {' AND '.join(where)} " if where else ""
        way = "DESC" if options.reverse else "ASC"
        # The largest number both databases take: SQLite knows no OFFSET without a LIMIT.
        limit = 2**62 if options.limit is None else options.limit
        with self._db().reading() as tx:
            rows = tx.execute(
                f"SELECT id FROM us_sessions {condition}"
                f"ORDER BY {options.sort} {way}, id {way} LIMIT ? OFFSET ?",
                (*values, limit, options.offset),
            ).fetchall()
        return [row[0] for row in rows]

    def set(self, key: str, value: Any, ttl: float | timedelta | None = None) -> None:
        """Store a value under a key, for `ttl` seconds. See `StorageAdapter.set`."""
        check_name(key, "key")
        packed = pack(value)
        now = self._now()
        expires = None if ttl is None else now + ttl_to_micros(ttl)
        with self._db().writing() as tx:
            # Every write clears what has run out, so that no sweeper is needed.
            tx.execute("DELETE FROM us_keys WHERE expires_at <= ?", (now,))
            tx.execute(
                "INSERT INTO us_keys (key, value, expires_at) VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET "
                "value = excluded.value, expires_at = excluded.expires_at",
                (key, packed, expires),
            )

    def _living(self, key: str, what: str) -> Any:
        with self._db().reading() as tx:
            return tx.execute(
                f"SELECT {what} FROM us_keys "
                "WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)",
                (key, self._now()),
            ).fetchone()

    def get(self, key: str) -> Any:
        """The value, or None if there is no such key or its time has run out."""
        row = self._living(key, "value")
        return None if row is None else unpack(row[0])

    def has(self, key: str) -> bool:
        """Whether the key is there and its time has not run out."""
        return self._living(key, "1") is not None

    def delete(self, key: str) -> bool:
        """Forget a key. True if it was there and its time had not run out."""
        now = self._now()
        with self._db().writing() as tx:
            done = tx.execute(
                "DELETE FROM us_keys WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)",
                (key, now),
            )
            return done.rowcount > 0

    def scan(self, prefix: str = "") -> Iterator[StoredValue]:
        """Every living key that begins with `prefix`, sorted by key."""
        last, first_page = prefix, True
        while True:
            with self._db().reading() as tx:
                rows = tx.execute(
                    "SELECT key, value, expires_at FROM us_keys "
                    f"WHERE key {'>=' if first_page else '>'} ? "
                    "AND (expires_at IS NULL OR expires_at > ?) ORDER BY key LIMIT ?",
                    (last, self._now(), PAGE),
                ).fetchall()
            for key, value, expires in rows:
                if not key.startswith(prefix):
                    return
                when = None if expires is None else from_micros(expires)
                yield StoredValue(key, unpack(value), when)
            if len(rows) < PAGE:
                return
            last, first_page = rows[-1][0], False

    def clear(self) -> None:
        """Forget everything in this store."""
        with self._db().writing() as tx:
            for table in _sql_schema.TABLES:
                tx.execute(f"DELETE FROM {table}")
            tx.execute("UPDATE us_meta SET value = 0 WHERE name <> 'schema'")

    def get_stats(self) -> StorageStats:
        """How much is stored now."""
        database = self._db()
        with database.reading() as tx:
            sessions, keys, events, streams, snapshots, effects = tx.execute(
                "SELECT (SELECT COUNT(*) FROM us_sessions), (SELECT COUNT(*) FROM us_keys "
                "WHERE expires_at IS NULL OR expires_at > ?), (SELECT COUNT(*) FROM us_events), "
                "(SELECT COUNT(*) FROM us_streams WHERE low_seq <= last_seq), "
                "(SELECT COUNT(*) FROM us_snapshots), (SELECT COUNT(*) FROM us_effects)",
                (self._now(),),
            ).fetchone()
        return StorageStats(
            name=self.name,
            persistent=self.persistent,
            sessions=sessions,
            keys=keys,
            events=events,
            streams=streams,
            snapshots=snapshots,
            effects=effects,
            size_bytes=database.size_bytes(),
            details=database.details(),
        )
