"""A strand: one line of execution that can run actors, and what it is doing right now.

Each thread that ever ran an actor has one: the workers of the pools, the event loops, and, for
inline asks, any other thread. The detector and the statistics look at strands only, so that an
idle actor costs nothing to watch.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import threading
import time
import weakref
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from understudy.actors._runtime import Runtime

__all__ = [
    "LOOKS",
    "Strand",
    "Unwind",
    "cell_var",
    "current_cell",
    "local",
    "strand_here",
    "strands",
    "throw_unwind",
    "yield_cpu",
]

INLINE_DEPTH = 32
"""How many actors may run on top of each other on one thread. Chosen by feel: a handler with a
few frames of its own stays far from Python's limit of 1000 frames."""

LOOKS = 2
"""How often a thread that has to wait yields the CPU and looks again before it goes to sleep."""

yield_cpu = getattr(os, "sched_yield", None) or functools.partial(time.sleep, 0)
"""Let another thread run, which is often all that a waiting one needs; at once if there is none.

Going to sleep and being woken takes two system calls on either side, and on one core the other
thread could not do its work before anyway.
"""

_serial = itertools.count(1)
_strands: weakref.WeakSet[Strand] = weakref.WeakSet()
_strands_lock = threading.Lock()

cell_var: ContextVar[Any] = ContextVar("understudy_cell")
"""The actor a task on an event loop belongs to. Set in the contexts of coroutine handlers only:
on pool threads the strand knows, and their contexts stay empty."""


class Unwind(BaseException):
    """Thrown into a worker thread whose actor was replaced, to unwind a loop of plain Python."""


_set_async_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc


def throw_unwind(*thread_ids: int) -> None:
    """Raise `Unwind` in threads at their next Python instruction; drop what waits for this one.

    While an exception waits for a thread that stands still, CPython 3.11 has a process-wide flag
    up under which no traced function is ever entered: a debugger would hang all other threads.
    The flag goes down when any thread receives one, so this thread throws one at itself, before
    it enters another function. Who still has one to come raises the flag again when it next
    takes the interpreter.
    """
    unwind = ctypes.py_object(Unwind)
    ids = [ctypes.c_ulong(one) for one in (*thread_ids, threading.get_ident())]
    try:
        for one in ids:
            _set_async_exception(one, unwind)
        for _ in range(1000):  # it comes with the first of these
            pass
    except Unwind:
        pass


class Strand:
    """What one thread is running.

    `current` and `envelope` are the innermost actor and its message; `number` is that of its
    handler call. `turns` counts the calls, so that (turns, current) is a progress stamp that costs
    no clock; the two differ after an inline ask, which counts on. `room` is how many
    inline asks may still be nested, zero while a deadline is in force.
    """

    __slots__ = (
        "__weakref__",
        "base_turns",
        "context",
        "current",
        "envelope",
        "hurry",
        "loop",
        "mark",
        "number",
        "own",
        "pool",
        "room",
        "runtime",
        "serial",
        "spare",
        "spare_turn",
        "thread_id",
        "turn",
        "turns",
        "waiting",
        "zombie",
    )

    def __init__(self, runtime: Runtime | None = None) -> None:
        self.current: Any = None
        self.envelope: Any = None
        self.turns = 0
        self.number = 0
        self.room = INLINE_DEPTH
        self.waiting: Any = None
        self.spare: Context | None = None
        self.turn: Any = None
        self.spare_turn: Any = None
        self.context: Context | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.pool: Any = None
        self.hurry = False
        self.mark: Any = None
        self.own = False
        self.zombie = False
        self.runtime = runtime
        self.base_turns = 0
        self.serial = next(_serial)
        self.thread_id = threading.get_ident()
        with _strands_lock:
            _strands.add(self)

    def adopt(self, runtime: Runtime) -> None:
        """Count the turns from here on for `runtime`."""
        before = self.runtime
        if before is not None:
            before.count_turns(self.turns - self.base_turns)
        self.base_turns = self.turns
        self.runtime = runtime

    def __del__(self) -> None:
        if self.runtime is not None:
            self.runtime.count_turns(self.turns - self.base_turns)

    def cpu_clock(self) -> int | None:
        """The id of the CPU clock of this thread, for `time.clock_gettime`; None if unknown."""
        getter = getattr(time, "pthread_getcpuclockid", None)
        if getter is None:
            return None
        try:
            clock: int = getter(self.thread_id)
        except OSError:
            return None
        return clock

    def stack(self) -> Iterator[Any]:
        """The actors running here, the innermost first."""
        cell = self.current
        while cell is not None:
            yield cell
            cell = cell._us_below


class _Local(threading.local):
    strand: Strand | None = None


local = _Local()


def strand_here() -> Strand:
    """The strand of this thread, made if it has none."""
    strand = local.strand
    if strand is None:
        strand = local.strand = Strand()
    return strand


def strands() -> list[Strand]:
    """All strands alive in the process."""
    with _strands_lock:
        return list(_strands)


def current_cell() -> Any:
    """The actor whose code is running here, or None."""
    strand = local.strand
    if strand is None:
        return None
    cell = strand.current
    if cell is None and strand.loop is not None:
        cell = cell_var.get(None)
    return cell
