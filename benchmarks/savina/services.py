"""Savina's concurrency benchmarks around services: barber, smokers, series, bank.

Imam and Sarkar, "Savina - An Actor Benchmark Suite", AGERE! 2014, section 3.2.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from understudy.benchmarks.savina._benchmark import Benchmark, capped
from understudy.benchmarks.savina._port import Ref, Role

if TYPE_CHECKING:
    from collections.abc import Generator

    from understudy.benchmarks.savina._port import Stage


def _busy(draw: random.Random, rate: int) -> None:
    """Wait busily for a random number of turns, `rate` on average at most."""
    for _ in range(draw.randrange(rate)):
        pass


# -- sleeping barber --


class _WaitingRoom(Role):
    def __init__(self, chairs: int, barber: Ref) -> None:
        self.chairs = chairs
        self.barber = barber
        self.waiting: deque[Ref] = deque()
        self.asleep = True

    def receive(self, message: tuple[str, Ref]) -> None:
        kind, sender = message
        if kind == "enter":
            if len(self.waiting) == self.chairs:
                sender.tell(("full", self.me))
                return
            self.waiting.append(sender)
            if self.asleep:
                self.asleep = False
                self.barber.tell((self.waiting.popleft(), self.me))
        elif self.waiting:
            self.barber.tell((self.waiting.popleft(), self.me))
        else:
            self.asleep = True


class _Barber(Role):
    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.random = random.Random(1)

    def receive(self, message: tuple[Ref, Ref]) -> None:
        customer, room = message
        customer.tell(("start", self.me))
        _busy(self.random, self.rate)
        customer.tell(("done", self.me))
        room.tell(("next", self.me))


class _Customer(Role):
    def __init__(self, factory: Ref) -> None:
        self.factory = factory
        self.sat = 0

    def receive(self, message: tuple[str, Ref]) -> None:
        kind, _ = message
        if kind == "full":
            self.factory.tell(("returned", self.me))
        elif kind == "start":
            self.sat += 1
        else:
            self.factory.tell(("cut", self.sat))
            self.exit()


class _CustomerFactory(Role):
    def __init__(self, haircuts: int, rate: int, room: Ref) -> None:
        self.haircuts = haircuts
        self.rate = rate
        self.room = room
        self.cut = self.attempts = 0
        self.random = random.Random(2)

    def receive(self, message: tuple[str, Any]) -> None:
        kind, about = message
        if kind == "start":
            for _ in range(self.haircuts):
                self.send(self.spawn(_Customer, self.me))
                _busy(self.random, self.rate)
        elif kind == "returned":
            self.send(about)
        else:
            self.cut += about
            if self.cut == self.haircuts:
                self.done((self.cut, self.attempts))

    def send(self, customer: Ref) -> None:
        self.attempts += 1
        self.room.tell(("enter", customer))


@dataclass(frozen=True)
class SleepingBarber(Benchmark, key="barber", title="Sleeping barber", category="concurrency"):
    """Customers come to a barber whose waiting room may be full; then they come again.

    Paper: 5,000 haircuts, waiting room 1,000, rates 1,000 (Imam and Sarkar, AGERE! 2014).

    Who is turned away comes again at once, and the barber's word waits behind those who do. How
    often that happens is decided by the schedule: where customers are made faster than hair is
    cut, the room fills and hundreds of thousands come in vain; where making one takes longer than
    a haircut, as with a thread for each, nobody does. `attempts` counts who came.
    """

    haircuts: int = 5_000
    room: int = 1_000
    rate: int = 1_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Fewer haircuts, and a waiting room that keeps its proportion to them."""
        haircuts = capped(budget // 12, 5_000)
        return cls(haircuts, capped(haircuts // 5, 1_000), capped(budget // 20, 1_000))

    @property
    def messages(self) -> int:
        """Enter, next customer, start, done, next, cut; more where the room was full."""
        return 6 * self.haircuts

    def begin(self, stage: Stage) -> None:
        """Open the shop."""
        room = stage.spawn(_WaitingRoom, self.room, stage.spawn(_Barber, self.rate))
        stage.spawn(_CustomerFactory, self.haircuts, self.rate, room).tell(("start", None))

    def check(self, result: Any) -> None:
        """Everybody's hair was cut once."""
        self.expect("haircuts", result[0], self.haircuts)
        self.expect("nobody came less than once", result[1] >= self.haircuts, wanted=True)

    def counted(self, result: Any) -> dict[str, int]:
        """How often a customer came: three messages each time it was in vain."""
        return {"attempts": result[1]}


# -- cigarette smokers --


class _SmokersArbiter(Role):
    def __init__(self, smokers: int, rounds: int) -> None:
        self.smokers = [self.spawn(_Smoker, self.me) for _ in range(smokers)]
        self.left = rounds
        self.random = random.Random(smokers * rounds)
        self.smoked = 0

    def receive(self, message: str) -> None:
        if message == "started":
            self.smoked += 1
            self.left -= 1
            if self.left == 0:
                self.done(self.smoked)
                return
        self.random.choice(self.smokers).tell(1 + self.random.randrange(1_000))


class _Smoker(Role):
    def __init__(self, arbiter: Ref) -> None:
        self.arbiter = arbiter

    def receive(self, turns: int) -> None:
        self.arbiter.tell("started")
        for _ in range(turns):
            pass


@dataclass(frozen=True)
class CigaretteSmokers(Benchmark, key="cigsmok", title="Cigarette smokers", category="concurrency"):
    """An arbiter lets one of many smokers go on at a time: sends to a random, idle actor.

    Paper: 200 smokers, 1,000 rounds (Imam and Sarkar, AGERE! 2014).
    """

    smokers: int = 200
    rounds: int = 1_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's smokers; its rounds fit most budgets."""
        return cls(capped(budget // 20, 200), capped(budget // 4, 1_000))

    @property
    def messages(self) -> int:
        """Two a round."""
        return 2 * self.rounds

    def begin(self, stage: Stage) -> None:
        """Start the arbiter."""
        stage.spawn(_SmokersArbiter, self.smokers, self.rounds).tell("start")

    def check(self, result: Any) -> None:
        """As many smoked as there were rounds."""
        self.expect("rounds smoked", result, self.rounds)


# -- logistic map series --


class _RateComputer(Role):
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def receive(self, term: float) -> float:
        return self.rate * term * (1 - term)


class _SeriesWorker(Role):
    def __init__(self, start: float, computer: Ref, master: Ref) -> None:
        self.term = start
        self.computer = computer
        self.master = master

    def receive(self, message: str) -> Generator[tuple[Ref, Any], Any, Any]:
        if message == "next":
            self.term = yield self.computer, self.term
        else:
            self.master.tell(self.term)


class _SeriesMaster(Role):
    def __init__(self, terms: int, series: int, rate: float, increment: float) -> None:
        self.terms = terms
        self.left = series
        self.sum = 0.0
        self.found: list[float] = []
        self.workers = [
            self.spawn(_SeriesWorker, (i + 1) * increment,
                       self.spawn(_RateComputer, rate + i * increment), self.me)
            for i in range(series)
        ]  # fmt: skip

    def receive(self, message: Any) -> None:
        if message == "start":
            for _ in range(self.terms):
                for worker in self.workers:
                    worker.tell("next")
            for worker in self.workers:
                worker.tell("get")
            return
        self.found.append(message)
        if len(self.found) == len(self.workers):
            self.done(sorted(self.found))


@dataclass(frozen=True)
class LogisticMap(Benchmark, key="logmap", title="Logistic map series", category="concurrency"):
    """Each series asks its own rate computer for the next term and waits for it.

    Paper: 25,000 terms, 10 series, start rate 3.46, increment 0.0025 (Imam and Sarkar,
    AGERE! 2014). The reply is awaited, as in the paper's synchronous variant.
    """

    terms: int = 25_000
    series: int = 10
    rate: float = 3.46
    increment: float = 0.0025

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """The paper's series, fewer terms."""
        return cls(capped(budget // 30, 25_000))

    @property
    def messages(self) -> int:
        """The order, the question and the answer for each term."""
        return 3 * self.terms * self.series + 2 * self.series

    def begin(self, stage: Stage) -> None:
        """Start the master."""
        stage.spawn(
            _SeriesMaster, self.terms, self.series, self.rate, self.increment
        ).tell("start")  # fmt: skip

    def check(self, result: Any) -> None:
        """The same terms as computed one after the other."""
        wanted = []
        for i in range(self.series):
            term, rate = (i + 1) * self.increment, self.rate + i * self.increment
            for _ in range(self.terms):
                term = rate * term * (1 - term)
            wanted.append(term)
        self.expect("last terms", result, sorted(wanted))


# -- bank transactions --


class _Account(Role):
    def __init__(self, balance: int, teller: Ref) -> None:
        self.balance = balance
        self.teller = teller

    def receive(self, message: tuple[str, Any, Any]) -> Generator[tuple[Ref, Any], Any, Any]:
        kind, amount, target = message
        if kind == "transfer":
            self.balance -= amount
            yield target, ("credit", amount, None)
            self.teller.tell(None)
        elif kind == "credit":
            self.balance += amount
        else:
            target.tell(self.balance)
        return amount


class _Teller(Role):
    def __init__(self, accounts: int, transactions: int) -> None:
        self.accounts = [self.spawn(_Account, 1_000, self.me) for _ in range(accounts)]
        self.left = transactions
        self.random = random.Random(123_456)
        self.balances: list[int] = []

    def receive(self, message: Any) -> None:
        if message == "start":
            for _ in range(self.left):
                self.transfer()
        elif message is None:
            self.left -= 1
            if self.left == 0:
                for account in self.accounts:
                    account.tell(("balance", 0, self.me))
        else:
            self.balances.append(message)
            if len(self.balances) == len(self.accounts):
                self.done(sum(self.balances))

    def transfer(self) -> None:
        # Money flows from the lower eight tenths upwards, so that no two accounts wait for
        # each other: the paper's own choice.
        lower = max(1, len(self.accounts) * 8 // 10)
        source = self.random.randrange(lower)
        target = self.random.randrange(source + 1, len(self.accounts))
        amount = 1 + self.random.randrange(100)
        self.accounts[source].tell(("transfer", amount, self.accounts[target]))


@dataclass(frozen=True)
class BankTransactions(Benchmark, key="banking", title="Bank transactions", category="concurrency"):
    """An account that sends money waits until the other has it, before its next transaction.

    Paper: 1,000 accounts, 50,000 transactions (Imam and Sarkar, AGERE! 2014). The reply is
    awaited, as in the paper's synchronous variant.
    """

    accounts: int = 1_000
    transactions: int = 50_000

    @classmethod
    def scaled(cls, budget: int) -> Self:
        """Accounts and transactions in the paper's proportion as far as it goes."""
        return cls(capped(budget // 20, 1_000, 2), capped(budget // 5, 50_000))

    @property
    def messages(self) -> int:
        """Order, credit, its answer, report for each; the balances."""
        return 4 * self.transactions + 2 * self.accounts

    def begin(self, stage: Stage) -> None:
        """Start the teller."""
        stage.spawn(_Teller, self.accounts, self.transactions).tell("start")

    def check(self, result: Any) -> None:
        """No money was made or lost."""
        self.expect("money in the bank", result, 1_000 * self.accounts)
