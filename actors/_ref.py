"""References to actors."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from contextvars import Context
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from understudy.actors import _handle
from understudy.actors._cell import CLOSED, DEAD, PLAIN, YIELD
from understudy.actors._envelope import Returned, StopRequest, message_of
from understudy.actors._errors import ActorDeadError, BlockingAsk, MailboxFull, Timeout
from understudy.actors._events import DeadLetter
from understudy.actors._future import Future, _finish
from understudy.actors._lifecycle import LivingCell
from understudy.actors._loop_ask import ask_here
from understudy.actors._mailbox import MailboxStatistics
from understudy.actors._proxy import ActorProxy
from understudy.actors._running import stamp_of
from understudy.actors._strand import current_cell, local, strand_here

if TYPE_CHECKING:
    from pykka._envelope import Envelope

    from understudy.actors._heartbeat import Stamp
    from understudy.actors._messages import Msg
    from understudy.actors._strand import Strand

__all__ = ["ActorRef"]

A = TypeVar("A")
R = TypeVar("R")

_running_loop = asyncio._get_running_loop
_SPECIAL = _handle.SPECIAL
_new_future: Any = object.__new__


class ActorRef(LivingCell, Generic[A]):
    """Reference to an actor, which may be passed around freely: to threads, actors, event loops.

    It stays the same through restarts. A `pykka.ActorRef`. Refs come from `spawn` and `start`;
    they are compared by identity, and serialise as their path.
    """

    __slots__ = ()

    # --- who it is ---------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Where the actor lives in its system, as "/user/greeter"."""
        path = self._us_path
        if path is None:
            path = self._us_path = f"/standalone/{self.actor_class.__name__}/{self.actor_urn[9:]}"
        return path

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """A universally unique identifier, made when it is first asked for."""
        extra = self._us_more()
        if extra.urn is None:
            urn = uuid.uuid4().urn
            with self._us_rt.lock:
                if extra.urn is None:
                    extra.urn = urn
        return extra.urn

    @property
    def actor_inbox(self) -> Inbox:  # type: ignore[override]
        """The mailbox as Pykka shows it."""
        return Inbox(self)

    @property
    def actor_stopped(self) -> threading.Event:  # type: ignore[override]
        """An event that is set once the actor is dead."""
        extra = self._us_more()
        if extra.event is None:
            event = threading.Event()
            with self._us_rt.lock:
                if extra.event is None:
                    extra.event = event
        if self._us_gate is DEAD:
            extra.event.set()
        return extra.event

    @property
    def _actor_weakref(self) -> Any:  # type: ignore[override]  # an attribute in Pykka
        return lambda: self._us_actor

    def __repr__(self) -> str:
        return f"<ActorRef for {self}>"

    def __str__(self) -> str:
        if self._us_path is not None:
            return f"{self.actor_class.__name__} ({self._us_path}, {self.actor_urn})"
        return f"{self.actor_class.__name__} ({self.actor_urn})"

    def __reduce__(self) -> tuple[Any, ...]:
        from understudy.actors._runtime import resolve_ref

        return (resolve_ref, (self._us_rt.name, self.path))

    def __copy__(self) -> ActorRef[A]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ActorRef[A]:
        return self

    def is_alive(self) -> bool:
        """Whether the actor takes messages. True is no promise that it still will a moment later.

        An actor that is being restarted is alive.
        """
        return self._us_gate is not DEAD

    @property
    def incarnation(self) -> int:
        """How often the actor has been started: 1 before the first restart."""
        return self._us_incarnation

    def mailbox_statistics(self) -> MailboxStatistics:
        """A look at the mailbox, for reports; safe from any thread."""
        extra = self._us_extra
        if extra is not None and extra.mailbox is not None:
            statistics: MailboxStatistics = extra.mailbox.statistics(self._us_queue)
            return statistics
        depth = self._us_depth()
        self._us_high = high = max(depth, self._us_high)
        age = None
        if depth:
            age = self._us_rt.marks.oldest_age(self, self._us_rt.clock.monotonic())
        return MailboxStatistics(depth, None, high, age, 0, 0, 0)

    def mailbox_depth(self) -> int:
        """How many messages wait."""
        return self._us_depth()

    def _us_stamp(self) -> Stamp:
        """One look at this actor, for a detector."""
        return stamp_of(self)

    @property
    def _us_heartbeat(self) -> Any:
        """The rule the detector applies: of the spawn, or of the class."""
        extra = self._us_extra
        if extra is not None and extra.heartbeat is not None:
            return extra.heartbeat
        return self._us_info.heartbeat

    def _us_depth(self) -> int:
        return max(0, self._us_mail() - self._us_rt.marks.count(self))

    # --- sending -----------------------------------------------------------------------------

    def _us_tell_gated(self, message: Any) -> None:
        item = self._us_seal(message, None, None)
        self._us_offer(item)

    def _us_offer(self, item: Any, *, wait: bool = True) -> bool:
        """Put an item through the gate. False if there is no room and `wait` is off.

        Raises:
            ActorDeadError: the actor is dead.
            MailboxFull: the policy is to reject, or to block and the time is over.
        """
        gate = self._us_gate
        if gate is DEAD:
            self._us_refused(item)
        if gate is not None:
            left = gate.put(self._us_queue, item)
            if left is item:
                spec = gate.spec
                if spec.overflow == "drop_newest":
                    gate.dropped += 1
                    self._us_undeliverable(item, "overflow")
                    return True
                if spec.overflow == "reject":
                    gate.rejected += 1
                    raise MailboxFull(message_of(item), self, spec.capacity)
                if current_cell() is self:
                    gate.put(self._us_queue, item, exempt=True)
                elif not wait:
                    return False
                else:
                    if _running_loop() is not None:
                        raise BlockingAsk(f"A full mailbox ({self})")
                    self._us_wait_for_room(gate, item)
            elif left is not None:
                self._us_undeliverable(left, "overflow")
        else:
            self._us_queue.append(item)
        if self._us_idle:
            self._us_idle = False
            self._us_home.submit(self)
        return True

    def _us_wait_for_room(self, gate: Any, item: Any) -> None:
        strand = local.strand
        if strand is not None and strand.pool is not None and strand.current is not None:
            strand.pool.lend(strand)
        gate.wait_for_room(self, item)

    def _us_refused(self, item: Any) -> None:
        """Raise for a message to a dead actor, and publish its dead letter."""
        self._us_rt.check_fork()
        message = message_of(item)
        sender = item[2] if type(item) is tuple else None
        self._us_rt.dead_letter(DeadLetter(message, self, sender, "dead"))
        raise ActorDeadError(f"{self} not found", ref=self, message=message)

    async def tell_async(
        self,
        message: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the mailbox's own limit is seconds too
    ) -> None:
        """`tell` that waits for room in a bounded mailbox without blocking the event loop.

        Args:
            message: what to send.
            timeout: seconds to wait for room; None takes the mailbox's own timeout.

        Raises:
            ActorDeadError: the actor is dead.
            MailboxFull: no room in time, or the policy is to reject.
        """
        item = self._us_seal(message, None, None)
        loop = asyncio.get_running_loop()
        while not self._us_offer(item, wait=False):
            gate = self._us_gate
            waiter = loop.create_future()

            def room(waiter: asyncio.Future[None] = waiter) -> None:
                loop.call_soon_threadsafe(_finish, waiter)

            if gate is DEAD or not gate.when_room(room):
                continue
            limit = timeout if timeout is not None else gate.spec.timeout
            try:
                await asyncio.wait_for(waiter, limit)
            except TimeoutError:
                gate.forget(room)
                raise MailboxFull(message, self, gate.spec.capacity) from None
            except asyncio.CancelledError:
                gate.forget(room)
                raise

    @overload  # type: ignore[override]  # one overload more than Pykka's
    def ask(
        self, message: Msg[R], *, block: Literal[True] = True, timeout: float | None = None
    ) -> R: ...

    @overload
    def ask(
        self, message: Msg[R], *, block: Literal[False], timeout: float | None = None
    ) -> Future[R]: ...

    @overload
    def ask(
        self, message: Any, *, block: Literal[False], timeout: float | None = None
    ) -> Future[Any]: ...

    @overload
    def ask(
        self, message: Any, *, block: Literal[True] = True, timeout: float | None = None
    ) -> Any: ...

    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # more overloads, the same calls
        """Send a message and wait for the answer.

        If nobody set a time limit and the actor is idle, it may run on this thread.

        Args:
            message: what to send.
            block: False returns a future at once.
            timeout: seconds; None takes the system's default, which is none. From inside an actor
                it never outlives the deadline of the message being handled. With `block=False`
                it becomes the deadline of the handler, and waiting is up to the future.

        Raises:
            ActorDeadError: the actor is dead, or ended before it answered.
            Timeout: no answer in time. The message may still be handled.
            AskCycle: the actor waits, in the end, for the caller.
            BlockingAsk: this thread runs an event loop: use `ask_async`.
            MailboxFull: a bounded mailbox refused the message.
            Exception: whatever the handler raised.
        """
        if block and timeout is None and self._us_idle and self._us_inline:
            strand = local.strand
            if strand is None:
                strand = strand_here()
            room = strand.room
            if (
                room
                and self._us_owner is None
                and not self._us_queue
                and _running_loop() is None
                and not (isinstance(message, tuple) and message.__class__ in _SPECIAL)
            ):
                lock = self._us_lock
                below = strand.current
                outer = strand.envelope
                number = strand.number
                try:
                    # The claim, in one line without a call: see _cell.
                    self._us_owner = owner = self._us_owner or strand
                    if owner is strand:
                        if not self._us_odd:
                            self._us_idle = False
                            self._us_inlined = True
                            if below is not None:
                                self._us_below = below
                                self._us_below_envelope = outer
                                strand.envelope = self._us_seal(message, None, None)
                            elif isinstance(message, tuple):
                                strand.envelope = (message, None, None, None, 0, None, None)
                            else:
                                strand.envelope = message
                            strand.current = self
                            strand.room = room - 1
                            if strand.runtime is not self._us_rt:
                                strand.adopt(self._us_rt)
                            strand.turns = strand.number = strand.turns + 1
                            context = strand.spare
                            if context is None:
                                context = Context()
                            else:
                                strand.spare = None
                            result = context.run(self._us_actor.on_receive, message)
                            if context:
                                self._us_keep_context(context)
                            else:
                                strand.spare = context
                            strand.current = below
                            strand.envelope = outer
                            strand.number = number
                            strand.room = room
                            extra = self._us_extra
                            if (
                                result.__class__ in PLAIN
                                and (extra is None or not extra.stashed)
                                and self._us_lock is lock
                            ):
                                if below is not None:
                                    self._us_below = None
                                self._us_inlined = False
                                self._us_idle = True
                                self._us_owner = None
                                if self._us_queue or self._us_odd:
                                    self._us_look_again()
                                return result
                            return self._us_inline_late(strand, lock, result, message)
                        self._us_let_go(strand, lock, YIELD)
                except BaseException as error:
                    strand.number = number
                    final = self._us_inline_raised(strand, lock, below, outer, room, message, error)
                    if final is error:
                        raise
                    raise final from error
        return self._us_ask(message, block, timeout)

    def _us_look_again(self) -> None:
        if self._us_queue or self._us_phase != CLOSED:
            self._us_idle = False
            self._us_home.submit(self)

    def _us_inline_late(self, strand: Strand, lock: Any, result: Any, message: Any) -> Any:
        """The answer of an inline ask is not there yet, or not wanted any more."""
        if self._us_lock is not lock:
            self._us_rt.refuse("reply")
            self._us_lost(strand)
            raise ActorDeadError(f"{self} was replaced before it answered", ref=self)
        reply: Future[Any] = Future()
        reply._us_callee = self
        envelope = self._us_seal(message, reply, None)
        extra = self._us_extra
        if extra is not None and extra.stashed:
            extra.stashed = False
            if extra.stash:
                put_aside = extra.stash[-1][0]
                again = Returned(put_aside.item, put_aside.strand, put_aside.turn)
                extra.stash[-1] = again.envelope(reply)
        else:
            _handle.finish(self, strand, lock, result, reply, envelope)
        self._us_let_go_idle(strand, lock)
        return reply.get()

    def _us_let_go_idle(self, strand: Strand, lock: Any) -> None:
        extra = self._us_extra
        if extra is not None and extra.turns:
            self._us_inlined = False
            self._us_let_go(strand, lock, YIELD)
            return
        self._us_below = None
        self._us_inlined = False
        self._us_idle = True
        self._us_owner = None
        if self._us_queue or self._us_odd:
            self._us_look_again()

    def _us_inline_raised(
        self,
        strand: Strand,
        lock: Any,
        below: Any,
        outer: Any,
        room: int,
        message: Any,
        error: BaseException,
    ) -> BaseException:
        """An inline ask ended with an exception: let go, and say what the asker gets.

        The exception is the handler's, or Ctrl-C.
        """
        final = error
        strand.room = room
        if self._us_lock is not lock:
            strand.current = below
            strand.envelope = outer
            self._us_rt.refuse("reply")
            self._us_lost(strand)
            return final
        if self._us_owner is not strand:  # Ctrl-C just before the claim or just after its end
            strand.current = below
            strand.envelope = outer
            self._us_look_again()
            return final
        if strand.current is self:
            reply: Future[Any] = Future()
            with contextlib.suppress(KeyboardInterrupt):  # `error`, on its way to the caller
                _handle.raised(
                    self, strand, lock, error, (message, reply, below, None, 0, None, None)
                )
            if reply._us_done is not None and reply._us_done[1] is not None:
                final = reply._us_done[1][1]
        strand.current = below
        strand.envelope = outer
        if self._us_lock is lock:
            self._us_let_go_idle(strand, lock)
        else:
            self._us_lost(strand)
        return final

    def _us_ask(self, message: Any, block: bool, timeout: float | None) -> Any:
        runtime = self._us_rt
        if block and _running_loop() is not None:
            raise BlockingAsk(f"ask() of {self}")
        if timeout is None:
            timeout = runtime.ask_timeout
        future: Future[Any] = _new_future(Future)
        future._us_callee = self
        strand = local.strand
        if strand is not None and strand.loop is not None and strand.loop.is_closed():
            # An event loop ran on this thread, and has ended: it is a plain one again.
            strand = local.strand = None
        deadline: float | None = None
        if strand is None or (strand.current is None and strand.loop is None):
            if timeout is not None:
                deadline = runtime.clock.monotonic() + timeout
            item: Any = (message, future, None, None, 0, None, deadline)
        else:
            deadline = runtime.deadline(timeout)
            item = self._us_seal(message, future, deadline)
        if self._us_gate is not None:
            try:
                self._us_offer(item)
            except (ActorDeadError, MailboxFull) as error:
                future._us_fail(error)
        else:
            self._us_queue.append(item)
            if self._us_idle:
                self._us_idle = False
                if block and (deadline is None or self._us_info.inline):
                    self._us_serve(future)  # here, before a worker is woken for nothing
                if future._us_done is None:
                    self._us_home.submit(self)
        if not block:
            return future
        if deadline is None:
            return future.get()
        result = future.get(timeout=max(0.0, deadline - runtime.clock.monotonic()))
        if self._us_info.inline and runtime.clock.monotonic() > deadline:
            raise Timeout(f"{timeout} seconds (the inline answer of {self} came too late)")
        return result

    @overload
    def ask_async(self, message: Msg[R], *, timeout: float | None = None) -> Future[R]: ...

    @overload
    def ask_async(self, message: Any, *, timeout: float | None = None) -> Future[Any]: ...

    def ask_async(self, message: Any, *, timeout: float | None = None) -> Future[Any]:
        """Send a message; `await` the result for the answer.

        Never blocks. An idle coroutine actor of the same event loop runs at once, up to its first
        suspension. Cancelling the awaiting task cancels the ask.

        Args:
            message: what to send.
            timeout: seconds, as for `ask`; the answer is then a `Timeout`, and a coroutine handler
                at work is cancelled.
        """
        runtime = self._us_rt
        if timeout is None:
            timeout = runtime.ask_timeout
        future: Future[Any] = _new_future(Future)
        future._us_callee = self
        if timeout is None and self._us_idle and self._us_gate is None:
            strand = local.strand
            if (
                strand is not None
                and strand.loop is not None
                and strand.loop is _running_loop()
                and ask_here(self, strand, message, future)
            ):
                return future
        deadline = runtime.deadline(timeout)
        item = self._us_seal(message, future, deadline)
        if self._us_gate is not None:
            try:
                self._us_offer(item)
            except (ActorDeadError, MailboxFull) as error:
                future._us_fail(error)
                return future
        else:
            self._us_queue.append(item)
            if self._us_idle:
                self._us_idle = False
                loop = _running_loop()
                strand = local.strand
                if strand is not None and loop is strand.loop and self._us_on_loop(loop):
                    self._us_run(strand, future)
                else:
                    self._us_home.submit(self)
        if deadline is not None and future._us_done is None:
            runtime.expire_at(deadline, future, self, timeout)
        return future

    # --- stopping ----------------------------------------------------------------------------

    @overload
    def stop(
        self, *, block: Literal[True] = True, timeout: float | None = None, now: bool = False
    ) -> bool: ...

    @overload
    def stop(
        self, *, block: Literal[False], timeout: float | None = None, now: bool = False
    ) -> Future[bool]: ...

    @overload
    def stop(
        self, *, block: bool = True, timeout: float | None = None, now: bool = False
    ) -> bool | Future[bool]: ...

    def stop(
        self, *, block: bool = True, timeout: float | None = None, now: bool = False
    ) -> bool | Future[bool]:
        """Tell the actor to stop: an order, which no restart type overrules.

        What was sent before is handled first; what is sent after gets `ActorDeadError`.

        Args:
            block: wait until it is dead; False returns a future.
            timeout: seconds to wait if blocking.
            now: stop before what waits in the mailbox, right after the message at work; a
                coroutine handler at work is cancelled.

        Returns:
            True if it was alive or stopping, False if it was dead already.

        Raises:
            Timeout: it has not stopped in time; it still will.
        """
        future: Future[bool] = _new_future(Future)
        if self._us_gate is DEAD:
            future._us_resolve(False)
            return False if block else future
        if now:
            extra = self._us_extra
            if extra is not None:
                for turn in list(extra.turns):
                    turn.cancel_soon()
            self._us_post("_us_do_stop", future)
        else:
            self._us_put((StopRequest(future, ordered=True), None, None, None, 0, None, None))
        if self._us_phase == CLOSED:  # it closed in between: nobody else may look at it any more
            future._us_resolve(True)
        future._us_callee = self
        if not block:
            return future
        if future._us_done is None:
            future._us_wait(timeout, on_loop=True)
        return bool(future.get())

    # --- proxies -----------------------------------------------------------------------------

    def proxy(self) -> ActorProxy[A]:
        """A proxy of the actor's attributes and methods.

        Raises:
            ActorDeadError: the actor is dead.
        """
        return ActorProxy(actor_ref=self)


class Inbox:
    """A mailbox in Pykka's shape: `put(envelope)`, `get()`, `empty()`."""

    __slots__ = ("_ref",)

    def __init__(self, ref: ActorRef[Any]) -> None:
        self._ref = ref

    def put(self, envelope: Envelope[Any], /) -> None:
        """Send what a Pykka envelope holds."""
        ref = self._ref
        reply = envelope.reply_to
        if reply is None:
            ref.tell(envelope.message)
            return
        future = ref.ask(envelope.message, block=False)
        future._us_subscribe(lambda done: _pass_on(done, reply))

    def get(self) -> Envelope[Any]:
        """Not to be had: the actor takes its messages itself."""
        msg = "The mailbox of an actor is served by its dispatcher: send to it, or stop the actor"
        raise NotImplementedError(msg)

    def empty(self) -> bool:
        """Whether no message waits."""
        return self._ref._us_depth() == 0


def _pass_on(source: Any, target: Any) -> None:
    value, error = source._us_done
    if error is not None:
        target.set_exception(error)
    else:
        target.set(value)
