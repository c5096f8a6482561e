"""Who watches a run: a progress bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from understudy.benchmarks import _units
from understudy.benchmarks._libraries import LIBRARIES, SLOW
from understudy.benchmarks._scenario import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID

    from understudy.benchmarks._results import Measurement, Results
    from understudy.benchmarks._runner import Step


def outcome(step: Step, measurement: Measurement) -> str:
    """One measurement in a few words."""
    if measurement.value is None:
        return f"DNF: {measurement.cause}"
    text = _units.figure(step.scenario.metric.value, measurement.value)
    if step.scenario.metric is Metric.TIME and measurement.value > 0:
        return f"{text} ({_units.rate(1 / measurement.value, step.scenario.unit)})"
    return text


def label(step: Step) -> str:
    """Which measurement: scenario, size on a curve, library."""
    point = f" at {step.point:,}" if step.point is not None else ""
    return f"{step.scenario.name}{point} · {step.peer}"


def absent_lines(absent: dict[str, str]) -> list[str]:
    """What to say about libraries that do not take part, and how to bring them here."""
    lines = []
    for name, reason in absent.items():
        library = LIBRARIES[name]
        how = f" ({library.install})" if library.install and reason != SLOW else ""
        lines.append(f"without {library.title}: {reason}{how}")
    return lines


def cut_short(results: Results) -> list[str]:
    """What to say about a run that has not measured all it was asked for."""
    lines = []
    if results.run.get("interrupted"):
        lines.append(f"interrupted: {len(results.measurements)} measurements are kept")
    if results.run.get("left_out"):
        lines.append(
            f"out of time: {results.run['left_out']} measurements of the last rounds were left "
            "out, so that some ratios are of one round; --rounds takes them all"
        )
    return lines


class PlainWatcher:
    """One line a measurement, for logs and pipes."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._done = 0
        self._all = 0

    def began(self, results: Results, steps: Sequence[Step]) -> None:
        """Say what is left out and how much is to do."""
        self._all = len(steps)
        for line in absent_lines(results.absent):
            self._say(line)
        self._say(f"{self._all} measurements, each in its own process")

    def taking(self, step: Step) -> None:
        """Nothing: the line comes with the result."""

    def took(self, step: Step, measurement: Measurement) -> None:
        """One line."""
        self._done += 1
        self._say(f"[{self._done}/{self._all}] {label(step)}: {outcome(step, measurement)}")

    def finished(self, results: Results) -> None:
        """Say so when it was cut short."""
        for line in cut_short(results):
            self._say(line)

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class BarWatcher:
    """A bar with the measurement being taken and the time left; failures stay above it."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def began(self, results: Results, steps: Sequence[Step]) -> None:
        """Start the bar."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        for line in absent_lines(results.absent):
            self._console.print(line, style="dim", highlight=False)
        self._progress = Progress(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=len(steps))
        self._progress.start()

    def taking(self, step: Step) -> None:
        """Show what is being measured."""
        assert self._progress is not None
        assert self._task is not None
        self._progress.update(self._task, description=f"{label(step)}, round {step.round + 1}")

    def took(self, step: Step, measurement: Measurement) -> None:
        """Advance; keep a failure in sight, once."""
        assert self._progress is not None
        assert self._task is not None
        self._progress.advance(self._task)
        if measurement.cause is not None and measurement.round == step.round:
            self._console.print(
                f"{label(step)}: {outcome(step, measurement)}",
                style="yellow",
                markup=False,
                highlight=False,
            )

    def finished(self, results: Results) -> None:
        """Take the bar away."""
        assert self._progress is not None
        self._progress.stop()
        for line in cut_short(results):
            self._console.print(line, style="yellow", highlight=False)


def watcher(*, plain: bool = False) -> PlainWatcher | BarWatcher:
    """A bar where stderr is a terminal, else plain lines."""
    if plain or not sys.stderr.isatty():
        return PlainWatcher()
    return BarWatcher()
