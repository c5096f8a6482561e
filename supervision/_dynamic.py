"""`DynamicSupervisor`: children on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from understudy.actors import Actor, Props, Restart
from understudy.supervision._dynamic_family import DynamicFamily
from understudy.supervision._errors import InvalidChildSpec
from understudy.supervision._realm import realm_of
from understudy.supervision._spec import SHUTDOWN_SECONDS, ChildSpec, Shutdown
from understudy.supervision._strategies import OneForOne, Strategy
from understudy.supervision._supervisor import check_supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from understudy.actors import ActorRef, Directive, Future
    from understudy.supervision._spec import ChildCounts, ChildInfo

__all__ = ["DynamicSupervisor"]


class DynamicSupervisor(Actor):
    """An actor that starts children when asked, and forgets those that have ended.

    All children are siblings without an order: each is restarted alone (`OneForOne` is the only
    strategy), and at the end all are stopped side by side, so that ten slow ones take as long as
    the slowest. Restarting keeps the ref, the path, the watchers and the waiting messages.

    The admin methods are meant to be called through `ref.proxy()`; each returns at once with a
    future. `start_child` counts restarting children against `max_children`.

    Attributes:
        strategy: an `OneForOne`; optional, and if absent 3 restarts in 5 s for all together.
        decider: directives by exception type, as in `Supervisor`.
        max_children: how many children there may be; optional, and if absent there is no limit.
        shutdown: what a child is given to stop unless its start says otherwise; optional, and if
            absent 5.0 s, and no limit for a supervisor.

    """

    _us_supervisor: ClassVar[bool] = True

    strategy: Strategy = OneForOne()
    decider: Mapping[type[BaseException], Directive] = {}
    max_children: int | None = None
    shutdown: float | Shutdown = SHUTDOWN_SECONDS

    def on_start(self) -> None:
        """Open for children. Runs on the supervisor's strand.

        Raises:
            InvalidChildSpec: settings that cannot be used.

        """
        check_supervisor(self)
        realm = realm_of(self.actor_ref)
        family = DynamicFamily(
            realm,
            self.actor_ref,
            self.strategy,
            self.decider,
            max_children=self.max_children,
            shutdown=self.shutdown,
        )
        realm.families[self.actor_ref] = family
        self._us_family = family

    def start_child(
        self,
        cls: Any,
        *args: Any,
        name: str | None = None,
        restart: Restart | str = Restart.TRANSIENT,
        shutdown: float | Shutdown | None = None,
        dispatcher: str | None = None,
        mailbox: Any = None,
        persistence_id: str | None = None,
        **kwargs: Any,
    ) -> Future[Any]:
        """Start a child; the future gives its ref, or None if it raised `Ignore`.

        Args:
            cls: the actor class, `Props` (where the class itself uses one of the words below), or
                a whole `ChildSpec`.
            args: positional arguments of every incarnation.
            name: last part of its path; optional, and if absent one is made.
            restart: its restart type; optional, and if absent `TRANSIENT`.
            shutdown: its limit for stopping; optional, and if absent the supervisor's.
            dispatcher: where it runs; optional, and if absent the class decides.
            mailbox: its user lane; optional, and if absent the class decides.
            persistence_id: the stream of a persistent actor.
            kwargs: keyword arguments of every incarnation.

        The future fails with `AlreadyStarted(name, ref)`, `MaxChildren`, `InvalidChildSpec` or
        `StartFailed(name, cause)`; nothing was added then.

        """
        options: dict[str, Any] = {}
        if isinstance(cls, ChildSpec):
            spec = cls
            cls, args, kwargs = spec.cls, spec.args, dict(spec.kwargs)
            name, restart, shutdown = spec.id, spec.restart, spec.shutdown
            dispatcher, mailbox = spec.dispatcher, spec.mailbox
            persistence_id = spec.persistence_id
            options = {"heartbeat": spec.heartbeat, "ask_failures": spec.ask_failures}
        elif isinstance(cls, Props):
            cls, args, kwargs = cls.cls, (*cls.args, *args), {**cls.kwargs, **kwargs}
        if not (isinstance(cls, type) and issubclass(cls, Actor)):
            raise InvalidChildSpec("cls", cls, "an Actor class")
        if isinstance(restart, str):
            restart = ChildSpec("child", cls, restart=restart).restart
        return self._us_family.start_child(
            cls,
            args,
            kwargs,
            name,
            restart,
            shutdown,
            dispatcher=dispatcher,
            mailbox=mailbox,
            persistence_id=persistence_id,
            **options,
        )

    def terminate_child(self, which: str | ActorRef[Any]) -> Future[None]:
        """Stop a child, by name or ref, within its limit; it is forgotten.

        The future fails with `ChildNotFound(which)`.
        """
        return self._us_family.terminate_child(which)

    def which_children(self) -> Future[list[ChildInfo]]:
        """The children as they are now, latest first."""
        return self._us_family.look(self._us_family.which_children)

    def count_children(self) -> Future[ChildCounts]:
        """How many children there are, how many live, how many of each kind."""
        return self._us_family.look(self._us_family.count_children)

    _us_family: DynamicFamily
