"""`understudy tree`: asked of a running system, drawn for people, given to programs."""

from __future__ import annotations

import json

import pytest
from websockets.sync.client import connect

from understudy.cli._tree import duration, heading, rows, stack_lines


def node(name: str, *children: dict, **facts) -> dict:
    return {
        "name": name,
        "path": f"/{name}",
        "class": "Actor",
        "dispatcher": "pool",
        "state": "running",
        "restarts": 0,
        "depth": 0,
        "oldest": None,
        "current": None,
        "last_failure": None,
        "children": list(children),
        "more": 0,
        **facts,
    }


def test_a_tree_is_drawn_with_branches_and_aligned_columns() -> None:
    lines = rows(
        node("demo", node("storage", node("journal")), node("user", node("greeter"))), colour=False
    )
    assert [line[:14].rstrip() for line in lines] == [
        "actor",
        "demo",
        "├─ storage",
        "│  └─ journal",
        "└─ user",
        "   └─ greeter",
    ]
    assert len({line.index("Actor") for line in lines[1:]}) == 1


def test_what_an_actor_does_and_did_is_in_its_line() -> None:
    busy = node(
        "a",
        restarts=3,
        depth=12,
        oldest=2.5,
        current={"message": "'sort'", "seconds": 0.25},
        last_failure="ValueError('no')",
        state="restarting",
        dispatcher="reports",
    )
    line = rows(busy, colour=False)[1]
    for word in ("reports", "restarting", "3", "12 (2.5s)", "'sort' for 250ms", "ValueError('no')"):
        assert word in line


def test_long_texts_and_line_breaks_do_not_break_the_table() -> None:
    line = rows(node("a", last_failure="x\n" * 100), colour=False)[1]
    assert "\n" not in line
    assert line.endswith("…")


def test_children_that_are_not_shown_are_counted() -> None:
    lines = rows(node("a", node("b"), more=99), colour=False)
    assert lines[-2].startswith("├─ b")
    assert lines[-1].startswith("└─ … and 99 more")


def test_colours_are_used_only_where_asked_for() -> None:
    assert "\x1b[" in "".join(rows(node("a"), colour=True))
    assert "\x1b[" not in "".join(rows(node("a"), colour=False))


def test_the_heading_sums_up_the_system() -> None:
    data = {
        "system": "demo",
        "pid": 7,
        "uptime": 3723,
        "stats": {"actors": 1, "messages": 20, "restarts": 0},
    }
    assert heading(data) == "demo (pid 7, up 1h02m, 1 actor, 20 messages, 0 restarts)"


def test_a_stack_says_whose_it_is() -> None:
    lines = stack_lines(
        {
            "thread": 7,
            "actor": "/user/a",
            "message": "'x'",
            "seconds": 3.0,
            "stack": "  File one\n  File two\n",
        }
    )
    assert lines == ["--- /user/a (thread 7), in 'x' for 3.0s", "  File one", "  File two"]
    waiting = {"actor": "/user/b", "thread": None, "message": "'y'", "stack": "x"}
    assert stack_lines(waiting)[0] == "--- /user/b (coroutine), in 'y'"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12ms"),
        (59.94, "59.9s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (90_000, "1d01h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_running_system_it_says_so_in_one_line(tmp_path) -> None:
    from tests.cli.conftest import command

    done = command("tree", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no running system in '.understudy'" in line
    assert "--data-dir" in line


@pytest.mark.slow
def test_the_tree_of_a_running_server_can_be_seen_from_another_process(serve, office) -> None:
    from tests.cli.conftest import command

    server = serve("office", "--port", "0").ready()
    done = command("tree", cwd=office)
    assert done.returncode == 0, done.stderr
    assert f"pid {server.process.pid}" in done.stdout
    for branch in ("storage", "journal", "sessions", "effects", "user"):
        assert branch in done.stdout
    data = json.loads(command("tree", "--json", cwd=office).stdout)
    assert data["pid"] == server.process.pid
    assert data["tree"]["children"]
    with connect(
        f"{server.where.replace('http', 'ws')}/v1/sessions/ada/slow/t1/ws", proxy=None
    ) as client:
        client.send(json.dumps({"type": "user_message", "text": "go", "message_id": "m1"}))
        client.recv(20)
        stacks = command("tree", "--stacks", cwd=office).stdout
    assert "--- thread MainThread, in no actor" in stacks
    assert "--- /sessions/ada:slow:t1/agent (coroutine), in " in stacks
    assert "in on_receive" in stacks
    assert "--- task " in stacks


@pytest.mark.slow
def test_watching_goes_on_until_the_system_has_gone(serve, office) -> None:
    import signal
    import subprocess
    import sys

    from tests.cli.conftest import SECONDS, environment

    server = serve("office", "--port", "0").ready()
    watching = subprocess.Popen(
        [sys.executable, "-m", "understudy.cli", "tree", "--watch", "--json", "--interval", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=office,
        env=environment(),
    )
    assert watching.stdout is not None
    seen = [json.loads(watching.stdout.readline()) for _ in range(3)]
    assert {picture["pid"] for picture in seen} == {server.process.pid}
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    _, errors = watching.communicate(timeout=SECONDS)
    assert watching.returncode == 0
    assert "the system has gone" in errors


FROZEN = """
import asyncio
import understudy as us


class Frozen(us.Agent):
    async def respond(self, message, turn):
        yield "thinking "
        async for piece in self.ask_nobody():
            yield piece

    async def ask_nobody(self):
        await asyncio.Event().wait()
        yield "never"


def app(system):
    return us.SessionHost(system, agents={"frozen": Frozen})
"""


@pytest.mark.slow
def test_the_stack_of_a_frozen_agent_shows_its_own_lines(serve, office) -> None:
    from tests.cli.conftest import command

    (office / "stuck.py").write_text(FROZEN)
    server = serve("stuck", "--port", "0").ready()
    with connect(
        f"{server.where.replace('http', 'ws')}/v1/sessions/ada/frozen/t1/ws", proxy=None
    ) as client:
        client.send(json.dumps({"type": "user_message", "text": "anyone?", "message_id": "m1"}))
        client.recv(20)
        found = ""
        for _ in range(10):  # for how long is known once the detector has looked
            told = command("tree", "--stacks", cwd=office).stdout
            _, _, found = told.partition("--- /sessions/ada:frozen:t1/agent (coroutine)")
            if " for " in found.partition("\n")[0]:
                break
    title, *lines = found.partition("\n\n")[0].splitlines()
    assert title.startswith(", in Respond('anyone?', id='m1', attempt=1) for ")
    assert title.endswith("s")
    places = [line.split(", ", 1)[1] for line in lines if str(office / "stuck.py") in line]
    assert places == ["line 9, in respond", "line 13, in ask_nobody"]
    assert "await asyncio.Event().wait()" in "".join(lines)
