"""What the detector looks at: everything that is inside a handler now, taken from the kernel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from understudy.supervision._detector import Look
from understudy.supervision._stacks import coroutine_stack, thread_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.actors import Heartbeat

__all__ = ["all_stacks", "gather", "heartbeat_of", "stack_of", "still_there"]

_TURNS = (1 << 32) - 1  # the kernel puts heartbeats above the count of turns


def gather(runtime: Any) -> Iterator[Look]:
    """One look per actor that is inside a handler now.

    Of actors that run on top of each other on one thread (inline asks) only the innermost is
    looked at: the others wait for it. A suspended coroutine is not judged while its event loop is
    held by somebody else: it could not move if it wanted to.
    """
    lines = runtime.running()
    held = {line.strand for line in lines if line.thread_id is not None and line.strand.loop}
    for at, line in enumerate(lines):
        if line.depth:
            continue
        below = []
        for other in lines[at + 1 :]:
            if not other.depth:
                break
            below.append(other.ref)
        turns, beats = line.turns & _TURNS, line.turns >> 32
        progress: Any = beats
        turn: Any = (line.strand.serial, turns)
        if line.task is not None:
            turn = id(line.task)
            # While somebody else holds its event loop it could not move if it wanted to.
            progress = object() if line.strand in held else line.turns
        yield Look(
            ref=line.ref,
            incarnation=line.incarnation,
            turn=turn,
            progress=progress,
            cpu=_cpu(line.cpu_clock),
            on_thread=line.thread_id is not None,
            lease_until=line.lease_until,
            waiting=line.waiting is not None,
            rule=heartbeat_of(line.ref),
            message=line.message,
            source=line,
            below=tuple(below),
        )


def heartbeat_of(ref: Any) -> Heartbeat | None:
    """The heartbeat rule of an actor: its spec's, else its class's."""
    extra = ref._us_extra
    if extra is not None and extra.heartbeat is not None:
        rule: Heartbeat | None = extra.heartbeat
    else:
        rule = ref._us_info.heartbeat
    return rule


def still_there(look: Look) -> bool:
    """Whether the handler that was looked at is still the one at work."""
    line = look.source
    if line.task is not None:
        return not line.task.over
    return line.strand.turns == look.turn[1] and line.strand.current is look.ref


def _cpu(clock: int | None) -> float | None:
    if clock is None:
        return None
    try:
        return time.clock_gettime(clock)
    except OSError:  # the thread has ended
        return None


def stack_of(look: Look) -> str | None:
    """The stack of what a look was taken from, as text."""
    source = look.source
    if source is None:
        return None
    if source.thread_id is not None:
        return thread_stack(source.thread_id)
    if source.task is not None:
        return coroutine_stack(source.task.get_coro())
    return None


def all_stacks(system: Any) -> list[dict[str, Any]]:
    """The stacks of everything that is inside a handler, as plain data for tools."""
    stacks = []
    for look in gather(system.runtime):
        source = look.source
        stacks.append(
            {
                "actor": look.ref.path,
                "thread": source.thread_id,
                "message": repr(look.message),
                "seconds": system.running_for(look.ref),
                "stack": stack_of(look),
            }
        )
    return stacks
