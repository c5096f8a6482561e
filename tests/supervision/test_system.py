"""The actor system: its tree, its doors, its end."""

from __future__ import annotations

import asyncio
import pathlib
import threading
from typing import Any

import pykka
import pytest

from tests.supervision.actors import Crowd, Family, Ignoring, Probe, probe
from tests.supervision.conftest import Log
from understudy.actors import (
    Actor,
    ActorDeadError,
    ActorRestarted,
    ActorStopped,
    Config,
    DeadLetter,
    Exit,
    Props,
    Restart,
    RetentionConfig,
    StartFailed,
    SystemStopped,
)
from understudy.storage import JournalLocked
from understudy.supervision import (
    ActorSystem,
    AlreadyStarted,
    ChildNotFound,
    ChildSpec,
    HealthStatus,
    InvalidChildSpec,
    OneForOne,
    Supervisor,
    SupervisorReport,
    SystemFailed,
    control_request,
    tree_data,
)
from understudy.testing import ManualClock

BOOM = RuntimeError("boom")


class Echo(Actor):
    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else message


# --- the tree


def test_the_branches_stand_in_their_order() -> None:
    with ActorSystem("shop") as system:
        tree = system.tree()
        assert (tree.name, tree.kind, tree.state) == ("shop", "system", "running")
        assert [node.name for node in tree.children] == [
            "storage", "watch", "fabric", "effects", "sessions", "user",
        ]  # fmt: skip
        assert {"/storage/journal", "/watch/detector", "/watch/health"} <= {
            node.path for node in tree.walk()
        }


def test_a_tree_is_text_as_well(system: ActorSystem) -> None:
    system.spawn(Family, ChildSpec("a", Probe), name="sup")
    text = str(system.tree())
    assert "sup  Family, running" in text
    assert "   └─ a  Probe, running" in text


def test_dispatchers_are_visible_in_the_tree_and_in_the_numbers() -> None:
    config = Config(dispatchers={"reports": {"kind": "pool", "threads": 2, "throughput": 5}})
    with ActorSystem("numbers", config=config) as system:
        system.spawn(Echo, name="usual")
        system.spawn(Echo, name="mine", dispatcher="thread")
        system.spawn(Echo, name="report", dispatcher="reports").ask(1, timeout=10.0)
        tree = system.tree()
        nodes = {node.name: node.dispatcher for node in tree.walk()}
        assert (nodes["usual"], nodes["mine"], nodes["report"]) == ("pool", "thread", "reports")
        assert tree.as_dict()["dispatcher"] == "pool"
        assert "report  Echo, running, on reports" in str(tree)
        reports = system.stats().dispatchers["reports"]
        assert (reports["kind"], reports["slots"], reports["throughput"]) == ("pool", 2, 5)
        assert system.stats().as_dict()["dispatchers"]["pool"]["max_threads"] == 1024


