"""Strategies and backoff: validation and delays."""

from __future__ import annotations

import random

import pytest

from understudy.supervision import (
    Backoff,
    InvalidChildSpec,
    InvalidStrategy,
    OneForAll,
    OneForOne,
    RestForOne,
)


def delays(backoff: Backoff, count: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [backoff.delay(n, rng) for n in range(count)]


@pytest.mark.conformance(85)
def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    backoff = Backoff(first=3, factor=2, maximum=30, jitter=0)
    assert delays(backoff, 6) == [3, 6, 12, 24, 30, 30]


@pytest.mark.conformance(86)
def test_jitter_stretches_each_delay_after_the_cap() -> None:
    backoff = Backoff(first=3, factor=2, maximum=30, jitter=0.2)
    plain = delays(Backoff(first=3, factor=2, maximum=30, jitter=0), 50)
    stretched = delays(backoff, 50)
    assert all(p <= s <= p * 1.2 for p, s in zip(plain, stretched, strict=True))
    assert max(stretched) > 30


def test_jitter_comes_from_the_given_source_of_chance() -> None:
    backoff = Backoff()
    assert delays(backoff, 5, seed=7) == delays(backoff, 5, seed=7)
    assert delays(backoff, 5, seed=7) != delays(backoff, 5, seed=8)


def test_a_thousand_failures_do_not_overflow() -> None:
    assert delays(Backoff(jitter=0), 2000)[-1] == 30.0


def test_a_constant_backoff_is_possible() -> None:
    assert delays(Backoff(first=2, factor=1, maximum=2, jitter=0), 3) == [2, 2, 2]


def test_failures_count_anew_after_the_mean_of_first_and_maximum() -> None:
    assert Backoff(first=3, maximum=30).stable == 16.5
    assert Backoff(reset_after=1.5).stable == 1.5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first", -1),
        ("first", float("nan")),
        ("factor", 0.5),
        ("maximum", float("inf")),
        ("maximum", 0.01),
        ("jitter", -0.1),
        ("reset_after", -1),
    ],
)
def test_a_backoff_that_cannot_be_is_refused_by_field_and_value(field: str, value: float) -> None:
    with pytest.raises(InvalidStrategy) as caught:
        Backoff(**{field: value})
    assert caught.value.field == field
    assert caught.value.value is value


@pytest.mark.conformance(13)
@pytest.mark.parametrize("strategy", [OneForOne, OneForAll, RestForOne])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("intensity", -1),
        ("intensity", float("inf")),
        ("intensity", True),
        ("intensity", "many"),
        ("period", 0),
        ("period", -5.0),
        ("period", float("inf")),
        ("budget", "nobody"),
        ("backoff", 3.0),
    ],
)
def test_a_strategy_that_cannot_be_is_refused_by_field_and_value(
    strategy: type[OneForOne], field: str, value: object
) -> None:
    with pytest.raises(InvalidStrategy) as caught:
        strategy(**{field: value})  # type: ignore[arg-type] # wrong on purpose
    assert caught.value.field == field
    assert caught.value.value is value
    assert isinstance(caught.value, InvalidChildSpec)


def test_unlimited_restarts_are_for_budgets_per_child_only() -> None:
    assert OneForOne(intensity=None, budget="child").intensity is None
    with pytest.raises(InvalidStrategy) as caught:
        OneForOne(intensity=None)
    assert caught.value.field == "intensity"


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidStrategy) as caught:
        OneForAll(intensity=-1, period=0)
    assert [p.field for p in caught.value.problems] == ["intensity", "period"]
    assert any("period" in note for note in caught.value.__notes__)


def test_the_defaults_are_three_restarts_in_five_seconds() -> None:
    strategy = OneForOne()
    assert (strategy.intensity, strategy.period) == (3, 5.0)
    assert (strategy.budget, strategy.backoff) == ("supervisor", None)
