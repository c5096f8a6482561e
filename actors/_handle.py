"""Handling one message: envelopes, proxied calls, answers, failures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import pykka
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from understudy.actors import _intercept
from understudy.actors._envelope import Returned, StopRequest, TimerDue, WatchNotice, message_of
from understudy.actors._errors import ActorDeadError, Timeout
from understudy.actors._future import _when_done
from understudy.actors._guardian import Failure
from understudy.actors._marks import Mark
from understudy.actors._strand import cell_var
from understudy.actors._turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors._strand import Strand

__all__ = ["FAIL", "SPECIAL", "drive", "handle", "open_envelope", "raised"]

logger = logging.getLogger("pykka")
"""Pykka's contract includes what is logged, and where."""

FAIL: Final = object()
"""Returned by a `_us_step_end` hook: the incarnation fails, also where the message was an ask."""

_HANDLED: Final = object()

_PLAIN: Final = frozenset(
    {type(None), int, str, bool, float, list, dict, bytes, tuple, set, frozenset}
)


# --- one message ----------------------------------------------------------------------------


def receiver(cell: Any) -> Callable[[Any], Any]:
    """What handles the messages of `cell` now: its behaviour, else `on_receive`."""
    extra = cell._us_extra
    if extra is not None and extra.behaviours:
        behaviour: Callable[[Any], Any] = extra.behaviours[-1]
        return behaviour
    receive: Callable[[Any], Any] = cell._us_actor.on_receive
    return receive


def handle(cell: Any, strand: Strand, lock: Any, item: Any) -> None:
    """Handle one item of any actor, with its interceptors and its step hooks."""
    info = cell._us_info
    if info.plain and cell._us_rt.plain:
        if type(item) is tuple:
            open_envelope(cell, strand, lock, item, receiver(cell))
        else:
            finish(cell, strand, lock, receiver(cell)(item), None, item)
        return
    if type(item) is not tuple:
        item = (item, None, None, None, 0, None, None)
        strand.envelope = item
    receive = receiver(cell)
    open_envelope(cell, strand, lock, item, receive, guarded=True)


def open_envelope(
    cell: Any,
    strand: Strand,
    lock: Any,
    envelope: Any,
    receive: Callable[[Any], Any],
    *,
    guarded: bool = False,
) -> None:
    """Handle the message in an envelope and see to its answer."""
    message, reply, _, _, _, _, deadline = envelope
    if reply is not None and reply._us_done is not None:
        return  # whoever asked gave up before it was taken up
    if message.__class__ is Returned:
        message = message_of(envelope)
    room = strand.room
    if deadline is not None:
        strand.room = 0
    kind = SPECIAL.get(message.__class__)
    try:
        if guarded and kind not in _KERNEL:
            call: Callable[[], Any]  # pyright: ignore[reportRedeclaration]  # one of the two
            if kind is None:

                def call() -> Any:
                    return receive(message)
            else:

                def call() -> Any:
                    return kind(cell, strand, lock, message, envelope, receive)

            actor = cell._us_actor
            if not cell._us_info.steps:
                result = _intercept.around(cell, message, call)
            else:
                actor._us_step_begin()
                try:
                    result = _intercept.around(cell, message, call)
                except Exception as error:
                    _step_failed(cell, strand, lock, actor, error, envelope)
                    return
                if result.__class__ is not CoroutineType:
                    if cell._us_lock is lock:
                        _step_done(cell, strand, lock, actor, result, envelope)
                    return
        elif kind is None:
            result = receive(message)
        else:
            result = kind(cell, strand, lock, message, envelope, receive)
            if result is _HANDLED:
                return
    finally:
        strand.room = room
    finish(cell, strand, lock, result, reply, envelope)


def _step_failed(
    cell: Any, strand: Strand, lock: Any, actor: Any, error: Exception, envelope: Any
) -> None:
    if cell._us_lock is not lock:
        raised(cell, strand, lock, error, envelope)
        return
    verdict = actor._us_step_end(False, error)
    raised(cell, strand, lock, error, envelope, fatal=verdict is FAIL)


