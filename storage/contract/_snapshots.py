"""The tests of a snapshot store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from understudy.storage._errors import StorageError
from understudy.storage._protocols import SnapshotStore
from understudy.storage.contract._base import ContractBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.storage.contract._base import ContractClock


class SnapshotContract(ContractBase):
    """Needs the store's `snapshots`, a `SnapshotStore`."""

    @pytest.fixture
    def snapshots(self, adapter: Any) -> SnapshotStore:
        """The snapshots of the store under test."""
        snapshots: SnapshotStore = adapter.snapshots
        return snapshots

    @pytest.fixture
    def three(self, snapshots: SnapshotStore) -> SnapshotStore:
        """Snapshots of "s" at 10, 20 and 30, and one of another stream."""
        for seq in (10, 20, 30):
            snapshots.save_snapshot("s", seq, {"at": seq})
        snapshots.save_snapshot("other", 99, {"at": 99})
        return snapshots

    def test_the_store_has_the_shape_of_a_snapshot_store(self, snapshots: SnapshotStore) -> None:
        assert isinstance(snapshots, SnapshotStore)

    def test_an_unknown_stream_has_no_snapshot(self, three: SnapshotStore) -> None:
        assert three.load_snapshot("nobody") is None

    def test_there_is_none_below_the_first(self, three: SnapshotStore) -> None:
        assert three.load_snapshot("s", 9) is None

    def test_the_most_recent_one_is_loaded(self, three: SnapshotStore) -> None:
        snapshot = three.load_snapshot("s")
        assert snapshot is not None
        assert (snapshot.stream, snapshot.seq, snapshot.state) == ("s", 30, {"at": 30})

    @pytest.mark.parametrize(("bound", "seq"), [(10, 10), (19, 10), (20, 20), (29, 20), (99, 30)])
    def test_the_most_recent_one_at_or_below_a_seq_is_loaded(
        self, three: SnapshotStore, bound: int, seq: int
    ) -> None:
        snapshot = three.load_snapshot("s", bound)
        assert snapshot is not None
        assert snapshot.seq == seq

    def test_metadata_comes_back(self, three: SnapshotStore) -> None:
        three.save_snapshot("s", 40, {"at": 40}, {"version": 2})
        snapshot = three.load_snapshot("s")
        assert snapshot is not None
        assert snapshot.metadata == {"version": 2}
        plain = three.load_snapshot("s", 30)
        assert plain is not None
        assert plain.metadata is None

    def test_the_same_seq_is_overwritten(self, three: SnapshotStore, clock: ContractClock) -> None:
        clock.advance(5)
        three.save_snapshot("s", 30, "better")
        snapshot = three.load_snapshot("s")
        assert snapshot is not None
        assert snapshot.state == "better"
        assert snapshot.timestamp == datetime.fromtimestamp(clock(), UTC)
        assert len([s for s in three.snapshots() if s.stream == "s"]) == 3

    def test_one_snapshot_is_deleted(self, three: SnapshotStore) -> None:
        assert three.delete_snapshots("s", min_seq=20, max_seq=20) == 1
        assert three.load_snapshot("s", 29) is not None
        assert [s.seq for s in three.snapshots() if s.stream == "s"] == [10, 30]

    def test_a_range_of_snapshots_is_deleted(self, three: SnapshotStore) -> None:
        assert three.delete_snapshots("s", max_seq=20) == 2
        assert [s.seq for s in three.snapshots() if s.stream == "s"] == [30]
        assert three.delete_snapshots("s") == 1
        assert three.load_snapshot("s") is None
        assert three.load_snapshot("other") is not None

    def test_all_snapshots_are_listed_by_stream_and_seq(self, three: SnapshotStore) -> None:
        found = [(s.stream, s.seq, s.state["at"]) for s in three.snapshots()]
        assert found == [("other", 99, 99), ("s", 10, 10), ("s", 20, 20), ("s", 30, 30)]

    def test_a_state_of_ten_megabytes_comes_back(self, snapshots: SnapshotStore) -> None:
        state = {"parts": [bytes([n]) * 1_000_000 for n in range(10)]}
        snapshots.save_snapshot("s", 1, state)
        snapshot = snapshots.load_snapshot("s")
        assert snapshot is not None
        assert snapshot.state == state

    def test_a_state_that_cannot_be_stored_is_refused_and_the_old_one_stays(
        self, three: SnapshotStore
    ) -> None:
        with pytest.raises(StorageError):
            three.save_snapshot("s", 30, object())
        snapshot = three.load_snapshot("s")
        assert snapshot is not None
        assert snapshot.state == {"at": 30}

    def test_snapshots_survive_a_restart(
        self, three: SnapshotStore, restart: Callable[[], Any]
    ) -> None:
        before = list(three.snapshots())
        again: SnapshotStore = restart().snapshots
        assert list(again.snapshots()) == before
