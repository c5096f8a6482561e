"""The filesystem store keeps the contract, and what is its own."""

from __future__ import annotations

from understudy.storage.adapters._filesystem import FileSystemAdapter
from understudy.storage.contract import StorageContract


class TestFileSystem(StorageContract):
    def create_adapter(self, tmp_path, clock):
        return FileSystemAdapter(tmp_path / "store", clock=clock)
