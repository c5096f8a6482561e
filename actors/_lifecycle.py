"""The life of a cell: incarnations begin, fail, end; the cell closes once.

The operations whose names guardians know (`_us_begin`, `_us_resume`, `_us_halt`, `_us_close`,
`_us_fence`, `_us_fail`) may be called from any thread and do not block: they are posted to the
control lane, and the owner of the cell carries them out (`_us_do_*`) before the next message.
Closing and fencing take effect at once.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import _ActorStop

from understudy.actors import _handle
from understudy.actors._cell import (
    CLOSED,
    DEAD,
    HALTING,
    NEW,
    OPEN,
    STARTING,
    SUSPENDED,
    Cell,
)
from understudy.actors._envelope import Returned, StopRequest, TimerDue, WatchNotice, message_of
from understudy.actors._errors import ActorDeadError, Ignore, MailboxFull
from understudy.actors._events import (
    ActorFailed,
    ActorStarted,
    ActorStopped,
    DeadLetter,
    Terminated,
)
from understudy.actors._exit import ORDERED, Exit
from understudy.actors._guardian import Failure
from understudy.actors._loop_ask import answer_here
from understudy.actors._marks import Mark
from understudy.actors._strand import local, strand_here

if TYPE_CHECKING:
    from collections.abc import Mapping

    from understudy.actors._future import Future
    from understudy.actors._strand import Strand
    from understudy.actors._turn import Turn

__all__ = ["LivingCell"]

logger = logging.getLogger("pykka")

_NO_STOP = pykka.Actor.on_stop


class LivingCell(Cell):
    """A cell with a life."""

    __slots__ = ()

    # --- what guardians call -----------------------------------------------------------------

    def _us_begin(self) -> None:
        """Run the next incarnation: a fresh instance, its `on_start`, then the mailbox."""
        self._us_post("_us_do_begin")

    def _us_resume(self) -> None:
        """After a failure: the same instance goes on with the next message."""
        self._us_post("_us_do_resume")

    def _us_halt(self, reason: Exit, run_hooks: bool = True) -> None:
        """End the incarnation after the message at work: children, on_stop, `child_ended`."""
        extra = self._us_extra
        if extra is not None:
            if extra.halting is None:
                extra.halting = reason
            for turn in list(extra.turns):
                turn.cancel_soon()
        self._us_post("_us_do_halt", reason, run_hooks)

    def _us_fail(
        self, cause: BaseException, *, incarnation: int | None = None, phase: Any = "children"
    ) -> None:
        """Fail as if a handler had raised `cause`, if `incarnation` is still the current one."""
        self._us_post("_us_do_fail", cause, incarnation, phase)

    def _us_fence(self, turn: Any = None) -> bool:
        """Take the cell from whoever runs it: that strand owns nothing of it any more.

        The cell is suspended and can `_us_begin`. The ask at work fails now.

        Args:
            turn: the token of a `Running`: fence only if that handler call still lasts.

        Returns:
            Whether it was fenced; False if it is closed, or in another call by now.
        """
        with self._us_rt.lock:
            if self._us_phase == CLOSED or (turn is not None and not self._us_in_turn(turn)):
                return False
            envelopes, lost = self._us_take_away()
            self._us_phase = SUSPENDED
        self._us_odd = True
        self._us_rt.marks.expect(self)
        if lost is not None:
            self._us_rt.fenced(lost)
        for envelope in envelopes:
            self._us_fail_reply(envelope)
        return True

    def _us_in_turn(self, turn: Any) -> bool:
        if type(turn) is tuple:
            owner = self._us_owner
            return owner is not None and (owner.serial, owner.turns) == turn
        extra = self._us_extra
        return extra is not None and turn in extra.turns

    def _us_take_away(self) -> tuple[list[Any], Strand | None]:
        """Give the cell a new lock; returns what was being handled, and the strand that had it."""
        owner = self._us_owner
        lost = owner if owner is not local.strand else None
        envelopes = [self._us_current_envelope()] if owner is not None else []
        self._us_lock = object()
        self._us_owner = None
        self._us_idle = False
        replace = getattr(self._us_home, "replace", None)
        if replace is not None:
            self._us_home = replace()
        batch = self._us_batch
        if batch is not None:
            self._us_batch = None
            self._us_queue[0:0] = list(batch)
        extra = self._us_extra
        if extra is not None:
            turns, extra.turns = extra.turns, []
            for turn in turns:
                envelopes.append(turn.envelope)
                if turn.stepping and turn.strand is not local.strand:
                    lost = turn.strand
                turn.abandon()
        return envelopes, lost

    def _us_current_envelope(self) -> Any:
        """The item this actor is handling now, also where others run on top of it."""
        owner = self._us_owner
        if owner is None:
            return None
        above = None
        for cell in owner.stack():
            if cell is self:
                return owner.envelope if above is None else above._us_below_envelope
            above = cell
        return None

    def _us_fail_reply(self, envelope: Any) -> None:
        if type(envelope) is tuple and envelope[1] is not None:
            envelope[1]._us_fail(
                ActorDeadError(f"{self} was replaced before it answered", ref=self)
            )

    def _us_close(self, reason: Exit) -> None:
        """Close for good: dead letters, watchers, path, event; a handler at work is fenced."""
        runtime = self._us_rt
        with runtime.lock:
            if self._us_phase == CLOSED:
                return
            owner = self._us_owner
            extra = self._us_extra
            envelopes: list[Any] = []
            lost: Strand | None = None
            if (owner is not None and owner is not local.strand) or (extra and extra.turns):
                envelopes, lost = self._us_take_away()
            self._us_phase = CLOSED
            self._us_gate = DEAD
            incarnation = self._us_incarnation
        self._us_odd = True
        if lost is not None:
            runtime.fenced(lost)
        for envelope in envelopes:
            self._us_fail_reply(envelope)
        self._us_inline = False
        self._us_fast = False
        self._us_actor = None
        self._us_forget_incarnation()
        runtime.unregister(self)
        family: Any = runtime.families.pop(self, None)
        if family is not None:
            family.kill()
        stoppers, self._us_stoppers = self._us_stoppers or (), None
        watchers: dict[Any, object] = {}
        if extra is not None:
            with runtime.lock:
                watchers, extra.watchers = extra.watchers or {}, None
            if extra.event is not None:
                extra.event.set()
        for watcher, token in watchers.items():
            watcher._us_notice(Terminated(self, reason), token)
        if runtime.stream.active:
            runtime.stream.publish(ActorStopped(self, incarnation, reason))
        self._us_guardian.child_closed(self, reason)
        for future in stoppers:
            future._us_resolve(True)
        finish = getattr(self._us_home, "finish", None)
        if finish is not None:
            finish()
        if self._us_queue or (extra is not None and extra.stash):
            strand = strand_here()
            if self._us_owner is None:
                self._us_owner = owner = self._us_owner or strand
                if owner is strand:
                    try:
                        self._us_drain()
                    finally:
                        self._us_idle = True
                        self._us_owner = None
                    if self._us_queue:
                        self._us_home.submit(self)
        else:
            self._us_idle = True
            if self._us_queue:
                self._us_home.submit(self)

    def _us_close_idle(self, reason: Exit) -> bool:
        """Close at once an actor that does nothing and has nothing to clean up.

        Stopping ten thousand idle actors by way of their control lanes costs ten times as much.

        Returns:
            Whether it was closed; False, and nothing done, if it is busy, or has an `on_stop`,
            children or anything else to see to.
        """
        if (
            not self._us_idle
            or self._us_odd
            or self._us_extra is not None
            or self._us_owner is not None
            or self.actor_class.on_stop is not _NO_STOP
            or self in self._us_rt.families
        ):
            return False
        strand = strand_here()
        # The claim: nobody can take a message up while it is held.
        self._us_owner = owner = self._us_owner or strand
        if owner is not strand:
            return False
        done = not self._us_queue and not self._us_odd
        if done:
            self._us_close(reason)
        self._us_owner = None
        if self._us_queue or self._us_control:
            self._us_home.submit(self)
        return done

    # --- carried out by the owner ------------------------------------------------------------

    def _us_do_begin(self, strand: Strand, lock: Any) -> None:
        if self._us_phase == CLOSED:
            return
        if self._us_incarnation or self._us_actor is not None:
            self._us_actor = None
            self._us_forget_incarnation()
        self._us_incarnation += 1
        self._us_phase = STARTING
        try:
            actor = self._us_make()
        except BaseException as error:
            if self._us_lock is lock:
                self._us_start_raised(strand, error)
            return
        if self._us_lock is lock:
            self._us_enter(strand, lock, actor)

    def _us_do_enter(self, strand: Strand, lock: Any) -> None:
        """Start the instance that was made on the spawner's side."""
        if self._us_phase == NEW:
            self._us_incarnation = 1
            self._us_phase = STARTING
            self._us_enter(strand, lock, self._us_actor)

    def _us_make(self) -> Any:
        """Make an instance from the class and the arguments of the spawn."""
        cls = self.actor_class
        saved = self._us_args
        args: tuple[Any, ...]
        kwargs: Mapping[str, Any]
        args, kwargs = saved if saved is not None else ((), {})
        make: Any = cls.__new__
        actor = make(cls) if make is object.__new__ else make(cls, *args, **kwargs)
        actor._actor_ref = self
        extra = self._us_extra
        if extra is not None and extra.persistence_id is not None:
            actor._us_persistence_id = extra.persistence_id
        actor.__init__(*args, **kwargs)
        if self._us_actor is not actor:
            self._us_forgotten()
        return actor

    def _us_forgotten(self) -> None:
        msg = (
            f"{self.actor_class.__name__}.__init__() has not called super().__init__(): "
            "call it first, so that the actor gets its ref"
        )
        raise TypeError(msg)

    def _us_enter(self, strand: Strand, lock: Any, actor: Any) -> None:
        envelope, strand.envelope = strand.envelope, None
        strand.turns = strand.number = strand.turns + 1
        self._us_rt.count_hook()
        try:
            result = self._us_start_hooks(actor)
        except BaseException as error:
            if self._us_lock is lock:
                self._us_start_raised(strand, error)
            return
        finally:
            strand.envelope = envelope
        if self._us_lock is not lock:
            return
        if result.__class__ is CoroutineType:
            _handle.drive(self, strand, lock, result, None, _start_over)
        else:
            self._us_started()

    def _us_start_hooks(self, actor: Any) -> Any:
        recover = getattr(actor, "_us_recover", None)
        if recover is not None:
            recover()
        return self._us_in_context(actor.on_start)

    def _us_in_context(self, hook: Any, *args: Any) -> Any:
        """Call a hook with the actor's own context variables."""
        extra = self._us_extra
        if extra is None or extra.context is None or extra.context is extra.entered:
            return hook(*args)
        return extra.context.run(hook, *args)

    def _us_started(self) -> None:
        self._us_phase = OPEN
        self._us_odd = True
        stream = self._us_rt.stream
        if stream.active:
            stream.publish(ActorStarted(self, self._us_incarnation))
        self._us_guardian.child_started(self, self._us_incarnation)

    def _us_start_raised(self, strand: Strand, error: BaseException) -> None:
        del strand
        self._us_phase = SUSPENDED
        self._us_odd = True
        self._us_rt.marks.expect(self)
        self._us_actor = None
        if not isinstance(error, Ignore):
            stream = self._us_rt.stream
            if stream.active:
                stream.publish(ActorFailed(self, self._us_incarnation, error, None, "start", None))
        if isinstance(error, Exception):
            self._us_guardian.child_start_failed(self, self._us_incarnation, error)
        else:
            self._us_guardian.fatal(self, error)

    def _us_do_resume(self, strand: Strand, lock: Any) -> None:
        del strand, lock
        if self._us_phase == SUSPENDED and self._us_actor is not None:
            self._us_phase = OPEN

    def _us_do_fail(
        self,
        strand: Strand,
        lock: Any,
        cause: BaseException,
        incarnation: int | None,
        phase: Any,
    ) -> None:
        del strand
        if incarnation is not None and incarnation != self._us_incarnation:
            return
        if self._us_phase in (OPEN, STARTING):
            self._us_go_down(lock, Failure(cause, None, phase))

    def _us_go_down(self, lock: Any, failure: Failure) -> None:
        """The incarnation has failed: tell it, suspend, and ask the guardian."""
        guardian = self._us_guardian
        error = failure.cause
        actor = self._us_actor
        self._us_phase = SUSPENDED
        self._us_odd = True
        self._us_rt.marks.expect(self)
        extra = self._us_extra
        if extra is not None and extra.turns:
            turns, extra.turns = extra.turns, []
            for turn in turns:
                self._us_fail_reply(turn.envelope)
                turn.abandon()
        stream = self._us_rt.stream
        if stream.active:
            stream.publish(
                ActorFailed(
                    self,
                    self._us_incarnation,
                    error,
                    failure.message,
                    failure.phase,
                    failure.stack,
                )
            )
        if failure.phase != "interrupt":
            self._us_leave(failure)
            try:
                result = self._us_in_context(
                    actor.on_failure, type(error), error, error.__traceback__
                )
            except Exception as second:
                logger.exception("Unhandled exception in %s:", self)
                second.__context__ = None
            else:
                if result.__class__ is CoroutineType:
                    self._us_rt.loop_dispatcher().run_to_end(result)
            if self._us_lock is not lock:
                return
        guardian.child_failed(self, self._us_incarnation, failure)

    def _us_fatal(self, lock: Any, error: BaseException) -> None:
        del lock
        self._us_phase = SUSPENDED
        self._us_odd = True
        self._us_guardian.fatal(self, error)

    def _us_stop_in_order(
        self,
        strand: Strand,
        lock: Any,
        future: Future[bool] | None,
        ordered: bool,
        now: bool = False,
    ) -> None:
        """A stop request has come up in the user lane."""
        if not now:
            self._us_rt.count_hook()
        if future is not None:
            if self._us_stoppers is None:
                self._us_stoppers = [future]
            else:
                self._us_stoppers.append(future)
        reason = ORDERED if ordered else Exit.NORMAL
        self._us_do_halt(strand, lock, reason, True)

    def _us_do_stop(self, strand: Strand, lock: Any, future: Future[bool] | None) -> None:
        """`stop(now=True)`: as the ordered stop, but before what waits."""
        self._us_stop_in_order(strand, lock, future, ordered=True, now=True)

    def _us_do_halt(self, strand: Strand, lock: Any, reason: Exit, run_hooks: bool) -> None:
        phase = self._us_phase
        if phase in (CLOSED, HALTING):
            return
        if phase in (NEW, SUSPENDED) or self._us_actor is None:
            self._us_phase = SUSPENDED
            self._us_ended(reason)
            return
        extra = self._us_extra
        if extra is not None and extra.turns:
            extra.halting = reason
            extra.halt_hooks = run_hooks
            # Wait for them: attending comes back here when the last one is over.
            for turn in extra.turns:
                turn.cancel_soon()
            self._us_odd = True
            return
        self._us_phase = HALTING
        self._us_odd = True
        family = self._us_rt.families.get(self)
        if family is None:
            self._us_do_cleanup(strand, lock, reason, run_hooks)
        else:
            family.halt_children(reason, lambda: self._us_post("_us_do_cleanup", reason, run_hooks))

    def _us_do_cleanup(self, strand: Strand, lock: Any, reason: Exit, run_hooks: bool) -> None:
        """The children are gone: the actor's own end."""
        if self._us_phase != HALTING:
            return
        self._us_leave()
        if not run_hooks:
            self._us_ended(reason)
            return
        actor = self._us_actor
        envelope, strand.envelope = strand.envelope, None
        strand.turns = strand.number = strand.turns + 1
        self._us_rt.count_hook()
        try:
            result = self._us_in_context(actor.on_stop)
        except Exception as error:
            if self._us_lock is lock:
                self._us_stop_raised(error)
        except BaseException as error:
            if self._us_lock is lock:
                self._us_fatal(lock, error)
            return
        else:
            if result.__class__ is CoroutineType and self._us_lock is lock:
                _handle.drive(
                    self, strand, lock, result, None, functools.partial(_stop_over, reason)
                )
                return
        finally:
            strand.envelope = envelope
        if self._us_lock is lock:
            self._us_ended(reason)

    def _us_leave(self, failure: Failure | None = None) -> None:
        """Tell a guardian that wants to know before the hooks of the end run (Pykka's order)."""
        leaving = getattr(self._us_guardian, "child_leaving", None)
        if leaving is not None:
            leaving(self, failure)

    def _us_stop_raised(self, error: BaseException) -> None:
        logger.error(
            "Unhandled exception in %s:", self, exc_info=(type(error), error, error.__traceback__)
        )
        stream = self._us_rt.stream
        if stream.active:
            stream.publish(ActorFailed(self, self._us_incarnation, error, None, "stop", None))

    def _us_ended(self, reason: Exit) -> None:
        self._us_phase = SUSPENDED
        self._us_odd = True
        self._us_actor = None
        self._us_forget_incarnation()
        self._us_guardian.child_ended(self, self._us_incarnation, reason)

    # --- coroutine turns ---------------------------------------------------------------------

    def _us_turn_ended(self, turn: Turn) -> None:
        """A suspended turn is over (loop thread): have the owner look after it."""
        if self._us_lock is not turn.lock:
            self._us_rt.refuse("reply")
            self._us_rt.came_back(turn.strand)
            return
        if answer_here(self, turn):
            return
        fresh: list[tuple[Any, ...]] = []
        self._us_control = control = fresh if self._us_control is None else self._us_control
        control.insert(0, ("_us_do_turn_over", turn))
        self._us_odd = True
        if self._us_owner is None and self._us_on_loop(turn.strand.loop):
            self._us_run(turn.strand)
        else:
            self._us_idle = False
            self._us_home.submit(self)

    def _us_do_turn_over(self, strand: Strand, lock: Any, turn: Turn) -> None:
        extra = self._us_more()
        if turn not in extra.turns:
            return
        extra.turns.remove(turn)
        if self._us_lock is lock:
            turn.then(self, strand, lock, turn)

    def _us_busy(self) -> bool:
        """Whether it has anything to do."""
        if self._us_phase == CLOSED:
            return False
        extra = self._us_extra
        if self._us_control or (extra is not None and extra.turns):
            return True
        if self._us_phase == SUSPENDED:  # its mail waits; what is decided about it counts
            return self._us_owner is not None
        return bool(self._us_queue) or self._us_owner is not None or not self._us_idle

    # --- between incarnations ----------------------------------------------------------------

    def _us_forget_incarnation(self) -> None:
        """Drop what belongs to one incarnation: timers, watches, behaviour, context, lease."""
        extra = self._us_extra
        if extra is None:
            return
        extra.halting = None
        extra.behaviours = None
        extra.context = None
        extra.lease_until = None
        extra.stashed = False
        timers, extra.timers = extra.timers, None
        for timer in timers or ():
            timer.cancel()
        watching, extra.watching = extra.watching, None
        for target in watching or ():
            target._us_unwatched(self)
        stash, extra.stash = extra.stash, None
        if stash:
            self._us_put_back(stash)

    # --- watching ----------------------------------------------------------------------------

    def _us_watched(self, watcher: Any, token: object) -> bool:
        """Add a watcher; False if this actor is dead."""
        extra = self._us_more()
        with self._us_rt.lock:
            if self._us_phase == CLOSED:
                return False
            if extra.watchers is None:
                extra.watchers = {}
            extra.watchers[watcher] = token
            return True

    def _us_unwatched(self, watcher: Any) -> None:
        extra = self._us_extra
        if extra is not None:
            with self._us_rt.lock:
                if extra.watchers is not None:
                    extra.watchers.pop(watcher, None)

    def _us_notice(self, terminated: Terminated, token: object) -> None:
        if self._us_gate is not DEAD:
            self._us_put((WatchNotice(terminated, token), None, None, None, 0, None, None))

    # --- the end of a mailbox ----------------------------------------------------------------

    def _us_drain(self) -> None:
        """Account for everything that waits in a closed mailbox. The claim is held."""
        extra = self._us_extra
        self._us_actor = None
        self._us_control = None
        if extra is not None and extra.stash:
            self._us_put_back(extra.stash)
            extra.stash = None
        queue = self._us_queue
        if extra is not None and extra.mailbox is not None:
            extra.mailbox.flatten(queue)
        while queue:
            batch = queue[:1024]
            del queue[: len(batch)]
            for item in batch:
                self._us_undeliverable(item, "stopped")

    def _us_why_not(self, message: Any, reason: str) -> Exception:
        if reason == "overflow":
            extra = self._us_extra
            spec = extra.mailbox.spec if extra is not None and extra.mailbox is not None else None
            return MailboxFull(message, self, spec.capacity if spec is not None else None)
        return ActorDeadError(
            f"{self} stopped before handling the message", ref=self, message=message
        )

    def _us_undeliverable(self, item: Any, reason: str) -> None:
        """Account for one item that reaches nobody: its asker, and one dead letter."""
        sender = None
        message = item
        if type(item) is tuple:
            message, reply, sender = item[:3]
            if message.__class__ is Returned:
                message = message_of(item)
            if isinstance(message, StopRequest):
                if message.future is not None:
                    message.future._us_resolve(True)
                return
            if message.__class__ in _handle.SPECIAL and isinstance(
                message, (WatchNotice, TimerDue, Mark)
            ):
                return
            if message.__class__ is _ActorStop:
                if reply is not None:
                    reply._us_resolve(None)
                return
            if reply is not None and not reply._us_fail(self._us_why_not(message, reason)):
                return
        if message.__class__ is DeadLetter:
            return  # it was on its way to a subscriber: a dead letter about it would have no end
        self._us_rt.dead_letter(DeadLetter(message_of(item), self, sender, reason))


def _start_over(cell: Any, strand: Strand, lock: Any, turn: Turn) -> None:
    """A coroutine `on_start` is over."""
    del lock
    extra = cell._us_more()
    if isinstance(turn.error, asyncio.CancelledError) and extra.halting is not None:
        cell._us_ended(extra.halting)
    elif turn.error is not None:
        cell._us_start_raised(strand, turn.error)
    elif cell._us_phase == STARTING:
        cell._us_started()


def _stop_over(reason: Exit, cell: Any, strand: Strand, lock: Any, turn: Turn) -> None:
    """A coroutine `on_stop` is over."""
    del strand, lock
    if turn.error is not None:
        cell._us_stop_raised(turn.error)
    cell._us_ended(reason)
