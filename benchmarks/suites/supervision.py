"""The supervision suite: what a crash costs, beside OTP's where Erlang is installed."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from understudy.benchmarks.peers import otp
from understudy.benchmarks.suites import _supervision as supervision

if TYPE_CHECKING:
    from understudy.benchmarks._bench import Bench

__all__ = ["otp"]

OURS = "understudy"
LIMIT = 60.0
# Restarts that are always allowed: the limit itself is not what is measured.
PLENTY = 10_000_000
# Crashes that wait in a mailbox together, and restarts measured once the window is filled.
AT_ONCE = 100
FURTHER = 5_000
# Crashes at the head of a long mailbox.
CRASHES = 1_000


class Births:
    """Where children report that they run; counts them and keeps the time of the last."""

    def __init__(self) -> None:
        self.at = 0
        self.left = 0
        self.lock = threading.Lock()
        self.all_there = threading.Event()

    def expect(self, count: int) -> None:
        """So many are to come."""
        self.left = count
        self.all_there.clear()

    def one(self) -> None:
        """Here is one; on the thread that started it."""
        with self.lock:
            self.at = time.perf_counter_ns()
            self.left -= 1
            if self.left == 0:
                self.all_there.set()

    def wait(self) -> int:
        """The time of the last, once all are there."""
        if not self.all_there.wait(LIMIT):
            raise TimeoutError(f"{self.left} children were not started again within {LIMIT:g} s")
        return self.at


class _Child:
    """Reports its start, and raises when told to."""

    def __init__(self, births: Births) -> None:
        super().__init__()
        self.births = births

    def on_start(self) -> None:
        self.births.one()

    def on_receive(self, message: Any) -> None:
        raise RuntimeError(message)


class Stage:
    """A system with a supervisor and its children, made ready to crash."""

    def __init__(self) -> None:
        from understudy.actors import Actor
        from understudy.supervision import ActorSystem

        # As OTP's logger is off in its program: writing reports is not what is measured.
        logging.disable(logging.CRITICAL)
        self.births = Births()
        self.child: type[Any] = type("Child", (_Child, Actor), {})
        self.system: Any = ActorSystem("bench")

    def fixed(self, strategy: str, count: int) -> list[Any]:
        """A static supervisor with so many children; their refs."""
        from understudy import supervision as us

        child, births = self.child, self.births

        class Fixed(us.Supervisor):
            def children(self) -> list[us.ChildSpec]:
                return [us.ChildSpec(f"c{i}", child, args=(births,)) for i in range(count)]

        Fixed.strategy = getattr(us, strategy)(intensity=PLENTY, period=1.0)
        births.expect(count)
        proxy = self.system.spawn(Fixed, name="fixed").proxy()
        births.wait()
        return [info.ref for info in reversed(proxy.which_children().get())]

    def patient(self, cls: type[Any]) -> Any:
        """One child of a supervisor whose window is an hour; its ref."""
        from understudy import supervision as us

        births = self.births

        class Patient(us.Supervisor):
            strategy = us.OneForOne(intensity=PLENTY, period=3_600.0)

            def children(self) -> list[us.ChildSpec]:
                return [us.ChildSpec("c", cls, args=(births,))]

        births.expect(1)
        proxy = self.system.spawn(Patient, name="patient").proxy()
        births.wait()
        return proxy.which_children().get()[0].ref

    def crash(self, ref: Any, times: int) -> None:
        """Have an actor crash so many times, a few at once; return when it runs again."""
        for done in range(0, times, AT_ONCE):
            count = min(AT_ONCE, times - done)
            self.births.expect(count)
            for _ in range(count):
                ref.tell("crash")
            self.births.wait()

    def close(self) -> None:
        """Stop it all."""
        self.system.stop(timeout=LIMIT)


def _crashes(bench: Bench, stage: Stage, ref: Any, births: int) -> None:
    """Crash one actor again and again; each sample ends when the last of `births` has started."""
    samples = []
    for _ in range(bench.size):
        stage.births.expect(births)
        begun = time.perf_counter_ns()
        ref.tell("crash")
        samples.append(stage.births.wait() - begun)
    bench.latencies(ns / 1e9 for ns in samples)
    bench.external(items=bench.size, wall=sum(samples) / 1e9)


@supervision.CRASH.on(OURS)
def crash(bench: Bench) -> None:
    """One child, one crash at a time."""
    stage = Stage()
    (ref,) = stage.fixed("OneForOne", 1)
    _crashes(bench, stage, ref, 1)
    stage.close()


@supervision.GROUP.on(OURS)
def group(bench: Bench) -> None:
    """The first of ten crashes."""
    stage = Stage()
    refs = stage.fixed("OneForAll", 10)
    _crashes(bench, stage, refs[0], 10)
    stage.close()


@supervision.STORM.on(OURS)
def storm(bench: Bench) -> None:
    """All children of a dynamic supervisor."""
    from understudy import supervision as us
    from understudy.actors import Restart

    class Crowd(us.DynamicSupervisor):
        strategy = us.OneForOne(intensity=PLENTY, period=5.0)

    stage = Stage()
    births = stage.births
    births.expect(bench.size)
    proxy = stage.system.spawn(Crowd, name="crowd").proxy()
    started = [
        proxy.start_child(stage.child, births, restart=Restart.PERMANENT) for _ in range(bench.size)
    ]
    refs = [future.get(timeout=LIMIT) for future in started]
    births.wait()
    births.expect(bench.size)
    with bench.measure():
        for ref in refs:
            ref.tell("crash")
        births.wait()
    stage.close()


@supervision.ESCALATION.on(OURS)
def escalation(bench: Bench) -> None:
    """Five supervisors one below the other, of which only the topmost allows restarts."""
    from understudy import supervision as us

    stage = Stage()
    births, child = stage.births, stage.child
    refs: list[Any] = []

    class Level(us.Supervisor):
        strategy = us.OneForOne(intensity=0, period=1.0)

        def __init__(self, level: int) -> None:
            super().__init__()
            self.level = level

        def children(self) -> list[us.ChildSpec]:
            if self.level == 0:
                return [us.ChildSpec("worker", Worker, args=(births,))]
            return [us.ChildSpec("below", Level, args=(self.level - 1,))]

    class Top(Level):
        strategy = us.OneForOne(intensity=PLENTY, period=1.0)

    class Worker(child):  # type: ignore[misc,valid-type]  # made at run time
        def on_start(self) -> None:
            refs[:] = [self.actor_ref]
            super().on_start()

    births.expect(1)
    stage.system.spawn(Top, 5, name="top")
    births.wait()
    samples = []
    for _ in range(bench.size):
        births.expect(1)
        begun = time.perf_counter_ns()
        refs[0].tell("crash")
        samples.append(births.wait() - begun)
    bench.latencies(ns / 1e9 for ns in samples)
    bench.external(items=bench.size, wall=sum(samples) / 1e9)
    stage.close()


@supervision.RESTARTS.on(OURS)
def restarts(bench: Bench) -> None:
    """Fill the window, then look at what further restarts cost."""
    stage = Stage()
    ref = stage.patient(stage.child)
    stage.crash(ref, bench.size)
    with bench.measure(items=FURTHER):
        stage.crash(ref, FURTHER)
    stage.close()


@supervision.BACKLOG.on(OURS)
def backlog(bench: Bench) -> None:
    """Crashes at the head of a long mailbox, all there before the first is handled."""
    stage = Stage()
    births = stage.births
    inside, go = threading.Event(), threading.Event()

    class Held(stage.child):  # type: ignore[misc,name-defined]  # made at run time
        def on_receive(self, message: Any) -> None:
            if message == "hold":
                inside.set()
                go.wait(LIMIT)
            elif message == "crash":
                super().on_receive(message)

    ref = stage.patient(Held)
    stage.crash(ref, CRASHES)
    ref.tell("hold")
    bench.check(inside.wait(LIMIT), "the child did not begin to work")
    births.expect(CRASHES)
    for message in itertools.chain(
        itertools.repeat("crash", CRASHES), itertools.repeat("wait", bench.size)
    ):
        ref.tell(message)
    with bench.measure(items=CRASHES):
        go.set()
        births.wait()
    bench.check(ref.ask(None, timeout=LIMIT) is None, "the mailbox was not worked off")
    stage.close()


@supervision.FROZEN.on(OURS)
def frozen(bench: Bench) -> None:
    """A handler that waits for a lock nobody gives back."""
    from understudy import supervision as us
    from understudy.actors import Heartbeat

    stage = Stage()
    births, lock = stage.births, threading.Lock()
    lock.acquire()

    class Stuck(stage.child):  # type: ignore[misc,name-defined]  # made at run time
        heartbeat = Heartbeat()

        def on_receive(self, message: Any) -> None:
            del message
            lock.acquire()

    class Watching(us.Supervisor):
        def children(self) -> list[us.ChildSpec]:
            return [us.ChildSpec("stuck", Stuck, args=(births,))]

    births.expect(1)
    proxy = stage.system.spawn(Watching, name="watching").proxy()
    births.wait()
    ref = proxy.which_children().get()[0].ref
    births.expect(1)
    with bench.measure(items=1):
        ref.tell("freeze")
        births.wait()
    lock.release()
    stage.close()
