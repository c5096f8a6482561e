"""The tests that turn a class of the right shape into a store one may rely on.

    from understudy.storage.contract import AdapterContract

    class TestMyStore(AdapterContract):
        def create_adapter(self, tmp_path, clock):
            return MyStore(tmp_path / "store", clock=clock)

Needs pytest, which is not installed with `understudy` itself.
"""

from __future__ import annotations

import pytest

# Before the suites are imported: a failing assertion then shows its values, as one in a
# test file does.
pytest.register_assert_rewrite(
    *(f"{__name__}.{suite}" for suite in ("_adapter", "_journal", "_outbox", "_snapshots"))
)

from understudy.storage.contract._adapter import (  # noqa: E402 - must follow the line above
    AdapterContract,
    AdapterDetailsContract,
)
from understudy.storage.contract._base import (  # noqa: E402 - as above
    ContractBase,
    ContractClock,
)
from understudy.storage.contract._journal import JournalContract  # noqa: E402 - as above
from understudy.storage.contract._outbox import OutboxContract  # noqa: E402 - as above
from understudy.storage.contract._snapshots import SnapshotContract  # noqa: E402 - as above


class StorageContract(
    AdapterContract,
    AdapterDetailsContract,
    JournalContract,
    SnapshotContract,
    OutboxContract,
):
    """All suites, for a store that has `journal`, `snapshots` and `outbox` beside itself."""


__all__ = [
    "AdapterContract",
    "AdapterDetailsContract",
    "ContractBase",
    "ContractClock",
    "JournalContract",
    "OutboxContract",
    "SnapshotContract",
    "StorageContract",
]
