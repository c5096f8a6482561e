"""The event stream, dead letters, and interceptors."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

import pytest

import understudy.actors as us

WAIT = 5.0


class Logs(us.Actor):
    def __init__(self):
        super().__init__()
        self.log = []

    def on_receive(self, message):
        if message == "log":
            return list(self.log)
        if message == "fail":
            raise ValueError("told to")
        self.log.append(message)
        return message


def test_subscribers_get_the_types_they_asked_for(room):
    started: list[Any] = []
    everything: list[Any] = []
    room.runtime.stream.subscribe(started.append, us.ActorStarted)
    room.runtime.stream.subscribe(everything.append)
    ref = room.spawn(Logs)
    assert ref.stop(timeout=WAIT)
    assert [type(event) for event in started] == [us.ActorStarted]
    assert [type(event) for event in everything] == [us.ActorStarted, us.ActorStopped]
    assert everything[1].path == "/room/1"
    assert everything[1].reason == us.Exit.SHUTDOWN


def test_a_base_class_stands_for_all_its_events_and_where_filters(room):
    seen: list[Any] = []
    room.runtime.stream.subscribe(
        seen.append, us.ActorEvent, where=lambda event: event.path == "/room/2"
    )
    room.spawn(Logs)
    second = room.spawn(Logs)
    assert [event.ref for event in seen] == [second]


def test_an_actor_gets_events_as_messages(room):
    listener = room.spawn(Logs)
    room.runtime.stream.subscribe(listener, us.ActorFailed)
    ref = room.spawn(Logs)
    ref.tell("fail")
    room.guardian.wait_for("started")
    (event,) = listener.ask("log", timeout=WAIT)
    assert (event.ref, event.incarnation, event.phase) == (ref, 1, "receive")
    assert str(event.cause) == "told to"


def test_a_cancelled_subscription_gets_nothing(room):
    seen: list[Any] = []
    subscription = room.runtime.stream.subscribe(seen.append)
    assert subscription.cancel()
    assert not subscription.cancel()
    room.spawn(Logs)
    assert seen == []
    assert not room.runtime.stream.active


def test_unsubscribe_ends_all_subscriptions_of_one(room):
    seen: list[Any] = []
    room.runtime.stream.subscribe(seen.append, us.ActorStarted)
    room.runtime.stream.subscribe(seen.append, us.ActorStopped)
    assert room.runtime.stream.unsubscribe(seen.append) == 0  # another bound method
    listener = seen.append
    room.runtime.stream.subscribe(listener, us.ActorStarted)
    assert room.runtime.stream.unsubscribe(listener) == 1


def test_what_cannot_subscribe_is_refused(room):
    with pytest.raises(TypeError, match="cannot subscribe"):
        room.runtime.stream.subscribe(3)


def test_a_type_of_events_that_is_none_is_refused_and_nobody_is_hurt(room):
    stream = room.runtime.stream
    with pytest.raises(TypeError, match="no type of events"):
        stream.subscribe(print, us.DeadLetter, "DeadLetter")
    assert stream.subscribers(us.DeadLetter) == ()


def test_a_subscriber_that_raises_hurts_nobody(room, caplog):
    seen: list[Any] = []
    room.runtime.stream.subscribe(lambda event: 1 / 0)
    room.runtime.stream.subscribe(seen.append)
    room.spawn(Logs)
    assert len(seen) == 1
    assert "subscriber failed" in caplog.text


def test_a_dead_letter_whose_subscriber_is_dead_makes_no_other(room):
    listener = room.spawn(Logs)
    room.runtime.stream.subscribe(listener, us.DeadLetter)
    assert listener.stop(timeout=WAIT)
    ref = room.spawn(Logs)
    assert ref.stop(timeout=WAIT)
    with pytest.raises(us.ActorDeadError):
        ref.tell("lost")
    assert room.runtime.stats().dead_letters == 1


def test_dead_letters_name_their_sender(room):
    letters: queue.SimpleQueue[Any] = queue.SimpleQueue()
    room.runtime.stream.subscribe(letters.put, us.DeadLetter)
    gone = room.spawn(Logs)
    assert gone.stop(timeout=WAIT)

    class Sends(us.Actor):
        def on_receive(self, message):
            with pytest.raises(us.ActorDeadError) as caught:
                gone.tell(message)
            return caught.value.message

    sender = room.spawn(Sends)
    assert sender.ask("lost") == "lost"
    letter = letters.get(timeout=WAIT)
    assert letter == us.DeadLetter("lost", gone, sender, "dead")


# --- interceptors -------------------------------------------------------------------------------


def test_system_class_and_method_run_in_this_order(make_room):
    room = make_room()
    order = []

    def around(name):
        return us.intercept(
            before=lambda message: order.append(f"{name} before"),
            after=lambda message, result: order.append(f"{name} after"),
        )

    room.runtime.intercept(around("system"))

    @around("class")
    class Watched(us.Actor):
        @around("method")
        def on_receive(self, message):
            order.append("handler")
            return message

    assert room.spawn(Watched).ask("x") == "x"
    assert order == [
        "system before", "class before", "method before", "handler",
        "method after", "class after", "system after",
    ]  # fmt: skip


def test_interceptors_see_proxied_calls_and_the_actor(room):
    seen = []

    @us.intercept(before=lambda actor, message: seen.append((actor.mark, message)))
    class Watched(us.Actor):
        mark = "mine"

        def method(self, value):
            return value

    assert room.spawn(Watched).proxy().method(3).get(timeout=WAIT) == 3
    assert seen[0][0] == "mine"
    assert seen[0][1].attr_path == ("method",)


def test_before_that_raises_keeps_the_message_from_the_handler(room):
    def refuse(message):
        if message == "bad":
            raise PermissionError("no")

    @us.intercept(before=refuse)
    class Guarded(Logs):
        pass

    ref = room.spawn(Guarded)
    with pytest.raises(PermissionError):
        ref.ask("bad")
    assert ref.ask("good") == "good"
    assert ref.ask("log") == ["good"]


def test_on_error_may_answer_in_place_of_the_error(room):
    @us.intercept(on_error=lambda message, error: f"instead of {error}")
    class Soft(Logs):
        pass

    assert room.spawn(Soft).ask("fail") == "instead of told to"


@pytest.mark.parametrize("coroutine", [False, True])
def test_retries_call_the_handler_again(room, coroutine):
    attempts = []

    def once_more(message):
        attempts.append(message)
        if len(attempts) < 3:
            raise ValueError
        return len(attempts)

    class Plain(us.Actor):
        @us.intercept(retries=2)
        def on_receive(self, message):
            return once_more(message)

    class Coroutine(us.Actor):
        @us.intercept(retries=2)
        async def on_receive(self, message):
            await asyncio.sleep(0)
            return once_more(message)

    assert room.spawn(Coroutine if coroutine else Plain).ask("x", timeout=WAIT) == 3


def test_a_coroutine_handler_over_its_time_is_cancelled(room):
    outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @us.intercept(timeout=0.01)
    class Slow(us.Actor):
        async def on_receive(self, message):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                outcome.put("cancelled")
                raise

    with pytest.raises(us.Timeout, match=r"longer than 0\.01"):
        room.spawn(Slow).ask("x", timeout=WAIT)
    assert outcome.get(timeout=WAIT) == "cancelled"


def test_a_plain_handler_over_its_time_gives_a_timeout(timed_room, clock):
    class Slow(us.Actor):
        @us.intercept(timeout=1.0)
        def on_receive(self, message):
            clock.advance(2.0)
            return "late"

    with pytest.raises(us.Timeout):
        timed_room.spawn(Slow).ask("x")


@pytest.mark.parametrize("options", [{"timeout": 0}, {"retries": -1}])
def test_wrong_options_of_an_interceptor_are_refused(options):
    with pytest.raises(ValueError, match="not possible"):
        us.intercept(**options)
