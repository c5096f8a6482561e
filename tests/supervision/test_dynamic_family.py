"""Dynamic families against fake cells: children on demand, forgotten when they end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.supervision.fakes import Crowd, Nothing, result
from tests.supervision.test_admin import error_of
from understudy.actors import ActorDeadError, Directive, Exit, Ignore, Restart, StartFailed
from understudy.supervision import (
    AlreadyStarted,
    Backoff,
    ChildNotFound,
    ChildState,
    InvalidChildSpec,
    InvalidStrategy,
    MaxChildren,
    OneForAll,
    OneForOne,
    RestartsExhausted,
    Shutdown,
)


def names(crowd: Crowd) -> list[str]:
    return [info.id for info in crowd.family.which_children()]


def state(crowd: Crowd, name: str) -> ChildState:
    [info] = [info for info in crowd.family.which_children() if info.id == name]
    return info.state


def test_a_spawned_child_is_listed_under_its_name() -> None:
    crowd = Crowd()
    ref = crowd.spawn("a")
    assert ref.path == "/user/a"
    assert names(crowd) == ["a"]
    assert state(crowd, "a") is ChildState.RUNNING


def test_names_are_made_where_none_is_given() -> None:
    crowd = Crowd()
    refs = [crowd.spawn() for _ in range(3)]
    assert [ref.path for ref in refs] == [f"/user/Nothing-{n}" for n in (1, 2, 3)]


def test_a_made_name_avoids_a_given_one() -> None:
    crowd = Crowd()
    crowd.spawn("Nothing-1")
    assert crowd.spawn().path == "/user/Nothing-2"


def test_a_name_in_use_is_refused_with_the_ref_that_has_it() -> None:
    crowd = Crowd()
    ref = crowd.spawn("a")
    with pytest.raises(AlreadyStarted) as caught:
        crowd.spawn("a")
    assert (caught.value.id, caught.value.ref) == ("a", ref)
    error = error_of(crowd.family.start_child(Nothing, (), {}, "a"))
    assert isinstance(error, AlreadyStarted)


@pytest.mark.parametrize("name", ["", "a/b", 7])
def test_a_name_that_cannot_be_is_refused(name: Any) -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        Crowd().spawn(name)
    assert (caught.value.field, caught.value.value) == ("name", name)


@pytest.mark.conformance(8)
@pytest.mark.conformance(15)
def test_a_failing_start_keeps_nothing() -> None:
    crowd = Crowd()
    cause = ValueError("no")
    crowd.runtime.plan("a").always = cause
    with pytest.raises(StartFailed) as caught:
        crowd.spawn("a")
    assert (caught.value.id, caught.value.cause) == ("a", cause)
    error = error_of(crowd.family.start_child(Nothing, (), {}, "a"))
    assert isinstance(error, StartFailed)
    assert names(crowd) == []
    crowd.runtime.plan("a").always = None
    assert crowd.spawn("a").is_alive()


@pytest.mark.conformance(5)
@pytest.mark.parametrize("restart", list(Restart))
def test_a_child_that_ignores_is_not_recorded(restart: Restart) -> None:
    crowd = Crowd()
    crowd.runtime.plan("a").always = Ignore()
    assert result(crowd.family.start_child(Nothing, (), {}, "a", restart)) is None
    assert crowd.spawn("a", restart=restart) is None
    assert names(crowd) == []


def test_start_child_answers_when_the_child_is_up() -> None:
    crowd = Crowd()
    crowd.runtime.plan("a").hold_start = True
    future = crowd.family.start_child(Nothing, (), {}, "a")
    assert not future.done()
    assert state(crowd, "a") is ChildState.STARTING
    crowd.runtime.cells["a"].finish_start()
    assert result(future) is crowd.runtime.cells["a"]


@pytest.mark.conformance(34)
def test_only_the_child_that_crashed_is_restarted() -> None:
    crowd = Crowd()
    a, b = crowd.spawn("a"), crowd.spawn("b")
    a.crash()
    assert (a.incarnation, b.incarnation) == (2, 1)
    assert names(crowd) == ["b", "a"]


@pytest.mark.parametrize("reason", [Exit.NORMAL, Exit("shutdown", ordered=True)])
def test_a_child_that_ended_is_forgotten_and_its_name_is_free(reason: Exit) -> None:
    crowd = Crowd()
    old = crowd.spawn("a")
    old.end(reason)
    assert names(crowd) == []
    assert old.closed == reason
    new = crowd.spawn("a")
    assert new is not old
    assert not old.is_alive()


def test_a_permanent_child_comes_back_after_a_normal_end() -> None:
    crowd = Crowd()
    ref = crowd.spawn("a", restart=Restart.PERMANENT)
    ref.end()
    assert ref.incarnation == 2
    assert state(crowd, "a") is ChildState.RUNNING


def test_a_temporary_child_is_forgotten_after_a_crash() -> None:
    crowd = Crowd()
    ref = crowd.spawn("a", restart=Restart.TEMPORARY)
    ref.crash()
    assert names(crowd) == []
    assert ref.closed.abnormal


def test_crashes_of_different_children_never_add_up_with_a_budget_per_child() -> None:
    crowd = Crowd()
    refs = [crowd.spawn() for _ in range(50)]
    for ref in refs:
        ref.crash()
    assert [ref.incarnation for ref in refs] == [2] * 50
    assert crowd.owner.failed_with is None


def test_a_child_over_its_own_budget_stops_alone() -> None:
    crowd = Crowd()
    a, b = crowd.spawn("a"), crowd.spawn("b")
    for _ in range(4):
        a.crash()
    assert a.closed.kind == "restart_limit"
    assert names(crowd) == ["b"]
    assert b.incarnation == 1


def test_over_a_common_budget_all_stop_and_the_owner_fails() -> None:
    crowd = Crowd(OneForOne(intensity=1))
    a, b = crowd.spawn("a"), crowd.spawn("b")
    a.crash()
    b.crash()
    assert isinstance(crowd.owner.failed_with, RestartsExhausted)
    assert a.closed == Exit.SHUTDOWN
    assert b.closed is not None


def test_a_failing_restart_is_tried_again_within_the_budget() -> None:
    crowd = Crowd()
    ref = crowd.spawn("a")
    crowd.runtime.plan("a").start_errors = [ValueError("not yet")]
    ref.crash()
    assert state(crowd, "a") is ChildState.RUNNING
    assert ref.incarnation == 3


def test_a_failing_restart_without_limits_stops_the_child() -> None:
    crowd = Crowd(OneForOne(intensity=None, budget="child"))
    ref = crowd.spawn("a")
    crowd.runtime.plan("a").always = ValueError("broken")
    ref.crash()
    assert ref.closed.kind == "restart_limit"


def test_backoff_holds_nobody_else_up() -> None:
    crowd = Crowd(OneForOne(budget="child", backoff=Backoff(first=3, jitter=0)))
    a = crowd.spawn("a")
    a.crash()
    assert state(crowd, "a") is ChildState.RESTARTING
    crowd.spawn("b")
    crowd.clock.advance(3)
    assert state(crowd, "a") is ChildState.RUNNING


def test_deciders_hold_for_dynamic_children_too() -> None:
    crowd = Crowd(
        decider={
            ValueError: Directive.RESUME,
            KeyError: Directive.STOP,
            OSError: Directive.ESCALATE,
        }
    )
    a, b, c = (crowd.spawn(n) for n in "abc")
    a.crash(ValueError())
    assert a.resumed == 1
    b.crash(KeyError())
    assert names(crowd) == ["c", "a"]
    cause = OSError()
    c.crash(cause)
    assert crowd.owner.failed_with is cause
    assert a.closed == Exit.SHUTDOWN


# --- max_children


@pytest.mark.conformance(19)
def test_restarting_children_count_against_the_maximum() -> None:
    crowd = Crowd(OneForOne(budget="child", backoff=Backoff(first=3, jitter=0)), max_children=1)
    ref = crowd.spawn("a")
    ref.crash()
    assert state(crowd, "a") is ChildState.RESTARTING
    with pytest.raises(MaxChildren) as caught:
        crowd.spawn("b")
    assert (caught.value.path, caught.value.limit) == ("/user", 1)
    result(crowd.family.terminate_child("a"))
    assert crowd.spawn("b").is_alive()


# --- stopping


@pytest.mark.conformance(59)
def test_children_stop_side_by_side_under_one_shared_limit() -> None:
    crowd = Crowd()
    refs = [crowd.spawn(f"c{n}") for n in range(10)]
    for ref in refs:
        ref.plan.hold_stop = True
    timers = crowd.clock.pending
    done = crowd.stop()
    assert all(ref.halted == [Exit.SHUTDOWN] for ref in refs)
    assert crowd.clock.pending == timers + 1
    for ref in refs:
        ref.finish_stop()
    assert done == [True]
    assert crowd.clock.pending == timers


def test_those_that_hang_are_killed_at_the_limit_and_the_others_not() -> None:
    crowd = Crowd(shutdown=1.0)
    a, b = crowd.spawn("a"), crowd.spawn("b")
    a.plan.hold_stop = True
    done = crowd.stop()
    assert b.closed == Exit.SHUTDOWN
    crowd.clock.advance(1.0)
    assert done == [True]
    assert (a.fenced, a.closed) == (1, Exit.KILLED)


def test_a_limit_of_its_own_holds_for_a_child() -> None:
    crowd = Crowd()
    a = crowd.spawn("a", shutdown=0.5)
    b = crowd.spawn("b", shutdown=Shutdown.BRUTAL)
    a.plan.hold_stop = True
    done = crowd.stop()
    assert b.closed == Exit.KILLED
    crowd.clock.advance(0.5)
    assert done == [True]
    assert a.closed == Exit.KILLED


def test_children_that_back_off_are_gone_at_once() -> None:
    crowd = Crowd(OneForOne(budget="child", backoff=Backoff(first=3, jitter=0)))
    ref = crowd.spawn("a")
    ref.crash()
    assert crowd.stop() == [True]
    crowd.clock.advance(10)
    assert ref.incarnation == 1
    assert ref.closed == Exit.SHUTDOWN


def test_a_crash_while_stopping_brings_nobody_back() -> None:
    crowd = Crowd()
    ref = crowd.spawn("a")
    ref.plan.hold_stop = True
    done = crowd.stop()
    ref.crash()
    assert done == [True]
    assert ref.incarnation == 1
    assert ref.closed is not None


def test_a_stopping_family_starts_nothing() -> None:
    crowd = Crowd()
    crowd.stop()
    with pytest.raises(ActorDeadError):
        crowd.spawn("a")
    assert isinstance(error_of(crowd.family.start_child(Nothing, (), {}, "a")), ActorDeadError)


def test_an_empty_family_stops_at_once() -> None:
    crowd = Crowd()
    assert crowd.stop() == [True]
    assert crowd.runtime.families == {}


def test_a_child_spawned_while_the_family_stops_is_stopped_as_well() -> None:
    crowd = Crowd()
    original = crowd.runtime.spawn_cell

    def slow(*args: Any, **kwargs: Any) -> Any:
        ref = original(*args, **kwargs)
        assert crowd.stop() == [True]  # somebody stops the family in between
        return ref

    crowd.runtime.spawn_cell = slow  # type: ignore[method-assign] # the race, made certain
    with pytest.raises(ActorDeadError):
        crowd.spawn("a")
    assert crowd.runtime.cells["a"].closed == Exit.SHUTDOWN


def test_killing_takes_everybody_along() -> None:
    crowd = Crowd()
    refs = [crowd.spawn() for _ in range(5)]
    crowd.family.kill()
    assert [ref.closed for ref in refs] == [Exit.KILLED] * 5


# --- administration


def test_terminating_works_by_name_and_by_ref() -> None:
    crowd = Crowd()
    a, b = crowd.spawn("a"), crowd.spawn("b")
    result(crowd.family.terminate_child("a"))
    result(crowd.family.terminate_child(b))
    assert (a.closed, b.closed) == (Exit.SHUTDOWN, Exit.SHUTDOWN)
    assert isinstance(error_of(crowd.family.terminate_child("a")), ChildNotFound)
    assert isinstance(error_of(crowd.family.terminate_child(b)), ChildNotFound)
    assert names(crowd) == []


def test_counts_know_active_children() -> None:
    crowd = Crowd(OneForOne(budget="child", backoff=Backoff(first=3, jitter=0)))
    a = crowd.spawn("a")
    crowd.spawn("b")
    a.crash()
    counts = crowd.family.count_children()
    assert (counts.specs, counts.active, counts.workers, counts.supervisors) == (2, 1, 2, 0)


def test_an_ordinary_child_has_no_record() -> None:
    crowd = Crowd()
    for n in range(10):
        crowd.spawn(f"c{n}")
    assert crowd.family._records == {}


def test_only_one_for_one_goes_with_dynamic_children() -> None:
    with pytest.raises(InvalidStrategy) as caught:
        Crowd(OneForAll())
    assert caught.value.field == "strategy"


@pytest.mark.parametrize("limit", [-1, 1.5, True])
def test_a_maximum_that_cannot_be_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidStrategy) as caught:
        Crowd(max_children=limit)
    assert caught.value.field == "max_children"
