"""The pool: growth, shrinking, fairness, threads, and what it shows of itself."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import pytest

import understudy.actors as us

WAIT = 10.0


class Echo(us.Actor):
    def on_receive(self, message):
        return message


class Blocks(us.Actor):
    def on_receive(self, message):
        entered, leave = message
        entered.release()
        leave.wait(WAIT)


def test_blocked_handlers_do_not_keep_the_next_actor_waiting(room):
    entered, leave = threading.Semaphore(0), threading.Event()
    for _ in range(60):
        room.spawn(Blocks).tell((entered, leave))
    started = time.monotonic()
    try:
        assert room.spawn(Echo).ask("hello", timeout=WAIT) == "hello"
        assert all(entered.acquire(timeout=WAIT) for _ in range(60))
        assert time.monotonic() - started < WAIT
    finally:
        leave.set()


def test_actors_that_wait_for_each_other_give_their_slot_away(room):
    class Asks(us.Actor):
        def __init__(self, below):
            super().__init__()
            self.below = below

        def on_receive(self, message):
            if self.below is None:
                return 1
            return 1 + self.below.ask(message, timeout=WAIT)

    ref = None
    for _ in range(50):
        ref = room.spawn(Asks, ref)
    assert ref is not None
    assert ref.ask("depth", timeout=WAIT) == 50


def test_a_busy_actor_does_not_starve_the_others(room):
    stop = threading.Event()

    class Spins(us.Actor):
        def on_receive(self, message):
            if not stop.is_set():
                self.actor_ref.tell(message)
                for _ in range(1000):
                    pass

    for _ in range(4):
        room.spawn(Spins).tell("spin")
    try:
        assert room.spawn(Echo).ask("hello", timeout=WAIT) == "hello"
    finally:
        stop.set()


def test_an_endless_handler_does_not_starve_the_others(room):
    stop = threading.Event()

    class Spins(us.Actor):
        def on_receive(self, message):
            while not stop.is_set():
                pass

    room.spawn(Spins).tell("spin")
    try:
        assert room.spawn(Echo).ask("hello", timeout=WAIT) == "hello"
    finally:
        stop.set()


def test_messages_of_many_threads_keep_their_order_per_sender(room):
    class Collects(us.Actor):
        def __init__(self):
            super().__init__()
            self.seen = {}

        def on_receive(self, message):
            if message == "seen":
                return self.seen
            sender, number = message
            self.seen.setdefault(sender, []).append(number)
            return None

    ref = room.spawn(Collects)
    senders = [
        threading.Thread(target=lambda s=s: [ref.tell((s, n)) for n in range(2000)])
        for s in range(8)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(WAIT)
    seen = ref.ask("seen", timeout=WAIT)
    assert seen == {s: list(range(2000)) for s in range(8)}


def test_one_message_at_a_time_however_many_threads_ask(room):
    class Guarded(us.Actor):
        def __init__(self):
            super().__init__()
            self.inside = 0
            self.most = 0

        def on_receive(self, message):
            self.inside += 1
            self.most = max(self.most, self.inside)
            for _ in range(50):
                pass
            self.inside -= 1
            return self.most

    ref = room.spawn(Guarded)
    most: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask():
        for number in range(500):
            most.put(ref.ask("x", timeout=WAIT if number % 2 else None))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert {most.get_nowait() for _ in range(3000)} == {1}


def test_the_pool_shows_its_numbers(room):
    ref = room.spawn(Echo)
    ref.ask("x", timeout=WAIT)
    numbers = room.runtime.stats().dispatchers["pool"]
    assert numbers["kind"] == "pool"
    assert numbers["threads"] >= 1
    assert numbers["queued"] == 0


def test_named_dispatchers_can_be_added(make_room):
    room = make_room(dispatchers={"io": {"kind": "pool", "threads": 4}, "ui": {"kind": "asyncio"}})

    class Names(us.Actor):
        def on_receive(self, message):
            return threading.current_thread().name

    assert room.spawn(Names, dispatcher="io").ask("x", timeout=WAIT) == "room-io"
    assert room.spawn(Names, dispatcher="ui").ask("x", timeout=WAIT) == "room-ui"
    assert set(room.runtime.stats().dispatchers) == {"pool", "thread", "asyncio", "io", "ui"}


def test_a_thread_actor_has_a_thread_named_after_its_class(room):
    class Own(us.Actor):
        dispatcher = "thread"

        def on_receive(self, message):
            return threading.current_thread().name, threading.get_ident()

    one, two = room.spawn(Own), room.spawn(Own)
    assert one.ask("x")[0].startswith("Own-")
    assert one.ask("x")[1] != two.ask("x")[1]
    (thread,) = [t for t in threading.enumerate() if t.name == one.ask("x")[0]]
    assert one.stop(timeout=WAIT)
    thread.join(WAIT)
    assert not thread.is_alive()


def test_a_closed_runtime_ends_its_threads(make_room):
    before = set(threading.enumerate())  # a thread of an earlier test may still be unwinding
    room = make_room()
    room.spawn(Echo).ask("x", timeout=WAIT)
    threads = [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("room-") and thread not in before
    ]
    assert threads
    room.close()
    for thread in threads:
        thread.join(WAIT)
    assert [thread.name for thread in threads if thread.is_alive()] == []
    with pytest.raises(us.SystemStopped):
        room.spawn(Echo)


def test_messages_are_counted_but_not_hooks(room):
    class Hooked(Echo):
        def on_start(self):
            pass

        def on_stop(self):
            pass

    before = room.runtime.stats().messages
    ref = room.spawn(Hooked)
    ref.tell(1)
    ref.ask(2)
    ref.ask(3, timeout=WAIT)
    assert ref.stop(timeout=WAIT)
    assert room.runtime.wait_quiet(WAIT) == []
    assert room.runtime.stats().messages - before == 3


def test_wait_quiet_names_who_is_busy(room):
    entered, leave = threading.Semaphore(0), threading.Event()
    ref = room.spawn(Blocks)
    ref.tell((entered, leave))
    assert entered.acquire(timeout=WAIT)
    assert room.runtime.wait_quiet(0.01) == [ref]
    leave.set()
    assert room.runtime.wait_quiet(WAIT) == []


def test_running_shows_the_stack_of_inline_asks(room):
    entered, leave = threading.Semaphore(0), threading.Event()
    below = room.spawn(Blocks)

    class Asks(us.Actor):
        def on_receive(self, message):
            return below.ask((entered, leave))

    top = room.spawn(Asks)
    asker = threading.Thread(target=lambda: top.ask("go"))
    asker.start()
    assert entered.acquire(timeout=WAIT)
    (line,) = room.runtime.running()
    assert (line.ref, line.below, line.own) == (below, (top,), False)
    assert line.thread_id == asker.ident
    assert below._us_stamp().state == "running"
    leave.set()
    asker.join(WAIT)
    assert below._us_stamp().state == "idle"
