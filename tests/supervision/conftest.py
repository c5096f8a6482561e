"""Fixtures of the supervision tests, and the actors that tell what happened to them."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from understudy.supervision import ActorSystem
from understudy.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator


class Log:
    """What actors tell, in order; waiting for a line fails the test after a while."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def tell(self, line: Any) -> None:
        self._lines.put(line)

    __call__ = tell

    def take(self, count: int = 1, timeout: float = 10.0) -> list[Any]:
        """The next `count` lines."""
        return [self._lines.get(timeout=timeout) for _ in range(count)]

    def rest(self) -> list[Any]:
        """Everything told so far."""
        lines: list[Any] = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return lines

    def until(self, line: Any, timeout: float = 10.0) -> list[Any]:
        """All lines up to this one."""
        lines: list[Any] = []
        while not lines or lines[-1] != line:
            lines.append(self._lines.get(timeout=timeout))
        return lines


class Returns:
    """Waits for threads that are still in the handler of an actor that was replaced.

    To be made before they are let go.
    """

    def __init__(self, system: ActorSystem) -> None:
        self._runtime = system.runtime
        self._changed = threading.Condition()
        came_back = self._runtime.came_back

        def back(strand: Any) -> None:
            came_back(strand)
            with self._changed:
                self._changed.notify_all()

        setattr(self._runtime, "came_back", back)

    def all(self) -> None:
        """Until the last one has come back."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._runtime.zombies, 10)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def system(clock: ManualClock) -> Iterator[ActorSystem]:
    """A system in memory whose time the test moves."""
    with ActorSystem("test", clock=clock) as system:
        yield system


@pytest.fixture
def live_system() -> Iterator[ActorSystem]:
    """A system in memory on real time."""
    with ActorSystem("live") as system:
        yield system
