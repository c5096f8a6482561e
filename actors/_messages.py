"""Messages that know the type of their answer."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Msg"]

R_co = TypeVar("R_co", covariant=True)


class Msg(Generic[R_co]):
    """Base of a message whose answer has a known type.

    `class Balance(Msg[int])`: then `ref.ask(Balance())` is an `int` to a type checker. Nothing
    changes at run time; dataclasses may derive from it.
    """

    __slots__ = ()
