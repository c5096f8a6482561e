"""Actors for the tests: they tell a log when they start and stop, and fail when told to."""

from __future__ import annotations

import threading
from typing import Any, cast

from understudy.actors import Actor, Ignore
from understudy.supervision import ChildSpec, DynamicSupervisor, Supervisor


class Probe(Actor):
    """Tells its log "name up" and "name down", counts, crashes on demand."""

    def __init__(self, log: Any = None, name: str = "probe", **options: Any) -> None:
        super().__init__()
        self.log = log or (lambda line: None)
        self.name = name
        self.options = options
        self.count = 0

    def on_start(self) -> None:
        given: Any = self.options.get("start_error")
        made = callable(given) and not isinstance(given, type)
        error = cast("BaseException | None", given() if made else given)
        if error is not None:
            self.log(f"{self.name} fails")
            raise error
        self.log(f"{self.name} up")

    def on_stop(self) -> None:
        self.log(f"{self.name} down")
        gate: threading.Event | None = self.options.get("stop_gate")
        if gate is not None:
            assert gate.wait(30)
        error = self.options.get("stop_error")
        if error is not None:
            raise error

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        if message == "stop":
            self.stop()
        elif message == "count":
            self.count += 1
        elif callable(message):
            return message(self)
        return self.count


class Ignoring(Actor):
    def on_start(self) -> None:
        raise Ignore


class Family(Supervisor):
    """A supervisor made by its arguments."""

    def __init__(self, *specs: ChildSpec, **settings: Any) -> None:
        super().__init__()
        self._specs = specs
        for name, value in settings.items():
            setattr(self, name, value)

    def children(self) -> tuple[ChildSpec, ...]:
        return self._specs


class Crowd(DynamicSupervisor):
    """A dynamic supervisor made by its arguments."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        for name, value in settings.items():
            setattr(self, name, value)


def probe(log: Any, id: str, **fields: Any) -> ChildSpec:
    """A spec of a probe with its id as its name."""
    options = {
        key: fields.pop(key) for key in ("start_error", "stop_gate", "stop_error") if key in fields
    }
    return ChildSpec(id, Probe, args=(log, id), kwargs=options, **fields)


def child(sup: Any, id: str) -> Any:
    """The ref of a child."""
    [info] = [info for info in sup.proxy().which_children().get() if info.id == id]
    return info.ref
