"""Strict mode: what a persistent actor tells others before its events are safe."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from understudy.actors import ActorRef, PersistentActor
from understudy.actors._strand import current_cell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from understudy.supervision import ActorSystem

__all__ = ["EarlyTell", "StrictSends"]


class EarlyTell(NamedTuple):
    """A message that left before the events of its step were safe.

    Attributes:
        sender: path of the persistent actor.
        handling: the message it handled.
        ref: whom it told.
        message: what.

    """

    sender: str
    handling: Any
    ref: ActorRef[Any]
    message: Any

    def __str__(self) -> str:
        return (
            f"{self.sender} told {self.ref.path} {self.message!r} in a step that persists "
            f"(handling {self.handling!r}): use self.send(ref, message), which waits until the "
            "events are safe"
        )


class StrictSends:
    """Finds each plain `ref.tell` in a step that persists.

    A persistent actor's replies, and what it gives to `send`, `effect` and `then`, wait until the
    events of the step are safe. A plain `ref.tell` leaves at once: after a crash somebody may have
    been told of what never happened. Asks are not reported, since a step may need an answer before
    it decides. What an actor tells itself is not reported either.

    As a context manager it raises at its end; `found` tells without raising. While one is active,
    every tell in the process costs a look.

    Args:
        system: whose actors are watched.

    Raises:
        AssertionError: at the end of the block, with every message that left early.

    """

    def __init__(self, system: ActorSystem) -> None:
        self._runtime = system.runtime
        self._lock = threading.Lock()
        self._told: list[tuple[Any, EarlyTell]] = []

    @property
    def found(self) -> list[EarlyTell]:
        """The messages that left early, of steps that have ended or not, in their order."""
        with self._lock:
            return [told for step, told in self._told if step.events or step.effects]

    @contextlib.contextmanager
    def watching(self) -> Iterator[StrictSends]:
        """Look in a block, and leave what is found to whoever asks for it."""
        _watch(self)
        try:
            yield self
        finally:
            _unwatch(self)

    def __enter__(self) -> StrictSends:
        _watch(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _unwatch(self)
        if kind is None and self.found:
            raise AssertionError("; ".join(map(str, self.found)))

    def _look(self, sender: Any, ref: ActorRef[Any], message: Any) -> None:
        actor = sender._us_actor
        if sender is ref or sender._us_rt is not self._runtime:
            return
        if not isinstance(actor, PersistentActor) or actor._us_step is None:
            return
        info = actor.context.message
        told = EarlyTell(sender.path, None if info is None else info.message, ref, message)
        with self._lock:
            self._told.append((actor._us_step, told))


_active: list[StrictSends] = []
_lock = threading.Lock()
_tell = ActorRef.tell


def _watched_tell(self: ActorRef[Any], message: Any) -> None:
    sender = current_cell()
    if sender is not None:
        for strict in tuple(_active):
            strict._look(sender, self, message)
    _tell(self, message)


def _watch(strict: StrictSends) -> None:
    with _lock:
        _active.append(strict)
        ActorRef.tell = _watched_tell  # type: ignore[method-assign,assignment]  # for tests, while one looks


def _unwatch(strict: StrictSends) -> None:
    with _lock:
        _active.remove(strict)
        if not _active:
            del ActorRef.tell
