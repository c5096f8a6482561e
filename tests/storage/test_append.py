"""Expected seqs, repeats, fencing, and what an append refuses."""

from __future__ import annotations

import datetime as dt
import math
import pickle
import uuid

import pytest

from tests.storage.conftest import events, numbered, seqs
from understudy.storage import (
    AppendResult,
    BadEvent,
    DuplicateEvent,
    Journal,
    JournalClosed,
    NewEvent,
    StaleEpoch,
    StorageError,
    StreamTombstoned,
    UnderstudyError,
    WrongExpectedSeq,
)


def test_positions_are_dense_over_all_streams(journal):
    assert journal.append("a", events(2)).position == 2
    assert journal.append("b", events(3)).position == 5
    assert journal.append("a", events(1)) == AppendResult("a", 3, 3, 6)
    assert [r.position for r in journal.read_all()] == [1, 2, 3, 4, 5, 6]


def test_the_right_expectation_is_met(journal):
    journal.append("s", events(2), expected_seq=0)
    assert journal.append("s", events(1), expected_seq=2).last_seq == 3


@pytest.mark.parametrize("expected", [0, 1, 3, 9])
def test_a_wrong_expectation_writes_nothing_and_names_itself(journal, expected):
    journal.append("s", events(2))
    with pytest.raises(WrongExpectedSeq) as caught:
        journal.append("s", events(1), expected_seq=expected)
    error = caught.value
    assert (error.stream, error.expected, error.actual) == ("s", expected, 2)
    assert "'s'" in str(error)
    assert isinstance(error, StorageError)
    assert isinstance(error, UnderstudyError)
    assert journal.last_seq("s") == 2
    assert journal.last_position() == 2


def test_of_concurrent_writers_with_one_expectation_one_wins(journal):
    futures = [journal.submit("s", events(1), 0) for _ in range(20)]
    errors = [future.exception(20) for future in futures]
    assert errors.count(None) == 1
    assert all(isinstance(e, WrongExpectedSeq) for e in errors if e is not None)
    assert journal.last_seq("s") == 1


def test_a_negative_expectation_is_refused(journal):
    with pytest.raises(ValueError, match="-1"):
        journal.append("s", events(1), expected_seq=-1)


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("expected", [None, 1])
def test_a_repeated_batch_succeeds_without_a_write(journal, flushed, expected):
    journal.append("s", numbered("a", 1))
    first = journal.append("s", numbered("a", 2, 3), expected_seq=expected)
    journal.append("s", numbered("a", 4))
    if flushed:
        journal.checkpoint()
    again = journal.append("s", numbered("a", 2, 3), expected_seq=expected)
    assert again == AppendResult("s", 2, 3, first.position, duplicate=True)
    assert journal.last_seq("s") == 4


def test_a_repeat_is_known_after_reopening_and_after_many_segments(path):
    with Journal.open(path, segment_events=10, checkpoint_events=7) as journal:
        for n in range(60):
            journal.append(f"s{n % 3}", numbered("a", n))
    with Journal.open(path, segment_events=10, checkpoint_events=7) as journal:
        assert journal.stats().segments > 3
        for n in range(60):
            result = journal.append(f"s{n % 3}", numbered("a", n))
            assert result.duplicate
            assert result.first_seq == n // 3 + 1
        assert not journal.append("s0", numbered("a", 100)).duplicate
        assert journal.last_position() == 61


def test_the_same_id_in_another_stream_is_another_event(journal):
    journal.append("a", numbered("x", 1))
    assert not journal.append("b", numbered("x", 1)).duplicate


def test_a_batch_that_repeats_in_part_is_refused(journal):
    journal.append("s", numbered("a", 1, 2))
    with pytest.raises(DuplicateEvent) as caught:
        journal.append("s", numbered("a", 2, 3))
    assert (caught.value.id, caught.value.seq, caught.value.actual) == ("a-2", 2, 2)
    assert "a-2" in str(caught.value)
    with pytest.raises(WrongExpectedSeq):
        journal.append("s", numbered("a", 2, 3), expected_seq=1)
    with pytest.raises(DuplicateEvent):
        journal.append("s", numbered("a", 3, 1), expected_seq=2)
    assert journal.last_seq("s") == 2


def test_a_repeat_in_another_order_is_refused(journal):
    journal.append("s", numbered("a", 1, 2, 3))
    with pytest.raises(DuplicateEvent):
        journal.append("s", numbered("a", 2, 1))


