"""The PostgreSQL store keeps the contract over a real connection."""

from __future__ import annotations

import pytest

from understudy.storage.adapters._postgres import PostgresAdapter
from understudy.storage.contract import StorageContract

pytestmark = pytest.mark.postgres


class TestPostgres(StorageContract):
    @pytest.fixture(autouse=True)
    def server(self, understudy_postgres):
        self.url, self.schema = understudy_postgres

    def create_adapter(self, tmp_path, clock):
        return PostgresAdapter(self.url, schema=self.schema, clock=clock)
