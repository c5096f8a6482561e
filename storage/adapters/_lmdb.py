"""The default store: sessions and keys beside the events in one LMDB journal."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from understudy.storage._journal import Journal
from understudy.storage._protocols import ListOptions, SessionRecord, StorageStats, StoredValue
from understudy.storage.adapters._errors import StoreClosed, StoreFailed
from understudy.storage.adapters._lmdb_sessions import SessionTable
from understudy.storage.adapters._lmdb_tables import KEYS
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
        self._lock = threading.RLock()
        self._journal: Journal | None = None
        self._sessions: SessionTable | None = None

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
                journal = Journal.open(
                    self.path, self.durability, readonly=self.readonly, clock=self._clock
                )
                sessions = SessionTable(journal._core)
                try:
                    if not self.readonly:
                        sessions.prepare()
                except BaseException:
                    journal.close()
                    raise
                self._journal, self._sessions = journal, sessions

    def close(self) -> None:
        """Close the journal. Again: nothing happens. Nothing saved is lost."""
        with self._lock:
            journal, self._journal, self._sessions = self._journal, None, None
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
        created = None if created_at is None else micros(created_at, "created_at")
        now = self._now()
        updated = now if updated_at is None else micros(updated_at, "updated_at")
        self._table().save(session_id, data, active_agent, created, updated, now)

    def _table(self) -> SessionTable:
        sessions = self._sessions
        if sessions is None:
            raise StoreClosed(self.name)
        return sessions

    def get_session(self, session_id: str) -> SessionRecord | None:
        """The session as last saved, or None."""
        return self._table().get(session_id)

    def delete_session(self, session_id: str) -> bool:
        """Forget a session. True if there was one."""
        return self._table().delete(session_id)

    def list_sessions(self, options: ListOptions | None = None) -> list[str]:
        """The ids that `options` asks for; all, oldest save first, if absent."""
        return self._table().list(options or ListOptions())

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
            sessions=self._table().count(),
            keys=sum(1 for _ in journal.state.scan(KEYS)),
            events=stats.total_events,
            streams=stats.total_streams,
            snapshots=stats.snapshots,
            effects=stats.effects,
            size_bytes=stats.size_bytes,
            details={"path": str(self.path), "durability": stats.durability},
        )
