"""Two runs side by side: ratios against ratios, never a figure against a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.benchmarks import _units
from understudy.benchmarks._libraries import is_ours, title
from understudy.benchmarks._scenario import OURS
from understudy.benchmarks._tables import Table, subject

if TYPE_CHECKING:
    from understudy.benchmarks._results import Ratio, Results

# A ratio that fell by less than this is not worth a line even where the rounds were quiet.
SLACK = 0.15
# The share of the clock that CPU time must make up for it to stand for a scenario, in the least
# disturbed round of both runs.
BUSY = 0.5
# What seems to have fallen is measured again in so many rounds before it is believed.
ROUNDS = 5


@dataclass(frozen=True)
class Change:
    """One ratio in two runs: of the scenario's figure, or of the CPU time of an item."""

    scenario: str
    peer: str
    point: int | None
    before: Ratio
    after: Ratio
    cpu: bool = False

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


def changes(before: Results, after: Results, *, cpu: bool = False) -> list[Change]:
    """Every ratio of ours to another library that both runs have.

    Args:
        before: a run.
        after: another one.
        cpu: compare the CPU time of an item where that is what a scenario takes.
    """
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
            busy = cpu and all(_busy((before, after), name, p) for p in (first, peer))
            path = ("cpu",) if busy else ()
            points: list[int | None] = [*after.points(name)] or [None]
            for point in points:
                a, b = (
                    r.ratio(name, first, peer, point=point, path=path, per_item=busy)
                    for r in (before, after)
                )
                if a is not None and b is not None and a.median > 0:
                    found.append(Change(name, peer, point, a, b, busy))
    return found


def _busy(runs: tuple[Results, Results], name: str, peer: str) -> bool:
    """Whether CPU time stands for a scenario: one core, and not mostly waiting.

    Other work on the machine lengthens what passes on the clock several times over, and hardly
    the CPU time. Where a disk or a sleep is the point, the clock is.
    """
    facts = runs[0].scenarios[name]
    if not facts["pinned"] or facts["metric"] not in {"time", "seconds"}:
        return False
    return any(
        m.figures["cpu"] > BUSY * m.figures["wall"]
        for results in runs
        for m in results.of(name, peer)
        if m.value is not None and m.figures.get("cpu") and m.figures.get("wall")
    )


def comparable(before: Results, peers: tuple[str, ...]) -> dict[str, list[str]]:
    """Scenarios with a ratio of ours to one of these libraries, and those libraries."""
    found: dict[str, list[str]] = {}
    for name in before.scenarios:
        first = subject(before, name)
        points: list[int | None] = [*before.points(name)] or [None]
        there = [
            p
            for p in before.peers(name)
            if p != first
            and (p in peers or is_ours(p))
            and any(before.ratio(name, first, p, point=point) for point in points)
        ]
        if first == OURS and there:
            found[name] = there
    return found


def fallen(found: list[Change]) -> list[Change]:
    """What ours lost by more than the noise, where all libraries of a scenario say so.

    What became slower is slower beside everybody. A ratio that fell beside one library while it
    held beside another tells of that library, or of the minute in which it was measured.
    """
    held = {c.scenario for c in found if _independent(c.peer) and c.factor > 1 - SLACK / 2}
    return [c for c in found if c.fell and c.scenario not in held]


def _independent(name: str) -> bool:
    """Whether a library does not become slower together with ours."""
    return not is_ours(name) or name == "raw"


def table(found: list[Change], first: str, second: str) -> Table:
    """The changes as a table."""
    shown = Table(
        "ratios of ours",
        ["scenario", "beside", first, second, "changed by", ""],
        notes=["Each ratio was formed inside its own run; ranges are over its rounds."],
    )
    for change in found:
        name = change.scenario + (f" at {change.point:,}" if change.point is not None else "")
        name += ", CPU time" if change.cpu else ""
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
