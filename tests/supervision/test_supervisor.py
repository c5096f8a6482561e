"""Supervisors with real actors: what users see through refs, proxies and watches."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.supervision.actors import Crowd, Family, Ignoring, Probe, child, probe
from tests.supervision.conftest import Log
from understudy.actors import (
    Actor,
    ActorDeadError,
    DeadLetter,
    Directive,
    Exit,
    Ignore,
    Mailbox,
    Restart,
    StartFailed,
    Terminated,
)
from understudy.supervision import (
    ActorSystem,
    AlreadyStarted,
    AutoShutdown,
    Backoff,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ChildSpec,
    ChildState,
    InvalidChildSpec,
    OneForAll,
    OneForOne,
    RestForOne,
    Shutdown,
    Supervisor,
)
from understudy.testing import ManualClock

BOOM = RuntimeError("boom")


class Watcher(Actor):
    """Puts what it is told about others into a log."""

    def __init__(self, log: Log, *targets: Any) -> None:
        super().__init__()
        self.log = log
        self.targets = targets

    def on_start(self) -> None:
        for target in self.targets:
            self.context.watch(target)

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Terminated):
            self.log((message.ref, message.reason))
        elif message != "ping":
            self.context.watch(message)


def family(system: ActorSystem, log: Log, ids: str, strategy: Any = None, **settings: Any) -> Any:
    sup = system.spawn(
        Family, *(probe(log, id) for id in ids), strategy=strategy or OneForOne(), **settings
    )
    log.take(len(ids))
    return sup


# --- start


@pytest.mark.conformance(1)
def test_spawning_a_supervisor_returns_when_its_children_run(system: ActorSystem, log: Log) -> None:
    sup = system.spawn(Family, *(probe(log, id) for id in "abc"), name="sup")
    assert log.rest() == ["a up", "b up", "c up"]
    assert child(sup, "b").path == "/user/sup/b"
    assert system.lookup("/user/sup/c") is child(sup, "c")


@pytest.mark.conformance(2)
def test_a_failing_child_fails_the_start_and_leaves_nothing(system: ActorSystem, log: Log) -> None:
    specs = [probe(log, "a"), probe(log, "b"), probe(log, "c", start_error=BOOM), probe(log, "d")]
    with pytest.raises(StartFailed) as caught:
        system.spawn(Family, *specs, name="sup")
    assert log.rest() == ["a up", "b up", "c fails", "b down", "a down"]
    inner = caught.value.cause
    assert isinstance(inner, StartFailed)
    assert (inner.id, inner.cause) == ("c", BOOM)
    assert system.lookup("/user/sup") is None
    assert system.lookup("/user/sup/a") is None


def test_a_child_that_cannot_even_be_made_fails_the_start(system: ActorSystem, log: Log) -> None:
    with pytest.raises(StartFailed) as caught:
        # Found out before anything runs, and so before the supervisor itself counts as started.
        system.spawn(Family, ChildSpec("a", Probe, dispatcher="thraeds"), probe(log, "b"), name="s")
    assert str(caught.value).startswith("s could not start, because s/a could not: No dispatcher")
    assert "thraeds" in str(caught.value)
    assert log.rest() == []
    assert system.lookup("/user/s") is None
    assert [node.path for node in system.tree().walk() if "/user" in node.path] == ["/user"]


def test_a_supervisor_that_shuts_down_the_moment_it_is_up_was_up(
    system: ActorSystem, log: Log
) -> None:
    class Brief(Probe):
        def on_start(self) -> None:
            super().on_start()
            self.stop()

    only = ChildSpec("a", Brief, (log, "a"), restart="transient", significant=True)
    for _ in range(20):
        system.spawn(Family, only, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
        assert log.take(2) == ["a up", "a down"]


class Endless(Supervisor):
    def children(self) -> Any:
        return [ChildSpec("again", Endless)]


def test_a_supervisor_that_stands_below_itself_without_end_is_refused(system: ActorSystem) -> None:
    with pytest.raises(StartFailed) as caught:
        system.spawn(Endless, name="top")
    text = str(caught.value)
    assert text.startswith("top could not start, because top/again could not: child spec: cls")
    assert "does not lead back to itself: Endless stands 32 times above 'again'" in text
    assert len(text) < 1000
    assert system.lookup("/user/top") is None


@pytest.mark.conformance(6)
def test_a_supervisor_that_ignores_is_not_run(system: ActorSystem) -> None:
    class Off(Family):
        def children(self) -> Any:
            raise Ignore

    assert system.spawn(Off, name="off") is None
    assert system.lookup("/user/off") is None


@pytest.mark.conformance(7)
@pytest.mark.parametrize("garbage", [42, [Probe], [("a", Probe)]])
def test_children_that_are_no_specs_fail_the_start(system: ActorSystem, garbage: Any) -> None:
    class Bad(Family):
        def children(self) -> Any:
            return garbage

    with pytest.raises(StartFailed) as caught:
        system.spawn(Bad)
    assert isinstance(caught.value.cause, (InvalidChildSpec, TypeError))


@pytest.mark.conformance(7)
def test_a_supervisor_whose_children_raise_fails_with_that_cause(system: ActorSystem) -> None:
    class Bad(Family):
        def children(self) -> Any:
            raise BOOM

    with pytest.raises(StartFailed) as caught:
        system.spawn(Bad)
    assert caught.value.cause is BOOM


@pytest.mark.conformance(13)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "one_for_one"),
        ("auto_shutdown", "sometimes"),
        ("decider", {ValueError: "resume"}),
        ("decider", {"ValueError": Directive.RESUME}),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_starts(
    system: ActorSystem, log: Log, field: str, value: Any
) -> None:
    with pytest.raises(StartFailed) as caught:
        system.spawn(Family, probe(log, "a"), **{field: value})
    assert isinstance(caught.value.cause, InvalidChildSpec)
    assert caught.value.cause.field == field
    assert log.rest() == []


def test_on_start_without_super_is_explained(system: ActorSystem) -> None:
    class Forgetful(Family):
        def on_start(self) -> None:
            pass

    with pytest.raises(StartFailed) as caught:
        system.spawn(Forgetful)
    assert "super().on_start()" in str(caught.value.cause)


@pytest.mark.conformance(18)
def test_dynamic_children_get_their_own_arguments(system: ActorSystem, log: Log) -> None:
    crowd = system.spawn(Crowd).proxy()
    ref = crowd.start_child(Probe, log, "x", name="x").get()
    assert log.take() == ["x up"]
    ref.tell(BOOM)
    assert log.take() == ["x up"]


# --- restarts


@pytest.mark.conformance(24)
@pytest.mark.conformance(97)
@pytest.mark.conformance(98)
@pytest.mark.conformance(100)
def test_a_restart_keeps_ref_path_and_mailbox_and_loses_state_and_the_failing_message(
    system: ActorSystem, log: Log
) -> None:
    sup = family(system, log, "a")
    ref = child(sup, "a")
    path = ref.path
    ref.tell("count")
    ref.ask(lambda _: None)
    gate = threading.Event()
    ref.tell(lambda _: gate.wait(30))
    ref.tell(BOOM)
    ref.tell("count")
    ref.tell("count")
    gate.set()
    assert log.take() == ["a up"]
    assert ref.ask(lambda actor: actor.count) == 2
    assert child(sup, "a") is ref
    assert (ref.path, ref.incarnation) == (path, 2)


@pytest.mark.conformance(28)
def test_one_for_all_restarts_all_with_their_refs(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "abc", OneForAll())
    refs = [child(sup, id) for id in "abc"]
    refs[1].tell(BOOM)
    assert log.until("c up") == ["c down", "a down", "a up", "b up", "c up"]
    assert [child(sup, id) for id in "abc"] == refs


@pytest.mark.conformance(29)
def test_rest_for_one_restarts_the_rest(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "abcd", RestForOne())
    child(sup, "b").tell(BOOM)
    assert log.until("d up") == ["d down", "c down", "b up", "c up", "d up"]


@pytest.mark.conformance(20)
def test_a_permanent_child_that_stops_itself_comes_back(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a")
    ref = child(sup, "a")
    ref.tell("stop")
    assert log.take(2) == ["a down", "a up"]
    assert child(sup, "a") is ref


@pytest.mark.conformance(21)
def test_a_transient_child_that_stops_itself_stays_down_but_can_be_revived(
    system: ActorSystem, log: Log
) -> None:
    sup = system.spawn(Family, probe(log, "a", restart="transient"))
    ref = child(sup, "a")
    watch = Log()
    system.spawn(Watcher, watch, ref)
    ref.tell("stop")
    assert watch.take() == [(ref, Exit.NORMAL)]
    [info] = sup.proxy().which_children().get()
    assert (info.ref, info.state) == (None, ChildState.STOPPED)
    new = sup.proxy().restart_child("a").get()
    assert new is not ref
    assert new.path == ref.path


def test_stopping_a_child_from_outside_is_an_order(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a", OneForOne(intensity=0))
    assert child(sup, "a").stop()
    [info] = sup.proxy().which_children().get()
    assert info.state is ChildState.STOPPED
    assert sup.is_alive()


@pytest.mark.conformance(101)
def test_no_message_is_handled_between_a_failure_and_the_decision(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    sup = family(system, log, "a", OneForOne(backoff=Backoff(first=5, jitter=0)))
    ref = child(sup, "a")
    ref.tell(BOOM)
    ref.tell(lambda _: log("handled"))
    wait_for_state(sup, "a", ChildState.RESTARTING)
    assert log.rest() == []
    clock.advance(5)
    assert log.take(2) == ["a up", "handled"]


def wait_for_state(sup: Any, id: str, state: ChildState) -> None:
    """Ask the supervisor until a child is in a state; each ask is a barrier of its own."""
    infos: dict[str, Any] = {}
    for _ in range(10_000):
        infos = {info.id: info for info in sup.proxy().which_children().get()}
        if id in infos and infos[id].state is state:
            return
    raise AssertionError(f"{id} is {infos[id].state if id in infos else 'gone'}, not {state}")


@pytest.mark.conformance(102)
def test_resume_keeps_the_state_and_goes_on(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a", decider={ValueError: Directive.RESUME})
    ref = child(sup, "a")
    ref.tell("count")
    ref.tell(ValueError("bad input"))
    assert ref.ask("count") == 2
    assert log.rest() == []


@pytest.mark.conformance(104)
def test_a_waiting_ask_fails_at_once_when_the_callee_is_replaced(
    system: ActorSystem, log: Log
) -> None:
    class Asked(Probe):
        ask_failures = "supervise"

    sup = system.spawn(Family, ChildSpec("a", Asked, args=(log, "a")))
    log.take()
    with pytest.raises(RuntimeError, match="boom"):
        child(sup, "a").ask(BOOM)
    assert log.take() == ["a up"]


def test_an_ask_that_raises_is_the_askers_business_by_default(
    system: ActorSystem, log: Log
) -> None:
    sup = family(system, log, "a")
    with pytest.raises(RuntimeError, match="boom"):
        child(sup, "a").ask(BOOM)
    assert child(sup, "a").incarnation == 1


def test_a_spec_can_put_asks_under_supervision(system: ActorSystem, log: Log) -> None:
    sup = system.spawn(Family, probe(log, "a", ask_failures="supervise"))
    log.take()
    with pytest.raises(RuntimeError, match="boom"):
        child(sup, "a").ask(BOOM)
    assert log.take() == ["a up"]


@pytest.mark.conformance(110)
def test_the_old_instance_hears_of_its_failure_and_is_not_stopped(
    system: ActorSystem, log: Log
) -> None:
    class Hooked(Probe):
        def on_failure(self, kind: Any, value: Any, traceback: Any) -> None:
            self.log(f"failed {value}")
            raise OSError("in the hook as well")

    sup = system.spawn(Family, ChildSpec("a", Hooked, args=(log, "a")))
    child(sup, "a").tell(BOOM)
    assert log.until("a up") == ["a up"]
    assert log.take(2) == ["failed boom", "a up"]


# --- limits and nesting


@pytest.mark.conformance(38)
@pytest.mark.conformance(46)
def test_an_inner_supervisor_that_gives_up_is_a_failure_also_where_it_is_transient(
    system: ActorSystem, log: Log
) -> None:
    inner = ChildSpec(
        "inner",
        Family,
        args=(probe(log, "a"),),
        kwargs={"strategy": OneForOne(intensity=0)},
        restart="transient",
    )
    outer = system.spawn(Family, inner, name="outer")
    ref = child(outer, "inner")
    child(ref, "a").tell(BOOM)
    assert log.take(2) == ["a up", "a up"]
    assert child(outer, "inner") is ref
    assert ref.incarnation == 2


@pytest.mark.conformance(38)
def test_watchers_learn_the_restart_limit_and_its_cause(system: ActorSystem, log: Log) -> None:
    watch = Log()
    sup = system.spawn(
        Family, probe(log, "a"), strategy=OneForOne(intensity=0), restart="temporary"
    )
    system.spawn(Watcher, watch, sup)
    child(sup, "a").tell(BOOM)
    [(ref, reason)] = watch.take()
    assert ref is sup
    assert reason == Exit.RestartLimit(BOOM)


@pytest.mark.conformance(49)
def test_a_replaced_supervisor_has_its_static_children_and_not_its_added_ones(
    system: ActorSystem, log: Log
) -> None:
    inner = ChildSpec(
        "inner", Family, args=(probe(log, "a"),), kwargs={"strategy": OneForOne(intensity=0)}
    )
    outer = system.spawn(Family, inner)
    ref = child(outer, "inner")
    ref.proxy().start_child(probe(log, "d")).get()
    log.take(2)
    child(ref, "a").tell(BOOM)
    assert log.until("a up") == ["d down", "a up"]
    wait_for_state(outer, "inner", ChildState.RUNNING)
    assert [info.id for info in ref.proxy().which_children().get()] == ["a"]


def nest(log: Log, levels: int, **settings: Any) -> ChildSpec:
    spec = probe(log, "leaf")
    for level in range(levels):
        spec = ChildSpec(
            f"l{level}",
            Family,
            args=(spec,),
            kwargs={"strategy": OneForOne(intensity=0), **settings},
        )
    return spec


@pytest.mark.conformance(50)
def test_a_failure_climbs_five_levels_and_nothing_is_left(system: ActorSystem, log: Log) -> None:
    spec = nest(log, 4)
    top = system.spawn(
        Family, spec, strategy=OneForOne(intensity=0), name="top", restart="temporary"
    )
    watch = Log()
    system.spawn(Watcher, watch, top)
    leaf = system.lookup("/user/top/l3/l2/l1/l0/leaf")
    assert leaf is not None
    leaf.tell(BOOM)
    [(_, reason)] = watch.take()
    assert reason == Exit.RestartLimit(BOOM)
    assert [path for path in all_paths(system) if path.startswith("/user/top")] == []


def all_paths(system: ActorSystem) -> list[str]:
    return [node.path for node in system.tree().walk()]


@pytest.mark.conformance(51)
def test_only_the_nearest_supervisor_acts(system: ActorSystem, log: Log) -> None:
    inner = ChildSpec("inner", Family, args=(probe(log, "a"),))
    outer = system.spawn(Family, inner, probe(log, "b"), strategy=OneForAll())
    log.take(2)
    inner_ref, b = child(outer, "inner"), child(outer, "b")
    child(inner_ref, "a").tell(BOOM)
    assert log.take() == ["a up"]
    assert (inner_ref.incarnation, b.incarnation, outer.incarnation) == (1, 1, 1)


@pytest.mark.conformance(53)
def test_the_children_of_a_failing_parent_stop_before_it_starts_anew(
    system: ActorSystem, log: Log
) -> None:
    class Parent(Probe):
        def on_start(self) -> None:
            super().on_start()
            self.context.spawn(Probe, self.log, "kid")

    ref = system.spawn(Parent, log, "parent")
    log.take(2)
    ref.tell(BOOM)
    assert log.take(3) == ["kid down", "parent up", "kid up"]
    assert len(ref.ask(lambda actor: list(actor.context.children))) == 1


def test_a_parent_whose_children_need_too_many_restarts_fails(
    system: ActorSystem, log: Log
) -> None:
    class Parent(Probe):
        def on_start(self) -> None:
            super().on_start()
            self.kid = self.context.spawn(Probe, self.log, "kid")

    ref = system.spawn(Parent, log, "parent")
    log.take(2)
    kid = ref.ask(lambda actor: actor.kid)
    for _ in range(3):
        kid.tell(BOOM)
        assert log.take() == ["kid up"]
    kid.tell(BOOM)
    assert log.take(2) == ["parent up", "kid up"]


@pytest.mark.conformance(54)
@pytest.mark.conformance(116)
def test_a_watcher_that_does_not_handle_the_notice_fails(system: ActorSystem, log: Log) -> None:
    class Careless(Actor):
        def on_start(self) -> None:
            log("up")

        def on_receive(self, message: Any) -> Any:
            if callable(message):
                return message(self)
            return super().on_receive(message)

    target = system.spawn(Probe, log, "t")
    careless = system.spawn(Careless)
    log.take(2)
    careless.ask(lambda actor: actor.context.watch(target) and None)
    target.stop()
    assert log.take(2) == ["t down", "up"]


# --- shutdown


@pytest.mark.conformance(55)
def test_stopping_a_supervisor_stops_its_children_in_reverse_first(
    system: ActorSystem, log: Log
) -> None:
    sup = family(system, log, "abc")
    assert sup.stop()
    assert log.rest() == ["c down", "b down", "a down"]
    assert not sup.is_alive()


@pytest.mark.conformance(56)
def test_a_child_over_its_limit_is_killed_and_the_supervisor_goes_on_stopping(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    gate = threading.Event()
    watch = Log()
    sup = system.spawn(
        Family, probe(log, "a"), probe(log, "b", shutdown=0.2, stop_gate=gate, dispatcher="thread")
    )
    b = child(sup, "b")
    watcher = system.spawn(Watcher, watch, b)
    watcher.ask("ping")
    log.take(2)
    stopped = sup.stop(block=False)
    assert log.take() == ["b down"]
    clock.advance(0.2)
    assert log.take() == ["a down"]
    stopped.get(timeout=10)
    assert watch.take() == [(b, Exit.KILLED)]
    gate.set()


@pytest.mark.conformance(57)
def test_brutal_stops_without_cleanup(system: ActorSystem, log: Log) -> None:
    watch = Log()
    sup = system.spawn(Family, probe(log, "a", shutdown=Shutdown.BRUTAL))
    ref = child(sup, "a")
    watcher = system.spawn(Watcher, watch, ref)
    watcher.ask("ping")
    log.take()
    sup.stop()
    assert watch.take() == [(ref, Exit.KILLED)]
    assert log.rest() == []


@pytest.mark.conformance(59)
def test_dynamic_children_stop_side_by_side(system: ActorSystem, log: Log) -> None:
    gate = threading.Event()
    crowd = system.spawn(Crowd)
    for n in range(10):
        crowd.proxy().start_child(Probe, log, f"c{n}", stop_gate=gate, dispatcher="thread").get()
    log.take(10)
    stopped = crowd.stop(block=False)
    assert sorted(log.take(10)) == sorted(f"c{n} down" for n in range(10))  # nobody has ended yet
    gate.set()
    assert stopped.get(timeout=10)


@pytest.mark.conformance(60)
def test_a_child_that_raises_in_its_cleanup_does_not_disturb_the_others(
    system: ActorSystem, log: Log
) -> None:
    sup = system.spawn(Family, probe(log, "a"), probe(log, "b", stop_error=BOOM))
    log.take(2)
    assert sup.stop()
    assert log.rest() == ["b down", "a down"]


@pytest.mark.conformance(66)
def test_when_the_actor_above_ends_everything_below_ends(system: ActorSystem, log: Log) -> None:
    outer = system.spawn(Family, nest(log, 2), name="outer")
    log.take()
    outer.stop()
    assert log.rest() == ["leaf down"]
    assert [p for p in all_paths(system) if p.startswith("/user/outer")] == []


@pytest.mark.conformance(93)
def test_stopping_while_a_child_backs_off_is_immediate(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    sup = family(system, log, "a", OneForOne(backoff=Backoff(first=20)))
    ref = child(sup, "a")
    ref.tell(BOOM)
    wait_for_state(sup, "a", ChildState.RESTARTING)
    assert sup.stop(timeout=10)
    clock.advance(100)
    assert not ref.is_alive()
    assert log.rest() == []


@pytest.mark.conformance(94)
def test_timers_of_a_failed_incarnation_are_gone(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    sup = family(system, log, "a")
    ref = child(sup, "a")
    ref.ask(lambda actor: actor.context.schedule_once(5, "count") and None)
    ref.tell(BOOM)
    log.take()
    clock.advance(10)
    assert ref.ask(lambda actor: actor.count) == 0


# --- administration


@pytest.mark.conformance(14)
@pytest.mark.conformance(67)
@pytest.mark.conformance(68)
@pytest.mark.conformance(69)
def test_the_admin_api_through_a_proxy(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a")
    admin = sup.proxy()
    b = admin.start_child(probe(log, "b")).get()
    assert b.is_alive()
    with pytest.raises(AlreadyStarted) as caught:
        admin.start_child(probe(log, "b")).get()
    assert caught.value.ref is b
    with pytest.raises(ChildRunning):
        admin.restart_child("b").get()
    with pytest.raises(ChildRunning):
        admin.delete_child("b").get()
    assert admin.terminate_child("b").get() is None
    assert not b.is_alive()
    new = admin.restart_child("b").get()
    assert new.is_alive()
    admin.terminate_child("b").get()
    admin.delete_child("b").get()
    with pytest.raises(ChildNotFound):
        admin.terminate_child("b").get()


@pytest.mark.conformance(69)
def test_a_restarting_child_is_neither_running_nor_stopped(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a", OneForOne(backoff=Backoff(first=20)))
    child(sup, "a").tell(BOOM)
    wait_for_state(sup, "a", ChildState.RESTARTING)
    with pytest.raises(ChildRestarting):
        sup.proxy().restart_child("a").get()


@pytest.mark.conformance(17)
@pytest.mark.conformance(96)
def test_a_slow_start_blocks_neither_the_api_nor_the_siblings(
    system: ActorSystem, log: Log
) -> None:
    gate = threading.Event()

    class Slow(Probe):
        def on_start(self) -> None:
            assert gate.wait(30)
            super().on_start()

    sup = family(system, log, "a")
    admin = sup.proxy()
    started = admin.start_child(ChildSpec("slow", Slow, args=(log, "slow")))
    infos = {info.id: info.state for info in admin.which_children().get()}
    assert infos == {"slow": ChildState.STARTING, "a": ChildState.RUNNING}
    child(sup, "a").tell(BOOM)
    assert log.take() == ["a up"]
    gate.set()
    assert started.get(timeout=10).path.endswith("/slow")


@pytest.mark.conformance(70)
@pytest.mark.conformance(71)
def test_listing_and_counting(system: ActorSystem, log: Log) -> None:
    sup = system.spawn(
        Family,
        probe(log, "a"),
        ChildSpec("off", Ignoring),
        ChildSpec("s", Family),
        strategy=OneForOne(),
    )
    admin = sup.proxy()
    assert [info.id for info in admin.which_children().get()] == ["s", "off", "a"]
    counts = admin.count_children().get()
    assert (counts.specs, counts.active) == (3, 2)
    assert (counts.workers, counts.supervisors) == (2, 1)


@pytest.mark.conformance(73)
def test_calls_to_a_dead_supervisor_fail_at_once(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a")
    admin = sup.proxy()
    sup.stop()
    with pytest.raises(ActorDeadError):
        admin.which_children().get()


@pytest.mark.conformance(75)
def test_junk_is_dropped_and_changes_nothing(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a")
    for junk in (None, 7, "junk", object(), ("tuple",)):
        sup.tell(junk)
    assert sup.proxy().count_children().get().active == 1
    assert log.rest() == []


# --- significant children


@pytest.mark.conformance(84)
@pytest.mark.parametrize("inner_significant", [True, False])
def test_auto_shutdown_climbs_through_significant_supervisors_only(
    system: ActorSystem, log: Log, inner_significant: bool
) -> None:
    auto = AutoShutdown.ANY_SIGNIFICANT
    inner = ChildSpec(
        "inner",
        Family,
        args=(probe(log, "leaf", restart="transient", significant=True),),
        kwargs={"auto_shutdown": auto},
        restart="transient",
        significant=inner_significant,
    )
    outer = system.spawn(Family, inner, probe(log, "b"), auto_shutdown=auto)
    log.take(2)
    watch = Log()
    inner_ref = child(outer, "inner")
    watcher = system.spawn(Watcher, watch, inner_ref, outer)
    watcher.ask("ping")
    child(inner_ref, "leaf").tell("stop")
    assert watch.take() == [(inner_ref, Exit.SHUTDOWN)]
    if inner_significant:
        assert watch.take() == [(outer, Exit.SHUTDOWN)]
        assert log.rest() == ["leaf down", "b down"]
    else:
        assert outer.is_alive()


# --- watching, dead letters


@pytest.mark.conformance(111)
def test_watching_the_dead_gives_one_notice(system: ActorSystem, log: Log) -> None:
    target = system.spawn(Probe, log, "t")
    target.stop()
    watch = Log()
    system.spawn(Watcher, watch, target)
    assert watch.take() == [(target, Exit.NOT_FOUND)]


@pytest.mark.conformance(113)
def test_watching_twice_gives_one_notice(system: ActorSystem, log: Log) -> None:
    target = system.spawn(Probe, log, "t")
    watch = Log()
    watcher = system.spawn(Watcher, watch, target, target)
    watcher.ask("ping")
    target.stop()
    assert watch.take() == [(target, Exit.SHUTDOWN)]
    watcher.ask("ping")
    assert watch.rest() == []


@pytest.mark.conformance(114)
def test_a_hundred_watchers_get_one_notice_each(system: ActorSystem, log: Log) -> None:
    target = system.spawn(Probe, log, "t")
    watch = Log()
    watchers = [system.spawn(Watcher, watch, target) for _ in range(100)]
    for watcher in watchers:
        watcher.ask("ping")
    target.stop()
    assert watch.take(100) == [(target, Exit.SHUTDOWN)] * 100
    for watcher in watchers:
        watcher.ask("ping")
    assert watch.rest() == []


@pytest.mark.conformance(115)
def test_a_restart_is_no_end_for_watchers(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a")
    ref = child(sup, "a")
    watch = Log()
    watcher = system.spawn(Watcher, watch, ref)
    watcher.ask("ping")
    ref.tell(BOOM)
    log.take()
    watcher.ask("ping")
    assert watch.rest() == []
    sup.proxy().terminate_child("a").get()
    assert watch.take() == [(ref, Exit.SHUTDOWN)]


@pytest.mark.conformance(106)
def test_a_message_to_a_dead_child_is_one_dead_letter(system: ActorSystem, log: Log) -> None:
    sup = family(system, log, "a")
    ref = child(sup, "a")
    letters: list[DeadLetter] = []
    system.events.subscribe(letters.append, DeadLetter)
    sup.proxy().terminate_child("a").get()
    with pytest.raises(ActorDeadError):
        ref.tell("too late")
    assert [(letter.message, letter.recipient) for letter in letters] == [("too late", ref)]


# --- restart types at spawn


@pytest.mark.conformance(23)
def test_a_temporary_actor_is_gone_after_a_crash(system: ActorSystem, log: Log) -> None:
    ref = system.spawn(Probe, log, "t", restart=Restart.TEMPORARY)
    watch = Log()
    watcher = system.spawn(Watcher, watch, ref)
    watcher.ask("ping")
    ref.tell(BOOM)
    assert watch.take() == [(ref, Exit.Failed(BOOM))]


@pytest.mark.conformance(5)
def test_a_dynamic_child_that_ignores_is_not_recorded(system: ActorSystem) -> None:
    crowd = system.spawn(Crowd).proxy()
    assert crowd.start_child(Ignoring).get() is None
    assert crowd.count_children().get().specs == 0


@pytest.mark.conformance(122)
def test_a_hundred_crashes_at_once_are_a_hundred_restarts(system: ActorSystem, log: Log) -> None:
    crowd = system.spawn(Crowd, strategy=OneForOne(intensity=100))
    refs = [crowd.proxy().start_child(Probe, log, f"c{n}").get() for n in range(100)]
    log.take(100)
    for ref in refs:
        ref.tell(BOOM)
    assert sorted(log.take(100)) == sorted(f"c{n} up" for n in range(100))
    assert [ref.incarnation for ref in refs] == [2] * 100
    assert log.rest() == []


@pytest.mark.conformance(89)
def test_while_backing_off_a_bounded_mailbox_keeps_what_it_can_hold(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    mailbox = Mailbox(capacity=2, overflow="drop_newest")
    spec = probe(log, "a", mailbox=mailbox)
    sup = system.spawn(Family, spec, strategy=OneForOne(backoff=Backoff(first=5, jitter=0)))
    log.take()
    ref = child(sup, "a")
    letters: list[DeadLetter] = []
    system.events.subscribe(letters.append, DeadLetter)
    ref.tell(BOOM)
    wait_for_state(sup, "a", ChildState.RESTARTING)
    for n in range(4):
        ref.tell(lambda _, n=n: log(n))
    assert [letter.reason for letter in letters] == ["overflow", "overflow"]
    clock.advance(5)
    assert log.take(3) == ["a up", 0, 1]
    ref.ask("barrier")
    assert log.rest() == []


@pytest.mark.conformance(108)
def test_a_full_mailbox_holds_up_neither_notices_nor_restarts_nor_stops(
    system: ActorSystem, log: Log
) -> None:
    class Full(Probe):
        def on_receive(self, message: Any) -> Any:
            if isinstance(message, Terminated):
                self.log("notice")
                return None
            return super().on_receive(message)

    target = system.spawn(Probe)
    mailbox = Mailbox(capacity=1, overflow="drop_newest")
    sup = system.spawn(Family, ChildSpec("full", Full, args=(log, "full"), mailbox=mailbox))
    ref = child(sup, "full")
    log.take()
    gate, inside = threading.Event(), threading.Event()
    ref.ask(lambda actor: actor.context.watch(target) and None)

    def wait(_: Any) -> None:
        inside.set()
        assert gate.wait(30)

    ref.tell(wait)
    assert inside.wait(10)
    for _ in range(10):
        ref.tell("count")
    target.stop()
    gate.set()
    assert log.take() == ["notice"]
    gate.clear()
    inside.clear()
    ref.tell(wait)
    assert inside.wait(10)
    for _ in range(10):
        ref.tell("count")
    stopped = sup.proxy().terminate_child("full")
    gate.set()
    assert stopped.get(timeout=10) is None
    assert log.rest() == ["full down"]
