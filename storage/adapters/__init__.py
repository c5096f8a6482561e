"""Stores to choose from, and the shapes of those one writes oneself."""

from __future__ import annotations

from understudy.storage._protocols import (
    Ends,
    JournalStore,
    ListOptions,
    OutboxStore,
    Scannable,
    SessionRecord,
    SessionSort,
    SnapshotStore,
    Storage,
    StorageAdapter,
    StorageStats,
    StoredValue,
    StreamEnd,
)
from understudy.storage.adapters._errors import (
    BadStorageUrl,
    MissingDriver,
    StoreClosed,
    StoreFailed,
    StoreInUse,
)
from understudy.storage.adapters._file_archive import CleanupResult
from understudy.storage.adapters._filesystem import FileSystemAdapter
from understudy.storage.adapters._lmdb import LmdbAdapter
from understudy.storage.adapters._memory import MemoryAdapter
from understudy.storage.adapters._migrate import (
    MigrationIncomplete,
    MigrationProgress,
    MigrationRefused,
    MigrationReport,
    migrate,
)
from understudy.storage.adapters._postgres import PostgresAdapter
from understudy.storage.adapters._redis import RedisAdapter
from understudy.storage.adapters._sqlite import SQLiteAdapter
from understudy.storage.adapters._url import (
    SessionsWillNotPersist,
    make_storage,
    open_storage,
    redacted,
)

__all__ = [
    "BadStorageUrl",
    "CleanupResult",
    "Ends",
    "FileSystemAdapter",
    "JournalStore",
    "ListOptions",
    "LmdbAdapter",
    "MemoryAdapter",
    "MigrationIncomplete",
    "MigrationProgress",
    "MigrationRefused",
    "MigrationReport",
    "MissingDriver",
    "OutboxStore",
    "PostgresAdapter",
    "RedisAdapter",
    "SQLiteAdapter",
    "Scannable",
    "SessionRecord",
    "SessionSort",
    "SessionsWillNotPersist",
    "SnapshotStore",
    "Storage",
    "StorageAdapter",
    "StorageStats",
    "StoreClosed",
    "StoreFailed",
    "StoreInUse",
    "StoredValue",
    "StreamEnd",
    "make_storage",
    "migrate",
    "open_storage",
    "redacted",
]
