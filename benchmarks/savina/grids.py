"""Savina's parallelism benchmarks on grids: all-pairs shortest path, successive over-relaxation.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.3.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from understudy.benchmarks.savina._port import Stage

# -- all-pairs shortest path --

Rows = list[list[int]]
SEED = 123_456


def graph(nodes: int, weights: int) -> Rows:
    """A complete directed graph with weights from 1 to below `weights`, 0 to itself."""
    draw = random.Random(SEED)
    return [
        [0 if i == j else 1 + draw.randrange(weights - 1) for j in range(nodes)]
        for i in range(nodes)
    ]


class _Block(Role):
    """One square of the distance matrix; each round it needs the squares of its row and column."""

    def __init__(
        self, row: int, column: int, size: int, nodes: int, rows: Rows, owner: Ref
    ) -> None:
        self.place = (row, column)
        self.size = size
        self.nodes = nodes
        self.rows = rows
        self.owner = owner
        self.neighbours: list[Ref] = []
        self.round = 0
        self.heard: dict[int, dict[tuple[int, int], Rows]] = defaultdict(dict)

    def receive(self, message: tuple[str, Any]) -> None:
        kind, about = message
        if kind == "start":
            self.neighbours = about
            self.publish()
        else:
            turn, place, rows = about
            self.heard[turn][place] = rows
        while (
            self.neighbours
            and self.round < self.nodes
            and len(self.heard[self.round]) == len(self.neighbours)
        ):
            self.relax()

    def publish(self) -> None:
        for neighbour in self.neighbours:
            neighbour.tell(("rows", (self.round, self.place, self.rows)))

    def relax(self) -> None:
        k, heard = self.round, self.heard.pop(self.round)
        (row, column), home, at = self.place, self.round // self.size, self.round % self.size
        across = self.rows if row == home else heard[home, column]
        down = self.rows if column == home else heard[row, home]
        through = across[at]
        self.rows = [
            [min(old, first + second) for old, second in zip(line, through, strict=True)]
            for line, first in zip(self.rows, [each[at] for each in down], strict=True)
        ]
        self.round = k + 1
        if self.round == self.nodes:
            self.owner.tell((self.place, self.rows))
        else:
            self.publish()


class _Distances(Role):
    def __init__(self, blocks: int) -> None:
        self.left = blocks
        self.found: dict[tuple[int, int], Rows] = {}

    def receive(self, message: tuple[tuple[int, int], Rows]) -> None:
        place, rows = message
        self.found[place] = rows
        self.left -= 1
        if self.left == 0:
            self.done(self.found)


@dataclass(frozen=True)
class AllPairsShortestPath(
    Benchmark, key="apsp", title="All-pairs shortest path", category="parallelism"
):
    """Floyd and Warshall in blocks; each round, a block hears from its row and its column.

    Paper: 300 nodes, block 50, weights below 100 (Imam and Sarkar, AGERE! 2014).
    """

    nodes: int = 300
    block: int = 50
    weights: int = 100

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Fewer nodes in four by four blocks (the paper: six by six)."""
        size = capped(budget // 400, 50)
        return cls(4 * size, size)

    @property
    def messages(self) -> int:
        """Each round, every block tells its row and its column."""
        across = self.nodes // self.block
        return self.nodes * across**2 * 2 * (across - 1)

    def begin(self, stage: Stage) -> None:
        """Cut the matrix and introduce the blocks to each other."""
        across, size = self.nodes // self.block, self.block
        whole = graph(self.nodes, self.weights)
        owner = stage.spawn(_Distances, across**2)
        blocks = {
            (r, c): stage.spawn(
                _Block, r, c, size, self.nodes,
                [line[c * size : (c + 1) * size] for line in whole[r * size : (r + 1) * size]],
                owner,
            )
            for r in range(across) for c in range(across)
        }  # fmt: skip
        for (r, c), ref in blocks.items():
            around = [b for (i, j), b in blocks.items() if (i == r) != (j == c)]
            ref.tell(("start", around))

    def check(self, result: Any) -> None:
        """The same distances as one loop computes."""
        wanted = graph(self.nodes, self.weights)
        for k in range(self.nodes):
            through = wanted[k]
            wanted = [
                [min(old, line[k] + second) for old, second in zip(line, through, strict=True)]
                for line in wanted
            ]
        size = self.block
        found = [
            [result[i // size, j // size][i % size][j % size] for j in range(self.nodes)]
            for i in range(self.nodes)
        ]
        self.expect("distances", found == wanted, wanted=True)


# -- successive over-relaxation --


def cells(size: int) -> list[list[float]]:
    """The starting values."""
    draw = random.Random(10_101_010)
    return [[draw.random() * 1e-6 for _ in range(size)] for _ in range(size)]


def around(x: int, y: int, size: int) -> list[tuple[int, int]]:
    """The neighbours of a cell, in a fixed order."""
    return [
        (i, j)
        for i, j in ((x - 1, y), (x, y - 1), (x, y + 1), (x + 1, y))
        if 0 <= i < size and 0 <= j < size
    ]


def relaxed(value: float, neighbours: list[float], omega: float) -> float:
    """One step of a cell."""
    return omega / 4 * sum(neighbours) + (1 - omega) * value


class _Cell(Role):
    """One cell; red ones and black ones take turns."""

    def __init__(
        self, place: tuple[int, int], value: float, iterations: int, omega: float, owner: Ref
    ) -> None:
        self.place = place
        self.value = value
        self.left = iterations
        self.omega = omega
        self.owner = owner
        self.neighbours: list[Ref] = []
        self.order: list[tuple[int, int]] = []
        self.heard: dict[tuple[int, int], float] = {}

    def receive(self, message: tuple[Any, Any]) -> None:
        place, about = message
        if place == "start":
            self.neighbours, self.order = about
            if sum(self.place) % 2 == 0:
                self.publish()  # red cells open the game with their starting value
        else:
            self.heard[place] = about
        if self.left and self.order and len(self.heard) == len(self.order):
            values = [self.heard[each] for each in self.order]
            self.heard = {}
            self.value = relaxed(self.value, values, self.omega)
            self.left -= 1
            self.publish()
            if self.left == 0:
                self.owner.tell((self.place, self.value))

    def publish(self) -> None:
        for neighbour in self.neighbours:
            neighbour.tell((self.place, self.value))


class _Total(Role):
    def __init__(self, count: int) -> None:
        self.left = count
        self.values: list[float] = []

    def receive(self, message: tuple[tuple[int, int], float]) -> None:
        self.values.append(message[1])
        self.left -= 1
        if self.left == 0:
            self.done(math.fsum(self.values))


@dataclass(frozen=True)
class OverRelaxation(
    Benchmark, key="sor", title="Successive over-relaxation", category="parallelism"
):
    """Every cell of a grid is an actor; red and black ones relax in turns.

    Paper: size from {20 ... 400}, 100 iterations, omega 1.25, seed 10101010 (Imam and Sarkar,
    AGERE! 2014).
    """

    size: int = 20
    iterations: int = 100
    omega: float = 1.25

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Half the paper's smallest grid, fewer iterations."""
        return cls(10, capped(budget // 400, 100))

    @property
    def messages(self) -> int:
        """A cell tells its neighbours, each iteration."""
        return 4 * self.size * (self.size - 1) * (self.iterations + 1)

    def begin(self, stage: Stage) -> None:
        """Introduce the cells to their neighbours."""
        n = self.size
        values = cells(n)
        owner = stage.spawn(_Total, n * n)
        refs = {
            (x, y): stage.spawn(_Cell, (x, y), values[x][y], self.iterations, self.omega, owner)
            for x in range(n)
            for y in range(n)
        }
        for (x, y), ref in refs.items():
            order = around(x, y, n)
            ref.tell(("start", ([refs[each] for each in order], order)))

    def check(self, result: Any) -> None:
        """The same total as two nested loops compute."""
        n, values = self.size, cells(self.size)
        for _ in range(self.iterations):
            for colour in (1, 0):
                values = [
                    [
                        relaxed(
                            values[x][y], [values[i][j] for i, j in around(x, y, n)], self.omega
                        )
                        if (x + y) % 2 == colour
                        else values[x][y]
                        for y in range(n)
                    ]
                    for x in range(n)
                ]
        self.expect("total", result, math.fsum(v for line in values for v in line))
