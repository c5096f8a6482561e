"""Pykka's registry, as the actors of this package see it.

At run time it is Pykka's own class, so that both share one list. To a type checker it is one that
hands out our refs and takes our classes (see `_actor` for why those are no subclass of Pykka's
there).
"""

# pyright: reportReturnType=false
# For type checkers it is described without bodies: Pykka's own registry is what runs.
from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["ActorRegistry"]

if TYPE_CHECKING:
    from typing import Any, Literal, TypeVar, overload

    from understudy.actors._future import Future
    from understudy.actors._ref import ActorRef

    A = TypeVar("A")

    class ActorRegistry:
        """The standalone actors of this process, and the roots of its systems."""

        @classmethod
        def broadcast(cls, message: Any, target_class: str | type[Any] | None = None) -> None:
            """Tell all actors, or all of one class."""

        @classmethod
        def get_all(cls) -> list[ActorRef[Any]]:
            """All of them."""

        @classmethod
        def get_by_class(cls, actor_class: type[A]) -> list[ActorRef[A]]:
            """Those of a class or a subclass of it."""

        @classmethod
        def get_by_class_name(cls, actor_class_name: str) -> list[ActorRef[Any]]:
            """Those of the class with this name."""

        @classmethod
        def get_by_urn(cls, actor_urn: str) -> ActorRef[Any] | None:
            """The one with this urn."""

        @classmethod
        def register(cls, actor_ref: ActorRef[Any]) -> None:
            """Add one: done by `start`."""

        @classmethod
        def unregister(cls, actor_ref: ActorRef[Any]) -> None:
            """Remove one: done when it ends."""

        @overload
        @classmethod
        def stop_all(
            cls, *, block: Literal[True] = True, timeout: float | None = None
        ) -> list[bool]: ...

        @overload
        @classmethod
        def stop_all(
            cls, *, block: Literal[False], timeout: float | None = None
        ) -> list[Future[bool]]: ...

        @classmethod
        def stop_all(cls, *, block: bool = True, timeout: float | None = None) -> Any:
            """Stop all of them, the last one first."""

else:
    from pykka import ActorRegistry
