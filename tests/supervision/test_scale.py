"""Cost per child does not depend on how many children there are.

Counted in calls instead of seconds: the same on a busy machine and an idle one.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.supervision.fakes import Crowd, World
from tests.supervision.test_strategies_at_work import spec
from understudy.supervision import OneForAll, OneForOne


def calls(fn: Any) -> int:
    """How many Python functions a call calls."""
    count = 0

    def profile(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        fn()
    finally:
        sys.setprofile(None)
    return count


def dynamic(children: int) -> int:
    def run() -> None:
        crowd = Crowd()
        for _ in range(children):
            crowd.spawn()
        assert crowd.stop() == [True]

    return calls(run)


def static(children: int) -> int:
    def run() -> None:
        world = World(OneForOne(), *(spec(f"c{n}") for n in range(children)))
        assert world.stop() == [True]

    return calls(run)


def group_restart(children: int) -> int:
    world = World(OneForAll(), *(spec(f"c{n}") for n in range(children)))
    return calls(world.cell("c0").crash)


@pytest.mark.conformance(131)
@pytest.mark.parametrize("work", [dynamic, static, group_restart])
def test_ten_times_the_children_cost_ten_times_the_calls(work: Any) -> None:
    few, many = work(50), work(500)
    assert many < few * 12


def restarts(crowd: Crowd, count: int) -> int:
    ref = crowd.spawn("busy")
    crowd.clock.advance(1)
    return calls(lambda: [ref.crash() for _ in range(count)])


def test_a_restart_costs_the_same_however_many_lie_in_the_window() -> None:
    limits = OneForOne(intensity=1_000_000, period=1e6, budget="child")
    few, many = restarts(Crowd(limits), 50), restarts(Crowd(limits), 500)
    assert many < few * 11
