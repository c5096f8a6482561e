"""Savina's parallelism benchmarks that grow trees of actors: Fibonacci, cobwebbed tree, facilities.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.3.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from understudy.benchmarks.savina._port import Stage

# -- recursive Fibonacci --


class _Fib(Role):
    def __init__(self, parent: Ref | None) -> None:
        self.parent = parent
        self.waiting = 0
        self.sum = 0

    def receive(self, message: tuple[str, int]) -> None:
        kind, n = message
        if kind == "answer":
            self.sum += n
            self.waiting -= 1
            if self.waiting == 0:
                self.answer(self.sum)
        elif n < 2:
            self.answer(n)
        else:
            self.waiting = 2
            self.spawn(_Fib, self.me).tell(("compute", n - 1))
            self.spawn(_Fib, self.me).tell(("compute", n - 2))

    def answer(self, n: int) -> None:
        if self.parent is None:
            self.done(n)
        else:
            self.parent.tell(("answer", n))
        self.exit()


def fibonacci(n: int) -> int:
    """The n-th number, the fast way."""
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


@dataclass(frozen=True)
class Fibonacci(Benchmark, key="fib", title="Recursive Fibonacci", category="parallelism"):
    """An actor for every call of the naive recursion: births and deaths.

    Paper: n = 25, an actor per call (Imam and Sarkar, AGERE! 2014).
    """

    n: int = 25

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The largest n whose calls, two messages each, fit the budget."""
        n = 2
        while n < 25 and cls(n + 1).messages <= budget:
            n += 1
        return cls(n)

    @property
    def messages(self) -> int:
        """Two an actor."""
        return 2 * (2 * fibonacci(self.n + 1) - 1)

    def begin(self, stage: Stage) -> None:
        """Ask the first."""
        stage.spawn(_Fib, None).tell(("compute", self.n))

    def check(self, result: Any) -> None:
        """The number itself."""
        self.expect("fibonacci", result, fibonacci(self.n))


# -- unbalanced cobwebbed tree --


class _TreeRoot(Role):
    """Grants children until the tree is large enough, then has it walked."""

    def __init__(
        self, nodes: int, children: int, average: int, deviation: int, urgent: int
    ) -> None:
        self.limit = nodes
        self.children = children
        self.random = random.Random(nodes)
        self.shape = (average, deviation, urgent)
        self.nodes = 1
        self.asking: list[Ref] = []
        self.open = 1
        self.visited = self.work = 0
        self.tree = self.spawn(_TreeNode, self.me, self.cost(), 0)

    def cost(self) -> int:
        average, deviation, _ = self.shape
        return max(1, int(self.random.gauss(average, deviation)))

    def receive(self, message: tuple[str, Any]) -> None:
        kind, about = message
        if kind == "start":
            self.tree.tell(("grow", None))
        elif kind == "may I":
            self.asking.append(about)
            self.grant()
        else:
            self.visited += 1
            self.work += about
            if self.visited == self.nodes:
                self.done((self.nodes, self.work))

    def grant(self) -> None:
        """Decide for all that asked once every open node has: half get children, one at least."""
        if len(self.asking) < self.open:
            return
        asking, self.asking, self.open = self.asking, [], 0
        lucky = self.random.randrange(len(asking))
        for i, node in enumerate(asking):
            room = self.nodes + self.children <= self.limit
            if room and (i == lucky or self.random.random() < 0.5):
                urgent = self.random.randrange(100) < self.shape[2]
                which = self.random.randrange(self.children) if urgent else -1
                node.tell(("bear", ([self.cost() for _ in range(self.children)], which)))
                self.nodes += self.children
                self.open += self.children
        if self.open == 0:
            self.tree.tell(("walk", None))


