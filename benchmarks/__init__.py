"""The benchmark harness: honest ratios between libraries, and a small kit for your own."""

from __future__ import annotations

import sys

from understudy.benchmarks._bench import Bench, WrongAnswer
from understudy.benchmarks._libraries import LIBRARIES, Library, UnknownPeer
from understudy.benchmarks._results import Measurement, NotResults, Ratio, Results
from understudy.benchmarks._runner import Options, Step, Watcher, plan, run
from understudy.benchmarks._scenario import (
    REGISTRY,
    SCRIPT_PREFIX,
    Metric,
    Registry,
    Scenario,
    UnknownScenario,
    declare,
    scenario,
)
from understudy.benchmarks._statistics import Spread, slope

__all__ = [
    "LIBRARIES",
    "REGISTRY",
    "Bench",
    "Library",
    "Measurement",
    "Metric",
    "NotResults",
    "Options",
    "Ratio",
    "Registry",
    "Results",
    "Scenario",
    "Spread",
    "Step",
    "UnknownPeer",
    "UnknownScenario",
    "Watcher",
    "WrongAnswer",
    "declare",
    "main",
    "plan",
    "run",
    "scenario",
    "slope",
]


def main(arguments: list[str] | None = None) -> None:
    """Run the scenarios that the calling script declares, with all options of the command.

    Args:
        arguments: as on a command line, such as `["--quick"]`; optional, those of the process
            if absent.

    Leaves the process with the command's exit status (0 when every measurement succeeded). Does
    nothing where the script is loaded again for its scenarios, as each measurement does, so that
    no `if __name__ == "__main__":` is needed.
    """
    if str(sys._getframe(1).f_globals.get("__name__")).startswith(SCRIPT_PREFIX):
        return
    from understudy.benchmarks.cli import run_script

    run_script(arguments)
