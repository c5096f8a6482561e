"""What is measured: scenarios, their registry, and the decorator that makes one in ten lines."""

from __future__ import annotations

import enum
import fnmatch
import inspect
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from understudy.benchmarks._bench import Bench

    Body = Callable[["Bench"], object]

F = TypeVar("F", bound="Callable[[Bench], object]")

OURS = "understudy"
OWN = "own"
SUITES = ("kernel", "supervision", "journal", "sessions", "savina")


class Metric(enum.Enum):
    """Which figure stands for a scenario. All of them are better when lower."""

    TIME = "time"  # seconds per item
    SECONDS = "seconds"  # seconds for the whole
    MEDIAN = "median"  # median latency, seconds
    BYTES = "bytes"  # resident bytes per item
    SHARE = "share"  # fraction of a core, or an overhead as a fraction


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One thing to measure, with one body per library that can do it.

    A body takes a `Bench`, prepares, and wraps what counts into `with bench.measure(items=n)`. It
    runs in a process of its own, once small as a warm-up and once in earnest.

    Args:
        suite: the group it is listed under.
        key: its name in the group; `suite/key` is what `--scenario` matches.
        title: one line for reports.
        unit: what one item is, in the singular; optional, "message" if absent.
        metric: the figure that stands for it; optional, seconds per item if absent.
        size: items in a full run, handed to the body as `bench.size`; optional, 1 if absent.
        quick: items in a quick run; optional, a fifth of `size` if absent.
        sizes: other sizes for single peers, where one is a hundred times slower; optional.
        points: sizes of a scale curve, each measured by itself as `bench.size`; optional.
        quick_points: how many of the points a quick run measures; optional, 2 if absent.
        pinned: run on one core, as one-process libraries should; optional, True if absent.
        limit: seconds after which a measurement is cut off; optional, 60 if absent.
        warm: run the body once at a twentieth of its size first; optional, True if absent.
        rounds: at most so many rounds, where the run's own number is wrong for it; optional.
        quick_rounds: the same for a quick run; optional, as `rounds` if absent.
        doc: what it means for a user, for reports; optional, the first body's docstring.
    """

    suite: str
    key: str
    title: str
    unit: str = "message"
    metric: Metric = Metric.TIME
    size: int = 1
    quick: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    points: tuple[int, ...] = ()
    quick_points: int = 2
    pinned: bool = True
    limit: float = 60.0
    warm: bool = True
    rounds: int | None = None
    quick_rounds: int | None = None
    doc: str = ""
    origin: str = ""
    bodies: dict[str, Body] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """`suite/key`, unique in the registry."""
        return f"{self.suite}/{self.key}"

    def on(self, *peers: str) -> Callable[[F], F]:
        """Decorator: this body measures the scenario on these peers."""

        def bind(body: F) -> F:
            for peer in peers:
                self.bodies[peer] = body
            return body

        return bind

    def size_for(self, peer: str, *, quick: bool) -> int:
        """Items the body is asked for on this peer."""
        full = self.sizes.get(peer, self.size)
        if not quick:
            return full
        if self.quick is None:
            return max(1, full // 5)
        return min(full, self.quick)


class UnknownScenario(LookupError):
    """No scenario matches a name; `known` lists what there is."""

    def __init__(self, wanted: str, known: Iterable[str]) -> None:
        self.wanted = wanted
        self.known = sorted(known)
        super().__init__(
            f"no scenario matches {wanted!r}; `understudy bench list` prints all, among them: "
            + ", ".join(self.known[:8])
        )


class UnknownSuite(UnknownScenario):
    """No suite has a name; `known` lists what there is."""

    def __init__(self, wanted: str, known: Iterable[str], *, scenario: bool) -> None:
        LookupError.__init__(
            self,
            f"no suite is called {wanted!r}; there are: {', '.join(known)}"
            + (f". One scenario of a suite: --scenario {wanted}" if scenario else ""),
        )
        self.wanted = wanted
        self.known = sorted(known)


class Registry:
    """The scenarios known to this process, in the order of their declaration."""

    def __init__(self) -> None:
        self._scenarios: dict[str, Scenario] = {}

    def add(self, item: Scenario) -> Scenario:
        """Register; a second scenario of the same name replaces the first."""
        self._scenarios[item.name] = item
        return item

    def get(self, name: str) -> Scenario:
        """The scenario of that exact name, else `UnknownScenario`."""
        try:
            return self._scenarios[name]
        except KeyError:
            raise UnknownScenario(name, self._scenarios) from None

    def all(self) -> list[Scenario]:
        """Everything: our suites first, then by declaration."""
        found = list(self._scenarios.values())
        place = {name: i for i, name in enumerate(SUITES)}
        return sorted(found, key=lambda s: place.get(s.suite, len(SUITES)))

    def suites(self) -> list[str]:
        """Names of the suites, in order."""
        return list(dict.fromkeys(s.suite for s in self.all()))

    def select(self, suites: Iterable[str] = (), patterns: Iterable[str] = ()) -> list[Scenario]:
        """Scenarios of these suites whose name or key matches one of the patterns.

        No suites, or "all", means every suite, "own" those loaded from scripts; no patterns,
        every scenario. A pattern or suite that matches nothing raises `UnknownScenario`.
        """
        suites, patterns = list(suites), list(patterns)
        for suite in suites:
            if not any(_belongs(s, suite) for s in self.all()):
                named = any(_matches(s, suite) for s in self.all())
                raise UnknownSuite(suite, [*self.suites(), "all"], scenario=named)
        chosen = [s for s in self.all() if not suites or any(_belongs(s, x) for x in suites)]
        if not patterns:
            return chosen
        for pattern in patterns:
            if not any(_matches(s, pattern) for s in chosen):
                raise UnknownScenario(pattern, [s.name for s in chosen])
        return [s for s in chosen if any(_matches(s, p) for p in patterns)]


def _belongs(item: Scenario, suite: str) -> bool:
    return suite in {item.suite, "all"} or (suite == OWN and item.origin.endswith(".py"))


def _matches(item: Scenario, pattern: str) -> bool:
    return fnmatch.fnmatch(item.name, pattern) or fnmatch.fnmatch(item.key, pattern)


REGISTRY = Registry()


def declare(
    suite: str, key: str, title: str, *, origin: str | None = None, **options: object
) -> Scenario:
    """Declare a scenario whose bodies are added with `Scenario.on`.

    Args:
        suite: the group it is listed under.
        key: its name in the group.
        title: one line for reports.
        origin: module that a child imports to find the bodies; optional, the caller's if absent.
        options: the other fields of `Scenario`.
    """
    item = Scenario(
        suite=suite,
        key=key,
        title=title,
        origin=origin or _origin(sys._getframe(1).f_globals),
        **options,  # type: ignore[arg-type]  # the dataclass checks the names
    )
    return REGISTRY.add(item)


def scenario(
    name: str, *, peers: Iterable[str] = (OURS,), title: str = "", **options: object
) -> Callable[[F], F]:
    r"""Make a scenario of one function; `bench.peer` says which variant to run.

    Args:
        name: `suite/key`; without a slash the suite is called "own".
        peers: the variants to compare, in one run, in turns; the first is the subject that ratios
            are about. Names of known libraries are skipped where they are not installed.
        title: one line for reports; optional, the first line of the docstring if absent.
        options: the other fields of `Scenario`, such as `unit`, `size`, `points` or `metric`.

    Example:
        ```py
        from understudy.benchmarks import Bench, main, scenario


        @scenario("words/count", peers=("split", "regex"), unit="text", size=20_000)
        def count(bench: Bench) -> None:
            # what a regular expression costs
            find = str.split if bench.peer == "split" else re.compile(r"\w+").findall
            with bench.measure(items=bench.size):
                for _ in range(bench.size):
                    find("to be or not to be")


        main()  # the whole command: --quick, --rounds, --out, ...
        ```
    """
    suite, _, key = name.rpartition("/")

    def bind(body: F) -> F:
        doc = inspect.getdoc(body) or ""
        item = Scenario(
            suite=suite or OWN,
            key=key,
            title=title or doc.partition("\n")[0] or key,
            doc=doc,
            origin=_origin(body.__globals__),
            **options,  # type: ignore[arg-type]  # the dataclass checks the names
        )
        return REGISTRY.add(item).on(*peers)(body)

    return bind


def _origin(namespace: Mapping[str, object]) -> str:
    """Where a child process finds the scenario again: a module name, or the path of a script."""
    module = str(namespace.get("__name__", ""))
    path = namespace.get("__file__")
    if (module == "__main__" or module.startswith(SCRIPT_PREFIX)) and path:
        return str(Path(str(path)).resolve())
    return module


# Scripts given with --load are imported under this prefix, so that `__main__` blocks stay quiet.
SCRIPT_PREFIX = "_understudy_bench_"
