"""Savina's parallelism benchmarks that search: A*, N-queens.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.3.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from understudy.benchmarks.savina._port import Stage

# -- A* search --

Node = int


def neighbours(grid: int) -> list[list[Node]]:
    """A cube of `grid` cubed nodes; each knows its next ones along the axes, some the diagonal."""
    draw = random.Random(123_456)
    found = []
    for node in range(grid**3):
        x, y, z = node % grid, node // grid % grid, node // grid**2
        here = [
            (i * grid + j) * grid + k
            for i, j, k in ((z, y, x + 1), (z, y + 1, x), (z + 1, y, x))
            if max(i, j, k) < grid
        ]
        if max(x, y, z) + 1 < grid and draw.random() < 0.2:
            here.append(((z + 1) * grid + y + 1) * grid + x + 1)
        found.append(here)
    return found


def distance(node: Node, target: Node, grid: int) -> int:
    """Steps along the axes from node to target: what guides the search."""
    return sum(
        abs(a // grid**axis % grid - b // grid**axis % grid)
        for axis in range(3)
        for a, b in ((node, target),)
    )


class _Guide(Role):
    """Hands nodes to workers and owns the table of who was reached from where."""

    def __init__(self, workers: int, grid: int, threshold: int, priorities: int) -> None:
        self.edges = neighbours(grid)
        self.parents: dict[Node, Node] = {0: 0}
        target = grid**3 - 1
        self.workers = [
            self.spawn(_Seeker, self.me, self.edges, self.parents, target, grid, threshold,
                       priorities)
            for _ in range(workers)
        ]  # fmt: skip
        self.sent = self.finished = 0
        self.target = target

    def receive(self, message: tuple[str, Node]) -> None:
        kind, node = message
        if kind == "work":
            self.workers[self.sent % len(self.workers)].tell(node)
            self.sent += 1
            return
        self.finished += 1
        if self.finished == self.sent:
            self.done(self.way())

    def way(self) -> list[Node]:
        path = [self.target]
        while path[-1] != 0:
            path.append(self.parents[path[-1]])
        return path[::-1]


class _Seeker(Role):
    """Expands the nearest nodes first, a threshold of them, and sends the rest back."""

    def __init__(
        self, guide: Ref, edges: list[list[Node]], parents: dict[Node, Node], target: Node,
        grid: int, threshold: int, priorities: int,
    ) -> None:  # fmt: skip
        self.guide = guide
        self.edges = edges
        self.parents = parents
        self.target = target
        self.grid = grid
        self.threshold = threshold
        self.priorities = priorities

    def receive(self, start: Node) -> None:
        queue = [(self.rank(start), start)]
        expanded = 0
        while queue and expanded < self.threshold:
            _, node = heapq.heappop(queue)
            expanded += 1
            for following in self.edges[node]:
                # setdefault is one step under the interpreter lock: the first to come is parent.
                if following != 0 and self.parents.setdefault(following, ~node) == ~node:
                    self.parents[following] = node
                    heapq.heappush(queue, (self.rank(following), following))
        for _, node in queue:
            self.guide.tell(("work", node))
        self.guide.tell(("done", start))

    def rank(self, node: Node) -> int:
        return min(self.priorities - 1, distance(node, self.target, self.grid))


@dataclass(frozen=True)
class AStar(Benchmark, key="astar", title="A* search", category="parallelism"):
    """Workers search a cube from one corner to the other, nearest nodes first.

    Paper: 20 workers, grid 30, threshold 1,024, 30 priorities (Imam and Sarkar, AGERE! 2014). The
    table of parents is shared, as in the paper.
    """

    workers: int = 20
    grid: int = 30
    threshold: int = 1_024
    priorities: int = 30

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """A cube by the budget; the threshold keeps its proportion to the cube."""
        grid = capped(round((budget / 2) ** (1 / 3)), 30, 3)
        return cls(20, grid, capped(1_024 * grid**3 // 30**3, 1_024, 2))

    @property
    def messages(self) -> int:
        """Two for each piece of work; a third of the nodes come back, roughly."""
        return 2 * max(1, self.grid**3 // 3)

    def begin(self, stage: Stage) -> None:
        """Start from the first corner."""
        guide = stage.spawn(_Guide, self.workers, self.grid, self.threshold, self.priorities)
        guide.tell(("work", 0))

    def check(self, result: Any) -> None:
        """A way along edges from corner to corner."""
        edges = neighbours(self.grid)
        self.expect("start", result[0], 0)
        self.expect("target", result[-1], self.grid**3 - 1)
        steps = all(b in edges[a] for a, b in itertools.pairwise(result))
        self.expect("steps along edges", steps, wanted=True)


# -- N-queens --

# How many ways there are to place n queens, from n = 0 (OEIS A000170).
SOLUTIONS = (1, 1, 0, 0, 2, 10, 4, 40, 92, 352, 724, 2_680, 14_200)

Board = tuple[int, ...]


def free(board: Board, column: int) -> bool:
    """Whether a queen may stand there in the next row."""
    row = len(board)
    return all(column != other and abs(column - other) != row - i for i, other in enumerate(board))


def count(board: Board, size: int) -> int:
    """Solutions that begin with this board."""
    if len(board) == size:
        return 1
    return sum(count((*board, c), size) for c in range(size) if free(board, c))


class _QueensMaster(Role):
    def __init__(self, size: int, workers: int, threshold: int, limit: int) -> None:
        self.workers = [self.spawn(_QueensWorker, self.me, size, threshold) for _ in range(workers)]
        self.limit = limit
        self.sent = self.finished = self.solutions = 0

    def receive(self, message: tuple[str, Any]) -> None:
        kind, about = message
        if kind == "work":
            # Past the limit no more work is handed out, only what is under way ends.
            if self.solutions < self.limit:
                self.workers[self.sent % len(self.workers)].tell(about)
                self.sent += 1
        else:
            self.solutions += about
            self.finished += 1
        if self.finished == self.sent:
            self.done(self.solutions)


class _QueensWorker(Role):
    def __init__(self, master: Ref, size: int, threshold: int) -> None:
        self.master = master
        self.size = size
        self.threshold = threshold

    def receive(self, board: Board) -> None:
        found = 0
        if len(board) >= self.threshold:
            found = count(board, self.size)
        else:
            for column in range(self.size):
                if free(board, column):
                    self.master.tell(("work", (*board, column)))
        self.master.tell(("done", found))


@dataclass(frozen=True)
class NQueens(
    Benchmark, key="nqueenk", title="N-queens, first k solutions", category="parallelism"
):
    """Boards are handed out row by row, finished by the worker below a threshold.

    Paper: size 12, 20 workers, threshold 4, limit 1,500,000 (Imam and Sarkar, AGERE! 2014).
    """

    size: int = 12
    workers: int = 20
    threshold: int = 4
    limit: int = 1_500_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """A smaller board; the work grows eightfold with each line."""
        return cls(9 if budget >= 100_000 else 8 if budget >= 4_000 else 6)

    @property
    def messages(self) -> int:
        """Three for each board down to the threshold."""
        boards = layer = 1
        level: list[Board] = [()]
        for _ in range(self.threshold):
            level = [(*b, c) for b in level for c in range(self.size) if free(b, c)]
            layer = len(level)
            boards += layer
        return 3 * boards

    def begin(self, stage: Stage) -> None:
        """Hand out the empty board."""
        master = stage.spawn(_QueensMaster, self.size, self.workers, self.threshold, self.limit)
        master.tell(("work", ()))

    def check(self, result: Any) -> None:
        """As many as mathematicians have counted."""
        self.expect("solutions", result, SOLUTIONS[self.size])
