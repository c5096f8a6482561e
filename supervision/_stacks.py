"""What a thread or a coroutine is doing, as text."""

from __future__ import annotations

import asyncio
import gc
import inspect
import io
import sys
import textwrap
import threading
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["coroutine_stack", "task_stack", "thread_stack"]

HELPERS = {
    "FutureIter", "async_generator_asend", "async_generator_athrow", "anext_awaitable",
    "coroutine_wrapper",
}  # fmt: skip
MOST_FRAMES = 100
MOST_TASKS = 10


def thread_stack(thread_id: int) -> str | None:
    """The Python stack of a thread, innermost call last; None where there is no such thread.

    What a thread does inside C is not seen: its innermost line is the call into it.
    """
    frame = sys._current_frames().get(thread_id)
    if frame is None:
        return None
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    name = names.get(thread_id, "unknown")
    return f"thread {name} ({thread_id}):\n" + "".join(traceback.format_stack(frame))


def task_stack(task: asyncio.Task[Any]) -> str:
    """The stack of a suspended task, as asyncio prints it."""
    out = io.StringIO()
    task.print_stack(file=out)
    return out.getvalue()


def coroutine_stack(coroutine: Any) -> str:
    """Where a suspended coroutine waits: its own frames, and those of all that it awaits.

    Async generators and tasks that it awaits are followed into their own code.
    """
    return "coroutine:\n" + "".join(_frames(coroutine, ""))


def _frames(awaitable: Any, margin: str) -> Iterator[str]:
    for _ in range(MOST_FRAMES):
        frame, awaited = _look(awaitable)
        if frame is not None:
            for line in traceback.format_stack(frame, limit=1):
                yield textwrap.indent(line, margin)
        if awaited is None:
            return
        behind = _behind(awaited)
        tasks = list(_tasks_of(behind))
        if len(tasks) == 1 and not margin:
            yield f"  in task {tasks[0].get_name()}:\n"
            behind = tasks[0].get_coro()
        elif tasks:
            for task in tasks[:MOST_TASKS]:
                yield f"{margin}  in task {task.get_name()}:\n"
                if not margin:  # one level: tasks may await each other's
                    yield from _frames(task.get_coro(), "  ")
            if len(tasks) > MOST_TASKS:
                yield f"{margin}  and {len(tasks) - MOST_TASKS} tasks more\n"
            return
        elif _look(behind) == (None, None):
            yield f"{margin}  awaiting {behind!r}\n"
            return
        awaitable = behind


def _look(awaitable: Any) -> tuple[FrameType | None, Any]:
    """The frame of a coroutine or generator of whichever kind, and what it awaits now."""
    for kind, link in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
        if hasattr(awaitable, f"{kind}_frame"):
            return getattr(awaitable, f"{kind}_frame"), getattr(awaitable, f"{kind}_{link}")
    return None, None


def _behind(awaited: Any) -> Any:
    """The generator or future that one of the interpreter's small helper objects stands for.

    `async for` awaits an object that has no name for the generator it steps, and a future is
    awaited through an iterator that has none for the future; the garbage collector knows both.
    """
    if type(awaited).__name__ in HELPERS:
        for held in gc.get_referents(awaited):
            if inspect.isasyncgen(held) or inspect.iscoroutine(held) or asyncio.isfuture(held):
                return held
            if type(held).__name__ in HELPERS:
                return _behind(held)
    return awaited


def _tasks_of(future: Any) -> Iterator[asyncio.Task[Any]]:
    """The unfinished tasks that settle this future: itself, or those gathered in it."""
    for part in (future, *getattr(future, "_children", ())):
        if isinstance(part, asyncio.Task) and not part.done():
            yield part
