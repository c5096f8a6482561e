"""Futures: a value that is there now or later, for threads, event loops and callbacks alike.

How it is kept: `_us_done` is None until the result is stored, in one step, as a pair
(value, exception). Who waits registers first and looks again after, and who resolves stores first
and looks for waiters after; with the sequentially consistent attribute access the GIL gives, one
of the two always sees the other. A lock is made only by somebody who really has to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import pykka

from understudy.actors._doorbell import doorbell
from understudy.actors._errors import ActorDeadError, AskCycle, BlockingAsk, Timeout
from understudy.actors._strand import LOOKS, local, yield_cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from understudy.actors._strand import Strand

__all__ = ["Future", "ThreadingFuture", "get_all"]

logger = logging.getLogger("understudy")

T = TypeVar("T")
M = TypeVar("M")
R = TypeVar("R")

_running_loop = asyncio._get_running_loop
_allocate_lock = threading.Lock
_Lock = threading.Lock().__class__
_LONGEST = threading.TIMEOUT_MAX


class Future(pykka.ThreadingFuture[T], Generic[T]):
    """A handle to a value which is available now or in the future.

    Call `get()` from a thread, `await` it on any event loop, or have a function called with
    `add_done_callback()`. A `pykka.Future`, with all that Pykka's offers.
    """

    # Defaults on the class, and an object's own __init__: making a future costs one allocation.
    _us_done: tuple[Any, Any] | None = None
    _us_callee: Any = None
    _us_callbacks: list[Any] | None = None
    _us_cancelled: bool = False
    _us_on_cancel: Callable[[], object] | None = None
    _get_hook: Any = None
    _us_sources: tuple[pykka.Future[Any], ...] = ()

    __init__ = object.__init__

    def __repr__(self) -> str:
        return "<pykka.Future>" if self._us_done is None else f"<pykka.Future {self._us_state()}>"

    def _us_state(self) -> str:
        if self._us_done is None:
            return "pending"
        value, error = self._us_done
        return f"error={error[1]!r}" if error is not None else f"value={value!r}"

    # --- resolving ---------------------------------------------------------------------------

    def set(self, value: T | None = None) -> None:
        """Set the value. Raises `queue.Full` if there is a result or a get hook already."""
        if self._get_hook is not None or not self._us_resolve(value):
            raise queue.Full

    def set_exception(self, exc_info: Any = None) -> None:
        """Set an exception: the one being handled, an `exc_info` triple, or an exception.

        Raises `queue.Full` if there is a result or a get hook already.
        """
        if exc_info is None:
            exc_info = sys.exc_info()
        elif isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        if self._get_hook is not None or not self._us_reject(exc_info):
            raise queue.Full

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Have `func(timeout)` make the value when it is first asked for.

        Raises `queue.Full` if there is a result already.
        """
        if self._us_done is not None:
            raise queue.Full
        self._get_hook = func

    def _us_resolve(self, value: Any) -> bool:
        if self._us_done is not None:
            return False
        mine = (value, None)
        # One line without a call: no thread switch parts its load from its store, so that the
        # first of two racing resolvers wins. (A build without the GIL needs a lock here.)
        self._us_done = done = self._us_done or mine
        if self._us_callbacks is not None:
            self._us_notify()
        return done is mine

    def _us_reject(self, exc_info: tuple[Any, Any, Any]) -> bool:
        if self._us_done is not None:
            return False
        mine = (None, exc_info)
        self._us_done = done = self._us_done or mine
        if self._us_callbacks is not None:
            self._us_notify()
        return done is mine

    def _us_fail(self, error: BaseException) -> bool:
        return self._us_reject((type(error), error, error.__traceback__))

    def _us_notify(self) -> None:
        callbacks = self._us_callbacks
        while callbacks:
            try:
                callback = callbacks.pop(0)
            except IndexError:  # another notifier was quicker
                return
            if callback.__class__ is _Lock:  # a thread that waits
                callback.release()
            elif callback.__class__ is tuple:  # a coroutine that waits
                waiter, loop, bell = callback
                if _running_loop() is not loop:
                    bell.ring(waiter)
                elif not waiter.done():
                    waiter.set_result(None)
            else:
                _call(callback, self)

    # --- waiting -----------------------------------------------------------------------------

    def get(self, *, timeout: float | None = None) -> Any:
        """Get the value, waiting for it if need be.

        May run the actor that owes the answer on this thread, where nobody set a time limit.

        Args:
            timeout: seconds to wait; None, the default, waits as long as it takes.

        Raises:
            Timeout: the time is over.
            BlockingAsk: it would block a thread that runs an event loop: await it instead.
            AskCycle: the answer can never come, since its actor waits for this one.
            Exception: the value, if it is an exception.
        """
        done = self._us_done
        if done is None:
            if self._get_hook is not None:
                return self._us_hooked(timeout)
            self._us_wait(timeout)
            done = cast("tuple[Any, Any]", self._us_done)
        value, error = done
        if error is None:
            return value
        kind, exception, traceback = error
        if exception is None:
            exception = kind()
        if exception.__traceback__ is not traceback:
            raise exception.with_traceback(traceback)
        raise exception

    def _us_hooked(self, timeout: float | None) -> Any:
        value = self._get_hook(timeout)
        if self._us_done is None:
            self._us_done = (value, None)
            if self._us_callbacks is not None:
                self._us_notify()
        return self._us_done[0]

    def _us_wait(self, timeout: float | None, *, on_loop: bool = False) -> None:
        """Return once the result is there. `on_loop`: may block a thread with an event loop."""
        strand = local.strand
        callee = self._us_callee
        if strand is not None and strand.current is not None and timeout is None:
            timeout = strand.current._us_rt.remaining(strand.envelope)
        loop = _running_loop()
        if loop is not None and not on_loop:
            raise BlockingAsk("get() of a future that has no result yet")
        if callee is not None:
            if loop is None and (timeout is None or callee._us_info.inline):
                callee._us_serve(self)
                if self._us_done is not None:
                    return
            elif loop is not None and callee._us_on_loop(loop):
                raise BlockingAsk("waiting for an actor of the same event loop")
        self._us_block(timeout, strand, callee)

    def _us_block(self, timeout: float | None, strand: Strand | None, callee: Any) -> None:
        # Not for a pool's worker, whose slot somebody else may be in need of.
        if (timeout is None or timeout > 0) and (strand is None or strand.pool is None):
            for _ in range(LOOKS):
                yield_cpu()
                if self._us_done is not None:
                    return
        gate = _allocate_lock()
        gate.acquire()
        fresh: list[Any] = []
        self._us_callbacks = callbacks = fresh if self._us_callbacks is None else self._us_callbacks
        callbacks.append(gate)
        if self._us_done is not None:
            self._us_notify()
            return
        actor = strand.current if strand is not None else None
        before = None
        if actor is not None and strand is not None:
            before, strand.waiting = strand.waiting, callee
            if callee is not None and (cycle := find_cycle(strand, callee)):
                strand.waiting = before
                error = AskCycle(cycle)
                self._us_fail(error)  # so that the message is not handled after all
                raise error
            if strand.pool is not None:
                strand.pool.lend(strand)
        try:
            if timeout is None:
                gate.acquire()
            elif not gate.acquire(timeout > 0, timeout if 0 < timeout < _LONGEST else -1):
                raise Timeout(f"{timeout} seconds")
        finally:
            if strand is not None:
                strand.waiting = before

    def _us_subscribe(self, callback: Callable[[Future[T]], object] | tuple[Any, Any, Any]) -> None:
        """Have `callback(self)` called once, now or later. It must not raise.

        In its place may stand who waits on an event loop: (its future, the loop, the doorbell).
        """
        fresh: list[Any] = []
        self._us_callbacks = callbacks = fresh if self._us_callbacks is None else self._us_callbacks
        callbacks.append(callback)
        if self._us_done is not None:
            self._us_notify()

    # --- beyond Pykka ------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether the result is there, so that `get()` returns at once."""
        return self._us_done is not None

    def cancel(self) -> bool:
        """Give up on the answer: whoever waits for it gets an `asyncio.CancelledError`.

        A message that still waits in the mailbox is not handled any more, and a coroutine
        handler at work is cancelled; a plain handler at work goes on, unheard. False if the
        result was there before.
        """
        if self._us_done is not None:
            return False
        self._us_cancelled = True
        hook = self._us_on_cancel
        if hook is not None:
            hook()
        return self._us_fail(asyncio.CancelledError("the ask was cancelled by its caller"))

    def cancelled(self) -> bool:
        """Whether `cancel()` came before the result."""
        return self._us_cancelled

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception this future holds, or None if it holds a value; waits like `get()`."""
        try:
            self.get(timeout=timeout)
        except BaseException as error:
            if self._us_done is None or self._us_done[1] is None:
                raise
            return error
        return None

    def add_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        """Call `callback(future)` once the result is there; at once if it is.

        It runs on the thread that sets the result and must not block; what it raises is logged.
        """
        self._us_start_hooked()
        self._us_subscribe(callback)

    def _us_start_hooked(self) -> None:
        """Make a future with a get hook resolve by itself once what it is made of has."""
        hook = self._get_hook
        if hook is None or self._us_done is not None or "_us_hooked_up" in self.__dict__:
            return
        self.__dict__["_us_hooked_up"] = True
        if not self._us_sources:
            threading.Thread(target=self._us_run_hook, daemon=True, name="understudy-hook").start()
            return
        waiting = len(self._us_sources)
        lock = threading.Lock()

        def one_less(_: Any) -> None:
            nonlocal waiting
            with lock:
                waiting -= 1
                last = waiting == 0
            if last:
                self._us_run_hook()

        for source in self._us_sources:
            _when_done(source, one_less)

    def _us_run_hook(self) -> None:
        try:
            value = self._get_hook(None)
        except BaseException as error:
            self._us_fail(error)
        else:
            self._us_resolve(value)

    def __await__(self) -> Generator[Any, None, T]:
        if self._us_done is None:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            if self._get_hook is not None:
                self._us_start_hooked()
            self._us_subscribe((waiter, loop, doorbell(loop)))
            if self._us_done is None:
                strand = local.strand
                turn = None
                if strand is not None and strand.turn is not None and self._us_callee is not None:
                    turn = _note_wait(self, strand, self._us_callee)
                try:
                    yield from waiter
                except asyncio.CancelledError:
                    if self._us_done is None:
                        self.cancel()
                    raise
                finally:
                    if turn is not None:
                        turn.discard_wait(self._us_callee)
        done = self._us_done
        value: T = done[0] if done is not None and done[1] is None else self.get()
        return value

    __iter__ = __await__

    def _us_derived(
        self, hook: Callable[[float | None], M], *others: pykka.Future[Any]
    ) -> Future[M]:
        future: Future[M] = Future()
        future._get_hook = hook
        future._us_sources = (self, *others)
        return future

    def map(self, func: Callable[[T], M]) -> Future[M]:
        """Return a future of `func(value)`; called when first needed."""
        return self._us_derived(lambda timeout: func(self.get(timeout=timeout)))

    def filter(self, func: Callable[[Any], bool]) -> Future[Any]:
        """Return a future of the list of those items for which `func(item)` is true."""
        return self._us_derived(lambda timeout: list(filter(func, self.get(timeout=timeout))))

    def join(self, *futures: pykka.Future[Any]) -> Future[Any]:
        """Return a future of the list of the values of all these futures."""
        return self._us_derived(
            lambda timeout: get_all((self, *futures), timeout=timeout), *futures
        )

    def reduce(self, func: Callable[[Any, Any], Any], *args: Any) -> Future[Any]:
        """Return a future of the value's items reduced by `func`."""
        return self._us_derived(
            lambda timeout: functools.reduce(func, self.get(timeout=timeout), *args)
        )


