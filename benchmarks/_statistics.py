"""Medians, spreads, percentiles and slopes: the few figures a report is made of."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Drawn as the latency curve: enough points for a smooth line, few enough for a JSON file.
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0)

# Above this, the slowest round took half as long again as the fastest one and a quotient of two
# such figures says more about the machine than about the libraries. Chosen by feel.
WIDE = 1.5


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some rounds; `n` is how many there were."""

    median: float
    low: float
    high: float
    n: int

    @property
    def wide(self) -> bool:
        """Whether the rounds lie too far apart for a ratio to mean much."""
        return self.low <= 0 or self.high / self.low > WIDE


def spread(values: Iterable[float]) -> Spread | None:
    """Summarise rounds; None when there were none."""
    found = sorted(values)
    if not found:
        return None
    return Spread(statistics.median(found), found[0], found[-1], len(found))


def quantile(ordered: Sequence[float], q: float) -> float:
    """The value at fraction `q` of an ascending sequence (nearest rank, no interpolation)."""
    if not ordered:
        raise ValueError("no samples: record at least one latency before asking for a quantile")
    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered)) - 1))]


def latency(samples: Iterable[float]) -> dict[str, float]:
    """Percentiles of latencies in seconds, keyed by quantile ("0.5", "0.99", ..., "1.0")."""
    ordered = sorted(samples)
    return {str(q): quantile(ordered, q) for q in QUANTILES}


def slope(points: Iterable[tuple[float, float]]) -> float | None:
    """Exponent of the power law through the points (least squares on logarithms).

    0 means the cost does not depend on the size, 1 that it grows in proportion. None with fewer
    than two usable points.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    return statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope
