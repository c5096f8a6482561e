"""The admin API of static families, against fake cells."""

from __future__ import annotations

from typing import Any

import pytest

from tests.supervision.fakes import World, result
from tests.supervision.test_spec import Worker
from tests.supervision.test_strategies_at_work import TEMPORARY, TRANSIENT, crash, spec, world
from understudy.actors import ActorDeadError, Exit, Ignore, Restart, StartFailed
from understudy.supervision import (
    AlreadyPresent,
    AlreadyStarted,
    Backoff,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ChildSpec,
    ChildState,
    InvalidChildSpec,
    OneForAll,
    OneForOne,
    Supervisor,
)

WAIT = OneForOne(backoff=Backoff(first=3, jitter=0))


def error_of(future: Any) -> BaseException:
    assert future.done()
    error = future.exception()
    assert isinstance(error, BaseException)
    return error


# --- start_child


@pytest.mark.conformance(8)
@pytest.mark.conformance(15)
def test_a_failing_start_child_keeps_nothing() -> None:
    w = world(OneForOne(), "a")
    w.runtime.plan("b").always = ValueError("no")
    error = error_of(w.family.start_child(spec("b")))
    assert isinstance(error, StartFailed)
    assert error.id == "b"
    assert isinstance(error.cause, ValueError)
    assert w.family.count_children().specs == 1
    assert w.cell("b").closed is not None


@pytest.mark.conformance(14)
def test_start_child_says_already_started_with_the_ref_or_already_present() -> None:
    w = world(OneForOne(), "a")
    error = error_of(w.family.start_child(spec("a")))
    assert isinstance(error, AlreadyStarted)
    assert (error.id, error.ref) == ("a", w.cell("a"))
    result(w.family.terminate_child("a"))
    error = error_of(w.family.start_child(spec("a")))
    assert isinstance(error, AlreadyPresent)
    assert error.id == "a"


def test_a_started_child_is_last_in_the_order() -> None:
    w = world(OneForAll(), "ab")
    result(w.family.start_child(spec("c")))
    w.taken()
    crash(w, "a")
    assert w.taken() == ["a crash", "c down(shutdown)", "b down(shutdown)", "a up", "b up", "c up"]


def test_a_child_can_be_put_before_another() -> None:
    w = world(OneForOne(), "ab")
    result(w.family.start_child(spec("c"), before="b"))
    assert [info.id for info in w.family.which_children()] == ["b", "c", "a"]
    error = error_of(w.family.start_child(spec("d"), before="x"))
    assert isinstance(error, ChildNotFound)


def test_start_child_that_ignores_gives_none() -> None:
    w = world(OneForOne(), "a")
    w.runtime.plan("b").always = Ignore()
    assert result(w.family.start_child(spec("b"))) is None
    assert w.state("b") is ChildState.STOPPED
    w.runtime.plan("t").always = Ignore()
    assert result(w.family.start_child(spec("t", TEMPORARY))) is None
    assert w.family.count_children().specs == 2


def test_start_child_takes_nothing_but_a_valid_spec() -> None:
    w = world(OneForOne(), "a")
    assert isinstance(error_of(w.family.start_child("b")), InvalidChildSpec)  # type: ignore[arg-type] # on purpose
    bad = spec("b", TRANSIENT, significant=True)
    error = error_of(w.family.start_child(bad))
    assert isinstance(error, InvalidChildSpec)
    assert error.field == "significant"


@pytest.mark.conformance(17)
def test_orders_are_answered_while_a_child_is_starting() -> None:
    w = world(OneForOne(), "a")
    w.runtime.plan("slow").hold_start = True
    future = w.family.start_child(spec("slow"))
    assert not future.done()
    assert w.state("slow") is ChildState.STARTING
    assert [info.id for info in w.family.which_children()] == ["slow", "a"]
    result(w.family.terminate_child("a"))
    w.cell("slow").finish_start()
    assert result(future) is w.cell("slow")


