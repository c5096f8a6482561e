"""The actor that owns a system's journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.actors._actor import Actor
from understudy.actors._future import Future
from understudy.storage._write import Append, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors._journal_handle import JournalHandle
    from understudy.storage import Journal
    from understudy.storage._future import CommitFuture


class JournalActor(Actor):
    """Opens the journal, puts it behind the system's handle, and closes it.

    It lives at ``/storage/journal``, on a thread of its own. Appends need no turn of this actor:
    whoever holds the handle submits straight to the writer. An `Append` or a `Write` sent as a
    message is answered with its result once it is safe.

    When it fails, its supervisor starts it again: the journal is closed, opened anew (one in memory
    is kept, for closing it would be the end of it), and what was submitted meanwhile follows.
    Living actors stay. What was in the writer's hands at the failure is either safe or answered
    with an error.

    Args:
        handle: Where the journal is put for everybody.
        opener: Gives an open journal; called at every start.
    """

    dispatcher = "thread"

    def __init__(self, handle: JournalHandle, opener: Callable[[], Journal]) -> None:
        super().__init__()
        self._us_handle = handle
        self._us_opener = opener

    def on_start(self) -> None:
        """Open the journal; its error is the cause of `StartFailed`."""
        ref, incarnation = self.actor_ref, self.actor_ref._us_incarnation
        handle, system = self._us_handle, ref._us_rt.system

        def lost(error: BaseException) -> None:
            ref._us_fail(error, incarnation=incarnation, phase="append")

        handle.on_lost = lost
        if system is not None:
            handle.ending = lambda: system.state != "running"
            system.terminated.add_done_callback(lambda _: handle.close())
        handle.attach(handle.take_kept() or self._us_opener())

    def on_receive(self, message: Any) -> Any:
        """Take an `Append` or a `Write`."""
        if isinstance(message, Append):
            return _answer(
                self._us_handle.submit(
                    message.stream,
                    message.events,
                    expected_seq=message.expected_seq,
                    epoch=message.epoch,
                )
            )
        if isinstance(message, Write):
            return _answer(self._us_handle.submit_write(message))
        raise TypeError(f"the journal actor takes us.Append and us.Write, not {message!r}")

    def on_stop(self) -> None:
        """Close the journal: everything submitted is made safe first."""
        self._us_let_go()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: Any,
    ) -> None:
        """Close the journal, for the next incarnation to open it."""
        del exception_type, exception_value, traceback
        self._us_let_go()

    def _us_let_go(self) -> None:
        journal = self._us_handle.detach()
        if journal is None:
            return
        in_memory = journal._core.environment.memory and not journal.closed
        if in_memory and not self._us_handle.ending():
            self._us_handle.keep(journal)
        else:
            journal.close()


def _answer(commit: CommitFuture[Any]) -> Future[Any]:
    future: Future[Any] = Future()

    def settle(done: CommitFuture[Any]) -> None:
        error = done.exception()
        if error is None:
            future.set(done.result())
        else:
            future.set_exception((type(error), error, error.__traceback__))

    commit.add_done_callback(settle)
    return future
