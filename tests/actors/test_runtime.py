# mypy: disable-error-code="override,var-annotated,method-assign,func-returns-value,union-attr,arg-type"
"""The runtime: starts that go wrong, what it counts and shows, refs from bytes, forks."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading

import pytest

import understudy.actors as us
from understudy.actors._runtime import on_new_runtime

WAIT = 5.0


class Echo(us.Actor):
    def on_receive(self, message):
        return message


# --- starts that go wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
@pytest.mark.parametrize("dispatcher", ["pool", "thread", "asyncio"])
def test_a_start_hook_that_raises_raises_at_the_spawner(room, quiet_log, dispatcher, error):
    class Fails(us.Actor):
        def on_start(self):
            raise error

    with pytest.raises(type(error)):
        room.spawn(Fails, dispatcher=dispatcher)
    assert room.runtime.cells() == []
    assert room.guardian.told == []


def test_a_constructor_that_raises_raises_at_the_spawner_and_leaves_no_path(room):
    class Fails(us.Actor):
        def __init__(self):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        room.spawn(Fails, path="/room/fails")
    assert room.runtime.lookup("/room/fails") is None


def test_a_constructor_that_raises_does_so_for_other_dispatchers_too(room):
    class Fails(us.Actor):
        dispatcher = "thread"

        def __init__(self):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        room.spawn(Fails)
    assert room.runtime.cells() == []


@pytest.mark.parametrize("how", ["stop", "close"])
def test_an_actor_closed_while_it_starts_raises_at_the_spawner_and_a_stopped_one_does_not(
    room, how
):
    starting, go_on = threading.Event(), threading.Event()

    class Slow(us.Actor):
        dispatcher = "thread"

        def on_start(self):
            starting.set()
            assert go_on.wait(WAIT)

    raised = []

    def spawn():
        try:
            room.spawn(Slow, path="/room/slow")
        except us.ActorDeadError as error:
            raised.append(str(error))

    spawner = threading.Thread(target=spawn)
    spawner.start()
    assert starting.wait(WAIT)
    ref = room.runtime.lookup("/room/slow")
    if how == "stop":
        stopped = ref.stop(block=False, now=True)
        go_on.set()
        stopped.get(timeout=WAIT)
    else:
        ref._us_close(us.Exit.KILLED)
        go_on.set()
    spawner.join(WAIT)
    assert not ref.is_alive()
    # An order to stop waits for the start; a close does not.
    assert [text.partition(") ")[2] for text in raised] == (
        ["was closed while it started"] if how == "close" else []
    )


def test_a_start_that_would_block_its_own_loop_is_refused(room):
    class Awaits(us.Actor):
        async def on_start(self):
            await asyncio.sleep(0)

        async def on_receive(self, message):
            return message

    async def main():
        room.runtime.use_loop(asyncio.get_running_loop())
        with pytest.raises(us.BlockingAsk):
            room.spawn(Awaits)

    asyncio.run(main())


def test_a_start_hook_may_send_to_itself(room):
    seen = []

    class Begins(us.Actor):
        def __init__(self):
            super().__init__()
            self.actor_ref.tell("from init")

        def on_receive(self, message):
            seen.append(message)

    class Hooked(Begins):
        def on_start(self):
            self.actor_ref.tell("from start")

    room.spawn(Begins).ask("last", timeout=WAIT)
    assert seen == ["from init", "last"]
    seen.clear()
    room.spawn(Hooked).ask("last", timeout=WAIT)
    assert seen == ["from init", "from start", "last"]


def test_a_mailbox_that_is_none_is_refused_with_what_to_give(room):
    with pytest.raises(TypeError, match=r"give a Mailbox\(\.\.\.\)"):
        room.spawn(Echo, mailbox=10)


def test_an_unknown_kind_of_dispatcher_is_refused_with_those_there_are(room):
    with pytest.raises(us.UnknownDispatcher, match="asyncio"):
        room.runtime.add_dispatcher("mine", "fibers")
    with pytest.raises(us.UnknownDispatcher, match="pool"):
        room.spawn(Echo, dispatcher="mine")


@pytest.mark.parametrize("options", [{}, {"dispatcher": "thread"}])
def test_nothing_is_spawned_after_the_close(make_room, options):
    room = make_room()
    room.close()
    with pytest.raises(us.SystemStopped):
        room.spawn(Echo, **options)


def test_children_need_the_room_that_supervises_them(make_room):
    room = make_room()

    class Parent(us.Actor):
        def on_receive(self, message):
            return room.runtime.children_of(self.actor_ref)

    from understudy.actors._runtime import _no_children, _no_family

    room.runtime.spawn_child, room.runtime.children_of = _no_family, _no_children
    parent = room.spawn(Parent)
    assert parent.ask("children") == ()
    with pytest.raises(RuntimeError, match=r"understudy\.supervision is not imported"):
        room.runtime.spawn_child(parent, Echo, (), {})


# --- what it counts and shows -------------------------------------------------------------------


def test_numbers_can_be_had_by_name_and_an_unknown_one_is_a_key_error(room):
    room.spawn(Echo).ask(1)
    numbers = room.runtime.stats()
    assert numbers["messages"] == numbers.messages == 1
    with pytest.raises(KeyError, match="unheard_of"):
        numbers["unheard_of"]


def test_listeners_hear_of_runtimes_there_are_and_of_new_ones(make_room):
    before = make_room().runtime
    heard = []
    on_new_runtime(heard.append)
    try:
        assert before in heard
        assert make_room().runtime is heard[-1]
    finally:
        from understudy.actors import _runtime

        _runtime._listeners.remove(heard.append)


def test_a_dispatcher_at_its_limit_with_mail_waiting_is_starving(make_room):
    room = make_room(max_threads=2)
    entered, leave = threading.Semaphore(0), threading.Event()

    class Blocks(us.Actor):
        def on_receive(self, message):
            entered.release()
            leave.wait(WAIT)

    assert room.runtime.starving() == []
    for _ in range(5):
        room.spawn(Blocks).tell("block")
    try:
        assert all(entered.acquire(timeout=WAIT) for _ in range(2))
        known = threading.Event()
        seen = []
        for _ in range(int(WAIT / 0.01)):
            seen = room.runtime.starving()
            if seen:
                break
            known.wait(0.01)
        (line,) = seen
        assert (line.dispatcher, line.threads, line.waiting) == ("pool", 2, 3)
    finally:
        leave.set()
    assert room.runtime.wait_quiet(WAIT) == []
    assert room.runtime.stats().dispatchers["pool"]["threads"] <= 2


def test_code_knows_whether_it_runs_inside_an_actor_of_a_runtime(make_room):
    one, two = make_room(), make_room()

    class Inside(us.Actor):
        def on_receive(self, message):
            return one.runtime.inside(), two.runtime.inside()

    assert one.spawn(Inside).ask("x") == (True, False)
    assert not one.runtime.inside()


def test_a_dead_letter_that_is_not_delivered_makes_no_other(room):
    ref = room.spawn(Echo)
    ref.stop(timeout=WAIT)
    letter = us.DeadLetter("message", ref, None, "dead")
    with pytest.raises(us.ActorDeadError):
        ref.tell("message")
    with pytest.raises(us.ActorDeadError):
        ref.tell(letter)
    assert room.runtime.stats().dead_letters == 1


def test_interceptors_come_into_force_for_actors_there_are(room):
    seen = []

    ref = room.spawn(Echo)
    assert ref.ask("before") == "before"
    room.runtime.intercept(us.Interceptor(before=lambda actor, message: seen.append(message)))
    assert ref.ask("after") == "after"
    assert seen == ["after"]


# --- refs from bytes, forks ---------------------------------------------------------------------


def test_a_ref_comes_back_from_its_bytes_as_itself(room):
    ref = room.spawn(Echo)
    assert pickle.loads(pickle.dumps(ref)) is ref


def test_a_standalone_ref_comes_back_from_its_bytes(standalone):
    ref = Echo.start()
    assert pickle.loads(pickle.dumps(ref)) is ref


def test_a_ref_nobody_has_any_more_says_where_it_was_looked_for(room):
    ref = room.spawn(Echo, path="/room/gone")
    data = pickle.dumps(ref)
    ref.stop(timeout=WAIT)
    with pytest.raises(us.ActorDeadError, match=r"'/room/gone' in a system 'room'"):
        pickle.loads(data)


def test_in_a_forked_child_everything_of_the_parent_says_so():
    code = """
