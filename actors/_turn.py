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
from sys import getrefcount
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextvars import Context

    from understudy.actors._strand import Strand

__all__ = ["Turn", "swap_task"]


class _Probe:
    def references(self) -> int:
        return getrefcount(self)


def _unshared() -> int:
    probe = _Probe()
    return probe.references()


_UNSHARED = _unshared()
"""What a method counts of its own object when only one local variable of its caller holds it:
this differs between versions of the interpreter."""


if hasattr(tasks, "_swap_current_task"):
    # From Python 3.12 on.
    swap_task: Callable[[Any, Any], Any]  # pyright: ignore[reportRedeclaration]
    swap_task = tasks._swap_current_task  # pyright: ignore[reportAttributeAccessIssue]
else:
    _current: dict[Any, Any] = tasks._current_tasks  # type: ignore[attr-defined]

    def swap_task(loop: Any, task: Any) -> Any:
        """Make `task` the current one of the loop; returns the one before, None if none was."""
        before = _current.get(loop)
        if task is None:
            _current.pop(loop, None)
        else:
            _current[loop] = task
        return before


class Turn(asyncio.Future):  # type: ignore[type-arg]  # generic in stubs only
    """One call of a coroutine handler.

    `then(cell, strand, lock, turn)` is called by the owner of the cell once it is over, with
    `value` and `error` set. `waiting` is the actor whose answer it awaits. Up to `quiet_until`,
    a monotonic time of the system's clock, the failure detector does not look at it; 0 where it
    does.
    """

    # Defaults on the class, so that making one stores only what differs.
    value: Any = None
    error: BaseException | None = None
    over = False
    stepping = False
    eager = False
    inside = False
    steps = 0
    waits: list[Any] | None = None
    timer: Any = None
    expired = False
    registered = False
    _fut_waiter: Any = None
    _must_cancel = False
    _cancels = 0
    quiet_until = 0.0

    def __init__(
        self,
        cell: Any,
        lock: Any,
        coroutine: Coroutine[Any, Any, Any] | None,
        envelope: Any,
        strand: Strand,
        context: Context,
        then: Callable[[Any, Any, Any, Turn], None],
    ) -> None:
        super().__init__(loop=strand.loop)
        self.cell: Any = cell
        self.lock = lock
        self.envelope = envelope
        self.number = strand.number
        self.strand = strand
        self.context = context
        self.then = then
        self.coroutine: Any = coroutine

    def reuse(
        self,
        cell: Any,
        lock: Any,
        coroutine: Coroutine[Any, Any, Any] | None,
        envelope: Any,
        context: Context,
        then: Callable[[Any, Any, Any, Turn], None],
    ) -> None:
        """Serve another call: the last one ended in its first step, and is forgotten."""
        self.cell = cell
        self.lock = lock
        self.envelope = envelope
        self.number = self.strand.number
        self.context = context
        self.then = then
        self.over = False
        self.coroutine = coroutine

    def recycle(self) -> None:
        """Keep it for another call, if it ended in its first step and nobody else holds it."""
        if getrefcount(self) != _UNSHARED:  # somebody has kept the loop's current task
            return
        self.cell = self.envelope = self.value = self.error = self.coroutine = None
        if self.steps or self._cancels or self._must_cancel:
            self.steps = self._cancels = 0
            self._must_cancel = False
        self.strand.spare_turn = self

    def publish(self) -> None:
        """It has suspended: from now on its actor waits for it, and others may see it."""
        cell = self.cell
        cell._us_extra.turns.append(self)
        self.arm()
        cell._us_rt.turns.add(self)
        cell._us_odd = True

    def arm(self) -> None:
        """Let the caller's cancel and the message's deadline reach the handler."""
        envelope = self.envelope
        if type(envelope) is not tuple:
            return
        reply, deadline = envelope[1], envelope[6]
        if reply is not None:
            reply._us_on_cancel = self.cancel_soon
        if deadline is not None:
            self.timer = self.cell._us_rt.clock.call_at(deadline, self.expire)

    # --- what asyncio and its libraries expect of a current task -----------------------------

    def get_coro(self) -> Any:
        """The coroutine."""
        return self.coroutine

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
    def current(self) -> Any:
        """The actor whose handler it is."""
        return self.cell

    @property
    def waiting(self) -> Any:
        """The actor whose answer is awaited; the last one where there are several."""
        return self.waits[-1] if self.waits else None

    def add_wait(self, callee: Any) -> None:
        """It now awaits an answer of `callee`."""
        if self.waits is None:
            self.waits = []
        self.waits.append(callee)

    def discard_wait(self, callee: Any) -> None:
        """It does not any more."""
        with contextlib.suppress(ValueError):
            (self.waits or []).remove(callee)

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
        coroutine = self.coroutine
        before = (strand.current, strand.envelope, strand.room, strand.turn)
        strand.turn = self
        strand.current = self.cell
        strand.envelope = self.envelope
        strand.room = 0
        task = swap_task(loop, self)
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
            self.suspend_on(result)

    def _leave(self, task: Any, before: tuple[Any, Any, Any, Any]) -> None:
        self.stepping = False
        strand = self.strand
        swap_task(strand.loop, task)
        strand.current, strand.envelope, strand.room, strand.turn = before

    def suspend_on(self, result: Any) -> None:
        """Go on once what the handler has yielded is done."""
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
        envelope = self.envelope
        if type(envelope) is tuple and envelope[1] is not None:
            envelope[1]._us_on_cancel = None  # or they would keep each other alive
        self.cell._us_rt.turns.discard(self)
        if not self.done():
            super().set_result(None)
        self.cell._us_turn_ended(self)

    def abandon(self) -> None:
        """Let go of the handler: it is cancelled, and whatever it still does is not heard."""
        self.cancel_soon()