def test_a_crash_before_the_start_finished_is_told_to_who_asked_for_it() -> None:
    w = world(OneForOne(), "a")
    w.runtime.plan("b").hold_start = True
    w.runtime.plan("b").always = RuntimeError("half-way")
    future = w.family.start_child(spec("b"))
    w.cell("b").finish_start()
    assert isinstance(error_of(future), StartFailed)


# --- terminate_child


@pytest.mark.conformance(67)
def test_terminating_is_idempotent_and_knows_unknown_ids() -> None:
    w = world(OneForOne(intensity=0), "a")
    result(w.family.terminate_child("a"))
    result(w.family.terminate_child("a"))
    assert w.state("a") is ChildState.STOPPED
    assert w.cell("a").closed == Exit.SHUTDOWN
    assert isinstance(error_of(w.family.terminate_child("x")), ChildNotFound)
    assert w.gave_up is None


def test_terminating_a_temporary_child_forgets_it() -> None:
    w = World(OneForOne(), spec("t", TEMPORARY))
    result(w.family.terminate_child("t"))
    assert w.family.which_children() == []


def test_terminating_waits_until_the_child_is_gone() -> None:
    w = world(OneForOne(), "a")
    w.runtime.plan("a").hold_stop = True
    first = w.family.terminate_child("a")
    second = w.family.terminate_child("a")
    assert w.state("a") is ChildState.STOPPING
    assert not first.done()
    assert not second.done()
    w.cell("a").finish_stop()
    result(first)
    result(second)
    assert len(w.cell("a").halted) == 1


def test_terminating_a_child_that_starts_tells_who_asked_for_the_start() -> None:
    w = world(OneForOne(), "a")
    w.runtime.plan("b").hold_start = True
    w.runtime.plan("b").hold_stop = True
    started = w.family.start_child(spec("b"))
    ended = w.family.terminate_child("b")
    w.cell("b").finish_stop()
    result(ended)
    assert isinstance(error_of(started), StartFailed)


def test_terminating_a_child_that_a_group_restart_is_stopping_keeps_it_down() -> None:
    w = world(OneForAll(), "abc")
    w.runtime.plan("c").hold_stop = True
    crash(w, "a")
    ended = w.family.terminate_child("c")
    w.taken()
    w.cell("c").finish_stop()
    result(ended)
    assert w.taken() == ["c down(shutdown)", "b down(shutdown)", "a up", "b up"]
    assert w.state("c") is ChildState.STOPPED


@pytest.mark.conformance(61)
def test_a_child_that_hangs_in_stopping_is_killed_at_its_limit() -> None:
    w = World(OneForOne(), spec("a", shutdown=1.0))
    w.runtime.plan("a").hold_stop = True
    ended = w.family.terminate_child("a")
    w.clock.advance(1.0)
    result(ended)
    assert w.cell("a").closed == Exit.KILLED
    assert w.state("a") is ChildState.STOPPED


# --- restart_child, delete_child


@pytest.mark.conformance(69)
def test_restart_child_wants_a_stopped_child() -> None:
    w = world(WAIT, "a")
    error = error_of(w.family.restart_child("a"))
    assert isinstance(error, ChildRunning)
    assert error.id == "a"
    crash(w, "a")
    assert isinstance(error_of(w.family.restart_child("a")), ChildRestarting)
    result(w.family.terminate_child("a"))
    assert result(w.family.restart_child("a")) is w.cell("a")
    assert isinstance(error_of(w.family.restart_child("x")), ChildNotFound)


@pytest.mark.conformance(69)
def test_a_failing_restart_child_leaves_the_spec_stopped() -> None:
    w = world(OneForOne(), "a")
    result(w.family.terminate_child("a"))
    w.runtime.plan("a").always = ValueError("no")
    error = error_of(w.family.restart_child("a"))
    assert isinstance(error, StartFailed)
    assert w.state("a") is ChildState.STOPPED
    assert w.family.count_children().specs == 1


@pytest.mark.conformance(68)
def test_delete_child_wants_a_stopped_child() -> None:
    w = world(WAIT, "ab")
    assert isinstance(error_of(w.family.delete_child("a")), ChildRunning)
    crash(w, "a")
    assert isinstance(error_of(w.family.delete_child("a")), ChildRestarting)
    result(w.family.terminate_child("a"))
    result(w.family.delete_child("a"))
    assert [info.id for info in w.family.which_children()] == ["b"]
    assert isinstance(error_of(w.family.delete_child("a")), ChildNotFound)
    assert result(w.family.start_child(spec("a"))) is w.cell("a")


# --- which_children, count_children


@pytest.mark.conformance(70)
def test_children_are_listed_in_reverse_start_order() -> None:
    w = world(OneForOne(), "abc")
    infos = w.family.which_children()
    assert [info.id for info in infos] == ["c", "b", "a"]
    assert infos[0].ref is w.cell("c")
    assert infos[0].restart is Restart.PERMANENT
    assert infos[0].state is ChildState.RUNNING


class Boss(Supervisor):
    pass


@pytest.mark.conformance(71)
def test_restarting_children_are_counted_but_not_as_active() -> None:
    w = World(WAIT, spec("a"), spec("b"), spec("c"), ChildSpec("s", Boss))
    crash(w, "a")
    result(w.family.terminate_child("b"))
    counts = w.family.count_children()
    assert (counts.specs, counts.active) == (4, 2)
    assert (counts.workers, counts.supervisors) == (3, 1)


def test_a_listing_tells_restarts_and_the_last_failure() -> None:
    w = world(OneForOne(), "a")
    w.cell("a").crash(ValueError("bad"))
    [info] = w.family.which_children()
    assert info.restarts == 1
    assert info.last_failure == "ValueError('bad')"


@pytest.mark.conformance(73)
def test_a_stopped_family_takes_no_orders() -> None:
    w = world(OneForOne(), "a")
    w.stop()
    assert isinstance(error_of(w.family.start_child(spec("b"))), ActorDeadError)
    assert isinstance(error_of(w.family.restart_child("a")), ActorDeadError)


# --- the queue


def test_orders_given_from_inside_a_callback_are_carried_out() -> None:
    w = world(OneForOne(), "a")
    seen: list[Any] = []

    def again(_: Any) -> None:
        future = w.family.restart_child("a")
        seen.append(future.get(timeout=5))

    ended = w.family.terminate_child("a")
    ended.add_done_callback(again)
    assert seen == [w.cell("a")]


def test_an_error_in_one_event_does_not_stop_the_family(
    caplog: pytest.LogCaptureFixture,
) -> None:
    w = world(OneForOne(), "a")

    def broken() -> None:
        raise RuntimeError("a bug")

    w.family._post(broken)
    assert "error in its supervision" in caplog.text
    crash(w, "a")
    assert w.state("a") is ChildState.RUNNING


def test_news_from_a_replaced_incarnation_changes_nothing() -> None:
    w = world(OneForOne(), "a")
    crash(w, "a")
    w.taken()
    cell = w.cell("a")
    w.family.child_ended(cell, 1, Exit.NORMAL)
    w.family.child_started(cell, 1)
    w.family.child_start_failed(cell, 1, ValueError())
    assert w.taken() == []
    assert w.state("a") is ChildState.RUNNING


def test_fatal_errors_go_to_the_top() -> None:
    w = world(OneForOne(), "a")
    error = SystemExit(3)
    w.family.fatal(w.cell("a"), error)
    assert w.runtime.fatal == [(w.cell("a"), error)]


def test_a_spec_whose_cell_cannot_be_made_fails_like_a_start(monkeypatch: Any) -> None:
    w = world(OneForOne(), "a")

    def refuse(*_: Any, **__: Any) -> Any:
        raise LookupError("no such dispatcher")

    monkeypatch.setattr(w.runtime, "make_cell", refuse)
    error = error_of(w.family.start_child(ChildSpec("b", Worker, dispatcher="gpu")))
    assert isinstance(error, StartFailed)
    assert isinstance(error.cause, LookupError)
    assert w.family.count_children().specs == 1
