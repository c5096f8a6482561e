"""Health: named checks with a time limit each, cached results, liveness apart from readiness."""

from __future__ import annotations

import asyncio
import enum
import inspect
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.actors import Future, Timeout
from understudy.supervision._await import await_shared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from understudy.actors import Clock

__all__ = ["CheckResult", "HealthRegistry", "HealthReport", "HealthStatus"]

logger = logging.getLogger("understudy.supervision")

TIMEOUT = 2.0
"""Seconds a check may take. Orchestrators give a probe a few seconds in all."""
TTL = 1.0
"""Seconds a result is served again, so that eager probes cost nothing."""


class HealthStatus(enum.Enum):
    """How a part, or the whole, is."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


_RANK = {HealthStatus.UP: 0, HealthStatus.DEGRADED: 1, HealthStatus.DOWN: 2}


@dataclass(frozen=True)
class CheckResult:
    """What one check said.

    Attributes:
        name: the check.
        status: its verdict; a check that raised or took too long is `DOWN`.
        detail: in words.
        seconds: how long it took.
        at: when it was asked, epoch seconds.
        live: whether it counts for liveness.
        critical: whether its being down takes the whole down, or degrades it only.

    """

    name: str
    status: HealthStatus
    detail: str = ""
    seconds: float = 0.0
    at: float = 0.0
    live: bool = False
    critical: bool = True


@dataclass(frozen=True)
class HealthReport:
    """All checks together.

    Attributes:
        status: the worst that counts: `DOWN` if a critical check is down, `DEGRADED` if any
            check is not up.
        live: whether the process should be kept; false means that a restart would help.
        ready: whether it should be given work now.
        checks: the results by name.

    """

    status: HealthStatus
    live: bool
    ready: bool
    checks: Mapping[str, CheckResult] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `/health` serves it."""
        return {
            "status": self.status.value,
            "live": self.live,
            "ready": self.ready,
            "checks": {
                name: {
                    "status": result.status.value,
                    "detail": result.detail,
                    "seconds": round(result.seconds, 6),
                    "critical": result.critical,
                    "live": result.live,
                }
                for name, result in self.checks.items()
            },
        }


class _Check:
    """One registered check and its last result."""

    __slots__ = (
        "critical", "fn", "inline", "live", "lock", "name", "pending", "result", "since",
        "timeout", "ttl", "until",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        fn: Callable[[], Any],
        *,
        timeout: float,
        ttl: float,
        live: bool,
        critical: bool,
        inline: bool,
    ) -> None:
        self.name = name
        self.fn = fn
        self.timeout = timeout
        self.ttl = ttl
        self.live = live
        self.critical = critical
        self.inline = inline
        self.result: CheckResult | None = None
        self.until = 0.0
        self.pending: Future[CheckResult] | None = None
        self.since = 0.0
        self.lock = threading.Lock()


