"""The servers of the contract kit, whether or not its plugin is loaded by name."""

from __future__ import annotations

from understudy.storage.contract.plugin import (  # noqa: F401 - fixtures
    understudy_postgres,
    understudy_postgres_url,
    understudy_redis,
    understudy_redis_url,
)
