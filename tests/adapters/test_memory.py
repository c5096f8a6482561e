"""The memory store keeps the contract."""

from __future__ import annotations

from understudy.storage.adapters._memory import MemoryAdapter
from understudy.storage.contract import StorageContract


class TestMemory(StorageContract):
    def create_adapter(self, tmp_path, clock):
        return MemoryAdapter(clock=clock)

    def restart_adapter(self, adapter, tmp_path, clock):
        adapter.close()
        adapter.initialize()
        return adapter
