"""Medians, spreads, percentiles, slopes, and figures as people read them."""

from __future__ import annotations

import pytest

from understudy.benchmarks import _units
from understudy.benchmarks._statistics import latency, quantile, slope, spread


def test_a_spread_holds_median_and_range():
    found = spread([3.0, 1.0, 2.0])
    assert found is not None
    assert (found.median, found.low, found.high, found.n) == (2.0, 1.0, 3.0, 3)


def test_no_rounds_give_no_spread():
    assert spread([]) is None


@pytest.mark.parametrize(
    ("values", "wide"), [([1.0, 1.4], False), ([1.0, 1.6], True), ([0.0, 1.0], True)]
)
def test_rounds_more_than_half_apart_are_wide(values, wide):
    found = spread(values)
    assert found is not None
    assert found.wide is wide


@pytest.mark.parametrize(("q", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantiles_are_nearest_rank(q, value):
    assert quantile(list(range(1, 101)), q) == value


def test_a_quantile_of_nothing_says_what_to_do():
    with pytest.raises(ValueError, match="record at least one"):
        quantile([], 0.5)


def test_latency_has_the_tail_by_name():
    found = latency([i / 1000 for i in range(1, 1001)])
    assert (found["0.5"], found["0.999"], found["1.0"]) == (0.5, 0.999, 1.0)


@pytest.mark.parametrize(("power", "expected"), [(0, 0.0), (1, 1.0), (2, 2.0)])
def test_the_slope_is_the_exponent_of_the_power_law(power, expected):
    assert slope((x, 3 * x**power) for x in (10, 100, 1000)) == pytest.approx(expected)


def test_one_point_has_no_slope():
    assert slope([(10, 1.0), (10, 2.0)]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_units.seconds(1.234), "1.23 s"),
        (_units.seconds(0.0567), "56.7 ms"),
        (_units.seconds(5.5e-6), "5.5 µs"),
        (_units.seconds(78e-9), "78 ns"),
        (_units.seconds(0), "0 ns"),
        (_units.size(1536), "1.5 KiB"),
        (_units.size(3 * 2**30), "3 GiB"),
        (_units.size(12), "12 B"),
        (_units.rate(5_900_000, "message"), "5.9 M messages/s"),
        (_units.rate(12, "search"), "12 searches/s"),
        (_units.rate(2e9, "reply"), "2 G replies/s"),
        (_units.share(0.0123), "1.23 %"),
        (_units.times(28.64), "28.6 ×"),
        (_units.digits(123456), "123,000"),
        (_units.digits(float("inf")), "inf"),
        (_units.plural("day"), "days"),
        (_units.figure("bytes", 2048), "2 KiB"),
        (_units.figure("share", 0.5), "50 %"),
        (_units.figure("time", 1e-6), "1 µs"),
    ],
)
def test_figures_are_written_with_three_digits_and_a_unit(text, expected):
    assert text == expected