def test_a_tree_tells_restarts_failures_mail_and_work(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    ref = system.spawn(Probe, log, "a", name="a")
    ref.tell(BOOM)
    log.take(2)
    gate, inside = threading.Event(), threading.Event()

    def work(_: Any) -> None:
        inside.set()
        assert gate.wait(30)

    ref.tell(work)
    ref.tell("count")
    ref.tell("count")
    assert inside.wait(10)
    system.realm.watcher.sweep()
    clock.advance(1.25)
    node = system.tree().find("/user/a")
    assert node is not None
    assert (node.restarts, node.last_failure) == (1, "RuntimeError('boom')")
    assert (node.depth, node.oldest) == (2, 1.25)
    assert node.message is not None
    assert "work" in node.message
    gate.set()


def test_tree_data_is_plain_and_bounded(system: ActorSystem) -> None:
    for _ in range(5):
        system.spawn(Echo)
    data = tree_data(system, children=3)
    assert data["system"] == "test"
    assert data["stats"]["actors"] > 5
    [user] = [child for child in data["tree"]["children"] if child["name"] == "user"]
    assert (len(user["children"]), user["more"]) == (3, 2)


# --- spawning


def test_a_spawned_actor_lives_under_user_and_is_found_there(system: ActorSystem) -> None:
    ref = system.spawn(Echo, name="echo")
    assert ref.path == "/user/echo"
    assert system.lookup("/user/echo") is ref
    assert system.lookup("/user/nobody") is None
    assert system.lookup("/") is system.root
    ref.stop()
    assert system.lookup("/user/echo") is None


def test_words_of_spawn_itself_go_to_the_class_through_props(system: ActorSystem) -> None:
    class Named(Actor):
        def __init__(self, first: str, *, name: str, restart: str) -> None:
            super().__init__()
            self.words = (first, name, restart)

        def on_receive(self, message: Any) -> Any:
            return self.words

    ref = system.spawn(Props(Named, "a", name="b", restart="c"), name="d")
    assert ref.ask(None) == ("a", "b", "c")
    assert ref.path == "/user/d"


def test_a_name_is_taken_once_and_free_again_afterwards(system: ActorSystem) -> None:
    ref = system.spawn(Echo, name="a")
    with pytest.raises(AlreadyStarted) as caught:
        system.spawn(Echo, name="a")
    assert caught.value.ref is ref
    ref.stop()
    again = system.spawn(Echo, name="a")
    assert again is not ref
    assert not ref.is_alive()


def test_a_failing_start_raises_with_its_cause(system: ActorSystem) -> None:
    class Broken(Actor):
        def __init__(self, error: Exception, *, early: bool) -> None:
            super().__init__()
            self.error = error
            if early:
                raise error

        def on_start(self) -> None:
            raise self.error

    for early in (True, False):
        with pytest.raises(StartFailed) as caught:
            system.spawn(Broken, BOOM, early=early, name="b")
        assert (caught.value.id, caught.value.cause) == ("b", BOOM)
        assert system.lookup("/user/b") is None


def test_an_actor_that_ignores_is_none(system: ActorSystem) -> None:
    assert system.spawn(Ignoring, name="off") is None
    assert system.lookup("/user/off") is None


@pytest.mark.parametrize("restart", ["permanent", Restart.PERMANENT])
def test_a_permanent_actor_comes_back_after_a_normal_end(
    system: ActorSystem, log: Log, restart: Any
) -> None:
    ref = system.spawn(Probe, log, "a", restart=restart)
    ref.tell("stop")
    assert log.take(3) == ["a up", "a down", "a up"]


def test_a_restart_type_that_is_none_is_refused(system: ActorSystem) -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        system.spawn(Echo, restart="sometimes")
    assert (caught.value.field, caught.value.value) == ("restart", "sometimes")


def test_another_dynamic_supervisor_can_be_named(system: ActorSystem) -> None:
    system.spawn(Crowd, name="crowd")
    ref = system.spawn(Echo, name="a", under="/user/crowd")
    assert ref.path == "/user/crowd/a"
    with pytest.raises(InvalidChildSpec) as caught:
        system.spawn(Echo, under="/user/nobody")
    assert caught.value.field == "under"


def test_unrelated_crashes_do_not_add_up(system: ActorSystem, log: Log) -> None:
    refs = [system.spawn(Probe, log, f"a{n}") for n in range(20)]
    log.take(20)
    for ref in refs:
        ref.tell(BOOM)
    log.take(20)
    assert all(ref.is_alive() for ref in refs)


def test_an_actor_over_its_budget_stops_alone(system: ActorSystem, log: Log) -> None:
    ref, other = system.spawn(Probe, log, "a"), system.spawn(Echo)
    stopped: Log = Log()
    system.events.subscribe(stopped, ActorStopped)
    for _ in range(4):
        ref.tell(BOOM)
    [event] = stopped.take()
    assert event.ref is ref
    assert event.reason == Exit.RestartLimit(BOOM)
    assert other.ask("still here") == "still here"


def test_the_names_other_systems_use_work_too(system: ActorSystem) -> None:
    ref = system.create_actor(Echo, "echo")
    assert ref.path == "/user/echo"
    seen: list[Any] = []
    system.dispatch("echo", lambda actor: seen.append(actor))
    ref.ask("barrier")
    assert len(seen) == 1
    with pytest.raises(ActorDeadError):
        system.dispatch("nobody", "hello")


def test_telling_a_path_reaches_the_actor_or_is_a_dead_letter(system: ActorSystem) -> None:
    seen: list[Any] = []
    ref = system.spawn(Echo, name="echo")
    system.tell("/user/echo", lambda actor: seen.append(actor))
    ref.ask("barrier")
    assert len(seen) == 1
    letters: list[DeadLetter] = []
    system.events.subscribe(letters.append, DeadLetter)
    with pytest.raises(ActorDeadError) as caught:
        system.tell("/user/nobody", "hello")
    assert caught.value.message == "hello"
    assert [(letter.message, letter.recipient) for letter in letters] == [("hello", "/user/nobody")]


# --- counting and listening


def test_one_dispatched_message_is_one_message(system: ActorSystem) -> None:
    system.spawn(Echo, name="echo")
    before = system.stats().messages
    system.dispatch("echo", "hello")
    assert system.runtime.wait_quiet() == []
    assert system.stats().messages - before == 1


def test_restarts_and_failures_are_counted(system: ActorSystem, log: Log) -> None:
    ref = system.spawn(Probe, log, "a")
    ref.tell(BOOM)
    log.take(2)
    ref.ask("barrier")
    stats = system.stats()
    assert (stats.failures, stats.restarts) == (1, 1)
    assert stats.as_dict()["restarts"] == 1


def test_restarts_and_reports_are_events(system: ActorSystem, log: Log) -> None:
    events = Log()
    system.events.subscribe(events, ActorRestarted, SupervisorReport)
    ref = system.spawn(Probe, log, "a", name="a")
    ref.tell(BOOM)
    report, restarted = events.take(2)
    assert (report.context, report.action, report.offender.path) == (
        "child_terminated", "restart", "/user/a",
    )  # fmt: skip
    assert (restarted.ref, restarted.incarnation, restarted.cause) == (ref, 2, BOOM)


# --- mounting


def test_a_mounted_branch_stands_before_user_and_outlives_it(log: Log) -> None:
    system = ActorSystem("test")
    ref = system.mount(probe(log, "branch"))
    assert ref.path == "/branch"
    assert [n.name for n in system.tree().children][-2:] == ["branch", "user"]
    system.spawn(Probe, log, "mine")
    log.take(2)
    system.stop()
    assert log.rest() == ["mine down", "branch down"]


def test_mounting_before_something_unknown_is_refused(system: ActorSystem) -> None:
    with pytest.raises(ChildNotFound):
        system.mount(ChildSpec("branch", Echo), before="nothing")


def test_a_branch_that_does_not_start_is_not_there(system: ActorSystem, log: Log) -> None:
    with pytest.raises(StartFailed):
        system.mount(probe(log, "branch", start_error=BOOM))
    assert system.lookup("/branch") is None


# --- the end


def test_leaving_the_block_stops_everything(log: Log) -> None:
    with ActorSystem("test") as system:
        ref = system.spawn(Probe, log, "a")
        log.take()
    assert log.rest() == ["a down"]
    assert not ref.is_alive()
    assert system.state == "stopped"
    assert system.terminated.get(timeout=0) is None


def test_a_system_can_be_used_from_asyncio(log: Log) -> None:
    async def main() -> None:
        async with ActorSystem("test") as system:
            ref = system.spawn(Probe, log, "a")
            assert await ref.ask_async("count") == 1
        assert system.state == "stopped"

    asyncio.run(main())
    assert log.rest() == ["a up", "a down"]


def test_actors_can_be_spawned_from_an_event_loop() -> None:
    class Async(Actor):
        async def on_start(self) -> None:
            await asyncio.sleep(0)

        async def on_receive(self, message: Any) -> Any:
            await asyncio.sleep(0)
            return message

    class Broken(Actor):
        async def on_start(self) -> None:
            raise BOOM

    async def main() -> None:
        async with ActorSystem("test") as system:
            ref = await system.spawn_async(Async, name="a")
            assert await ref.ask_async("hello") == "hello"
            assert ref.path == "/user/a"
            sup = await system.spawn_async(Family, ChildSpec("c", Echo), name="sup")
            assert system.lookup("/user/sup/c") is not None
            again = system.spawn(Family, ChildSpec("c", Echo))  # short enough to wait for
            assert again.is_alive()
            assert sup.is_alive()
            assert await system.spawn_async(Props(Ignoring), restart="permanent") is None
            with pytest.raises(StartFailed) as caught:
                await system.spawn_async(Broken, name="b")
            assert caught.value.cause is BOOM

    asyncio.run(main())


def test_stopping_twice_and_from_many_threads_is_one_stop(log: Log) -> None:
    system = ActorSystem("test")
    system.spawn(Probe, log, "a")
    threads = [threading.Thread(target=system.stop) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    system.stop()
    assert log.rest() == ["a up", "a down"]


def test_an_actor_may_stop_its_own_system(log: Log) -> None:
    system = ActorSystem("test")
    ref = system.spawn(Probe, log, "a")
    ref.tell(lambda actor: system.stop())
    assert system.wait(timeout=10)
    assert log.rest() == ["a up", "a down"]


def test_a_stopped_system_starts_nothing_and_says_so() -> None:
    system = ActorSystem("test")
    system.stop()
    with pytest.raises(SystemStopped, match="'test'"):
        system.spawn(Echo)
    with pytest.raises(SystemStopped):
        system.mount(ChildSpec("x", Echo))
    with pytest.raises(ActorDeadError):
        system.tell("/user/a", "hello")


def test_actors_that_hang_at_the_end_are_left_behind_at_the_time_limit(
    clock: ManualClock, log: Log
) -> None:
    gate = threading.Event()
    system = ActorSystem("test", clock=clock)
    slow = system.spawn(Probe, log, "slow", stop_gate=gate, dispatcher="thread")
    system.begin_stop(timeout=1.0)
    log.until("slow down")
    clock.advance(1.0)
    assert system.wait(timeout=10)
    assert not slow.is_alive()
    gate.set()


def test_several_systems_share_nothing() -> None:
    with ActorSystem("one") as one, ActorSystem("two") as two:
        a = one.spawn(Echo, name="a")
        b = two.spawn(Echo, name="a")
        assert a is not b
        one.stop()
        assert b.ask("alive") == "alive"


def test_only_the_root_is_in_pykkas_registry() -> None:
    before = set(pykka.ActorRegistry.get_all())
    with ActorSystem("test") as system:
        for _ in range(10):
            system.spawn(Echo)
        assert set(pykka.ActorRegistry.get_all()) - before == {system.root}
    assert set(pykka.ActorRegistry.get_all()) == before


def test_stopping_all_actors_as_in_pykka_stops_the_system() -> None:
    system = ActorSystem("test")
    ref = system.spawn(Echo)
    system.root.stop()
    assert system.wait(timeout=10)
    assert not ref.is_alive()


def test_threads_end_with_the_system() -> None:
    before = set(threading.enumerate())
    with ActorSystem("test") as system:
        system.spawn(Echo).ask("hello")
        system.spawn(Echo, dispatcher="thread").ask("hello")
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), thread


@pytest.mark.conformance(103)
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_fatal_error_ends_the_whole_system_in_order(log: Log, error: BaseException) -> None:
    system = ActorSystem("test")
    system.spawn(Probe, log, "other")
    ref = system.spawn(Probe, log, "fatal")
    ref.tell(error)
    assert system.wait(timeout=10)
    assert "other down" in log.rest()
    assert system.interrupted_by is error


def test_when_the_root_gives_up_the_system_stops_with_an_error(log: Log) -> None:
    class Doomed(Supervisor):
        strategy = OneForOne(intensity=0)

        def children(self) -> Any:
            return [probe(log, "leaf")]

    system = ActorSystem("test")
    system.mount(ChildSpec("doomed", Doomed))
    for _ in range(4):
        log.until("leaf up")
        leaf = system.lookup("/doomed/leaf")
        assert leaf is not None
        leaf.tell(BOOM)
    with pytest.raises(SystemFailed) as caught:
        system.wait(timeout=10)
    assert caught.value.cause is BOOM
    with pytest.raises(SystemFailed):
        system.stop()


def test_an_error_of_the_block_itself_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="mine"), ActorSystem("test"):
        raise ValueError("mine")


