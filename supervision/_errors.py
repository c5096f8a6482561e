"""Errors of supervision: what was wrong with a spec, and what the admin API refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage import UnderstudyError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = [
    "AlreadyPresent",
    "AlreadyStarted",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "FrozenActor",
    "InvalidChildSpec",
    "InvalidStrategy",
    "InvalidTree",
    "MaxChildren",
    "RestartsExhausted",
    "SystemFailed",
]


class InvalidChildSpec(UnderstudyError, ValueError, TypeError):
    """A field of a child spec cannot be used.

    A spec is checked as a whole: when several fields are wrong, the first error is raised and
    `problems` holds one error for each of them, itself included, each with its bad value.

    Attributes:
        field: name of the field.
        value: what it held.
        expected: what would be accepted, in words.
        problems: every error found in the same spec.

    """

    what = "child spec"

    def __init__(self, field: str, value: Any, expected: str | None = None) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        self.problems: tuple[InvalidChildSpec, ...] = (self,)
        text = f"{self.what}: {field} = {value!r} cannot be used"
        super().__init__(f"{text}; expected {expected}" if expected else text)

    @classmethod
    def raise_any(cls, problems: Iterable[InvalidChildSpec]) -> None:
        """Raise the first of the problems, knowing all of them; return where there are none."""
        found = tuple(problems)
        if not found:
            return
        first = found[0]
        for other in found:
            other.problems = found
        for other in found[1:]:
            first.add_note(str(other))
        raise first


class InvalidStrategy(InvalidChildSpec):
    """A setting of a strategy, of its backoff or of a supervisor cannot be used."""

    what = "strategy"


class InvalidTree(InvalidChildSpec):
    """A tree in a TOML file cannot be built; `field` is the path of the key inside the file.

    Attributes:
        file: the file, a `Path`; None where it is not known.

    """

    def __init__(
        self, field: str, value: Any, expected: str | None = None, file: Path | None = None
    ) -> None:
        self.file = file
        self.what = "tree" if file is None else f"tree {file.name}"
        super().__init__(field, value, expected)


class AlreadyStarted(UnderstudyError):
    """A child with this id (or name) is alive; `ref` is its reference."""

    def __init__(self, id: str, ref: Any) -> None:  # noqa: A002 - OTP's word for it
        self.id = id
        self.ref = ref
        super().__init__(f"child {id!r} is already started as {ref}; use that ref or another id")


class AlreadyPresent(UnderstudyError):
    """A spec with this id is present, its child is stopped."""

    def __init__(self, id: str) -> None:  # noqa: A002
        self.id = id
        super().__init__(
            f"child {id!r} is present but stopped; restart_child({id!r}) starts it, "
            f"delete_child({id!r}) makes room for a new spec"
        )


class ChildNotFound(UnderstudyError):
    """No child has this id."""

    def __init__(self, id: Any) -> None:  # noqa: A002
        self.id = id
        super().__init__(f"no child {id!r} here; which_children() lists the ids there are")


class ChildRunning(UnderstudyError):
    """The child is alive, and what was asked needs a stopped one."""

    def __init__(self, id: str) -> None:  # noqa: A002
        self.id = id
        super().__init__(f"child {id!r} is running; terminate_child({id!r}) first")


class ChildRestarting(UnderstudyError):
    """The child is between two incarnations (restarting, or waiting for its backoff)."""

    def __init__(self, id: str) -> None:  # noqa: A002
        self.id = id
        super().__init__(
            f"child {id!r} is restarting; wait for it, or terminate_child({id!r}) to give it up"
        )


class MaxChildren(UnderstudyError):
    """A dynamic supervisor is full; restarting children count."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        super().__init__(
            f"{path} holds {limit} children, its max_children; stop one or raise the limit"
        )


class RestartsExhausted(UnderstudyError):
    """A supervisor ended because a child was restarted too often.

    It is the failure that the supervisor above sees, and it judges it like any other.

    Attributes:
        path: the supervisor that gave up.
        child: id of the child whose failure went over the limit.
        cause: that failure.

    """

    def __init__(
        self,
        path: str,
        child: str,
        cause: BaseException | None,
        intensity: int | None,
        period: float,
    ) -> None:
        self.path = path
        self.child = child
        self.cause = cause
        self.intensity = intensity
        self.period = period
        super().__init__(
            f"{path} gave up: child {child!r} needed more than {intensity} restarts in "
            f"{period:g} s, the last for {cause!r}; mend the child or raise the limit"
        )


class FrozenActor(UnderstudyError):
    """The failure of an actor that hung: nothing moved in its handler for too long.

    Attributes:
        path: the actor.
        seconds: how long it had been in the handler.
        message: what it was handling.
        depth: messages that waited behind it.
        stack: the stack of its thread or coroutine, as text; None where it could not be had.

    """

    def __init__(
        self, path: str, seconds: float, message: Any, depth: int, stack: str | None
    ) -> None:
        self.path = path
        self.seconds = seconds
        self.message = message
        self.depth = depth
        self.stack = stack
        super().__init__(
            f"{path} hung: {seconds:.1f} s in one message; take a lease with "
            "context.heartbeat(lease=) around what may take long"
        )


class SystemFailed(UnderstudyError):
    """The actor system stopped by itself, because its root gave up."""

    def __init__(self, name: str, cause: BaseException | None) -> None:
        self.name = name
        self.cause = cause
        super().__init__(f"system {name!r} stopped itself: {cause!r}")
