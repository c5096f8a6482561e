"""How to make an actor, as one value."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

__all__ = ["Props"]

A = TypeVar("A")


class Props(Generic[A]):
    """A class with its arguments, for `spawn(Props(cls, ...))`.

    Use it where the class has parameters named like those of `spawn` itself (`name`, `restart`,
    `dispatcher`, `mailbox`, `persistence_id`): here they go to the class.
    """

    __slots__ = ("args", "cls", "kwargs")

    def __init__(self, cls: type[A], /, *args: Any, **kwargs: Any) -> None:
        self.cls = cls
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        parts = [self.cls.__name__, *map(repr, self.args)]
        parts += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"Props({', '.join(parts)})"