def test_a_name_is_needed() -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        ActorSystem("")
    assert caught.value.field == "name"


@pytest.mark.parametrize("wrong", [Echo, Props(dict), dict, "Echo"], ids=str)
def test_what_is_no_actor_class_is_refused_by_name(wrong: Any) -> None:
    wrong = wrong.start() if wrong is Echo else wrong
    with ActorSystem("test") as system:
        with pytest.raises(InvalidChildSpec) as caught:
            system.spawn(wrong)
        with pytest.raises(InvalidChildSpec):
            asyncio.run(system.spawn_async(wrong))
        assert caught.value.field == "cls"
    pykka.ActorRegistry.stop_all()


def test_a_history_for_an_actor_that_keeps_none_is_refused() -> None:
    with ActorSystem("test") as system:
        crowd = system.spawn(Crowd, name="crowd").proxy()
        for spawn in (
            lambda: system.spawn(Echo, persistence_id="echo:1"),
            lambda: asyncio.run(system.spawn_async(Echo, persistence_id="echo:1")),
            lambda: crowd.start_child(Echo, persistence_id="echo:1").get(timeout=5.0),
            lambda: ChildSpec("echo", Echo, persistence_id="echo:1"),
        ):
            with pytest.raises(InvalidChildSpec, match="Echo is no PersistentActor"):
                spawn()


