"""Probes, recorders and settling: what a test of actors waits on."""

from __future__ import annotations

import threading

import pytest

from understudy.actors import Actor, ActorFailed, ActorStarted, ActorStopped
from understudy.supervision import ActorSystem
from understudy.testing import EventRecorder, ManualClock, TestProbe, settle


class Doubler(Actor):
    def on_receive(self, message):
        number, reply_to = message
        reply_to.tell(number * 2)


class Blocked(Actor):
    def on_receive(self, gate):
        gate.wait(30)


def test_a_probe_expects_by_value_and_by_class(system: ActorSystem, probe: TestProbe) -> None:
    doubler = system.spawn(Doubler)
    doubler.tell((21, probe.ref))
    assert probe.expect(42) == 42
    doubler.tell((2, probe.ref))
    assert probe.expect(int) == 4


def test_a_probe_says_what_it_received_instead(system: ActorSystem, probe: TestProbe) -> None:
    system.spawn(Doubler).tell((1, probe.ref))
    with pytest.raises(AssertionError, match="received 2; expected 3"):
        probe.expect(3)


def test_a_probe_says_that_nothing_came(probe: TestProbe) -> None:
    with pytest.raises(AssertionError, match="received nothing within 0 s"):
        probe.expect(1, timeout=0)


def test_expecting_nothing_fails_on_a_message(system: ActorSystem, probe: TestProbe) -> None:
    probe.expect_none()
    system.spawn(Doubler).tell((1, probe.ref))
    with pytest.raises(AssertionError, match="expected no message"):
        probe.expect_none()


def test_fishing_throws_back_what_is_not_wanted(system: ActorSystem, probe: TestProbe) -> None:
    doubler = system.spawn(Doubler)
    for number in range(5):
        doubler.tell((number, probe.ref))
    assert probe.fish(lambda message: message > 4) == 6
    with pytest.raises(AssertionError, match=r"threw back \[8\]"):
        probe.fish(lambda message: message > 100, timeout=0.01)


def test_a_probe_replies_to_the_message_expected_last(
    system: ActorSystem, probe: TestProbe
) -> None:
    asked = probe.ref.ask("question", block=False)
    probe.expect("question")
    probe.reply("answer")
    assert asked.get(timeout=3) == "answer"


def test_a_probe_has_nothing_to_reply_to_at_first(probe: TestProbe) -> None:
    with pytest.raises(AssertionError, match="nothing to reply to"):
        probe.reply(1)


def test_a_probe_knows_the_sender(system: ActorSystem, probe: TestProbe) -> None:
    doubler = system.spawn(Doubler)
    doubler.tell((1, probe.ref))
    probe.expect(2)
    assert probe.sender == doubler


def test_settling_names_who_is_busy_and_with_what(system: ActorSystem) -> None:
    gate = threading.Event()
    blocked = system.spawn(Blocked, name="blocked")
    blocked.tell(gate)
    with pytest.raises(AssertionError, match=r"/user/blocked: handles <threading\.Event"):
        settle(system, timeout=0.2)
    gate.set()
    settle(system)


def test_a_recorder_collects_events_of_its_classes_in_order(system: ActorSystem) -> None:
    recorder = EventRecorder(system, ActorStarted, ActorStopped)
    ref = system.spawn(Doubler, name="one")
    ref.stop()
    recorder.expect(ActorStopped, lambda event: event.ref == ref)
    kinds = [type(event) for event in recorder.events if event.ref == ref]
    assert kinds == [ActorStarted, ActorStopped]
    recorder.clear()
    assert recorder.of(ActorStarted) == []


def test_a_recorder_lists_what_there_was_when_an_event_is_missing(system: ActorSystem) -> None:
    recorder = EventRecorder(system, ActorFailed)
    with pytest.raises(AssertionError, match=r"0 of 1 ActorFailed within 0 s; recorded: \[\]"):
        recorder.expect(ActorFailed, timeout=0)


def test_a_recorder_needs_an_event_class(system: ActorSystem) -> None:
    with pytest.raises(TypeError, match="one event class at least"):
        EventRecorder(system)


def test_advancing_with_settle_lets_actors_react_between_timers() -> None:
    class Chain(Actor):
        def __init__(self) -> None:
            super().__init__()
            self.rang: list[float] = []

        def on_start(self) -> None:
            self.context.schedule_once(1.0, "ring")

        def on_receive(self, message):
            if message == "ring":
                self.rang.append(self.context.system.clock.monotonic())
                self.context.schedule_once(1.0, "ring")
            return self.rang

    clock = ManualClock()
    with ActorSystem("chain", clock=clock) as system:
        chain = system.spawn(Chain)
        clock.advance(3.5, settle=lambda: settle(system))
        assert chain.ask("so far?") == [1.0, 2.0, 3.0]