class _TreeNode(Role):
    def __init__(self, root: Ref, cost: int, depth: int) -> None:
        self.root = root
        self.cost = cost
        self.depth = depth
        self.children: list[Ref] = []

    def receive(self, message: tuple[str, Any]) -> None:
        kind, about = message
        if kind == "grow":
            self.root.tell(("may I", self.me))
        elif kind == "bear":
            costs, urgent = about
            for cost in costs:
                self.children.append(self.spawn(_TreeNode, self.root, cost, self.depth + 1))
            if urgent >= 0:  # an urgent child comes before its siblings
                self.children.insert(0, self.children.pop(urgent))
            for child in self.children:
                child.tell(("grow", None))
        else:
            for child in self.children:
                child.tell(("walk", None))
            value = 0
            for i in range(self.cost):
                value += i & 1
            self.root.tell(("walked", self.cost))


@dataclass(frozen=True)
class CobwebbedTree(
    Benchmark, key="uct", title="Unbalanced cobwebbed tree", category="parallelism"
):
    """A tree grows unevenly as its root allows, then is walked, with work at every node.

    Paper: 200,000 nodes, computation 500 ± 100, binomial 10, 50 % urgent (Imam and Sarkar,
    AGERE! 2014). The root decides about a whole generation at a time, so that the same tree grows
    whatever the schedule.
    """

    nodes: int = 200_000
    average: int = 500
    deviation: int = 100
    children: int = 10
    urgent: int = 50

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Fewer nodes, the paper's work at each."""
        return cls(capped(budget // 5, 200_000, 11))

    @property
    def messages(self) -> int:
        """Grow, ask, walk, report for each node, and the grants."""
        return 4 * self.nodes + self.nodes // self.children

    def begin(self, stage: Stage) -> None:
        """Plant it."""
        stage.spawn(
            _TreeRoot, self.nodes, self.children, self.average, self.deviation, self.urgent
        ).tell(("start", None))  # fmt: skip

    def check(self, result: Any) -> None:
        """As large as allowed, and the work of every node was done once."""
        nodes, work = result
        wanted, cost = self.grown()
        self.expect("nodes", nodes, wanted)
        self.expect("work", work, cost)

    def grown(self) -> tuple[int, int]:
        """Nodes and their work, by the same draws without actors."""
        draw = random.Random(self.nodes)

        def one() -> int:
            return max(1, int(draw.gauss(self.average, self.deviation)))

        total, nodes, asking = one(), 1, 1
        while asking:
            lucky, born = draw.randrange(asking), 0
            for i in range(asking):
                room = nodes + self.children <= self.limit_of
                if room and (i == lucky or draw.random() < 0.5):
                    if draw.randrange(100) < self.urgent:
                        draw.randrange(self.children)
                    total += sum(one() for _ in range(self.children))
                    nodes += self.children
                    born += self.children
            asking = born
        return nodes, total

    @property
    def limit_of(self) -> int:
        """Nodes at most."""
        return self.nodes


# -- online facility location --

Box = tuple[float, float, float, float]
Point = tuple[float, float]


class _Quadrant(Role):
    """A square of the plane: serves its customers from known facilities, splits when dear."""

    def __init__(
        self, parent: Ref | None, owner: Ref, box: Box, depth: int, threshold: float, cutoff: int,
        facilities: list[Point], customers: list[Point],
    ) -> None:  # fmt: skip
        self.parent = parent
        self.owner = owner
        self.box = box
        self.depth = depth
        self.threshold = threshold
        self.cutoff = cutoff
        self.facilities = list(facilities)
        self.customers: list[Point] = []
        self.cost = 0.0
        self.quarters: list[Ref] = []
        self.opened = 0
        for customer in customers:
            self.serve(customer)

    def receive(self, message: tuple[str, Any]) -> None:
        kind, about = message
        if kind == "customer":
            if self.quarters:
                self.quarters[self.quarter(about)].tell(message)
            else:
                self.serve(about)
                if self.cost > self.threshold:
                    self.split()
                self.owner.tell(("next", None))
        elif kind == "facility":
            point, child = about
            self.facilities.append(point)
            if self.depth < self.cutoff:
                for ref in self.quarters:
                    if ref is not child:
                        ref.tell(("known", point))
                if child is not None and self.parent is not None:
                    self.parent.tell(("facility", (point, self.me)))
        elif kind == "known":
            self.facilities.append(about)
            if self.depth < self.cutoff:
                for ref in self.quarters:
                    ref.tell(message)
        else:
            self.owner.tell(("count", (self.opened, len(self.customers), len(self.quarters))))
            for ref in self.quarters:
                ref.tell(message)

    def serve(self, customer: Point) -> None:
        self.customers.append(customer)
        self.cost += min(math.dist(customer, facility) for facility in self.facilities)

    def quarter(self, point: Point) -> int:
        left, bottom, right, top = self.box
        return int(point[0] >= (left + right) / 2) + 2 * int(point[1] >= (bottom + top) / 2)

    def split(self) -> None:
        left, bottom, right, top = self.box
        middle = ((left + right) / 2, (bottom + top) / 2)
        self.opened = 1
        self.facilities.append(middle)
        if self.parent is not None:
            self.parent.tell(("facility", (middle, self.me)))
        x, y = middle
        boxes = [(left, bottom, x, y), (x, bottom, right, y), (left, y, x, top), (x, y, right, top)]
        parts: list[list[Point]] = [[], [], [], []]
        for customer in self.customers:
            parts[self.quarter(customer)].append(customer)
        self.quarters = [
            self.spawn(_Quadrant, self.me, self.owner, box, self.depth + 1, self.threshold,
                       self.cutoff, self.facilities, part)
            for box, part in zip(boxes, parts, strict=True)
        ]  # fmt: skip
        self.customers = []


class _Customers(Role):
    """Sends one customer after another, then counts what was built."""

    def __init__(self, points: int, grid: int, alpha: float, cutoff: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.left = points
        self.grid = grid
        box = (0.0, 0.0, float(grid), float(grid))
        middle = (grid / 2, grid / 2)
        self.root = self.spawn(
            _Quadrant, None, self.me, box, 0, alpha * math.sqrt(2) * grid, cutoff, [middle], []
        )
        self.opened = self.served = 0
        self.counting = 1

    def receive(self, message: tuple[str, Any]) -> None:
        kind, about = message
        if kind == "count":
            opened, served, quarters = about
            self.opened += opened
            self.served += served
            self.counting += quarters - 1
            if self.counting == 0:
                self.done((self.opened, self.served))
        elif self.left:
            self.left -= 1
            point = (self.random.random() * self.grid, self.random.random() * self.grid)
            self.root.tell(("customer", point))
        else:
            self.root.tell(("count", None))


@dataclass(frozen=True)
class FacilityLocation(
    Benchmark, key="facloc", title="Online facility location", category="parallelism"
):
    """Customers appear one by one; squares that become dear open a facility and split in four.

    Paper: 100,000 points, grid 500, F = √2·grid, alpha 2, cut-off depth 3, seed 123456 (Imam and
    Sarkar, AGERE! 2014). The first facility stands in the middle.
    """

    points: int = 100_000
    grid: int = 500
    alpha: float = 2.0
    cutoff: int = 3
    seed: int = 123_456

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Fewer points on the paper's grid."""
        return cls(capped(budget // 6, 100_000))

    @property
    def messages(self) -> int:
        """The next customer, and its way down a tree about four deep."""
        depth = 1 + int(math.log(1 + self.points / 20, 4))
        return self.points * (1 + depth)

    def begin(self, stage: Stage) -> None:
        """Let the first customer come."""
        stage.spawn(
            _Customers, self.points, self.grid, self.alpha, self.cutoff, self.seed
        ).tell(("next", None))  # fmt: skip

    def check(self, result: Any) -> None:
        """Every customer is served by one leaf, and the dear squares have split.

        How many facilities there are depends a little on when squares hear of each other's, so
        only its bounds are checked.
        """
        opened, served = result
        self.expect("customers served", served, self.points)
        self.expect("facilities within bounds", opened <= max(1, self.points), wanted=True)
        # The mean way to the middle of an empty square is 0.38 of its side: it must have split.
        far = self.points * 0.38 * self.grid > 2 * self.alpha * math.sqrt(2) * self.grid
        self.expect("split when dear", opened > 0 or not far, wanted=True)
