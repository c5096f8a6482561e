"""The child process that takes one measurement: JSON in as its argument, JSON out on stdout.

Everything a library prints goes to stderr, so that stdout holds the answer alone.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from understudy.benchmarks._bench import Bench
from understudy.benchmarks._scenario import REGISTRY, SCRIPT_PREFIX, Metric, Scenario

WARM_SHARE = 20


def load(origin: str) -> None:
    """Import the module or the script that declares a scenario."""
    if not origin.endswith(".py"):
        importlib.import_module(origin)
        return
    path = Path(origin)
    name = SCRIPT_PREFIX + path.stem
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{origin} is no Python file that could be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def value_of(metric: Metric, figures: dict[str, Any]) -> float:
    """The one figure that stands for a measurement."""
    if "value" in figures:
        return float(figures["value"])
    if metric is Metric.MEDIAN:
        return float(figures["latency"]["0.5"])
    if metric is Metric.SECONDS:
        return float(figures["wall"])
    items = figures.get("items") or 1
    if metric is Metric.BYTES:
        return float(figures["rss"]) / items
    if metric is Metric.SHARE:
        return float(figures["cpu"]) / float(figures["wall"])
    return float(figures["wall"]) / items


def take(order: dict[str, Any]) -> dict[str, Any]:
    """Take the measurement an order describes and return its figures.

    Args:
        order: `scenario`, `origin`, `peer`, `size`, and optionally `budget`, `pin`, `profile`
            (a file for cProfile's statistics) and `directory` (parent of the scratch directory).
    """
    if order.get("pin") and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(order["pin"]))
    load(order["origin"])
    item = REGISTRY.get(order["scenario"])
    body = item.bodies[order["peer"]]
    if item.warm:
        small = max(1, order["size"] // WARM_SHARE)
        _one(item, body, order, small, warming=True)
    with _profiled(order.get("profile")):
        figures = _one(item, body, order, order["size"], warming=False)
    figures["value"] = value_of(item.metric, figures)
    return figures


def _one(
    item: Scenario, body: Any, order: dict[str, Any], size: int, *, warming: bool
) -> dict[str, Any]:
    del item
    scratch = tempfile.mkdtemp(prefix="understudy-bench-", dir=order.get("directory"))
    budget = int(order.get("budget") or 0)
    try:
        bench = Bench(
            order["peer"],
            size,
            warming=warming,
            directory=scratch,
            budget=max(1, budget // WARM_SHARE) if warming else budget,
        )
        body(bench)
        return bench.figures
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _profiled(path: str | None) -> Any:
    if not path:
        yield
        return
    import cProfile
    import threading

    # cProfile sees one thread; actors run on others, which get a profiler each as they start.
    mine = cProfile.Profile()
    others: list[cProfile.Profile] = []
    run = threading.Thread.run

    def profiled(thread: threading.Thread) -> None:
        own = cProfile.Profile()
        others.append(own)
        own.enable()
        try:
            run(thread)
        finally:
            own.disable()

    threading.Thread.run = profiled  # type: ignore[method-assign,assignment]  # restored below
    mine.enable()
    try:
        yield
    finally:
        mine.disable()
        threading.Thread.run = run  # type: ignore[method-assign]
        _write_profile(path, [mine, *others])


def _write_profile(path: str, profiles: list[Any]) -> None:
    import pstats

    with open(path, "w", encoding="utf-8") as out:
        table: pstats.Stats | None = None
        for profile in profiles:
            with contextlib.suppress(TypeError):  # a profile without a single call
                if table is None:
                    table = pstats.Stats(profile, stream=out)
                else:
                    table.add(profile)
        if table is not None:
            table.strip_dirs().sort_stats("tottime").print_stats(40)


def main(argv: list[str] | None = None) -> int:
    """Run the order in the last argument; 0 with figures, 1 with the cause of the failure."""
    order = json.loads((argv or sys.argv)[-1])
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if order.get("limit"):
        # Where it hangs is the most useful thing to know about a measurement that was cut off.
        faulthandler.dump_traceback_later(order["limit"], exit=False)
    try:
        figures: dict[str, Any] = take(order)
    except BaseException as error:
        figures = {
            "cause": f"{type(error).__name__}: {error}".strip(": "),
            "trace": traceback.format_exc(limit=-8),
        }
    answer.write(json.dumps(figures) + "\n")
    answer.flush()
    return 1 if "cause" in figures else 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # No teardown: thousands of threads of a peer would be joined one by one.
    os._exit(status)
