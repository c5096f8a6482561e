"""A coroutine handler at work: what asyncio calls a task, begun at once.

The first step of a handler is made right where its message is taken up, without a round through
the event loop; most handlers never suspend, and those cost no more than a plain call. asyncio's
own tasks cannot do that before Python 3.12, so this is a small task of our own: it steps the
coroutine, is the loop's current task meanwhile (timeouts and task groups look for it), and tells
the actor's strand whose code is running.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import tasks
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextvars import Context

    from understudy.actors._strand import Strand

__all__ = ["Turn"]

_NONE: Any = None


if hasattr(tasks, "_swap_current_task"):
    # From Python 3.12 on.
    _swap: Callable[[Any, Any], Any]  # pyright: ignore[reportRedeclaration]
    _swap = tasks._swap_current_task  # pyright: ignore[reportAttributeAccessIssue]
else:
    _current: dict[Any, Any] = tasks._current_tasks  # type: ignore[attr-defined]

    def _swap(loop: Any, task: Any) -> Any:
        before = _current.pop(loop, None)
        if task is not None:
            _current[loop] = task
        return before


class Turn(asyncio.Future):  # type: ignore[type-arg]  # generic in stubs only
    """One call of a coroutine handler.

    `then(cell, strand, lock, turn)` is called by the owner of the cell once it is over, with
    `value` and `error` set. `waiting` is the actor whose answer it awaits. Up to `quiet_until`,
    a monotonic time of the system's clock, the failure detector does not look at it; 0 where it
    does.
    """

    quiet_until = 0.0

    def __init__(
        self,
        cell: Any,
        lock: Any,
        coroutine: Coroutine[Any, Any, Any],
        envelope: Any,
        strand: Strand,
        context: Context,
        then: Callable[[Any, Any, Any, Turn], None],
    ) -> None:
        super().__init__(loop=strand.loop)
        self.cell: Any = cell
        self.current = cell
        self.lock = lock
        self.envelope = envelope
        self.number = strand.number
        self.strand = strand
        self.context = context
        self.then = then
        self.value: Any = None
        self.error: BaseException | None = None
        self.over = False
        self.stepping = False
        self.eager = False
        self.inside = False
        self.steps = 0
        self.waits: list[Any] = []
        self.timer: Any = None
        self.expired = False
        self.registered = False
        self._coroutine = coroutine
        self._fut_waiter: Any = None
        self._must_cancel = False
        self._cancels = 0

    def reuse(
        self,
        cell: Any,
        lock: Any,
        coroutine: Coroutine[Any, Any, Any],
        envelope: Any,
        context: Context,
        then: Callable[[Any, Any, Any, Turn], None],
    ) -> None:
        """Serve another call: the last one ended in its first step, and is forgotten."""
        self.cell = self.current = cell
        self.lock = lock
        self.envelope = envelope
        self.number = self.strand.number
        self.context = context
        self.then = then
        self.over = False
        self._coroutine = coroutine

    def forget(self) -> None:
        """Drop what the last call has left."""
        self.cell = self.current = self.envelope = self.value = self.error = None
        self._coroutine = _NONE
        self._must_cancel = False
        self._cancels = 0
        self.steps = 0

    # --- what asyncio and its libraries expect of a current task -----------------------------

    def get_coro(self) -> Coroutine[Any, Any, Any]:
        """The coroutine."""
        return self._coroutine

    def get_context(self) -> Context:
        """The context its steps run in."""
        return self.context

    def get_name(self) -> str:
        """The path of the actor."""
        return str(self.cell.path)

    def set_name(self, value: object) -> None:
        """Refused silently: a turn is named after its actor."""

    def cancelling(self) -> int:
        """How many cancellations are pending."""
        return self._cancels

    def uncancel(self) -> int:
        """Take one cancellation back."""
        self._cancels = max(0, self._cancels - 1)
        return self._cancels

    def cancel(self, msg: Any = None) -> bool:
        """Throw `CancelledError` into the handler at its next step. Loop thread only."""
        if self.over:
            return False
        self._cancels += 1
        waiter = self._fut_waiter
        if waiter is not None and waiter.cancel(msg=msg):
            return True
        self._must_cancel = True
        return True

    def cancel_soon(self) -> None:
        """`cancel()` from any thread."""
        loop = self.strand.loop
        if loop is None or self.over:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing runs there
            loop.call_soon_threadsafe(self.cancel)

    def expire(self) -> None:
        """Cancel it because the deadline of its message is over. Any thread."""
        self.expired = True
        self.cancel_soon()

    # --- as the failure detector sees it -----------------------------------------------------

    @property
    def progress(self) -> tuple[int, int]:
        """Another value means that it visibly moved: a step, a heartbeat."""
        extra = self.cell._us_extra
        return self.steps, extra.beats if extra is not None else 0

    def rest(self, until: float, progress: tuple[int, int]) -> bool:
        """Do without looks until then, unless it has moved since it had this progress."""
        self.quiet_until = until
        # A heartbeat counts, then looks whether it must wake: one of the two sees the other.
        if self.over or self.progress != progress:
            self.quiet_until = 0.0
            return False
        return True

    # --- as a link in a chain of waiting actors ----------------------------------------------

    @property
    def waiting(self) -> Any:
        """The actor whose answer is awaited; the last one where there are several."""
        return self.waits[-1] if self.waits else None

    def add_wait(self, callee: Any) -> None:
        """It now awaits an answer of `callee`."""
        self.waits.append(callee)

    def discard_wait(self, callee: Any) -> None:
        """It does not any more."""
        with contextlib.suppress(ValueError):
            self.waits.remove(callee)

    def stack(self) -> Iterator[Any]:
        """The actors at work here: one."""
        yield self.cell

    # --- stepping ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Make the first step of a turn that was handed over from another thread."""
        self.step()

    def step(self, error: BaseException | None = None) -> None:
        """Run the handler up to its next suspension."""
        if self.over:
            return
        if self._must_cancel:
            if not isinstance(error, asyncio.CancelledError):
                error = asyncio.CancelledError()
            self._must_cancel = False
        self._fut_waiter = None
        strand = self.strand
        loop = strand.loop
        coroutine = self._coroutine
        before = (strand.current, strand.envelope, strand.room, strand.turn)
        strand.turn = self
        strand.current = self.cell
        strand.envelope = self.envelope
        strand.room = 0
        task = _swap(loop, self)
        self.stepping = True
        self.steps += 1
        run: Any = coroutine.send if error is None else coroutine.throw
        try:
            # Inside: the first step, from a loop that has entered the context already.
            result = run(error) if self.inside else self.context.run(run, error)
        except StopIteration as stop:
            self._leave(task, before)
            self._end(stop.value, None)
        except BaseException as raised:
            self._leave(task, before)
            self._end(None, raised)
        else:
            self._leave(task, before)
            self._await(result)

    def _leave(self, task: Any, before: tuple[Any, Any, Any, Any]) -> None:
        self.stepping = False
        strand = self.strand
        _swap(strand.loop, task)
        strand.current, strand.envelope, strand.room, strand.turn = before

    def _await(self, result: Any) -> None:
        loop = self.strand.loop
        assert loop is not None
        if not self.registered:
            self.registered = True
            tasks._register_task(self)  # type: ignore[arg-type]  # asked for by duck
        if result is None:
            loop.call_soon(self.step)
            return
        blocking = getattr(result, "_asyncio_future_blocking", None)
        if not blocking:
            problem = f"a coroutine handler yielded {result!r}, which asyncio cannot await"
        elif result.get_loop() is not loop:
            problem = f"{result!r} belongs to another event loop than {self.cell}"
        elif result is self:
            problem = f"{self.cell} awaits itself"
        else:
            result._asyncio_future_blocking = False
            result.add_done_callback(self._wake)
            self._fut_waiter = result
            if self._must_cancel and result.cancel():
                self._must_cancel = False
            return
        loop.call_soon(self.step, RuntimeError(problem))

    def _wake(self, future: Any) -> None:
        try:
            future.result()
        except BaseException as error:
            self.step(error)
        else:
            self.step()

    def _end(self, value: Any, error: BaseException | None) -> None:
        self.over = True
        self.value = value
        self.error = error
        if self.timer is not None:
            self.timer.cancel()
        if self.registered:
            tasks._unregister_task(self)  # type: ignore[arg-type]  # asked for by duck
        if self.eager:
            return
        self.cell._us_rt.turns.discard(self)
        if not self.done():
            super().set_result(None)
        self.cell._us_turn_ended(self)

    def abandon(self) -> None:
        """Let go of the handler: it is cancelled, and whatever it still does is not heard."""
        self.cancel_soon()
