"""What all families of one system share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.actors import ActorDeadError, SystemStopped

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from understudy.actors import ActorRef, Clock
    from understudy.supervision._family import Family

__all__ = ["Realm", "realm_of"]


class Realm:
    """Time, chance, the families by their owners, and the way up for fatal errors.

    `families` has an entry only for an actor that has children, so that an ordinary actor pays
    nothing for the possibility. It is the runtime's own dictionary: the kernel looks into it when
    an actor ends, to let its children go first.
    """

    __slots__ = ("clock", "families", "fatal", "name", "random", "runtime", "stopping")

    def __init__(
        self,
        runtime: Any,
        fatal: Callable[[ActorRef[Any], BaseException], None],
        name: str = "",
    ) -> None:
        self.name = name
        self.stopping = False
        self.runtime = runtime
        self.clock: Clock = runtime.clock
        self.random: random.Random = runtime.random
        self.families: dict[ActorRef[Any], Family] = runtime.families
        self.fatal = fatal

    def refusal(self, owner: ActorRef[Any]) -> Exception:
        """The error for whoever wants to start something where everything is being stopped."""
        if self.stopping:
            return SystemStopped(self.name)
        return ActorDeadError(f"{owner} is stopping or stopped: it starts nothing more", ref=owner)


def realm_of(ref: ActorRef[Any]) -> Realm:
    """The realm an actor belongs to."""
    realm: Realm = ref._us_rt.realm
    return realm