def test_known_ids_at_another_place_than_expected_are_refused(journal):
    journal.append("s", numbered("a", 1, 2, 3))
    with pytest.raises(WrongExpectedSeq):
        journal.append("s", numbered("a", 2), expected_seq=0)


def test_a_repeat_within_one_commit_is_recognised(journal):
    futures = [journal.submit("s", numbered("a", 1, 2)) for _ in range(50)]
    results = [future.result(20) for future in futures]
    assert [r.duplicate for r in results].count(False) == 1
    assert {(r.first_seq, r.last_seq) for r in results} == {(1, 2)}


def test_a_refused_batch_leaves_its_ids_free(journal):
    with pytest.raises(WrongExpectedSeq):
        journal.append("s", numbered("a", 1), expected_seq=5)
    assert not journal.append("s", numbered("a", 1)).duplicate


def test_ids_the_journal_makes_are_uuids_of_version_7_and_recognised(journal):
    journal.append("s", events(2))
    journal.append("s", events(1))
    made = [record.id for record in journal.read("s")]
    assert len(set(made)) == 3
    assert made == sorted(made)
    assert {uuid.UUID(one).version for one in made} == {7}
    assert journal.append("s", [NewEvent("happened", {"n": 0}, id=made[0])]).duplicate
    assert not journal.append("t", [NewEvent("happened", {"n": 0}, id=made[0])]).duplicate
    foreign = made[0][:-1] + "f"
    assert not journal.append("s", [NewEvent("happened", id=foreign)]).duplicate
    assert not journal.append("s", [NewEvent("happened", id=made[0][:-1] + "z")]).duplicate


def test_two_events_of_a_batch_may_not_share_an_id(journal):
    with pytest.raises(BadEvent, match="same id"):
        journal.append("s", numbered("a", 1, 1))


def test_a_lower_epoch_than_the_highest_seen_is_refused(journal, path):
    journal.append("s", events(1), epoch=5)
    journal.append("s", events(1), epoch=5)
    journal.append("s", events(1))
    with pytest.raises(StaleEpoch) as caught:
        journal.append("s", events(1), epoch=4)
    assert (caught.value.stream, caught.value.epoch, caught.value.current) == ("s", 4, 5)
    assert journal.append("other", events(1), epoch=1).last_seq == 1
    journal.append("s", events(1), epoch=6)
    assert [r.epoch for r in journal.read("s")] == [5, 5, 0, 6]
    journal.close()
    with Journal.open(path) as again, pytest.raises(StaleEpoch):
        again.append("s", events(1), epoch=5)


def test_a_tombstoned_stream_refuses_for_ever(journal, path):
    journal.append("s", events(2))
    assert journal.delete("s", tombstone=True) == 2
    for _ in range(2):
        with pytest.raises(StreamTombstoned) as caught:
            journal.append("s", events(1))
        assert (caught.value.stream, caught.value.last_seq) == ("s", 2)
        with pytest.raises(StreamTombstoned):
            journal.delete("s")
        assert journal.delete("s", tombstone=True) == 0
        assert journal.last_seq("s") == 2
        journal.close()
        journal = Journal.open(path)
    journal.close()


@pytest.mark.parametrize("name", ["", "x" * 401, "ä" * 201, "a\0b", "\ud800", None, 7])
def test_a_name_that_cannot_be_a_key_is_refused(journal, name):
    with pytest.raises(BadEvent):
        journal.append(name, events(1))
    with pytest.raises(BadEvent) as caught:
        journal.append("s", [NewEvent("ok"), NewEvent(name)])
    assert caught.value.index == 1
    with pytest.raises(BadEvent):
        journal.append("s", [NewEvent("ok", topics=(name,))])
    assert journal.last_position() == 0


def test_names_of_any_script_and_400_bytes_work(journal):
    for name in ("x" * 400, "ä" * 200, "пользователь:ада", "a/b c%😀"):
        journal.append(name, [NewEvent(name, name, id=name[:100], topics=(name,))])
        journal.checkpoint()
        [record] = journal.read(name)
        assert (record.stream, record.type, record.topics) == (name, name, (name,))
        assert [r.stream for r in journal.read_all(types=name)] == [name]


