"""Accounts and systems for the tests of persistent actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import understudy as us

WAIT = 10.0


@us.event("tests.account.deposited", version=1)
@dataclass(frozen=True)
class Deposited:
    amount: int


@us.event("tests.account.state", version=1)
@dataclass(frozen=True)
class AccountState:
    balance: int


class Account(us.PersistentActor):
    def __init__(self) -> None:
        super().__init__()
        self.balance = 0

    def apply(self, event: Any) -> None:
        self.balance += event.amount

    def deposit(self, amount: int) -> int:
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.persist(Deposited(amount))
        return self.balance

    def deposit_then_fail(self, amount: int) -> int:
        self.persist(Deposited(amount))
        raise RuntimeError("after persist")

    def get(self) -> int:
        return self.balance

    def position(self) -> int:
        return self.last_seq


class SnapshotAccount(Account):
    snapshot_every = 10

    def snapshot(self) -> Any:
        return AccountState(self.balance)

    def restore(self, state: Any) -> None:
        self.balance = state.balance


@pytest.fixture(params=["memory", "lmdb"])
def data_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "data" if request.param == "lmdb" else None


@pytest.fixture
def open_system() -> Iterator[Callable[..., us.ActorSystem]]:
    systems: list[us.ActorSystem] = []

    def make(**options: Any) -> us.ActorSystem:
        system = us.ActorSystem("test", **options)
        systems.append(system)
        return system

    yield make
    for system in reversed(systems):
        system.stop()


@pytest.fixture
def system(open_system: Callable[..., us.ActorSystem], data_dir: Path | None) -> us.ActorSystem:
    return open_system(data_dir=data_dir)
