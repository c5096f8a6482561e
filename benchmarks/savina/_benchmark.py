"""What a Savina benchmark is, and how it becomes a scenario of the harness."""

from __future__ import annotations

import abc
import dataclasses
import time
from typing import TYPE_CHECKING, Any, ClassVar, Self

from understudy.benchmarks._bench import WrongAnswer
from understudy.benchmarks._scenario import REGISTRY, Metric, Scenario
from understudy.benchmarks.savina._stages import SAVINA_PEERS, STAGES

if TYPE_CHECKING:
    from understudy.benchmarks._bench import Bench
    from understudy.benchmarks.savina._port import Stage

LIMIT = 60.0
ALL: dict[str, type[Benchmark]] = {}


class Benchmark(abc.ABC):
    """One benchmark of Imam and Sarkar's suite; its fields default to the paper's parameters.

    A subclass is a frozen dataclass. `scaled` gives the same benchmark for a budget of messages,
    `begin` spawns and sends, `check` raises `WrongAnswer` unless the result is right.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    category: ClassVar[str]

    def __init_subclass__(cls, *, key: str, title: str, category: str) -> None:
        super().__init_subclass__()
        cls.key, cls.title, cls.category = key, title, category
        ALL[key] = cls

    @classmethod
    @abc.abstractmethod
    def scaled(cls, budget: int) -> Self:
        """The benchmark with sizes that need about `budget` messages, never above the paper's."""

    @property
    @abc.abstractmethod
    def messages(self) -> int:
        """Messages sent (at least, where it depends on the schedule), to order of magnitude."""

    @abc.abstractmethod
    def begin(self, stage: Stage) -> None:
        """Spawn the first actors and send the first messages."""

    @abc.abstractmethod
    def check(self, result: Any) -> None:
        """Raise `WrongAnswer` unless the result is right."""

    def sizes(self) -> dict[str, Any]:
        """The parameters, by name."""
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]  # subclasses are dataclasses

    def counted(self, result: Any) -> dict[str, int]:
        """What the schedule alone decides, by name: counts that differ between libraries."""
        del result
        return {}

    def expect(self, what: str, found: Any, wanted: Any) -> None:
        """Compare one part of the result."""
        if found != wanted:
            raise WrongAnswer(f"{self.key}: {what} is {found!r}, should be {wanted!r}")


def play(benchmark: Benchmark, stage: Stage, timeout: float = LIMIT) -> float:
    """Run a benchmark on a stage, check its result, and return the seconds it took."""
    begun = time.perf_counter()
    result = stage.play(benchmark.begin, timeout)
    took = time.perf_counter() - begun
    benchmark.check(result)
    return took


def declare_all(order: tuple[str, ...]) -> None:
    """Register every benchmark as a scenario, in the paper's order."""
    found = dict(ALL)
    ALL.clear()
    for key in order:
        ALL[key] = found.pop(key)
        _declare(ALL[key])
    assert not found, f"not in the paper's list: {sorted(found)}"


def _declare(cls: type[Benchmark]) -> None:
    def body(bench: Bench) -> None:
        benchmark = cls.scaled(bench.budget)
        stage = STAGES[bench.peer]()
        stage.at_end = lambda: bench.end(benchmark.messages)
        bench.begin()
        result = stage.play(benchmark.begin, LIMIT)
        benchmark.check(result)
        bench.note(sizes=benchmark.sizes(), messages=benchmark.messages)
        if counts := benchmark.counted(result):
            bench.note(counted=counts)
        if bench.warming:
            stage.close()

    item = Scenario(
        suite="savina",
        key=cls.key,
        title=cls.title,
        metric=Metric.SECONDS,
        limit=LIMIT,
        rounds=3,
        doc=cls.__doc__ or "",
        origin="understudy.benchmarks.savina",
    )
    REGISTRY.add(item).on(*SAVINA_PEERS)(body)


def capped(amount: int, paper: int, least: int = 1) -> int:
    """A size for a budget: at least `least`, never above the paper's."""
    return max(least, min(paper, amount))
