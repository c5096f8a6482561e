"""An ask and its answer on one event loop, by the shortest way.

A coroutine asks an idle coroutine actor of its own loop: the actor is claimed, its handler makes
its first step here and now, and mostly it ends there. What `ActorRef.ask` does for plain actors
on threads, this does for coroutine actors on loops; as there, the protocol of the claim is that
of `_cell`, and whatever is not the plain case is left to the ordinary way.
"""

from __future__ import annotations

from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from understudy.actors._cell import OPEN, PARK, PLAIN, SPECIAL, YIELD
from understudy.actors._envelope import seal
from understudy.actors._handle import finish, message_over
from understudy.actors._strand import cell_var
from understudy.actors._turn import Turn, swap_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors._future import Future
    from understudy.actors._strand import Strand

__all__ = ["answer_here", "ask_here"]


def ask_here(cell: Any, strand: Strand, message: Any, future: Future[Any]) -> bool:
    """Handle an ask without a time limit at once, up to the handler's first suspension.

    Args:
        cell: an actor that was found idle.
        strand: of this thread, which runs the loop `strand.loop`.
        message: the message.
        future: where the answer goes; nobody else has it yet.

    Returns:
        False if the ordinary way must be taken; nothing has been sent then.
    """
    runtime = cell._us_rt
    if (
        cell._us_owner is not None
        or cell._us_odd
        or cell._us_queue
        or not cell._us_info.straight
        or not runtime.plain
        or message.__class__ in SPECIAL
        or cell._us_home.loop is not strand.loop
    ):
        return False
    below = strand.current
    outer = strand.envelope
    number = strand.number
    if below is not None:
        if runtime.deadline(None) is not None:
            return False
        item = cell._us_seal(message, future, None)
    else:
        asker = cell_var.get(None)
        if asker is None:
            item = (message, future, None, None, 0, None, None)
        else:
            item = seal(message, future, asker, strand, number)
    extra = cell._us_more()
    context = extra.context
    if context is None:
        context = extra.context = Context()
        context.run(cell_var.set, cell)
    lock = cell._us_lock
    try:
        # The claim, in one line without a call: see _cell.
        cell._us_owner = owner = cell._us_owner or strand
        if owner is not strand:
            return False
        if cell._us_odd:
            cell._us_let_go(strand, lock, YIELD)
            return False
        cell._us_idle = False
        if below is not None:
            cell._us_below = below
            cell._us_below_envelope = outer
        strand.current = cell
        strand.envelope = item
        if strand.runtime is not runtime:
            strand.adopt(runtime)
        strand.turns = strand.number = strand.turns + 1
        turn = strand.spare_turn
        if turn is None:
            turn = Turn(cell, lock, None, item, strand, context, message_over)
        else:
            strand.spare_turn = None
            turn.reuse(cell, lock, None, item, context, message_over)
        behaviours = extra.behaviours
        receive = behaviours[-1] if behaviours else cell._us_actor.on_receive
        if _step(turn, strand, context, receive, message):
            value = turn.value
            if (
                turn.error is None
                and value.__class__ in PLAIN
                and not extra.stashed
                and cell._us_lock is lock
            ):
                turn.recycle()
                del turn
                strand.current = below
                strand.envelope = outer
                strand.number = number
                if below is not None:
                    cell._us_below = None
                future._us_resolve(value)
                cell._us_idle = True
                cell._us_owner = None
                if cell._us_queue or cell._us_odd:
                    cell._us_look_again()
                return True
            if turn.coroutine is None and turn.error is None:
                finish(cell, strand, lock, value, future, item)
            else:
                message_over(cell, strand, lock, turn)
            verdict = YIELD
        else:
            turn.publish()
            verdict = PARK
        strand.current = below
        strand.envelope = outer
        strand.number = number
        cell._us_let_go(strand, lock, verdict)
    except BaseException:
        # Ctrl-C, maybe between two lines of our own: as in `_us_run`.
        strand.current = below
        strand.envelope = outer
        strand.number = number
        if cell._us_owner is strand:
            cell._us_let_go(strand, lock, YIELD)
        else:
            cell._us_look_again()
        raise
    return True


def _step(
    turn: Turn, strand: Strand, context: Context, receive: Callable[[Any], Any], message: Any
) -> bool:
    """Call a handler and make its first step. False if it has suspended."""
    loop = strand.loop
    before = strand.turn
    strand.turn = turn
    task = swap_task(loop, turn)
    turn.stepping = True
    try:
        result = context.run(_first, turn, receive, message)
    except StopIteration as stop:
        if turn.coroutine is None:  # a plain method that raised it, of all things
            turn.error = stop
        else:
            turn.value = stop.value
    except BaseException as error:
        turn.error = error
    else:
        if turn.coroutine is not None:
            turn.steps = 1
            turn.suspend_on(result)
            return False
        turn.value = result
    finally:
        turn.stepping = False
        swap_task(loop, task)
        strand.turn = before
    turn.over = True
    return True


def _first(turn: Turn, receive: Callable[[Any], Any], message: Any) -> Any:
    result = receive(message)
    if result.__class__ is not CoroutineType:
        return result
    turn.coroutine = result
    return result.send(None)


def answer_here(cell: Any, turn: Turn) -> bool:
    """Answer for a handler that had suspended and is over, if nothing else is to be done.

    Returns:
        False if the ordinary way must be taken; nothing has been done then.
    """
    extra = cell._us_extra
    turns = extra.turns
    info = cell._us_info
    if (
        turn.error is not None
        or turn.then is not message_over
        or turn.value.__class__ not in PLAIN
        or cell._us_owner is not None
        or cell._us_control
        or cell._us_queue
        or info.steps
        or info.reentrant
        or len(turns) != 1
        or turns[0] is not turn
        or extra.halting is not None
        or extra.stashed
        or cell._us_phase != OPEN
    ):
        return False
    strand = turn.strand
    lock = turn.lock
    envelope = turn.envelope
    try:
        cell._us_owner = owner = cell._us_owner or strand  # the claim: see _cell
        if owner is not strand:
            return False
        if cell._us_lock is not lock:
            cell._us_lost(strand)
            return False
        turns.clear()
        if type(envelope) is tuple and envelope[1] is not None:
            envelope[1]._us_resolve(turn.value)
        cell._us_odd = False  # first clear, then look: a later post sets it again
        if cell._us_control or cell._us_phase != OPEN:
            cell._us_odd = True
        cell._us_idle = True
        cell._us_owner = None
        if cell._us_queue or cell._us_odd:
            cell._us_look_again()
    except BaseException:
        if cell._us_owner is strand:
            cell._us_let_go(strand, lock, YIELD)
        else:
            cell._us_look_again()
        raise
    return True
