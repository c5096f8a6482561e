"""A store of files that people can read with any editor."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from understudy.storage._protocols import ListOptions, SessionRecord, StorageStats, StoredValue
from understudy.storage.adapters import _json_values as json_values
from understudy.storage.adapters._errors import StoreClosed, StoreFailed
from understudy.storage.adapters._file_archive import CleanupResult, FileArchive
from understudy.storage.adapters._file_journal import FileJournal
from understudy.storage.adapters._file_outbox import FileOutbox
from understudy.storage.adapters._file_snapshots import FileSnapshots
from understudy.storage.adapters._files import (
    FolderLock,
    file_name,
    remove,
    reported,
    write_whole,
)
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
    import os
    from collections.abc import Callable, Iterator

#: The shortest and the longest time that active events may be kept.
SHORTEST, LONGEST = timedelta(hours=1), timedelta(days=30)


class FileSystemAdapter:
    """Sessions, keys, events, snapshots and effects as JSON files in a folder.

        events/active/<stream>.jsonl      a line per event
        events/archive/<day>/…            events that a cleanup moved there
        events/metadata.json              retention, and what is left of dropped streams
        sessions/, keys/, snapshots/      a file each
        outbox.jsonl                      a line per change of an effect

    Every write is flushed before it is acknowledged: neither a process crash nor a power
    cut loses one, as far as the disk keeps what it has flushed. An index of all streams is
    held in memory, about 200 bytes per event, and built anew when the store is opened.
    One process at a time may have the folder open.

    Attributes:
        journal: the streams of events.
        snapshots: the saved states.
        outbox: the effects to be carried out.
    """

    name = "filesystem"
    persistent = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        retention: timedelta | None = None,
        keep_archive: timedelta = timedelta(days=30),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name the folder; `initialize()` opens it.

        Args:
            path: the folder, made if missing.
            retention: how long events stay active, 1 hour to 30 days; `cleanup()` moves
                older ones to the archive. For ever if absent.
            keep_archive: how long a day's archive is kept; 30 days if absent.
            clock: seconds since 1970; the system's if absent.
        """
        if retention is not None and not SHORTEST <= retention <= LONGEST:
            raise ValueError(f"retention is {retention}: use 1 hour to 30 days, or None")
        self.path = Path(path)
        self.retention = retention
        self.keep_archive = keep_archive
        self._clock = clock
        self._lock = threading.RLock()
        self._folder_lock: FolderLock | None = None
        self._sessions: dict[str, SessionRow] = {}
        self._keys: dict[str, int | None] = {}  # when each runs out
        self.snapshots = FileSnapshots(self._entered, clock)
        self.journal = FileJournal(self._entered, clock, self.snapshots.delete_snapshots)
        self.outbox = FileOutbox(self._entered, clock)

    @property
    def archive(self) -> FileArchive:
        """The events that were moved out of the way."""
        return FileArchive(self.path / "events" / "archive", self.journal)

    def _entered(self) -> threading.RLock:
        """The lock of the store, to be taken by whoever touches its data."""
        if self._folder_lock is None:
            raise StoreClosed(self.name)
        return self._lock

    def _now(self) -> int:
        return seconds_to_micros(self._clock())

    def initialize(self) -> None:
        """Open the folder and read the index. Again: nothing happens."""
        with self._lock, reported():
            if self._folder_lock is not None:
                return
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(self.path)
            try:
                self._load()
            except BaseException:
                self._unload()
                lock.release()
                raise
            self._folder_lock = lock

    def _load(self) -> None:
        settings = {
            "retention_seconds": self.retention and self.retention.total_seconds(),
            "archive_days": self.keep_archive / timedelta(days=1),
        }
        self.journal.load(self.path / "events", settings)
        self.snapshots.load(self.path / "snapshots")
        self.outbox.load(self.path / "outbox.jsonl")
        for folder in ("sessions", "keys"):
            (self.path / folder).mkdir(exist_ok=True)
        for path in (self.path / "sessions").glob("*.json"):
            row = _session(_read(path))
            self._sessions[row.id] = row
        for path in (self.path / "keys").glob("*.json"):
            data = _read(path)
            self._keys[data["key"]] = _micros(data["expires_at"])

    def _unload(self) -> None:
        self.journal.unload()
        self.outbox.unload()
        self._sessions.clear()
        self._keys.clear()

    def close(self) -> None:
        """Let go of the folder. Again: nothing happens. Nothing saved is lost."""
        with self._lock:
            lock, self._folder_lock = self._folder_lock, None
            if lock is not None:
                self._unload()
                lock.release()

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- sessions -------------------------------------------------------------------------

    def _session_path(self, session_id: str) -> Path:
        return self.path / "sessions" / f"{file_name(session_id)}.json"

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
        plain = unpack(pack(data))
        now = self._now()
        created = now if created_at is None else micros(created_at, "created_at")
        updated = now if updated_at is None else micros(updated_at, "updated_at")
        with self._entered(), reported():
            before = self._sessions.get(session_id)
            if before is not None and created_at is None:
                created = before.created_at
            fields = {
                "id": session_id,
                "active_agent": active_agent,
                "created_at": json_values.timestamp(from_micros(created)),
                "updated_at": json_values.timestamp(from_micros(updated)),
                "data": json_values.encode(plain),
            }
            write_whole(self._session_path(session_id), _text(fields))
            row = SessionRow(session_id, b"", active_agent, created, updated)
            self._sessions[session_id] = row

    def get_session(self, session_id: str) -> SessionRecord | None:
        """The session as last saved, or None."""
        with self._entered(), reported():
            row = self._sessions.get(session_id)
            if row is None:
                return None
            fields = _read(self._session_path(session_id))
        return SessionRecord(
            session_id,
            json_values.decode(fields["data"]),
            row.active_agent,
            from_micros(row.created_at),
            from_micros(row.updated_at),
        )

    def delete_session(self, session_id: str) -> bool:
        """Forget a session. True if there was one."""
        with self._entered(), reported():
            if session_id not in self._sessions:
                return False
            remove(self._session_path(session_id))
            del self._sessions[session_id]
            return True

    def list_sessions(self, options: ListOptions | None = None) -> list[str]:
        """The ids that `options` asks for; all, oldest save first, if absent."""
        with self._entered():
            rows = list(self._sessions.values())
        return select_sessions(rows, options or ListOptions())

    # --- keys -----------------------------------------------------------------------------

    def _key_path(self, key: str) -> Path:
        return self.path / "keys" / f"{file_name(key)}.json"

    def set(self, key: str, value: Any, ttl: float | timedelta | None = None) -> None:
        """Store a value under a key, for `ttl` seconds. See `StorageAdapter.set`."""
        check_name(key, "key")
        plain = unpack(pack(value))
        expires = None if ttl is None else self._now() + ttl_to_micros(ttl)
        when = None if expires is None else json_values.timestamp(from_micros(expires))
        fields = {"key": key, "expires_at": when, "value": json_values.encode(plain)}
        with self._entered(), reported():
            write_whole(self._key_path(key), _text(fields))
            self._keys[key] = expires

    def _living(self, key: str) -> bool:
        """Whether a key is there; one whose time has run out is removed."""
        if key not in self._keys:
            return False
        expires = self._keys[key]
        if expires is None or expires > self._now():
            return True
        remove(self._key_path(key))
        del self._keys[key]
        return False

    def get(self, key: str) -> Any:
        """The value, or None if there is no such key or its time has run out."""
        with self._entered(), reported():
            if not self._living(key):
                return None
            return json_values.decode(_read(self._key_path(key))["value"])

    def has(self, key: str) -> bool:
        """Whether the key is there and its time has not run out."""
        with self._entered(), reported():
            return self._living(key)

    def delete(self, key: str) -> bool:
        """Forget a key. True if it was there and its time had not run out."""
        with self._entered(), reported():
            if not self._living(key):
                return False
            remove(self._key_path(key))
            del self._keys[key]
            return True

    def scan(self, prefix: str = "") -> Iterator[StoredValue]:
        """Every living key that begins with `prefix`, sorted by key."""
        with self._entered():
            keys = sorted(key for key in self._keys if key.startswith(prefix))
        for key in keys:
            with self._entered(), reported():
                if not self._living(key):
                    continue
                expires = self._keys[key]
                value = json_values.decode(_read(self._key_path(key))["value"])
            yield StoredValue(key, value, None if expires is None else from_micros(expires))

    # --- the whole ------------------------------------------------------------------------

    def cleanup(self, retention: timedelta | None = None) -> CleanupResult:
        """Move events that are too old to the archive, and remove archives that are.

        To be called every hour or so, by whoever owns the store; it blocks writers while
        it works on a stream.

        Args:
            retention: how long events stay active; what the store was made with if absent.
        """
        limit = self.retention if retention is None else retention
        now = datetime.fromtimestamp(self._clock(), UTC)
        with self._entered(), reported():
            archived = 0 if limit is None else self.archive.move(now - limit)
            purged = self.archive.purge(now - self.keep_archive)
        return CleanupResult(archived, purged)

    def clear(self) -> None:
        """Forget everything in this store, the archive included."""
        with self._entered(), reported():
            for session_id in list(self._sessions):
                self.delete_session(session_id)
            for key in list(self._keys):
                remove(self._key_path(key))
            self._keys.clear()
            self.journal.clear()
            self.snapshots.clear()
            self.outbox.clear()
            self.archive.clear()

    def get_stats(self) -> StorageStats:
        """How much is stored now."""
        with self._entered(), reported():
            now = self._now()
            living = [e for e in self._keys.values() if e is None or e > now]
            files = [path for path in self.path.rglob("*") if path.is_file()]
            return StorageStats(
                name=self.name,
                persistent=self.persistent,
                sessions=len(self._sessions),
                keys=len(living),
                events=self.journal.count(),
                streams=len(self.journal.streams()),
                snapshots=self.snapshots.count(),
                effects=self.outbox.count(),
                size_bytes=sum(path.stat().st_size for path in files),
                details={"path": str(self.path), "archived_days": self.archive.days()},
            )


def _text(fields: dict[str, Any]) -> bytes:
    return (json_values.dumps(fields) + "\n").encode()


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json_values.loads(path.read_bytes())
    except ValueError as error:
        raise StoreFailed("filesystem", f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise StoreFailed("filesystem", f"{path} cannot be read: it holds no JSON object")
    return data


def _session(fields: dict[str, Any]) -> SessionRow:
    created = _micros(fields["created_at"])
    updated = _micros(fields["updated_at"])
    assert created is not None
    assert updated is not None
    return SessionRow(fields["id"], b"", fields["active_agent"], created, updated)


def _micros(text: str | None) -> int | None:
    if text is None:
        return None
    return micros(json_values.parse_timestamp(text), "time")
