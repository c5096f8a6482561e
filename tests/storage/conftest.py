"""A journal on disk for each test, and a clock that stands until it is moved."""

from __future__ import annotations

import threading
from typing import TypeVar

import pytest

from understudy.storage import Journal, NewEvent, Record

T = TypeVar("T")

TIMEOUT = 20.0


class HandClock:
    """Epoch seconds that move only by hand."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Collector:
    """A subscriber that can be waited for."""

    def __init__(self, until: int) -> None:
        self.records: list[Record] = []
        self.until = until
        self.complete = threading.Event()

    def __call__(self, record) -> None:
        self.records.append(record)
        if len(self.records) >= self.until:
            self.complete.set()

    def wait(self) -> list[Record]:
        assert self.complete.wait(TIMEOUT), f"only {len(self.records)} of {self.until} came"
        return self.records


def events(count: int, type: str = "happened", start: int = 0, **fields) -> list[NewEvent]:
    """So many events that differ in their payload."""
    return [NewEvent(type, {"n": start + n}, **fields) for n in range(count)]


def numbered(prefix: str, *numbers: int) -> list[NewEvent]:
    """Events with ids of their writer."""
    return [NewEvent("happened", {"n": n}, id=f"{prefix}-{n}") for n in numbers]


def seqs(records) -> list[int]:
    return [record.seq for record in records]


def there(value: T | None) -> T:
    """What a test knows to be there."""
    assert value is not None
    return value


def leave_the_index_behind(journal: Journal) -> None:
    """From now on as if it had been killed: the index of its tail is not written."""
    writer = journal._core.own_writer()
    writer.checkpoint = lambda: None  # type: ignore[method-assign]  # the kill


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def journal(path):
    with Journal.open(path) as journal:
        yield journal


@pytest.fixture
def memory():
    with Journal.in_memory() as journal:
        yield journal
