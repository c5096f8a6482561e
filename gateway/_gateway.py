"""What the routes of one gateway share: the host, the bounds, the counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.agents import SessionHost
    from understudy.gateway._limits import Limits
    from understudy.observability import Metrics


@dataclass(slots=True)
class Traffic:
    """Counts of one gateway, written on its event loop and read at scrape time."""

    connections: int = 0
    connections_total: int = 0
    frames_in: int = 0
    frames_out: int = 0
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def opened(self) -> None:
        """Count a connection that begins."""
        self.connections += 1
        self.connections_total += 1

    def closed(self) -> None:
        """Count a connection that ended."""
        self.connections -= 1

    def refused(self, code: str) -> None:
        """Count one error told to a client."""
        self.errors[code] += 1


@dataclass(slots=True)
class Gateway:
    """The doors of one `SessionHost`; `app.state.gateway` of the application made for it."""

    host: SessionHost
    limits: Limits
    metrics: Metrics
    traffic: Traffic = field(default_factory=Traffic)
    allowed_origins: frozenset[str] = frozenset()
