"""The Redis store keeps the contract over a real connection."""

from __future__ import annotations

import pytest

from understudy.storage.adapters._redis import RedisAdapter
from understudy.storage.contract import StorageContract

pytestmark = pytest.mark.redis


class TestRedis(StorageContract):
    @pytest.fixture(autouse=True)
    def server(self, understudy_redis):
        self.url, self.prefix = understudy_redis

    def create_adapter(self, tmp_path, clock):
        return RedisAdapter(self.url, prefix=self.prefix, clock=clock)
