"""Cells and a runtime without threads, for tests of the state machines alone.

A fake cell answers at once unless its class is told to hold; the journal of what was seen ("a up",
"a down(shutdown)") is what conformance cases speak of.
"""

from __future__ import annotations

import random
from typing import Any

from understudy.actors import Actor, Exit, Failure, Future
from understudy.supervision import ChildSpec, OneForOne
from understudy.supervision._dynamic_family import DynamicFamily
from understudy.supervision._realm import Realm
from understudy.supervision._static_family import StaticFamily
from understudy.testing import ManualClock


class Plan:
    """How the cells of one child id behave."""

    def __init__(self) -> None:
        self.start_errors: list[BaseException | None] = []  # one per start; then they succeed
        self.always: BaseException | None = None
        self.hold_start = False
        self.hold_stop = False
        self.stop_reason: Exit | None = None


class FakeCell:
    def __init__(self, runtime: FakeRuntime, cls: Any, path: str, guardian: Any) -> None:
        self.runtime = runtime
        self.actor_class = cls
        self.path = path
        self.guardian = guardian
        self._us_actor = self
        self._us_family = None
        self.incarnation = 0
        self.id = path.rpartition("/")[2]
        self.closed: Exit | None = None
        self.fenced = 0
        self.failed_with: BaseException | None = None
        self.halted: list[Exit] = []
        self.resumed = 0
        self.running = False

    def __repr__(self) -> str:
        return f"<fake {self.path}>"

    def is_alive(self) -> bool:
        return self.closed is None

    @property
    def plan(self) -> Plan:
        return self.runtime.plan(self.id)

    # --- what families call

    def _us_begin(self) -> None:
        if self.closed is not None:
            return
        self.incarnation += 1
        if not self.plan.hold_start:
            self.finish_start()

    def _us_resume(self) -> None:
        self.resumed += 1

    def _us_halt(self, reason: Exit, run_hooks: bool = True) -> None:
        self.halted.append(reason)
        if not self.plan.hold_stop:
            self.finish_stop()

    def _us_close_idle(self, reason: Exit) -> bool:
        return False  # never on the quick way: tests want to see each step

    def _us_fail(self, cause: BaseException, **_: Any) -> None:
        self.failed_with = cause
        self.guardian.child_failed(self, self.incarnation, Failure(cause, phase="children"))

    def _us_fence(self) -> None:
        self.fenced += 1
        self.running = False

    def _us_close(self, reason: Exit) -> None:
        if self.closed is None:
            self.closed = reason
            self.runtime.log(f"{self.id} closed({kind(reason)})")
            self.guardian.child_closed(self, reason)

    # --- what tests make happen

    def finish_start(self) -> None:
        plan = self.plan
        error = plan.start_errors.pop(0) if plan.start_errors else plan.always
        if error is None:
            self.running = True
            self.runtime.log(f"{self.id} up")
            self.guardian.child_started(self, self.incarnation)
        else:
            self.runtime.log(f"{self.id} fails")
            self.guardian.child_start_failed(self, self.incarnation, error)

    def finish_stop(self) -> None:
        self.running = False
        reason = self.plan.stop_reason or self.halted[-1]
        self.runtime.log(f"{self.id} down({kind(reason)})")
        self.guardian.child_ended(self, self.incarnation, reason)

    def crash(self, cause: BaseException | None = None, **fields: Any) -> None:
        self.running = False
        self.runtime.log(f"{self.id} crash")
        failure = Failure(cause or RuntimeError("boom"), **fields)
        self.guardian.child_failed(self, self.incarnation, failure)

    def end(self, reason: Exit = Exit.NORMAL) -> None:
        self.running = False
        self.runtime.log(f"{self.id} ends({kind(reason)})")
        self.guardian.child_ended(self, self.incarnation, reason)


def kind(reason: Exit) -> str:
    return reason.kind


class Events:
    active = True

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def publish(self, event: Any) -> None:
        self.seen.append(event)


