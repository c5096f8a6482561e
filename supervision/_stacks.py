"""What a thread or a coroutine is doing, as text."""

from __future__ import annotations

import io
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["coroutine_stack", "task_stack", "thread_stack"]


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
    """Where a suspended coroutine waits: its own frames, and those of what it awaits."""
    lines: list[str] = []
    seen = 0
    while coroutine is not None and seen < 100:
        seen += 1
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            frame = getattr(coroutine, "ag_frame", None)
        if frame is not None:
            lines.extend(traceback.format_stack(frame, limit=1))
        awaited = getattr(coroutine, "cr_await", None)
        if awaited is None:
            awaited = getattr(coroutine, "gi_yieldfrom", None) or getattr(
                coroutine, "ag_await", None
            )
        if awaited is None:
            break
        if not hasattr(awaited, "cr_frame") and not hasattr(awaited, "gi_frame"):
            lines.append(f"  awaiting {awaited!r}\n")
        coroutine = awaited
    return "coroutine:\n" + "".join(lines)
