"""The detector's promises at its default settings and in real time.

A manual clock moves the detector in the other tests; here the seconds themselves are the promise.
Runs only where `UNDERSTUDY_STRESS_SECONDS` says for how long.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from understudy.actors import Actor, ActorBusy, ActorFrozen, ActorRestarted, Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from understudy.actors import ActorRef
    from understudy.supervision import ActorSystem

SECONDS = float(os.environ.get("UNDERSTUDY_STRESS_SECONDS", "0"))
WITHIN = 5.0

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(not SECONDS, reason="asked for by UNDERSTUDY_STRESS_SECONDS"),
]


class Freezing(Actor):
    """Hangs in the way its message says, until the test is over."""

    def __init__(self, gate: threading.Event, pipe: int) -> None:
        super().__init__()
        self.gate = gate
        self.pipe = pipe

    def on_receive(self, message: str) -> None:
        if message == "lock":
            self.gate.wait(120)
        elif message == "C call":
            os.read(self.pipe, 1)
        elif message == "loop":
            while not self.gate.is_set():
                pass


class FreezingCoroutine(Actor):
    """Its coroutine waits for what never comes."""

    async def on_receive(self, message: str) -> None:
        del message
        await asyncio.Event().wait()


class Recovered(Freezing):
    heartbeat: ClassVar[Heartbeat | None] = Heartbeat()


class RecoveredLoop(Freezing):
    heartbeat: ClassVar[Heartbeat | None] = Heartbeat(hard_limit=3.0)


class RecoveredCoroutine(FreezingCoroutine):
    heartbeat: ClassVar[Heartbeat | None] = Heartbeat()


@pytest.fixture
def ends() -> Iterator[tuple[threading.Event, int]]:
    """What lets go of all that hang, in the end."""
    gate = threading.Event()
    reading, writing = os.pipe()
    yield gate, reading
    gate.set()
    os.write(writing, b"....")
    os.close(writing)


@pytest.mark.parametrize("how", ["lock", "C call", "coroutine", "loop"])
@pytest.mark.parametrize("watched", [True, False], ids=["replaced", "reported"])
def test_what_hangs_is_met_within_five_seconds(
    live_system: ActorSystem,
    ends: tuple[threading.Event, int],
    record_property: Callable[[str, object], None],
    how: str,
    *,
    watched: bool,
) -> None:
    events: queue.SimpleQueue[tuple[float, Any]] = queue.SimpleQueue()
    kinds = (ActorRestarted,) if watched else (ActorFrozen, ActorBusy)
    live_system.events.subscribe(lambda event: events.put((time.monotonic(), event)), *kinds)
    ref: ActorRef[Any]
    if how == "coroutine":
        ref = live_system.spawn(RecoveredCoroutine if watched else FreezingCoroutine)
    elif how == "loop":
        ref = live_system.spawn(RecoveredLoop if watched else Freezing, *ends)
    else:
        ref = live_system.spawn(Recovered if watched else Freezing, *ends)
    began = time.monotonic()
    ref.tell(how)
    at, event = events.get(timeout=30)
    record_property("seconds", round(at - began, 2))
    assert event.ref is ref
    assert at - began <= WITHIN


def test_none_of_a_thousand_that_idle_work_or_wait_on_a_lease_is_suspected(
    live_system: ActorSystem, ends: tuple[threading.Event, int]
) -> None:
    class Working(Actor):
        heartbeat = Heartbeat()

        def on_receive(self, message: Any) -> int:
            if message == "work":
                sum(range(5_000))
                self.context.schedule_once(0.05, "work")
            return self.context.incarnation

    class Waiting(Actor):
        heartbeat = Heartbeat()

        def on_receive(self, message: Any) -> int:
            if message == "work":
                self.context.heartbeat(lease=SECONDS + 60)
                ends[0].wait(SECONDS + 60)
            return self.context.incarnation

    class Awaiting(Actor):
        heartbeat = Heartbeat()

        async def on_receive(self, message: Any) -> int:
            if message == "work":
                self.context.heartbeat(lease=SECONDS + 60)
                await asyncio.sleep(SECONDS)
            return self.context.incarnation

    suspected: queue.SimpleQueue[Any] = queue.SimpleQueue()
    live_system.events.subscribe(suspected.put, ActorFrozen, ActorBusy, ActorRestarted)
    idle = [live_system.spawn(Working) for _ in range(340)]
    busy = [live_system.spawn(Working) for _ in range(330)]
    waiting = [live_system.spawn(Waiting) for _ in range(130)]
    awaiting = [live_system.spawn(Awaiting) for _ in range(200)]
    refs: tuple[ActorRef[Any], ...] = (*idle, *busy, *waiting, *awaiting)
    for ref in refs[len(idle) :]:
        ref.tell("work")
    with pytest.raises(queue.Empty):
        suspected.get(timeout=SECONDS)
    ends[0].set()
    assert {ref.ask("who", timeout=60) for ref in refs} == {1}
    assert live_system.stats().frozen == 0