class FakeRuntime:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.random = random.Random(1)
        self.families: dict[Any, Any] = {}
        self.stream = Events()
        self.cells: dict[str, FakeCell] = {}
        self.lines: list[str] = []
        self.plans: dict[str, Plan] = {}
        self.fatal: list[tuple[Any, BaseException]] = []

    def plan(self, id: str) -> Plan:
        return self.plans.setdefault(id, Plan())

    def log(self, line: str) -> None:
        self.lines.append(line)

    def taken(self) -> list[str]:
        """The lines since the last call, without the closing of cells."""
        lines, self.lines = self.lines, []
        return [line for line in lines if "closed" not in line]

    def make_cell(
        self, cls: Any, args: Any, kwargs: Any, *, path: str, guardian: Any, **_: Any
    ) -> Any:
        cell = FakeCell(self, cls, path, guardian)
        self.cells[cell.id] = cell
        return cell

    def spawn_cell(
        self, cls: Any, args: Any, kwargs: Any, *, path: str, guardian: Any, **_: Any
    ) -> Any:
        cell = self.make_cell(cls, args, kwargs, path=path, guardian=guardian)
        cell.incarnation = 1
        plan = cell.plan
        error = plan.start_errors.pop(0) if plan.start_errors else plan.always
        if error is not None:
            cell.closed = Exit.Failed(error)
            raise error
        cell.running = True
        self.log(f"{cell.id} up")
        return cell

    def spawn_plain(
        self, cls: Any, args: Any, kwargs: Any, path: str, parent: Any, guardian: Any
    ) -> Any:
        return self.spawn_cell(cls, args, kwargs, path=path, parent=parent, guardian=guardian)


def new_cell(*args: Any) -> Any:
    """A fake cell, for places that want a ref."""
    return FakeCell(*args)


class Nobody:
    """The guardian of the owner: it only remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.seen.append((name, args))


class World:
    """A family under test, with its owner."""

    def __init__(
        self, strategy: Any = None, *specs: ChildSpec, decider: Any = None, auto: Any = None
    ) -> None:
        self.runtime = FakeRuntime()
        self.clock = self.runtime.clock
        self.realm = Realm(self.runtime, lambda ref, error: self.runtime.fatal.append((ref, error)))
        self.above = Nobody()
        self.owner: Any = new_cell(self.runtime, object, "/user/sup", self.above)
        self.owner.incarnation = 1
        self.outcome: list[BaseException | None] = []
        extra = {} if auto is None else {"auto_shutdown": auto}
        self.family = StaticFamily(
            self.realm, self.owner, strategy or OneForOne(), decider, **extra
        )
        self.runtime.families[self.owner] = self.family
        if specs:
            self.start(*specs)

    def start(self, *specs: ChildSpec) -> None:
        self.family.begin(specs)
        self.family.when_up(self.outcome.append)

    def cell(self, id: str) -> Any:
        return self.runtime.cells[id]

    def taken(self) -> list[str]:
        return self.runtime.taken()

    def state(self, id: str) -> Any:
        [info] = [info for info in self.family.which_children() if info.id == id]
        return info.state

    def stop(self) -> list[bool]:
        done: list[bool] = []
        self.family.halt_children(Exit.SHUTDOWN, lambda: done.append(True))
        return done

    @property
    def gave_up(self) -> BaseException | None:
        error: BaseException | None = self.owner.failed_with
        return error


class Crowd:
    """A dynamic family under test, with its owner."""

    def __init__(self, strategy: Any = None, decider: Any = None, **options: Any) -> None:
        self.runtime = FakeRuntime()
        self.clock = self.runtime.clock
        self.realm = Realm(self.runtime, lambda ref, error: self.runtime.fatal.append((ref, error)))
        self.above = Nobody()
        self.owner: Any = new_cell(self.runtime, object, "/user", self.above)
        self.owner.incarnation = 1
        self.family = DynamicFamily(
            self.realm,
            self.owner,
            strategy or OneForOne(budget="child"),
            decider,
            **options,
        )
        self.runtime.families[self.owner] = self.family

    def spawn(self, name: str | None = None, cls: Any = None, **options: Any) -> Any:
        return self.family.spawn(cls or Nothing, (), {}, name, **options)

    def taken(self) -> list[str]:
        return self.runtime.taken()

    def stop(self) -> list[bool]:
        done: list[bool] = []
        self.family.halt_children(Exit.SHUTDOWN, lambda: done.append(True))
        return done


class Nothing(Actor):
    """Stands for an actor class where none is ever made."""


def result(future: Future[Any]) -> Any:
    """The result of a future that must be there already."""
    assert future.done()
    return future.get(timeout=0)