# --- the data directory


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartFailed, match=str(tmp_path / "file")):
        ActorSystem("test", data_dir=tmp_path / "file")


def test_the_journal_lives_in_the_data_directory(tmp_path: pathlib.Path) -> None:
    with ActorSystem("test", data_dir=tmp_path / "data") as system:
        system.journal.append("s", [event("hello")])
    with ActorSystem("test", data_dir=tmp_path / "data") as system:
        assert [record.type for record in system.journal.read("s")] == ["hello"]


def event(type: str) -> Any:
    from understudy.storage import NewEvent

    return NewEvent(type, {})


def test_without_a_directory_everything_is_in_memory() -> None:
    with ActorSystem("test") as system:
        system.journal.append("s", [event("hello")])
        assert system.journal.last_seq("s") == 1
        assert system.control is None


def test_the_retention_keeper_makes_a_round_an_hour(
    system: ActorSystem, clock: ManualClock
) -> None:
    keeper = system.lookup("/storage/retention")
    assert keeper is not None
    system.journal.append("s", [event("hello")])
    assert keeper.ask("rounds") == 0
    clock.advance(3600)
    assert keeper.ask("rounds") == 1
    clock.advance(3600)
    assert keeper.ask("rounds") == 2
    assert keeper.incarnation == 1
    assert system.journal.last_seq("s") == 1


