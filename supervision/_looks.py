"""What the detector looks at: everything that is inside a handler now, taken from the kernel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from understudy.supervision._detector import Look
from understudy.supervision._family import short
from understudy.supervision._stacks import coroutine_stack, thread_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

__all__ = ["all_stacks", "gather", "stack_of"]


def gather(runtime: Any, resting: AbstractSet[Any] = frozenset()) -> Iterator[Look]:
    """One look per actor that is inside a handler now.

    Suspended calls that rest are passed over.

    Of actors that run on top of each other on one thread (inline asks) only the innermost is
    looked at: the others wait for it. A suspended coroutine is not judged while its event loop is
    held by somebody else: it could not move if it wanted to.
    """
    for line in runtime.running(resting):
        yield Look(
            ref=line.ref,
            incarnation=line.incarnation,
            turn=line.turn,
            progress=line.progress,
            cpu=_cpu(line.cpu_clock),
            on_thread=line.thread_id is not None,
            lease_until=line.lease_until,
            waiting=line.waiting is not None,
            rule=line.heartbeat,
            message=line.message,
            source=line,
            below=line.below,
            rests=line.turn if line.coroutine is not None else None,
        )


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
    if source.coroutine is not None:
        return coroutine_stack(source.coroutine)
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
                "message": short(look.message),
                "seconds": system.running_for(look.ref),
                "stack": stack_of(look),
            }
        )
    return stacks
