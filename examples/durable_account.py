"""A persistent actor: an account whose history lives in the journal.

Three systems run one after the other on the same data directory. The second ends
with `kill -9`, in a process of its own, right after a deposit was answered: what
was answered is there when the third one starts.

    python examples/durable_account.py
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

import understudy as us


@us.event("account.deposited", version=1)
@dataclass(frozen=True)
class Deposited:
    amount: int


@us.event("account.withdrawn", version=1)
@dataclass(frozen=True)
class Withdrawn:
    amount: int


class Account(us.PersistentActor):
    """Balance of one account; its reply leaves only when the event behind it is safe."""

    snapshot_every = 100

    def __init__(self) -> None:
        super().__init__()
        self.balance = 0

    def apply(self, event: Deposited | Withdrawn) -> None:
        match event:
            case Deposited(amount=amount):
                self.balance += amount
            case Withdrawn(amount=amount):
                self.balance -= amount

    def deposit(self, amount: int) -> int:
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.persist(Deposited(amount))
        return self.balance

    def withdraw(self, amount: int) -> int:
        if amount > self.balance:
            raise ValueError(f"only {self.balance} there")
        self.persist(Withdrawn(amount))
        return self.balance

    def snapshot(self) -> int:
        return self.balance

    def restore(self, state: Any) -> None:
        self.balance = state


def open_account(system: us.ActorSystem) -> us.ActorRef[Account]:
    return system.spawn(Account, name="ada", persistence_id="account:ada")


def deposit_and_die(folder: str) -> None:
    """Deposit, see the answer, and die without a goodbye."""
    system = us.ActorSystem("bank", data_dir=folder)
    balance = open_account(system).proxy().deposit(30).get(timeout=10.0)
    print("second process: balance", balance, "- kill -9", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with us.ActorSystem("bank", data_dir=folder) as system:
            account = open_account(system).proxy()
            print("deposit 100:", account.deposit(100).get(timeout=10.0))
            print("withdraw 25:", account.withdraw(25).get(timeout=10.0))
            try:
                account.withdraw(1_000).get(timeout=10.0)
            except ValueError as error:
                print("withdraw 1000:", error)

        context = multiprocessing.get_context("spawn")
        process = context.Process(target=deposit_and_die, args=(folder,))
        process.start()
        process.join(60.0)
        print("second process ended by signal", -(process.exitcode or 0))
        sys.stdout.flush()

        with us.ActorSystem("bank", data_dir=folder) as system:
            account = open_account(system).proxy()
            print("after the kill:", account.balance.get(timeout=10.0))
            for record in system.journal.read("account:ada"):
                print(f"  {record.seq} {record.type} {record.payload}")


if __name__ == "__main__":
    main()