def _step_done(
    cell: Any, strand: Strand, lock: Any, actor: Any, result: Any, envelope: Any
) -> None:
    try:
        gate = actor._us_step_end(True, None)
    except Exception as error:
        raised(cell, strand, lock, error, envelope, fatal=True)
        return
    reply = envelope[1]
    if gate is FAIL:
        raised(cell, strand, lock, RuntimeError("the step failed"), envelope, fatal=True)
        return
    gates = cell._us_more().gates
    if gate is None and not gates:
        finish(cell, strand, lock, result, reply, envelope)
        return
    if reply is None:
        return
    if cell._us_extra.stashed:
        cell._us_extra.stashed = False
        return
    _hold(cell, gate, result, reply, envelope)


def _hold(cell: Any, gate: Any, result: Any, reply: Any, envelope: Any) -> None:
    """Let an answer leave when `gate` opens, and never before the answers ahead of it."""
    extra = cell._us_more()
    with cell._us_rt.lock:
        if extra.gates is None:
            extra.gates = []
        entry: list[Any] = [gate is None, None, result, reply, envelope]
        extra.gates.append(entry)
    if gate is None:
        _release(cell)
        return

    def opened(error: BaseException | None) -> None:
        entry[1] = error
        entry[0] = True
        _release(cell)

    gate.add_done_callback(opened)


def _release(cell: Any) -> None:
    extra = cell._us_extra
    while True:
        with cell._us_rt.lock:
            gates = extra.gates
            if not gates or not gates[0][0]:
                return
            entry = gates.pop(0)
        _, error, result, reply, envelope = entry
        if error is not None:
            reply._us_fail(error)
        else:
            answer(cell, result, reply, envelope)


def finish(cell: Any, strand: Strand, lock: Any, result: Any, reply: Any, envelope: Any) -> None:
    """See to the answer of a handler that has returned `result`."""
    if result.__class__ is CoroutineType:
        drive(cell, strand, lock, result, envelope)
        return
    if reply is None:
        return
    if cell._us_lock is not lock:
        cell._us_rt.refuse("reply")
        return
    extra = cell._us_extra
    if extra is not None and extra.stashed:
        extra.stashed = False
        return
    if result.__class__ in _PLAIN:
        reply._us_resolve(result)
    else:
        answer(cell, result, reply, envelope)


def answer(cell: Any, result: Any, reply: Any, envelope: Any) -> None:
    """Resolve `reply` with a result, or with what a future result turns into."""
    if result.__class__ in _PLAIN:
        reply._us_resolve(result)
    elif isinstance(result, pykka.Future):
        if (
            message_of(envelope).__class__ is ProxyCall
            and getattr(result, "_us_callee", None) is cell
        ):
            # A proxied method that returns a future of its own actor's later work hands out
            # that future, as in Pykka: "call me again" is an answer, not a detour.
            reply._us_resolve(result)
            return
        _when_done(result, lambda done: _copy(done, reply))
    elif isinstance(result, concurrent.futures.Future):
        result.add_done_callback(lambda done: _copy_result(done, reply))
    elif asyncio.isfuture(result):
        loop = result.get_loop()
        loop.call_soon_threadsafe(result.add_done_callback, lambda done: _copy_result(done, reply))
    elif inspect.isawaitable(result):
        cell._us_rt.loop_dispatcher().await_for(result, reply)
    else:
        reply._us_resolve(result)


def _copy(source: Any, reply: Any) -> None:
    try:
        value = source.get(timeout=0)
    except BaseException as error:
        reply._us_fail(error)
    else:
        reply._us_resolve(value)


def _copy_result(source: Any, reply: Any) -> None:
    try:
        value = source.result()
    except BaseException as error:
        reply._us_fail(error)
    else:
        reply._us_resolve(value)


# --- failures -------------------------------------------------------------------------------


