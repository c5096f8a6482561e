"""Proxies: an actor used like an object.

Pykka's, with three differences: a proxy holds the ref and not the instance, so that it goes on
through restarts; it is compared by its ref; and a method once looked up is kept on the proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pykka
from pykka._introspection import introspect_attrs
from pykka._proxy import CallableProxy as PykkaCallableProxy
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from understudy.actors._errors import ActorDeadError

if TYPE_CHECKING:
    from pykka._types import AttrPath

    from understudy.actors._future import Future

__all__ = ["ActorProxy", "CallableProxy"]

A = TypeVar("A")


class ActorProxy(pykka.ActorProxy[Any], Generic[A]):
    """The attributes and methods of an actor, each use of which is a message to it.

    Reading an attribute or calling a method gives a future. Setting an attribute waits until it
    is set. `proxy.method.defer(...)` sends without asking for an answer.

    Raises:
        ActorDeadError: the actor is dead.
    """

    _actor_proxies: dict[AttrPath, ActorProxy[A]]  # type: ignore[assignment]

    def __init__(self, *, actor_ref: Any, attr_path: AttrPath | None = None) -> None:
        if not actor_ref.is_alive():
            raise ActorDeadError(f"{actor_ref} not found", ref=actor_ref)
        set_ = object.__setattr__
        set_(self, "actor_ref", actor_ref)
        set_(self, "_attr_path", attr_path or ())
        set_(self, "_known_attrs", self._introspect())
        set_(self, "_actor_proxies", {})

    def _introspect(self) -> dict[Any, Any]:
        actor = self._actor
        if actor is None:  # between two incarnations: the class knows most of it
            return _class_attrs(self.actor_ref.actor_class)
        return dict(introspect_attrs(root=actor, proxy=self))

    @property
    def _actor(self) -> Any:
        """Today's instance."""
        return self.actor_ref._actor_weakref()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, pykka.ActorProxy):
            return False
        return self.actor_ref is other.actor_ref and self._attr_path == other._attr_path

    def __hash__(self) -> int:
        return hash((id(self.actor_ref), self._attr_path))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            msg = f"{self} has no attribute {name!r}"
            raise AttributeError(msg)
        attr_path = (*self._attr_path, name)
        known = self._known_attrs.get(attr_path)
        if known is None:
            object.__setattr__(self, "_known_attrs", self._introspect())
            known = self._known_attrs.get(attr_path)
            if known is None:
                msg = f"{self} has no attribute {name!r}"
                raise AttributeError(msg)
        if known.callable:
            proxy: CallableProxy[Any] = CallableProxy(actor_ref=self.actor_ref, attr_path=attr_path)
            object.__setattr__(self, name, proxy)
            return proxy
        if known.traversable:
            nested = self._actor_proxies.get(attr_path)
            if nested is None:
                nested = ActorProxy(actor_ref=self.actor_ref, attr_path=attr_path)
                self._actor_proxies[attr_path] = nested
            return nested
        return self.actor_ref.ask(ProxyGetAttr(attr_path), block=False)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "actor_ref" or name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        self.actor_ref.ask(ProxySetAttr((*self._attr_path, name), value))


def _class_attrs(cls: type[Any]) -> dict[Any, Any]:
    from pykka._introspection import AttrInfo

    return {
        (name,): AttrInfo(callable=callable(getattr(cls, name, None)), traversable=False)
        for name in dir(cls)
        if not name.startswith("_")
    }


class CallableProxy(PykkaCallableProxy[Any], Generic[A]):
    """One method of an actor. Calling it asks, `defer(...)` tells."""

    __slots__ = ("_attr_path", "actor_ref")

    def __init__(self, *, actor_ref: Any, attr_path: AttrPath) -> None:
        self.actor_ref = actor_ref
        self._attr_path = attr_path

    def __call__(self, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send the call; the future has its result."""
        return self.actor_ref._us_ask(  # type: ignore[attr-defined, no-any-return]  # ours
            ProxyCall(self._attr_path, args, kwargs), False, None
        )

    def defer(self, *args: Any, **kwargs: Any) -> None:
        """Send the call and forget it: what it raises is a failure of the actor."""
        self.actor_ref.tell(ProxyCall(self._attr_path, args, kwargs))
