"""The seam between the kernel and supervision: the kernel has the means, the guardian decides.

A cell (the ref) goes through incarnations. Within one it serves its mailbox; between two it is
suspended: the mailbox is kept, the control lane is served. Everything a guardian is told, it is
told on the strand that owns the cell at that moment; it must not block, and answers by calling
one of the cell's `_us_*` operations, at once or later, from any thread.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors._exit import Exit

__all__ = ["Directive", "Failure", "Family", "Guardian", "Phase", "Restart"]

Phase = Literal["start", "receive", "stop", "frozen", "apply", "append", "interrupt", "children"]


class Restart(enum.Enum):
    """When an ended actor is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Only after an abnormal end."""
    TEMPORARY = "temporary"
    """Never."""


class Directive(enum.Enum):
    """What a supervisor does about a failure."""

    RESUME = "resume"
    """Go on with the same instance and the next message."""
    RESTART = "restart"
    """Put a fresh instance behind the same ref. The default."""
    STOP = "stop"
    """End the actor; the cause is its exit reason."""
    ESCALATE = "escalate"
    """Fail the supervisor itself with the same cause."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, as the guardian sees it.

    phase: "interrupt" is Ctrl-C during an inline ask on the main thread: the restart costs no
            budget. "frozen" comes from the detector, "apply" and "append" from persistent actors,
        "children" from the guardian of its children, which gave up.
    asked: whether somebody waited for the answer (and has been given the exception).
    """

    cause: BaseException
    message: Any = None
    phase: Phase = "receive"
    stack: str | None = None
    asked: bool = False


class Guardian(Protocol):
    """Who decides about a cell. Called by the cell's own strand; must not block."""

    def child_started(self, ref: Any, incarnation: int) -> None:
        """`on_start` of this incarnation has returned; the mailbox is open."""

    def child_start_failed(self, ref: Any, incarnation: int, cause: BaseException) -> None:
        """`__init__` (of a restart) or `on_start` raised `cause` (which may be `Ignore`).

        The cell is suspended. Answer with `_us_begin` or `_us_close`. Not called for the first
        incarnation started by `start_cell`, which raises to its caller instead.
        """

    def child_failed(self, ref: Any, incarnation: int, failure: Failure) -> None:
        """A handler raised; `on_failure` has been called; the cell is suspended.

        Answer with `_us_resume`, `_us_begin`, `_us_halt` or `_us_close`.
        """

    def child_ended(self, ref: Any, incarnation: int, reason: Exit) -> None:
        """The incarnation is over, its children and its `on_stop` done; the cell is suspended.

        `Exit.NORMAL` after `self.stop()`, `Exit.SHUTDOWN` after `ref.stop()`, else the reason
        given to `_us_halt`. Answer with `_us_close` or `_us_begin`.
        """

    def child_closed(self, ref: Any, reason: Exit) -> None:
        """The cell is closed for good. Called exactly once."""

    def fatal(self, ref: Any, error: BaseException) -> None:
        """`SystemExit` or another `BaseException` came out of a handler; the asker is answered.

        The cell is suspended.
        """


class Family(Protocol):
    """The children of one actor, as the kernel needs them when it ends that actor by itself."""

    def halt_children(self, reason: Exit, done: Callable[[], None]) -> None:
        """End all children in order, then call `done` once, from any thread. Must not block."""

    def kill(self) -> None:
        """Close all children at once, without their cleanup: their parent is closed already."""
