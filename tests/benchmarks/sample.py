"""Scenarios for the tests of the harness: one that works, and some that do not."""

from __future__ import annotations

import os
import signal
import threading
import time

from understudy.benchmarks import Bench, Metric, declare, scenario


@scenario("sample/sum", peers=("loop", "builtin"), unit="number", size=1_000)
def total(bench: Bench) -> None:
    """Adding numbers up: what the interpreter's loop costs."""
    with bench.measure(items=bench.size):
        if bench.peer == "loop":
            found = 0
            for i in range(bench.size):
                found += i
        else:
            found = sum(range(bench.size))
    bench.check(found == sum(range(bench.size)), "the sum is wrong")


@scenario("sample/hang", peers=("sleeper",), limit=0.3, warm=False)
def hang(bench: Bench) -> None:
    """Never ends."""
    wait_for_ever()


def wait_for_ever() -> None:
    threading.Event().wait()


@scenario("sample/crash", peers=("raises", "killed", "exits", "wrong", "prints"), warm=False)
def crash(bench: Bench) -> None:
    """Ends in many ways."""
    if bench.peer == "raises":
        raise RuntimeError("out of threads")
    if bench.peer == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if bench.peer == "exits":
        os.write(2, b"the last words\n")
        os._exit(7)
    bench.check(bench.peer != "wrong", "two and two is five")
    print("a library that talks to stdout")  # noqa: T201  # it must not disturb the answer
    with bench.measure(items=1):
        pass


@scenario("sample/latency", peers=("clock",), metric=Metric.MEDIAN, size=50)
def call(bench: Bench) -> None:
    """Reading the clock."""
    bench.timed(time.perf_counter, bench.size)


@scenario("sample/curve", peers=("list",), points=(10, 100, 1_000), warm=False)
def curve(bench: Bench) -> None:
    """Making a list."""
    with bench.measure():
        list(range(bench.size))
    bench.note(series={"make": 1e-6 * bench.size, "bytes": 8.0})


@scenario("sample/once", peers=("list",), quick_rounds=1)
def once(bench: Bench) -> None:
    """Takes long enough for one round."""
    with bench.measure():
        list(range(bench.size))


ABSENT = declare("sample", "absent", "on a library that is not here", warm=False)


@ABSENT.on("builtin", "ray")
def absent(bench: Bench) -> None:
    with bench.measure():
        pass
