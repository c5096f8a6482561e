"""Why an actor ended."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["Exit", "Failed", "RestartLimit"]


class Exit:
    """The reason of an end, as `Terminated`, `ActorStopped` and reports carry it.

    `Exit.NORMAL`: it stopped itself. `Exit.SHUTDOWN`: it was told to stop. `Exit.KILLED`: it
    was taken away without its cleanup, by a brutal kill or because it did not stop in time.
    `Exit.NOT_FOUND`: it was dead already when it was watched. `Failed(cause)`: it raised.
    `RestartLimit(cause)`: a supervisor gave up after too many restarts.

    `ordered` is true where somebody outside told the actor to stop (`ref.stop()`): an order is
    not judged by restart types.

    Frozen; equal when kind and cause are.
    """

    __slots__ = ("cause", "kind", "ordered")

    kind: str
    cause: BaseException | None
    ordered: bool

    NORMAL: ClassVar[Exit]
    SHUTDOWN: ClassVar[Exit]
    KILLED: ClassVar[Exit]
    NOT_FOUND: ClassVar[Exit]
    Failed: ClassVar[type[Failed]]
    RestartLimit: ClassVar[type[RestartLimit]]

    def __init__(
        self, kind: str, cause: BaseException | None = None, *, ordered: bool = False
    ) -> None:
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "cause", cause)
        object.__setattr__(self, "ordered", ordered)

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"Exit reasons are frozen: {name} cannot be set to {value!r}"
        raise AttributeError(msg)

    @property
    def abnormal(self) -> bool:
        """Whether a supervisor counts this end as a failure."""
        return self.kind not in {"normal", "shutdown", "not_found"}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Exit):
            return NotImplemented
        return self.kind == other.kind and self.cause == other.cause

    def __hash__(self) -> int:
        return hash((self.kind, self.cause))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.kind, self.cause))

    def __repr__(self) -> str:
        if self.cause is None:
            return f"Exit.{self.kind.upper()}"
        return f"{type(self).__name__}({self.cause!r})"


class Failed(Exit):
    """It raised `cause`."""

    __slots__ = ()

    def __init__(self, cause: BaseException | None = None) -> None:
        super().__init__("failed", cause)


class RestartLimit(Exit):
    """A supervisor gave up: `cause` is the failure that went over the budget."""

    __slots__ = ()

    def __init__(self, cause: BaseException | None = None) -> None:
        super().__init__("restart_limit", cause)


def _rebuild(kind: str, cause: BaseException | None) -> Exit:
    if kind == "failed":
        return Failed(cause)
    if kind == "restart_limit":
        return RestartLimit(cause)
    return Exit(kind, cause)


Exit.NORMAL = Exit("normal")
Exit.SHUTDOWN = Exit("shutdown")
ORDERED = Exit("shutdown", ordered=True)
"""`Exit.SHUTDOWN`, told from outside."""
Exit.KILLED = Exit("killed")
Exit.NOT_FOUND = Exit("not_found")
Exit.Failed = Failed
Exit.RestartLimit = RestartLimit
