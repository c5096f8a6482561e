# mypy: disable-error-code="override,var-annotated,method-assign,func-returns-value,union-attr,arg-type"
"""Event loops under actors: their own, somebody else's, blocked ones and closed ones."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

import understudy.actors as us
from understudy.actors import _doorbell
from understudy.actors._doorbell import doorbell
from understudy.actors._event_loop import PER_ROUND

WAIT = 5.0


class Echo(us.Actor):
    async def on_receive(self, message):
        return message


class Thread(us.Actor):
    async def on_receive(self, message):
        return threading.current_thread()


class Stuck(us.Actor):
    """Blocks the thread of its event loop."""

    async def on_receive(self, message):
        entered, leave = message
        entered.set()
        leave.wait(WAIT)
        return "late"


class Suspended(us.Actor):
    """Waits for what never comes; says who it is to anything else."""

    async def on_receive(self, message):
        if message == "wait":
            await asyncio.get_running_loop().create_future()
        return message


def on_loop(room, coroutine_function):
    async def main():
        room.runtime.use_loop(asyncio.get_running_loop())
        return await asyncio.wait_for(coroutine_function(), WAIT)

    return asyncio.run(main())


# --- somebody else's loop -----------------------------------------------------------------------


def test_actors_of_a_given_loop_run_on_its_thread(room):
    async def main():
        ref = room.spawn(Thread)
        numbers = room.runtime.stats().dispatchers["asyncio"]
        return await ref.ask_async("who"), numbers

    thread, numbers = on_loop(room, main)
    assert thread is threading.current_thread()
    assert (numbers["kind"], numbers["threads"], numbers["queued"]) == ("asyncio", 0, 0)


def test_a_loop_given_after_the_first_coroutine_actor_changes_nothing(room):
    ref = room.spawn(Thread)
    before = ref.ask("who", timeout=WAIT)

    async def main():
        return await room.spawn(Thread).ask_async("who")

    assert on_loop(room, main) is before
    assert room.runtime.stats().dispatchers["asyncio"]["threads"] == 1


def test_other_callbacks_of_the_loop_get_a_turn_between_many_actors(room):
    class Counts(us.Actor):
        async def on_receive(self, message):
            message.append("actor")

    async def main():
        order = []
        refs = [room.spawn(Counts) for _ in range(3 * PER_ROUND)]
        for ref in refs:
            ref.tell(order)
        asyncio.get_running_loop().call_soon(order.append, "callback")
        for ref in refs:
            await ref.ask_async([])
        return order

    order = on_loop(room, main)
    assert order.count("actor") == 3 * PER_ROUND
    assert order.index("callback") == PER_ROUND


def test_a_loop_that_is_not_ours_is_not_left_when_a_handler_blocks_it(room):
    entered, leave = threading.Event(), threading.Event()
    refs = []

    async def main():
        refs.append(room.spawn(Stuck))
        other = room.spawn(Echo)
        with pytest.raises(us.ActorDeadError):
            await refs[0].ask_async((entered, leave))
        return await other.ask_async("still here"), threading.current_thread()

    def fence():
        assert entered.wait(WAIT)
        assert refs[0]._us_fence()
        leave.set()

    helper = threading.Thread(target=fence)
    helper.start()
    assert on_loop(room, main) == ("still here", threading.current_thread())
    helper.join(WAIT)
    assert room.runtime.stats().refused == 1
    assert room.runtime.stats().zombie_threads == 0


def test_actors_of_a_closed_loop_are_closed_by_the_next_message(room, caplog):
    async def main():
        ref = room.spawn(Echo)
        assert await ref.ask_async("open") == "open"
        return ref

    ref = on_loop(room, main)
    caplog.set_level(logging.ERROR, logger="understudy")
    with pytest.raises(us.ActorDeadError):
        ref.ask("closed", timeout=WAIT)
    assert "its event loop is closed" in caplog.text
    assert not ref.is_alive()
    room.guardian.wait_for("closed")


def test_an_answer_that_comes_after_the_asking_loop_was_closed_is_dropped(room):
    entered, leave = threading.Event(), threading.Event()

    class Slow(us.Actor):
        def on_receive(self, message):
            entered.set()
            assert leave.wait(WAIT)
            return message

    ref = room.spawn(Slow)

    async def asks():
        await ref.ask_async("slow")

    async def main():
        task = asyncio.ensure_future(asks())
        await asyncio.to_thread(entered.wait, WAIT)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    leave.set()
    assert ref.ask("next", timeout=WAIT) == "next"
    assert not task.done()
    task._log_destroy_pending = False


# --- our own loop -------------------------------------------------------------------------------


def test_a_blocked_loop_is_left_and_its_actors_go_on_on_a_fresh_one(room):
    entered, leave = threading.Event(), threading.Event()
    stuck, suspended, echo = room.spawn(Stuck), room.spawn(Suspended), room.spawn(Echo)
    thread = room.spawn(Thread)
    before = thread.ask("who", timeout=WAIT)
    waits = suspended.ask("wait", block=False)
    assert echo.ask("served", timeout=WAIT) == "served"  # so the wait above has begun
    blocked = stuck.ask((entered, leave), block=False)
    assert entered.wait(WAIT)
    behind = echo.ask("waits for the loop", block=False)

    assert stuck._us_fence()

    assert behind.get(timeout=WAIT) == "waits for the loop"
    after = thread.ask("who", timeout=WAIT)
    assert after is not before
    with pytest.raises(us.ActorDeadError):
        blocked.get(timeout=WAIT)
    with pytest.raises(us.ActorDeadError):
        waits.get(timeout=WAIT)
    (_, _, failure), *_ = room.guardian.wait_for("failed")
    assert isinstance(failure.cause, us.LoopStuck)
    room.guardian.wait_for("started", 1)  # the suspended one, which was begun anew
    assert suspended.ask("again", timeout=WAIT) == "again"
    assert room.runtime.stats().zombie_threads == 1

    leave.set()
    before.join(WAIT)
    assert not before.is_alive()
    assert room.runtime.stats().zombie_threads == 0


def test_a_loop_is_left_once_however_many_say_that_it_is_stuck(room):
    entered, leave = threading.Event(), threading.Event()
    stuck = room.spawn(Stuck)
    stuck.ask((entered, leave), block=False)
    assert entered.wait(WAIT)
    loops = room.runtime.loop_dispatcher()
    strand = loops.strand
    assert loops.leave_stuck(strand)
    assert not loops.leave_stuck(strand)
    leave.set()


def test_closing_while_handlers_are_suspended_answers_their_asks_and_ends_the_thread(make_room):
    room = make_room()
    refs = [room.spawn(Suspended) for _ in range(3)]
    thread = room.spawn(Thread).ask("who", timeout=WAIT)
    waits = [ref.ask("wait", block=False) for ref in refs]
    behind = [ref.ask("behind", block=False) for ref in refs]
    room.close()
    for future in (*waits, *behind):
        with pytest.raises(us.ActorDeadError):
            future.get(timeout=WAIT)
    thread.join(WAIT)
    assert not thread.is_alive()


def test_a_handler_may_return_anything_that_can_be_awaited(room, caplog):
    caplog.set_level(logging.CRITICAL, logger="pykka")

    class Awaitable:
        def __init__(self, result):
            self.result = result

        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            if isinstance(self.result, Exception):
                raise self.result
            return self.result

    class Returns(us.Actor):
        dispatcher = "pool"

        def on_receive(self, message):
            return Awaitable(message)

    ref = room.spawn(Returns)
    assert ref.ask("value", timeout=WAIT) == "value"
    with pytest.raises(KeyError, match="gone"):
        ref.ask(KeyError("gone"), timeout=WAIT)


def test_a_handler_may_return_a_future_of_its_own_loop(room):
    class Returns(us.Actor):
        async def on_receive(self, message):
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, message)
            return future

    assert room.spawn(Returns).ask("later", timeout=WAIT) == "later"


def test_a_coroutine_run_to_its_end_is_logged_if_it_raises(room, caplog):
    caplog.set_level(logging.ERROR, logger="understudy")
    over = threading.Event()

    async def fails():
        asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(over.set))
        raise LookupError("nobody awaits this")

    room.runtime.loop_dispatcher().run_to_end(fails())
    assert over.wait(WAIT)
    assert "nobody awaits this" in caplog.text


# --- asks on the loop itself --------------------------------------------------------------------


class Many(us.Actor):
    """Does what it is told, in its first step."""

    async def on_receive(self, message):
        return message(self)


def test_an_ask_on_the_same_loop_is_done_before_it_is_awaited(room):
    async def main():
        return room.spawn(Echo).ask_async("now").done()

    assert on_loop(room, main)


def test_a_first_step_that_raises_reaches_the_asker(room, quiet_log):
    async def main():
        ref = room.spawn(Many)
        with pytest.raises(ValueError, match="at once"):
            await ref.ask_async(lambda _: _raise(ValueError("at once")))
        return await ref.ask_async(lambda _: "alive")

    assert on_loop(room, main) == "alive"


def test_a_plain_method_on_a_loop_answers_and_fails_like_a_coroutine(room, quiet_log):
    class Plain(us.Actor):
        dispatcher = "asyncio"

        def on_receive(self, message):
            return message(self)

    async def main():
        ref = room.spawn(Plain)
        assert await ref.ask_async(lambda _: 1) == 1
        with pytest.raises(ValueError, match="plain"):
            await ref.ask_async(lambda _: _raise(ValueError("plain")))
        odd = ref.ask_async(lambda _: _raise(StopIteration("odd")))
        while not odd.done():
            await asyncio.sleep(0)
        assert isinstance(odd.exception(), StopIteration)
        return await ref.ask_async(lambda _: 2)

    assert on_loop(room, main) == 2


def test_an_ask_of_an_actor_by_an_actor_names_its_sender(room):
    class Who(us.Actor):
        async def on_receive(self, message):
            return self.context.message.sender

    class Asks(us.Actor):
        async def on_receive(self, other):
            return await other.ask_async("who")

    async def main():
        asks, who = room.spawn(Asks), room.spawn(Who)
        nested = await asks.ask_async(who)
        return nested is asks, await who.ask_async("who")

    assert on_loop(room, main) == (True, None)


def test_an_ask_inherits_the_deadline_of_the_message_being_handled(room):
    class Deadline(us.Actor):
        async def on_receive(self, message):
            return self.context.message.deadline

    class Asks(us.Actor):
        async def on_receive(self, other):
            return await other.ask_async("when"), self.context.message.deadline

    async def main():
        return await room.spawn(Asks).ask_async(room.spawn(Deadline), timeout=WAIT)

    inner, outer = on_loop(room, main)
    assert inner is not None
    assert inner == outer


def test_what_an_actor_sends_itself_during_an_ask_is_handled_after_it(room):
    async def main():
        ref, seen = room.spawn(Many), []

        def sends(actor):
            actor.actor_ref.tell(lambda _: seen.append("told"))
            seen.append("asked")

        await ref.ask_async(sends)
        await ref.ask_async(lambda _: None)
        return seen

    assert on_loop(room, main) == ["asked", "told"]


def test_an_actor_that_stops_itself_during_an_ask_answers_it_first(room):
    async def main():
        ref = room.spawn(Many)
        first = await ref.ask_async(lambda actor: actor.stop())
        await asyncio.to_thread(room.guardian.wait_for, "ended")
        with pytest.raises(us.ActorDeadError):
            await ref.ask_async(lambda _: "too late")
        return first

    assert on_loop(room, main) is None


def test_a_behaviour_that_was_become_serves_asks_on_the_loop(room):
    class Becomes(us.Actor):
        async def on_receive(self, message):
            self.context.become(self.other)
            return "first"

        async def other(self, message):
            return "other"

    async def main():
        ref = room.spawn(Becomes)
        return [await ref.ask_async("x"), await ref.ask_async("x")]

    assert on_loop(room, main) == ["first", "other"]


def test_a_message_stashed_during_an_ask_is_answered_when_it_returns(room):
    class Stashes(us.Actor):
        def __init__(self):
            super().__init__()
            self.ready = False

        async def on_receive(self, message):
            if message == "open":
                self.ready = True
                self.context.unstash_all()
            elif not self.ready:
                self.context.stash()
            return message

    async def main():
        ref = room.spawn(Stashes)
        early = ref.ask_async("early")
        assert not early.done()
        await ref.ask_async("open")
        return await early

    assert on_loop(room, main) == "early"


def test_an_actor_fenced_during_its_first_step_does_not_answer(room):
    async def main():
        ref = room.spawn(Many)
        with pytest.raises(us.ActorDeadError):
            await ref.ask_async(lambda actor: actor.actor_ref._us_fence())

    on_loop(room, main)
    assert room.runtime.stats().refused == 1


def test_a_handler_that_suspends_is_answered_for_whatever_it_returns(room, quiet_log):
    class Later(us.Actor):
        async def on_receive(self, message):
            await asyncio.sleep(0)
            return message(self)

    other = us.Future()
    other.set("of another future")

    async def main():
        ref, seen = room.spawn(Later), []
        assert await ref.ask_async(lambda _: "value") == "value"
        assert await ref.ask_async(lambda _: other) == "of another future"
        with pytest.raises(ValueError, match="late"):
            await ref.ask_async(lambda _: _raise(ValueError("late")))
        first = ref.ask_async(lambda actor: actor.actor_ref.tell(lambda _: seen.append("told")))
        second = ref.ask_async(lambda _: list(seen))
        await first
        return await second, await ref.ask_async(lambda _: list(seen))

    assert on_loop(room, main) == ([], ["told"])


def test_the_current_task_of_a_handler_is_its_own_for_good(room):
    async def main():
        ref = room.spawn(Many)
        one = await ref.ask_async(lambda _: [asyncio.current_task()])
        two = await ref.ask_async(lambda _: [asyncio.current_task()])
        assert one[0] is not two[0]
        assert one[0] is not asyncio.current_task()
        assert not one[0].cancel()  # it is over
        return await ref.ask_async(lambda _: "untouched")

    assert on_loop(room, main) == "untouched"


def _raise(error):
    raise error


# --- the doorbell -------------------------------------------------------------------------------


class Blind(asyncio.SelectorEventLoop):
    """A loop that watches no files, as on some platforms."""

    def __init__(self):
        self._built = False
        super().__init__()
        self._built = True

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError


@pytest.fixture(params=["eventfd", "blind"])
def loop(request):
    loop = asyncio.new_event_loop() if request.param == "eventfd" else Blind()
    yield loop
    loop.close()


def ring_from_a_thread(bell, *what):
    thread = threading.Thread(target=lambda: [bell.ring(each) for each in what])
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_a_doorbell_completes_the_futures_it_was_rung_for(loop):
    async def main():
        bell = doorbell(loop)
        futures = [loop.create_future() for _ in range(100)]
        futures[50].cancel()
        ring_from_a_thread(bell, *futures)
        await asyncio.wait(futures, timeout=WAIT)
        return [future.cancelled() for future in futures]

    assert loop.run_until_complete(main()) == [number == 50 for number in range(100)]


def test_a_thousand_rings_wake_a_busy_loop_once(monkeypatch):
    writes = []
    write = _doorbell._write
    if write is None:
        pytest.skip("no eventfd here")
    monkeypatch.setattr(_doorbell, "_write", lambda *args: (writes.append(1), write(*args)))

    async def main():
        loop = asyncio.get_running_loop()
        bell, futures = doorbell(loop), [loop.create_future() for _ in range(1000)]
        ring_from_a_thread(bell, *futures)  # the loop is in here meanwhile
        await asyncio.wait_for(asyncio.gather(*futures), WAIT)
        before = len(writes)
        again = loop.create_future()
        ring_from_a_thread(bell, again)
        await asyncio.wait_for(again, WAIT)
        return before, len(writes)

    assert asyncio.run(main()) == (1, 2)


def test_a_function_that_raises_does_not_keep_the_others_from_being_called(loop):
    told, called = [], asyncio.Event()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

    async def main():
        ring_from_a_thread(doorbell(loop), lambda: _raise(LookupError("mine")), called.set)
        await asyncio.wait_for(called.wait(), WAIT)

    loop.run_until_complete(main())
    assert [type(error) for error in told] == [LookupError]


def test_ringing_at_a_closed_loop_does_nothing(loop):
    async def main():
        return doorbell(loop), loop.create_future()

    bell, future = loop.run_until_complete(main())
    loop.close()
    bell.ring(future)
    assert not future.done()


def test_a_loop_has_one_doorbell_and_a_closed_one_gives_its_own_up():
    async def main():
        loop = asyncio.get_running_loop()
        return doorbell(loop) is doorbell(loop), loop

    one, first = asyncio.run(main())
    two, _ = asyncio.run(main())
    assert one
    assert two
    assert first not in _doorbell._bells


def test_two_loops_in_turns_on_one_thread_keep_their_doorbells():
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        bells = [doorbell(each) for each in (first, second, first, second)]
        assert bells[0] is bells[2]
        assert bells[1] is bells[3]
        assert bells[0] is not bells[1]
    finally:
        first.close()
        second.close()
