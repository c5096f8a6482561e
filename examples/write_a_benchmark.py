"""Use 3: write a benchmark scenario.

How fast are words counted, by `str.split` and by a regular expression? The harness
runs each peer in processes of its own, several rounds, warms up, and reports medians
with their spread.

    python examples/write_a_benchmark.py --quick
    understudy bench own --load examples/write_a_benchmark.py
"""

from __future__ import annotations

import re

from understudy.benchmarks import Bench, main, scenario

LINE = "to be or not to be that is the question"


@scenario("words/count", peers=("split", "regex"), unit="text", size=20_000)
def count(bench: Bench) -> None:
    """Counting the words of a line: what a regular expression costs."""
    find = str.split if bench.peer == "split" else re.compile(r"\w+").findall
    found = 0
    with bench.measure(items=bench.size):
        for _ in range(bench.size):
            found += len(find(LINE))
    bench.check(found == 10 * bench.size, f"{found} words were counted")


if __name__ == "__main__":
    main()
