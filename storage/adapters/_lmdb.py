"""The default store: sessions and keys beside the events in one LMDB journal."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from understudy.storage._journal import Journal
from understudy.storage._protocols import ListOptions, SessionRecord, StorageStats, StoredValue
from understudy.storage._write import Delete, Put, Write
from understudy.storage.adapters._errors import StoreClosed, StoreFailed
from understudy.storage.adapters._sessions import SessionRow, select_sessions
from understudy.storage.adapters._values import (
    check_name,
    from_micros,
    micros,
    pack,
    seconds_to_micros,
    ttl_to_micros,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from understudy.storage._outbox import Outbox
    from understudy.storage._writer import Durability

#: Buckets of the journal's state. What is listed and sorted is kept apart from the data, which
#: may be large.
SESSIONS, SESSION_DATA, KEYS = "session", "session-data", "key"


class LmdbAdapter:
    """Sessions and keys in an LMDB journal, which is also the store's `journal`.

    The fastest of the stores, and the one that actors use. One process writes; others read
    beside it with `readonly=True`. What a crash costs is `Journal.open`'s `durability`.

    Names of sessions and keys have at most 400 bytes of UTF-8.
    """

    name = "lmdb"
    persistent = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "sync",
        readonly: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name the directory; `initialize()` opens it.

        Args:
            path: the journal's directory, made if missing.
            durability: "sync" (if absent), "pipelined" or "relaxed".
            readonly: read beside a writer; writes raise `JournalReadOnly`.
            clock: seconds since 1970; the system's if absent.
        """
        if durability not in ("sync", "pipelined", "relaxed"):
            raise ValueError(f"durability is {durability!r}: use 'sync', 'pipelined' or 'relaxed'")
        self.path = Path(path)
        self.durability: Durability = durability
        self.readonly = readonly
        self._clock = clock
        self._lock = threading.RLock()  # saving a session reads what was there before
        self._journal: Journal | None = None

    @property
    def journal(self) -> Journal:
        """The streams of events."""
        journal = self._journal
        if journal is None:
            raise StoreClosed(self.name)
        return journal

    @property
    def snapshots(self) -> Journal:
        """The saved states: the journal keeps them."""
        return self.journal

    @property
    def outbox(self) -> Outbox:
        """The effects to be carried out."""
        return self.journal.outbox

    def _now(self) -> int:
        return seconds_to_micros(self._clock())

    def initialize(self) -> None:
        """Open the journal. Again: nothing happens."""
        with self._lock:
            if self._journal is None:
                self._journal = Journal.open(
                    self.path, self.durability, readonly=self.readonly, clock=self._clock
                )

    def close(self) -> None:
        """Close the journal. Again: nothing happens. Nothing saved is lost."""
        with self._lock:
            journal, self._journal = self._journal, None
            if journal is not None:
                journal.close()

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- sessions -------------------------------------------------------------------------

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
        pack(data)
        now = self._now()
        created = now if created_at is None else micros(created_at, "created_at")
        updated = now if updated_at is None else micros(updated_at, "updated_at")
        with self._lock:
            journal = self.journal
            before = journal.state.get(SESSIONS, session_id)
            if before is not None and created_at is None:
                created = before[1]
            fields = [active_agent, created, updated]
            future = journal.submit_write(
                Write(
                    puts=(
                        Put(SESSIONS, session_id, fields),
                        Put(SESSION_DATA, session_id, data),
                    )
                )
            )
        # Outside the lock: saves of other threads share the commit.
        future.result()

    def get_session(self, session_id: str) -> SessionRecord | None:
        """The session as last saved, or None."""
        state = self.journal.state
        while True:
            fields = state.get(SESSIONS, session_id)
            if fields is None:
                return None
            data = state.get(SESSION_DATA, session_id)
            # Read again where a save came in between: the two rows must be of one save.
            if state.get(SESSIONS, session_id) == fields:
                agent, created, updated = fields
                return SessionRecord(
                    session_id, data, agent, from_micros(created), from_micros(updated)
                )

    def delete_session(self, session_id: str) -> bool:
        """Forget a session. True if there was one."""
        with self._lock:
            journal = self.journal
            if journal.state.get(SESSIONS, session_id) is None:
                return False
            journal.write(
                Write(deletes=(Delete(SESSIONS, session_id), Delete(SESSION_DATA, session_id)))
            )
            return True

    def list_sessions(self, options: ListOptions | None = None) -> list[str]:
        """The ids that `options` asks for; all, oldest save first, if absent."""
        rows = (
            SessionRow(session_id, b"", agent, created, updated)
            for session_id, (agent, created, updated) in self.journal.state.scan(SESSIONS)
        )
        return select_sessions(rows, options or ListOptions())

    # --- keys -----------------------------------------------------------------------------

    def set(self, key: str, value: Any, ttl: float | timedelta | None = None) -> None:
        """Store a value under a key, for `ttl` seconds. See `StorageAdapter.set`."""
        check_name(key, "key")
        pack(value)
        expires = None if ttl is None else (self._now() + ttl_to_micros(ttl)) / 1e6
        # In a list, because a value may be None.
        self.journal.state.put(KEYS, key, [value], expires)

    def get(self, key: str) -> Any:
        """The value, or None if there is no such key or its time has run out."""
        found = self.journal.state.get(KEYS, key)
        return None if found is None else found[0]

    def has(self, key: str) -> bool:
        """Whether the key is there and its time has not run out."""
        return self.journal.state.get(KEYS, key) is not None

    def delete(self, key: str) -> bool:
        """Forget a key. True if it was there and its time had not run out."""
        return self.journal.state.delete(KEYS, key)

    def scan(self, prefix: str = "") -> Iterator[StoredValue]:
        """Every living key that begins with `prefix`, sorted by key."""
        state = self.journal.state
        for key, (value,) in state.scan(KEYS, prefix):
            expires = state.expires_at(KEYS, key)
            when = None if expires is None else from_micros(seconds_to_micros(expires))
            yield StoredValue(key, value, when)

    # --- the whole ------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget everything in this store: its directory begins anew."""
        with self._lock:
            self.journal.state.get(KEYS, "")  # refuses when closed
            if self.readonly:
                raise StoreFailed(self.name, "it is open read-only")
            self.close()
            shutil.rmtree(self.path)
            self.initialize()

    def get_stats(self) -> StorageStats:
        """How much is stored now."""
        journal = self.journal
        stats = journal.stats()
        return StorageStats(
            name=self.name,
            persistent=self.persistent,
            sessions=sum(1 for _ in journal.state.scan(SESSIONS)),
            keys=sum(1 for _ in journal.state.scan(KEYS)),
            events=stats.total_events,
            streams=stats.total_streams,
            snapshots=stats.snapshots,
            effects=stats.effects,
            size_bytes=stats.size_bytes,
            details={"path": str(self.path), "durability": stats.durability},
        )
