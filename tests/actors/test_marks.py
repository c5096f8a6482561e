"""How long mail has waited in a default mailbox, told by marks."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import understudy.actors as us
from understudy.actors import Exit, Runtime
from understudy.testing import ManualClock

WAIT = 5.0
SWEEP = 0.5


class Stepwise(us.Actor):
    """Handles one message for every `go`, and keeps what it was sent."""

    def __init__(self, go, done):
        super().__init__()
        self.go = go
        self.done = done
        self.seen = []

    def on_receive(self, message):
        if message == "seen":
            return self.seen
        self.go.acquire()
        self.seen.append(message)
        self.done.release()
        return None


class Held:
    """An actor that is let on message by message, on a clock moved by hand."""

    def __init__(self, room):
        self.runtime = room.runtime
        self.clock = room.runtime.clock
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.ref = room.spawn(Stepwise, self.go, self.done)

    def step(self):
        self.go.release()
        assert self.done.acquire(timeout=WAIT)

    def sweep(self):
        self.runtime.marks.sweep(self.clock.monotonic())

    def age(self):
        return self.ref.mailbox_statistics().oldest_age


@pytest.fixture
def held(timed_room):
    """An actor with one message at work."""
    held = Held(timed_room)
    held.ref.tell(0)
    yield held
    for _ in range(100):
        held.go.release()


def at_work(ref):
    """Wait until all but the first message waits."""
    while ref._us_owner is None or ref._us_current_envelope() is None:
        threading.Event().wait(0.0005)


def test_the_age_is_unknown_where_nobody_sweeps(held):
    held.ref.tell(1)
    assert held.age() is None


def test_mail_behind_a_handler_ages_from_the_first_sweep_that_finds_it(held):
    held.ref.tell(1)
    held.clock.advance(SWEEP)
    held.sweep()
    assert held.age() == 0.0
    held.clock.advance(7)
    assert held.age() == 7.0
    held.sweep()
    assert held.age() == 7.0


def test_nothing_waits_no_age(held):
    at_work(held.ref)
    held.sweep()
    assert held.ref.mailbox_depth() == 0
    assert held.age() is None


def test_marks_are_no_mail(held):
    at_work(held.ref)
    for number in range(1, 4):
        held.ref.tell(number)
        held.clock.advance(5)
        held.sweep()
        assert held.ref.mailbox_depth() == number
    before = held.runtime.messages
    for _ in range(4):
        held.step()
    assert held.ref.ask("seen", timeout=WAIT) == [0, 1, 2, 3]
    assert held.runtime.messages - before <= 5
    assert held.ref.mailbox_depth() == 0
    held.sweep()
    assert held.runtime.marks._marks == {}


def test_a_mark_is_set_only_behind_mail(held):
    at_work(held.ref)
    held.ref.tell(1)
    for _ in range(20):
        held.clock.advance(SWEEP)
        held.sweep()
    assert held.runtime.marks.count(held.ref) == 1


def test_mail_of_a_suspended_actor_ages(timed_room):
    class Fails(us.Actor):
        def on_receive(self, message):
            raise ValueError(message)

    timed_room.guardian.on["failed"] = lambda ref, incarnation, failure: None
    timed_room.runtime.marks.sweep(timed_room.runtime.clock.monotonic())
    ref = timed_room.spawn(Fails)
    ref.tell("no")
    timed_room.guardian.wait_for("failed")
    ref.tell("later")
    timed_room.runtime.clock.advance(SWEEP)
    timed_room.runtime.marks.sweep(timed_room.runtime.clock.monotonic())
    timed_room.runtime.clock.advance(30)
    assert ref.mailbox_statistics().oldest_age == 30.0
    assert ref.mailbox_depth() == 1


def test_the_mail_of_an_actor_that_waits_for_a_thread_ages(make_room, clock):
    room = make_room(clock=clock, max_threads=1)
    held, waits = Held(room), Held(room)
    held.ref.tell(0)
    at_work(held.ref)
    waits.ref.tell(0)
    held.sweep()
    clock.advance(3)
    assert waits.age() == 3.0
    held.step()
    waits.step()


def test_marks_of_a_stopped_actor_are_no_dead_letters(held):
    at_work(held.ref)
    held.ref.tell(1)
    held.sweep()
    stopped = held.ref.stop(block=False, now=True)
    held.step()
    stopped.get(timeout=WAIT)
    assert held.runtime.dead_letters == 1
    held.sweep()
    assert held.runtime.marks._marks == {}


class Plain(us.Actor):
    def __init__(self, entered, go):
        super().__init__()
        self.entered, self.go = entered, go
        self.seen = []

    def on_receive(self, message):
        self.entered.set()
        self.go.wait(WAIT)
        self.seen.append(message)
        return self.seen


class Watched(Plain):
    @us.intercept(before=lambda message: None)
    def on_receive(self, message):
        return super().on_receive(message)


class Awaits(us.Actor):
    def __init__(self, entered, go):
        super().__init__()
        self.entered, self.go = entered, go
        self.seen = []

    async def on_receive(self, message):
        self.entered.set()
        await asyncio.get_running_loop().run_in_executor(None, self.go.wait, WAIT)
        self.seen.append(message)
        return self.seen


@pytest.mark.parametrize(
    ("kind", "dispatcher"),
    [(Plain, "pool"), (Plain, "thread"), (Watched, "pool"), (Awaits, "asyncio")],
)
def test_no_kind_of_actor_sees_a_mark(timed_room, kind, dispatcher):
    marks, clock = timed_room.runtime.marks, timed_room.runtime.clock
    entered, go = threading.Event(), threading.Event()
    ref = timed_room.spawn(kind, entered, go, dispatcher=dispatcher)
    ref.tell(1)
    assert entered.wait(WAIT)
    for number in (2, 3):
        ref.tell(number)
        marks.sweep(clock.monotonic())
        clock.advance(1)
    assert ref.mailbox_statistics().oldest_age == 2.0
    assert ref.mailbox_depth() == 2
    go.set()
    assert ref.ask(4, timeout=WAIT) == [1, 2, 3, 4]
    assert marks.count(ref) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["send", "many", "serve", "wait", "long"]), max_size=60))
def test_the_age_is_never_overstated_and_short_by_no_more_than_a_sweep(moves):
    clock = ManualClock()
    runtime = Runtime("marks", clock=clock, system=object())
    go, done = threading.Semaphore(0), threading.Semaphore(0)
    ref = runtime.spawn_cell(Stepwise, (go, done), {}, path="/marks/1", parent=None, guardian=None)
    try:
        ref.tell("first")
        at_work(ref)
        sent: deque[float] = deque()
        runtime.marks.sweep(clock.monotonic())
        for move in moves:
            if move in ("send", "many"):
                for _ in range(1 if move == "send" else 12):  # more than 8 are served as a batch
                    sent.append(clock.monotonic())
                    ref.tell("same")
            elif move == "serve" and sent:
                go.release()
                assert done.acquire(timeout=WAIT)
                sent.popleft()
                while ref.mailbox_depth() != len(sent):
                    threading.Event().wait(0.0005)
            elif move in ("wait", "long"):
                for _ in range(1 if move == "wait" else 40):
                    clock.advance(SWEEP)
                    runtime.marks.sweep(clock.monotonic())
            age = ref.mailbox_statistics().oldest_age
            if not sent:
                assert age is None
            else:
                true = clock.monotonic() - sent[0]
                assert age is not None
                assert true - SWEEP <= age <= true
    finally:
        for _ in range(1000):
            go.release()
        ref._us_guardian = _Silent()
        ref._us_close(Exit.SHUTDOWN)
        runtime.close()


class _Silent:
    def child_closed(self, ref, reason):
        pass
