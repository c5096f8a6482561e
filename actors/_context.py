"""What an actor has at hand while it runs: `self.context`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.actors._cell import DEAD
from understudy.actors._envelope import Returned, Talk, message_of, turn_id
from understudy.actors._errors import Fenced
from understudy.actors._events import Terminated
from understudy.actors._exit import Exit
from understudy.actors._strand import local
from understudy.actors._timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from understudy.actors._props import Props
    from understudy.actors._ref import ActorRef

__all__ = ["Context", "MessageInfo"]

A = TypeVar("A")


class MessageInfo:
    """The message being handled, and where it came from.

    `id` names it; `causation_id` is the id of the message whose handler sent it, None if no
    actor did; `correlation_id` is shared by all that one message set off; `trace` is whatever
    was set with `set_trace` up the chain. Valid during its handler.
    """

    __slots__ = ("_envelope", "_strand", "_turn")

    def __init__(self, envelope: Any, strand: Any, turn: int) -> None:
        if type(envelope) is tuple and envelope[0].__class__ is Returned:
            again = envelope[0]
            envelope, strand, turn = again.item, again.strand, again.turn
        self._envelope = envelope
        self._strand = strand
        self._turn = turn

    @property
    def message(self) -> Any:
        """The message itself."""
        return message_of(self._envelope)

    @property
    def id(self) -> str:
        """Unique in this process."""
        return turn_id(self._strand, self._turn)

    @property
    def sender(self) -> Any:
        """The actor that sent it, None if none did."""
        return self._envelope[2] if type(self._envelope) is tuple else None

    @property
    def causation_id(self) -> str | None:
        """The id of the message in whose handling it was sent."""
        envelope = self._envelope
        if type(envelope) is tuple and envelope[3] is not None:
            return turn_id(envelope[3], envelope[4])
        return None

    @property
    def correlation_id(self) -> str:
        """The id of the message the whole chain began with."""
        envelope = self._envelope
        if type(envelope) is tuple and envelope[5] is not None and envelope[5].id is not None:
            known: str = envelope[5].id
            return known
        return self.causation_id or self.id

    @property
    def deadline(self) -> float | None:
        """When the asker stops waiting, in the clock's monotonic seconds; None if never."""
        return self._envelope[6] if type(self._envelope) is tuple else None

    @property
    def trace(self) -> Any:
        """The trace this message belongs to, None if none was set."""
        envelope = self._envelope
        talk = envelope[5] if type(envelope) is tuple else None
        return talk.trace if talk is not None else None