def test_the_retention_keeper_keeps_to_the_configuration(clock: ManualClock) -> None:
    config = Config(retention=RetentionConfig(max_events=10, interval=60.0, archive=False))
    with ActorSystem("shop", clock=clock, config=config) as system:
        for _ in range(5):
            system.journal.append("s", [event("hello")] * 5)
        system.journal.save_snapshot("s", 25, {})
        keeper = system.lookup("/storage/retention")
        assert keeper is not None
        clock.advance(60)
        assert keeper.ask("rounds") == 1
        assert [record.seq for record in system.journal.read("s")] == list(range(16, 26))


def test_a_second_system_on_the_same_directory_is_refused(tmp_path: pathlib.Path) -> None:
    with ActorSystem("one", data_dir=tmp_path):
        with pytest.raises(StartFailed) as caught:
            ActorSystem("two", data_dir=tmp_path)
        assert isinstance(caught.value.cause, JournalLocked)
    with ActorSystem("two", data_dir=tmp_path):
        pass


def test_a_running_system_answers_on_its_control_socket(tmp_path: pathlib.Path) -> None:
    system = ActorSystem("test", data_dir=tmp_path)
    system.spawn(Echo, name="echo")
    assert control_request(tmp_path, "ping") == {"system": "test", "state": "running"}
    tree = control_request(tmp_path, "tree", children=10)
    assert tree["system"] == "test"
    assert control_request(tmp_path, "stats")["actors"] > 5
    assert control_request(tmp_path, "health")["status"] in ("up", "degraded")
    assert control_request(tmp_path, "stacks") == []
    control_request(tmp_path, "stop")
    assert system.wait(timeout=10)
    assert not (tmp_path / "control.sock").exists()


# --- health and metrics


def test_a_running_system_is_healthy(tmp_path: pathlib.Path) -> None:
    with ActorSystem("test", data_dir=tmp_path) as system:
        report = system.health.report()
        assert (report.live, report.ready) == (True, True)
        assert set(report.checks) == {"system", "dispatchers", "journal", "detector", "disk"}
        health = system.lookup("/watch/health")
        assert health is not None
        assert health.ask("how are you").ready


def test_a_stopped_system_is_neither_live_nor_ready() -> None:
    system = ActorSystem("test")
    system.stop()
    report = system.health.report()
    assert (report.live, report.ready) == (False, False)


def test_a_detector_that_stopped_sweeping_degrades_health(
    system: ActorSystem, clock: ManualClock
) -> None:
    detector = system.lookup("/watch/detector")
    assert detector is not None
    system.lookup("/watch").proxy().terminate_child("detector").get()  # type: ignore[union-attr] # it is there
    clock.advance(60)
    result = system.health.report().checks["detector"]
    assert (result.status, result.critical) == (HealthStatus.DOWN, False)


def test_the_metrics_hook_is_called_where_metrics_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Metrics:
        closed = False

        def close(self) -> None:
            self.closed = True

    metrics = Metrics()
    monkeypatch.setattr(ActorSystem, "metrics_hook", staticmethod(lambda system: metrics))
    with ActorSystem("test") as plain:
        assert plain.metrics is None
    with ActorSystem("test", metrics=True) as system:
        assert system.metrics is metrics
    assert metrics.closed
