"""An actor whose mailbox the test reads."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from understudy.actors import Actor, Future
from understudy.testing._settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors import ActorRef
    from understudy.supervision import ActorSystem

T = TypeVar("T")

# Long enough for a slow machine, short enough for a developer: chosen by feel.
DEFAULT_TIMEOUT = 3.0


class Received(NamedTuple):
    """What a probe received: the message, its sender if known, and where the reply goes."""

    message: Any
    sender: ActorRef[Any] | None
    reply: Future[Any]


class _ProbeActor(Actor):
    """Puts what it receives into the probe's queue, and answers when the test says so."""

    def __init__(self, inbox: queue.SimpleQueue[Received]) -> None:
        super().__init__()
        self._us_inbox = inbox

    def on_receive(self, message: Any) -> Future[Any]:
        reply: Future[Any] = Future()
        about = self.context.message
        self._us_inbox.put(Received(message, about.sender if about else None, reply))
        return reply


class TestProbe:
    """A stand-in that other actors can talk to, and whose messages the test expects.

    Every `expect*` waits for a fact, the arrival of a message, and fails with what
    arrived instead. It is used from the test's thread.

    Args:
        system: where the probe's actor lives.
        name: the actor's name; generated if absent.

    """

    __test__ = False  # its name begins like a test class

    def __init__(self, system: ActorSystem, name: str | None = None) -> None:
        self._system = system
        self._inbox: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self.ref: ActorRef[Any] = system.spawn(_ProbeActor, self._inbox, name=name)
        self.last: Received | None = None

    def _take(self, timeout: float, wanted: str) -> Received:
        try:
            received = self._inbox.get(timeout=timeout)
        except queue.Empty:
            msg = f"{self.ref} received nothing within {timeout} s; expected {wanted}"
            raise AssertionError(msg) from None
        self.last = received
        return received

    @overload
    def expect(self, wanted: type[T], *, timeout: float = ...) -> T: ...

    @overload
    def expect(self, wanted: T, *, timeout: float = ...) -> T: ...

    def expect(self, wanted: Any, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Return the next message, which must equal `wanted` or be an instance of it.

        Args:
            wanted: a value to equal, or a class the message must be an instance of.
            timeout: seconds to wait; 3.0 if absent.

        Raises:
            AssertionError: nothing came in time, or something else came.

        """
        received = self._take(timeout, repr(wanted))
        matches = (
            isinstance(received.message, wanted)
            if isinstance(wanted, type)
            else received.message == wanted
        )
        if not matches:
            msg = f"{self.ref} received {received.message!r}; expected {wanted!r}"
            raise AssertionError(msg)
        return received.message

    def receive(self, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Return the next message, whatever it is.

        Raises:
            AssertionError: nothing came within `timeout` seconds.

        """
        return self._take(timeout, "any message").message

    def expect_none(self) -> None:
        """Fail if a message is there once the whole system has settled.

        No time passes for it: the system is quiet, so nothing more can come by itself.

        Raises:
            AssertionError: a message is there, or the system does not settle.

        """
        settle(self._system)
        try:
            received = self._inbox.get_nowait()
        except queue.Empty:
            return
        msg = f"{self.ref} received {received.message!r}; expected no message"
        raise AssertionError(msg)

    def fish(self, wanted: Callable[[Any], bool], *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Return the first message for which `wanted(message)` is true, and drop those before.

        Args:
            wanted: judges a message.
            timeout: seconds for the whole fishing; 3.0 if absent.

        Raises:
            AssertionError: none came in time; the message lists what was thrown back.

        """
        deadline = time.monotonic() + timeout
        thrown_back: list[Any] = []
        while (left := deadline - time.monotonic()) > 0:
            try:
                received = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            if wanted(received.message):
                self.last = received
                return received.message
            thrown_back.append(received.message)
        msg = f"{self.ref} fished for {timeout} s and threw back {thrown_back!r}"
        raise AssertionError(msg)

    def reply(self, value: Any) -> None:
        """Answer the message expected last; whoever asked gets `value`.

        Raises:
            AssertionError: nothing was expected yet.

        """
        if self.last is None:
            msg = f"{self.ref} has expected no message yet: there is nothing to reply to"
            raise AssertionError(msg)
        self.last.reply.set(value)

    @property
    def sender(self) -> ActorRef[Any] | None:
        """Who sent the message expected last, where that is known."""
        return None if self.last is None else self.last.sender

    def __repr__(self) -> str:
        return f"<TestProbe {self.ref}>"
