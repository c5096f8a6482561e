"""Subscriptions: catch up, then live, no gap, no duplicate; and listeners of commits."""

from __future__ import annotations

import logging
import queue
import threading

import pytest

from tests.storage.conftest import TIMEOUT, Collector, events, seqs, there
from understudy.storage import (
    Append,
    CommitInfo,
    Journal,
    JournalClosed,
    NewEffect,
    NewEvent,
    Write,
)
from understudy.storage._feed import LiveSubscription


def test_a_subscription_catches_up_and_goes_on_live(journal):
    journal.append("s", events(1500))
    collect = Collector(1600)
    subscription = journal.subscribe(collect)
    for n in range(100):
        journal.append(f"t{n % 3}", events(1))
    assert [r.position for r in collect.wait()] == list(range(1, 1601))
    subscription.cancel()
    assert subscription.position == 1600


def test_a_subscription_to_one_stream_gets_its_seqs_alone(journal):
    for n in range(10):
        journal.append("s", events(2))
        journal.append("t", events(1))
    collect = Collector(25)
    with journal.subscribe(collect, stream="s", after=5) as subscription:
        for n in range(10):
            journal.append("t", events(1))
            journal.append("s", events(1))
        assert [(r.stream, r.seq) for r in collect.wait()] == [("s", n) for n in range(6, 31)]
        assert subscription.position == 30


def test_a_subscription_by_type_topic_and_priority(journal):
    collect = Collector(2)
    journal.subscribe(collect, types=["a", "b"], topics="x", priority="critical")
    journal.append("s", [NewEvent("a", 1, topics=("x",), priority="critical")])
    journal.append("s", [NewEvent("a", 2, topics=("x",)), NewEvent("b", 3, priority="critical")])
    journal.append("s", [NewEvent("c", 4, topics=("x",), priority="critical")])
    journal.append("t", [NewEvent("b", 5, topics=("y", "x"), priority="critical")])
    assert [r.payload for r in collect.wait()] == [1, 5]


def test_subscribers_beside_many_writers_miss_nothing_and_see_nothing_twice(journal):
    total = 20 * 50
    collectors = [Collector(total) for _ in range(3)]
    own = Collector(50)
    journal.subscribe(own, stream="s7")
    started = threading.Barrier(21)

    def write(n: int) -> None:
        started.wait()
        for k in range(50):
            journal.append(f"s{n}", events(1, start=k))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    journal.subscribe(collectors[0])
    started.wait()
    for collect in collectors[1:]:
        journal.subscribe(collect)
    for collect in collectors:
        assert [r.position for r in collect.wait()] == list(range(1, total + 1))
    assert [r.payload["n"] for r in own.wait()] == list(range(50))
    for thread in threads:
        thread.join()


def test_a_subscriber_that_raises_loses_that_record_only(journal, caplog):
    seen = []
    done = threading.Event()

    def callback(record):
        if record.seq == 2:
            raise RuntimeError("not this one")
        seen.append(record.seq)
        if record.seq == 4:
            done.set()

    subscription = journal.subscribe(callback)
    with caplog.at_level(logging.CRITICAL, "understudy.storage"):
        journal.append("s", events(4))
        assert done.wait(TIMEOUT)
    assert seen == [1, 3, 4]
    assert subscription.errors == 1
    assert journal.stats().callback_errors >= 1


def test_nothing_is_delivered_after_cancel(journal):
    collect = Collector(1)
    subscription = journal.subscribe(collect, stream="s")
    journal.append("s", events(1))
    collect.wait()
    subscription.cancel()
    subscription.cancel()
    barrier = Collector(1)
    journal.subscribe(barrier, stream="s", after=1)
    journal.append("s", events(1))
    barrier.wait()
    assert len(collect.records) == 1
    assert journal.stats().subscriptions == 1


def test_a_subscriber_may_cancel_itself_and_read_in_its_callback(journal):
    seen = []
    done = threading.Event()

    def callback(record):
        seen.append(len(list(journal.read("s"))))
        subscription.cancel()
        done.set()

    journal.append("s", events(3))
    started = threading.Lock()
    with started:
        subscription = journal.subscribe(
            lambda r: (started.acquire(), started.release(), callback(r))
        )
    assert done.wait(TIMEOUT)
    assert seen == [3]


def test_a_subscription_begins_behind_what_was_truncated(journal):
    journal.append("s", events(5))
    journal.truncate("s", 4)
    collect = Collector(2)
    journal.subscribe(collect, stream="s")
    assert [r.seq for r in collect.wait()] == [4, 5]