import asyncio, os, sys
import understudy.actors as us
from understudy.actors import Exit, Runtime

class Echo(us.Actor):
    def on_receive(self, message): return message
class Loop(us.Actor):
    async def on_receive(self, message): return message
class Guardian:
    def child_closed(self, ref, reason): pass

runtime = Runtime("parent", system=object())
spawn = lambda cls, n: runtime.spawn_cell(
    cls, (), {}, path=f"/{n}", parent=None, guardian=Guardian())
echo, loop = spawn(Echo, 1), spawn(Loop, 2)
assert echo.ask("x", timeout=5) == "x"
pid = os.fork()
if not pid:
    refused = 0
    for attempt in (
        lambda: echo.tell("x"), lambda: echo.ask("x", timeout=5), lambda: spawn(Echo, 3),
        lambda: runtime.spawn_cell(Echo, (), {}, path="/4", parent=None, guardian=None,
                                   dispatcher="thread"),
        runtime.check_fork, lambda: runtime.loop_dispatcher().strand,
        lambda: loop.ask("x", timeout=5),
    ):
        try:
            attempt()
        except us.Forked:
            refused += 1
    os._exit(refused)
_, status = os.waitpid(pid, 0)
assert echo.ask("y", timeout=5) == "y"
assert loop.ask("y", timeout=5) == "y"
print(os.waitstatus_to_exitcode(status), flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "7", done.stderr
