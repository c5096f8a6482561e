"""The port on Pykka, on asyncio queues and on Understudy."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, cast

from understudy.benchmarks.savina._port import Ref, Role, Stage, TooSlow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def _asks(role: type[Role]) -> bool:
    """Whether a role's `receive` is a generator that asks."""
    return inspect.isgeneratorfunction(role.receive)


def _blocking(self: Any, message: Any) -> Any:
    """Drive a `receive` that asks, on a library whose asks block."""
    steps: Generator[tuple[Any, Any], Any, Any] = self.receive(message)
    try:
        ref, question = next(steps)
        while True:
            ref, question = steps.send(ref.ask(question))
    except StopIteration as end:
        return end.value


def _hosts(role: type[Role], base: type[Any]) -> type[Any]:
    """A class of the library whose instances play a role: no call in between but where it asks."""

    def init(self: Any, stage: Stage, args: tuple[Any, ...]) -> None:
        base.__init__(self)
        self.stage = stage
        self.me = self.actor_ref
        role.__init__(self, *args)

    def on_failure(self: Any, kind: Any, error: BaseException, trace: Any) -> None:
        del kind, trace
        self.stage.fail(error)

    handler = _blocking if _asks(role) else role.receive
    body = {"__init__": init, "on_receive": handler, "on_failure": on_failure}
    return type(role.__name__, (role, base), body)


class PykkaStage(Stage):
    """One thread an actor."""

    def __init__(self) -> None:
        super().__init__()
        import pykka

        self._base = pykka.ThreadingActor
        self._registry = pykka.ActorRegistry
        self._classes: dict[type[Role], type[Any]] = {}

    def spawn(self, role: type[Role], *args: Any) -> Ref:
        """Start a `ThreadingActor`."""
        host = self._classes.get(role)
        if host is None:
            host = self._classes[role] = _hosts(role, self._base)
        return cast("Ref", host.start(self, args))

    def stop(self, ref: Any) -> None:
        """Put a stop behind the waiting messages."""
        ref.stop(block=False)

    def close(self) -> None:
        """Stop all of Pykka's actors in this process."""
        self._registry.stop_all(timeout=10)


class UnderstudyStage(Stage):
    """Actors under the `user` guardian of a system, everything on."""

    def __init__(self) -> None:
        super().__init__()
        from understudy.actors import Actor
        from understudy.supervision import ActorSystem

        self._base = Actor
        self._system = ActorSystem("savina")
        self._spawn = self._system.spawn
        self._classes: dict[type[Role], type[Any]] = {}

    def spawn(self, role: type[Role], *args: Any) -> Ref:
        """Spawn under `/user`."""
        host = self._classes.get(role)
        if host is None:
            host = self._classes[role] = _hosts(role, self._base)
        return cast("Ref", self._spawn(host, self, args))

    def stop(self, ref: Any) -> None:
        """Put a stop behind the waiting messages."""
        ref.stop(block=False)

    def close(self) -> None:
        """Ordered shutdown."""
        self._system.stop(timeout=10)


class StandaloneStage(Stage):
    """Our actors without a system, as Pykka's are."""

    def __init__(self) -> None:
        super().__init__()
        from understudy.actors import Actor, ActorRegistry

        self._base = Actor
        self._registry = ActorRegistry
        self._classes: dict[type[Role], type[Any]] = {}

    def spawn(self, role: type[Role], *args: Any) -> Ref:
        """Start it by itself."""
        host = self._classes.get(role)
        if host is None:
            host = self._classes[role] = _hosts(role, self._base)
        return cast("Ref", host.start(self, args))

    def stop(self, ref: Any) -> None:
        """Put a stop behind the waiting messages."""
        ref.stop(block=False)

    def close(self) -> None:
        """Stop all standalone actors in this process."""
        self._registry.stop_all(timeout=10)


_STOP = object()


class _Cell:
    """An actor on a loop: a queue, and a task that takes from it."""

    __slots__ = ("queue", "task", "tell")

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.tell: Callable[[Any], None] = self.queue.put_nowait
        self.task: asyncio.Task[None] | None = None

    def ask(self, message: Any) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.tell(_Question(message, answer))
        return answer


class _Question:
    __slots__ = ("answer", "message")

    def __init__(self, message: Any, answer: asyncio.Future[Any]) -> None:
        self.message = message
        self.answer = answer


class AsyncioStage(Stage):
    """One task and one `asyncio.Queue` an actor, on one loop: actors as one writes them by hand."""

    def __init__(self) -> None:
        super().__init__()
        self._finished: asyncio.Event | None = None

    def spawn(self, role: type[Role], *args: Any) -> Ref:
        """Make the actor and the task that runs it."""
        cell = _Cell()
        actor = role.__new__(role)
        actor.stage = self
        actor.me = cell  # pyright: ignore[reportAttributeAccessIssue]  # its tell is an attribute
        actor.__init__(*args)  # type: ignore[misc]  # made in two steps, so that __init__ knows `me`
        loop = self._asking if _asks(role) else self._telling
        cell.task = asyncio.get_running_loop().create_task(loop(cell, actor.receive))
        return cell  # pyright: ignore[reportReturnType]  # its tell is an attribute

    async def _telling(self, cell: _Cell, receive: Callable[[Any], Any]) -> None:
        take = cell.queue.get
        try:
            while (message := await take()) is not _STOP:
                if message.__class__ is _Question:
                    message.answer.set_result(receive(message.message))
                else:
                    receive(message)
        except Exception as error:
            self.fail(error)

    async def _asking(self, cell: _Cell, receive: Callable[[Any], Any]) -> None:
        take = cell.queue.get
        try:
            while (message := await take()) is not _STOP:
                asked = message.__class__ is _Question
                steps = receive(message.message if asked else message)
                answer = None
                try:
                    ref, question = next(steps)
                    while True:
                        ref, question = steps.send(await ref.ask(question))
                except StopIteration as end:
                    answer = end.value
                if asked:
                    message.answer.set_result(answer)
        except Exception as error:
            self.fail(error)

    def stop(self, ref: Any) -> None:
        """Put a stop behind the waiting messages."""
        ref.tell(_STOP)

    def done(self, result: Any) -> None:
        """Take the result and wake the loop's main task."""
        super().done(result)
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Take the error and wake the loop's main task."""
        super().fail(error)
        self._wake()

    def _wake(self) -> None:
        if self._finished is not None:
            self._finished.set()

    def play(self, begin: Callable[[Stage], None], timeout: float) -> Any:
        """Run a loop until the result is there."""
        with asyncio.Runner(loop_factory=self.loop_factory()) as runner:
            return runner.run(self._play(begin, timeout))

    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """What makes the loop; None for asyncio's own."""
        return None

    async def _play(self, begin: Callable[[Stage], None], timeout: float) -> Any:  # noqa: ASYNC109  # the same argument as play's
        self._finished = asyncio.Event()
        begin(self)
        over = asyncio.ensure_future(self._finished.wait())
        await asyncio.wait([over], timeout=timeout)
        if not self._over.is_set():
            over.cancel()
            raise TooSlow(timeout)
        return self._outcome()


class UvloopStage(AsyncioStage):
    """The same on uvloop."""

    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """Its loop."""
        import uvloop  # pyright: ignore[reportMissingImports] - an optional peer

        return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


STAGES: dict[str, type[Stage]] = {
    "understudy": UnderstudyStage,
    "pykka": PykkaStage,
    "asyncio": AsyncioStage,
    "uvloop": UvloopStage,
    "standalone": StandaloneStage,
}

# The three libraries that the whole suite is run on.
SAVINA_PEERS = ("understudy", "pykka", "asyncio")
