"""Metrics: read when somebody looks, each system by itself."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from understudy.actors import Actor, ActorDeadError, EventStream
from understudy.observability import Metrics, attach
from understudy.storage import NewEffect, NewEvent
from understudy.supervision import ActorSystem


class Counting(Actor):
    def on_receive(self, message):
        if message == "fail":
            raise ValueError(message)
        return message


@pytest.fixture
def system():
    with ActorSystem("measured") as system:
        yield system


def test_one_message_counts_as_one(system) -> None:
    metrics = attach(system)
    before = metrics.values()["understudy_messages_total"]
    ref = system.spawn(Counting)
    ref.ask("hello", timeout=5)
    assert system.stats().messages >= 1
    assert metrics.values()["understudy_messages_total"] == before + 1


def test_restarts_failures_and_dead_letters_are_counted(system) -> None:
    metrics = attach(system)
    ref = system.spawn(Counting, name="a")
    ref.tell("fail")
    assert ref.ask("again", timeout=5) == "again"
    ref.stop()
    with pytest.raises(ActorDeadError):
        ref.tell("too late")
    values = metrics.values()
    assert values["understudy_restarts_total"] == 1
    assert values["understudy_failures_total"] == 1
    assert values['understudy_failures_by_phase_total{phase="receive"}'] == 1
    assert values["understudy_dead_letters_total"] == 1
    assert values['understudy_dead_letters_by_reason_total{reason="dead"}'] == 1


def test_appends_and_their_latency_are_counted(system) -> None:
    metrics = attach(system)
    before = metrics.values()
    for number in range(5):
        system.journal.append("account:ada", [NewEvent("deposited", {"n": number})])
    after = metrics.values()

    def grown(name: str) -> float:
        return after[name] - before[name]

    assert grown("understudy_appends_total") == 5
    assert grown("understudy_append_latency_seconds_count") == 5
    assert grown("understudy_append_latency_seconds_sum") > 0
    assert grown('understudy_append_latency_seconds_bucket{le="+Inf"}') == 5
    buckets = [
        value
        for name, value in after.items()
        if name.startswith("understudy_append_latency_seconds_bucket")
    ]
    assert buckets == sorted(buckets)


def test_effects_are_counted_by_status(system) -> None:
    metrics = attach(system)
    system.journal.outbox.add([NewEffect("mail", {"to": "ada"}, dedupe_key="1")])
    values = metrics.values()
    assert values['understudy_effects{status="pending"}'] == 1
    assert values['understudy_effects{status="failed"}'] == 0


def test_waiting_messages_are_counted(system) -> None:
    entered, free = threading.Event(), threading.Event()

    class Busy(Actor):
        def on_receive(self, message):
            entered.set()
            free.wait(20)

    metrics = attach(system)
    ref = system.spawn(Busy)
    ref.tell("first")
    assert entered.wait(20)
    for _ in range(7):
        ref.tell("more")
    system.realm.watcher.sweep()
    values = metrics.values()
    free.set()
    assert values["understudy_mailbox_oldest_seconds"] > 0.0
    assert values["understudy_mailbox_messages"] >= 7
    assert values["understudy_mailbox_deepest"] == 7
    assert values['understudy_dispatcher_running{dispatcher="pool"}'] >= 1


def test_the_text_is_prometheus_and_on_request_open_metrics(system) -> None:
    metrics = attach(system)
    text, kind = metrics.render()
    assert kind.startswith("text/plain")
    assert b"# TYPE understudy_messages_total counter" in text
    assert b"# HELP understudy_actors Actors alive now." in text
    text, kind = metrics.render("application/openmetrics-text")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_every_name_has_the_prefix(system) -> None:
    assert all(name.startswith("understudy_") for name in attach(system).values())


def test_attaching_twice_gives_the_same_metrics(system) -> None:
    assert attach(system) is attach(system)


def test_two_systems_do_not_mix(system) -> None:
    with ActorSystem("other") as other:
        other.spawn(Counting).ask("x", timeout=5)
        attach(other)
        mine = attach(system)
        assert attach(other) is not mine
        assert attach(other).values()["understudy_actors"] > mine.values()["understudy_actors"]


def test_metrics_keep_no_system_alive() -> None:
    class Bare:
        events = EventStream()
        metrics = None

    system = Bare()
    metrics = Metrics(system)  # type: ignore[arg-type]  # all it looks at
    watcher = weakref.ref(system)
    del system
    gc.collect()
    assert watcher() is None
    assert "understudy_busy_total" in metrics.values()


def test_a_system_made_with_metrics_has_them(monkeypatch) -> None:
    monkeypatch.setattr(ActorSystem, "metrics_hook", staticmethod(attach))
    with ActorSystem("with", metrics=True) as system:
        assert isinstance(system.metrics, Metrics)
        assert system.metrics is attach(system)


def test_an_application_adds_counters_gauges_and_histograms_of_its_own(system) -> None:
    metrics = attach(system)
    metrics.counter("orders_total", "Orders.", ["kind"]).labels("book").inc(2)
    metrics.gauge("queue_length", "Waiting orders.").set(7)
    metrics.histogram("order_seconds", "Time of an order.", buckets=(0.1, 1.0)).observe(0.5)
    values = metrics.values()
    assert values['orders_total{kind="book"}'] == 2
    assert values["queue_length"] == 7
    assert values['order_seconds_bucket{le="0.1"}'] == 0
    assert values['order_seconds_bucket{le="1.0"}'] == 1
    assert metrics.gauge("queue_length", "Waiting orders.") is metrics.gauge("queue_length", "")


def test_one_name_is_one_kind_of_metric(system) -> None:
    metrics = attach(system)
    metrics.counter("orders", "Orders.")
    with pytest.raises(ValueError, match="'orders' is a counter; take another name"):
        metrics.gauge("orders", "Orders.")


def test_a_source_that_fails_spoils_the_scrape_rather_than_lie(system) -> None:
    metrics = attach(system)

    def broken():
        raise RuntimeError("no numbers")

    metrics.add_source(broken)
    with pytest.raises(RuntimeError, match="no numbers"):
        metrics.render()


def test_after_the_end_the_counts_of_events_stay_readable() -> None:
    with ActorSystem("ended") as system:
        metrics = attach(system)
        ref = system.spawn(Counting)
        ref.tell("fail")
        ref.ask("again", timeout=5)
    metrics.close()
    values = metrics.values()
    assert values['understudy_failures_by_phase_total{phase="receive"}'] == 1
    assert values["understudy_journal_up"] == 0
