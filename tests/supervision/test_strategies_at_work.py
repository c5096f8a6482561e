"""Static families: start, restart types, strategies, intensity, backoff, shutdown.

These run the state machine against fake cells: no threads, time by hand. What is shown here is who
is started and stopped, when, and in which order; the same rules with real actors are in
`test_supervisor.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.supervision.fakes import World, result
from tests.supervision.test_spec import Worker
from understudy.actors import Directive, Exit, Ignore, Restart, StartFailed
from understudy.supervision import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildState,
    OneForAll,
    OneForOne,
    RestartsExhausted,
    RestForOne,
    Shutdown,
    SupervisorReport,
)

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


def spec(id: str, restart: Restart = PERMANENT, **fields: Any) -> ChildSpec:
    return ChildSpec(id, Worker, restart=restart, **fields)


def world(strategy: Any, ids: str, **fields: Any) -> World:
    w = World(strategy, *(spec(id) for id in ids), **fields)
    w.taken()
    return w


def crash(w: World, id: str) -> None:
    w.cell(id).crash()


# --- start


@pytest.mark.conformance(1)
def test_children_start_in_order_each_finished_before_the_next_begins() -> None:
    w = World(OneForOne())
    w.runtime.plan("b").hold_start = True
    w.start(spec("a"), spec("b"), spec("c"))
    assert w.taken() == ["a up"]
    assert "c" not in w.runtime.cells
    assert w.outcome == []
    w.cell("b").finish_start()
    assert w.taken() == ["b up", "c up"]
    assert w.outcome == [None]


@pytest.mark.conformance(2)
def test_a_failing_start_rolls_back_what_was_started_in_reverse() -> None:
    w = World(OneForOne())
    cause = ValueError("no disk")
    w.runtime.plan("c").always = cause
    w.start(spec("a"), spec("b"), spec("c"), spec("d"))
    assert w.taken() == ["a up", "b up", "c fails", "b down(shutdown)", "a down(shutdown)"]
    assert "d" not in w.runtime.cells
    [error] = w.outcome
    assert isinstance(error, StartFailed)
    assert (error.id, error.cause) == ("c", cause)
    assert all(cell.closed for cell in w.runtime.cells.values())
    assert not w.runtime.families


@pytest.mark.conformance(3)
@pytest.mark.parametrize("restart", [PERMANENT, TRANSIENT])
def test_a_child_that_ignores_is_kept_without_a_live_one(restart: Restart) -> None:
    w = World(OneForOne())
    w.runtime.plan("a").always = Ignore()
    w.start(spec("a", restart), spec("b"))
    assert w.outcome == [None]
    counts = w.family.count_children()
    assert (counts.specs, counts.active) == (2, 1)
    assert w.state("a") is ChildState.STOPPED


@pytest.mark.conformance(4)
def test_a_temporary_child_that_ignores_is_forgotten() -> None:
    w = World(OneForOne())
    w.runtime.plan("a").always = Ignore()
    w.start(spec("a", TEMPORARY))
    assert w.outcome == [None]
    assert w.family.count_children().specs == 0


# --- restart types


@pytest.mark.conformance(20)
@pytest.mark.parametrize("reason", [Exit.NORMAL, Exit.SHUTDOWN, Exit.KILLED])
def test_a_permanent_child_is_restarted_however_it_ended(reason: Exit) -> None:
    w = world(OneForOne(), "a")
    w.cell("a").end(reason)
    assert w.taken()[1:] == ["a up"]


@pytest.mark.conformance(20)
def test_a_permanent_child_is_restarted_after_a_crash() -> None:
    w = world(OneForOne(), "a")
    crash(w, "a")
    assert w.taken() == ["a crash", "a up"]
    assert w.cell("a").incarnation == 2


@pytest.mark.conformance(21)
@pytest.mark.parametrize("reason", [Exit.NORMAL, Exit.SHUTDOWN])
def test_a_transient_child_that_ended_well_stays_down_and_can_be_revived(reason: Exit) -> None:
    w = World(OneForOne(), spec("a", TRANSIENT))
    old = w.cell("a")
    old.end(reason)
    assert w.state("a") is ChildState.STOPPED
    assert old.closed == reason
    ref = result(w.family.restart_child("a"))
    assert ref is w.cell("a") is not old
    assert w.state("a") is ChildState.RUNNING


@pytest.mark.conformance(22)
def test_a_transient_child_is_restarted_after_a_crash() -> None:
    w = World(OneForOne(), spec("a", TRANSIENT))
    crash(w, "a")
    assert w.state("a") is ChildState.RUNNING
    assert w.cell("a").incarnation == 2


@pytest.mark.conformance(23)
def test_a_temporary_child_is_never_restarted_and_its_spec_goes() -> None:
    w = World(OneForOne(), spec("a", TEMPORARY))
    crash(w, "a")
    assert w.family.which_children() == []
    assert w.cell("a").closed is not None


@pytest.mark.conformance(25)
def test_a_kill_is_an_abnormal_end() -> None:
    w = World(OneForOne(), spec("a", TRANSIENT))
    w.cell("a").end(Exit.KILLED)
    assert w.cell("a").incarnation == 2


def test_an_order_from_outside_to_stop_is_not_judged_by_the_restart_type() -> None:
    w = world(OneForOne(intensity=0), "a")
    w.cell("a").end(Exit("shutdown", ordered=True))
    assert w.state("a") is ChildState.STOPPED
    assert w.cell("a").closed == Exit.SHUTDOWN
    assert w.gave_up is None


# --- strategies


@pytest.mark.conformance(27)
def test_one_for_one_restarts_the_failed_child_alone() -> None:
    w = world(OneForOne(), "abc")
    crash(w, "b")
    assert w.taken() == ["b crash", "b up"]
    assert [w.cell(id).incarnation for id in "abc"] == [1, 2, 1]


@pytest.mark.conformance(28)
def test_one_for_all_stops_all_in_reverse_and_starts_all_in_order() -> None:
    w = world(OneForAll(), "abc")
    refs = [w.cell(id) for id in "abc"]
    crash(w, "b")
    assert w.taken() == ["b crash", "c down(shutdown)", "a down(shutdown)", "a up", "b up", "c up"]
    assert [w.cell(id) for id in "abc"] == refs
    assert not any(ref.closed for ref in refs)


@pytest.mark.conformance(29)
def test_rest_for_one_restarts_the_failed_child_and_those_after_it() -> None:
    w = world(RestForOne(), "abcd")
    crash(w, "b")
    assert w.taken() == [
        "b crash", "d down(shutdown)", "c down(shutdown)", "b up", "c up", "d up",
    ]  # fmt: skip
    assert w.cell("a").incarnation == 1


@pytest.mark.conformance(30)
def test_a_group_restart_takes_a_temporary_child_down_for_good() -> None:
    w = World(OneForAll(), spec("a"), spec("t", TEMPORARY))
    w.taken()
    crash(w, "a")
    assert w.taken() == ["a crash", "t down(shutdown)", "a up"]
    assert [info.id for info in w.family.which_children()] == ["a"]
    assert w.gave_up is None


@pytest.mark.conformance(32)
def test_a_group_restart_revives_a_transient_child_that_had_ended() -> None:
    w = World(OneForAll(), spec("a"), spec("t", TRANSIENT))
    w.cell("t").end()
    w.taken()
    crash(w, "a")
    assert w.taken() == ["a crash", "a up", "t up"]


@pytest.mark.conformance(35)
def test_a_failing_start_in_a_group_restart_retries_the_whole_group() -> None:
    w = world(OneForAll(), "ab")
    w.runtime.plan("b").start_errors = [RuntimeError("not yet")]
    crash(w, "a")
    assert w.taken() == [
        "a crash", "b down(shutdown)", "a up", "b fails", "a down(shutdown)", "a up", "b up",
    ]  # fmt: skip


def test_a_crash_during_a_group_restart_widens_the_group() -> None:
    w = world(RestForOne(), "abc")
    w.runtime.plan("c").hold_stop = True
    crash(w, "b")
    assert w.taken() == ["b crash"]
    crash(w, "a")  # while c is stopping
    w.cell("c").finish_stop()
    assert w.taken() == ["a crash", "c down(shutdown)", "a up", "b up", "c up"]


def test_a_crash_of_a_sibling_that_is_to_go_anyway_costs_nothing_more() -> None:
    w = world(OneForAll(intensity=1), "abc")
    w.runtime.plan("c").hold_stop = True
    crash(w, "a")
    w.cell("c").crash()  # told to stop, it failed instead
    assert w.gave_up is None
    assert w.taken()[-3:] == ["a up", "b up", "c up"]


# --- intensity


@pytest.mark.conformance(38)
def test_over_the_intensity_all_stop_in_reverse_and_the_supervisor_fails() -> None:
    w = world(OneForOne(intensity=2), "ab")
    crash(w, "a")
    crash(w, "a")
    assert w.gave_up is None
    w.taken()
    crash(w, "a")
    assert w.taken() == ["a crash", "b down(shutdown)"]
    error = w.gave_up
    assert isinstance(error, RestartsExhausted)
    assert (error.child, error.intensity, error.period) == ("a", 2, 5.0)
    assert isinstance(error.cause, RuntimeError)
    assert all(w.cell(id).closed for id in "ab")


@pytest.mark.conformance(39)
def test_an_intensity_of_zero_gives_up_at_the_first_crash() -> None:
    w = world(OneForOne(intensity=0), "a")
    crash(w, "a")
    assert isinstance(w.gave_up, RestartsExhausted)


@pytest.mark.conformance(40)
def test_old_restarts_leave_the_window() -> None:
    w = world(OneForOne(intensity=1, period=1.0), "a")
    for _ in range(3):
        crash(w, "a")
        w.clock.advance(2.1)
    assert w.gave_up is None
    assert w.cell("a").incarnation == 4


@pytest.mark.conformance(42)
def test_a_group_restart_counts_once() -> None:
    w = world(OneForAll(intensity=1), "abc")
    crash(w, "a")
    assert w.gave_up is None
    assert [w.cell(id).incarnation for id in "abc"] == [2, 2, 2]


@pytest.mark.conformance(43)
def test_failing_starts_count_so_that_a_restart_never_loops() -> None:
    w = world(OneForOne(intensity=3), "a")
    w.runtime.plan("a").always = ValueError("broken")
    crash(w, "a")
    assert w.taken() == ["a crash", "a fails", "a fails", "a fails"]
    assert isinstance(w.gave_up, RestartsExhausted)


@pytest.mark.conformance(45)
def test_a_normal_end_of_a_permanent_child_costs_budget() -> None:
    w = world(OneForOne(intensity=0), "a")
    w.cell("a").end()
    assert isinstance(w.gave_up, RestartsExhausted)


@pytest.mark.conformance(47)
def test_with_a_budget_per_child_only_the_child_over_it_stops() -> None:
    w = world(OneForOne(intensity=2, budget="child"), "ab")
    for _ in range(3):
        crash(w, "a")
    assert w.state("a") is ChildState.STOPPED
    closed = w.cell("a").closed
    assert closed is not None
    assert closed.kind == "restart_limit"
    assert w.state("b") is ChildState.RUNNING
    assert w.cell("b").incarnation == 1
    assert w.gave_up is None


@pytest.mark.conformance(47)
def test_with_a_budget_of_zero_per_child_the_first_failure_stops_it() -> None:
    w = world(OneForOne(intensity=0, budget="child"), "a")
    crash(w, "a")
    assert w.state("a") is ChildState.STOPPED


@pytest.mark.conformance(48)
def test_unlimited_restarts_do_not_loop_over_a_failing_start() -> None:
    w = world(OneForOne(intensity=None, budget="child"), "a")
    for _ in range(50):
        crash(w, "a")
    assert w.state("a") is ChildState.RUNNING
    w.runtime.plan("a").always = ValueError("broken")
    w.taken()
    crash(w, "a")
    assert w.taken() == ["a crash", "a fails"]
    assert w.state("a") is ChildState.STOPPED


def test_each_child_has_a_budget_of_its_own() -> None:
    w = world(OneForOne(intensity=1, budget="child"), "abc")
    for id in "abc":
        crash(w, id)
    assert [w.state(id) for id in "abc"] == [ChildState.RUNNING] * 3


# --- deciders


def test_a_decider_covers_subclasses_and_the_closest_type_wins() -> None:
    w = World(
        OneForOne(),
        spec("a"),
        decider={LookupError: Directive.STOP, KeyError: Directive.RESUME},
    )
    w.cell("a").crash(KeyError("k"))
    assert w.cell("a").resumed == 1
    w.cell("a").crash(IndexError("i"))
    assert w.state("a") is ChildState.STOPPED


@pytest.mark.conformance(102)
def test_resume_costs_nothing() -> None:
    w = World(OneForOne(intensity=0), spec("a"), decider={ValueError: Directive.RESUME})
    for _ in range(10):
        w.cell("a").crash(ValueError("bad input"))
    assert w.cell("a").resumed == 10
    assert w.cell("a").incarnation == 1


def test_escalate_stops_the_siblings_and_fails_the_supervisor_with_the_same_cause() -> None:
    w = World(OneForOne(), spec("a"), spec("b"), decider={OSError: Directive.ESCALATE})
    w.taken()
    cause = OSError("disk")
    w.cell("a").crash(cause)
    assert w.gave_up is cause
    assert w.taken() == ["a crash", "b down(shutdown)"]


def test_a_failure_that_is_nobodys_fault_costs_no_budget() -> None:
    w = world(OneForOne(intensity=0), "a")
    w.cell("a").crash(KeyboardInterrupt(), phase="interrupt")
    assert w.state("a") is ChildState.RUNNING
    assert w.cell("a").incarnation == 2


# --- backoff


def backoff(**fields: Any) -> Backoff:
    return Backoff(**{"first": 3, "factor": 2, "maximum": 30, "jitter": 0, **fields})


@pytest.mark.conformance(85)
def test_each_failure_in_a_row_waits_longer() -> None:
    w = world(OneForOne(intensity=10, backoff=backoff()), "a")
    for delay in (3, 6, 12, 24, 30, 30):
        crash(w, "a")
        before = w.cell("a").incarnation
        w.clock.advance(delay - 0.01)
        assert w.cell("a").incarnation == before
        w.clock.advance(0.01)
        assert w.cell("a").incarnation == before + 1


@pytest.mark.conformance(87)
def test_a_child_that_stayed_up_long_enough_waits_as_little_as_at_first() -> None:
    w = world(OneForOne(backoff=backoff()), "a")
    crash(w, "a")
    w.clock.advance(3)
    w.clock.advance(16.5)
    crash(w, "a")
    w.clock.advance(3)
    assert w.state("a") is ChildState.RUNNING


@pytest.mark.conformance(91)
def test_a_failing_start_backs_off_and_counts_too() -> None:
    w = world(OneForOne(intensity=10, backoff=backoff()), "a")
    w.runtime.plan("a").start_errors = [ValueError("not yet")]
    crash(w, "a")
    w.clock.advance(3)
    assert w.state("a") is ChildState.RESTARTING
    w.clock.advance(5.9)
    assert w.state("a") is ChildState.RESTARTING
    w.clock.advance(0.1)
    assert w.state("a") is ChildState.RUNNING


@pytest.mark.conformance(92)
def test_a_limit_holds_under_backoff() -> None:
    limits = OneForOne(intensity=2, period=60, budget="child", backoff=backoff())
    w = world(limits, "a")
    for delay in (3, 6):
        crash(w, "a")
        w.clock.advance(delay)
    crash(w, "a")
    closed = w.cell("a").closed
    assert closed is not None
    assert closed.kind == "restart_limit"


@pytest.mark.conformance(93)
def test_stopping_while_backing_off_is_immediate_and_final() -> None:
    w = world(OneForOne(backoff=backoff()), "a")
    crash(w, "a")
    assert w.stop() == [True]
    w.clock.advance(100)
    assert w.cell("a").incarnation == 1
    assert w.clock.pending == 0


@pytest.mark.conformance(93)
def test_terminating_a_child_that_backs_off_is_immediate_and_final() -> None:
    w = world(OneForOne(backoff=backoff()), "a")
    crash(w, "a")
    result(w.family.terminate_child("a"))
    w.clock.advance(100)
    assert w.state("a") is ChildState.STOPPED
    assert w.cell("a").incarnation == 1


@pytest.mark.conformance(96)
def test_siblings_and_orders_do_not_wait_for_a_backoff() -> None:
    w = world(OneForOne(backoff=backoff()), "ab")
    crash(w, "a")
    assert w.state("a") is ChildState.RESTARTING
    result(w.family.terminate_child("b"))
    result(w.family.restart_child("b"))
    assert result(w.family.start_child(spec("c"))) is w.cell("c")
    assert w.family.count_children().active == 2


def test_a_group_waits_for_the_backoff_with_all_its_children_down() -> None:
    w = world(OneForAll(backoff=backoff()), "ab")
    crash(w, "a")
    assert w.taken() == ["a crash", "b down(shutdown)"]
    assert [w.state(id) for id in "ab"] == [ChildState.RESTARTING] * 2
    w.clock.advance(3)
    assert w.taken() == ["a up", "b up"]


# --- shutdown


@pytest.mark.conformance(55)
def test_children_stop_in_reverse_each_gone_before_the_next_is_told() -> None:
    w = world(OneForOne(), "abc")
    for id in "abc":
        w.runtime.plan(id).hold_stop = True
    done = w.stop()
    for id in "cba":
        others = [o for o in "abc" if o < id]
        assert w.cell(id).halted == [Exit.SHUTDOWN]
        assert all(not w.cell(o).halted for o in others)
        assert not done
        w.cell(id).finish_stop()
    assert done == [True]


@pytest.mark.conformance(56)
def test_a_child_that_does_not_stop_in_time_is_killed() -> None:
    w = World(OneForOne(), spec("a", shutdown=0.2))
    w.runtime.plan("a").hold_stop = True
    done = w.stop()
    w.clock.advance(0.19)
    assert not done
    w.clock.advance(0.01)
    assert done == [True]
    assert w.cell("a").fenced == 1
    assert w.cell("a").closed == Exit.KILLED


@pytest.mark.conformance(57)
def test_brutal_means_no_cleanup_at_all() -> None:
    w = World(OneForOne(), spec("a", shutdown=Shutdown.BRUTAL))
    assert w.stop() == [True]
    assert w.cell("a").halted == []
    assert w.cell("a").closed == Exit.KILLED


@pytest.mark.conformance(58)
def test_infinity_waits_as_long_as_it_takes() -> None:
    w = World(OneForOne(), spec("a", shutdown=Shutdown.INFINITY))
    w.runtime.plan("a").hold_stop = True
    done = w.stop()
    w.clock.advance(1e6)
    assert not done
    w.cell("a").finish_stop()
    assert done == [True]
    assert w.cell("a").closed == Exit.SHUTDOWN


@pytest.mark.conformance(60)
def test_a_child_that_fails_while_stopping_is_reported_once_and_the_rest_stop_cleanly() -> None:
    w = world(OneForOne(), "ab")
    w.runtime.plan("b").hold_stop = True
    done = w.stop()
    w.cell("b").crash(ValueError("cleanup"))
    assert done == [True]
    assert w.cell("a").closed == Exit.SHUTDOWN
    reports = [e for e in w.runtime.stream.seen if isinstance(e, SupervisorReport)]
    assert [r.context for r in reports if r.reason.abnormal] == ["shutdown_error", "shutdown"]


@pytest.mark.conformance(63)
def test_a_supervisor_stops_at_once_while_a_child_fails_to_restart_for_ever() -> None:
    limits = OneForOne(intensity=None, budget="child", backoff=backoff(first=0.1, maximum=0.1))
    w = world(limits, "ab")
    w.runtime.plan("a").always = ValueError("broken")
    crash(w, "a")
    w.clock.advance(10)
    assert w.state("a") is ChildState.RESTARTING
    assert w.stop() == [True]
    w.clock.advance(10)
    assert w.clock.pending == 0


@pytest.mark.conformance(66)
def test_killing_a_family_takes_all_its_children_along() -> None:
    w = world(OneForOne(), "abc")
    w.family.kill()
    assert [w.cell(id).closed for id in "abc"] == [Exit.KILLED] * 3
    assert not w.runtime.families


def test_stopping_twice_tells_both_who_asked() -> None:
    w = world(OneForOne(), "a")
    w.runtime.plan("a").hold_stop = True
    first, second = w.stop(), w.stop()
    w.cell("a").finish_stop()
    assert (first, second) == ([True], [True])
    assert w.stop() == [True]


class Below:
    """The family of a child that is a supervisor: it stops when the test says so."""

    def __init__(self, w: World, id: str) -> None:
        self.done: list[Any] = []
        w.runtime.families[w.cell(id)] = self

    def halt_children(self, _reason: Exit, done: Any) -> None:
        self.done.append(done)

    def when_up(self, call: Any) -> None:
        self.up = call

    def kill(self) -> None:
        pass


def test_a_group_restart_waits_for_the_children_of_a_supervisor_that_failed_too() -> None:
    w = World(OneForAll(), spec("a"), spec("s"), spec("z"))
    below = Below(w, "s")
    crash(w, "s")
    crash(w, "a")
    assert w.cell("s").incarnation == 1
    del w.runtime.families[w.cell("s")]
    below.done[0]()
    assert [w.state(id) for id in "asz"] == [ChildState.RUNNING] * 3
    assert w.cell("s").incarnation == 2
    assert w.gave_up is None


@pytest.mark.parametrize("strategy", [OneForOne(), OneForAll(), RestForOne()])
def test_a_supervisor_that_fails_while_its_children_start_holds_nobody_up(strategy: Any) -> None:
    w = World(strategy)
    w.runtime.plan("b").hold_start = True
    w.start(spec("a"), spec("b"), spec("c"))
    below = Below(w, "b")
    w.cell("b").finish_start()
    w.runtime.plan("b").hold_start = False
    crash(w, "b")
    del w.runtime.families[w.cell("b")]
    below.done[0]()
    assert [w.state(id) for id in "abc"] == [ChildState.RUNNING] * 3
    assert w.outcome == [None]


@pytest.mark.parametrize("limit", [5.0, Shutdown.INFINITY])
def test_stopping_joins_a_halt_that_a_group_restart_has_begun(limit: Any) -> None:
    w = World(OneForAll(), spec("a"), spec("s", shutdown=limit))
    below = Below(w, "s")
    crash(w, "a")
    done = w.stop()
    assert done == []
    [gone] = below.done
    gone()
    assert w.cell("s").halted == [Exit.SHUTDOWN]
    assert done == [True]


def test_a_limit_still_holds_for_a_halt_that_was_joined() -> None:
    w = World(OneForAll(), spec("a"), spec("s", shutdown=5.0))
    below = Below(w, "s")
    crash(w, "a")
    done = w.stop()
    w.clock.advance(5.0)
    assert done == [True]
    assert w.cell("s").closed == Exit.KILLED
    below.done[0]()  # late: nobody is hit by it
    assert w.cell("s").halted == []


def test_a_crash_while_the_family_stops_brings_nobody_back() -> None:
    w = world(OneForOne(), "ab")
    w.runtime.plan("b").hold_stop = True
    done = w.stop()
    crash(w, "a")
    w.cell("b").finish_stop()
    assert done == [True]
    assert w.cell("a").incarnation == 1


def test_stopping_during_the_first_start_stops_what_was_started() -> None:
    w = World(OneForOne())
    w.runtime.plan("b").hold_start = True
    w.start(spec("a"), spec("b"), spec("c"))
    w.runtime.plan("b").hold_stop = True
    done = w.stop()
    w.cell("b").finish_stop()
    assert done == [True]
    assert "c" not in w.runtime.cells
    assert len(w.outcome) == 1
    assert w.outcome[0] is not None


# --- significant children


def significant(id: str, restart: Restart = TRANSIENT) -> ChildSpec:
    return spec(id, restart, significant=True)


@pytest.mark.conformance(77)
def test_the_normal_end_of_a_significant_child_ends_the_supervisor() -> None:
    w = World(OneForOne(), significant("a"), spec("b"), auto=AutoShutdown.ANY_SIGNIFICANT)
    w.taken()
    w.cell("a").end()
    assert w.taken() == ["a ends(normal)", "b down(shutdown)", "sup down(shutdown)"]
    assert w.owner.halted == [Exit.SHUTDOWN]


@pytest.mark.conformance(78)
def test_the_crash_of_a_temporary_significant_child_ends_the_supervisor() -> None:
    w = World(OneForOne(), significant("a", TEMPORARY), auto=AutoShutdown.ANY_SIGNIFICANT)
    crash(w, "a")
    assert w.owner.halted == [Exit.SHUTDOWN]


@pytest.mark.conformance(79)
def test_the_crash_of_a_transient_significant_child_restarts_it() -> None:
    w = World(OneForOne(), significant("a"), auto=AutoShutdown.ANY_SIGNIFICANT)
    crash(w, "a")
    assert w.owner.halted == []
    assert w.state("a") is ChildState.RUNNING


def test_all_significant_waits_for_the_last_of_them() -> None:
    auto = AutoShutdown.ALL_SIGNIFICANT
    w = World(OneForOne(), significant("a"), significant("b"), spec("c"), auto=auto)
    w.cell("a").end()
    assert w.owner.halted == []
    w.cell("b").end()
    assert w.owner.halted == [Exit.SHUTDOWN]


@pytest.mark.conformance(81)
def test_terminating_a_significant_child_ends_nobody_else() -> None:
    w = World(OneForOne(), significant("a"), auto=AutoShutdown.ANY_SIGNIFICANT)
    result(w.family.terminate_child("a"))
    assert w.owner.halted == []


# --- reports


def test_each_decision_is_reported_as_data() -> None:
    w = world(OneForOne(intensity=1), "a")
    crash(w, "a")
    crash(w, "a")
    reports = [e for e in w.runtime.stream.seen if isinstance(e, SupervisorReport)]
    assert [(r.context, r.action) for r in reports] == [
        ("child_terminated", "restart"), ("child_terminated", "give_up"), ("shutdown", "give_up"),
    ]  # fmt: skip
    first = reports[0]
    assert first.supervisor == "/user/sup"
    assert first.offender is not None
    assert (first.offender.id, first.offender.path) == ("a", "/user/sup/a")
    assert (first.offender.restart, first.offender.incarnation) == ("permanent", 1)
    assert isinstance(first.reason.cause, RuntimeError)
    assert reports[-1].offender is None


def test_reports_are_log_records_with_the_data_on_them(caplog: pytest.LogCaptureFixture) -> None:
    w = world(OneForOne(), "a")
    with caplog.at_level("INFO", logger="understudy.supervision"):
        crash(w, "a")
    [record] = caplog.records
    assert record.levelname == "WARNING"
    report = record.report  # type: ignore[attr-defined] # our extra field
    assert report.offender.id == "a"
    assert report.as_dict() == {
        "supervisor": "/user/sup",
        "context": "child_terminated",
        "reason": "Failed(RuntimeError('boom'))",
        "offender": {
            "id": "a",
            "path": "/user/sup/a",
            "restart": "permanent",
            "incarnation": 1,
        },
        "action": "restart",
        "delay": 0.0,
    }


def test_the_end_of_a_child_that_has_one_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    w = World(OneForOne(), spec("a", restart=Restart.TRANSIENT), spec("b"))
    with caplog.at_level("INFO", logger="understudy.supervision"):
        w.cell("a").end()
        w.cell("b").end()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


# --- news that comes late


def test_news_of_a_child_that_is_down_already_does_not_change_what_was_decided() -> None:
    w = World(OneForOne(backoff=Backoff(first=1.0, jitter=0.0)), spec("a", TRANSIENT))
    crash(w, "a")
    w.taken()
    w.family.child_ended(w.cell("a"), 1, Exit.NORMAL)
    assert w.state("a") is ChildState.RESTARTING
    w.clock.advance(1.0)
    assert w.taken() == ["a up"]


def test_only_a_failed_message_can_be_passed_over() -> None:
    w = World(OneForOne(), spec("a"), decider={ValueError: Directive.RESUME})
    w.taken()
    w.cell("a").crash(ValueError())
    assert (w.cell("a").resumed, w.cell("a").incarnation) == (1, 1)
    w.cell("a").crash(ValueError(), phase="append")
    assert (w.cell("a").resumed, w.cell("a").incarnation) == (1, 2)


def test_what_belongs_to_an_earlier_halt_does_nothing_to_a_later_one() -> None:
    w = World(OneForOne(), spec("a", shutdown=5.0))
    result(w.family.terminate_child("a"))
    result(w.family.restart_child("a"))
    w.runtime.plan("a").hold_stop = True
    ended = w.family.terminate_child("a")
    child, cell = w.family._children["a"], w.cell("a")
    assert (child.halts, cell.halted) == (2, [Exit.SHUTDOWN])
    w.family._post(w.family._overdue, child, 1)
    w.family._post(w.family._halt_self, child, 1)
    assert (cell.fenced, cell.halted, ended.done()) == (0, [Exit.SHUTDOWN], False)
    cell.finish_stop()
    result(ended)


def test_a_child_that_is_stopped_on_an_order_does_not_come_back_with_its_group() -> None:
    w = world(OneForAll(), "abc")
    w.runtime.plan("b").hold_stop = True
    ended = w.family.terminate_child("b")
    crash(w, "a")
    w.cell("b").finish_stop()
    result(ended)
    states = [w.state(id) for id in "abc"]
    assert states == [ChildState.RUNNING, ChildState.STOPPED, ChildState.RUNNING]
