"""Thespian on its simple base: all actors in the calling thread."""

from __future__ import annotations

import importlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from understudy.benchmarks.suites import _kernel as kernel

if TYPE_CHECKING:
    from understudy.benchmarks._bench import Bench

PEER = "thespian"


class Theatre:
    """A system, and classes made for it."""

    def __init__(self) -> None:
        library: Any = importlib.import_module("thespian.actors")
        self.base = library.Actor
        self.system = library.ActorSystem("simpleSystemBase", transientUnique=True)

    def actor(self, mixin: type[Any]) -> Any:
        """Create an actor that behaves as the mixin."""
        return self.system.createActor(type(mixin.__name__, (mixin, self.base), {}))


class Echo:
    """Answers asks, takes tells."""

    def receiveMessage(self: Any, message: Any, sender: Any) -> None:  # noqa: N802  # Thespian's name
        """Send it back, if it is a question."""
        if message == "ask":
            self.send(sender, message)


@kernel.TELL.on(PEER)
def tell(bench: Bench) -> None:
    """Each tell runs to its end before it returns."""
    theatre = Theatre()
    send = partial(theatre.system.tell, theatre.actor(Echo))
    with bench.measure():
        for _ in range(bench.size):
            send("ping")


@kernel.ASK.on(PEER)
def ask(bench: Bench) -> None:
    """One after the other."""
    theatre = Theatre()
    call = partial(theatre.system.ask, theatre.actor(Echo), "ask", 10)
    bench.check(call() == "ask", "an ask did not return its answer")
    with bench.measure():
        for _ in range(bench.size):
            call()
    bench.timed(call, bench.size // 2)


@kernel.PIPELINED.on(PEER)
def pipelined(bench: Bench) -> None:
    """Send a thousand, then listen for a thousand answers."""
    theatre = Theatre()
    target = theatre.actor(Echo)
    batches = max(1, bench.size // 1_000)
    with bench.measure(items=batches * 1_000):
        for _ in range(batches):
            for _ in range(1_000):
                theatre.system.tell(target, "ask")
            for _ in range(1_000):
                bench.check(theatre.system.listen(1) == "ask", "an answer is missing")


class Member:
    """Of a ring: learns its neighbour, then passes numbers on, counting down."""

    following: Any = None
    starter: Any = None

    def receiveMessage(self: Any, message: Any, sender: Any) -> None:  # noqa: N802  # Thespian's name
        """A neighbour, the start, or the token."""
        kind, about = message
        if kind == "next":
            self.following = about
        elif kind == "start":
            self.starter = sender
            self.send(self.following, ("hop", (about, sender)))
        elif about[0] == 0:
            self.send(about[1], "done")
        else:
            self.send(self.following, ("hop", (about[0] - 1, about[1])))


def _ring(bench: Bench, members: int, hops: int) -> None:
    theatre = Theatre()
    refs = [theatre.actor(Member) for _ in range(members)]
    for ref, following in zip(refs, refs[1:] + refs[:1], strict=True):
        theatre.system.tell(ref, ("next", following))
    with bench.measure():
        bench.check(theatre.system.ask(refs[0], ("start", hops), 60) == "done", "token lost")


@kernel.RING.on(PEER)
def ring(bench: Bench) -> None:
    """A hundred members."""
    _ring(bench, 100, bench.size)


@kernel.PING_PONG.on(PEER)
def ping_pong(bench: Bench) -> None:
    """A ring of two."""
    _ring(bench, 2, 2 * bench.size)


class Caller:
    """Sends to all listeners, as often as told, and waits for each round's answers."""

    def receiveMessage(self: Any, message: Any, sender: Any) -> None:  # noqa: N802  # Thespian's name
        """The listeners and rounds at first, then answers."""
        if isinstance(message, tuple):
            self.listeners, self.rounds = message
            self.starter, self.heard = sender, 1
        self.heard -= 1
        if self.heard == 0:
            if self.rounds == 0:
                self.send(self.starter, "done")
                return
            self.rounds -= 1
            self.heard = len(self.listeners)
            for listener in self.listeners:
                self.send(listener, "ask")


@kernel.FAN_OUT.on(PEER)
def fan_out(bench: Bench) -> None:
    """One to a hundred and back."""
    theatre = Theatre()
    listeners = [theatre.actor(Echo) for _ in range(100)]
    caller = theatre.actor(Caller)
    rounds = max(1, bench.size // 200)
    with bench.measure(items=rounds * 100):
        found = theatre.system.ask(caller, (listeners, rounds), 60)
        bench.check(found == "done", "an answer is missing")


@kernel.CREATE.on(PEER)
def create(bench: Bench) -> None:
    """One after the other."""
    theatre = Theatre()
    cls = type("Echo", (Echo, theatre.base), {})
    with bench.measure():
        for _ in range(bench.size):
            theatre.system.createActor(cls)


@kernel.IDLE.on(PEER)
def idle(bench: Bench) -> None:
    """Resident memory before and after; Thespian makes the instance at the first message."""
    theatre = Theatre()
    cls = type("Echo", (Echo, theatre.base), {})
    refs = [theatre.system.createActor(cls) for _ in range(10)]
    with bench.measure():
        for _ in range(bench.size):
            refs.append(theatre.system.createActor(cls))
            theatre.system.tell(refs[-1], "ping")


@kernel.STOP.on(PEER)
def stop(bench: Bench) -> None:
    """Ask each to exit."""
    library: Any = importlib.import_module("thespian.actors")
    theatre = Theatre()
    cls = type("Echo", (Echo, theatre.base), {})
    refs = [theatre.system.createActor(cls) for _ in range(bench.size)]
    begun = time.perf_counter()
    with bench.measure():
        for ref in refs:
            theatre.system.tell(ref, library.ActorExitRequest())
            if time.perf_counter() - begun > 30:
                raise TimeoutError("stopping took more than 30 s")
