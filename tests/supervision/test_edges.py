"""Smaller doors: other ways to say the same, and what they refuse."""

from __future__ import annotations

import asyncio
import pathlib
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tests.supervision.actors import Crowd, Family, Probe
from tests.supervision.conftest import Log
from understudy.actors import Actor, ConfigError, Props, Restart
from understudy.supervision import (
    ActorSystem,
    ChildSpec,
    ChildState,
    HealthStatus,
    InvalidChildSpec,
    Shutdown,
    TreeNode,
)
from understudy.supervision._checks import _disk, _dispatchers
from understudy.supervision._family import short
from understudy.supervision._settings import read_config
from understudy.supervision._stacks import coroutine_stack, task_stack, thread_stack


def test_a_dynamic_supervisor_takes_specs_and_props(system: ActorSystem, log: Log) -> None:
    crowd = system.spawn(Crowd).proxy()
    spec = ChildSpec("a", Probe, args=(log, "a"), restart="temporary", shutdown="brutal")
    assert crowd.start_child(spec).get().path.endswith("/a")
    crowd.start_child(Props(Probe, log), name="b", restart="permanent").get()
    infos = {info.id: info for info in crowd.which_children().get()}
    assert infos["a"].restart is Restart.TEMPORARY
    assert infos["b"].restart is Restart.PERMANENT
    assert crowd.terminate_child("a").get() is None
    assert crowd.count_children().get().active == 1


@pytest.mark.parametrize("cls", [int, "Probe", None])
def test_a_dynamic_supervisor_starts_actors_only(system: ActorSystem, cls: Any) -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        system.spawn(Crowd).proxy().start_child(cls).get()
    assert caught.value.field == "cls"


def test_a_child_of_a_plain_actor_takes_the_words_of_spawn(system: ActorSystem, log: Log) -> None:
    ref = system.spawn(Probe, log, "parent", name="parent")
    kid = ref.ask(
        lambda actor: actor.context.spawn(
            Props(Probe, log, "kid"), name="kid", restart="permanent", shutdown=Shutdown.BRUTAL
        )
    )
    assert kid.path == "/user/parent/kid"
    kid.tell("stop")
    assert log.until("kid down") == ["parent up", "kid up", "kid down"]
    assert log.take() == ["kid up"]


def test_a_supervisor_spawns_no_children_beside_its_specs(system: ActorSystem) -> None:
    class Spawning(Family):
        def grow(self) -> Any:
            return self.context.spawn(Probe)

    sup = system.spawn(Spawning)
    with pytest.raises(TypeError, match="start_child"):
        sup.proxy().grow().get()


def test_settings_come_from_a_mapping_a_file_or_a_config(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "understudy.toml"
    path.write_text("shutdown_timeout = 7.0\n")
    config = read_config(path)
    assert config.shutdown_timeout == 7.0
    assert read_config({"shutdown_timeout": 8.0}).shutdown_timeout == 8.0
    assert read_config(config) is config
    with pytest.raises(ConfigError):
        read_config({"shutdown_timeout": -1})


def test_a_system_without_a_detector_has_none(log: Log) -> None:
    with ActorSystem("test", config={"detector": {"enabled": False}}) as system:
        assert system.lookup("/watch/detector") is None
        assert system.health.report().checks["detector"].detail == "off"
        assert system.running_for(system.root) is None


@pytest.mark.parametrize(
    ("free", "status"),
    [(10, HealthStatus.DOWN), (200 << 20, HealthStatus.DEGRADED), (9 << 30, HealthStatus.UP)],
)
def test_disk_space_is_judged_before_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, free: int, status: HealthStatus
) -> None:
    usage = SimpleNamespace(free=free, total=10 << 30)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    system: Any = SimpleNamespace(data_dir="/data")
    assert _disk(system)[0] is status


def test_a_starving_dispatcher_degrades_health_by_name() -> None:
    entry = SimpleNamespace(dispatcher="pool", waiting=7)
    system: Any = SimpleNamespace(runtime=SimpleNamespace(starving=lambda: [entry]))
    assert _dispatchers(system) == (HealthStatus.DEGRADED, "no thread is free on pool (7 wait)")


