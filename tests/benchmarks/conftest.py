"""What the tests of the benchmarks share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.benchmarks import REGISTRY, Measurement, Results, worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from understudy.benchmarks import Step

SAMPLE = Path(__file__).with_name("sample.py")


@pytest.fixture(scope="session", autouse=True)
def _samples() -> None:
    worker.load(str(SAMPLE))


class Recorder:
    """A watcher that remembers, and can interrupt."""

    def __init__(self, *, interrupt_at: int | None = None) -> None:
        self.steps: list[Step] = []
        self.taken: list[Measurement] = []
        self.ended = False
        self.interrupt_at = interrupt_at
        self.on_took: Callable[[Step, Measurement], None] | None = None

    def began(self, results: Results, steps: Sequence[Step]) -> None:
        self.steps = list(steps)

    def taking(self, step: Step) -> None:
        if len(self.taken) == self.interrupt_at:
            raise KeyboardInterrupt

    def took(self, step: Step, measurement: Measurement) -> None:
        self.taken.append(measurement)
        if self.on_took is not None:
            self.on_took(step, measurement)

    def finished(self, results: Results) -> None:
        self.ended = True


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def made(values: dict[tuple[str, str], list[float]], suite: str = "kernel") -> Results:
    """Results with these figures, one a round, by (scenario, library)."""
    scenarios: dict[str, dict] = {}
    for name, peer in values:
        facts = scenarios.setdefault(
            name,
            {
                "title": name.partition("/")[2],
                "unit": "message",
                "metric": "time",
                "suite": name.partition("/")[0] or suite,
                "pinned": True,
                "doc": "What it means.",
                "peers": [],
            },
        )
        facts["peers"].append(peer)
    results = Results(
        run={"seconds": 1.5, "rounds": 3, "quick": False, "budget": 20_000, "command": "understudy bench", "pin": [0],
             "versions": {"python": "3.11"}},
        machine={"processor": "a processor", "cores": 2, "memory": 2**34, "system": "Linux",
                 "python": "CPython", "load_before": 0.1, "load_after": 0.2,
                 "noise_before": 0.01, "noise_after": 0.02},
        scenarios=scenarios,
        absent={"ray": "ray is not installed"},
    )  # fmt: skip
    for (name, peer), rounds in values.items():
        for turn, value in enumerate(rounds):
            figures = {"items": 10, "wall": value * 10, "cpu": value * 9, "rss": 4096, "blocks": 5,
                       "latency": {"0.5": value, "0.9": value * 2, "0.99": value * 3,
                                   "0.999": value * 4, "1.0": value * 5}}  # fmt: skip
            results.add(Measurement(name, peer, turn, None, value, None, figures))
    return results


@pytest.fixture
def make() -> Callable[..., Results]:
    return made


@pytest.fixture
def chosen() -> Callable[..., list]:
    return lambda *names: REGISTRY.select((), names)
