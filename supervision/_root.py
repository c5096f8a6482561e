"""The upper branches of a system's tree, and who guards its root."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from understudy.actors._journal_actor import JournalActor
from understudy.storage import Journal, RetentionPolicy
from understudy.supervision._dynamic import DynamicSupervisor
from understudy.supervision._family import exit_reason
from understudy.supervision._retention import RetentionKeeper
from understudy.supervision._spec import ChildSpec
from understudy.supervision._static_family import StaticFamily
from understudy.supervision._strategies import Backoff, OneForOne, RestForOne
from understudy.supervision._supervisor import Supervisor
from understudy.supervision._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors import ActorRef, Exit, Failure
    from understudy.supervision._realm import Realm
    from understudy.supervision._system import ActorSystem

__all__ = ["Root", "RootGuardian"]


class Storage(Supervisor):
    """The journal's writer, and what keeps house in the journal.

    When the writer gives up, so does the root: nothing could be kept any more.
    """

    strategy = RestForOne(backoff=Backoff(first=0.05, maximum=1.0))

    def __init__(self, system: ActorSystem) -> None:
        super().__init__()
        self._us_system = system

    def children(self) -> list[ChildSpec]:
        """The journal actor first; who uses its journal is restarted with it."""
        system = self._us_system
        opened: list[Journal] = []

        def opener() -> Journal:
            opened[:] = [open_journal(system)]
            return opened[0]

        return [
            ChildSpec(
                "journal",
                JournalActor,
                kwargs={"handle": system.journal, "opener": opener},
                shutdown="infinity",
            ),
            ChildSpec(
                "retention",
                RetentionKeeper,
                args=(
                    lambda: opened[0] if opened else None,
                    RetentionPolicy(**dataclasses.asdict(system.config.retention)),
                ),
            ),
        ]


class Fabric(Supervisor):
    """What carries events between actors: a place for parts that are actors."""


class Crowd(DynamicSupervisor):
    """Actors that come and go, each with a budget of its own."""

    strategy = OneForOne(budget="child")


class Effects(Crowd):
    """The runners of effects, one per channel."""


class Sessions(Crowd):
    """The sessions of users with agents."""


class User(Crowd):
    """What `system.spawn()` starts."""


class Root(Supervisor):
    """The branches of a system, in the order of their start; they stop the other way round."""

    def __init__(self, system: ActorSystem) -> None:
        super().__init__()
        self._us_system = system

    def children(self) -> list[ChildSpec]:
        """Storage first, what users start last."""
        system = (self._us_system,)
        return [
            ChildSpec("storage", Storage, args=system),
            ChildSpec("watch", Watch, args=system),
            ChildSpec("fabric", Fabric),
            ChildSpec("effects", Effects),
            ChildSpec("sessions", Sessions),
            ChildSpec("user", User),
        ]


def open_journal(system: ActorSystem) -> Journal:
    """The journal of a system: in its data directory, or in memory."""
    clock = system.clock.time
    if system.data_dir is None:
        return Journal.in_memory(clock=clock)
    settings = system.config.journal
    path = system.data_dir / "journal"
    path.mkdir(parents=True, exist_ok=True)
    return Journal.open(path, durability=settings.durability, clock=clock)


class RootGuardian:
    """Guards the root: nobody restarts it, its end is the system's.

    Args:
        realm: what the families share.
        on_up: called once, with None when all branches run, else with the error.
        on_gone: called when the root has ended, with the reason.

    """

    def __init__(
        self,
        realm: Realm,
        on_up: Callable[[BaseException | None], None],
        on_gone: Callable[[Exit], None],
    ) -> None:
        self._realm = realm
        self._on_up = on_up
        self._on_gone = on_gone

    def root_family(self, ref: ActorRef[Any]) -> StaticFamily | None:
        """The root's family, None once it has stopped."""
        family = self._realm.families.get(ref)
        return family if isinstance(family, StaticFamily) else None

    def child_started(self, ref: ActorRef[Any], _incarnation: int) -> None:
        """The root runs; its branches are on their way."""
        # Not the realm's, which has forgotten it where a branch failed at once.
        family: StaticFamily = ref._us_actor._us_family
        family.when_up(self._on_up)

    def child_start_failed(
        self, _ref: ActorRef[Any], _incarnation: int, cause: BaseException
    ) -> None:
        """The root itself did not start."""
        self._on_up(cause)

    def child_failed(self, ref: ActorRef[Any], _incarnation: int, failure: Failure) -> None:
        """The root gave up: its branches are gone already, or go now."""
        reason = exit_reason(failure.cause)
        family = self.root_family(ref)
        if family is None:
            self._on_gone(reason)
        else:
            family.halt_children(reason, lambda: self._on_gone(reason))

    def child_ended(self, _ref: ActorRef[Any], _incarnation: int, reason: Exit) -> None:
        """The root has ended in order."""
        self._on_gone(reason)

    def child_closed(self, ref: ActorRef[Any], reason: Exit) -> None:
        """The root is closed."""

    def fatal(self, ref: ActorRef[Any], error: BaseException) -> None:
        """A fatal error in the root itself."""
        self._realm.fatal(ref, error)
