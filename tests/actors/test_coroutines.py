"""Coroutine handlers on event loops, ours and others'."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

import understudy.actors as us

WAIT = 5.0


class Waits(us.Actor):
    """Answers after as many suspensions as it is asked for."""

    async def on_receive(self, message):
        for _ in range(message):
            await asyncio.sleep(0)
        return message

    async def method(self, value):
        async with asyncio.timeout(WAIT):
            await asyncio.sleep(0)
        return value + 1


class Gate(us.Actor):
    """Waits in its handler until it is let through."""

    def __init__(self):
        super().__init__()
        self.log = []

    async def on_receive(self, message):
        if message == "log":
            return list(self.log)
        entered, leave = message
        self.log.append("in")
        entered.set()
        try:
            await leave.wait()
            self.log.append("out")
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        return "through"


def on_loop(room, coroutine_function):
    """Run a test on a loop of its own, which the room's coroutine actors use too."""

    async def main():
        room.runtime.use_loop(asyncio.get_running_loop())
        return await asyncio.wait_for(coroutine_function(), WAIT)

    return asyncio.run(main())


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_thread_gets_the_answer_of_a_coroutine_handler(room, steps):
    ref = room.spawn(Waits)
    assert [ref.ask(steps), ref.ask(steps, timeout=WAIT)] == [steps, steps]


def test_coroutine_methods_are_called_through_proxies(room):
    assert room.spawn(Waits).proxy().method(1).get(timeout=WAIT) == 2


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_await_ask_async_on_the_same_loop(room, steps):
    async def main():
        ref = room.spawn(Waits)
        return [await ref.ask_async(steps) for _ in range(3)]

    assert on_loop(room, main) == [steps] * 3


def test_ask_async_reaches_actors_of_the_pool_without_blocking(room):
    class Who(us.Actor):
        def on_receive(self, message):
            return threading.get_ident()

    async def main():
        return await room.spawn(Who).ask_async("who")

    assert on_loop(room, main) != threading.get_ident()


def test_asks_can_be_gathered(room):
    async def main():
        refs = [room.spawn(Waits) for _ in range(10)]
        return await asyncio.gather(*(ref.ask_async(n) for n, ref in enumerate(refs)))

    assert on_loop(room, main) == list(range(10))


def test_one_message_at_a_time_even_while_a_handler_is_suspended(room):
    async def main():
        ref = room.spawn(Gate)
        entered, leave = asyncio.Event(), asyncio.Event()
        first = ref.ask_async((entered, leave))
        second = ref.ask_async("log")
        await entered.wait()
        await asyncio.sleep(0)
        assert not second.done()
        leave.set()
        return await first, await second

    assert on_loop(room, main) == ("through", ["in", "out"])


def test_a_reentrant_class_takes_the_next_message_during_a_suspension(room):
    class Open(Gate):
        reentrant = True

    async def main():
        ref = room.spawn(Open)
        entered, leave = asyncio.Event(), asyncio.Event()
        first = ref.ask_async((entered, leave))
        log = await ref.ask_async("log")
        leave.set()
        return await first, log

    assert on_loop(room, main) == ("through", ["in"])


def test_cancelling_the_caller_cancels_the_handler(room):
    async def main():
        ref = room.spawn(Gate)
        entered, leave = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(_wait_for(ref.ask_async((entered, leave))))
        await entered.wait()
        await asyncio.sleep(0)  # let the task begin to wait
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await ref.ask_async("log")

    assert on_loop(room, main) == ["in", "cancelled"]


async def _wait_for(future):
    return await future


def test_the_deadline_cancels_the_handler_and_is_a_timeout_to_the_asker(room):
    async def main():
        ref = room.spawn(Gate)
        entered, leave = asyncio.Event(), asyncio.Event()
        with pytest.raises(us.Timeout):
            await ref.ask_async((entered, leave), timeout=0.01)
        return await ref.ask_async("log")

    assert on_loop(room, main) == ["in", "cancelled"]


