"""A run's results: one JSON file, written again after each measurement."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.benchmarks._statistics import WIDE, Spread, spread

FORMAT = 1


class NotResults(ValueError):
    """A file is not the results of a run, or of a format this version does not read."""

    def __init__(self, path: object, why: str) -> None:
        self.path = path
        super().__init__(
            f"{path} is no results file of `understudy bench`: {why}. "
            "Write one with `understudy bench --out DIR`."
        )


@dataclass
class Measurement:
    """What one child process found out.

    Attributes:
        scenario: `suite/key`.
        peer: the library.
        round: which of the interleaved rounds.
        point: size on a scale curve, or None.
        value: the figure that stands for the scenario, or None when there is none.
        cause: why there is none: an error, a wrong answer, or the time limit.
        figures: all that was measured (items, wall, cpu, rss, blocks, latency, extra).
        cut_off: whether the cause is the time limit.
    """

    scenario: str
    peer: str
    round: int
    point: int | None = None
    value: float | None = None
    cause: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    cut_off: bool = False

    def data(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        return {k: v for k, v in vars(self).items() if v is not None and v is not False}

    @classmethod
    def of(cls, data: dict[str, Any]) -> Measurement:
        """From such a dictionary."""
        return cls(**data)


@dataclass(frozen=True)
class Ratio:
    """How many times better (above 1) or worse one library did than another, round by round."""

    median: float
    low: float
    high: float
    n: int

    @property
    def meaningless(self) -> bool:
        """Whether the rounds disagree too much for the figure to be quoted."""
        return self.low <= 0 or self.high / self.low > WIDE


class Results:
    """The measurements of one run and how they came about.

    Ratios are formed inside one `Results` only, between measurements of the same round: there is
    no method that divides a figure of one run by a figure of another.
    """

    def __init__(
        self,
        run: dict[str, Any] | None = None,
        machine: dict[str, Any] | None = None,
        scenarios: dict[str, dict[str, Any]] | None = None,
        absent: dict[str, str] | None = None,
    ) -> None:
        self.run = run or {}
        self.machine = machine or {}
        self.scenarios = scenarios or {}
        self.absent = absent or {}
        self.measurements: list[Measurement] = []
        # Lines of the file, made once: a run saves after every measurement.
        self._lines: list[str] = []

    def add(self, measurement: Measurement) -> None:
        """Take one more in."""
        self.measurements.append(measurement)

    # -- reading ------------------------------------------------------------------------------

    def peers(self, scenario: str) -> list[str]:
        """Libraries with a measurement of that scenario, failed ones too, in their order."""
        return list(dict.fromkeys(m.peer for m in self.measurements if m.scenario == scenario))

    def of(self, scenario: str, peer: str, point: int | None = None) -> list[Measurement]:
        """The rounds of one scenario on one library."""
        return [
            m
            for m in self.measurements
            if m.scenario == scenario and m.peer == peer and m.point == point
        ]

    def points(self, scenario: str) -> list[int]:
        """Sizes measured on a scale curve, ascending."""
        return sorted(
            {m.point for m in self.measurements if m.scenario == scenario and m.point is not None}
        )

    def value(self, scenario: str, peer: str, point: int | None = None) -> Spread | None:
        """The figure over all rounds, or None when no round has one."""
        return spread(m.value for m in self.of(scenario, peer, point) if m.value is not None)

    def cause(self, scenario: str, peer: str, point: int | None = None) -> str | None:
        """Why a library has no figure there: the first cause, or None when it has one."""
        found = self.of(scenario, peer, point)
        if any(m.value is not None for m in found):
            return None
        return next((m.cause for m in found if m.cause), None)

    def figure(
        self, scenario: str, peer: str, *path: str, point: int | None = None
    ) -> Spread | None:
        """A figure beside the main one, by its path, as in `"latency", "0.99"`."""
        found = []
        for m in self.of(scenario, peer, point):
            here: Any = m.figures
            for step in path:
                here = here.get(step) if isinstance(here, dict) else None
            if isinstance(here, int | float) and m.value is not None:
                found.append(float(here))
        return spread(found)

    def per_item(
        self, scenario: str, peer: str, name: str, point: int | None = None
    ) -> Spread | None:
        """A figure of `figures` divided by the items of its measurement."""
        return spread(
            m.figures[name] / m.figures["items"]
            for m in self.of(scenario, peer, point)
            if m.value is not None and m.figures.get("items") and name in m.figures
        )

    def ratio(
        self,
        scenario: str,
        peer: str,
        against: str,
        *,
        other: str | None = None,
        point: int | None = None,
        path: tuple[str, ...] = (),
        per_item: bool = False,
    ) -> Ratio | None:
        """How many times better `peer` did than `against`, in the same rounds of this run.

        Args:
            scenario: `suite/key`.
            peer: the subject.
            against: what it is compared with.
            other: the scenario of `against`, where it is another one.
            point: size on a scale curve.
            path: a figure beside the main one, as for `figure`.
            per_item: divide that figure by the items of its measurement.
        """
        mine = _by_round(self.of(scenario, peer, point), path, per_item)
        theirs = _by_round(self.of(other or scenario, against, point), path, per_item)
        quotients = [theirs[r] / mine[r] for r in mine.keys() & theirs.keys() if mine[r] > 0]
        found = spread(quotients)
        return Ratio(found.median, found.low, found.high, found.n) if found else None

    def failures(self) -> list[Measurement]:
        """One measurement for each library that failed in a scenario."""
        seen: dict[tuple[str, str, int | None], Measurement] = {}
        for m in self.measurements:
            if m.cause is not None:
                seen.setdefault((m.scenario, m.peer, m.point), m)
        return list(seen.values())

    # -- the file -----------------------------------------------------------------------------

    def data(self) -> dict[str, Any]:
        """The whole as a dictionary for JSON."""
        return {**self._head(), "measurements": [m.data() for m in self.measurements]}

    def _head(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "run": self.run,
            "machine": self.machine,
            "absent": self.absent,
            "scenarios": self.scenarios,
        }

    def save(self, path: str | Path) -> None:
        """Write the file; a reader sees the old one or the new one, never half of it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        # One measurement a line: small, and a diff shows what changed.
        head = json.dumps({**self._head(), "measurements": []}, indent=1)[: -len("]\n}")]
        self._lines += [
            "  " + json.dumps(_short(m.data())) for m in self.measurements[len(self._lines) :]
        ]
        lines = ",\n".join(self._lines)
        fresh.write_text(f"{head}\n{lines}\n ]\n}}\n", encoding="utf-8")
        os.replace(fresh, path)

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a file that `save` wrote; a directory stands for its `results.json`."""
        path = Path(path)
        if path.is_dir():
            path /= "results.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotResults(path, "there is no such file") from None
        except ValueError as error:
            raise NotResults(path, f"not JSON ({error})") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise NotResults(path, f"its format is not {FORMAT}")
        try:
            results = cls(data["run"], data["machine"], data["scenarios"], data["absent"])
            results.measurements = [Measurement.of(m) for m in data["measurements"]]
        except (KeyError, TypeError) as error:
            raise NotResults(path, f"it is not whole ({type(error).__name__}: {error})") from None
        return results


def _by_round(found: list[Measurement], path: tuple[str, ...], per_item: bool) -> dict[int, float]:
    """The figure of each round; several in one round give their mean."""
    values: dict[int, list[float]] = defaultdict(list)
    for m in found:
        if m.value is None:
            continue
        here: Any = m.figures
        for step in path:
            here = here.get(step) if isinstance(here, dict) else None
        figure = here if path else m.value
        items = m.figures.get("items") if per_item else 1
        if isinstance(figure, int | float) and items:
            values[m.round].append(float(figure) / items)
    return {r: sum(v) / len(v) for r, v in values.items()}


def _short(value: Any) -> Any:
    """Floats with six digits: more is noise and makes the file twice as long."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_short(v) for v in value]
    return value
