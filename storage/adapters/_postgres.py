"""A store in a PostgreSQL database, for several servers that share their sessions."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any

from understudy.storage.adapters._errors import MissingDriver, StoreFailed
from understudy.storage.adapters._sql import SqlAdapter
from understudy.storage.adapters._sql_database import Database, Executor, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class PostgresAdapter(SqlAdapter):
    """Sessions, keys, events, snapshots and effects in a PostgreSQL database.

    Several processes, also on several machines, may use the same database: expected seq,
    epochs and claims hold between them.

    What is lost at a crash is what the server is set to lose: nothing with its defaults
    (`fsync = on`, `synchronous_commit = on`). When the connection breaks while a commit is
    on its way, `StoreFailed` is raised and the commit may have happened: repeat the append
    with the same event ids.
    """

    name = "postgres"

    def __init__(
        self,
        url: str,
        *,
        schema: str = "understudy",
        connect_timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name the database; `initialize()` connects.

        Args:
            url: as libpq takes it: postgresql://user@host:5432/database, or "" for what
                the PG* environment says.
            schema: the schema that holds the tables, made if it is missing.
            connect_timeout: seconds to wait for the server.
            clock: seconds since 1970; the system's if absent.
        """
        if not _SCHEMA.fullmatch(schema):
            raise ValueError(
                f"schema is {schema!r}: use up to 63 small letters, digits and underscores"
            )
        super().__init__(clock)
        self._url = url
        self.schema = schema
        self._connect_timeout = connect_timeout

    def _make_database(self) -> Database:
        return _PostgresDatabase(self._url, self.schema, self._connect_timeout)


class _PostgresDatabase(Database):
    blob = "BYTEA"
    text = 'TEXT COLLATE "C"'

    def __init__(self, url: str, schema: str, connect_timeout: float) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingDriver("postgres", "psycopg", "postgres") from error
        self._psycopg = psycopg
        self._url = url
        self._schema = schema
        self._connect_timeout = connect_timeout
        self._pool = Pool(self._connect, _shut)

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection = self._psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=max(1, round(self._connect_timeout)),
                application_name="understudy",
            )
            connection.execute(f"SET search_path TO {self._schema}".encode())
        except self._psycopg.Error as error:
            raise StoreFailed("postgres", _first_line(error)) from error
        return connection

    def open(self) -> None:
        with self.writing() as tx:
            self.lock_schema(tx)
            tx.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")

    def lock_schema(self, tx: Executor) -> None:
        # PostgreSQL's "IF NOT EXISTS" loses races: two that create at once both try, one fails.
        tx.execute("SELECT pg_advisory_xact_lock(hashtext(?))", (f"understudy.{self._schema}",))

    def close(self) -> None:
        self._pool.close()

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Executor]:
        with self._pool.connection(_usable) as connection:
            try:
                connection.execute(begin.encode())
                try:
                    yield _Executor(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    if not connection.closed:
                        connection.execute("ROLLBACK")
                    raise
            except self._psycopg.Error as error:
                raise StoreFailed("postgres", _first_line(error)) from error

    def reading(self) -> contextlib.AbstractContextManager[Executor]:
        return self._transaction("BEGIN READ ONLY")

    def writing(self) -> contextlib.AbstractContextManager[Executor]:
        return self._transaction("BEGIN")

    def size_bytes(self) -> int | None:
        with self.reading() as tx:
            row = tx.execute(
                "SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0)::bigint "
                "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname = ? AND c.relkind = 'r'",
                (self._schema,),
            ).fetchone()
        return int(row[0])

    def details(self) -> dict[str, Any]:
        with self.reading() as tx:
            version, database = tx.execute(
                "SELECT current_setting('server_version'), current_database()"
            ).fetchone()
        return {"schema": self._schema, "database": database, "postgresql": version}


def _shut(connection: psycopg.Connection[Any]) -> None:
    connection.close()


def _usable(connection: psycopg.Connection[Any]) -> bool:
    # 0 is IDLE: no transaction left open, and the connection is not broken.
    return not connection.closed and connection.info.transaction_status == 0


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _translated(sql: str) -> bytes:
    """The statement with psycopg's marks; as bytes, because it is put together here."""
    return sql.replace("?", "%s").encode()


class _Executor:
    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        return self._connection.execute(_translated(sql), parameters or None)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_translated(sql), rows)
