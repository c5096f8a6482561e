"""The tables of the SQL adapters, and the version they are at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.storage._errors import StorageError

if TYPE_CHECKING:
    from understudy.storage.adapters._sql_database import Database

VERSION = 1

TABLES = ("us_sessions", "us_keys", "us_streams", "us_events", "us_snapshots", "us_effects")

_STATEMENTS = (
    """CREATE TABLE IF NOT EXISTS us_meta (
        name {text} PRIMARY KEY, value {integer} NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS us_sessions (
        id {text} PRIMARY KEY, data {blob} NOT NULL, active_agent {text},
        created_at {integer} NOT NULL, updated_at {integer} NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS us_sessions_updated ON us_sessions (updated_at, id)",
    """CREATE INDEX IF NOT EXISTS us_sessions_agent
        ON us_sessions (active_agent, updated_at, id)""",
    """CREATE TABLE IF NOT EXISTS us_keys (
        key {text} PRIMARY KEY, value {blob} NOT NULL, expires_at {integer})""",
    "CREATE INDEX IF NOT EXISTS us_keys_expiry ON us_keys (expires_at)",
    """CREATE TABLE IF NOT EXISTS us_streams (
        name {text} PRIMARY KEY, last_seq {integer} NOT NULL, low_seq {integer} NOT NULL,
        epoch {integer} NOT NULL, tombstone {integer} NOT NULL,
        deleted_at {integer} NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS us_events (
        position {integer} PRIMARY KEY, stream {text} NOT NULL, seq {integer} NOT NULL,
        type {text} NOT NULL, version {integer} NOT NULL, id {text} NOT NULL,
        time {integer} NOT NULL, priority {text} NOT NULL, body {blob} NOT NULL)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS us_events_seq ON us_events (stream, seq)",
    "CREATE UNIQUE INDEX IF NOT EXISTS us_events_id ON us_events (stream, id)",
    "CREATE INDEX IF NOT EXISTS us_events_type ON us_events (type, position)",
    "CREATE INDEX IF NOT EXISTS us_events_time ON us_events (time, position)",
    """CREATE TABLE IF NOT EXISTS us_snapshots (
        stream {text} NOT NULL, seq {integer} NOT NULL, time {integer} NOT NULL,
        state {blob} NOT NULL, PRIMARY KEY (stream, seq))""",
    """CREATE TABLE IF NOT EXISTS us_effects (
        number {integer} PRIMARY KEY, channel {text} NOT NULL,
        dedupe_key {text} NOT NULL, stream {text}, status {text} NOT NULL,
        due_at {integer} NOT NULL, body {blob} NOT NULL)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS us_effects_dedupe ON us_effects (channel, dedupe_key)",
    "CREATE INDEX IF NOT EXISTS us_effects_due ON us_effects (channel, due_at, number)",
    "CREATE INDEX IF NOT EXISTS us_effects_stream ON us_effects (stream, number)",
)


def create(database: Database) -> None:
    """Make the tables that are missing; refuse those of a later version."""
    with database.writing() as tx:
        database.lock_schema(tx)
        for statement in _STATEMENTS:
            tx.execute(
                statement.format(text=database.text, blob=database.blob, integer=database.integer)
            )
        for name, value in (("schema", VERSION), ("position", 0), ("effects", 0)):
            tx.execute(
                "INSERT INTO us_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                (name, value),
            )
        found = tx.execute("SELECT value FROM us_meta WHERE name = 'schema'").fetchone()[0]
    if found > VERSION:
        raise StorageError(
            f"the tables have schema {found}, this release knows up to {VERSION}: "
            "use the release that wrote them, or a later one"
        )
