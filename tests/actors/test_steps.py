"""The hooks persistent actors stand on: steps, gates, recovery."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any

import pytest

import understudy.actors as us

WAIT = 5.0


class Gate:
    """Opens when it is told to, with an error or without."""

    def __init__(self):
        self.callbacks = []

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def open(self, error=None):
        for callback in self.callbacks:
            callback(error)


class Steps(us.Actor):
    """Hands out the gates it was given, one for each step."""

    def __init__(self, gates=(), told=None):
        super().__init__()
        self.gates = list(gates)
        self.told = told if told is not None else []
        self.fails = False

    def _us_step_begin(self):
        self.told.append("begin")

    def _us_step_end(self, ok, error):
        self.told.append(("end", ok, type(error).__name__))
        if self.fails:
            raise KeyError("commit")
        if not ok:
            return us.FAIL
        return self.gates.pop(0) if self.gates else None

    def on_receive(self, message):
        if message == "fail":
            raise ValueError("no")
        if message == "break":
            self.fails = True
        return message

    def method(self, value):
        return value

    attribute = 7


class AsyncSteps(Steps):
    async def on_receive(self, message):
        await asyncio.sleep(0)
        return super().on_receive(message)


@pytest.mark.parametrize("cls", [Steps, AsyncSteps])
def test_an_answer_waits_until_its_gate_opens_while_the_actor_goes_on(room, cls):
    gate = Gate()
    ref = room.spawn(cls, [gate])
    first = ref.ask("one", block=False)
    second = ref.ask("two", block=False)
    assert room.runtime.wait_quiet(WAIT) == []
    assert len(gate.callbacks) == 1
    assert not first.done()
    assert not second.done()  # it needs no gate, but must not overtake
    gate.open()
    assert [first.get(timeout=WAIT), second.get(timeout=WAIT)] == ["one", "two"]


def test_gates_that_open_out_of_order_release_answers_in_order(room):
    gates = [Gate(), Gate()]
    ref = room.spawn(Steps, gates)
    answers = [ref.ask(number, block=False) for number in range(2)]
    assert room.runtime.wait_quiet(WAIT) == []
    gates[1].open()
    assert not answers[1].done()
    gates[0].open()
    assert [answer.get(timeout=WAIT) for answer in answers] == [0, 1]


def test_a_gate_that_opens_with_an_error_fails_the_answer(room):
    gate = Gate()
    ref = room.spawn(Steps, [gate])
    answer = ref.ask("x", block=False)
    assert room.runtime.wait_quiet(WAIT) == []
    gate.open(KeyError("disk"))
    with pytest.raises(KeyError, match="disk"):
        answer.get(timeout=WAIT)


@pytest.mark.parametrize("cls", [Steps, AsyncSteps])
def test_a_step_that_fails_takes_the_incarnation_down_also_for_an_ask(room, cls):
    ref = room.spawn(cls)
    with pytest.raises(ValueError, match="no"):
        ref.ask("fail", timeout=WAIT)
    (_, incarnation, failure), *_ = room.guardian.wait_for("failed")
    assert (incarnation, failure.asked) == (1, True)
    room.guardian.wait_for("started")
    assert ref.ask("well", timeout=WAIT) == "well"


def test_a_step_end_that_raises_fails_the_incarnation(room):
    ref = room.spawn(Steps)
    with pytest.raises(KeyError, match="commit"):
        ref.ask("break", timeout=WAIT)
    room.guardian.wait_for("failed")


def test_steps_surround_proxied_calls_and_reads_but_not_stops(room):
    told: list[Any] = []
    ref = room.spawn(Steps, (), told)
    proxy = ref.proxy()
    assert proxy.method(1).get(timeout=WAIT) == 1
    assert proxy.attribute.get(timeout=WAIT) == 7
    ref.tell("told")
    assert ref.stop(timeout=WAIT)
    assert told == ["begin", ("end", True, "NoneType")] * 3


def test_an_inline_caller_does_not_hold_the_actor_while_it_waits_for_a_gate(room):
    gate = Gate()
    ref = room.spawn(Steps, [gate])
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    asker = threading.Thread(target=lambda: answers.put(ref.ask("waits")))
    asker.start()
    second = ref.ask("second", block=False)
    assert not second.done()
    while not gate.callbacks:
        assert room.runtime.wait_quiet(WAIT) == []
    gate.open()
    assert answers.get(timeout=WAIT) == "waits"
    assert second.get(timeout=WAIT) == "second"
    asker.join(WAIT)


def test_recovery_runs_before_on_start_and_the_mailbox_waits(room):
    order: list[Any] = []

    class Recovers(us.Actor):
        def _us_recover(self):
            order.append(("recover", self._us_persistence_id))

        def on_start(self):
            order.append("start")

        def on_receive(self, message):
            order.append(message)

    ref = room.spawn(Recovers, persistence_id="account:ada")
    ref.tell("command")
    assert room.runtime.wait_quiet(WAIT) == []
    assert order == [("recover", "account:ada"), "start", "command"]


def test_a_recovery_that_fails_is_a_start_that_fails(room):
    class Broken(us.Actor):
        def _us_recover(self):
            raise LookupError("event 7")

    with pytest.raises(LookupError, match="event 7"):
        room.spawn(Broken)


def test_an_instance_knows_when_it_was_replaced(room):
    ref = room.spawn(Steps)
    instance = ref._us_actor
    assert not instance._us_fenced()
    ref._us_fence()
    ref._us_begin()
    room.guardian.wait_for("started")
    assert instance._us_fenced()
