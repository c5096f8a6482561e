"""Stores to choose from: memory, SQLite, PostgreSQL and others, one shape for all."""

from __future__ import annotations

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
from understudy.storage.adapters._postgres import PostgresAdapter
from understudy.storage.adapters._redis import RedisAdapter
from understudy.storage.adapters._sqlite import SQLiteAdapter

__all__ = [
    "BadStorageUrl",
    "CleanupResult",
    "FileSystemAdapter",
    "LmdbAdapter",
    "MemoryAdapter",
    "MissingDriver",
    "PostgresAdapter",
    "RedisAdapter",
    "SQLiteAdapter",
    "StoreClosed",
    "StoreFailed",
    "StoreInUse",
]
