"""The SQLite store keeps the contract, and what is its own."""

from __future__ import annotations

from understudy.storage.adapters._sqlite import SQLiteAdapter
from understudy.storage.contract import StorageContract


class TestSQLite(StorageContract):
    def create_adapter(self, tmp_path, clock):
        return SQLiteAdapter(tmp_path / "deep" / "sessions.db", clock=clock)
