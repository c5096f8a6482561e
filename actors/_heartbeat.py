"""How an actor is watched for freezing, and what the watcher sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Heartbeat", "Stamp"]

DEFAULT_TIMEOUT = 4.0
"""Seconds: with the default sweep of 0.5 s a freeze is found within 4 to 5 s."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Turns recovery from freezing on, per class or child spec.

    timeout: seconds in one handler with the thread's CPU clock still, and no lease, after which
        the actor counts as frozen. Optional, and if absent it is 4.0.
    interval: seconds between looks. Optional, and if absent it is min(2.0, timeout / 2).
    on_frozen: "restart" takes the cell from the frozen thread and restarts the actor, its
        budget charged; "replace" does so at no cost to the budget; "alert" only reports.
        Optional, and if absent it is "restart".
    lease: seconds a handler may block from its beginning on without being suspected. Optional.
    hard_limit: seconds after which even a busy (computing) handler is recovered. Optional, and
        if absent a busy actor is only reported.
    """

    timeout: float = DEFAULT_TIMEOUT
    interval: float | None = None
    on_frozen: Literal["restart", "replace", "alert"] = "restart"
    lease: float | None = None
    hard_limit: float | None = None

    def __post_init__(self) -> None:
        for field in ("timeout", "interval", "lease", "hard_limit"):
            value = getattr(self, field)
            if value is None and field != "timeout":
                continue
            if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
                msg = f"Heartbeat({field}={value!r}) is not possible: give seconds above 0"
                raise ValueError(msg)
        if self.on_frozen not in {"restart", "replace", "alert"}:
            msg = (
                f"Heartbeat(on_frozen={self.on_frozen!r}) is not possible: "
                "use 'restart', 'replace' or 'alert'"
            )
            raise ValueError(msg)
        if self.interval is None:
            object.__setattr__(self, "interval", min(2.0, self.timeout / 2))


@dataclass(frozen=True, slots=True)
class Stamp:
    """One look at an actor, taken without touching it.

    Two stamps with the same `turn` and `state == "running"` belong to the same handler: what
    moved in between is the thread's CPU clock, or nothing.

    state: "idle" (nothing to do), "ready" (messages wait, no thread has taken it up),
        "running" (in a handler), "awaiting" (in a coroutine handler that is suspended),
        "suspended" (between incarnations), "closed".
    turn: which handler call this is: an opaque token, equal only within one call. None if none.
    message: what is being handled.
    thread_id: the `ident` of the thread that runs the handler, else None.
    lease_until: the clock's monotonic time up to which a standstill is legal, else None.
    depth: messages waiting.
    stack_depth: how many actors run on top of each other on that thread (inline asks).
    """

    ref: Any
    incarnation: int
    state: Literal["idle", "ready", "running", "awaiting", "suspended", "closed"]
    turn: Any = None
    message: Any = None
    thread_id: int | None = None
    lease_until: float | None = None
    depth: int = 0
    stack_depth: int = 0
    dispatcher: str = ""
