"""Incarnations: begin, fail, end, close; fencing; the order of hooks."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

import understudy.actors as us

WAIT = 5.0


class Hooks(us.Actor):
    """Tells a queue which of its hooks run."""

    def __init__(self, told, at_start=None):
        super().__init__()
        self.told = told
        self.at_start = at_start
        told.put("init")

    def on_start(self):
        self.told.put("start")
        if self.at_start is not None:
            self.at_start(self)

    def on_receive(self, message):
        if callable(message):
            return message(self)
        self.told.put(message)
        return message

    def on_stop(self):
        self.told.put("stop")

    def on_failure(self, exception_type, exception_value, traceback):
        self.told.put(("failure", exception_type))


@pytest.fixture
def told():
    return queue.SimpleQueue()


def take(told, count):
    return [told.get(timeout=WAIT) for _ in range(count)]


def fail(actor):
    raise ValueError("told to fail")


def test_spawn_returns_after_on_start(room, told):
    room.spawn(Hooks, told)
    assert take(told, 2) == ["init", "start"]
    assert told.empty()


def test_spawn_raises_the_bare_cause_and_leaves_nothing(room, told):
    with pytest.raises(ValueError, match="told to fail"):
        room.spawn(Hooks, told, fail, path="/room/broken")
    assert room.runtime.lookup("/room/broken") is None
    assert room.guardian.told == []


def test_ignore_is_raised_as_it_is(room, told):
    def ignore(actor):
        raise us.Ignore

    with pytest.raises(us.Ignore):
        room.spawn(Hooks, told, ignore)


def test_a_restart_keeps_the_ref_and_the_mailbox_but_not_the_state(room, told):
    ref = room.spawn(Hooks, told)
    blocked, go = threading.Event(), threading.Event()

    def wait_and_fail(actor):
        blocked.set()
        go.wait(WAIT)
        raise ValueError

    ref.tell(wait_and_fail)
    assert blocked.wait(WAIT)
    ref.tell("one")
    ref.tell("two")
    go.set()
    assert take(told, 7) == [
        "init", "start", ("failure", ValueError), "init", "start", "one", "two",
    ]  # fmt: skip
    assert ref.incarnation == 2
    assert ref.is_alive()


def test_resume_goes_on_with_the_same_instance(room, told):
    room.guardian.on["failed"] = lambda ref, *facts: ref._us_resume()
    ref = room.spawn(Hooks, told)
    instance = ref._us_actor
    ref.tell(fail)
    assert ref.ask("next", timeout=WAIT) == "next"
    assert ref._us_actor is instance
    assert ref.incarnation == 1


def test_nothing_is_handled_until_the_decision(room, told):
    room.guardian.on["failed"] = lambda ref, *facts: None
    ref = room.spawn(Hooks, told)
    take(told, 2)
    ref.tell(fail)
    room.guardian.wait_for("failed")
    ref.tell("waits")
    assert take(told, 1) == [("failure", ValueError)]
    assert ref._us_stamp().state == "suspended"
    assert told.empty()
    ref._us_begin()
    assert take(told, 3) == ["init", "start", "waits"]


def test_a_failing_restart_is_told_to_the_guardian(room, told):
    allowed = threading.Event()

    def start(actor):
        if actor.actor_ref.incarnation > 1 and not allowed.is_set():
            allowed.set()
            raise KeyError("start")

    room.guardian.on["start_failed"] = lambda ref, *facts: ref._us_begin()
    ref = room.spawn(Hooks, told, start)
    ref.tell(fail)
    assert ref.ask("works", timeout=WAIT) == "works"
    assert ref.incarnation == 3
    (_, incarnation, cause), *_ = room.guardian.wait_for("start_failed")
    assert (incarnation, type(cause)) == (2, KeyError)


def test_stop_from_inside_is_normal_and_behind_what_was_sent(room, told):
    def send_and_stop(actor):
        actor.actor_ref.tell("before")
        actor.stop()
        actor.actor_ref.tell("after")

    letters: queue.SimpleQueue[Any] = queue.SimpleQueue()
    room.runtime.stream.subscribe(letters.put, us.DeadLetter)
    ref = room.spawn(Hooks, told)
    ref.tell(send_and_stop)
    assert take(told, 4) == ["init", "start", "before", "stop"]
    assert room.guardian.wait_for("ended")[0][2] == us.Exit.NORMAL
    assert letters.get(timeout=WAIT).message == "after"


def test_stop_from_outside_is_an_order(room, told):
    ref = room.spawn(Hooks, told)
    assert ref.stop(timeout=WAIT) is True
    assert ref.stop(timeout=WAIT) is False
    reason = room.guardian.wait_for("ended")[0][2]
    assert reason == us.Exit.SHUTDOWN
    assert reason.ordered


def test_proxy_stop_is_an_order_too(room, told):
    room.spawn(Hooks, told).proxy().stop().get(timeout=WAIT)
    assert room.guardian.wait_for("ended")[0][2].ordered


def test_stop_now_comes_before_what_waits(room, told):
    blocked, go = threading.Event(), threading.Event()

    def block(actor):
        blocked.set()
        go.wait(WAIT)

    ref = room.spawn(Hooks, told)
    ref.tell(block)
    assert blocked.wait(WAIT)
    ref.tell("never")
    stopped = ref.stop(block=False, now=True)
    go.set()
    assert stopped.get(timeout=WAIT) is True
    assert take(told, 3) == ["init", "start", "stop"]
    assert told.empty()


def test_on_stop_that_raises_is_logged_and_the_end_goes_on(room, quiet_log):
    class Raises(us.Actor):
        def on_stop(self):
            raise ValueError("cleanup")

    ref = room.spawn(Raises)
    assert ref.stop(timeout=WAIT)
    assert "cleanup" in quiet_log.text


def test_on_failure_that_raises_does_not_prevent_the_restart(room, quiet_log):
    class Raises(us.Actor):
        def on_receive(self, message):
            if message == "fail":
                raise ValueError
            return message

        def on_failure(self, *exc_info):
            raise KeyError("hook")

    ref = room.spawn(Raises)
    ref.tell("fail")
    assert ref.ask("well", timeout=WAIT) == "well"
    assert "hook" in quiet_log.text


def test_fail_from_outside_fails_the_named_incarnation_only(room, told):
    ref = room.spawn(Hooks, told)
    ref._us_fail(KeyError("append"), incarnation=7, phase="append")
    ref._us_fail(KeyError("append"), incarnation=1, phase="append")
    (_, incarnation, failure), *rest = room.guardian.wait_for("failed")
    assert (incarnation, failure.phase, rest) == (1, "append", [])


def test_a_fenced_handler_can_do_nothing_any_more(room, told):
    entered, go = threading.Event(), threading.Event()
    outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def freeze(actor):
        entered.set()
        go.wait(WAIT)
        try:
            actor.context.schedule_once(1, "x")
        except us.Fenced as error:
            outcome.put(error)
        return "too late"

    ref = room.spawn(Hooks, told)
    answer = ref.ask(freeze, block=False)
    ref.tell("waits")
    assert entered.wait(WAIT)
    (running,) = [line for line in room.runtime.running() if line.ref is ref]
    assert running.own
    assert ref._us_fence(running.turn)
    assert room.runtime.stats().zombie_threads == 1
    with pytest.raises(us.ActorDeadError, match="replaced"):
        answer.get(timeout=WAIT)
    ref._us_begin()
    assert take(told, 5) == ["init", "start", "init", "start", "waits"]
    go.set()
    assert isinstance(outcome.get(timeout=WAIT), us.Fenced)
    assert room.runtime.wait_quiet(WAIT) == []
    room.until_no_zombies()
    assert room.runtime.stats().refused >= 2
    assert not ref._us_fence(running.turn)


def test_the_rest_of_a_batch_survives_a_fence(room):
    entered, go = threading.Event(), threading.Event()
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()

    class Freezes(us.Actor):
        def on_receive(self, message):
            if message == 0 and self.actor_ref.incarnation == 1:
                entered.set()
                go.wait(WAIT)
            else:
                seen.put(message)

    ref = room.make(Freezes)
    for number in range(100):
        ref.tell(number)
    ref._us_begin()
    assert entered.wait(WAIT)
    assert ref.mailbox_depth() == 99
    assert ref._us_fence()
    ref._us_begin()
    assert take(seen, 99) == list(range(1, 100))
    go.set()


def test_closing_accounts_for_everything_that_waits(room, told):
    blocked, go = threading.Event(), threading.Event()
    letters: queue.SimpleQueue[Any] = queue.SimpleQueue()
    room.runtime.stream.subscribe(letters.put, us.DeadLetter)

    def block(actor):
        blocked.set()
        go.wait(WAIT)

    ref = room.spawn(Hooks, told)
    ref.tell(block)
    assert blocked.wait(WAIT)
    ref.tell("told")
    asked = ref.ask("asked", block=False)
    stop = ref.stop(block=False)
    ref._us_close(us.Exit.KILLED)
    with pytest.raises(us.ActorDeadError):
        asked.get(timeout=WAIT)
    assert stop.get(timeout=WAIT) is True
    assert {letters.get(timeout=WAIT).message for _ in range(2)} == {"told", "asked"}
    assert room.guardian.wait_for("closed") == [("closed", us.Exit.KILLED)]
    with pytest.raises(us.ActorDeadError):
        ref.tell("late")
    assert letters.get(timeout=WAIT).reason == "dead"
    go.set()
    assert room.runtime.wait_quiet(WAIT) == []
    assert letters.empty()


def test_a_closed_cell_begins_no_more(room, told):
    ref = room.spawn(Hooks, told)
    ref._us_close(us.Exit.SHUTDOWN)
    ref._us_begin()
    ref._us_close(us.Exit.KILLED)
    assert room.runtime.wait_quiet(WAIT) == []
    assert len(room.guardian.wait_for("closed")) == 1
    assert take(told, 2) == ["init", "start"]
    assert told.empty()


def test_a_made_cell_waits_with_its_mail_for_begin(room, told):
    ref = room.make(Hooks, told)
    ref.tell("early")
    assert told.empty()
    ref._us_begin()
    assert take(told, 3) == ["init", "start", "early"]
    assert room.guardian.wait_for("started") == [("started", 1)]


@pytest.mark.parametrize("dispatcher", ["pool", "thread"])
def test_a_thousand_restarts_keep_every_message(room, dispatcher):
    seen: list[Any] = []

    class Fragile(us.Actor):
        def on_receive(self, message):
            if message == "done":
                return len(seen)
            if message % 2:
                raise ValueError
            seen.append(message)
            return None

    ref = room.spawn(Fragile, dispatcher=dispatcher)
    for number in range(2000):
        ref.tell(number)
    assert ref.ask("done", timeout=30) == 1000
    assert seen == list(range(0, 2000, 2))
    assert ref.incarnation == 1001


def test_exits_know_whether_they_are_abnormal_and_compare_by_kind_and_cause():
    cause = ValueError()
    assert [exit.abnormal for exit in (us.Exit.NORMAL, us.Exit.SHUTDOWN, us.Exit.NOT_FOUND)] == [
        False, False, False,
    ]  # fmt: skip
    assert us.Exit.KILLED.abnormal
    assert us.Failed(cause).abnormal
    assert us.RestartLimit(cause).abnormal
    assert us.Failed(cause) == us.Failed(cause) != us.RestartLimit(cause)
    assert us.Failed(cause) != us.Failed(KeyError())
    with pytest.raises(AttributeError, match="frozen"):
        us.Exit.NORMAL.kind = "x"


@pytest.mark.parametrize("steps", [0, 1])
def test_actors_of_a_stuck_event_loop_go_on_with_a_fresh_one(room, steps):
    import asyncio

    entered, go = threading.Event(), threading.Event()

    class Blocks(us.Actor):
        async def on_receive(self, message):
            if message == "block" and self.actor_ref.incarnation == 1:
                for _ in range(steps):
                    await asyncio.sleep(0)
                entered.set()
                go.wait(WAIT)
            elif message == "wait" and self.actor_ref.incarnation == 1:
                await asyncio.get_running_loop().create_future()
            return message

    stuck, neighbour, idle = (room.spawn(Blocks) for _ in range(3))
    waiting = neighbour.ask("wait", block=False)
    assert idle.ask("up", timeout=WAIT) == "up"
    answer = stuck.ask("block", block=False)
    assert entered.wait(WAIT)
    (running,) = [line for line in room.runtime.running() if line.ref is stuck]
    assert stuck._us_fence(running.turn)
    stuck._us_begin()
    for lost in (answer, waiting):
        with pytest.raises(us.ActorDeadError, match="replaced"):
            lost.get(timeout=WAIT)
    assert [ref.ask("again", timeout=WAIT) for ref in (stuck, neighbour, idle)] == ["again"] * 3
    assert [ref.incarnation for ref in (stuck, neighbour, idle)] == [2, 2, 1]
    (_, _, failure), *_ = room.guardian.wait_for("failed")
    assert failure.phase == "interrupt"
    go.set()
    room.until_no_zombies()
