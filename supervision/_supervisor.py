"""`Supervisor`: a fixed set of children, in an order, restarted by a strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from understudy.actors import Actor
from understudy.supervision._errors import InvalidChildSpec, InvalidStrategy
from understudy.supervision._realm import realm_of
from understudy.supervision._spec import AutoShutdown
from understudy.supervision._static_family import StaticFamily, check_children
from understudy.supervision._strategies import OneForOne, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from understudy.actors import ActorRef, Directive, Future
    from understudy.supervision._spec import ChildCounts, ChildInfo, ChildSpec

__all__ = ["Supervisor", "check_supervisor"]

MOST_OF_A_KIND = 32
"""Supervisors of one class in one line from the root down; more and the line has no end."""


def check_supervisor(actor: Any) -> None:
    """Refuse settings of a supervisor class that cannot be used.

    Raises:
        InvalidStrategy: the strategy is none, or the decider is no mapping from exceptions to
            directives.

    """
    if not isinstance(actor.strategy, Strategy):
        expected = "an object: OneForOne(), OneForAll() or RestForOne()"
        raise InvalidStrategy("strategy", actor.strategy, expected)
    from understudy.actors import Directive

    for kind, directive in actor.decider.items():
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise InvalidStrategy("decider", kind, "exception types as keys")
        if not isinstance(directive, Directive):
            expected = ", ".join(str(member) for member in Directive)
            raise InvalidStrategy("decider", directive, expected)


def check_descent(ref: ActorRef[Any], specs: Iterable[ChildSpec]) -> None:
    """See that the tree ends somewhere.

    Raises:
        InvalidChildSpec: a class of supervisors stands below itself again and again.

    """
    line: list[type[Any]] = []
    above: Any = ref
    while above is not None:
        line.append(above.actor_class)
        above = above._us_parent
    for spec in specs:
        if line.count(spec.cls) >= MOST_OF_A_KIND:
            raise InvalidChildSpec(
                "cls",
                spec.cls,
                f"a supervisor that does not lead back to itself: {spec.cls.__name__} stands "
                f"{MOST_OF_A_KIND} times above {spec.id!r} already; take the child out of its "
                "children(), or end the line there",
            )


class Supervisor(Actor):
    """An actor that keeps its children running.

    It starts them in the order of `children()`, each one fully up before the next begins, and
    stops them in the reverse order. When a start fails, those already up are stopped again and the
    supervisor does not start. When a child ends, its restart type and the strategy decide; over
    the strategy's intensity the supervisor stops all children and fails itself, and the supervisor
    above decides.

    Restarting keeps the child's ref, path, watchers and waiting messages; its state is fresh.

    The admin methods below are meant to be called through `ref.proxy()`. Each returns at once with
    a future, whatever the children are doing: a slow start, a backoff or a slow stop holds up
    nobody. Orders for the same child wait for each other.

    Attributes:
        strategy: what is restarted and how often; optional, and if absent `OneForOne()`.
        auto_shutdown: whether the end of significant children ends the supervisor; optional, and
            if absent `NEVER`.
        decider: directives by exception type; a type covers its subclasses, the closest wins.
            What is not covered is restarted.

    Override `on_start` only with a call of `super().on_start()`: that is what starts the children.

    """

    _us_supervisor: ClassVar[bool] = True

    strategy: Strategy = OneForOne()
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    decider: Mapping[type[BaseException], Directive] = {}

    def children(self) -> Iterable[ChildSpec]:
        """The specs of the children, in start order. Runs on the supervisor's own strand."""
        return ()

    def on_start(self) -> None:
        """Check all specs, then have the children started. Runs on the supervisor's strand.

        Raises:
            InvalidChildSpec: specs or settings cannot be used; nothing was started.

        """
        check_supervisor(self)
        specs = check_children(self.children(), self.auto_shutdown)
        check_descent(self.actor_ref, specs)
        realm = realm_of(self.actor_ref)
        family = StaticFamily(
            realm, self.actor_ref, self.strategy, self.decider, self.auto_shutdown
        )
        realm.families[self.actor_ref] = family
        self._us_family = family
        family.begin(specs)

    def start_child(self, spec: ChildSpec) -> Future[Any]:
        """Add a child at the end and start it.

        The future gives the child's ref once it is up, or None if it raised `Ignore`. It fails
        with `AlreadyStarted(id, ref)`, `AlreadyPresent(id)`, `InvalidChildSpec` or
        `StartFailed(id, cause)`; in each of these cases nothing was added.
        """
        return self._us_family.start_child(spec)

    def terminate_child(self, id: str) -> Future[None]:  # noqa: A002 - OTP's word
        """Stop a child within its shutdown limit; no restart, no cost to the budget.

        The spec stays (a temporary child's goes). A stopped child is fine too. The future fails
        with `ChildNotFound(id)`.
        """
        return self._us_family.terminate_child(id)

    def restart_child(self, id: str) -> Future[Any]:  # noqa: A002
        """Start a stopped child again; the future gives its new ref.

        Who watched the old one was told that it ended, so the new one is another actor, under the
        same path. The future fails with `ChildNotFound(id)`, `ChildRunning(id)`,
        `ChildRestarting(id)` or `StartFailed(id, cause)`; after the last the spec stays, stopped.
        """
        return self._us_family.restart_child(id)

    def delete_child(self, id: str) -> Future[None]:  # noqa: A002
        """Forget the spec of a stopped child.

        The future fails with `ChildNotFound(id)`, `ChildRunning(id)` or `ChildRestarting(id)`.
        """
        return self._us_family.delete_child(id)

    def which_children(self) -> Future[list[ChildInfo]]:
        """The children as they are now, in reverse start order."""
        return self._us_family.look(self._us_family.which_children)

    def count_children(self) -> Future[ChildCounts]:
        """How many specs there are, how many children live, how many of each kind."""
        return self._us_family.look(self._us_family.count_children)

    _us_family: StaticFamily