def test_stop_now_cancels_the_handler_and_answers_its_asker(room):
    async def main():
        ref = room.spawn(Gate)
        entered, leave = asyncio.Event(), asyncio.Event()
        answer = ref.ask_async((entered, leave))
        await entered.wait()
        assert await ref.stop(block=False, now=True)
        with pytest.raises(us.ActorDeadError):
            await answer
        return ref.is_alive()

    assert on_loop(room, main) is False


def test_an_ordered_stop_waits_for_the_suspended_handler(room):
    async def main():
        ref = room.spawn(Gate)
        entered, leave = asyncio.Event(), asyncio.Event()
        answer = ref.ask_async((entered, leave))
        stopped = ref.stop(block=False)
        await entered.wait()
        leave.set()
        return await answer, await stopped

    assert on_loop(room, main) == ("through", True)


def test_a_coroutine_that_raises_fails_the_actor_or_its_asker(room):
    class Fails(us.Actor):
        async def on_receive(self, message):
            await asyncio.sleep(0)
            raise ValueError(message)

    ref = room.spawn(Fails)
    with pytest.raises(ValueError, match="asked"):
        ref.ask("asked", timeout=WAIT)
    ref.tell("told")
    (_, _, failure), *_ = room.guardian.wait_for("failed")
    assert failure.cause.args == ("told",)
    room.guardian.wait_for("started")
    assert ref.incarnation == 2


def test_hooks_may_be_coroutines(room):
    told = []

    class Hooks(us.Actor):
        async def on_start(self):
            await asyncio.sleep(0)
            told.append("start")

        async def on_receive(self, message):
            told.append(message)

        async def on_stop(self):
            await asyncio.sleep(0)
            told.append("stop")

    ref = room.spawn(Hooks)
    ref.tell("message")
    assert ref.stop(timeout=WAIT)
    assert told == ["start", "message", "stop"]


def test_a_cycle_of_awaited_asks_is_found(room):
    class Asks(us.Actor):
        async def on_receive(self, message):
            if isinstance(message, us.ActorRef):
                self.other = message
                return None
            return await self.other.ask_async(message)

    async def main():
        one, two = room.spawn(Asks), room.spawn(Asks)
        await one.ask_async(two)
        await two.ask_async(one)
        with pytest.raises(us.AskCycle, match=r"/room/1.*/room/2"):
            await one.ask_async("round")

    on_loop(room, main)


def test_a_blocking_ask_on_a_loop_is_refused_and_names_ask_async(room):
    async def main():
        ref = room.spawn(Waits)
        with pytest.raises(us.BlockingAsk, match="ask_async"):
            ref.ask(1)

    on_loop(room, main)


def test_context_variables_of_an_actor_are_its_own_and_stay(room):
    variable = contextvars.ContextVar("variable", default=0)

    class Counts(us.Actor):
        async def on_receive(self, message):
            variable.set(variable.get() + 1)
            await asyncio.sleep(0)
            return variable.get()

    async def main():
        one, two = room.spawn(Counts), room.spawn(Counts)
        return [await one.ask_async(0), await one.ask_async(0), await two.ask_async(0)]

    assert on_loop(room, main) == [1, 2, 1]


def test_task_groups_work_inside_a_handler(room):
    class Groups(us.Actor):
        async def on_receive(self, message):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(asyncio.sleep(0, n)) for n in range(message)]
            return [task.result() for task in tasks]

    assert room.spawn(Groups).ask(3, timeout=WAIT) == [0, 1, 2]


def test_the_sender_is_known_in_tasks_of_a_handler(room):
    class Sees(us.Actor):
        def on_receive(self, message):
            info = self.context.message
            assert info is not None
            return info.sender

    class Sends(us.Actor):
        async def on_receive(self, other):
            return await asyncio.ensure_future(self._ask(other))

        async def _ask(self, other):
            return await other.ask_async("who")

    sends = room.spawn(Sends)
    assert sends.ask(room.spawn(Sees), timeout=WAIT) is sends


def test_a_pool_actor_may_return_a_coroutine(room):
    class Mixed(us.Actor):
        dispatcher = "pool"

        def on_receive(self, message):
            return self._later(message)

        async def _later(self, message):
            await asyncio.sleep(0)
            return message

    assert room.spawn(Mixed).ask("later", timeout=WAIT) == "later"
