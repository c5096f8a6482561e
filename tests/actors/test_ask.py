"""Asking: on the caller's thread, with limits, in circles, and on the way out."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pykka
import pytest

import understudy.actors as us

WAIT = 5.0


class Echo(us.Actor):
    def on_receive(self, message):
        return message


class Threads(us.Actor):
    """Says which thread it runs on."""

    def on_receive(self, message):
        return threading.get_ident()


class Asker(us.Actor):
    """Asks another actor whatever it is asked."""

    def __init__(self, other=None):
        super().__init__()
        self.other = other

    def on_receive(self, message):
        if isinstance(message, us.ActorRef):
            self.other = message
            return None
        return self.other.ask(message)


def test_an_idle_actor_answers_on_the_askers_thread(room):
    assert room.spawn(Threads).ask("who") == threading.get_ident()


def test_an_ask_with_a_limit_runs_on_a_thread_of_the_pool(room):
    assert room.spawn(Threads).ask("who", timeout=WAIT) != threading.get_ident()


def test_a_class_that_promises_not_to_block_runs_inline_with_a_limit_too(room):
    class Quick(Threads):
        inline = True

    assert room.spawn(Quick).ask("who", timeout=WAIT) == threading.get_ident()


def test_a_class_can_forbid_to_be_run_inline(room):
    class Own(Threads):
        inline = False

    assert room.spawn(Own).ask("who") != threading.get_ident()


def test_an_actor_with_a_thread_of_its_own_is_never_run_inline(room):
    ref = room.spawn(Threads, dispatcher="thread")
    first = ref.ask("who")
    assert first != threading.get_ident()
    assert ref.ask("who") == first


def test_a_system_wide_limit_forbids_inline_asks(make_room):
    assert make_room(ask_timeout=WAIT).spawn(Threads).ask("who") != threading.get_ident()


def test_a_thread_whose_event_loop_has_ended_runs_actors_inline_again(room, make_room):
    async def main():
        other = make_room()
        other.runtime.use_loop(asyncio.get_running_loop())

        class Own(us.Actor):
            async def on_receive(self, message):
                return message

        return await other.spawn(Own).ask_async("there")

    ref = room.spawn(Threads)
    assert ref.ask("who") == threading.get_ident()
    assert asyncio.run(main()) == "there"
    ref.ask("who")  # may still be taken up by a worker
    assert room.runtime.wait_quiet(WAIT) == []
    assert ref.ask("who") == threading.get_ident()


def test_the_proxy_idiom_may_run_inline_too(room):
    class Who(us.Actor):
        def who(self):
            return threading.get_ident()

    proxy = room.spawn(Who).proxy()
    # A worker may be quicker to take the call up, but hardly every time.
    assert threading.get_ident() in {proxy.who().get() for _ in range(1000)}


def test_an_inline_ask_waits_for_what_was_sent_before_it(room):
    class Log(us.Actor):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_receive(self, message):
            self.seen.append(message)
            return list(self.seen)

    ref = room.spawn(Log)
    for number in range(100):
        ref.tell(number)
    assert ref.ask("last") == [*range(100), "last"]


def test_inline_asks_do_not_leak_context_variables_either_way(room):
    variable = contextvars.ContextVar("variable", default="nothing")

    class Setter(us.Actor):
        def on_receive(self, message):
            before = variable.get()
            variable.set(message)
            return before

    ref = room.spawn(Setter)
    token = variable.set("mine")
    try:
        assert ref.ask("one") == "nothing"
        assert variable.get() == "mine"
        assert ref.ask("two") == "one"
        assert ref.ask("three", timeout=WAIT) == "two"
    finally:
        variable.reset(token)


def test_nesting_of_inline_asks_is_bounded(room):
    class Chain(us.Actor):
        def __init__(self, below):
            super().__init__()
            self.below = below

        def on_receive(self, message):
            return 1 if self.below is None else 1 + self.below.ask(message)

    ref = None
    for _ in range(200):
        ref = room.spawn(Chain, ref)
    assert ref is not None
    assert ref.ask("depth") == 200


def test_an_exception_goes_to_the_asker_and_the_actor_lives_on(room):
    class Fails(us.Actor):
        def on_receive(self, message):
            if message == "fail":
                raise ValueError("no")
            return message

    ref = room.spawn(Fails)
    for timeout in (None, WAIT):
        with pytest.raises(ValueError, match="no"):
            ref.ask("fail", timeout=timeout)
        assert ref.ask("well", timeout=timeout) == "well"
    assert ref.incarnation == 1


def test_ask_failures_supervise_tells_the_asker_and_the_guardian(room):
    class Fails(us.Actor):
        ask_failures = "supervise"

        def on_receive(self, message):
            raise ValueError("no")

    ref = room.spawn(Fails)
    with pytest.raises(ValueError, match="no"):
        ref.ask("inline")
    room.guardian.wait_for("started")
    with pytest.raises(ValueError, match="no"):
        ref.ask("by the pool", timeout=WAIT)
    failures = room.guardian.wait_for("failed", 2)
    assert all(failure.asked for _, _, failure in failures)


@pytest.mark.parametrize("timeout", [None, WAIT])
@pytest.mark.parametrize("error", [SystemExit, GeneratorExit])
def test_an_asker_is_answered_when_the_handler_exits(room, error, timeout):
    class Exits(us.Actor):
        def on_receive(self, message):
            raise error

    room.guardian.on["fatal"] = lambda ref, cause: ref._us_close(us.Exit.Failed(cause))
    ref = room.spawn(Exits)
    with pytest.raises(us.ActorDeadError) as caught:
        ref.ask("go", timeout=timeout)
    assert isinstance(caught.value.__cause__, error)
    room.guardian.wait_for("fatal")


def test_an_ask_that_nobody_answers_in_time_is_a_timeout(room):
    release = threading.Event()

    class Slow(us.Actor):
        def on_receive(self, message):
            return release.wait(WAIT)

    ref = room.spawn(Slow)
    with pytest.raises(us.Timeout) as caught:
        ref.ask("wait", timeout=0.01)
    assert isinstance(caught.value, (pykka.Timeout, TimeoutError))
    release.set()
    assert ref.ask("again", timeout=WAIT) is True


def test_a_nested_ask_never_outlives_its_callers_deadline(room):
    release = threading.Event()
    gave_up = threading.Event()
    seen = []

    class Slow(us.Actor):
        def on_receive(self, message):
            release.wait(WAIT)

    class Middle(us.Actor):
        def on_receive(self, slow):
            info = self.context.message
            assert info is not None
            seen.append(info.deadline)
            try:
                slow.ask("wait", timeout=3600)
            except us.Timeout:
                gave_up.set()
                raise

    slow = room.spawn(Slow)
    middle = room.spawn(Middle)
    with pytest.raises(us.Timeout):
        middle.ask(slow, timeout=0.02)
    assert gave_up.wait(WAIT)
    release.set()
    assert middle.ask(slow, timeout=WAIT) is None
    assert seen[0] is not None


def test_an_actor_that_asks_itself_gets_the_cycle_printed(room):
    ref = room.spawn(Asker)
    ref.ask(ref)
    with pytest.raises(us.AskCycle, match=r"/room/1 asks /room/1"):
        ref.ask("round")


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_a_circle_of_asks_is_an_error_that_names_everybody_in_it(room, timeout):
    refs = [room.spawn(Asker) for _ in range(3)]
    for ref, other in zip(refs, [*refs[1:], refs[0]], strict=True):
        ref.ask(other)
    with pytest.raises(us.AskCycle) as caught:
        refs[0].ask("round", timeout=timeout)
    assert {ref.path for ref in refs} <= {ref.path for ref in caught.value.cycle}
    assert refs[1].path in str(caught.value)


def test_two_actors_asking_each_other_from_two_threads_do_not_deadlock(room):
    meet = threading.Barrier(2)

    class Meets(Asker):
        def on_receive(self, message):
            if message == "meet":
                meet.wait(WAIT)
            return super().on_receive("pass" if message == "meet" else message)

    class Ends(us.Actor):
        def on_receive(self, message):
            return "end"

    one, two = room.spawn(Meets, None), room.spawn(Meets, None)
    one.ask(two)
    two.ask(one)
    futures = [one.ask("meet", block=False), two.ask("meet", block=False)]
    outcomes = []
    for future in futures:
        try:
            outcomes.append(future.get(timeout=WAIT))
        except us.AskCycle as error:
            outcomes.append(error)
    assert any(isinstance(outcome, us.AskCycle) for outcome in outcomes)


def test_a_handler_may_return_a_future_and_the_asker_gets_its_result(room):
    class Forwards(us.Actor):
        def __init__(self, other):
            super().__init__()
            self.other = other

        def on_receive(self, message):
            return self.other.ask(message, block=False)

        def method(self, message):
            return self.other.ask(message, block=False)

    ref = room.spawn(Forwards, room.spawn(Echo))
    assert ref.ask("here") == "here"
    assert ref.ask("there", timeout=WAIT) == "there"
    assert ref.proxy().method("everywhere").get(timeout=WAIT) == "everywhere"


def test_a_handler_may_return_a_concurrent_future(room):
    import concurrent.futures

    class Later(us.Actor):
        def on_receive(self, future):
            return future

    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    answer = room.spawn(Later).ask(future, block=False)
    future.set_result("done")
    assert answer.get(timeout=WAIT) == "done"


def test_every_ask_resolves_when_it_races_stop(room):
    for _ in range(300):
        ref = room.spawn(Echo)
        futures: list[Any] = []

        def ask(ref=ref, futures=futures):
            futures.extend(ref.ask(number, block=False) for number in range(20))

        thread = threading.Thread(target=ask)
        thread.start()
        ref.stop(block=False)
        thread.join(WAIT)
        assert len(futures) == 20
        for number, future in enumerate(futures):
            try:
                assert future.get(timeout=WAIT) == number
            except us.ActorDeadError:
                pass


def test_an_ask_of_a_dead_actor_fails_at_once_and_hands_the_message_back(room):
    ref = room.spawn(Echo)
    assert ref.stop(timeout=WAIT)
    with pytest.raises(us.ActorDeadError) as caught:
        ref.ask("late")
    assert caught.value.message == "late"
    assert caught.value.ref is ref
    assert isinstance(caught.value, pykka.ActorDeadError)


def test_a_cancelled_ask_is_not_handled_any_more(room):
    release = threading.Event()
    started = threading.Event()
    handled = []

    class Slow(us.Actor):
        def on_receive(self, message):
            handled.append(message)
            started.set()
            return release.wait(WAIT)

    ref = room.spawn(Slow)
    ref.tell("first")
    assert started.wait(WAIT)
    future = ref.ask("second", block=False)
    assert future.cancel()
    release.set()
    assert ref.ask("third", timeout=WAIT) is True
    assert handled == ["first", "third"]


def test_forgetting_super_init_is_told_clearly(room):
    class Forgets(us.Actor):
        def __init__(self):
            pass

    with pytest.raises(TypeError, match=r"Forgets.*super\(\).__init__\(\)"):
        room.spawn(Forgets)
    with pytest.raises(TypeError, match=r"super\(\).__init__\(\)"):
        Forgets.start()


def test_an_unknown_dispatcher_is_refused_with_the_known_ones(room):
    with pytest.raises(us.UnknownDispatcher, match="asyncio, pool, thread"):
        room.spawn(Echo, dispatcher="moon")
