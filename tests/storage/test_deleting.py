"""Truncate, delete, tombstones and limits: what is gone is gone, and numbers never come back."""

from __future__ import annotations

import pytest

from tests.storage.conftest import events, leave_the_index_behind, numbered, seqs
from understudy.storage import BadEvent, Journal, _frame


def test_truncating_hides_what_lies_below(journal):
    journal.append("s", events(10))
    assert journal.truncate("s", 4) == 3
    assert journal.truncate("s", 4) == 0
    assert journal.truncate("s", 2) == 0
    assert journal.first_seq("s") == 4
    assert seqs(journal.read("s")) == [4, 5, 6, 7, 8, 9, 10]
    assert seqs(journal.read("s", until_seq=3)) == []
    assert seqs(journal.read("s", until_seq=5, reverse=True)) == [5, 4]
    assert seqs(journal.read_all()) == [4, 5, 6, 7, 8, 9, 10]
    assert seqs(journal.read_all(types="happened", reverse=True)) == [10, 9, 8, 7, 6, 5, 4]


@pytest.mark.parametrize("flushed", [False, True])
def test_a_truncation_survives_reopening_with_and_without_a_crash(path, flushed):
    journal = Journal.open(path)
    journal.append("s", events(10))
    journal.append("t", events(2))
    journal.truncate("s", 6)
    journal.append("s", events(2))
    if flushed:
        journal.checkpoint()
        journal.close()
    else:
        leave_the_index_behind(journal)
        journal.close()
    with Journal.open(path) as journal:
        assert seqs(journal.read("s")) == [6, 7, 8, 9, 10, 11, 12]
        assert [r.position for r in journal.read_all()] == [6, 7, 8, 9, 10, 11, 12, 13, 14]
        assert journal.verify().ok


def test_a_deleted_stream_is_gone_and_may_be_written_again(journal, path):
    journal.append("s", events(3))
    journal.append("t", events(1))
    assert journal.delete("s") == 3
    assert journal.delete("s") == 0
    assert list(journal.read("s")) == []
    assert journal.streams() == ["t"]
    assert journal.last_seq("s") == 3
    assert journal.first_seq("s") == 4
    assert journal.append("s", events(1), expected_seq=0).first_seq == 4
    assert seqs(journal.read("s")) == [4]
    journal.delete("s")
    assert journal.append("s", events(1), expected_seq=4).first_seq == 5
    journal.close()
    with Journal.open(path) as journal:
        assert seqs(journal.read("s")) == [5]
        assert journal.stats().total_streams == 2


def test_a_deletion_survives_a_kill(path):
    journal = Journal.open(path)
    journal.append("s", events(3))
    journal.delete("s")
    leave_the_index_behind(journal)
    journal.close()
    with Journal.open(path) as journal:
        assert list(journal.read("s")) == []
        assert journal.append("s", events(1), expected_seq=0).first_seq == 4


def test_deleting_what_never_was_is_no_error(journal):
    assert journal.delete("nobody") == 0
    assert journal.truncate("nobody", 5) == 0
    assert journal.append("nobody", events(1), expected_seq=0).first_seq == 1
    with pytest.raises(BadEvent):
        journal.delete("")
    with pytest.raises(BadEvent):
        journal.truncate("", 1)


def test_a_limit_of_count_hides_the_oldest_at_once_and_for_ever(path):
    with Journal.open(path) as journal:
        journal.append("s", events(10))
        journal.limit("s", max_count=4)
        assert seqs(journal.read("s")) == [7, 8, 9, 10]
        journal.append("s", events(3))
        assert seqs(journal.read("s")) == [10, 11, 12, 13]
        assert seqs(journal.read_all()) == [10, 11, 12, 13]
    with Journal.open(path) as journal:
        journal.append("s", events(1))
        assert seqs(journal.read("s")) == [11, 12, 13, 14]
        journal.limit("s")
        journal.append("s", events(5))
        assert len(list(journal.read("s"))) == 9


def test_a_limit_of_age_hides_what_has_grown_old(path, clock):
    with Journal.open(path, clock=clock) as journal:
        for n in range(5):
            journal.append("s", events(1, start=n))
            clock.advance(100)
        journal.limit("s", max_age=250)
        assert seqs(journal.read("s")) == [4, 5]
        assert seqs(journal.read("s", reverse=True)) == [5, 4]
        clock.advance(1000)
        assert seqs(journal.read("s")) == []
        journal.append("s", events(1))
        assert seqs(journal.read("s")) == [6]


def test_of_two_limits_and_a_truncation_the_strictest_wins(path, clock):
    with Journal.open(path, clock=clock) as journal:
        for n in range(10):
            journal.append("s", events(1, start=n))
            clock.advance(10)
        journal.limit("s", max_age=75, max_count=5)
        assert seqs(journal.read("s")) == [6, 7, 8, 9, 10]
        journal.truncate("s", 8)
        assert seqs(journal.read("s")) == [8, 9, 10]
        clock.advance(50)
        assert seqs(journal.read("s")) == [9, 10]


@pytest.mark.parametrize("arguments", [{"max_age": 0}, {"max_age": -1}, {"max_count": 0}])
def test_a_senseless_limit_is_refused(journal, arguments):
    with pytest.raises(ValueError):
        journal.limit("s", **arguments)


def test_a_repeat_of_truncated_events_is_still_known(journal):
    journal.append("s", numbered("a", 1, 2, 3))
    journal.truncate("s", 3)
    assert journal.append("s", numbered("a", 1, 2)).duplicate


def test_hidden_events_are_freed_by_compact(path):
    with Journal.open(path, segment_events=50) as journal:
        for n in range(30):
            journal.append("s", events(5))
            journal.append("t", events(5))
        journal.delete("s")
        journal.truncate("t", 101)
        before = journal.stats()
        report = journal.compact()
        assert report.dropped_events == 150 + 100
        assert report.dropped_segments > 0
        assert report.archives == ()
        after = journal.stats()
        assert after.total_events == before.total_events - 250
        assert seqs(journal.read("t")) == list(range(101, 151))
        assert len(list(journal.read_all())) == 50
        assert journal.verify().ok
        journal.append("s", events(1))
    with Journal.open(path) as journal:
        assert seqs(journal.read("s")) == [151]
        assert seqs(journal.read("t")) == list(range(101, 151))
        assert journal.verify().ok


def test_what_has_grown_too_old_is_freed_by_compact(path, clock):
    with Journal.open(path, clock=clock, segment_events=50) as journal:
        journal.limit("s", max_age=60)
        journal.append("s", events(20))
        clock.advance(100)
        journal.append("s", events(5))
        assert journal.compact().dropped_events == 20
        assert seqs(journal.read("s")) == [21, 22, 23, 24, 25]
        assert journal.verify().ok


def test_compacting_again_reads_nothing_until_more_is_hidden(journal, monkeypatch):
    for _ in range(3):
        journal.append("s", events(10))
    journal.truncate("s", 11)
    assert journal.compact().dropped_events == 10
    rows = []
    read_row = _frame.read_row
    monkeypatch.setattr(_frame, "read_row", lambda *args: rows.append(args[0]) or read_row(*args))
    assert journal.compact().dropped_events == 0
    assert rows == []
    journal.truncate("s", 21)
    assert journal.compact().dropped_events == 10
    assert rows
