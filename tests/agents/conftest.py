"""Systems, hosts and agents for the tests of sessions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import understudy as us

WAIT = 10.0  # seconds; a test that waits as long has failed


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


class Echo(us.Agent):
    async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
        for word in message.text.split():
            yield word + " "


class Gates:
    """Lets a test say when an agent goes on, and see where it is."""

    def __init__(self) -> None:
        self.reached: dict[str, threading.Event] = {}
        self.open: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def _event(self, kind: dict[str, threading.Event], name: str) -> threading.Event:
        with self._lock:
            return kind.setdefault(name, threading.Event())

    async def at(self, name: str) -> None:
        """The agent is here, and waits."""
        self._event(self.reached, name).set()
        gate = self._event(self.open, name)
        while not await asyncio.to_thread(gate.wait, 0.05):
            pass

    def wait(self, name: str) -> None:
        """The test waits until the agent is there."""
        assert self._event(self.reached, name).wait(WAIT), f"nobody came to {name}"

    def let(self, name: str) -> None:
        """The agent may go on."""
        self._event(self.open, name).set()


@pytest.fixture
def gates() -> Iterator[Gates]:
    made = Gates()
    yield made
    for event in made.open.values():
        event.set()


class Collector:
    """A client: the frames it was given, and a way to wait for them."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def __call__(self, frame: dict[str, Any]) -> None:
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    def until(self, ready: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        with self._changed:
            assert self._changed.wait_for(lambda: ready(self.frames), WAIT), self.frames
            return list(self.frames)

    def until_closed(self, turns: int = 1) -> list[dict[str, Any]]:
        return self.until(
            lambda frames: sum(f["type"] in ("message", "error") for f in frames) >= turns
        )


def text_of(frames: list[dict[str, Any]]) -> str:
    """What a client shows: tokens joined, dropped at a retry."""
    text = ""
    for frame in frames:
        if frame["type"] == "token":
            text += frame["value"]
        elif frame["type"] == "retry":
            text = ""
    return text


def seqs(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["seq"] for frame in frames]
