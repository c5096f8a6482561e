"""The health registry: time limits, caching, liveness apart from readiness."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from understudy.actors import SystemClock
from understudy.supervision import HealthRegistry, HealthStatus
from understudy.testing import ManualClock

UP, DEGRADED, DOWN = HealthStatus.UP, HealthStatus.DEGRADED, HealthStatus.DOWN


def spawn(target: Any, name: str) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()


@pytest.fixture
def registry() -> HealthRegistry:
    return HealthRegistry(ManualClock(), spawn)


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (True, UP, ""),
        (None, UP, ""),
        (False, DOWN, ""),
        ("fine", UP, "fine"),
        (DEGRADED, DEGRADED, ""),
        ((DEGRADED, "slow"), DEGRADED, "slow"),
    ],
)
def test_what_a_check_may_answer(
    registry: HealthRegistry, answer: Any, status: HealthStatus, detail: str
) -> None:
    registry.register("c", lambda: answer)
    result = registry.report().checks["c"]
    assert (result.status, result.detail) == (status, detail)


def test_an_answer_that_means_nothing_is_down_and_says_what_was_expected(
    registry: HealthRegistry,
) -> None:
    registry.register("c", lambda: 42)
    result = registry.report().checks["c"]
    assert result.status is DOWN
    assert "expected" in result.detail


def test_raising_is_down_with_the_error(registry: HealthRegistry) -> None:
    def check() -> None:
        raise OSError("disk gone")

    registry.register("c", check)
    result = registry.report().checks["c"]
    assert (result.status, result.detail) == (DOWN, "OSError('disk gone')")


def test_async_checks_are_awaited(registry: HealthRegistry) -> None:
    async def check() -> str:
        await asyncio.sleep(0)
        return "from a coroutine"

    registry.register("c", check)
    assert registry.report().checks["c"].detail == "from a coroutine"


def test_reports_can_be_awaited(registry: HealthRegistry) -> None:
    registry.register("a", lambda: True)
    registry.register("b", lambda: False, inline=True)

    async def main() -> Any:
        return await registry.report_async()

    report = asyncio.run(main())
    assert {n: c.status for n, c in report.checks.items()} == {"a": UP, "b": DOWN}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_check_over_its_time_limit_is_down_and_not_started_twice(asynchronous: bool) -> None:
    # Real time: a time limit on a thread that really waits.
    registry = HealthRegistry(SystemClock(), spawn)
    release = threading.Event()
    starts: list[int] = []

    def slow() -> bool:
        starts.append(1)
        return release.wait(30)

    registry.register("slow", slow, timeout=0.02)
    registry.register("quick", lambda: True)
    report = asyncio.run(registry.report_async()) if asynchronous else registry.report()
    assert report.checks["slow"].status is DOWN
    assert "0.02" in report.checks["slow"].detail
    assert report.checks["quick"].status is UP
    registry.report()
    assert len(starts) == 1
    release.set()


def test_results_are_served_again_for_a_while() -> None:
    clock = ManualClock()
    registry = HealthRegistry(clock, spawn)
    asked: list[int] = []
    registry.register("c", lambda: asked.append(1), ttl=1.0, inline=True)
    registry.report()
    registry.report()
    assert len(asked) == 1
    clock.advance(1.0)
    registry.report()
    assert len(asked) == 2


def test_liveness_and_readiness_are_apart(registry: HealthRegistry) -> None:
    registry.register("journal", lambda: False)
    registry.register("loop", lambda: True, live=True)
    report = registry.report()
    assert (report.status, report.live, report.ready) == (DOWN, True, False)
    registry.register("loop", lambda: False, live=True)
    assert registry.report().live is False


def test_a_check_that_is_not_critical_only_degrades(registry: HealthRegistry) -> None:
    registry.register("cache", lambda: False, critical=False)
    report = registry.report()
    assert (report.status, report.live, report.ready) == (DEGRADED, True, True)


def test_no_checks_are_no_trouble(registry: HealthRegistry) -> None:
    report = registry.report()
    assert (report.status, report.live, report.ready) == (UP, True, True)


def test_a_report_is_plain_data_too(registry: HealthRegistry) -> None:
    registry.register("a", lambda: (DEGRADED, "slow"))
    data = registry.report().as_dict()
    assert data["status"] == "degraded"
    assert data["checks"]["a"]["detail"] == "slow"


def test_checks_can_be_replaced_and_removed(registry: HealthRegistry) -> None:
    registry.register("a", lambda: False)
    registry.register("a", lambda: True)
    assert registry.names == ("a",)
    assert registry.report().status is UP
    assert registry.unregister("a")
    assert not registry.unregister("a")


@pytest.mark.parametrize(("field", "value"), [("timeout", -1), ("ttl", "soon")])
def test_limits_that_cannot_be_are_refused(
    registry: HealthRegistry, field: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=field):
        registry.register("a", lambda: True, **{field: value})
