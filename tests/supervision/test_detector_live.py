"""The failure detector on real threads and coroutines, with time by hand.

The clock of these tests is manual: five seconds pass in a few sweeps. What must be real is the
thread that stands still, since its CPU clock, its stack and its fencing are what is tested.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from tests.supervision.actors import Family, child
from tests.supervision.conftest import Returns
from understudy.actors import (
    Actor,
    ActorBusy,
    ActorDeadError,
    ActorFailed,
    ActorFrozen,
    ActorRestarted,
    ActorStopped,
    DispatcherStarved,
    Heartbeat,
)
from understudy.actors._runtime import Runtime, Starving
from understudy.actors._strand import Strand
from understudy.supervision import (
    ActorSystem,
    ChildSpec,
    FrozenActor,
    HealthStatus,
    OneForOne,
    Pulse,
    Verdict,
)

if TYPE_CHECKING:
    from tests.supervision.conftest import Log
    from understudy.testing import ManualClock


def sweep(system: ActorSystem, clock: ManualClock, seconds: float) -> None:
    """Let time pass half a second at a time; after each the detector has looked."""
    detector = system.lookup("/watch/detector")
    assert detector is not None
    for _ in range(round(seconds / 0.5)):
        clock.advance(0.5)
        detector.ask("have you looked?")


class Hanging(Actor):
    """Waits for a gate when told to; else answers with its incarnation."""

    heartbeat: ClassVar[Heartbeat | None] = Heartbeat()

    def __init__(self, log: Log, gate: threading.Event) -> None:
        super().__init__()
        self.log = log
        self.gate = gate

    def on_receive(self, message: Any) -> Any:
        if message == "hang":
            self.log("hangs")
            self.gate.wait(60)
            self.log("woke up")
            return "late"
        if callable(message):
            return message(self)
        return self.context.incarnation


class Unwatched(Hanging):
    heartbeat = None


@pytest.fixture
def gate() -> Any:
    """Opened at the end, so that no thread outlives its test."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.mark.conformance(124)
