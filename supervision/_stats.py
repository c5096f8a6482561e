"""Counts of a whole system."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.supervision._system import ActorSystem

__all__ = ["SystemStats", "collect"]


@dataclass(frozen=True)
class SystemStats:
    """What a system has counted since its start.

    Attributes:
        messages: messages handled by users' actors, and by what users asked the system's.
        actors: actors alive now.
        restarts: incarnations that took the place of another.
        failures: failures that supervisors judged.
        dead_letters: messages that reached nobody.
        refused: what replaced incarnations still tried to do (replies, sends, appends).
        zombie_threads: threads of replaced incarnations that have not come back.
        threads: threads of the system's dispatchers.
        frozen: actors the detector found frozen.
        late_sweeps: sweeps of the detector that came late and judged nobody.
        dispatchers: of each by name: its kind, threads, handlers running, actors queued; of a
            pool also its slots, parked threads, limit of threads, throughput.

    """

    messages: int = 0
    actors: int = 0
    restarts: int = 0
    failures: int = 0
    dead_letters: int = 0
    refused: int = 0
    zombie_threads: int = 0
    threads: int = 0
    frozen: int = 0
    late_sweeps: int = 0
    dispatchers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def collect(system: ActorSystem) -> SystemStats:
    """The counts of a system, now."""
    kernel = system.runtime.stats()
    realm = system.realm
    watcher = realm.watcher
    own = system.own_messages + (0 if watcher is None else watcher.sweeps)
    return SystemStats(
        messages=max(0, kernel.messages - own),
        actors=kernel.actors,
        restarts=realm.restarts,
        failures=realm.failures,
        dead_letters=kernel.dead_letters,
        refused=kernel.refused,
        zombie_threads=kernel.zombie_threads,
        threads=kernel.threads,
        frozen=0 if watcher is None else watcher.frozen,
        late_sweeps=0 if watcher is None else watcher.judge.late_sweeps,
        dispatchers=kernel.dispatchers,
    )
