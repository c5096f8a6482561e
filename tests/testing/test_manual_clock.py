"""The manual clock: time moves when it is told to, and only forward."""

from __future__ import annotations

import functools
import heapq
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.testing import ManualClock


def test_time_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(start=10.0, epoch=1000.0)
    assert (clock.monotonic(), clock.time()) == (10.0, 1000.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (12.5, 1002.5)


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)


def test_a_callback_sees_its_own_moment_not_the_end_of_the_advance() -> None:
    clock, seen = ManualClock(), []
    clock.call_at(1.0, lambda: seen.append(clock.monotonic()))
    clock.call_at(2.0, lambda: seen.append(clock.monotonic()))
    assert clock.advance(5.0) == 2
    assert seen == [1.0, 2.0]


def test_callbacks_of_one_moment_run_in_the_order_of_their_registration() -> None:
    clock = ManualClock()
    seen: list[int] = []
    for number in range(5):
        clock.call_at(1.0, functools.partial(seen.append, number))
    clock.advance(1.0)
    assert seen == [0, 1, 2, 3, 4]


def test_a_cancelled_callback_does_not_run() -> None:
    clock, seen = ManualClock(), []
    handle = clock.call_at(1.0, lambda: seen.append(1))
    handle.cancel()
    assert clock.pending == 0
    assert clock.advance(2.0) == 0
    assert not seen


def test_a_callback_may_schedule_another_within_the_same_advance() -> None:
    clock, seen = ManualClock(), []

    def again() -> None:
        seen.append(clock.monotonic())
        if len(seen) < 3:
            clock.call_at(clock.monotonic() + 1.0, again)

    clock.call_at(1.0, again)
    clock.advance(10.0)
    assert seen == [1.0, 2.0, 3.0]


def test_what_is_overdue_runs_at_an_advance_of_nothing() -> None:
    clock, seen = ManualClock(start=5.0), []
    clock.call_at(1.0, lambda: seen.append(clock.monotonic()))
    clock.advance(0)
    assert seen == [5.0]


def test_advance_to_next_jumps_to_the_next_moment_and_says_which() -> None:
    clock = ManualClock()
    clock.call_at(3.0, lambda: None)
    clock.call_at(7.0, lambda: None)
    assert clock.next_at == 3.0
    assert clock.advance_to_next() == 3.0
    assert clock.monotonic() == 3.0
    assert clock.advance_to_next() == 7.0
    assert clock.advance_to_next() is None


def test_settle_runs_before_the_first_and_after_every_callback() -> None:
    clock, seen = ManualClock(), []
    clock.call_at(1.0, lambda: seen.append("ring"))
    clock.advance(2.0, settle=lambda: seen.append("settled"))
    assert seen == ["settled", "ring", "settled"]


def test_threads_may_schedule_while_time_is_advanced() -> None:
    clock, ran = ManualClock(), []
    threads = [
        threading.Thread(
            target=lambda: [clock.call_at(0.5, lambda: ran.append(1)) for _ in range(200)]
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    clock.advance(1.0)
    for thread in threads:
        thread.join(10)
    clock.advance(0)
    assert len(ran) == 1600


@given(
    moments=st.lists(st.floats(0, 100, allow_nan=False), max_size=30),
    steps=st.lists(st.floats(0, 30, allow_nan=False), max_size=10),
)
def test_due_callbacks_run_once_in_order_of_their_moment(
    moments: list[float], steps: list[float]
) -> None:
    clock = ManualClock()
    ran: list[tuple[float, int]] = []
    model: list[tuple[float, int]] = []
    for number, moment in enumerate(moments):
        clock.call_at(moment, functools.partial(ran.append, (moment, number)))
        heapq.heappush(model, (moment, number))
    expected = []
    for step in steps:
        clock.advance(step)
        while model and model[0][0] <= clock.monotonic():
            expected.append(heapq.heappop(model))
    assert ran == expected
    assert clock.pending == len(model)
