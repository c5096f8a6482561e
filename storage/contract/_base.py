"""How the suites get the store they test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Where the tests' time begins: 2026-01-01, a round second.
START = 1_767_225_600.0


class ContractClock:
    """Seconds since 1970, moved by hand: `clock()` reads it, `clock.advance(5)` moves it."""

    def __init__(self, start: float = START) -> None:
        self.now = start

    def __call__(self) -> float:
        """The time, epoch seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass, at once."""
        self.now += seconds


class ContractBase:
    """What all suites share: a store that is new for each test, and gone after it.

    A subclass says how to make the store; before each test it is made and initialized,
    after each it is cleared, closed and cleaned up. A class whose name begins with `Test`
    runs the tests of the suites it inherits:

        class TestMyStore(AdapterContract):
            def create_adapter(self, tmp_path, clock):
                return MyStore(tmp_path / "store", clock=clock)
    """

    def create_adapter(self, tmp_path: Path, clock: Callable[[], float]) -> Any:
        """Make the store, not yet initialized.

        Called again within a test, with the same arguments, where the test restarts the
        store: it must then find what the first one had stored.

        Args:
            tmp_path: a folder of this test alone.
            clock: seconds since 1970, to be used for times to live and time stamps.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define create_adapter(self, tmp_path, clock) and "
            "return the store to be tested"
        )

    def restart_adapter(self, adapter: Any, tmp_path: Path, clock: Callable[[], float]) -> Any:
        """Close the store and come back as a new process would; returns the new one.

        A store that cannot outlive its object overrides this and returns the old one,
        initialized again.
        """
        adapter.close()
        again = self.create_adapter(tmp_path, clock)
        again.initialize()
        return again

    def cleanup(self, adapter: Any) -> None:
        """Remove what is left of the store after it was cleared and closed. Nothing, if absent."""

    @pytest.fixture
    def clock(self) -> ContractClock:
        """The time of the test."""
        return ContractClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: ContractClock) -> Iterator[StoreUnderTest]:
        """The store and the way to restart it."""
        store = StoreUnderTest(self, tmp_path, clock)
        yield store
        store.end()

    @pytest.fixture
    def adapter(self, store: StoreUnderTest) -> Any:
        """The store, initialized."""
        return store.adapter

    @pytest.fixture
    def restart(self, store: StoreUnderTest) -> Callable[[], Any]:
        """Restarts the store and returns the new one."""
        return store.restart


class StoreUnderTest:
    """The store of one test, across its restarts."""

    def __init__(self, contract: ContractBase, tmp_path: Path, clock: ContractClock) -> None:
        self._contract = contract
        self._tmp_path = tmp_path
        self._clock = clock
        self.adapter: Any = contract.create_adapter(tmp_path, clock)
        self.adapter.initialize()

    def restart(self) -> Any:
        """Close the store and open it anew."""
        self.adapter = self._contract.restart_adapter(self.adapter, self._tmp_path, self._clock)
        return self.adapter

    def end(self) -> None:
        """Clear, close, clean up; a store the test has closed is opened for it."""
        self.adapter.initialize()
        try:
            self.adapter.clear()
        finally:
            self.adapter.close()
            self._contract.cleanup(self.adapter)
