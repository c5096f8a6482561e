"""Savina's parallelism benchmarks that compute: trapezoid, pi, matrices.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.3.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from understudy.benchmarks.savina._port import Stage

# -- trapezoidal approximation --


def curve(x: float) -> float:
    """The paper's function."""
    return math.sin(x**3 - 1) / (x + 1) * math.sqrt(1 + math.exp(math.sqrt(2 * x)))


def area(left: float, pieces: int, width: float) -> float:
    """Sum of the trapezoids under the curve from `left` on."""
    return math.fsum(
        0.5 * (curve(left + i * width) + curve(left + (i + 1) * width)) * width
        for i in range(pieces)
    )


class _TrapezoidWorker(Role):
    def __init__(self, master: Ref) -> None:
        self.master = master

    def receive(self, message: tuple[float, int, float]) -> None:
        self.master.tell(area(*message))
        self.exit()


class _TrapezoidMaster(Role):
    def __init__(self, pieces: int, workers: int, left: float, right: float) -> None:
        self.left = workers
        self.areas: list[float] = []
        self.plan = (pieces, workers, left, right)

    def receive(self, message: Any) -> None:
        if message == "start":
            pieces, workers, left, right = self.plan
            width = (right - left) / pieces
            each = pieces // workers
            for i in range(workers):
                share = each if i < workers - 1 else pieces - each * (workers - 1)
                worker = self.spawn(_TrapezoidWorker, self.me)
                worker.tell((left + i * each * width, share, width))
            return
        self.areas.append(message)
        if len(self.areas) == self.left:
            self.done(math.fsum(self.areas))


@dataclass(frozen=True)
class Trapezoid(
    Benchmark, key="trapezoid", title="Trapezoidal approximation", category="parallelism"
):
    """Workers integrate one piece of a function each: one message out, one back, work between.

    Paper: 10,000,000 pieces, 100 workers, from 1 to 5 (Imam and Sarkar, AGERE! 2014).
    """

    pieces: int = 10_000_000
    workers: int = 100
    left: float = 1.0
    right: float = 5.0

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's workers, fewer pieces."""
        return cls(capped(budget * 3, 10_000_000, 200))

    @property
    def messages(self) -> int:
        """Two a worker."""
        return 2 * self.workers + 1

    def begin(self, stage: Stage) -> None:
        """Start the master."""
        stage.spawn(
            _TrapezoidMaster, self.pieces, self.workers, self.left, self.right
        ).tell("start")  # fmt: skip

    def check(self, result: Any) -> None:
        """The same area as computed in one piece, up to rounding."""
        wanted = area(self.left, self.pieces, (self.right - self.left) / self.pieces)
        self.expect("area agrees", math.isclose(result, wanted, abs_tol=1e-9), wanted=True)


# -- precise pi --


def _context(digits: int) -> decimal.Context:
    return decimal.Context(prec=digits + 10, Emin=-9 * 10**8)


def term(k: int, context: decimal.Context) -> decimal.Decimal:
    """The k-th term of Bailey, Borwein and Plouffe's series."""
    divide, one = context.divide, decimal.Decimal
    inner = context.subtract(divide(one(4), one(8 * k + 1)), divide(one(2), one(8 * k + 4)))
    inner = context.subtract(inner, divide(one(1), one(8 * k + 5)))
    inner = context.subtract(inner, divide(one(1), one(8 * k + 6)))
    return divide(inner, one(16**k))


class _PiWorker(Role):
    def __init__(self, digits: int) -> None:
        self.precision = _context(digits)

    def receive(self, message: tuple[int, Ref]) -> None:
        k, master = message
        master.tell((self.me, term(k, self.precision)))


class _PiMaster(Role):
    def __init__(self, workers: int, digits: int) -> None:
        self.precision = _context(digits)
        self.tolerance = decimal.Decimal(1).scaleb(-digits - 5, self.precision)
        self.workers = workers
        self.digits = digits
        self.sum = decimal.Decimal(0)
        self.asked = self.answered = 0
        self.enough = False

    def receive(self, message: Any) -> None:
        if message == "start":
            for _ in range(self.workers):
                self.ask_for(self.spawn(_PiWorker, self.digits))
            return
        worker, value = message
        self.answered += 1
        self.sum = self.precision.add(self.sum, value)
        self.enough = self.enough or value <= self.tolerance
        if not self.enough:
            self.ask_for(worker)
        elif self.answered == self.asked:
            self.done(self.sum)

    def ask_for(self, worker: Ref) -> None:
        worker.tell((self.asked, self.me))
        self.asked += 1


