"""Pykka and ours, which share Pykka's interface: one body for all three.

`pykka` is a thread an actor, `standalone` our actors started without a system, `understudy` the
same spawned under a system with everything on.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from understudy.benchmarks._bench import resident
from understudy.benchmarks.peers import _roles
from understudy.benchmarks.suites import _kernel as kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.benchmarks._bench import Bench

LIMIT = 60.0
ALL = ("understudy", "standalone", "pykka")


class Kit:
    """One of the libraries, made ready: a base class, and how to start actors."""

    def __init__(self, peer: str, **options: Any) -> None:
        self.system: Any = None
        self._made: dict[type[Any], type[Any]] = {}
        if peer == "pykka":
            import pykka

            self.base: Any = pykka.ThreadingActor
            self.registry: Any = pykka.ActorRegistry
        else:
            from understudy.actors import Actor, ActorRegistry

            self.base, self.registry = Actor, ActorRegistry
        if peer == "understudy":
            from understudy.supervision import ActorSystem

            self.system = ActorSystem("bench", **options)

    def actor(self, mixin: type[Any]) -> type[Any]:
        """An actor class of the library that behaves as the mixin."""
        if mixin not in self._made:
            self._made[mixin] = type(mixin.__name__, (mixin, self.base), {})
        return self._made[mixin]

    def spawn(self, mixin: type[Any], *args: Any) -> Any:
        """Start an actor."""
        cls = self.actor(mixin)
        return cls.start(*args) if self.system is None else self.system.spawn(cls, *args)

    def close(self) -> None:
        """Stop everything."""
        if self.system is None:
            self.registry.stop_all(timeout=LIMIT)
        else:
            self.system.stop(timeout=LIMIT)


class Sink:
    """Counts down and says when nothing is left."""

    def __init__(self, left: int, done: threading.Event) -> None:
        super().__init__()
        self.left = left
        self.finished = done

    def on_receive(self, message: Any) -> None:
        """One message less."""
        del message
        self.left -= 1
        if self.left == 0:
            self.finished.set()


class Echo:
    """Answers with what it was asked."""

    def on_receive(self, message: Any) -> Any:
        """The message itself."""
        return message

    def answer(self) -> int:
        """For calls through a proxy."""
        return 42


class AsyncEcho:
    """The same with a coroutine as its handler."""

    async def on_receive(self, message: Any) -> Any:
        """The message itself."""
        return message


class Sleeper:
    """Blocks for as many seconds as it is told."""

    def on_receive(self, message: Any) -> None:
        """Sleep, or say that all before has been slept."""
        if isinstance(message, threading.Semaphore):
            message.release()
        else:
            time.sleep(message)


class Blocker:
    """Blocks until it is released."""

    def on_receive(self, message: tuple[threading.Semaphore, threading.Event]) -> None:
        """Say that it blocks, and block."""
        inside, released = message
        inside.release()
        released.wait(LIMIT)


def _finished(event: threading.Event) -> None:
    if not event.wait(LIMIT):
        raise TimeoutError("messages were lost: not all of them have been handled")


@kernel.TELL.on(*ALL)
@kernel.UNPINNED_TELL.on("understudy")
def tell(bench: Bench) -> None:
    """Flood one actor."""
    kit, done = Kit(bench.peer), threading.Event()
    send = kit.spawn(Sink, bench.size, done).tell
    with bench.measure():
        for _ in range(bench.size):
            send("ping")
        _finished(done)
    kit.close()


@kernel.ASK.on(*ALL)
@kernel.UNPINNED_ASK.on("understudy")
def ask(bench: Bench) -> None:
    """One ask after the other; then again with a clock around each."""
    kit = Kit(bench.peer)
    call = kit.spawn(Echo).ask
    bench.check(call("ping") == "ping", "an ask did not return its answer")
    with bench.measure():
        for _ in range(bench.size):
            call("ping")
    bench.timed(partial(call, "ping"), bench.size // 2)
    kit.close()


@kernel.ASK_TIMEOUT.on(*ALL)
def ask_timeout(bench: Bench) -> None:
    """Ours with a time limit; Pykka's is its only ask, which always switches threads."""
    kit = Kit(bench.peer)
    call = kit.spawn(Echo).ask
    limit = {} if bench.peer == "pykka" else {"timeout": LIMIT}
    bench.timed(partial(call, "ping", **limit), bench.size)
    kit.close()