class HealthRegistry:
    """Checks by name, asked together.

    A check is a callable, plain or async, without arguments. It returns True or None (up), False
    (down), a `HealthStatus`, a text (up, with that detail) or a pair of status and text. Raising
    means down. Each runs on a thread of its own, so that a slow one delays nobody beyond its time
    limit; one that is still running when it is asked again is not started a second time, it is
    reported as down. Thread-safe.

    Args:
        clock: the system's clock.
        spawn_thread: makes and starts a thread: `(target, name)`.

    """

    def __init__(self, clock: Clock, spawn_thread: Callable[..., Any]) -> None:
        self._clock = clock
        self._spawn_thread = spawn_thread
        self._checks: dict[str, _Check] = {}

    def register(
        self,
        name: str,
        check: Callable[[], Any] | Callable[[], Awaitable[Any]],
        *,
        timeout: float = TIMEOUT,
        ttl: float = TTL,
        live: bool = False,
        critical: bool = True,
        inline: bool = False,
    ) -> None:
        """Add a check, or replace the one with this name.

        Args:
            name: its name in reports.
            check: the callable.
            timeout: seconds it may take; optional, and if absent 2.0.
            ttl: seconds its result is served again; optional, and if absent 1.0.
            live: whether it counts for liveness too; optional, and if absent for readiness alone.
            critical: whether its being down takes the whole down; optional, and if absent it does.
            inline: a promise that the check is plain, quick and never waits: it is then called on
                the asking thread. Optional, and if absent it gets a thread.

        """
        for field_, value in (("timeout", timeout), ("ttl", ttl)):
            if not isinstance(value, (int, float)) or value < 0:
                raise ValueError(f"check {name!r}: {field_} = {value!r}; expected seconds")
        self._checks[name] = _Check(
            name,
            check,
            timeout=timeout,
            ttl=ttl,
            live=live,
            critical=critical,
            inline=inline,
        )

    def unregister(self, name: str) -> bool:
        """Remove a check; whether there was one."""
        return self._checks.pop(name, None) is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the checks, in the order of registration."""
        return tuple(self._checks)

    def report(self) -> HealthReport:
        """Ask all checks whose result is no longer fresh, and aggregate.

        Blocks the calling thread, at most for the longest time limit among the checks.
        """
        begun = [(check, self._begin(check)) for check in list(self._checks.values())]
        results = {}
        for check, future in begun:
            try:
                results[check.name] = future.get(timeout=self._left(check))
            except Timeout:
                results[check.name] = self._overdue(check)
        return _aggregate(results)

    async def report_async(self) -> HealthReport:
        """The same, without blocking the event loop."""
        begun = [(check, self._begin(check)) for check in list(self._checks.values())]
        results = {}
        for check, future in begun:
            try:
                results[check.name] = await await_shared(future, self._left(check))
            except TimeoutError:
                results[check.name] = self._overdue(check)
        return _aggregate(results)

    def _left(self, check: _Check) -> float:
        return max(0.0, check.since + check.timeout - self._clock.monotonic())

    def _overdue(self, check: _Check) -> CheckResult:
        detail = f"no answer within {check.timeout:g} s"
        return self._result(check, HealthStatus.DOWN, detail, self._clock.monotonic())

    def _result(self, check: _Check, status: HealthStatus, detail: str, now: float) -> CheckResult:
        return CheckResult(
            check.name,
            status,
            detail,
            now - check.since,
            self._clock.time(),
            check.live,
            check.critical,
        )

    def _begin(self, check: _Check) -> Future[CheckResult]:
        now = self._clock.monotonic()
        with check.lock:
            if check.pending is not None:
                return check.pending
            future: Future[CheckResult] = Future()
            if check.result is not None and now < check.until:
                future.set(check.result)
                return future
            check.since = now
            check.pending = future
        if check.inline:
            self._run(check, future)
        else:
            self._spawn_thread(lambda: self._run(check, future), f"health-{check.name}")
        return future

    def _run(self, check: _Check, future: Future[CheckResult]) -> None:
        try:
            said = check.fn()
            if inspect.isawaitable(said):
                said = asyncio.run(_awaited(said))
            status, detail = _verdict(said)
        except Exception as error:
            logger.debug("Health check %s raised", check.name, exc_info=True)
            status, detail = HealthStatus.DOWN, repr(error)
        now = self._clock.monotonic()
        result = self._result(check, status, detail, now)
        with check.lock:
            check.result = result
            check.until = now + check.ttl
            check.pending = None
        future.set(result)


async def _awaited(said: Any) -> Any:
    return await said


def _verdict(said: Any) -> tuple[HealthStatus, str]:
    if isinstance(said, tuple) and len(said) == 2 and isinstance(said[0], HealthStatus):
        return said[0], str(said[1])
    if isinstance(said, HealthStatus):
        return said, ""
    if isinstance(said, str):
        return HealthStatus.UP, said
    if said is None or said is True:
        return HealthStatus.UP, ""
    if said is False:
        return HealthStatus.DOWN, ""
    raise TypeError(
        f"a health check answered {said!r}; expected True, False, None, a text, "
        "a HealthStatus, or a pair of HealthStatus and text"
    )


def _aggregate(results: Mapping[str, CheckResult]) -> HealthReport:
    worst = HealthStatus.UP
    live = ready = True
    for result in results.values():
        status = result.status
        if status is HealthStatus.DOWN:
            if not result.critical:
                status = HealthStatus.DEGRADED
            else:
                ready = False
                live = live and not result.live
        if _RANK[status] > _RANK[worst]:
            worst = status
    return HealthReport(worst, live, ready, results)