ThreadingFuture = Future


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _call(callback: Callable[[Any], object], future: Any) -> None:
    try:
        callback(future)
    except Exception:
        logger.exception("A done callback failed: %r", callback)


def _when_done(source: Any, callback: Callable[[Any], object]) -> None:
    """Call back when any kind of Pykka future is done."""
    if isinstance(source, Future):
        source.add_done_callback(callback)
        return

    def wait() -> None:
        with contextlib.suppress(BaseException):  # the hook meets it again, and keeps it
            source.get()
        callback(source)

    threading.Thread(target=wait, daemon=True, name="understudy-join").start()


def _note_wait(future: Future[Any], strand: Strand, callee: Any) -> Any:
    """Publish that the coroutine handler running here waits for `callee`; refuse a cycle."""
    cell = strand.current
    turn = cell._us_turn_here() if cell is not None else None
    if turn is None:
        return None
    turn.add_wait(callee)
    cycle = find_cycle(turn, callee)
    if cycle:
        turn.discard_wait(callee)
        error = AskCycle(cycle)
        future._us_fail(error)
        raise error
    return turn


def find_cycle(waiter: Any, callee: Any) -> list[Any]:
    """The chain of actors that wait for each other, if it leads from `callee` back to `waiter`.

    `waiter` is a strand or a suspended turn, which has published what it waits for. Each step
    goes from an actor to whoever runs it now, and to what that one waits for.
    """
    start = waiter.current
    chain = [start]
    seen: set[int] = set()
    cell = callee
    while cell is not None and id(cell) not in seen:
        seen.add(id(cell))
        chain.append(cell)
        holder = cell._us_holder()
        if holder is None:
            return []
        above: list[Any] = []
        for other in holder.stack():
            if other is cell:
                break
            above.append(other)
        chain.extend(reversed(above))
        if holder is waiter:
            return chain if chain[-1] is start else [*chain, start]
        cell = holder.waiting
    return []


def get_all(futures: Iterable[pykka.Future[Any]], *, timeout: float | None = None) -> list[Any]:
    """Collect the values of all futures, in order.

    Args:
        futures: what to wait for.
        timeout: seconds for all of them together; None waits as long as it takes.

    Raises:
        Timeout: the time is over.
    """
    if timeout is None:
        return [future.get() for future in futures]
    deadline = time.monotonic() + timeout
    return [future.get(timeout=max(0.0, deadline - time.monotonic())) for future in futures]


def dead(ref: Any, message: Any = None, text: str = "") -> ActorDeadError:
    """The error of an ask whose actor is dead."""
    return ActorDeadError(text or f"{ref} not found", ref=ref, message=message)
