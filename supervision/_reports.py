"""Supervisor reports: what a supervisor saw and did, as data."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from understudy.actors import Exit

__all__ = ["Offender", "SupervisorReport"]

logger = logging.getLogger("understudy.supervision")

Context = Literal["start_error", "child_terminated", "restart_error", "shutdown_error", "shutdown"]
Action = Literal["restart", "backoff", "resume", "stop", "escalate", "give_up", "roll_back", "none"]

# What an operator should look at is a warning; what belongs to an ordered end is not.
_LEVELS = {
    # Whoever asked for the start is given the error itself.
    "start_error": logging.INFO,
    "child_terminated": logging.WARNING,
    "restart_error": logging.WARNING,
    "shutdown_error": logging.WARNING,
    "shutdown": logging.INFO,
}


@dataclass(frozen=True, slots=True)
class Offender:
    """The child a report is about.

    Attributes:
        id: its id in the supervisor.
        path: its path, None where it never got a reference.
        restart: its restart type, in words.
        incarnation: number of the incarnation that ended.

    """

    id: str
    path: str | None
    restart: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class SupervisorReport:
    """One decision of a supervisor, published on the event stream and logged.

    Attributes:
        supervisor: path of the supervisor.
        context: what happened: `start_error`, `child_terminated`, `restart_error` (a restart
            whose start failed), `shutdown_error` (a child did not stop within its limit, or raised
            while stopping), `shutdown` (the supervisor itself ends).
        reason: the exit reason of the child; of the supervisor where it ends.
        offender: the child; None where the supervisor itself ends in order.
        action: what was done about it.
        delay: seconds until the restart, where the action is `backoff`.

    """

    supervisor: str
    context: Context
    reason: Exit
    offender: Offender | None
    action: Action
    delay: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as logs print it."""
        offender = self.offender
        return {
            "supervisor": self.supervisor,
            "context": self.context,
            "reason": repr(self.reason),
            "offender": None if offender is None else asdict(offender),
            "action": self.action,
            "delay": self.delay,
        }


def _level(context: Context, reason: Exit, action: Action) -> int:
    if action == "stop" and not reason.abnormal:
        return logging.INFO  # a child with an end has come to it
    return _LEVELS[context]


def wanted(runtime: Any, context: Context, reason: Exit, action: Action) -> bool:
    """Whether anybody would see a report: making it costs more than restarting an actor."""
    return runtime.stream.active or logger.isEnabledFor(_level(context, reason, action))


def emit(runtime: Any, report: SupervisorReport) -> None:
    """Publish the report and log it; the record carries the report as `record.report`."""
    stream = runtime.stream
    if stream.active:
        stream.publish(report)
    level = _level(report.context, report.reason, report.action)
    if logger.isEnabledFor(level):
        offender = report.offender
        cause = report.reason.cause
        # Made by hand: looking for the caller's line would cost more than the restart itself.
        logger.handle(
            logger.makeRecord(
                logger.name,
                level,
                __file__,
                0,
                "%s: %s of child %s, reason %r, action %s",
                (
                    report.supervisor,
                    report.context,
                    offender.id if offender else "-",
                    report.reason,
                    report.action,
                ),
                None if cause is None else (type(cause), cause, cause.__traceback__),
                "emit",
                {"report": report},
            )
        )
