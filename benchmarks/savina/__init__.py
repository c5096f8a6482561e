"""The Savina actor benchmark suite in Python, whole.

Shams Imam and Vivek Sarkar: "Savina - An Actor Benchmark Suite: Enabling Empirical Evaluation of
Actor Libraries", AGERE! 2014. Thirty benchmarks in three categories, each written once against a
small port (`Role`, `Ref`, `Stage`) and run on Understudy, on Pykka and on asyncio queues. Names
and default parameters are the paper's; for a run they are scaled to one budget of messages, and
the sizes used are printed. Every result is checked.
"""

from __future__ import annotations

from understudy.benchmarks.savina import (
    grids,
    micro,
    numeric,
    search,
    services,
    shared,
    sorting,
    streams,
    trees,
)
from understudy.benchmarks.savina._benchmark import ALL, Benchmark, declare_all, play
from understudy.benchmarks.savina._port import Ref, Role, Stage, TooSlow
from understudy.benchmarks.savina._stages import (
    STAGES,
    AsyncioStage,
    PykkaStage,
    UnderstudyStage,
)

__all__ = [
    "ALL",
    "STAGES",
    "AsyncioStage",
    "Benchmark",
    "PykkaStage",
    "Ref",
    "Role",
    "Stage",
    "TooSlow",
    "UnderstudyStage",
    "grids",
    "micro",
    "numeric",
    "play",
    "search",
    "services",
    "shared",
    "sorting",
    "streams",
    "trees",
]

# The paper's order: micro, concurrency, parallelism.
declare_all((
    "pingpong", "count", "fjthrput", "fjcreate", "threadring", "chameneos", "big",
    "concdict", "concsll", "bndbuffer", "philosopher", "barber", "cigsmok", "logmap", "banking",
    "radixsort", "bitonicsort", "filterbank", "sieve", "uct", "facloc", "trapezoid",
    "piprecision", "recmatmul", "quicksort", "apsp", "sor", "astar", "nqueenk", "fib",
))  # fmt: skip
