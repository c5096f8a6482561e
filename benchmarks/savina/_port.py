"""The small port that every Savina benchmark is written against: spawn, tell, ask, stop, done.

A benchmark knows `Role` (an actor of it), `Ref` (what messages are sent to) and `Stage` (where it
is run). Each library has one `Stage` in `_stages`; no benchmark mentions a library.
"""

from __future__ import annotations

import abc
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Ref(Protocol):
    """Where messages go."""

    def tell(self, message: Any) -> None:
        """Send and go on."""


class Role:
    """An actor of a benchmark.

    A subclass takes its arguments in `__init__` and its messages in `receive`. A `receive` that is
    a generator asks with `answer = yield ref, message` and handles nothing else until the answer
    is there; what it returns answers an ask.

    Attributes:
        stage: where the benchmark is run.
        me: this actor's ref.
    """

    stage: Stage
    me: Ref

    def receive(self, message: Any, /) -> Any:
        """Handle one message; on the library's thread or loop, one at a time."""
        raise NotImplementedError

    def spawn(self, role: type[Role], *args: Any) -> Ref:
        """Start another actor."""
        return self.stage.spawn(role, *args)

    def done(self, result: Any) -> None:
        """End the benchmark with its result."""
        self.stage.done(result)

    def exit(self) -> None:
        """End this actor, behind the messages that already wait for it."""
        self.stage.stop(self.me)


class TooSlow(TimeoutError):
    """A benchmark gave no result within its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"no result within {seconds:g} s: a message was lost, or it is too slow")


class Stage(abc.ABC):
    """A library made ready to run benchmarks. Use it once, then `close` it."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        # Called by whoever calls `done`, before anything is torn down: the end of what is timed.
        self.at_end: Callable[[], object] | None = None

    @abc.abstractmethod
    def spawn(self, role: type[Role], *args: Any) -> Ref:
        """Start an actor; from the beginning of a benchmark, or from inside an actor."""

    @abc.abstractmethod
    def stop(self, ref: Ref) -> None:
        """End an actor, behind the messages that already wait for it."""

    def done(self, result: Any) -> None:
        """Take the result; the first one counts."""
        if not self._over.is_set():
            if self.at_end is not None:
                self.at_end()
            self._result = result
            self._over.set()

    def fail(self, error: BaseException) -> None:
        """End the benchmark with an actor's error, instead of waiting for a lost message."""
        if not self._over.is_set():
            self._error = error
            self._over.set()

    def play(self, begin: Callable[[Stage], None], timeout: float) -> Any:
        """Run a benchmark to its result; an actor's error is raised here.

        Args:
            begin: spawns the first actors and sends the first messages.
            timeout: seconds, after which `TooSlow` is raised.
        """
        begin(self)
        if not self._over.wait(timeout):
            raise TooSlow(timeout)
        return self._outcome()

    def _outcome(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result

    def close(self) -> None:
        """End what still runs; nothing, where a loop took it along."""
        return