def test_commit_listeners_hear_streams_and_channels_once_it_is_safe(journal):
    heard: list[CommitInfo] = []
    cancel = journal.on_commit(heard.append)
    journal.write(
        Write(
            appends=[Append("a", events(2)), Append("b", events(1))],
            effects=[NewEffect("web", {}, "k1"), NewEffect("mail", {}, "k2")],
        )
    )
    [info] = heard
    assert info.position == 3
    assert info.streams == ("a", "b")
    assert set(info.channels) == {"web", "mail"}
    cancel()
    cancel()
    journal.append("a", events(1))
    assert len(heard) == 1


def test_a_commit_listener_that_raises_stops_nobody(journal, caplog):
    def bad(info):
        raise RuntimeError("listener")

    heard: list[CommitInfo] = []
    journal.on_commit(bad)
    journal.on_commit(heard.append)
    with caplog.at_level(logging.CRITICAL, "understudy.storage"):
        journal.append("s", events(1))
        journal.append("s", events(1))
    assert len(heard) == 2
    assert journal.stats().callback_errors >= 2


def test_closing_ends_subscriptions_and_refuses_new_ones(path):
    journal = Journal.open(path)
    collect = Collector(1)
    journal.subscribe(collect)
    journal.append("s", events(1))
    collect.wait()
    journal.close()
    with pytest.raises(JournalClosed):
        journal.subscribe(collect)


def test_a_damaged_record_ends_the_subscription_with_its_error(journal, monkeypatch, caplog):
    from understudy.storage import CorruptRecord, _frame

    journal.append("s", events(1))

    def damaged(*_):
        raise CorruptRecord("s", 1, 1, "for the test")

    failed = threading.Event()
    original = journal._feed.remove
    monkeypatch.setattr(journal._feed, "remove", lambda s: (original(s), failed.set()))
    monkeypatch.setattr(_frame, "read_row", damaged)
    with caplog.at_level(logging.CRITICAL, "understudy.storage"):
        subscription = journal.subscribe(lambda r: None)
        assert failed.wait(TIMEOUT)
    assert isinstance(subscription.failed, CorruptRecord)
    assert subscription.cancelled


@pytest.mark.parametrize(
    "wait",
    [
        lambda journal: journal.append("t", events(1)),
        lambda journal: journal.state.put("b", "k", 1),
        lambda journal: journal.sync(),
    ],
)
def test_waiting_for_a_commit_on_the_writers_own_thread_is_refused(journal, wait):
    from understudy.storage import StorageError

    caught = []
    done = threading.Event()

    def callback(future):
        try:
            wait(journal)
        except StorageError as error:
            caught.append(str(error))
        done.set()

    journal.submit("s", events(1)).add_done_callback(callback)
    assert done.wait(TIMEOUT)
    assert "submit without waiting" in caught[0]
    assert journal.append("s", events(1)).last_seq == 2


def test_a_subscriber_that_never_returns_is_left_behind_at_close(path, monkeypatch, caplog):
    from understudy.storage import _feed

    monkeypatch.setattr(_feed, "PATIENCE_SECONDS", 0.01)
    entered, released = threading.Event(), threading.Event()
    journal = Journal.open(path)
    journal.subscribe(lambda record: (entered.set(), released.wait(TIMEOUT)))
    journal.append("s", events(1))
    assert entered.wait(TIMEOUT)
    thread = there(journal._feed._thread)
    with caplog.at_level(logging.WARNING, "understudy.storage"):
        journal.close()
    assert "left behind" in caplog.text
    released.set()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_a_long_history_is_caught_up_with_though_nothing_new_comes(journal):
    journal.append("s", events(2500))
    collect = Collector(until=2500)
    with journal.subscribe(collect, stream="s"):
        assert seqs(collect.wait()) == list(range(1, 2501))
    collect = Collector(until=2500)
    with journal.subscribe(collect):
        assert seqs(collect.wait()) == list(range(1, 2501))


def test_a_subscriber_that_cancels_in_its_callback_is_given_nothing_more(journal):
    journal.append("s", events(100))
    made: queue.SimpleQueue[LiveSubscription] = queue.SimpleQueue()
    seen: list[int] = []

    def once(record):
        seen.append(record.seq)
        made.get(timeout=TIMEOUT).cancel()

    made.put(journal.subscribe(once, stream="s"))
    collect = Collector(until=100)
    with journal.subscribe(collect, stream="s"):  # served after it, by the same thread
        collect.wait()
    assert seen == [1]
