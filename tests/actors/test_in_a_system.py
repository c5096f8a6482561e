"""The kernel inside a whole system: children, names, orders of shutdown."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any

import pytest

import understudy as us

WAIT = 5.0


class Parent(us.Actor):
    def on_receive(self, message):
        if callable(message):
            return message(self)
        return message


class Child(us.Actor):
    def __init__(self, told=None, name="child"):
        super().__init__()
        self.told = told
        self.mark = name

    def on_receive(self, message):
        if message == "fail":
            raise ValueError
        return self.mark, self.context.parent

    def on_stop(self):
        if self.told is not None:
            self.told.put(self.mark)


@pytest.fixture
def system():
    with us.ActorSystem("kernel") as system:
        yield system


def test_children_live_below_their_parent(system):
    parent = system.spawn(Parent, name="parent")
    child = parent.ask(lambda actor: actor.context.spawn(Child, name="kid"), timeout=WAIT)
    assert child.path == "/user/parent/kid"
    assert child.ask("who", timeout=WAIT) == ("child", parent)
    assert parent.ask(lambda actor: actor.context.children, timeout=WAIT) == (child,)
    assert parent.ask(lambda actor: actor.context.system, timeout=WAIT) is system


def test_props_keep_words_of_spawn_for_the_class(system):
    ref = system.spawn(us.Props(Child, name="mine"), name="theirs")
    assert ref.path == "/user/theirs"
    assert ref.ask("who", timeout=WAIT)[0] == "mine"


def test_a_stopping_parent_stops_its_children_first(system):
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    class Tells(Parent):
        def on_stop(self):
            told.put("parent")

    parent = system.spawn(Tells)
    parent.ask(lambda actor: actor.context.spawn(Child, told) and None, timeout=WAIT)
    assert parent.stop(timeout=WAIT)
    assert [told.get(timeout=WAIT), told.get(timeout=WAIT)] == ["child", "parent"]


def test_children_of_a_restarted_parent_are_gone(system):
    started: queue.SimpleQueue[Any] = queue.SimpleQueue()
    system.events.subscribe(started.put, us.ActorStarted)
    parent = system.spawn(Parent)
    child = parent.ask(lambda actor: actor.context.spawn(Child), timeout=WAIT)
    watched = system.spawn(Parent)
    closed: queue.SimpleQueue[Any] = queue.SimpleQueue()
    system.events.subscribe(closed.put, us.ActorStopped)
    parent.tell(lambda actor: 1 / 0)
    assert closed.get(timeout=WAIT).ref is child
    while (event := started.get(timeout=WAIT)).incarnation == 1:
        assert event.ref in (parent, child, watched)
    assert event.ref is parent
    assert parent.ask(lambda actor: actor.context.children, timeout=WAIT) == ()


def test_a_standalone_actor_may_have_children():
    parent = Parent.start()
    try:
        child = parent.ask(lambda actor: actor.context.spawn(Child), timeout=WAIT)
        assert child.ask("who", timeout=WAIT)[1] is parent
    finally:
        assert parent.stop(timeout=WAIT)
    assert not child.is_alive()


def test_a_second_of_the_same_name_is_refused(system):
    first = system.spawn(Child, name="one")
    with pytest.raises(us.AlreadyStarted) as caught:
        system.spawn(Child, name="one")
    assert caught.value.ref is first


def test_a_stopped_system_takes_no_actors():
    system = us.ActorSystem("over")
    system.stop()
    with pytest.raises(us.SystemStopped, match="over"):
        system.spawn(Child)


def test_two_systems_live_side_by_side(system):
    with us.ActorSystem("other") as other:
        here, there = system.spawn(Child, name="x"), other.spawn(Child, name="x")
        assert system.lookup("/user/x") is here
        assert other.lookup("/user/x") is there
        assert there.ask("who", timeout=WAIT)[0] == "child"


def test_coroutine_actors_share_the_loop_of_an_async_system():
    class Where(us.Actor):
        async def on_receive(self, message):
            return asyncio.get_running_loop()

    async def main():
        async with us.ActorSystem("async") as system:
            return await system.spawn(Where).ask_async("where") is asyncio.get_running_loop()

    assert asyncio.run(main())


def test_start_failures_carry_their_cause(system):
    class Fails(us.Actor):
        def on_start(self):
            raise KeyError("inside")

    with pytest.raises(us.StartFailed) as caught:
        system.spawn(Fails, name="fails")
    assert isinstance(caught.value.cause, KeyError)
    assert system.lookup("/user/fails") is None


def test_a_message_to_a_path_arrives_or_becomes_a_dead_letter(system):
    letters: queue.SimpleQueue[Any] = queue.SimpleQueue()
    system.events.subscribe(letters.put, us.DeadLetter)
    got = threading.Event()

    class Gets(us.Actor):
        def on_receive(self, message):
            got.set()

    system.spawn(Gets, name="gets")
    system.tell("/user/gets", "x")
    assert got.wait(WAIT)
    with pytest.raises(us.ActorDeadError):
        system.tell("/user/nobody", "y")
    assert letters.get(timeout=WAIT).message == "y"