def test_a_thread_that_hangs_is_replaced_within_five_seconds_behind_its_ref(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    events: list[Any] = []
    system.events.subscribe(events.append, ActorFrozen, ActorFailed, ActorRestarted)
    ref = system.spawn(Hanging, log, gate)
    ref.tell("hang")
    answer = ref.ask("who", block=False)
    log.take()
    sweep(system, clock, 3.5)
    assert events == []
    sweep(system, clock, 1.5)
    assert answer.get(timeout=10) == 2  # what waited in the mailbox was kept
    frozen, failed, restarted = events
    assert (frozen.ref, frozen.incarnation, frozen.message) == (ref, 1, "hang")
    assert frozen.action == "restart"
    assert 4.0 <= frozen.seconds <= 5.0
    assert "self.gate.wait(60)" in frozen.stack
    assert isinstance(failed.cause, FrozenActor)
    assert (failed.phase, failed.cause.depth) == ("frozen", 1)
    assert (restarted.ref, restarted.incarnation) == (ref, 2)


@pytest.mark.conformance(126)
def test_what_a_replaced_incarnation_still_does_is_refused_and_counted(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    class Stubborn(Hanging):
        def on_receive(self, message: Any) -> Any:
            try:
                return super().on_receive(message)
            except BaseException:  # the exception that was to unwind it
                self.log("goes on")
                return "late"

    ref = system.spawn(Stubborn, log, gate)
    late = ref.ask("hang", block=False)
    log.take()
    sweep(system, clock, 5)
    with pytest.raises(ActorDeadError, match="replaced"):
        late.get(timeout=10)
    assert system.stats().zombie_threads == 1
    refused, returns = system.stats().refused, Returns(system)
    gate.set()
    assert log.take() == ["goes on"]
    returns.all()
    assert system.stats().refused > refused


def ends_of(system: ActorSystem, ref: Any) -> threading.Event:
    """Set once the actor has ended."""
    ended = threading.Event()
    system.events.subscribe(lambda event: ended.set() if event.ref == ref else None, ActorStopped)
    return ended


def wait_for(fact: Any) -> None:
    """Look at a fact that another thread is about to make true, for a bounded number of looks."""
    turn = threading.Event()
    for _ in range(2000):
        if fact():
            return
        turn.wait(0.005)
    raise AssertionError("it never came true")


def test_without_a_heartbeat_it_is_only_reported(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    events: list[Any] = []
    system.events.subscribe(events.append, ActorFrozen, ActorRestarted)
    ref = system.spawn(Unwatched, log, gate)
    ref.tell("hang")
    log.take()
    sweep(system, clock, 30)
    [frozen] = events
    assert (frozen.ref, frozen.action) == (ref, "alert")
    assert system.stats().frozen == 1
    result = system.health.report().checks["detector"]
    assert result.status is HealthStatus.DEGRADED
    assert ref.path in result.detail
    assert system.realm.watcher.verdict(ref) is Verdict.FROZEN
    assert [node.state for node in system.tree().walk() if node.path == ref.path] == ["frozen"]
    gate.set()
    log.take()
    ref.ask("who")
    sweep(system, clock, 6)  # longer than the result of a check is kept
    assert system.health.report().checks["detector"].status is HealthStatus.UP


@pytest.mark.parametrize("lease", ["heartbeat", "deadline", "rule"])
def test_a_lease_keeps_a_waiting_actor_from_suspicion(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event, lease: str
) -> None:
    class Leasing(Hanging):
        heartbeat = Heartbeat(lease=60) if lease == "rule" else Heartbeat()

        def on_receive(self, message: Any) -> Any:
            if message == "hang" and lease == "heartbeat":
                self.context.heartbeat(lease=60)
            return super().on_receive(message)

    ref = system.spawn(Leasing, log, gate)
    if lease == "deadline":
        ref.ask("hang", block=False, timeout=60)
    else:
        ref.tell("hang")
    log.take()
    sweep(system, clock, 50)
    assert ref.incarnation == 1
    assert system.stats().frozen == 0
    assert system.realm.watcher.verdict(ref) is Verdict.WAITING


def test_a_frozen_actor_costs_its_supervisor_budget_and_a_replaced_one_does_not(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    cases: tuple[tuple[Literal["replace", "restart"], bool], ...] = (
        ("replace", True),
        ("restart", False),
    )
    for action, survives in cases:
        spec = ChildSpec("a", Hanging, args=(log, gate), heartbeat=Heartbeat(on_frozen=action))
        sup = system.spawn(Family, spec, strategy=OneForOne(intensity=0), restart="temporary")
        ended = ends_of(system, sup)
        ref = child(sup, "a")
        ref.tell("hang")
        log.take()
        sweep(system, clock, 5)
        if survives:
            assert ref.ask("who", timeout=10) == 2
        else:
            assert ended.wait(10)


def test_an_endless_loop_is_recovered_past_its_hard_limit_and_unwound(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    class Looping(Actor):
        heartbeat = Heartbeat(hard_limit=3.0)

        def on_receive(self, message: Any) -> Any:
            if message != "loop":
                return self.context.incarnation
            log("loops")
            turns = 0
            try:
                while True:
                    turns += 1
            finally:
                log("unwound")

    returns = Returns(system)
    ref = system.spawn(Looping)
    ref.tell("loop")
    log.take()
    sweep(system, clock, 3.5)
    assert ref.ask("who", timeout=10) == 2
    assert log.take() == ["unwound"]
    returns.all()


def test_a_tracer_does_not_hang_on_what_waits_for_a_frozen_thread(
    clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    before = threading.gettrace()
    threading.settrace(lambda *event: None)  # as a debugger does
    try:
        with ActorSystem("traced", clock=clock) as system:
            ref = system.spawn(Hanging, log, gate)
            ref.tell("hang")
            log.take()
            sweep(system, clock, 7)
            assert ref.ask("who", timeout=10) == 2
            assert system.stats().zombie_threads == 1
    finally:
        threading.settrace(before)


def test_what_was_to_unwind_a_handler_does_not_hit_the_next_one_of_its_thread() -> None:
    runtime = Runtime()
    strand = Strand(runtime)
    strand.own = True
    runtime.unwind(strand)  # not written off: left alone
    runtime.fenced(strand)
    runtime.unwind(strand)  # this very thread: takes it at once
    runtime.came_back(strand)
    assert not strand.zombie
    assert runtime.stats().zombie_threads == 0
    for _ in range(1000):  # an exception still waiting would come here
        pass


@pytest.mark.conformance(125)
def test_a_busy_actor_is_reported_once_and_left_alone(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    ticks = threading.Semaphore(0)
    stop = threading.Event()

    class Busy(Actor):
        heartbeat = Heartbeat()

        def on_receive(self, message: Any) -> Any:
            log("busy")
            while not stop.is_set():
                sum(range(20_000))  # more CPU than counts as standing still
                ticks.release()

    events: list[Any] = []
    system.events.subscribe(events.append, ActorBusy, ActorFrozen)
    ref = system.spawn(Busy)
    ref.tell("work")
    log.take()
    for _ in range(20):
        while ticks.acquire(blocking=False):
            pass
        for _ in range(10):
            assert ticks.acquire(timeout=10)  # it has really worked since the last sweep
        sweep(system, clock, 0.5)
    stop.set()
    [event] = events
    assert isinstance(event, ActorBusy)
    assert event.ref is ref
    assert event.cpu_seconds is not None
    assert event.cpu_seconds > 0
    assert ref.incarnation == 1


def test_a_coroutine_that_never_returns_is_cancelled_and_replaced(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    class Stuck(Actor):
        heartbeat = Heartbeat()

        async def on_receive(self, message: Any) -> Any:
            if message != "hang":
                return self.context.incarnation
            log("hangs")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                log("cancelled")
                raise

    frozen: list[ActorFrozen] = []
    system.events.subscribe(frozen.append, ActorFrozen)
    ref = system.spawn(Stuck)
    ref.tell("hang")
    log.take()
    sweep(system, clock, 5.5)
    assert ref.ask("who", timeout=10) == 2
    assert log.take() == ["cancelled"]
    [event] = frozen
    assert event.stack is not None
    assert "await asyncio.Event().wait()" in event.stack


class Leased(Actor):
    """Takes a lease, waits, then takes another and waits for good."""

    heartbeat = Heartbeat()

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    async def on_receive(self, message: Any) -> Any:
        if message != "wait":
            return self.context.incarnation
        self.context.heartbeat(lease=600)
        event = asyncio.Event()
        self.log((asyncio.get_running_loop(), event))
        await event.wait()
        self.context.heartbeat(lease=1)
        self.log("again")
        await asyncio.Event().wait()


def test_a_shorter_lease_holds_although_the_first_let_the_coroutine_rest(
    system: ActorSystem, clock: ManualClock, log: Log
) -> None:
    ref = system.spawn(Leased, log)
    ref.tell("wait")
    [(loop, event)] = log.take()
    watcher = system.realm.watcher
    sweep(system, clock, 60)
    assert watcher.judge.resting
    assert watcher.verdict(ref) is Verdict.WAITING
    assert system.running_for(ref) == 59.5
    loop.call_soon_threadsafe(event.set)
    assert log.take() == ["again"]
    sweep(system, clock, 5)
    assert not watcher.judge.resting
    assert ref.ask("who are you?", timeout=30) == 2


def test_who_waits_for_a_frozen_actor_is_carried_along_at_no_cost(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    class Caller(Actor):
        def __init__(self, callee: Any) -> None:
            super().__init__()
            self.callee = callee

        def on_receive(self, message: Any) -> Any:
            if message == "go":
                return self.callee.ask("hang")
            return self.context.incarnation

    callee = system.spawn(Hanging, log, gate)
    sup = system.spawn(
        Family, ChildSpec("caller", Caller, args=(callee,)), strategy=OneForOne(intensity=0)
    )
    caller = child(sup, "caller")
    caller.tell("go")
    log.take()
    sweep(system, clock, 5)
    assert callee.ask("who", timeout=10) == 2
    assert caller.ask("who", timeout=10) in (1, 2)  # carried along, or its ask failed
    assert sup.is_alive()


@pytest.mark.conformance(127)
def test_a_stall_of_the_whole_host_restarts_nobody(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    ref = system.spawn(Hanging, log, gate)
    ref.tell("hang")
    log.take()
    sweep(system, clock, 1)
    detector = system.lookup("/watch/detector")
    assert detector is not None
    held, go = threading.Event(), threading.Event()
    detector.tell(lambda: None)
    inner = system.realm.watcher

    def stalled() -> None:
        # The detector itself is away while ten seconds pass, as under SIGSTOP.
        with inner._lock:
            held.set()
            assert go.wait(30)

    thread = threading.Thread(target=stalled)
    thread.start()
    assert held.wait(10)
    for _ in range(20):
        clock.advance(0.5)
    go.set()
    thread.join(10)
    detector.ask("have you looked?")
    assert system.stats().late_sweeps == 1
    sweep(system, clock, 2)
    assert ref.incarnation == 1


def test_actors_that_make_progress_are_never_suspected(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    refs = [system.spawn(Hanging, log, gate) for _ in range(50)]
    for _ in range(20):
        for ref in refs:
            ref.tell("work")
        sweep(system, clock, 0.5)
    assert system.stats().frozen == 0
    assert all(ref.incarnation == 1 for ref in refs)


def test_the_detector_is_itself_supervised(
    system: ActorSystem, clock: ManualClock, log: Log, gate: threading.Event
) -> None:
    detector = system.lookup("/watch/detector")
    assert detector is not None
    ref = system.spawn(Hanging, log, gate)
    ref.tell("hang")
    log.take()
    sweep(system, clock, 2)
    detector._us_fail(RuntimeError("a bug in the detector"))
    wait_for(lambda: detector.incarnation == 2)
    detector.ask("up?")
    sweep(system, clock, 3)
    assert ref.ask("who", timeout=10) == 2  # what it had seen before was not forgotten


def test_a_starved_dispatcher_is_told_once_as_long_as_it_lasts(
    system: ActorSystem, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    system.events.subscribe(told.put, DispatcherStarved)
    starving = [Starving("pool", 7, 4, clock.monotonic())]
    monkeypatch.setattr(system.runtime, "starving", lambda: list(starving))
    sweep(system, clock, 2)
    starving.clear()
    sweep(system, clock, 1)
    starving.append(Starving("pool", 9, 4, clock.monotonic()))
    sweep(system, clock, 1)
    assert [told.get(timeout=10).waiting for _ in range(2)] == [7, 9]
    assert told.empty()


def test_what_runs_elsewhere_has_a_pulse(system: ActorSystem, clock: ManualClock) -> None:
    silent: list[tuple[str, float]] = []

    def told(pulse: Pulse, seconds: float) -> None:
        silent.append((pulse.name, seconds))

    pulse = system.realm.watcher.add_pulse("worker-1", lambda: None, told, Heartbeat())
    sweep(system, clock, 3)
    pulse.beat()
    sweep(system, clock, 3)
    assert silent == []
    sweep(system, clock, 2)
    assert silent == [("worker-1", 4.0)]
    pulse.cancel()