@pytest.mark.parametrize(
    "event",
    [
        NewEvent("x", priority="urgent"),  # type: ignore[arg-type]  # no such priority
        NewEvent("x", version=0),
        NewEvent("x", topics="money"),
        NewEvent("x", id=""),
        NewEvent("x", metadata={"o": object()}),
        NewEvent("x", 1 << 70),
        NewEvent("x", "\ud800"),
    ],
)
def test_an_event_with_a_senseless_field_is_refused(journal, event):
    with pytest.raises(BadEvent):
        journal.append("s", [event])
    assert journal.last_position() == 0


def test_a_payload_without_end_is_refused(journal):
    endless: list = []
    endless.append(endless)
    with pytest.raises(BadEvent):
        journal.append("s", [NewEvent("x", endless)])


def test_an_event_outside_a_list_is_refused(journal):
    with pytest.raises(BadEvent, match="is no list of events"):
        journal.append("s", NewEvent("a", 1))
    assert journal.last_seq("s") == 0


def test_an_empty_batch_is_refused(journal):
    with pytest.raises(BadEvent, match="no event"):
        journal.append("s", [])


def test_plain_data_of_every_kind_comes_back(journal):
    moment = dt.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=dt.UTC)
    values = [
        None, True, False, 0, -1, 2**63, -(2**63), 1.5, -0.0, math.inf, "", "ä😀", b"", b"\0\xff",
        [], [1, [2, [3]]], {}, {"a": {"b": [1]}}, {1: "int key"}, moment,
    ]  # fmt: skip
    journal.append("s", [NewEvent("x", value) for value in values])
    assert [record.payload for record in journal.read("s")] == values
    journal.append("t", [NewEvent("x", (1, 2))])
    assert next(journal.read("t")).payload == [1, 2]


def test_what_the_caller_changes_after_submit_is_not_stored(journal):
    payload = {"n": 1}
    future = journal.submit("s", [NewEvent("x", payload)])
    payload["n"] = 2
    future.result(20)
    assert next(journal.read("s")).payload == {"n": 1}


def test_a_batch_larger_than_any_page_comes_back(journal):
    big = [NewEvent("big", "x" * size) for size in (10, 3000, 5_000_000, 1, 70_000)]
    journal.append("s", big)
    assert [len(record.payload) for record in journal.read("s")] == [10, 3000, 5_000_000, 1, 70_000]
    assert seqs(journal.read("s", after=2, limit=2)) == [3, 4]


def test_a_batch_with_more_types_than_a_byte_counts_comes_back(journal):
    journal.append("s", [NewEvent(f"type-{n}") for n in range(400)])
    assert [record.type for record in journal.read("s")] == [f"type-{n}" for n in range(400)]
    assert seqs(journal.read("s", types=["type-399", "type-0"])) == [1, 400]


def test_a_closed_journal_refuses_and_says_so(path):
    journal = Journal.open(path)
    future = journal.submit("s", events(1))
    journal.close()
    journal.close()
    assert future.result(0).last_seq == 1
    assert journal.closed
    for call in (
        lambda: journal.append("s", events(1)),
        lambda: journal.submit("s", events(1)),
        lambda: journal.read("s"),
        journal.stats,
        journal.sync,
        lambda: journal.last_seq("s"),
    ):
        with pytest.raises(JournalClosed) as caught:
            call()
        assert str(path) in str(caught.value)


def test_errors_survive_pickling():
    for error in (
        WrongExpectedSeq("s", 1, 2),
        DuplicateEvent("s", "id", 3, 9),
        StaleEpoch("s", 1, 2),
        StreamTombstoned("s", 4),
        BadEvent("why", stream="s", index=2),
        JournalClosed("/p", "because"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)


def test_timestamps_are_aware_utc_and_never_fall(path, clock):
    with Journal.open(path, clock=clock) as journal:
        journal.append("s", events(2))
        clock.advance(-3600)
        journal.append("s", events(1))
        clock.advance(7200)
        journal.append("s", events(1))
        times = [record.timestamp for record in journal.read("s")]
    assert times == sorted(times)
    assert times[0] == times[2] == dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
    assert times[3] - times[2] == dt.timedelta(hours=1)
    assert all(moment.tzinfo is dt.UTC for moment in times)


def test_concurrent_appends_share_commits(journal):
    import threading

    threads = [
        threading.Thread(
            target=lambda n=n: [journal.append(f"s{n}", events(1), k) for k in range(20)]
        )
        for n in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = journal.stats()
    assert stats.events_written == 2000
    assert stats.commits < 1000
    assert sorted(journal.streams()) == sorted(f"s{n}" for n in range(100))
    assert all(journal.last_seq(f"s{n}") == 20 for n in range(100))
