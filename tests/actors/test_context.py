"""What an actor has at hand: stash, behaviours, timers, watches, messages about messages."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any

import pytest

import understudy.actors as us

WAIT = 5.0


class Logs(us.Actor):
    """Keeps what it receives; a function is called with the actor, and answers."""

    def __init__(self):
        super().__init__()
        self.log = []

    def on_receive(self, message):
        if callable(message):
            return message(self)
        self.log.append(message)
        return None


def log_of(ref):
    return ref.ask(lambda actor: list(actor.log), timeout=WAIT)


# --- stash, become ----------------------------------------------------------------------------


class Opens(us.Actor):
    """Stashes everything until it is told to open."""

    def __init__(self):
        super().__init__()
        self.open = False
        self.log = []

    def on_receive(self, message):
        if message == "open":
            self.open = True
            return self.context.unstash_all()
        if message == "log":
            return list(self.log)
        if not self.open:
            self.context.stash()
            return "must not be seen"
        self.log.append(message)
        return f"opened {message}"


def test_stashed_messages_come_back_in_order_before_what_waits(room):
    ref = room.spawn(Opens)
    for number in range(3):
        ref.tell(number)
    assert ref.ask("open", timeout=WAIT) == 3
    ref.tell(3)
    assert ref.ask("log", timeout=WAIT) == [0, 1, 2, 3]


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_an_asker_whose_message_is_stashed_waits_for_its_answer(room, timeout):
    ref = room.spawn(Opens)
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    asker = threading.Thread(target=lambda: answers.put(ref.ask("x", timeout=timeout)))
    asker.start()
    stashed = lambda: ref._us_extra is not None and ref._us_extra.stash  # noqa: E731
    ready = threading.Event()
    watcher = threading.Thread(target=lambda: _until(stashed, ready))
    watcher.start()
    assert ready.wait(WAIT)
    ref.tell("open")
    assert answers.get(timeout=WAIT) == "opened x"
    asker.join(WAIT)
    watcher.join(WAIT)


def _until(true, event):
    while not true():
        pass
    event.set()


class Keeps(us.Actor):
    """Tells who handled what: stashes once, or twice."""

    def __init__(self, seen, times=1, then=None):
        super().__init__()
        self.seen = seen
        self.times = times
        self.then = then

    def on_receive(self, message):
        if message == "open":
            return self.context.unstash_all()
        info = self.context.message
        assert info is not None
        self.seen.append(
            (
                info.message,
                info.id,
                info.causation_id,
                info.correlation_id,
                info.sender,
                info.deadline,
                info.trace,
            )
        )
        if self.times:
            self.times -= 1
            self.context.stash()
        elif self.then is not None:
            self.then.tell("heard")
        return "answer"


class KeepsLater(Keeps):
    async def on_receive(self, message):
        await asyncio.sleep(0)
        return super().on_receive(message)


class Tells(us.Actor):
    def on_receive(self, message):
        target, what, trace = message
        self.context.set_trace(trace)
        target.tell(what)


@pytest.mark.parametrize("cls", [Keeps, KeepsLater])
@pytest.mark.parametrize("what", ["x", ("a", "tuple")])
def test_a_stashed_message_comes_back_as_what_it_was(room, cls, what):
    seen: list[Any] = []
    heard: list[Any] = []
    listener = room.spawn(Keeps, heard, 0)
    ref = room.spawn(cls, seen, 2, listener)
    sender = room.spawn(Tells)
    sender.tell((ref, what, "trace"))
    assert sender.ask((listener, "barrier", None), timeout=WAIT) is None
    for _ in range(3):
        ref.ask("open", timeout=WAIT)
    first, second, third = seen
    assert first == second == third
    assert first[0] == what
    assert first[4] is sender
    assert first[6] == "trace"
    assert listener.ask("last", timeout=WAIT) == "answer"
    answer = next(line for line in heard if line[0] == "heard")
    assert (answer[2], answer[3], answer[6]) == (first[1], first[3], "trace")


def test_a_stashed_message_without_a_sender_keeps_its_id(room):
    seen: list[Any] = []
    heard: list[Any] = []
    ref = room.spawn(Keeps, seen, 1, room.spawn(Keeps, heard, 0))
    ref.tell("x")
    assert ref.ask("open", timeout=WAIT) == 1
    assert ref.ask("y", timeout=WAIT) == "answer"
    assert seen[0] == seen[1] != seen[2]
    assert [line[2] for line in heard] == [seen[1][1], seen[2][1]]


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_a_stashed_ask_keeps_its_id_and_its_deadline(room, timeout):
    seen: list[Any] = []
    ref = room.spawn(Keeps, seen)
    answer = ref.ask("x", timeout=timeout, block=False)
    assert ref.ask("open", timeout=WAIT) == 1
    assert answer.get(timeout=WAIT) == "answer"
    assert seen[0] == seen[1]
    assert (seen[0][5] is None) == (timeout is None)


def test_a_trace_set_while_a_message_came_back_is_passed_on(room):
    class Traces(Keeps):
        def on_receive(self, message):
            if message != "open" and not self.times:
                self.context.set_trace("late", correlation_id="mine")
            return super().on_receive(message)

    seen: list[Any] = []
    heard: list[Any] = []
    ref = room.spawn(Traces, seen, 1, room.spawn(Keeps, heard, 0))
    ref.tell("x")
    assert ref.ask("open", timeout=WAIT) == 1
    assert ref.ask("y", timeout=WAIT) == "answer"
    assert (seen[1][1], seen[1][3], seen[1][6]) == (seen[0][1], "mine", "late")
    assert (heard[0][2], heard[0][3], heard[0][6]) == (seen[0][1], "mine", "late")


def test_a_stashed_call_of_a_proxy_answers_in_the_end(room):
    class Door(us.Actor):
        def __init__(self):
            super().__init__()
            self.open = False

        def enter(self):
            if not self.open:
                self.context.stash()
                return "not yet"
            return "welcome"

        def unlock(self):
            self.open = True
            return self.context.unstash_all()

    proxy = room.spawn(Door).proxy()
    waiting = proxy.enter()
    assert proxy.unlock().get(timeout=WAIT) == 1
    assert waiting.get(timeout=WAIT) == "welcome"


def test_a_stash_goes_back_to_the_mailbox_when_the_actor_restarts(room):
    class Fails(Opens):
        def on_receive(self, message):
            if message == "fail":
                raise ValueError
            return super().on_receive(message)

    ref = room.spawn(Fails)
    ref.tell("early")
    ref.tell("fail")
    room.guardian.wait_for("started")
    ref.tell("open")
    assert ref.ask("log", timeout=WAIT) == ["early"]


def test_stashed_messages_of_an_actor_that_stops_become_dead_letters(room):
    letters: queue.SimpleQueue[Any] = queue.SimpleQueue()
    room.runtime.stream.subscribe(letters.put, us.DeadLetter)
    ref = room.spawn(Opens)
    ref.tell("early")
    assert ref.ask("log", timeout=WAIT) == []
    assert ref.stop(timeout=WAIT)
    letter = letters.get(timeout=WAIT)
    assert (letter.message, letter.recipient, letter.reason) == ("early", ref, "stopped")


def test_stash_outside_of_a_handler_is_refused(room):
    class Starts(us.Actor):
        def on_start(self):
            self.context.stash()

    with pytest.raises(RuntimeError, match="in a handler"):
        room.spawn(Starts)


def test_become_changes_what_handles_the_next_message_and_none_goes_back(room):
    class Changes(us.Actor):
        def on_receive(self, message):
            self.context.become(self.angry)
            return "calm"

        def angry(self, message):
            if message == "relax":
                self.context.become(None)
            elif message == "more":
                self.context.become(self.furious, stack=True)
            return "angry"

        def furious(self, message):
            self.context.become(None)
            return "furious"

    ref = room.spawn(Changes)
    asked = ["a", "b", "more", "c", "d", "relax", "e"]
    assert [ref.ask(word) for word in asked] == [
        "calm", "angry", "angry", "furious", "angry", "angry", "calm",
    ]  # fmt: skip


def test_a_restart_begins_with_on_receive_again(room):
    class Changes(us.Actor):
        def on_receive(self, message):
            self.context.become(self.fails)
            return "first"

        def fails(self, message):
            raise ValueError

    ref = room.spawn(Changes)
    assert ref.ask(0) == "first"
    ref.tell("fail")
    room.guardian.wait_for("started")
    assert ref.ask(0, timeout=WAIT) == "first"


# --- timers ------------------------------------------------------------------------------------


def test_a_timer_fires_once_at_its_time(timed_room, clock):
    ref = timed_room.spawn(Logs)
    timer = ref.ask(lambda actor: actor.context.schedule_once(2.0, "now"))
    clock.advance(1.9)
    assert log_of(ref) == []
    assert timer.active
    clock.advance(0.1)
    clock.advance(10)
    assert log_of(ref) == ["now"]
    assert not timer.active


def test_a_steady_timer_does_not_drift_when_it_is_late(timed_room, clock):
    ref = timed_room.spawn(Logs)
    ref.ask(lambda actor: actor.context.schedule_every(1.0, "tick"))
    clock.advance(1.7)
    clock.advance(0.4)
    assert log_of(ref) == ["tick", "tick"]
    clock.advance(7.9)
    assert log_of(ref) == ["tick"] * 10


def test_a_timer_may_go_to_somebody_else_who_sees_its_sender(timed_room, clock):
    class Senders(Logs):
        def on_receive(self, message):
            if callable(message):
                return message(self)
            info = self.context.message
            assert info is not None
            self.log.append((message, info.sender))
            return None

    ref, other = timed_room.spawn(Logs), timed_room.spawn(Senders)
    ref.ask(lambda actor: actor.context.schedule_once(1.0, "hello", other))
    clock.advance(1.0)
    assert log_of(other) == [("hello", ref)]


def test_a_cancelled_timer_is_not_handled_even_if_its_message_waits(timed_room, clock):
    ref = timed_room.spawn(Logs)

    def due_and_cancelled(actor):
        timer = actor.context.schedule_once(1.0, "now")
        clock.advance(2.0)  # its message waits behind this handler now
        return timer.cancel(), timer.cancel()

    assert ref.ask(due_and_cancelled) == (True, False)
    assert log_of(ref) == []


def test_timers_die_with_their_incarnation(timed_room, clock):
    ref = timed_room.spawn(Logs)

    def fail(actor):
        actor.context.schedule_once(1.0, "once")
        actor.context.schedule_every(1.0, "every")
        clock.advance(1.0)  # due, and waiting, when the incarnation ends
        raise ValueError

    ref.tell(fail)
    timed_room.guardian.wait_for("started")
    clock.advance(5.0)
    assert log_of(ref) == []


def test_an_interval_of_nothing_is_refused(room):
    ref = room.spawn(Logs)
    with pytest.raises(ValueError, match="seconds above 0"):
        ref.ask(lambda actor: actor.context.schedule_every(0, "x"))


# --- watching -----------------------------------------------------------------------------------


def test_a_watcher_is_told_exactly_once_and_after_what_the_dead_one_sent(room):
    watcher = room.spawn(Logs)

    class Sends(us.Actor):
        def on_receive(self, message):
            watcher.tell(message)

    ref = room.spawn(Sends)
    watcher.ask(lambda actor: (actor.context.watch(ref), actor.context.watch(ref)) and None)
    ref.tell("last words")
    assert ref.stop(timeout=WAIT)
    assert log_of(watcher) == ["last words", us.Terminated(ref, us.Exit.SHUTDOWN)]


def test_watching_the_dead_gives_one_notice_at_once(room):
    watcher, ref = room.spawn(Logs), room.spawn(Logs)
    assert ref.stop(timeout=WAIT)
    watcher.ask(lambda actor: actor.context.watch(ref) and None)
    assert log_of(watcher) == [us.Terminated(ref, us.Exit.NOT_FOUND)]


def test_unwatch_takes_a_waiting_notice_back(room):
    watcher, ref = room.spawn(Logs), room.spawn(Logs)

    def watch_and_forget(actor):
        actor.context.watch(ref)
        assert ref.stop(timeout=WAIT)
        actor.context.unwatch(ref)

    watcher.ask(watch_and_forget)
    assert log_of(watcher) == []


def test_a_restart_is_no_end_to_a_watcher(room):
    watcher, ref = room.spawn(Logs), room.spawn(Logs)
    watcher.ask(lambda actor: actor.context.watch(ref) and None)
    ref.tell(lambda actor: 1 / 0)
    room.guardian.wait_for("started")
    assert log_of(watcher) == []
    ref.ask(lambda actor: actor.stop())
    room.guardian.wait_for("closed")
    assert log_of(watcher) == [us.Terminated(ref, us.Exit.NORMAL)]


def test_a_hundred_watchers_are_told_once_each(room):
    ref = room.spawn(Logs)
    watchers = [room.spawn(Logs) for _ in range(100)]
    for watcher in watchers:
        watcher.ask(lambda actor: actor.context.watch(ref) and None)
    assert ref.stop(timeout=WAIT)
    notice = us.Terminated(ref, us.Exit.SHUTDOWN)
    assert [log_of(watcher) for watcher in watchers] == [[notice]] * 100


def test_a_watcher_without_a_handler_fails_with_a_death_pact(room):
    class Watches(us.Actor):
        def watch(self, ref):
            self.context.watch(ref)

    watcher, ref = room.spawn(Watches), room.spawn(Logs)
    watcher.proxy().watch(ref).get(timeout=WAIT)
    assert ref.stop(timeout=WAIT)
    (_, _, failure), *_ = room.guardian.wait_for("failed")
    assert isinstance(failure.cause, us.DeathPact)
    assert failure.cause.ref is ref


def test_a_watch_ends_with_the_incarnation_that_made_it(room):
    watcher, ref = room.spawn(Logs), room.spawn(Logs)
    watcher.ask(lambda actor: actor.context.watch(ref) and None)
    watcher.tell(lambda actor: 1 / 0)
    room.guardian.wait_for("started")
    assert ref.stop(timeout=WAIT)
    assert log_of(watcher) == []


# --- messages about messages -------------------------------------------------------------------


class Traces(us.Actor):
    """Passes a message on along a list of actors, and answers what it knows about it."""

    def __init__(self):
        super().__init__()
        self.seen = None

    def on_receive(self, others):
        info = self.context.message
        if others == "seen":
            return self.seen
        assert info is not None
        self.seen = {
            "id": info.id,
            "cause": info.causation_id,
            "chain": info.correlation_id,
            "sender": info.sender,
            "trace": info.trace,
        }
        if others and isinstance(others[0], str):
            self.context.set_trace(others[0])
            others = others[1:]
        if others:
            others[0].ask(others[1:]) if len(others) % 2 else others[0].tell(others[1:])
        return None


def test_causes_chains_and_senders_of_messages_are_known(room):
    refs = [room.spawn(Traces) for _ in range(5)]
    refs[0].ask(refs[1:])
    seen = [ref.ask("seen", timeout=WAIT) for ref in refs]
    assert len({line["id"] for line in seen}) == 5
    assert seen[0]["cause"] is None
    assert [line["cause"] for line in seen[1:]] == [line["id"] for line in seen[:-1]]
    assert {line["chain"] for line in seen} == {seen[0]["id"]}
    assert [line["sender"] for line in seen] == [None, *refs[:-1]]


class Detours(us.Actor):
    """Asks others in the middle of a message, then passes it on; answers the ids it saw."""

    def on_receive(self, message):
        detour, next_one = message
        info = self.context.message
        assert info is not None
        before = info.id
        detour()
        info = self.context.message
        assert info is not None
        after = info.id
        next_one.tell([])
        return before, after


class Fails(us.Actor):
    def on_receive(self, message):
        raise ValueError(message)


class Starts(us.Actor):
    def on_start(self):
        pass


DETOURS = (
    "an inline ask",
    "an ask that fails",
    "an ask through a mailbox of its own kind",
    "an ask with a limit",
    "a proxied call",
    "a spawn whose on_start runs here",
)


def _detours(room):
    plain, failing = room.spawn(Logs), room.spawn(Fails)
    with_lane = room.spawn(Logs, mailbox=us.Mailbox(capacity=4))

    def fail():
        with pytest.raises(ValueError, match="no"):
            failing.ask("no")

    return {
        "an inline ask": lambda: plain.ask(1),
        "an ask that fails": fail,
        "an ask through a mailbox of its own kind": lambda: with_lane.ask(1),
        "an ask with a limit": lambda: plain.ask(1, timeout=WAIT),
        "a proxied call": lambda: plain.proxy().log.get(),
        "a spawn whose on_start runs here": lambda: room.spawn(Starts),
    }


@pytest.mark.parametrize("detour", DETOURS)
@pytest.mark.parametrize("inline", [True, False])
def test_a_message_keeps_its_id_through_the_asks_of_its_handler(room, detour, inline):
    ref, next_one = room.spawn(Detours), room.spawn(Traces)
    message = (_detours(room)[detour], next_one)
    before, after = ref.ask(message) if inline else ref.ask(message, timeout=WAIT)
    assert after == before
    assert next_one.ask("seen", timeout=WAIT)["cause"] == before


def test_a_trace_set_once_goes_down_the_chain(room):
    refs = [room.spawn(Traces) for _ in range(4)]
    refs[0].ask(["trace-1", *refs[1:]])
    assert [ref.ask("seen", timeout=WAIT)["trace"] for ref in refs] == [
        None, "trace-1", "trace-1", "trace-1",
    ]  # fmt: skip


def test_the_log_of_a_context_carries_the_path(room, caplog):
    ref = room.spawn(Logs)
    ref.ask(lambda actor: actor.context.log.warning("look"))
    assert caplog.records[-1].actor == ref.path


def test_an_old_incarnations_context_refuses_and_it_is_counted(room):
    kept = []
    ref = room.spawn(Logs)
    ref.ask(lambda actor: kept.append(actor.context))
    assert kept[0].current
    ref.tell(lambda actor: 1 / 0)
    room.guardian.wait_for("started")
    assert not kept[0].current
    before = room.runtime.stats().refused
    with pytest.raises(us.Fenced, match="replaced"):
        kept[0].schedule_once(1, "x")
    assert room.runtime.stats().refused == before + 1