def raised(
    cell: Any,
    strand: Strand,
    lock: Any,
    error: BaseException,
    item: Any,
    *,
    fatal: bool = False,
) -> None:
    """Deal with what a handler raised: tell the asker, or take the incarnation down."""
    reply = item[1] if type(item) is tuple else None
    if cell._us_lock is not lock:
        cell._us_rt.refuse("reply")
        if isinstance(error, KeyboardInterrupt) and not strand.own:
            raise error
        return
    message = message_of(item)
    if isinstance(error, KeyboardInterrupt) and not strand.own and strand.loop is None:
        # Ctrl-C, on a thread that is not ours, in the middle of somebody's inline ask.
        if reply is not None:
            reply._us_fail(error)
        cell._us_go_down(lock, Failure(error, message, "interrupt", None, asked=True))
        raise error
    if not isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError):
        if reply is not None:
            reply._us_fail(_died(cell, error))
        cell._us_fatal(lock, error)
        return
    if reply is not None:
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "Exception returned from %s to caller:",
                cell,
                exc_info=(type(error), error, error.__traceback__),
            )
        reply._us_fail(error)
        extra = cell._us_extra
        policy = (extra.ask_failures if extra is not None else None) or (cell._us_info.ask_failures)
        if not fatal and policy != "supervise":
            return
    cell._us_go_down(lock, Failure(error, message, "receive", None, asked=reply is not None))


def _died(cell: Any, error: BaseException) -> ActorDeadError:
    dead = ActorDeadError(f"{cell} ended with {error!r} before it answered", ref=cell)
    dead.__cause__ = error
    return dead


# --- coroutine handlers ---------------------------------------------------------------------


def drive(
    cell: Any,
    strand: Strand,
    lock: Any,
    coroutine: Any,
    envelope: Any,
    then: Callable[[Any, Any, Any, Turn], None] | None = None,
) -> None:
    """Step a coroutine handler; if it suspends, the actor waits for it (or not: `reentrant`)."""
    extra = cell._us_more()
    context = extra.context
    if context is None:
        context = extra.context = Context()
        context.run(cell_var.set, cell)
    if cell._us_info.reentrant:
        context = context.copy()
    then = then or message_over
    if strand.loop is None:
        home = cell._us_rt.loop_dispatcher()
        turn = Turn(cell, lock, coroutine, envelope, home.strand, context, then)
        turn.publish()
        home.call(turn.begin)
        return
    turn = strand.spare_turn
    if turn is None:
        turn = Turn(cell, lock, coroutine, envelope, strand, context, then)
    else:
        strand.spare_turn = None
        turn.reuse(cell, lock, coroutine, envelope, context, then)
    turn.eager = True
    turn.inside = context is extra.entered
    turn.step()
    turn.eager = turn.inside = False
    if turn.over:
        then(cell, strand, lock, turn)
        turn.recycle()
    else:
        turn.publish()


def message_over(cell: Any, strand: Strand, lock: Any, turn: Turn) -> None:
    """A coroutine handler has returned or raised."""
    envelope = turn.envelope
    reply = envelope[1] if type(envelope) is tuple else None
    error = turn.error
    if cell._us_lock is not turn.lock:
        cell._us_rt.refuse("reply")
        return
    actor = cell._us_actor
    if error is None:
        if cell._us_info.steps and type(envelope) is tuple:
            _step_done(cell, strand, lock, actor, turn.value, envelope)
        elif turn.value.__class__ is not CoroutineType:
            finish(cell, strand, lock, turn.value, reply, envelope)
        return
    if isinstance(error, asyncio.CancelledError):
        error = _why_cancelled(cell, turn, reply)
        if error is None:
            return
    if cell._us_info.steps and isinstance(error, Exception) and type(envelope) is tuple:
        _step_failed(cell, strand, lock, actor, error, envelope)
    else:
        raised(cell, strand, lock, error, envelope)


def _why_cancelled(cell: Any, turn: Turn, reply: Any) -> BaseException | None:
    if turn.expired:
        if reply is not None:
            reply._us_fail(Timeout(f"{cell} did not answer before the deadline of the ask"))
        return None
    extra = cell._us_extra
    if extra is not None and extra.halting is not None:
        if reply is not None:
            reply._us_fail(ActorDeadError(f"{cell} stopped before it answered", ref=cell))
        return None
    if reply is not None and reply._us_cancelled:
        return None
    return turn.error