def test_the_stack_of_a_thread_shows_where_it_stands() -> None:
    gate, inside = threading.Event(), threading.Event()

    def standing() -> None:
        inside.set()
        gate.wait(30)

    thread = threading.Thread(target=standing, name="stander")
    thread.start()
    assert inside.wait(10)
    assert thread.ident is not None
    stack = thread_stack(thread.ident)
    gate.set()
    thread.join()
    assert stack is not None
    assert "stander" in stack
    assert "standing" in stack
    assert thread_stack(-1) is None


def test_the_stack_of_a_coroutine_shows_what_it_awaits() -> None:
    async def inner() -> None:
        await asyncio.sleep(60)

    async def outer() -> None:
        await inner()

    async def main() -> tuple[str, str]:
        task = asyncio.ensure_future(outer())
        await asyncio.sleep(0)
        stacks = coroutine_stack(task.get_coro()), task_stack(task)
        task.cancel()
        return stacks

    coroutine, task = asyncio.run(main())
    assert "await inner()" in coroutine
    assert "await asyncio.sleep(60)" in coroutine
    assert "awaiting" in coroutine
    assert "await inner()" in task


def test_the_stack_of_a_coroutine_goes_through_async_generators() -> None:
    async def innermost():
        yield "a piece"
        await asyncio.Event().wait()

    async def between():
        async for piece in innermost():
            yield piece

    async def outer() -> None:
        async for _ in between():
            pass

    async def main() -> str:
        task = asyncio.ensure_future(outer())
        await asyncio.sleep(0)
        stack = coroutine_stack(task.get_coro())
        task.cancel()
        return stack

    stack = asyncio.run(main())
    for name in ("outer", "between", "innermost"):
        assert f"in {name}\n" in stack
    assert "await asyncio.Event().wait()" in stack
    assert "<Future pending" in stack


def test_the_stack_of_a_coroutine_goes_on_in_the_tasks_it_awaits() -> None:
    async def fetch(event: asyncio.Event) -> None:
        await event.wait()

    async def one() -> None:
        await asyncio.ensure_future(fetch(asyncio.Event()))

    async def several() -> None:
        await asyncio.gather(*(fetch(asyncio.Event()) for _ in range(12)))

    async def main() -> list[str]:
        tasks = [asyncio.ensure_future(one()), asyncio.ensure_future(several())]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stacks = [coroutine_stack(task.get_coro()) for task in tasks]
        for task in tasks:
            task.cancel()
        return stacks

    alone, gathered = asyncio.run(main())
    assert "in task " in alone
    assert "await event.wait()" in alone
    assert gathered.count("await event.wait()") == 10
    assert "and 2 tasks more" in gathered


def test_labels_are_short_and_survive_a_broken_repr() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise ValueError("no")

    assert short("x" * 500, 10) == "'xxxxxxxx…"
    assert short(Rude()) == "<Rude, whose repr raises ValueError>"


def test_a_tree_shows_stopped_children_and_counts_what_it_leaves_out(
    system: ActorSystem,
) -> None:
    sup = system.spawn(Family, ChildSpec("a", Probe), name="sup")
    sup.proxy().terminate_child("a").get()
    node = system.tree().find("/user/sup/a")
    assert node is not None
    assert (node.state, node.cls) == (ChildState.STOPPED.value, "Probe")
    assert system.tree().find("/nowhere") is None
    kids = tuple(TreeNode(f"/p/{n}", str(n), "K", "worker", "running") for n in range(60))
    text = str(TreeNode("/p", "p", "P", "supervisor", "running", depth=2, children=kids))
    assert "… and 10 more" in text
    assert "2 waiting" in text


def test_stacks_of_running_handlers_are_told_to_tools(tmp_path: pathlib.Path) -> None:
    from understudy.supervision import control_request

    gate, inside = threading.Event(), threading.Event()

    class Standing(Actor):
        def on_receive(self, message: Any) -> None:
            inside.set()
            assert gate.wait(30)

    with ActorSystem("test", data_dir=tmp_path) as system:
        system.spawn(Standing, name="stander").tell("stand")
        assert inside.wait(10)
        stacks = control_request(tmp_path, "stacks")
        gate.set()
    assert [stack["actor"] for stack in stacks] == ["/user/stander"]
    assert "gate.wait(30)" in stacks[0]["stack"]