class Context:
    """What one incarnation of an actor may do. Use it from the actor's own code only.

    Once the incarnation is replaced, its context refuses: `Fenced` is raised and counted.
    """

    __slots__ = ("_actor", "_cell", "_log")

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._cell = actor._actor_ref
        self._log: Any = None

    def _check(self, what: str) -> Any:
        cell = self._cell
        if cell._us_actor is not self._actor:
            cell._us_rt.refuse(what)
            raise Fenced(cell, cell._us_incarnation, what)
        return cell

    # --- where it is -------------------------------------------------------------------------

    @property
    def system(self) -> Any:
        """The actor system, None for a standalone actor."""
        return self._cell._us_rt.system

    @property
    def parent(self) -> ActorRef[Any] | None:
        """The ref of the actor this one is a child of, None at the top."""
        parent: ActorRef[Any] | None = self._cell._us_parent
        return parent

    @property
    def path(self) -> str:
        """The path of this actor."""
        return str(self._cell.path)

    @property
    def children(self) -> Sequence[ActorRef[Any]]:
        """The living children, oldest first."""
        return tuple(self._cell._us_rt.children_of(self._cell))

    @property
    def current(self) -> bool:
        """Whether this incarnation still owns its actor (False once it was replaced)."""
        return self._cell._us_actor is self._actor

    @property
    def incarnation(self) -> int:
        """The number of this incarnation, 1 for the first."""
        return int(self._cell._us_incarnation)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry `actor` (the path)."""
        if self._log is None:
            logger = logging.getLogger(f"understudy.actor.{type(self._actor).__name__}")
            self._log = logging.LoggerAdapter(logger, {"actor": self.path})
        return self._log  # type: ignore[no-any-return]

    @property
    def message(self) -> MessageInfo | None:
        """The message being handled, None outside of a handler."""
        cell = self._cell
        strand = local.strand
        if strand is not None and strand.current is cell:
            turn = strand.number
            here = cell._us_turn_here()
            if here is not None:
                return MessageInfo(here.envelope, strand, here.number)
            if strand.envelope is None:
                return None
            return MessageInfo(strand.envelope, strand, turn)
        return None

    def set_trace(self, trace: Any, *, correlation_id: str | None = None) -> None:
        """Have all that is sent from here on, in this handler and beyond, carry `trace`."""
        self._check("trace")
        strand = local.strand
        if strand is None or strand.current is not self._cell:
            return
        envelope = strand.envelope
        if type(envelope) is not tuple:
            envelope = (envelope, None, None, None, 0, None, None)
        info = MessageInfo(envelope, strand, strand.number)
        talk = Talk(None, 0, id=correlation_id or info.correlation_id, trace=trace)
        again = envelope[0]
        if again.__class__ is Returned:
            item = again.item
            if type(item) is not tuple:
                item = (item, None, None, None, 0, None, None)
            again = Returned((*item[:5], talk, item[6]), again.strand, again.turn)
            strand.envelope = again.envelope(envelope[1])
            return
        strand.envelope = (*envelope[:5], talk, envelope[6])

    # --- children and watching ---------------------------------------------------------------

    def spawn(self, cls: type[A] | Props[A], *args: Any, **kwargs: Any) -> ActorRef[A]:
        """Start a child: as `system.spawn`, with this actor as its supervisor.

        Supervised one_for_one with the default budget; over it this actor fails. Takes the words
        of `system.spawn` (name, restart, dispatcher, mailbox, ...); use `Props` where the class
        has parameters of these names itself.

        Raises:
            StartFailed: its `__init__` or `on_start` raised.
        """
        cell = self._check("spawn")
        ref: ActorRef[A] = cell._us_rt.spawn_child(cell, cls, args, kwargs)
        return ref

    def watch(self, ref: ActorRef[A]) -> ActorRef[A]:
        """Have exactly one `Terminated(ref, reason)` sent here once `ref` has ended for good.

        If it is dead already the reason is `Exit.NOT_FOUND`. Restarts are not reported. Watching
        twice is watching once. A watch ends with the incarnation that made it.
        """
        cell = self._check("watch")
        ref = getattr(ref, "actor_ref", ref)
        extra = cell._us_more()
        if extra.watching is None:
            extra.watching = {}
        if ref in extra.watching:
            return ref
        token = object()
        extra.watching[ref] = token
        if not ref._us_watched(cell, token):
            cell._us_notice(Terminated(ref, Exit.NOT_FOUND), token)
        return ref

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """End a watch. A notice that already waits is not delivered."""
        cell = self._check("unwatch")
        ref = getattr(ref, "actor_ref", ref)
        extra = cell._us_extra
        if extra is not None and extra.watching and extra.watching.pop(ref, None) is not None:
            ref._us_unwatched(cell)

    # --- messages ----------------------------------------------------------------------------

    def stash(self) -> None:
        """Put the message being handled aside, with its asker waiting on.

        It comes back as what it was: with its id, its sender, its deadline, its trace.
        """
        cell = self._check("stash")
        strand = local.strand
        if strand is None or strand.current is not cell or strand.envelope is None:
            msg = f"{cell} handles no message here: call stash() in a handler"
            raise RuntimeError(msg)
        extra = cell._us_more()
        if extra.stashed:
            return
        if extra.stash is None:
            extra.stash = []
        envelope = strand.envelope
        extra.stash.append(_put_aside(envelope, self.message))
        if type(envelope) is not tuple or envelope[1] is None:
            extra.stashed = cell._us_asked_inline(strand)
        else:
            extra.stashed = True

    def unstash_all(self) -> int:
        """Put all stashed messages back, in their order, before those that wait; says how many."""
        cell = self._check("unstash")
        extra = cell._us_extra
        if extra is None or not extra.stash:
            return 0
        if extra.stashed:
            msg = f"{cell} stashes the message it handles: unstash in a later handler"
            raise RuntimeError(msg)
        stash, extra.stash = extra.stash, None
        cell._us_unstash(stash)
        return len(stash)

    def become(self, behaviour: Callable[[Any], Any] | None, *, stack: bool = False) -> None:
        """Handle the next messages with `behaviour(message)` instead of `on_receive`.

        None goes back: to the behaviour below if there is one, else to `on_receive`. Proxied
        calls are not concerned; watch notices and timers are messages like all others.

        Args:
            behaviour: a function of the message, a bound method as a rule.
            stack: keep the present behaviour below the new one.
        """
        cell = self._check("become")
        extra = cell._us_more()
        behaviours = extra.behaviours or []
        if behaviour is None:
            behaviours = behaviours[:-1]
        elif stack or not behaviours:
            behaviours = [*behaviours, behaviour]
        else:
            behaviours = [*behaviours[:-1], behaviour]
        extra.behaviours = behaviours or None
        cell._us_inline = False
        cell._us_fast = False
        cell._us_odd = True

    # --- time --------------------------------------------------------------------------------

    def schedule_once(self, delay: float, message: Any, to: ActorRef[Any] | None = None) -> Timer:
        """Send `message` after `delay` seconds, to this actor or to `to`."""
        return self._schedule(delay, message, to, None)

    def schedule_every(
        self, interval: float, message: Any, to: ActorRef[Any] | None = None
    ) -> Timer:
        """Send `message` every `interval` seconds, without drift; the first after one interval."""
        if interval <= 0:
            msg = f"schedule_every({interval!r}) is not possible: give seconds above 0"
            raise ValueError(msg)
        return self._schedule(interval, message, to, interval)

    def _schedule(
        self, delay: float, message: Any, to: ActorRef[Any] | None, interval: float | None
    ) -> Timer:
        cell = self._check("timer")
        target = getattr(to, "actor_ref", to)
        if target is cell:
            target = None
        extra = cell._us_more()
        if extra.timers is None:
            extra.timers = set()
        timer = Timer(cell, cell._us_rt.clock, delay, message, target, interval=interval)
        extra.timers.add(timer)
        if not timer.active:  # it was due at once, on another thread
            extra.timers.discard(timer)
        return timer

    def heartbeat(self, lease: float | None = None) -> None:
        """Tell the failure detector that this handler is well.

        Args:
            lease: seconds from now on during which a standstill is legal, for a long wait that
                is meant. Optional, and if absent the standstill is counted anew from now.
        """
        cell = self._check("heartbeat")
        extra = cell._us_more()
        clock = cell._us_rt.clock
        extra.lease_until = None if lease is None else clock.monotonic() + lease
        extra.beats += 1
        for turn in extra.turns:
            if turn.quiet_until:
                turn.quiet_until = 0.0
                cell._us_rt.woken.append(turn)

    def stop(self, ref: ActorRef[Any]) -> None:
        """Tell a child to stop now; does not wait."""
        self._check("stop")
        if ref._us_gate is not DEAD:
            ref.stop(block=False, now=True)


def _put_aside(envelope: Any, info: MessageInfo | None) -> Any:
    """The item to keep in the stash for what is being handled."""
    if type(envelope) is tuple and envelope[0].__class__ is Returned:
        return envelope  # it was there before
    assert info is not None
    reply = envelope[1] if type(envelope) is tuple else None
    return Returned(envelope, info._strand, info._turn).envelope(reply)
