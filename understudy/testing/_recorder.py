"""What happened on the event stream, kept for the test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.actors import Actor
from understudy.testing._probe import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.supervision import ActorSystem

E = TypeVar("E")


class _RecorderActor(Actor):
    def __init__(self, recorder: EventRecorder) -> None:
        super().__init__()
        self._us_recorder = recorder

    def on_receive(self, message: Any) -> None:
        self._us_recorder._add(message)


class EventRecorder:
    """Collects events of a system's event stream, in order, from its making on.

    Args:
        system: whose events.
        *types: event classes to collect, for example `us.ActorRestarted`; one at least.

    """

    def __init__(self, system: ActorSystem, *types: type[Any]) -> None:
        if not types:
            msg = "EventRecorder needs one event class at least, such as understudy.ActorRestarted"
            raise TypeError(msg)
        self._events: list[Any] = []
        self._changed = threading.Condition()
        self._ref = system.spawn(_RecorderActor, self)
        for each in types:
            system.events.subscribe(self._ref, each)

    def _add(self, event: Any) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    @property
    def events(self) -> list[Any]:
        """A copy of what was collected so far."""
        with self._changed:
            return list(self._events)

    def of(self, kind: type[E]) -> list[E]:
        """Return the collected events of one class."""
        return [e for e in self.events if isinstance(e, kind)]

    def clear(self) -> None:
        """Forget what was collected so far."""
        with self._changed:
            self._events.clear()

    def expect(
        self,
        kind: type[E],
        where: Callable[[E], bool] = lambda _event: True,
        *,
        count: int = 1,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> E:
        """Wait until `count` events of a class satisfy `where`; return the last of them.

        Events collected before the call count. Called from the test's thread.

        Args:
            kind: the event class.
            where: judges an event; all satisfy it if absent.
            count: how many there must be; 1 if absent.
            timeout: seconds to wait; 3.0 if absent.

        Raises:
            AssertionError: there are too few in time; the message lists what there was.

        """

        def found() -> list[E]:
            return [e for e in self._events if isinstance(e, kind) and where(e)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout):
                msg = (
                    f"{len(found())} of {count} {kind.__name__} within {timeout} s; "
                    f"recorded: {self._events!r}"
                )
                raise AssertionError(msg)
            return found()[count - 1]
