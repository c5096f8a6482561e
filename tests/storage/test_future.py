"""The promise of a commit, and what the journal counts."""

from __future__ import annotations

import math
import threading

import pytest

from tests.storage.conftest import TIMEOUT, events
from understudy.storage import CommitFuture, NewEffect
from understudy.storage._future import finished
from understudy.storage._stats import Meter


def test_many_threads_wait_for_one_promise():
    future: CommitFuture[int] = CommitFuture()
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(future.result(TIMEOUT))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    future.set_result(7)
    for thread in threads:
        thread.join(TIMEOUT)
    assert got == [7] * 20


def test_a_promise_that_is_late_says_that_the_write_goes_on():
    future: CommitFuture[int] = CommitFuture()
    assert not future.done()
    assert not future.wait(0)
    with pytest.raises(TimeoutError, match="goes on"):
        future.result(0)
    with pytest.raises(TimeoutError):
        future.exception(0.001)
    future.set_exception(ValueError("no"))
    assert future.done()
    assert future.wait(0)
    assert isinstance(future.exception(), ValueError)
    with pytest.raises(ValueError, match="no"):
        future.result()


def test_callbacks_run_once_before_and_after():
    future: CommitFuture[int] = CommitFuture()
    called: list[CommitFuture[int]] = []
    future.add_done_callback(called.append)
    future.add_done_callback(called.append)
    assert called == []
    future.set_result(1)
    assert called == [future, future]
    future.add_done_callback(called.append)
    assert called == [future] * 3


def test_a_promise_already_kept():
    assert finished(3).result(0) == 3


def test_callbacks_added_while_it_is_kept_run_exactly_once():
    for _ in range(200):
        future: CommitFuture[int] = CommitFuture()
        called: list[CommitFuture[int]] = []
        thread = threading.Thread(target=future.set_result, args=(1,))
        thread.start()
        for _ in range(5):
            future.add_done_callback(called.append)
        thread.join(TIMEOUT)
        assert len(called) == 5


def test_stats_count_what_happened(journal):
    before = journal.stats()
    assert (before.events_written, before.total_events, before.first_position) == (0, 0, 0)
    assert before.avg_write_latency_ms == 0.0
    assert before.p95_write_latency_ms == 0.0
    for n in range(10):
        journal.append(f"s{n % 3}", events(2))
    journal.outbox.add([NewEffect("web", 1, "k")])
    journal.delete("s0")
    list(journal.read_all())
    journal.save_snapshot("s1", 1, 1)
    stats = journal.stats()
    assert stats.events_written == 20
    assert stats.total_events == 20
    assert stats.events_queried == 12
    assert stats.total_streams == 2
    assert stats.last_position == 20
    assert stats.first_position == 1
    assert stats.effects == 1
    assert stats.snapshots == 1
    assert stats.writes == 13
    assert 0 < stats.avg_write_latency_ms < 10_000
    assert stats.avg_write_latency_ms / 20 < stats.p95_write_latency_ms < 10_000
    assert stats.commits >= 10
    assert stats.commit_seconds > 0
    assert stats.size_bytes > 4096
    assert sum(count for _, count in stats.latency_buckets) == 13
    assert stats.latency_buckets[-1][0] == math.inf
    assert stats["events_written"] == 20
    assert stats.to_dict()["durability"] == "sync"
    with pytest.raises(KeyError):
        stats["nonsense"]


def test_the_95th_percentile_is_that_of_the_values():
    meter = Meter()
    for n in range(1, 101):
        meter.latency(n / 1000)
    assert 0.095 <= meter.quantile(0.95) <= 0.095 * 1.25
    assert 0.05 <= meter.quantile(0.5) <= 0.05 * 1.25
    meter.latency(1e9)
    assert meter.quantile(1.0) > 30
