"""What a snapshot store owes a recovery, after the list that Akka's are held to."""

from __future__ import annotations

import datetime as dt
import logging
import time

import pytest

from tests.storage.conftest import events, there
from understudy.storage import BadEvent, Journal


@pytest.fixture
def saved(path, clock):
    with Journal.open(path, clock=clock) as journal:
        for seq in (10, 20, 30):
            journal.save_snapshot("s", seq, {"at": seq}, {"by": "test"})
            clock.advance(100)
        journal.save_snapshot("s2", 15, "other")
        yield journal


def test_none_for_a_stream_that_never_was(saved):
    assert saved.load_snapshot("nobody") is None
    assert saved.load_snapshot("s1") is None


def test_none_outside_the_bounds(saved):
    assert saved.load_snapshot("s", max_seq=9) is None
    assert saved.load_snapshot("s", max_time=dt.datetime.fromtimestamp(1e9, dt.UTC)) is None


def test_the_most_recent_one(saved):
    snapshot = saved.load_snapshot("s")
    assert (snapshot.stream, snapshot.seq, snapshot.state) == ("s", 30, {"at": 30})


@pytest.mark.parametrize(("max_seq", "found"), [(30, 30), (29, 20), (20, 20), (10, 10), (99, 30)])
def test_the_most_recent_one_at_or_below_a_seq(saved, max_seq, found):
    assert saved.load_snapshot("s", max_seq=max_seq).seq == found


def test_the_most_recent_one_at_or_before_a_time(saved):
    moment = dt.datetime.fromtimestamp(1_700_000_100, dt.UTC)
    assert saved.load_snapshot("s", max_time=moment).seq == 20
    assert saved.load_snapshot("s", max_seq=19, max_time=moment).seq == 10


def test_metadata_and_time_come_back(saved):
    snapshot = saved.load_snapshot("s", max_seq=10)
    assert snapshot.metadata == {"by": "test"}
    assert snapshot.timestamp == dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)


def test_the_same_seq_is_overwritten(saved):
    saved.save_snapshot("s", 30, "new")
    assert saved.load_snapshot("s").state == "new"
    assert len(list(saved.snapshots("s"))) == 3


def test_one_is_deleted(saved):
    assert saved.delete_snapshots("s", 20, 20) == 1
    assert [s.seq for s in saved.snapshots("s")] == [10, 30]


def test_a_range_is_deleted(saved):
    assert saved.delete_snapshots("s", max_seq=20) == 2
    assert [s.seq for s in saved.snapshots("s")] == [30]
    assert saved.delete_snapshots("s", min_seq=5) == 1
    assert saved.load_snapshot("s2").state == "other"


def test_those_before_a_time_are_deleted(saved):
    moment = dt.datetime.fromtimestamp(1_700_000_100, dt.UTC)
    assert saved.delete_snapshots("s", max_time=moment) == 2


def test_all_are_listed_by_stream_and_seq(saved):
    assert [(s.stream, s.seq) for s in saved.snapshots()] == [
        ("s", 10), ("s", 20), ("s", 30), ("s2", 15),
    ]  # fmt: skip
    assert saved.stats().snapshots == 4


def test_deleting_a_stream_drops_its_snapshots(saved):
    saved.append("s", events(1))
    saved.delete("s")
    assert saved.load_snapshot("s") is None
    assert saved.load_snapshot("s2") is not None


def test_ten_megabytes_come_back_in_little_time(journal):
    state = {"messages": ["x" * 1000 for _ in range(10_000)]}
    journal.save_snapshot("big", 1, state)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        loaded = journal.load_snapshot("big")
        times.append(time.perf_counter() - began)
        assert loaded.state == state
    assert min(times) < 0.1  # 20 ms on a quiet machine; the benchmark holds it to that


def test_a_state_that_is_no_plain_data_is_refused(journal):
    with pytest.raises(BadEvent, match="state"):
        journal.save_snapshot("s", 1, object())
    with pytest.raises(BadEvent, match="metadata"):
        journal.save_snapshot("s", 1, None, {"o": object()})
    with pytest.raises(ValueError, match="-1"):
        journal.save_snapshot("s", -1, None)
    with pytest.raises(BadEvent):
        journal.save_snapshot("", 1, None)


def test_one_that_cannot_be_read_gives_way_to_an_older_one_and_says_so(saved, caplog):
    def spoil(txn):
        db = saved._core.database("snapshots")
        for key, row in list(txn.cursor(db)):
            if key.startswith(b"s\0") and key[-1] != 10:
                txn.put(key, row[:-1] + bytes((row[-1] ^ 1,)), db=db)

    saved._core.call(spoil).result()
    with caplog.at_level(logging.WARNING, "understudy.storage"):
        assert saved.load_snapshot("s").seq == 10
    assert [r.args[1] for r in caplog.records] == [30, 20]
    assert [p.seq for p in saved.verify().problems] == [20, 30]
    assert [s.seq for s in saved.snapshots("s")] == [10]
    assert saved._snapshots.unreadable >= 2


def test_they_survive_reopening(path):
    with Journal.open(path) as journal:
        journal.submit_snapshot("s", 3, [1, 2]).result(20)
    with Journal.open(path) as journal:
        assert there(journal.load_snapshot("s")).state == [1, 2]
