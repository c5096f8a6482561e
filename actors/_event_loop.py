"""The dispatcher for coroutine handlers: an event loop, its own or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from typing import TYPE_CHECKING, Any

from understudy.actors._dispatcher import Dispatcher
from understudy.actors._doorbell import Doorbell, doorbell
from understudy.actors._errors import Forked, LoopStuck
from understudy.actors._exit import Exit
from understudy.actors._guardian import Failure
from understudy.actors._strand import Strand, local

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from understudy.actors._runtime import Runtime

__all__ = ["EventLoop"]

logger = logging.getLogger("understudy")

PER_ROUND = 64
"""Actors served in one round of the loop, before its other callbacks get a turn."""


class EventLoop(Dispatcher):
    """Runs actors on an event loop.

    By default the loop has a thread of its own, started with the first actor. Given a running
    loop, it runs them there: on the loop of an ASGI application, of a notebook.
    """

    def __init__(
        self, runtime: Runtime, name: str, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(runtime, name)
        self.loop = loop
        self._own = loop is None
        self._scheduled = False
        self._lock = threading.Lock()
        self._up = threading.Event()
        self._strand: Strand | None = None
        self._bell: Doorbell | None = None
        if loop is not None:
            self._attach()

    def _attach(self) -> None:
        """Make the strand of the loop's thread; runs on it, or before the loop does."""
        strand = local.strand
        if strand is None or strand.loop is not self.loop:
            strand = Strand(self.runtime)
            strand.loop = self.loop
            strand.room = 0
            strand.own = self._own
            local.strand = strand
        self._strand = strand
        self._up.set()

    @property
    def strand(self) -> Strand:
        """The strand of the loop, which is started if need be."""
        self._start()
        strand = self._strand
        assert strand is not None
        return strand

    def _start(self) -> None:
        if self._up.is_set():
            return
        if self.runtime.forked:
            raise Forked(self.runtime.name)
        with self._lock:
            if self.loop is None:
                loop = self.loop = asyncio.new_event_loop()
                self.runtime.spawn_thread(
                    functools.partial(self._run_loop, loop), f"{self.runtime.name}-{self.name}"
                )
        self._up.wait()

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        self._attach()
        strand = local.strand
        try:
            loop.run_forever()
        finally:
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            loop.close()
            local.strand = None
            if strand is not None:
                self.runtime.retire(strand)

    def look_after(self) -> None:
        """Have the loop run what is ready; any thread."""
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._start()
        try:
            here = asyncio._get_running_loop()
            if here is not None and here is self.loop:
                here.call_soon(self._drain)
            else:
                self._ring(self._drain)
        except RuntimeError:  # the loop is closed: its actors cannot run any more
            self._scheduled = False
            if not self.loop.is_closed():
                raise
            self._loop_is_gone()

    def _loop_is_gone(self) -> None:
        from understudy.actors._cell import CLOSED

        while self.ready:
            cell: Any = self.ready.popleft()
            if cell._us_phase == CLOSED:
                cell._us_drain()
            else:
                logger.error("%s cannot run: its event loop is closed", cell)
                cell._us_close(Exit.KILLED)  # so that whoever asks it is told

    def leave_stuck(self, strand: Strand) -> bool:
        """A handler blocks the loop's thread for good: go on with a fresh loop.

        Handlers that were suspended on the old loop are taken from it as well, and their actors
        begin anew at no cost; the old thread ends if it ever comes back.

        Returns:
            False if that cannot be done, since the loop is somebody else's, or was done already.
        """
        with self._lock:
            if not self._own or strand is not self._strand:
                return False
            stuck = self.loop
            self.loop = None
            self._strand = None
            self._bell = None
            self._up.clear()
            self._scheduled = False
        stuck.call_soon_threadsafe(stuck.stop)
        for turn in [turn for turn in tuple(self.runtime.turns) if turn.strand is strand]:
            self.runtime.turns.discard(turn)
            cell = turn.cell
            if cell._us_fence(turn):
                cell._us_guardian.child_failed(
                    cell,
                    cell._us_incarnation,
                    Failure(LoopStuck(self.name), turn.envelope, "interrupt"),
                )
        if self.ready:
            self._schedule()
        return True

    def _drain(self) -> None:
        loop = asyncio._get_running_loop()
        if loop is None or loop is not self.loop:
            return  # left over on a loop that was stuck: the fresh one has taken this up
        self._scheduled = False
        strand = self.strand
        if local.strand is not strand:
            local.strand = strand
        if self._bell is None:
            self._bell = doorbell(loop)
        for _ in range(min(len(self.ready), PER_ROUND)):
            self.ready.popleft()._us_run(strand)
        if self.ready and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._drain)

    def _ring(self, function: Callable[[], object]) -> None:
        loop, bell = self.loop, self._bell
        if bell is None or loop.is_closed():  # nothing has run there yet; or it raises
            loop.call_soon_threadsafe(function)
        else:
            bell.ring(function)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on the loop's thread, soon."""
        self._start()
        self._ring(function)

    def await_for(self, awaitable: Any, reply: Any) -> None:
        """Await something a handler returned, and answer with what it gives."""

        async def wait() -> None:
            try:
                value = await awaitable
            except BaseException as error:
                reply._us_fail(error)
            else:
                reply._us_resolve(value)

        self.run_to_end(wait())

    def run_to_end(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine on the loop; what it raises is logged."""
        tasks: set[Any] = set()

        def over(task: Any) -> None:
            tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                logger.error("A coroutine failed", exc_info=task.exception())

        def begin() -> None:
            task = self.loop.create_task(coroutine)
            tasks.add(task)
            task.add_done_callback(over)

        self.call(begin)

    def strands(self) -> list[Strand]:
        """The strand of the loop, once it runs."""
        return [self._strand] if self._strand is not None else []

    def statistics(self) -> dict[str, Any]:
        """Numbers for reports."""
        return {
            "kind": "asyncio",
            "threads": 1 if self._own and self._up.is_set() else 0,
            "running": sum(1 for strand in self.strands() if strand.current is not None),
            "queued": len(self.ready),
        }

    def close(self) -> None:
        """Stop the loop, if it is our own."""
        if self._own and self.loop is not None and self.loop.is_running():
            self.loop.call_soon_threadsafe(self.loop.stop)
