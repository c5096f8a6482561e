"""Which rooms and modules are below the floor of coverage, after `make coverage` has counted.

    coverage json -o - --quiet | python tests/coverage_floors.py

A room below its floor is an error. A module below it is named, so that whoever has an hour knows
where to spend it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

FLOOR = 90.0
"""Percent of lines and branches of a room that its tests must reach."""

HIGHER = {"storage": 95.0, "supervision": 95.0}


def percent(summaries: list[dict[str, Any]]) -> float:
    """Lines and branches reached, of all there are."""
    there = sum(one["num_statements"] + one["num_branches"] for one in summaries)
    reached = sum(one["covered_lines"] + one["covered_branches"] for one in summaries)
    return 100.0 * reached / there if there else 100.0


def main() -> int:
    """Tell what is below; 1 where a whole room is."""
    rooms: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for path, file in json.load(sys.stdin)["files"].items():
        rooms[path.split("/")[0]][path] = file["summary"]
    failed = 0
    for room, modules in sorted(rooms.items()):
        floor = HIGHER.get(room, FLOOR)
        whole = percent(list(modules.values()))
        failed |= whole < floor
        sign = "BELOW" if whole < floor else "of"
        sys.stdout.write(f"{room:16}{whole:6.1f} %  {sign} {floor:.0f} %\n")
        below = {path: percent([one]) for path, one in modules.items() if percent([one]) < floor}
        for path, reached in sorted(below.items(), key=lambda item: item[1]):
            sys.stdout.write(f"    {path:44}{reached:6.1f} %\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
