"""The control socket: its owner's questions, answered; everything else, refused."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import subprocess
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from understudy.supervision import _control_socket
from understudy.supervision._control_socket import (
    ControlError,
    ControlSocket,
    NoRunningSystem,
    control_request,
)


@pytest.fixture
def served(tmp_path):
    started: list[ControlSocket] = []

    def serve(directory=tmp_path, **handlers) -> ControlSocket:
        control = ControlSocket(directory / "control.sock", handlers)
        control.start()
        started.append(control)
        return control

    yield serve
    for control in started:
        assert control.stop(10)


def speak(path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        parts = b""
        while part := peer.recv(65536):
            parts += part
        return parts


def test_a_request_is_answered_with_plain_data(served, tmp_path) -> None:
    served(echo=lambda request: {"got": request["word"], "list": [1, None, b"x"]})
    assert control_request(tmp_path, "echo", word="hello") == {
        "got": "hello",
        "list": [1, None, b"x"],
    }


def test_more_than_may_stand_in_line_are_all_answered(served, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_control_socket, "LINE", 0)
    open_door, at_door = threading.Event(), threading.Event()

    def wait(_: object) -> str:
        at_door.set()
        open_door.wait(10)
        return "in"

    served(wait=wait)
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(control_request(tmp_path, "wait")))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert at_door.wait(10)
    with pytest.raises(ControlError, match=r"let nobody in within 0\.05 s"), ExitStack() as line:
        for _ in range(5):  # the line is full by then
            control = line.enter_context(socket.socket(socket.AF_UNIX))
            control.setblocking(False)
            with suppress(BlockingIOError):
                control.connect(str(tmp_path / "control.sock"))
        control_request(tmp_path, "wait", timeout=0.05)
    open_door.set()
    for thread in threads:
        thread.join(10)
    assert answers == ["in"] * 5


def test_many_ask_at_once_and_each_gets_its_own_answer(served, tmp_path) -> None:
    served(double=lambda request: request["n"] * 2)
    answers: dict[int, int] = {}

    def ask(n: int) -> None:
        answers[n] = control_request(tmp_path, "double", n=n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == {n: n * 2 for n in range(20)}


def test_the_socket_is_open_to_its_owner_alone(served, tmp_path) -> None:
    control = served()
    assert stat.S_IMODE(control.path.stat().st_mode) == 0o600


def test_a_path_longer_than_an_address_works(served, tmp_path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    served(deep, ping=lambda _: "pong")
    assert control_request(deep, "ping") == "pong"


def test_a_socket_left_by_a_dead_process_is_replaced(served, tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    served(ping=lambda _: "pong")
    assert control_request(tmp_path, "ping") == "pong"


def test_a_file_in_the_sockets_place_is_not_removed(tmp_path) -> None:
    (tmp_path / "control.sock").write_text("mine")
    with pytest.raises(FileExistsError, match="is no socket"):
        ControlSocket(tmp_path / "control.sock").start()
    assert (tmp_path / "control.sock").read_text() == "mine"


def test_stopping_removes_the_socket_and_may_be_done_twice(served, tmp_path) -> None:
    control = served()
    assert control.stop(10)
    assert not control.path.exists()
    assert control.stop(10)
    with pytest.raises(NoRunningSystem, match="has no control socket"):
        control_request(tmp_path, "ping")


def test_a_handler_may_stop_the_socket_and_its_reply_still_leaves(tmp_path) -> None:
    control = ControlSocket(tmp_path / "control.sock")
    control.handlers["stop"] = lambda _: {"waited": control.stop()}
    control.start()
    assert control_request(tmp_path, "stop") == {"waited": False}
    assert control._ended.wait(10)


def test_starting_twice_is_starting_once(served, tmp_path) -> None:
    control = served(ping=lambda _: "pong")
    control.start()
    assert control_request(tmp_path, "ping") == "pong"


def test_an_unknown_op_is_told_the_known_ones(served, tmp_path) -> None:
    served(tree=lambda _: 1, stats=lambda _: 2)
    with pytest.raises(
        ControlError, match="unknown op 'dance'; known: stats, tasks, threads, tree"
    ) as caught:
        control_request(tmp_path, "dance")
    assert caught.value.code == "unknown_op"


def test_a_failing_handler_is_told_and_the_next_request_is_served(served, tmp_path, caplog) -> None:
    def fail(request):
        raise ZeroDivisionError("no")

    served(fail=fail, ping=lambda _: "pong")
    with pytest.raises(ControlError, match="fail failed: ZeroDivisionError"):
        control_request(tmp_path, "fail")
    assert control_request(tmp_path, "ping") == "pong"
    assert "control socket: fail failed" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        struct.pack(">I", 5) + b"ab",
        struct.pack(">I", 2**31),
        struct.pack(">I", 1) + b"\xc1",
        struct.pack(">I", 3) + b"\x93\x01\x02",
    ],
)
def test_nonsense_is_dropped_and_the_next_request_is_served(served, tmp_path, data: bytes) -> None:
    control = served(ping=lambda _: "pong")
    assert speak(control.path, data) == b""
    assert control_request(tmp_path, "ping") == "pong"


@pytest.mark.parametrize("request_", [None, 5, [], {}, {"op": 3}])
def test_a_request_of_another_shape_is_refused_in_words(served, tmp_path, request_) -> None:
    control = served()
    body = msgpack.packb(request_)
    reply = msgpack.unpackb(speak(control.path, struct.pack(">I", len(body)) + body)[4:])
    assert reply["ok"] is False
    assert reply["error"]["code"] == "malformed"


def test_where_nothing_runs_the_error_says_where_it_looked_and_what_to_do(tmp_path) -> None:
    with pytest.raises(NoRunningSystem, match="no such folder") as caught:
        control_request(tmp_path / "none", "tree")
    assert "--data-dir" in str(caught.value)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    with pytest.raises(NoRunningSystem, match="left from a process that has ended"):
        control_request(tmp_path, "tree")


def test_a_system_that_does_not_answer_in_time_is_named(served, tmp_path) -> None:
    free = threading.Event()
    served(slow=lambda _: free.wait(10))
    with pytest.raises(ControlError, match=r"no answer within 0\.05 s"):
        control_request(tmp_path, "slow", timeout=0.05)
    free.set()


def test_an_answer_broken_off_is_told(tmp_path) -> None:
    path = tmp_path / "control.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def half() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(struct.pack(">I", 100) + b"half")

    thread = threading.Thread(target=half)
    thread.start()
    with pytest.raises(ControlError, match="broke off its answer"):
        control_request(tmp_path, "tree")
    thread.join(10)
    listener.close()


def test_every_thread_of_the_process_can_be_looked_at(served, tmp_path) -> None:
    served()
    free = threading.Event()
    waiting = threading.Thread(target=free.wait, args=(20,), name="the-one-that-waits")
    waiting.start()
    try:
        found = {entry["name"]: entry for entry in control_request(tmp_path, "threads")}
    finally:
        free.set()
        waiting.join(20)
    assert "in wait" in found["the-one-that-waits"]["stack"]
    assert "MainThread" in found
    assert "understudy-control" not in found


def test_every_task_of_every_loop_can_be_looked_at(served, tmp_path) -> None:
    served()
    begun, ended = threading.Event(), threading.Event()
    made: list[asyncio.AbstractEventLoop] = []

    async def wait_for_the_test() -> None:
        made.append(asyncio.get_running_loop())
        begun.set()
        await asyncio.Event().wait()

    def run() -> None:
        async def main() -> None:
            await asyncio.gather(asyncio.create_task(wait_for_the_test(), name="a-task"))

        with suppress(asyncio.CancelledError):
            asyncio.run(main())
        ended.set()

    threading.Thread(target=run).start()
    assert begun.wait(20)
    found = {entry["task"]: entry["stack"] for entry in control_request(tmp_path, "tasks")}
    (waiting,) = (task for task in asyncio.all_tasks(made[0]) if task.get_name() == "a-task")
    made[0].call_soon_threadsafe(waiting.cancel)
    assert ended.wait(20)
    assert "in wait_for_the_test" in found["a-task"]


def test_the_thread_comes_from_whoever_starts_it(tmp_path) -> None:
    made: list[str] = []

    def spawn(target, name):
        made.append(name)
        threading.Thread(target=target, name=name, daemon=True).start()

    control = ControlSocket(tmp_path / "control.sock", spawn_thread=spawn)
    control.start()
    assert made == ["understudy-control"]
    assert control.stop(10)


ANOTHER_USER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as peer:
    peer.settimeout(10)
    peer.connect(sys.argv[1])
    try:
        peer.sendall(bytes.fromhex(sys.argv[2]))
        print("served" if peer.recv(100) else "refused")
    except ConnectionError:
        print("refused")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_peer_of_another_user_is_refused(served) -> None:
    with tempfile.TemporaryDirectory(prefix="understudy-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        control = served(directory, ping=lambda _: "pong")
        # The mode alone would already keep others out; this checks the second lock.
        control.path.chmod(0o666)
        body = msgpack.packb({"op": "ping"})
        frame = struct.pack(">I", len(body)) + body
        asked = subprocess.run(
            ["/usr/bin/env", "python3", "-c", ANOTHER_USER, str(control.path), frame.hex()],
            user=65534,
            capture_output=True,
            text=True,
            timeout=30,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin"},
            cwd="/",
        )
        assert (asked.stdout.strip(), asked.stderr) == ("refused", "")
        assert control_request(directory, "ping") == "pong"
