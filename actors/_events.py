"""Records that the kernel and the supervisors publish on the event stream, and watch notices.

All frozen. `ref` is the actor concerned; `path` is its path, for readers who outlive the ref.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.actors._exit import Exit

__all__ = [
    "ActorBusy",
    "ActorEvent",
    "ActorFailed",
    "ActorFrozen",
    "ActorRestarted",
    "ActorStarted",
    "ActorStopped",
    "DeadLetter",
    "DispatcherStarved",
    "Terminated",
]


@dataclass(frozen=True, slots=True)
class Terminated:
    """What a watcher receives, exactly once, when the actor it watches has ended for good."""

    ref: Any
    reason: Exit


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that reached nobody. `sender` is known when an actor sent it.

    `reason` is one of `"dead"` (sent to a dead ref), `"stopped"` (it waited in a mailbox that
    closed), `"overflow"` (a bounded mailbox dropped it), `"unknown path"`, `"forked"`.
    """

    message: Any
    recipient: Any
    sender: Any
    reason: str


@dataclass(frozen=True, slots=True)
class ActorEvent:
    """The common part of events about one actor."""

    ref: Any
    incarnation: int

    @property
    def path(self) -> str:
        """The path of the actor."""
        return str(self.ref.path)


@dataclass(frozen=True, slots=True)
class ActorStarted(ActorEvent):
    """An incarnation is ready: its `on_start` has returned. Restarts publish this as well."""


@dataclass(frozen=True, slots=True)
class ActorFailed(ActorEvent):
    """A handler, a hook or a start raised; what happens next is the supervisor's decision.

    `phase` says where: start, receive, stop, frozen, apply, append or interrupt.
    `stack` is the text of the stack where one was captured (a frozen thread).
    """

    cause: BaseException
    message: Any = None
    phase: str = "receive"
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class ActorRestarted(ActorEvent):
    """A new incarnation (`incarnation`) has taken the place of one that failed with `cause`."""

    cause: BaseException | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class ActorStopped(ActorEvent):
    """The actor is closed for good, for `reason`."""

    reason: Exit


@dataclass(frozen=True, slots=True)
class ActorFrozen(ActorEvent):
    """One handler has run for `seconds` while its thread stood still and no lease covered it.

    `action` is what the detector does: "restart", "replace" or "alert".
    """

    seconds: float
    message: Any = None
    stack: str | None = None
    action: str = "alert"


@dataclass(frozen=True, slots=True)
class ActorBusy(ActorEvent):
    """One handler has run for `seconds` and is computing (its thread's CPU clock moves)."""

    seconds: float
    message: Any = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DispatcherStarved:
    """Messages wait and no thread is free: a matter of the dispatcher, not of its actors."""

    dispatcher: str
    waiting: int
    threads: int
    seconds: float
