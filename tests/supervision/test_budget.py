"""The restart budget: a sliding window at constant cost."""

from __future__ import annotations

import random

import pytest

from understudy.supervision._budget import Budget


def test_as_many_restarts_as_the_intensity_are_allowed_and_no_more() -> None:
    budget = Budget(2, 5.0)
    assert [budget.spend(0.0), budget.spend(0.1), budget.spend(0.2)] == [True, True, False]


def test_an_intensity_of_zero_allows_nothing() -> None:
    assert Budget(0, 5.0).spend(0.0) is False


def test_no_intensity_allows_everything() -> None:
    budget = Budget(None, 5.0)
    assert all(budget.spend(0.0) for _ in range(1000))
    assert budget.used(0.0) == 0


def test_a_restart_leaves_the_window_when_it_is_a_period_old() -> None:
    budget = Budget(1, 1.0)
    assert budget.spend(0.0)
    assert not budget.spend(0.999)
    assert budget.spend(1.0)


def test_the_window_slides_instead_of_tumbling() -> None:
    budget = Budget(2, 1.0)
    assert budget.spend(0.9)
    assert budget.spend(1.1)
    assert not budget.spend(1.5)  # a tumbling window would have begun anew at 1.0
    assert budget.spend(1.95)


def test_windows_shorter_than_a_second_are_kept() -> None:
    budget = Budget(1, 0.05)
    assert budget.spend(0.0)
    assert not budget.spend(0.04)
    assert budget.spend(0.06)


def test_used_counts_only_what_lies_in_the_window() -> None:
    budget = Budget(10, 1.0)
    for at in (0.0, 0.5, 0.8):
        budget.spend(at)
    assert budget.used(0.9) == 3
    assert budget.used(1.2) == 2


def test_memory_is_bounded_by_the_intensity() -> None:
    budget = Budget(3, 1.0)
    for step in range(10_000):
        budget.spend(step * 0.4)
    assert len(budget._times) <= 3


@pytest.mark.parametrize("seed", range(10))
def test_the_window_holds_the_restarts_of_the_last_period_whatever_their_times(seed: int) -> None:
    chance = random.Random(seed)
    budget = Budget(3, 1.0)
    allowed: list[float] = []
    now = 0.0
    for _ in range(300):
        now += chance.choice([0.05, 0.2, 0.5, 0.9])
        fits = sum(now - earlier < 1.0 for earlier in allowed) < 3
        assert budget.spend(now) is fits
        if fits:
            allowed.append(now)
    assert 0 < len(allowed) < 300