@dataclass(frozen=True)
class PrecisePi(Benchmark, key="piprecision", title="Precise pi", category="parallelism"):
    """Workers compute terms of a series to many digits until a term is small enough.

    Paper: 20 workers, 5,000 digits (Imam and Sarkar, AGERE! 2014).
    """

    workers: int = 20
    digits: int = 5_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Fewer digits, at most 2,000: beyond that it measures long division."""
        return cls(20, capped(budget // 10, 2_000, 20))

    @property
    def messages(self) -> int:
        """Two a term; a term brings 1.2 digits."""
        return 2 * int(self.digits / math.log10(16) + self.workers)

    def begin(self, stage: Stage) -> None:
        """Start the master."""
        stage.spawn(_PiMaster, self.workers, self.digits).tell("start")

    def check(self, result: Any) -> None:
        """Agrees with Machin's formula, computed in integers, to the last digit."""
        found = str(result)[: self.digits + 1]
        self.expect("digits of pi", found, machin(self.digits)[: self.digits + 1])


def machin(digits: int) -> str:
    """Pi to `digits` decimals by 16 arctan(1/5) - 4 arctan(1/239), in integers."""
    one: int = 10 ** (digits + 10)

    def arctan(inverse: int) -> int:
        power = total = one // inverse
        square, n, sign = inverse * inverse, 3, -1
        while power:
            power //= square
            total += sign * (power // n)
            n, sign = n + 2, -sign
        return total

    pi = str(16 * arctan(5) - 4 * arctan(239))
    return f"{pi[0]}.{pi[1:]}"


# -- recursive matrix multiplication --


class _MatrixWorker(Role):
    def __init__(self, master: Ref, a: list[list[int]], b: list[list[int]], block: int) -> None:
        self.master = master
        self.a, self.b = a, b
        self.block = block

    def receive(self, work: tuple[int, int, int, int]) -> None:
        row, inner, column, size = work
        if size * size > self.block:
            half = size // 2
            for i in (row, row + half):
                for k in (inner, inner + half):
                    for j in (column, column + half):
                        self.master.tell(("work", (i, k, j, half)))
            self.master.tell(("split", None))
            return
        columns = [
            [self.b[k][j] for k in range(inner, inner + size)] for j in range(column, column + size)
        ]
        product = [
            [sum(map(int.__mul__, part, values)) for values in columns]
            for part in (self.a[i][inner : inner + size] for i in range(row, row + size))
        ]
        self.master.tell(("product", (row, column, product)))


class _MatrixMaster(Role):
    def __init__(self, workers: int, size: int, block: int) -> None:
        self.size = size
        a = [[i] * size for i in range(size)]
        b = [list(range(size)) for _ in range(size)]
        self.product = [[0] * size for _ in range(size)]
        self.workers = [self.spawn(_MatrixWorker, self.me, a, b, block) for _ in range(workers)]
        self.sent = self.finished = 0

    def receive(self, message: tuple[str, Any]) -> None:
        kind, about = message
        if kind == "work":
            self.workers[self.sent % len(self.workers)].tell(about)
            self.sent += 1
            return
        if kind == "product":
            row, column, part = about
            for i, values in enumerate(part):
                target = self.product[row + i]
                for j, value in enumerate(values):
                    target[column + j] += value
        self.finished += 1
        if self.finished == self.sent:
            self.done(self.product)


@dataclass(frozen=True)
class MatrixMultiplication(
    Benchmark, key="recmatmul", title="Recursive matrix multiplication", category="parallelism"
):
    """A product of matrices is split in eight until blocks are small; workers take the blocks.

    Paper: 20 workers, 1,024 x 1,024, block 16,384 (Imam and Sarkar, AGERE! 2014). Blocks come
    back as messages and the master adds them up, where the paper writes into shared memory.
    """

    workers: int = 20
    size: int = 1_024
    block: int = 16_384

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """A power of two by the budget, in blocks of the paper's proportion (an eighth)."""
        size = 8
        while size < 1_024 and (size * 2) ** 3 <= budget * 30:
            size *= 2
        return cls(20, size, max(1, size * size // 64))

    @property
    def messages(self) -> int:
        """Out and back by way of the master for each block, split or multiplied."""
        depth = max(0, (self.size * self.size // self.block).bit_length() // 2)
        return sum(3 * 8**level for level in range(depth + 1))

    def begin(self, stage: Stage) -> None:
        """Hand the whole to the master."""
        master = stage.spawn(_MatrixMaster, self.workers, self.size, self.block)
        master.tell(("work", (0, 0, 0, self.size)))

    def check(self, result: Any) -> None:
        """Rows of i times columns of j: every entry is size·i·j."""
        n = self.size
        self.expect(
            "product", result == [[n * i * j for j in range(n)] for i in range(n)], wanted=True
        )
