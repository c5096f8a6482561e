"""The health checks every system has."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from understudy.supervision._health import HealthStatus

if TYPE_CHECKING:
    from understudy.supervision._system import ActorSystem

__all__ = ["register_checks"]

LOW_DISK = 0.05
"""Below this share of free space operators should act; chosen by feel."""
NO_DISK = 64 * 1024 * 1024
"""Below this many free bytes the journal may soon be unable to grow."""
SWEEPS = 6
"""A detector that missed this many sweeps is not at work."""


def register_checks(system: ActorSystem) -> None:
    """Register liveness of the tree, dispatchers, journal, detector and disk space."""
    health = system.health
    health.register("system", lambda: _system(system), live=True, inline=True)
    health.register("dispatchers", lambda: _dispatchers(system), inline=True)
    health.register("journal", lambda: _journal(system))
    health.register("detector", lambda: _detector(system), critical=False, inline=True)
    if system.data_dir is not None:
        health.register("disk", lambda: _disk(system))


def _system(system: ActorSystem) -> Any:
    state = system.state
    return (HealthStatus.UP if state == "running" else HealthStatus.DOWN), state


def _dispatchers(system: ActorSystem) -> Any:
    starving = list(system.runtime.starving())
    if not starving:
        return True
    names = ", ".join(f"{entry.dispatcher} ({entry.waiting} wait)" for entry in starving)
    return HealthStatus.DEGRADED, f"no thread is free on {names}"


def _journal(system: ActorSystem) -> Any:
    if system.state == "stopped":
        return HealthStatus.DOWN, "closed"
    stats = system.journal.stats()
    return HealthStatus.UP, f"position {stats.last_position}, {stats.total_streams} streams"


def _detector(system: ActorSystem) -> Any:
    watcher = system.realm.watcher
    if watcher is None:
        return HealthStatus.UP, "off"
    silent = system.clock.monotonic() - watcher.swept_at
    if silent > watcher.judge.interval * SWEEPS + 1.0:
        return HealthStatus.DOWN, f"no sweep for {silent:.1f} s"
    if watcher.suspects:
        frozen = ", ".join(sorted(watcher.suspects.values())[:5])
        return HealthStatus.DEGRADED, f"{len(watcher.suspects)} frozen: {frozen}"
    return HealthStatus.UP, f"{watcher.judge.watched} in handlers"


def _disk(system: ActorSystem) -> Any:
    usage = shutil.disk_usage(str(system.data_dir))
    detail = f"{usage.free // (1024 * 1024)} MiB of {usage.total // (1024 * 1024)} MiB free"
    if usage.free < NO_DISK:
        return HealthStatus.DOWN, detail
    if usage.free < usage.total * LOW_DISK:
        return HealthStatus.DEGRADED, detail
    return HealthStatus.UP, detail
