"""Mailboxes with a capacity, an overflow policy, an order; and all of them against a model."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

import understudy.actors as us
from understudy.actors._mailbox import Lane
from understudy.testing import ManualClock

WAIT = 5.0


class Held(us.Actor):
    """Blocks in its first message until it is let go, then logs."""

    def __init__(self):
        super().__init__()
        self.log = []

    def on_receive(self, message):
        if isinstance(message, tuple) and message[0] == "hold":
            message[1].set()
            message[2].wait(WAIT)
            return None
        if message == "log":
            return list(self.log)
        self.log.append(message)
        return None


@pytest.fixture
def held(room):
    """Makes a blocked actor with a mailbox; `release()` lets it go."""
    gates = []

    def make(mailbox):
        ref = room.spawn(Held, mailbox=mailbox)
        entered, leave = threading.Event(), threading.Event()
        ref.tell(("hold", entered, leave))
        assert entered.wait(WAIT)
        gates.append(leave)
        return ref, leave.set

    yield make
    for gate in gates:
        gate.set()


def log_of(ref):
    """The log of an actor, once it has nothing left to do."""
    assert ref._us_rt.wait_quiet(WAIT) == []
    return ref._us_actor.log


def test_reject_hands_the_message_back(held):
    ref, release = held(us.Mailbox(capacity=2, overflow="reject"))
    ref.tell(1)
    ref.tell(2)
    with pytest.raises(us.MailboxFull, match="2 waiting") as caught:
        ref.tell(3)
    assert (caught.value.message, caught.value.ref, caught.value.capacity) == (3, ref, 2)
    with pytest.raises(us.MailboxFull):
        ref.ask("asked", timeout=WAIT)
    release()
    assert log_of(ref) == [1, 2]
    assert ref.mailbox_statistics().rejected >= 2


@pytest.mark.parametrize(
    ("overflow", "kept", "dropped"),
    [("drop_oldest", [2, 3], [0, 1]), ("drop_newest", [0, 1], [2, 3])],
)
def test_dropped_messages_become_dead_letters(room, held, overflow, kept, dropped):
    letters: queue.SimpleQueue[Any] = queue.SimpleQueue()
    room.runtime.stream.subscribe(letters.put, us.DeadLetter)
    ref, release = held(us.Mailbox(capacity=2, overflow=overflow))
    for number in range(4):
        ref.tell(number)
    gone = [letters.get(timeout=WAIT) for _ in dropped]
    assert [(letter.message, letter.reason) for letter in gone] == [
        (number, "overflow") for number in dropped
    ]
    assert ref.mailbox_statistics().dropped == 2
    release()
    assert log_of(ref)[: len(kept)] == kept


def test_a_dropped_ask_is_answered(held):
    ref, release = held(us.Mailbox(capacity=1, overflow="drop_oldest"))
    asked = ref.ask("asked", block=False)
    ref.tell("pushes it out")
    with pytest.raises(us.MailboxFull):
        asked.get(timeout=WAIT)
    release()


def test_block_lets_the_sender_wait_for_room(held):
    ref, release = held(us.Mailbox(capacity=1))
    ref.tell(1)
    sent = threading.Event()
    sender = threading.Thread(target=lambda: (ref.tell(2), sent.set()))
    sender.start()
    release()
    assert sent.wait(WAIT)
    sender.join(WAIT)
    assert log_of(ref) == [1, 2]


def test_block_gives_up_after_its_timeout(held):
    ref, release = held(us.Mailbox(capacity=1, timeout=0.01))
    ref.tell(1)
    with pytest.raises(us.MailboxFull):
        ref.tell(2)
    release()
    assert log_of(ref) == [1]


def test_tell_async_waits_without_blocking_the_loop(held):
    ref, release = held(us.Mailbox(capacity=1))
    ref.tell(1)

    async def main():
        with pytest.raises(us.BlockingAsk):
            ref.tell("would block")
        with pytest.raises(us.MailboxFull):
            await ref.tell_async("late", timeout=0.01)
        asyncio.get_running_loop().call_soon(release)  # runs only if the wait lets it
        await ref.tell_async(2)

    asyncio.run(main())
    assert log_of(ref) == [1, 2]


def test_an_actor_is_never_blocked_by_its_own_full_mailbox(room):
    class Self(us.Actor):
        mailbox = us.Mailbox(capacity=1)

        def __init__(self):
            super().__init__()
            self.seen = 0

        def on_receive(self, message):
            if message == "flood":
                for _ in range(10):
                    self.actor_ref.tell("x")
            elif message == "seen":
                return self.seen
            else:
                self.seen += 1
            return None

    ref = room.spawn(Self)
    ref.tell("flood")
    assert ref.ask("seen", timeout=WAIT) == 10


def test_stop_and_watch_notices_are_never_dropped_or_blocked(room, held):
    ref, release = held(us.Mailbox(capacity=1, overflow="reject"))
    other = room.spawn(Held)
    ref.tell(1)
    extra_before = ref.mailbox_depth()
    stopped = ref.stop(block=False)
    assert ref.mailbox_depth() == extra_before + 1
    release()
    assert stopped.get(timeout=WAIT) is True
    assert other.is_alive()


def test_priority_decides_and_equals_keep_their_order(held):
    ref, release = held(us.Mailbox(priority=lambda message: message[0]))
    for message in ([2, "a"], [1, "a"], [2, "b"], [0, "x"], [1, "b"]):
        ref.tell(message)
    release()
    assert ref.ask([9, "last"], timeout=WAIT) is None
    assert ref._us_actor.log == [[0, "x"], [1, "a"], [1, "b"], [2, "a"], [2, "b"], [9, "last"]]


def test_messages_of_a_closed_lane_become_dead_letters(room, held):
    letters: queue.SimpleQueue[Any] = queue.SimpleQueue()
    room.runtime.stream.subscribe(letters.put, us.DeadLetter)
    ref, release = held(us.Mailbox(capacity=5))
    ref.tell(1)
    ref.tell(2)
    ref._us_close(us.Exit.KILLED)
    assert [letters.get(timeout=WAIT).message for _ in range(2)] == [1, 2]
    release()


def test_a_sender_that_waits_for_room_is_freed_when_the_actor_dies(room, held):
    ref, release = held(us.Mailbox(capacity=1))
    ref.tell(1)
    freed = threading.Event()

    def send():
        try:
            ref.tell(2)
        except us.ActorDeadError:
            pass
        freed.set()

    sender = threading.Thread(target=send)
    sender.start()
    ref._us_close(us.Exit.KILLED)
    assert freed.wait(WAIT)
    sender.join(WAIT)
    release()


def test_statistics_are_a_frozen_record(room, held):
    ref, release = held(us.Mailbox(capacity=5))
    for number in range(3):
        ref.tell(number)
    statistics = ref.mailbox_statistics()
    assert (statistics.depth, statistics.capacity, statistics.high_water) == (3, 5, 3)
    assert statistics.oldest_age >= 0
    release()
    assert log_of(ref) == [0, 1, 2]
    with pytest.raises(AttributeError):
        statistics.depth = 0


@pytest.mark.parametrize(
    "options",
    [{"capacity": 0}, {"capacity": 1.5}, {"overflow": "explode"}, {"timeout": -1}, {"priority": 3}],
)
def test_wrong_options_are_refused_by_name(options):
    (field,) = options
    with pytest.raises(us.InvalidMailbox, match=field) as caught:
        us.Mailbox(**options)
    assert caught.value.field == field


class LaneMachine(RuleBasedStateMachine):
    """A lane against a model: order, capacity, exemption, drops."""

    items = Bundle("items")

    def __init__(self):
        super().__init__()
        self.number = 0

    @rule(
        capacity=st.one_of(st.none(), st.integers(1, 4)),
        overflow=st.sampled_from(["reject", "drop_oldest", "drop_newest", "block"]),
        ordered=st.booleans(),
    )
    def begin(self, capacity, overflow, ordered):
        self.spec = us.Mailbox(
            capacity=capacity,
            overflow=overflow,
            priority=(lambda message: message["p"]) if ordered else None,
        )
        self.lane = Lane(self.spec, ManualClock())
        self.queue = []
        self.model = []

    def _waiting(self):
        return [entry for entry in self.model if not entry[2]]

    @rule(priority=st.integers(0, 2), exempt=st.booleans())
    def put(self, priority, exempt):
        if not hasattr(self, "lane"):
            return
        self.number += 1
        item = {"p": priority, "n": self.number}
        left = self.lane.put(self.queue, item, exempt=exempt)
        full = self.spec.capacity is not None and len(self._waiting()) >= self.spec.capacity
        if exempt or not full:
            assert left is None
            self.model.append((item, self.number, exempt))
        elif self.spec.overflow == "drop_oldest":
            oldest = min(self._waiting(), key=lambda entry: entry[1])
            assert left is oldest[0]
            self.model.remove(oldest)
            self.model.append((item, self.number, exempt))
        else:
            assert left is item

    @rule()
    def take(self):
        if not hasattr(self, "lane"):
            return
        got = self.lane.take(self.queue)
        if not self.model:
            assert got is self.lane
            return
        if self.spec.priority is None:
            expected = self.model[0]
        else:
            expected = min(
                self.model, key=lambda entry: (3 if entry[2] else entry[0]["p"], entry[1])
            )
        assert got is expected[0]
        self.model.remove(expected)

    @rule()
    def close(self):
        if not hasattr(self, "lane"):
            return
        self.lane.flatten(self.queue)
        assert sorted(item["n"] for item in self.queue) == sorted(e[1] for e in self.model)
        self.queue = []
        self.model = []

    @invariant()
    def depth_and_capacity_hold(self):
        if hasattr(self, "lane"):
            assert len(self.queue) == len(self.model)
            if self.spec.capacity is not None:
                assert len(self._waiting()) <= self.spec.capacity


TestLane = LaneMachine.TestCase
TestLane.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class TimerMachine(RuleBasedStateMachine):
    """Timers against a model on the manual clock: what is due, when, in which order."""

    def __init__(self):
        super().__init__()
        self.clock = ManualClock()
        self.fired: list[Any] = []
        self.expected = []
        self.timers = {}
        self.number = 0

        class Target:
            _us_extra = None

            def _us_put(target, item):  # noqa: N805
                timer = item[0].timer
                if timer._take(target):
                    self.fired.append(item[0].message)

        self.target = Target()

    @rule(delay=st.integers(0, 5), every=st.booleans())
    def schedule(self, delay, every):
        from understudy.actors._timers import Timer

        self.number += 1
        first = float(max(1, delay)) if every else float(delay)
        interval = first if every else None
        timer = Timer(self.target, self.clock, first, self.number, None, interval=interval)
        self.timers[self.number] = [timer, self.clock.monotonic(), first, interval, 0]

    @rule(seconds=st.floats(0, 7).map(lambda value: round(value, 1)))
    def advance(self, seconds):
        before = len(self.fired)
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        due = []
        for number, entry in self.timers.items():
            timer, start, first, interval, done = entry
            if timer is None:
                continue
            if interval is None:
                if not done and start + first <= now:
                    due.append((start + first, number))
                    entry[4] = 1
            else:
                while start + (entry[4] + 1) * interval <= now:
                    entry[4] += 1
                    due.append((start + entry[4] * interval, number))
        assert sorted(self.fired[before:]) == sorted(number for _, number in due)
        moments = dict.fromkeys(moment for moment, _ in sorted(due))
        in_order = [sorted(number for when, number in due if when == moment) for moment in moments]
        fired = self.fired[before:]
        for expected in in_order:
            assert sorted(fired[: len(expected)]) == expected
            fired = fired[len(expected) :]

    @rule(pick=st.integers(0, 100))
    def cancel(self, pick):
        alive = [number for number, entry in self.timers.items() if entry[0] is not None]
        if not alive:
            return
        number = alive[pick % len(alive)]
        timer, _, _, interval, done = self.timers[number]
        assert timer.cancel() is (interval is not None or not done)
        self.timers[number][0] = None


TestTimers = TimerMachine.TestCase
TestTimers.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("trace", [False, True])
def test_a_mailbox_without_a_limit_knows_its_high_water(room, trace):
    class Holds(us.Actor):
        def on_receive(self, message):
            if trace:
                self.context.become(self.on_receive)
            if message == "hold":
                held.set()
                return go_on.wait(WAIT)
            return message

    held, go_on = threading.Event(), threading.Event()
    ref = room.spawn(Holds)
    assert ref.mailbox_statistics().high_water == 0
    ref.tell("hold")
    assert held.wait(WAIT)
    for number in range(100):
        ref.tell(number)
    go_on.set()
    assert ref.ask("end", timeout=WAIT) == "end"
    statistics = ref.mailbox_statistics()
    assert statistics.depth == 0
    assert 100 <= statistics.high_water <= 101
    assert statistics.oldest_age is None


# --- the lane by itself --------------------------------------------------------------------------


def lane_of(clock, **options):
    """A lane, its queue, and a function that takes everything out."""
    lane = Lane(us.Mailbox(**options), clock)
    queue: list[Any] = []

    def take_all():
        taken = []
        while (item := lane.take(queue)) is not lane:
            taken.append(item)
        return taken

    return lane, queue, take_all


def test_what_is_exempt_from_the_capacity_is_not_dropped_to_make_room(clock):
    lane, queue, take_all = lane_of(clock, capacity=2, overflow="drop_oldest")
    lane.put(queue, "notice", exempt=True)
    assert [lane.put(queue, number) for number in (1, 2, 3)] == [None, None, 1]
    assert take_all() == ["notice", 2, 3]


def test_what_is_exempt_from_the_capacity_makes_no_room_when_it_leaves(clock):
    lane, queue, take_all = lane_of(clock, capacity=1, overflow="reject")
    lane.put(queue, "notice", exempt=True)
    assert lane.put(queue, "first") is None
    assert lane.take(queue) == "notice"
    assert lane.put(queue, "second") == "second"
    assert take_all() == ["first"]


@pytest.mark.parametrize("seed", range(20))
def test_with_a_priority_the_oldest_is_dropped_and_the_order_stays(clock, seed):
    chance = random.Random(seed)
    lane, queue, take_all = lane_of(
        clock, capacity=8, overflow="drop_oldest", priority=lambda message: (message[0],)
    )
    sent = [(chance.randrange(5), number) for number in range(30)]
    dropped = [lane.put(queue, list(message)) for message in sent]
    assert dropped == [None] * 8 + [list(message) for message in sent[:-8]]
    # Equal ones in the order they came.
    assert take_all() == [list(message) for message in sorted(sent[-8:])]


def test_a_sender_that_gives_up_passes_the_room_it_was_offered_on(clock):
    lane, queue, _ = lane_of(clock, capacity=1)
    lane.put(queue, "there")
    called = []
    first, second = (lambda: called.append("first")), (lambda: called.append("second"))
    assert lane.when_room(first)
    assert lane.when_room(second)
    lane.take(queue)
    assert called == ["first"]
    lane.forget(first)
    assert called == ["first", "second"]