# --- messages that are not the user's -------------------------------------------------------


def get_attr(root: Any, path: tuple[str, ...]) -> Any:
    """Follow a path of attributes."""
    for name in path:
        root = getattr(root, name)
    return root


def _proxy_call(
    cell: Any, strand: Strand, lock: Any, message: ProxyCall, envelope: Any, receive: Any
) -> Any:
    del strand, lock, receive
    actor = cell._us_actor
    path = message.attr_path
    callee = getattr(actor, path[0]) if len(path) == 1 else get_attr(actor, path)
    if path == ("stop",) and envelope[2] is not cell and getattr(callee, "_us_stop", False):
        cell._us_put((StopRequest(None, ordered=True), None, None, None, 0, None, None))
        return None
    return callee(*message.args, **message.kwargs)


def _proxy_get(
    cell: Any, strand: Strand, lock: Any, message: ProxyGetAttr, envelope: Any, receive: Any
) -> Any:
    del strand, receive
    value = get_attr(cell._us_actor, message.attr_path)
    reply = envelope[1]
    if reply is None or cell._us_info.steps:
        return value
    if cell._us_lock is lock:
        reply._us_resolve(value)  # an attribute is handed out as it is, a future too
    return _HANDLED


def _proxy_set(
    cell: Any, strand: Strand, lock: Any, message: ProxySetAttr, envelope: Any, receive: Any
) -> Any:
    del strand, lock, envelope, receive
    path = message.attr_path
    setattr(get_attr(cell._us_actor, path[:-1]), path[-1], message.value)


def _stop(
    cell: Any, strand: Strand, lock: Any, message: StopRequest, envelope: Any, receive: Any
) -> Any:
    del envelope, receive
    cell._us_stop_in_order(strand, lock, message.future, message.ordered)
    return _HANDLED


def _pykka_stop(
    cell: Any, strand: Strand, lock: Any, message: Any, envelope: Any, receive: Any
) -> Any:
    del message, receive
    cell._us_stop_in_order(strand, lock, envelope[1], ordered=True)
    return _HANDLED


def _timer(cell: Any, strand: Strand, lock: Any, due: TimerDue, envelope: Any, receive: Any) -> Any:
    del envelope
    if not due.timer._take(cell):
        return _HANDLED
    inner = (due.message, None, cell, None, 0, None, None)
    strand.envelope = inner
    guarded = not (cell._us_info.plain and cell._us_rt.plain)
    open_envelope(cell, strand, lock, inner, receive, guarded=guarded)
    return _HANDLED


def _notice(
    cell: Any, strand: Strand, lock: Any, notice: WatchNotice, envelope: Any, receive: Any
) -> Any:
    del envelope
    extra = cell._us_extra
    watching = extra.watching if extra is not None else None
    ref = notice.terminated.ref
    if not watching or watching.get(ref) is not notice.token:
        return _HANDLED
    del watching[ref]
    inner = (notice.terminated, None, ref, None, 0, None, None)
    strand.envelope = inner
    guarded = not (cell._us_info.plain and cell._us_rt.plain)
    open_envelope(cell, strand, lock, inner, receive, guarded=guarded)
    return _HANDLED


def _mark(cell: Any, strand: Strand, lock: Any, mark: Mark, envelope: Any, receive: Any) -> Any:
    del strand, lock, envelope, receive
    cell._us_rt.marks.served(cell, mark)
    cell._us_rt.count_hook()
    return _HANDLED


SPECIAL: Final[dict[type, Any]] = {
    Returned: None,  # stands for the message in it
    ProxyCall: _proxy_call,
    ProxyGetAttr: _proxy_get,
    ProxySetAttr: _proxy_set,
    _ActorStop: _pykka_stop,
    StopRequest: _stop,
    TimerDue: _timer,
    WatchNotice: _notice,
    Mark: _mark,
}

_KERNEL: Final = frozenset({_stop, _pykka_stop, _timer, _notice, _mark})
"""Messages no interceptor sees: the user's message inside them is opened by itself."""
