"""Questions to a store that may go silent: each is answered in time, or given up."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.storage._errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors._clock import Clock

T = TypeVar("T")


class StoreSilent(StorageError):
    """A store did not answer; what it was asked may still be going on there.

    Attributes:
        what: What it was asked for.
        timeout: Seconds without an answer.
    """

    def __init__(self, what: str, timeout: float) -> None:
        self.what = what
        self.timeout = timeout
        super().__init__(
            f"the journal gave no answer within {timeout:g} s ({what}); look at its disk, or raise "
            "persistence.silence_timeout"
        )


class _Question:
    __slots__ = ("_answered", "_call", "_error", "_late", "_value")

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._answered = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        self._late = False

    def work(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error
        self._answered.set()

    def give_up(self) -> None:
        self._late = not self._answered.is_set()
        self._answered.set()

    def wait(self) -> bool:
        self._answered.wait()
        return not self._late

    def answer(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class Patience:
    """Asks a store on a thread beside, so that a silent one blocks that thread and not the asker.

    The thread starts with the first question and ends with `close`; one that the store never
    answers stays behind, as a daemon.

    Args:
        clock: Measures the silence.
        timeout: Seconds without an answer that are one.
        spawn: Starts a thread, given its target and its name.
        name: The thread's name.
    """

    def __init__(
        self,
        clock: Clock,
        timeout: float,
        spawn: Callable[[Callable[[], object], str], object],
        name: str,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._spawn = spawn
        self._name = name
        self._questions: queue.SimpleQueue[_Question | None] | None = None

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """What `call()` returns or raises, made on the other thread.

        Raises:
            StoreSilent: It took too long.
        """
        if self._questions is None:
            self._questions = queue.SimpleQueue()
            self._spawn(self._work, self._name)
        question = _Question(call)
        due = self._clock.monotonic() + self._timeout
        timer = self._clock.call_at(due, question.give_up)
        self._questions.put(question)
        heard = question.wait()
        timer.cancel()
        if not heard:
            raise StoreSilent(what, self._timeout)
        answer: T = question.answer()
        return answer

    def close(self) -> None:
        """Let the thread end, once it has its last answer."""
        if self._questions is not None:
            self._questions.put(None)

    def _work(self) -> None:
        assert self._questions is not None
        while (question := self._questions.get()) is not None:
            question.work()


def at_once(what: str, call: Callable[[], T]) -> T:
    """Ask on this thread, however long it takes."""
    del what
    return call()
