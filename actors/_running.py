"""What is inside a handler at this moment, for the failure detector and for reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.actors._cell import CLOSED, OPEN
from understudy.actors._envelope import message_of
from understudy.actors._heartbeat import Stamp
from understudy.actors._strand import strands

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from understudy.actors._runtime import Runtime

__all__ = ["Running", "running_of", "stamp_of"]


@dataclass(slots=True)  # not frozen: that would triple the cost of making one
class Running:
    """The innermost actor in a handler on one thread, or one suspended coroutine handler.

    turn: a token of this handler call; `ref._us_fence(turn)` fences only if it still lasts.
    progress: another value means that it visibly moved: a step of a coroutine, a heartbeat.
    thread_id: `ident` of the thread; None for a suspended coroutine.
    own: whether the thread is the system's own, so that an exception may be thrown into it.
    cpu_clock: of that thread, for `time.clock_gettime`; None where there is none.
    coroutine: the suspended handler, else None.
    waiting: the actor whose answer it waits for, if it waits for one.
    lease_until: the clock's monotonic time up to which a standstill is legal, else None.
    heartbeat: the rule of its spawn, or of its class, or None.
    below: the actors that wait under it on the same stack (inline asks), the nearest first.
    """

    ref: Any
    incarnation: int
    turn: Any
    progress: Any
    message: Any
    thread_id: int | None
    own: bool
    cpu_clock: int | None
    coroutine: Any
    waiting: Any
    lease_until: float | None
    heartbeat: Any
    below: tuple[Any, ...] = ()
    strand: Any = None


def running_of(runtime: Runtime, resting: AbstractSet[Any] = frozenset()) -> list[Running]:
    """All of it, without stopping anybody: each line is right by itself.

    Suspended calls that are `resting` are passed over, without so much as touching them.
    """
    found: list[Running] = []
    for strand in strands():
        turns = strand.turns
        cell = strand.current
        if cell is None or cell._us_rt is not runtime or strand.zombie:
            continue
        envelope = strand.envelope
        stack = tuple(strand.stack())
        if strand.turns != turns or strand.current is not cell:
            continue  # it moved while we looked: alive
        here = strand.turn if strand.turn is not None and strand.turn.cell is cell else None
        found.append(
            _line(
                cell,
                turn=(strand.serial, turns) if cell._us_owner is strand else here,
                moved=here.steps if here is not None else 0,
                envelope=envelope,
                thread_id=strand.thread_id,
                own=strand.own and strand.loop is None,
                cpu_clock=strand.cpu_clock(),
                coroutine=None,
                waiting=strand.waiting,
                below=stack[1:],
                strand=strand,
            )
        )
    for turn in runtime.turns.difference(resting):
        if turn.over or turn.stepping:
            continue
        if turn.strand.current is not None:
            continue  # somebody else holds its loop: it could not move if it wanted to
        found.append(
            _line(
                turn.cell,
                turn=turn,
                moved=turn.steps,
                envelope=turn.envelope,
                thread_id=None,
                own=False,
                cpu_clock=None,
                coroutine=turn.get_coro(),
                waiting=turn.waiting,
                below=(),
                strand=turn.strand,
            )
        )
    return found


def _line(
    cell: Any,
    *,
    turn: Any,
    moved: int,
    envelope: Any,
    thread_id: int | None,
    own: bool,
    cpu_clock: int | None,
    coroutine: Any,
    waiting: Any,
    below: tuple[Any, ...],
    strand: Any,
) -> Running:
    extra = cell._us_extra
    lease = extra.lease_until if extra is not None else None
    beats = extra.beats if extra is not None else 0
    deadline = envelope[6] if type(envelope) is tuple else None
    if deadline is not None and (lease is None or deadline > lease):
        lease = deadline
    return Running(
        ref=cell,
        incarnation=cell._us_incarnation,
        turn=turn,
        progress=(moved, beats),
        message=message_of(envelope),
        thread_id=thread_id,
        own=own,
        cpu_clock=cpu_clock,
        coroutine=coroutine,
        waiting=waiting,
        lease_until=lease,
        heartbeat=cell._us_heartbeat,
        below=below,
        strand=strand,
    )


def stamp_of(cell: Any) -> Stamp:
    """One look at one actor."""
    extra = cell._us_extra
    owner = cell._us_owner
    turn: Any = None
    message: Any = None
    thread_id = None
    depth = 0
    state: Any
    if cell._us_phase == CLOSED:
        state = "closed"
    elif owner is not None:
        state, turn, thread_id = "running", (owner.serial, owner.turns), owner.thread_id
        message = message_of(cell._us_current_envelope())
        depth = sum(1 for _ in owner.stack())
    elif extra is not None and extra.turns:
        first = extra.turns[0]
        state, turn, message = "awaiting", first, message_of(first.envelope)
    elif cell._us_phase != OPEN:
        state = "suspended"
    else:
        state = "ready" if cell._us_queue else "idle"
    return Stamp(
        ref=cell,
        incarnation=cell._us_incarnation,
        state=state,
        turn=turn,
        message=message,
        thread_id=thread_id,
        lease_until=extra.lease_until if extra is not None else None,
        depth=cell._us_depth(),
        stack_depth=depth,
        dispatcher=cell._us_home.name,
    )