@kernel.PROXY.on(*ALL)
def proxy(bench: Bench) -> None:
    """`proxy.answer().get()`."""
    kit = Kit(bench.peer)
    target = kit.spawn(Echo).proxy()
    bench.check(target.answer().get() == 42, "a proxy call did not return its result")
    with bench.measure():
        for _ in range(bench.size):
            target.answer().get()
    kit.close()


@kernel.PIPELINED.on(*ALL)
def pipelined(bench: Bench) -> None:
    """Batches of a thousand futures."""
    kit = Kit(bench.peer)
    call = kit.spawn(Echo).ask
    batches = max(1, bench.size // 1_000)
    with bench.measure(items=batches * 1_000):
        for _ in range(batches):
            futures = [call("ping", block=False) for _ in range(1_000)]
            for future in futures:
                future.get()
    kit.close()


@kernel.RING.on(*ALL, "asyncio", "uvloop")
def ring(bench: Bench) -> None:
    """See `_roles`."""
    _roles.ring(bench)


@kernel.PING_PONG.on(*ALL, "asyncio", "uvloop")
@kernel.UNPINNED_PING_PONG.on("understudy")
def ping_pong(bench: Bench) -> None:
    """See `_roles`."""
    _roles.ping_pong(bench)


@kernel.FAN_OUT.on(*ALL, "asyncio", "uvloop")
def fan_out(bench: Bench) -> None:
    """See `_roles`."""
    _roles.fan_out(bench)


@kernel.BIG.on(*ALL, "asyncio", "uvloop")
def big(bench: Bench) -> None:
    """See `_roles`."""
    _roles.big(bench)


@kernel.CREATE.on(*ALL)
def create(bench: Bench) -> None:
    """Spawn one after the other."""
    kit = Kit(bench.peer)
    kit.actor(Echo)
    refs = [None] * bench.size
    with bench.measure():
        for i in range(bench.size):
            refs[i] = kit.spawn(Echo)
    kit.close()


@kernel.IDLE.on(*ALL)
def idle(bench: Bench) -> None:
    """Resident memory before and after."""
    kit = Kit(bench.peer)
    refs = [kit.spawn(Echo) for _ in range(10)]
    refs += [None] * bench.size
    with bench.measure():
        for i in range(bench.size):
            refs[i] = kit.spawn(Echo)


@kernel.STOP.on(*ALL)
def stop(bench: Bench) -> None:
    """All of them at once."""
    kit = Kit(bench.peer)
    for _ in range(bench.size):
        kit.spawn(Echo)
    with bench.measure():
        kit.close()


@kernel.SHORT_BLOCKS.on(*ALL)
def short_blocks(bench: Bench) -> None:
    """A hundred actors with messages that sleep 5 ms."""
    kit, done = Kit(bench.peer), threading.Semaphore(0)
    refs = [kit.spawn(Sleeper) for _ in range(100)]
    with bench.measure(items=100 * bench.size):
        for _ in range(bench.size):
            for ref in refs:
                ref.tell(0.005)
        for ref in refs:
            ref.tell(done)
        for _ in refs:
            if not done.acquire(timeout=LIMIT):
                raise TimeoutError("not all messages have been handled")
    kit.close()


@kernel.BLOCKED.on(*ALL)
def blocked(bench: Bench) -> None:
    """Tell sixty to block, and ask one more."""
    kit, inside, released = Kit(bench.peer), threading.Semaphore(0), threading.Event()
    refs = [kit.spawn(Blocker) for _ in range(bench.size)]
    more = kit.spawn(Echo)
    limit = {} if bench.peer == "pykka" else {"timeout": LIMIT}
    with bench.measure(items=1):
        for ref in refs:
            ref.tell((inside, released))
        bench.check(more.ask("ping", **limit) == "ping", "no answer")
    for _ in refs:
        bench.check(inside.acquire(timeout=LIMIT), "a blocking handler was never run")
    released.set()
    kit.close()


@kernel.DETECTOR.on("understudy")
def detector(bench: Bench) -> None:
    """Let watched actors be idle for a while, and look at the process's clock."""
    from understudy.actors import Heartbeat

    kit = Kit(bench.peer)
    watched = type("Watched", (kit.actor(Echo),), {"heartbeat": Heartbeat()})
    refs = [kit.system.spawn(watched) for _ in range(bench.size)]
    time.sleep(0.5)
    with bench.measure():
        time.sleep(4.0)
    bench.check(all(ref.is_alive() for ref in refs[:100]), "an idle actor did not stay alive")
    bench.note(threads=threading.active_count())


@kernel.DETECTOR_WAITING.on("understudy")
def detector_waiting(bench: Bench) -> None:
    """Let leased actors wait inside their handlers for a while."""
    from understudy.actors import Actor, Heartbeat

    inside = threading.Semaphore(0)

    class Waiting(Actor):
        heartbeat = Heartbeat(lease=3_600.0)

        async def on_receive(self, message: Any) -> None:
            del message
            inside.release()
            await asyncio.get_running_loop().create_future()

    kit = Kit(bench.peer)
    refs = [kit.system.spawn(Waiting) for _ in range(bench.size)]
    for ref in refs:
        ref.tell("wait")
    for _ in refs:
        bench.check(inside.acquire(timeout=LIMIT), "a handler was never run")
    # The first looks at them are dearer than those that follow; of the latter every twentieth is.
    time.sleep(4.0)
    with bench.measure():
        time.sleep(10.0)
    bench.check(kit.system.stats().restarts == 0, "a leased actor was replaced")
    kit.system.stop(timeout=1.0)


def overhead(
    bench: Bench, run: Callable[[Kit], Callable[[], object]], *, directory: str | None = None
) -> None:
    """Take a run's CPU time with metrics on and off in turns; the median quotient is what they add.

    CPU time, because a few percent of wall time drown in what else the machine does, and in the
    flushes of a disk.

    Args:
        bench: the measurement.
        run: prepares a run on a system.
        directory: where the systems keep a journal each; optional, none if absent.
    """
    places = {on: f"{directory}/{on}" if directory else None for on in (False, True)}
    kits = {on: Kit("understudy", metrics=on, data_dir=places[on]) for on in (False, True)}
    systems = {on: run(kit) for on, kit in kits.items()}
    quotients = []
    for turn in range(16):
        took = {}
        # Whoever goes first changes, so that a slow moment meets both alike.
        for on in (turn % 2 == 0, turn % 2 == 1):
            begun = time.process_time()
            systems[on]()
            took[on] = time.process_time() - begun
        if turn:
            quotients.append(took[True] / took[False])
    bench.result(statistics.median(quotients) - 1)
    bench.note(low=min(quotients) - 1, high=max(quotients) - 1)
    for kit in kits.values():
        kit.close()


@kernel.OBSERVED_TELL.on("understudy")
def observed_tell(bench: Bench) -> None:
    """Flood an actor, metrics on and off."""

    def prepare(kit: Kit) -> Callable[[], object]:
        ref = kit.spawn(Echo)

        def run() -> None:
            for _ in range(bench.size):
                ref.tell("ping")
            ref.ask("last")  # behind all of them

        return run

    overhead(bench, prepare)


@kernel.OBSERVED_ASK.on("understudy")
def observed_ask(bench: Bench) -> None:
    """Ask an actor, metrics on and off."""

    def prepare(kit: Kit) -> Callable[[], object]:
        call = kit.spawn(Echo).ask

        def run() -> None:
            for _ in range(bench.size):
                call("ping")

        return run

    overhead(bench, prepare)


@kernel.SCALE.on("understudy")
def scale(bench: Bench) -> None:
    """Create, tell, ask and stop so many, and weigh them."""
    n, done = bench.size, threading.Event()
    kit = Kit(bench.peer)
    kit.spawn(_Counted, _Countdown(1, threading.Event()))
    countdown = _Countdown(n, done)
    clock, series = time.perf_counter, {}
    refs = [None] * n
    memory, begun = resident(), clock()
    spawn, cls = kit.system.spawn, kit.actor(_Counted)
    for i in range(n):
        refs[i] = spawn(cls, countdown)
    series["create"] = (clock() - begun) / n
    series["bytes"] = (resident() - memory) / n
    begun = clock()
    for ref in refs:
        ref.tell(None)  # type: ignore[attr-defined]  # refs now, all of them
    _finished(done)
    series["tell"] = (clock() - begun) / n
    begun = clock()
    answers = sum(ref.ask(1) for ref in refs)  # type: ignore[attr-defined]
    series["ask"] = (clock() - begun) / n
    bench.check(answers == n, "not every actor has answered")
    begun = clock()
    kit.close()
    series["stop"] = (clock() - begun) / n
    bench.result(series["tell"])
    bench.note(series=series)


class _Countdown:
    """Counts from many actors at once."""

    def __init__(self, left: int, done: threading.Event) -> None:
        self.left = left
        self.done = done
        self.lock = threading.Lock()

    def one(self) -> None:
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.done.set()


class _Counted:
    def __init__(self, countdown: _Countdown) -> None:
        super().__init__()
        self.countdown = countdown

    def on_receive(self, message: Any) -> Any:
        if message is None:
            self.countdown.one()
        return message
