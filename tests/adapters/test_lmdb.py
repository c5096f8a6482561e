"""The LMDB store keeps the contract, and what is its own."""

from __future__ import annotations

from understudy.storage.adapters._lmdb import LmdbAdapter
from understudy.storage.contract import StorageContract


class TestLmdb(StorageContract):
    def create_adapter(self, tmp_path, clock):
        return LmdbAdapter(tmp_path / "journal", clock=clock)
