"""A store in memory: for tests, demos, and where nothing has to last."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from understudy.storage._protocols import ListOptions, SessionRecord, StorageStats, StoredValue
from understudy.storage.adapters._errors import StoreClosed
from understudy.storage.adapters._memory_journal import MemoryJournal
from understudy.storage.adapters._memory_outbox import MemoryOutbox
from understudy.storage.adapters._memory_snapshots import MemorySnapshots
from understudy.storage.adapters._sessions import SessionRow, select_sessions
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


class MemoryAdapter:
    """Sessions, keys, events, snapshots and effects in the memory of this process.

    Nothing outlives the process. `close()` keeps the data and `initialize()` opens it
    again, so that what is tested with this store behaves as it would with another.

    Attributes:
        journal: the streams of events.
        snapshots: the saved states.
        outbox: the effects to be carried out.
    """

    name = "memory"
    persistent = False

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Make an empty store.

        Args:
            clock: seconds since 1970; the system's if absent.
        """
        self._clock = clock
        self._lock = threading.RLock()
        self._open = False
        self._sessions: dict[str, SessionRow] = {}
        self._keys: dict[str, tuple[bytes, int | None]] = {}
        self.snapshots = MemorySnapshots(self._entered, clock)
        self.journal = MemoryJournal(self._entered, clock, self.snapshots.delete_snapshots)
        self.outbox = MemoryOutbox(self._entered, clock)

    def _entered(self) -> threading.RLock:
        """The lock of the store, to be taken by whoever touches its data."""
        if not self._open:
            raise StoreClosed(self.name)
        return self._lock

    def _now(self) -> int:
        return seconds_to_micros(self._clock())

    def initialize(self) -> None:
        """Open the store. Again: nothing happens."""
        self._open = True

    def close(self) -> None:
        """Close the store; its data stays with the object. Again: nothing happens."""
        self._open = False

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
        with self._entered():
            before = self._sessions.get(session_id)
            if before is not None and created_at is None:
                created = before.created_at
            self._sessions[session_id] = SessionRow(
                session_id, packed, active_agent, created, updated
            )

    def get_session(self, session_id: str) -> SessionRecord | None:
        """The session as last saved, or None."""
        with self._entered():
            row = self._sessions.get(session_id)
        return None if row is None else row.record()

    def delete_session(self, session_id: str) -> bool:
        """Forget a session. True if there was one."""
        with self._entered():
            return self._sessions.pop(session_id, None) is not None

    def list_sessions(self, options: ListOptions | None = None) -> list[str]:
        """The ids that `options` asks for; all, oldest save first, if absent."""
        with self._entered():
            rows = list(self._sessions.values())
        return select_sessions(rows, options or ListOptions())

    def set(self, key: str, value: Any, ttl: float | timedelta | None = None) -> None:
        """Store a value under a key, for `ttl` seconds. See `StorageAdapter.set`."""
        check_name(key, "key")
        packed = pack(value)
        expires = None if ttl is None else self._now() + ttl_to_micros(ttl)
        with self._entered():
            self._keys[key] = (packed, expires)

    def _living(self, key: str) -> tuple[bytes, int | None] | None:
        with self._entered():
            found = self._keys.get(key)
            if found is not None and found[1] is not None and found[1] <= self._now():
                del self._keys[key]
                return None
            return found

    def get(self, key: str) -> Any:
        """The value, or None if there is no such key or its time has run out."""
        found = self._living(key)
        return None if found is None else unpack(found[0])

    def has(self, key: str) -> bool:
        """Whether the key is there and its time has not run out."""
        return self._living(key) is not None

    def delete(self, key: str) -> bool:
        """Forget a key. True if it was there and its time had not run out."""
        with self._entered():
            found = self._living(key)
            self._keys.pop(key, None)
        return found is not None

    def scan(self, prefix: str = "") -> Iterator[StoredValue]:
        """Every living key that begins with `prefix`, sorted by key."""
        with self._entered():
            keys = sorted(key for key in self._keys if key.startswith(prefix))
        for key in keys:
            found = self._living(key)
            if found is not None:
                packed, expires = found
                when = None if expires is None else from_micros(expires)
                yield StoredValue(key, unpack(packed), when)

    def clear(self) -> None:
        """Forget everything in this store."""
        with self._entered():
            self._sessions.clear()
            self._keys.clear()
            self.journal.clear()
            self.snapshots.clear()
            self.outbox.clear()

    def get_stats(self) -> StorageStats:
        """How much is stored now."""
        with self._entered():
            now = self._now()
            living = [p for p, expires in self._keys.values() if expires is None or expires > now]
            return StorageStats(
                name=self.name,
                persistent=self.persistent,
                sessions=len(self._sessions),
                keys=len(living),
                events=self.journal.count(),
                streams=len(self.journal.streams()),
                snapshots=self.snapshots.count(),
                effects=self.outbox.count(),
                size_bytes=None,
            )
