"""The doorbell of an event loop: how other threads have it look at something, at little cost.

asyncio's own way, `call_soon_threadsafe`, makes a handle for each call, sends a byte through a
pair of sockets for each, and the loop reads until a read fails: four system calls and an exception
for one wake-up. A doorbell is one eventfd, written only if nobody has rung since the loop last
looked, and one read; all that has gathered is answered at once. It halves a crossing, and a
thousand answers that come while the loop is busy wake it once.

Where there is no eventfd, or the loop watches no files, ringing is a `call_soon_threadsafe`, still
one for all that has gathered.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Doorbell", "doorbell"]

_running_loop = asyncio._get_running_loop
_write: Any = getattr(os, "eventfd_write", None)


class Doorbell:
    """Made by `doorbell()`, on the thread of its loop; rung from any thread.

    It keeps no loop alive. Its file is closed with the last reference to it, so that nobody who
    is just ringing can write to a file that has got the same number since.
    """

    __slots__ = ("__weakref__", "_file", "_loop", "_rung", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._rung = False
        self._waiting: deque[Any] = deque()
        self._file: int | None = None
        if _write is None:
            return
        file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            # Not in the context of whoever happens to run here now: it would be kept for good.
            Context().run(loop.add_reader, file, self._answer)
        except NotImplementedError:  # a loop that watches no files
            os.close(file)
        else:
            self._file = file

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)

    def belongs_to(self, loop: Any) -> bool:
        """Whether this is the doorbell of `loop`."""
        return self._loop() is loop

    def ring(self, what: asyncio.Future[None] | Callable[[], object]) -> None:
        """Have the loop soon complete a future of its own, or call a function in a fresh context.

        Any thread. If the loop is closed by then, nothing happens.
        """
        self._waiting.append(what)
        if self._rung:
            return
        self._rung = True
        if self._file is not None:
            _write(self._file, 1)  # no signal is delivered between these two lines
            return
        loop = self._loop()
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._answer, context=Context())
        except BaseException as error:
            self._rung = False
            if not isinstance(error, RuntimeError) or not loop.is_closed():
                raise  # but a closed loop has nobody left who waits

    def _answer(self) -> None:
        try:
            if self._file is not None:
                os.eventfd_read(self._file)
        except BlockingIOError:  # a look too many
            pass
        finally:
            self._rung = False  # first clear, then look: who comes in between rings again
        waiting = self._waiting
        try:
            for _ in range(len(waiting)):
                what = waiting.popleft()
                if isinstance(what, asyncio.Future):
                    if not what.done():
                        what.set_result(None)
                else:
                    Context().run(what)
        finally:
            if waiting and not self._rung:  # one of them has raised: the others come next
                self.ring(waiting.popleft())


class _Here(threading.local):
    bell: Doorbell | None = None


_here = _Here()
_lock = threading.Lock()
_bells: weakref.WeakKeyDictionary[Any, Doorbell] = weakref.WeakKeyDictionary()


def doorbell(loop: asyncio.AbstractEventLoop) -> Doorbell:
    """The doorbell of `loop`, whose thread this is; hung up when it is first asked for."""
    bell = _here.bell
    if bell is not None and bell.belongs_to(loop):
        return bell
    with _lock:
        bell = _bells.get(loop)
        if bell is None:
            for other in [other for other in _bells if other.is_closed()]:
                del _bells[other]  # it may be long until a closed loop is collected
            bell = _bells[loop] = Doorbell(loop)
    _here.bell = bell
    return bell
