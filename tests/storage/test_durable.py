"""Durable subscriptions: a place that survives, each record at least once, parking."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.storage.conftest import TIMEOUT, events, there
from understudy.storage import Journal, NewEvent, Record, StorageError


def test_what_is_acknowledged_does_not_come_again(path):
    with Journal.open(path) as journal:
        journal.append("s", events(10))
        subscription = journal.durable("worker")
        records = subscription.fetch(4)
        assert [r.position for r in records] == [1, 2, 3, 4]
        subscription.ack(records[2])
        assert [r.position for r in subscription.fetch(2)] == [4, 5]
        subscription.ack(records[0])
        assert subscription.position == 3
        assert journal.durables() == {"worker": 3}
    with Journal.open(path) as journal:
        subscription = journal.durable("worker")
        assert [r.position for r in subscription.fetch(2)] == [4, 5]
        subscription.ack(subscription.fetch(100)[-1])
        assert subscription.fetch() == []


def test_of_a_stream_and_of_types_from_a_place(journal):
    for n in range(5):
        journal.append("s", [NewEvent("a", n), NewEvent("b", n)])
        journal.append("t", [NewEvent("a", n)])
    typed = journal.durable("typed", types="b", after=4)
    assert [r.payload for r in typed.fetch()] == [1, 2, 3, 4]
    of_stream = journal.durable("of stream", "s", after=6)
    assert [r.seq for r in of_stream.fetch()] == [7, 8, 9, 10]
    assert of_stream.seq == 6
    assert of_stream.position == 8
    of_stream.ack(of_stream.fetch(1)[0])
    assert of_stream.seq == 7


def test_a_name_belongs_to_what_it_was_made_for(journal):
    journal.durable("x", "s", types=["b", "a"])
    journal.durable("x", "s", types=["a", "b"])
    with pytest.raises(StorageError, match="exists for stream 's'"):
        journal.durable("x", "t", types=["a", "b"])
    with pytest.raises(ValueError, match="max_attempts"):
        journal.durable("y", max_attempts=0)


def test_a_record_that_fails_too_often_is_parked_and_can_be_replayed(journal, path):
    journal.append("s", events(3))
    subscription = journal.durable("w", max_attempts=3)
    [first] = subscription.fetch(1)
    assert not subscription.nack(first, "one")
    assert not subscription.nack(first, "two")
    assert subscription.fetch(1)[0].position == 1
    journal.close()
    journal = Journal.open(path)
    subscription = journal.durable("w", max_attempts=3)
    [first] = subscription.fetch(1)
    assert subscription.nack(first, "three")
    assert subscription.fetch(1)[0].position == 2
    [parked] = subscription.parked()
    assert (parked.position, parked.attempts, parked.error) == (1, 3, "three")
    assert parked.record.payload == {"n": 0}

    def fails(record):
        raise RuntimeError("still")

    assert subscription.replay_parked(fails) == 0
    assert subscription.parked()[0].attempts == 4
    assert "still" in subscription.parked()[0].error
    seen: list[Record] = []
    assert subscription.replay_parked(seen.append) == 1
    assert [r.position for r in seen] == [1]
    assert subscription.parked() == []
    subscription.nack(subscription.fetch(1)[0])
    journal.close()


def test_acknowledging_a_parked_record_takes_it_out(journal):
    journal.append("s", events(2))
    subscription = journal.durable("w", max_attempts=1)
    [first] = subscription.fetch(1)
    assert subscription.nack(first)
    subscription.ack(first)
    assert subscription.parked() == []
    assert subscription.position == 1


def test_a_handler_runs_on_a_thread_of_its_own_and_parks_what_fails(journal, caplog):
    journal.append("s", events(250))
    seen, attempts = [], []
    done = threading.Event()

    def handler(record):
        if record.seq in (100, 250):
            attempts.append(record.seq)
            raise RuntimeError("never this one")
        seen.append(record.seq)
        if record.seq == 300:
            done.set()

    subscription = journal.durable("w", max_attempts=2)
    with caplog.at_level(logging.CRITICAL, "understudy.storage"):
        subscription.run(handler)
        with pytest.raises(StorageError, match="runs already"):
            subscription.run(handler)
        for n in range(50):
            journal.append("s", events(1))
        assert done.wait(TIMEOUT)
        subscription.stop()
        subscription.stop()
    assert seen == [n for n in range(1, 301) if n not in (100, 250)]
    assert attempts == [100, 100, 250, 250]
    assert [p.record.seq for p in subscription.parked()] == [100, 250]
    assert subscription.position == 300
    subscription.run(handler)
    subscription.stop()


def test_a_handler_may_stop_its_own_subscription(journal):
    journal.append("s", events(5))
    seen = []
    stopped = threading.Event()
    subscription = journal.durable("w")

    def handler(record):
        seen.append(record.seq)
        if record.seq == 3:
            subscription.stop()
            stopped.set()

    subscription.run(handler)
    assert stopped.wait(TIMEOUT)
    for thread in threading.enumerate():
        if thread.name == "understudy-w":
            thread.join(TIMEOUT)
    assert seen == [1, 2, 3]
    assert subscription.position == 3


def test_closing_the_journal_ends_its_handlers(path):
    journal = Journal.open(path)
    subscription = journal.durable("w")
    subscription.run(lambda record: None)
    thread = there(subscription._thread)
    journal.close()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_a_removed_subscription_is_forgotten(journal):
    journal.append("s", events(2))
    subscription = journal.durable("w", max_attempts=1)
    subscription.nack(subscription.fetch(1)[0])
    subscription.remove()
    assert journal.durables() == {}
    fresh = journal.durable("w")
    assert fresh.parked() == []
    assert fresh.position == 0


def test_a_parked_record_that_retention_took_is_named_without_its_record(journal):
    journal.append("s", events(2))
    subscription = journal.durable("w", max_attempts=1)
    subscription.nack(subscription.fetch(1)[0])
    journal.append("s", events(1))
    journal.retain(max_events=1, force=True, archive=False)
    [parked] = subscription.parked()
    assert parked.record is None
    assert subscription.replay_parked(lambda r: None) == 0
