"""What all families of one system share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pykka

from understudy.actors import ActorDeadError, Props, Restart, SystemStopped, on_new_runtime
from understudy.supervision._spec import ChildSpec

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from understudy.actors import ActorRef, Clock
    from understudy.supervision._family import Family

__all__ = ["Realm", "install", "realm_of"]

logger = logging.getLogger("understudy.supervision")

WORDS = ("name", "restart", "shutdown", "dispatcher", "mailbox", "persistence_id")
"""What `spawn` takes for itself; everything else goes to the class."""


class Realm:
    """Time, chance, the families by their owners, and the way up for fatal errors.

    `families` has an entry only for an actor that has children, so that an ordinary actor pays
    nothing for the possibility. It is the runtime's own dictionary: the kernel looks into it when
    an actor ends, to let its children go first.
    """

    __slots__ = (
        "clock", "failures", "families", "fatal", "name", "random", "restarts", "runtime",
        "stopping", "watcher",
    )  # fmt: skip

    def __init__(
        self,
        runtime: Any,
        fatal: Callable[[ActorRef[Any], BaseException], None],
        name: str = "",
    ) -> None:
        self.name = name
        self.stopping = False
        self.restarts = 0
        self.failures = 0
        self.watcher: Any = None
        self.runtime = runtime
        self.clock: Clock = runtime.clock
        self.random: random.Random = runtime.random
        self.families: dict[ActorRef[Any], Family] = runtime.families
        self.fatal = fatal

    def running_for(self, ref: ActorRef[Any]) -> float | None:
        """Seconds for which an actor has been in its handler, None where nobody looked yet."""
        return self.watcher.running_for(ref) if self.watcher is not None else None

    def spawn_child(
        self, parent: ActorRef[Any], cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActorRef[Any] | None:
        """`context.spawn`: start a child of an actor, which supervises it from then on.

        One_for_one with the default budget, the children of one parent together; over it the
        parent fails.

        Raises:
            TypeError: the parent is a `Supervisor`, whose children have specs.

        """
        from understudy.supervision._dynamic_family import DynamicFamily
        from understudy.supervision._strategies import OneForOne

        if cls.__class__ is Props:
            args = (*cls.args, *args)
            kwargs = {**cls.kwargs, **kwargs}
            cls = cls.cls
        family = self.families.get(parent)
        if family is None:
            family = self.families.setdefault(parent, DynamicFamily(self, parent, OneForOne()))
        if not isinstance(family, DynamicFamily):
            raise TypeError(
                f"{parent} is a Supervisor, its children have specs: "
                "use start_child(ChildSpec(...))"
            )
        options = {word: kwargs.pop(word) for word in WORDS if word in kwargs}
        restart = options.pop("restart", Restart.TRANSIENT)
        if isinstance(restart, str):
            restart = ChildSpec("child", cls, restart=restart).restart
        return family.spawn(
            cls,
            args,
            kwargs,
            options.pop("name", None),
            restart,
            options.pop("shutdown", None),
            **options,
        )

    def children_of(self, ref: ActorRef[Any]) -> list[ActorRef[Any]]:
        """`context.children`: the living children of an actor, in start order."""
        family = self.families.get(ref)
        return [] if family is None else family.child_refs()

    def refusal(self, owner: ActorRef[Any]) -> Exception:
        """The error for whoever wants to start something where everything is being stopped."""
        if self.stopping:
            return SystemStopped(self.name)
        return ActorDeadError(f"{owner} is stopping or stopped: it starts nothing more", ref=owner)


def realm_of(ref: ActorRef[Any]) -> Realm:
    """The realm an actor belongs to."""
    return install(ref._us_rt)


def install(runtime: Any) -> Realm:
    """Give a runtime its realm, and actors in it the means to spawn children; once."""
    realm: Realm | None = getattr(runtime, "realm", None)
    if realm is None:
        realm = runtime.realm = Realm(runtime, _standalone_fatal, runtime.name)
        runtime.spawn_child = realm.spawn_child
        runtime.children_of = realm.children_of
    return realm


def _standalone_fatal(ref: ActorRef[Any], error: BaseException) -> None:
    """Outside a system all actors stop, as in Pykka."""
    logger.debug("%r in %s. Stopping all actors.", error, ref)
    pykka.ActorRegistry.stop_all(block=False)


on_new_runtime(install)
