"""Actors without a system, and programs written for Pykka."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from typing import Any

import pykka
import pytest

import understudy.actors as us

WAIT = 5.0

pytestmark = pytest.mark.usefixtures("standalone")


class Echo(us.Actor):
    def on_receive(self, message):
        return message


def run(program, timeout=30):
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_they_register_with_pykkas_registry():
    ref = Echo.start()
    assert ref in pykka.ActorRegistry.get_all()
    assert us.ActorRegistry.get_by_class(Echo) == [ref]
    assert ref.stop()
    assert pykka.ActorRegistry.get_all() == []


def test_actors_of_a_system_do_not(room):
    room.spawn(Echo)
    assert pykka.ActorRegistry.get_all() == []


def test_refs_and_actors_are_pykkas():
    ref = Echo.start()
    assert isinstance(ref, pykka.ActorRef)
    assert isinstance(ref.proxy(), pykka.ActorProxy)
    assert issubclass(Echo, pykka.Actor)
    assert issubclass(us.ThreadingActor, pykka.ThreadingActor)


def test_a_failure_is_the_end_and_hooks_see_a_dead_actor(quiet_log):
    seen = threading.Event()
    alive = []

    class Fails(us.Actor):
        def on_receive(self, message):
            raise ValueError

        def on_failure(self, *exc_info):
            alive.append(self.actor_ref.is_alive())
            seen.set()

    ref = Fails.start()
    ref.tell("go")
    assert seen.wait(WAIT)
    assert alive == [False]
    assert ref.actor_stopped.wait(WAIT)
    assert "Unhandled exception" in quiet_log.text


def test_an_actor_ignored_at_its_start_is_dead_without_an_error(quiet_log):
    class Ignored(us.Actor):
        def on_start(self):
            raise us.Ignore

    ref = Ignored.start()
    assert ref.actor_stopped.wait(WAIT)
    assert "Unhandled" not in quiet_log.text


def test_system_exit_stops_all_standalone_actors():
    class Exits(us.Actor):
        def on_receive(self, message):
            raise SystemExit

    others = [Echo.start() for _ in range(3)]
    Exits.start().tell("go")
    assert all(ref.actor_stopped.wait(WAIT) for ref in others)


def test_pykkas_inbox_works():
    from pykka._envelope import Envelope

    ref = Echo.start()
    reply: pykka.ThreadingFuture[Any] = pykka.ThreadingFuture()
    ref.actor_inbox.put(Envelope("hello", reply_to=reply))
    assert reply.get(timeout=WAIT) == "hello"
    assert ref.actor_inbox.empty()
    with pytest.raises(NotImplementedError):
        ref.actor_inbox.get()


def test_a_ref_serialises_as_its_path_and_comes_back_as_itself(room):
    for ref in (Echo.start(), room.spawn(Echo)):
        data = pickle.dumps(ref)
        assert b"Echo" not in data.replace(ref.path.encode(), b"")
        assert pickle.loads(data) is ref
        assert copy.deepcopy(ref) is ref
        assert copy.copy(ref) is ref


def test_a_ref_of_nobody_does_not_come_back(room):
    ref = room.spawn(Echo)
    data = pickle.dumps(ref)
    assert ref.stop(timeout=WAIT)
    with pytest.raises(us.ActorDeadError, match="No actor at"):
        pickle.loads(data)


def test_an_actor_keeps_the_process_alive_until_it_stops():
    done = run(
        """
import understudy.actors as pykka
class Later(pykka.ThreadingActor):
    def on_receive(self, n):
        if n == 0:
            print("done", flush=True)
            self.stop()
        else:
            self.actor_ref.tell(n - 1)
Later.start().tell(100000)
"""
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_daemon_actor_does_not_keep_the_process_alive():
    done = run(
        """
import understudy.actors as pykka
class Stays(pykka.ThreadingActor):
    use_daemon_thread = True
    def on_receive(self, message):
        return message
print(Stays.start().ask("up", timeout=5), flush=True)
"""
    )
    assert (done.returncode, done.stdout) == (0, "up\n"), done.stderr


def test_a_runtime_left_running_does_not_hang_the_exit():
    done = run(
        """
import threading
from understudy.actors import Actor, Exit, Runtime
class Guardian:
    def __getattr__(self, name):
        return lambda *facts: None
class Blocks(Actor):
    def on_receive(self, event):
        event.wait()
runtime = Runtime("left", system=object())
def spawn(path, **options):
    return runtime.spawn_cell(
        Blocks, (), {}, path=path, parent=None, guardian=Guardian(), **options
    )
spawn("/a").tell(threading.Event())
spawn("/b", dispatcher="thread").tell(threading.Event())
print("end", flush=True)
"""
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


def test_a_fork_is_refused_with_a_clear_error_and_may_start_its_own():
    done = run(
        """
import os
import understudy.actors as us
class Echo(us.Actor):
    use_daemon_thread = True
    def on_receive(self, message):
        return message
ref = Echo.start()
assert ref.ask("up", timeout=5) == "up"
pid = os.fork()
if pid == 0:
    for send in (ref.tell, ref.ask, lambda m: ref.ask(m, timeout=1)):
        try:
            send("x")
        except us.Forked as error:
            assert "after the fork" in str(error)
        else:
            os._exit(1)
    assert Echo.start().ask("own", timeout=5) == "own"
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert ref.ask("still", timeout=5) == "still"
print("ok", flush=True)
"""
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_ctrl_c_in_an_inline_ask_reaches_the_caller_and_spares_the_actor():
    done = run(
        """
import signal, threading
from typing import Any
import understudy.actors as us
class Blocks(us.Actor):
    use_daemon_thread = True
    def on_receive(self, message):
        if message == "block":
            signal.raise_signal(signal.SIGINT)
        return message
ref = Blocks.start()
for _ in range(100):
    try:
        ref.ask("block")
    except KeyboardInterrupt:
        pass
    else:
        raise SystemExit(1)
    assert ref.ask("alive", timeout=5) == "alive"
print("ok", flush=True)
"""
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
