"""The class users subclass."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pykka

from understudy.actors._context import Context
from understudy.actors._envelope import StopRequest
from understudy.actors._errors import DeathPact
from understudy.actors._events import Terminated
from understudy.actors._future import Future

if TYPE_CHECKING:
    import threading

    from understudy.actors._heartbeat import Heartbeat
    from understudy.actors._mailbox import Mailbox
    from understudy.actors._ref import ActorRef

__all__ = ["Actor", "ThreadingActor"]

logger = logging.getLogger("pykka")

if TYPE_CHECKING:
    # A type checker compares a method with those of all bases, and Pykka's hooks return None:
    # with Pykka's class in sight no hook could be a coroutine function.
    class _PykkaActor:
        use_daemon_thread: ClassVar[bool]
        _actor_ref: ActorRef[Any]

else:
    _PykkaActor = pykka.ThreadingActor


class Actor(_PykkaActor):
    """An actor: state of its own, and messages handled one at a time. A `pykka.Actor`.

    Subclass it, override `on_receive` or write methods for proxies, and start it with
    `system.spawn(MyActor, ...)` or, standalone, `MyActor.start(...)`. Override `__init__` freely,
    but call `super().__init__()` first.

    Hooks, in their order. `__init__` runs on the spawner's thread (a restart's on the
    dispatcher), `on_start`, `on_receive`, `on_stop` and `on_failure` on the actor's dispatcher;
    each of these four may be a coroutine function. `on_stop` is called after a normal end or an
    ordered stop, `on_failure`, never `on_stop`, after a failure.
    """

    dispatcher: ClassVar[str | None] = None
    """Where it runs: "pool" (many actors on few threads), "thread" (a thread of its own),
    "asyncio" (an event loop), or the name of a dispatcher of the system. Optional, and if absent
    it is "asyncio" for a class with coroutine handlers, else "pool"."""

    mailbox: ClassVar[Mailbox | None] = None
    """A capacity, an overflow policy, an order. Optional, and if absent: unbounded, in order."""

    heartbeat: ClassVar[Heartbeat | None] = None
    """Recovery from freezing. Optional, and if absent a freeze is only reported."""

    ask_failures: ClassVar[str | None] = None
    """"supervise": an exception in the handler of an ask goes to the asker *and* is a failure.
    Optional, and if absent it goes to the asker alone."""

    inline: ClassVar[bool | None] = None
    """True promises not to block: then asks with a time limit may run it on the asker's thread
    too. False forbids that for all asks. Optional, and if absent it is allowed without a limit."""

    reentrant: ClassVar[bool] = False
    """True lets a coroutine handler's suspension admit the next message."""

    _us_persistence_id: str | None = None
    _us_context: Context | None = None

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start a standalone actor, as Pykka does, and register it in the `ActorRegistry`.

        Returns at once: a ref that is dead once `on_start` has failed.
        """
        from understudy.actors._standalone import start

        return start(cls, args, kwargs)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # Not by way of __dict__: making that for each actor would cost more than all the rest.
        try:
            cell: Any = self._actor_ref
        except AttributeError:  # made without spawn or start, as Pykka allows
            from understudy.actors._standalone import unstarted

            cell = self._actor_ref = unstarted(type(self))
        cell._us_actor = self

    # --- names of Pykka's --------------------------------------------------------------------

    @property
    def actor_ref(self) -> ActorRef[Self]:
        """The reference to this actor: what others should hold, never `self`."""
        return self._actor_ref

    @property
    def actor_urn(self) -> str:
        """A universally unique identifier."""
        return self._actor_ref.actor_urn

    @property
    def actor_inbox(self) -> Any:
        """The mailbox, as Pykka shows it."""
        return self._actor_ref.actor_inbox

    @property
    def actor_stopped(self) -> threading.Event:
        """An event that is set once the actor is dead."""
        return self._actor_ref.actor_stopped

    def __str__(self) -> str:
        return str(self._actor_ref)

    @staticmethod
    def _create_future() -> Future[Any]:
        future: Future[Any] = Future()
        return future

    def stop(self) -> None:
        """End normally, behind the messages sent so far. For a supervisor this is no failure."""
        self._actor_ref._us_put((StopRequest(None, ordered=False), None, None, None, 0, None, None))

    stop._us_stop = True  # type: ignore[attr-defined]  # proxy.stop() is an order from outside

    def on_receive(self, message: Any) -> Any:
        """Handle a message; what it returns is the answer. Runs on the actor's dispatcher.

        The answer may be a future or an awaitable: the asker gets what it turns into. This
        default logs a warning; for a `Terminated` it raises `DeathPact`, so that the end of a
        watched actor is never overlooked.
        """
        if type(message) is Terminated:
            raise DeathPact(message.ref, message.reason)
        logger.warning("Unexpected message received by %s: %s", self, message)

    # --- beyond Pykka ------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        """What this actor can do beside answering: children, watches, timers, and more."""
        context = self._us_context
        if context is None:
            context = self._us_context = Context(self)
        return context

    if TYPE_CHECKING:  # the hooks of Pykka's: here they may be coroutine functions too

        def on_start(self) -> Any:
            """Run before the first message, on the dispatcher. Raising means: not started."""

        def on_stop(self) -> Any:
            """Run after the last message of a normal end or an ordered stop."""

        def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> Any:
            """Run after a failure, on the instance that failed."""

    def _us_fenced(self) -> bool:
        """Whether this instance was replaced, so that nothing it does counts any more."""
        return self._actor_ref._us_actor is not self


ThreadingActor = Actor
