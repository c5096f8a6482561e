"""Two runs side by side: ratios against ratios, never a figure against a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.benchmarks import _units
from understudy.benchmarks._libraries import title
from understudy.benchmarks._tables import Table, subject

if TYPE_CHECKING:
    from understudy.benchmarks._results import Ratio, Results

# A ratio that fell by less than this is not worth a line even where the rounds were quiet.
SLACK = 0.15


@dataclass(frozen=True)
class Change:
    """One ratio in two runs."""

    scenario: str
    peer: str
    point: int | None
    before: Ratio
    after: Ratio

    @property
    def factor(self) -> float:
        """The new ratio divided by the old one: below 1, it fell."""
        return self.after.median / self.before.median

    @property
    def apart(self) -> bool:
        """Whether the rounds of the two runs do not overlap, and the medians differ enough."""
        clear = self.after.high < self.before.low or self.after.low > self.before.high
        return clear and not 1 - SLACK < self.factor < 1 + SLACK

    @property
    def fell(self) -> bool:
        """Whether ours became worse beside that library by more than the noise."""
        return self.apart and self.factor < 1


def changes(before: Results, after: Results) -> list[Change]:
    """Every ratio of ours to another library that both runs have."""
    found = []
    for name in after.scenarios:
        if name not in before.scenarios:
            continue
        first = subject(after, name)
        if first != subject(before, name):
            continue
        for peer in after.peers(name):
            if peer == first:
                continue
            points: list[int | None] = [*after.points(name)] or [None]
            for point in points:
                a = before.ratio(name, first, peer, point=point)
                b = after.ratio(name, first, peer, point=point)
                if a is not None and b is not None and a.median > 0:
                    found.append(Change(name, peer, point, a, b))
    return found


def table(found: list[Change], first: str, second: str) -> Table:
    """The changes as a table."""
    shown = Table(
        "ratios of ours",
        ["scenario", "beside", first, second, "changed by", ""],
        notes=["Each ratio was formed inside its own run; ranges are over its rounds."],
    )
    for change in found:
        name = change.scenario + (f" at {change.point:,}" if change.point is not None else "")
        word = "" if not change.apart else ("fell" if change.fell else "rose")
        shown.rows.append([
            name, title(change.peer), _text(change.before), _text(change.after),
            f"{(change.factor - 1) * 100:+.0f} %", word,
        ])  # fmt: skip
    return shown


def _text(ratio: Ratio) -> str:
    return (
        f"{_units.times(ratio.median)} ({_units.digits(ratio.low)} – {_units.digits(ratio.high)})"
    )
