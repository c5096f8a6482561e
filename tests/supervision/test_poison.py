"""Poison messages are parked, and reported once."""

from __future__ import annotations

import pytest

from understudy.supervision import PoisonGuard, PoisonMessage

ERROR = ValueError("bad")


@pytest.mark.conformance(109)
def test_a_message_is_parked_after_its_third_crash() -> None:
    guard = PoisonGuard()
    assert guard.crashed("/user/a", "m1", ERROR) is None
    assert guard.crashed("/user/a", "m1", ERROR) is None
    record = guard.crashed("/user/a", "m1", ERROR)
    assert record == PoisonMessage("/user/a", "m1", 3, ERROR)
    assert guard.parked("m1")
    assert guard.messages == (record,)


def test_a_parked_message_is_reported_once() -> None:
    guard = PoisonGuard(limit=1)
    assert guard.crashed("/user/a", "m1", ERROR) is not None
    assert guard.crashed("/user/a", "m1", ERROR) is None


def test_crashes_on_other_messages_do_not_count() -> None:
    guard = PoisonGuard(limit=2)
    assert guard.crashed("/user/a", "m1", ERROR) is None
    assert guard.crashed("/user/a", "m2", ERROR) is None
    assert not guard.parked("m1")


def test_a_message_that_was_handled_after_all_counts_anew() -> None:
    guard = PoisonGuard(limit=2)
    guard.crashed("/user/a", "m1", ERROR)
    guard.done("m1")
    assert guard.crashed("/user/a", "m1", ERROR) is None


def test_released_messages_are_delivered_again() -> None:
    guard = PoisonGuard(limit=1)
    guard.crashed("/user/a", "m1", ERROR)
    assert guard.release("m1")
    assert not guard.parked("m1")
    assert not guard.release("m1")


def test_parked_messages_come_back_from_their_records() -> None:
    guard = PoisonGuard()
    guard.restore(PoisonMessage("/user/a", "m1", 3, ERROR))
    assert guard.parked("m1")


def test_the_counts_are_bounded() -> None:
    guard = PoisonGuard(limit=2, remember=10)
    for n in range(100):
        guard.crashed("/user/a", f"m{n}", ERROR)
    assert len(guard._counts) == 10


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="limit = 0"):
        PoisonGuard(limit=0)
