"""The event stream: who wants to know gets the events of a type, and pays for nobody else."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from understudy.actors._cell import DEAD, Cell

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EventStream", "Subscription"]

logger = logging.getLogger("understudy")


class Subscription:
    """One subscriber's interest; `cancel()` ends it."""

    __slots__ = ("_stream", "subscriber", "types", "where")

    def __init__(
        self,
        stream: EventStream,
        subscriber: Any,
        types: tuple[type[Any], ...],
        where: Callable[[Any], bool] | None,
    ) -> None:
        self._stream = stream
        self.subscriber = subscriber
        self.types = types
        self.where = where

    def cancel(self) -> bool:
        """End it. False if it had ended before."""
        return self._stream._remove(self)


class EventStream:
    """Publishes events to subscribers, by type and by predicate."""

    def __init__(self) -> None:
        self.active = False
        """Whether anybody listens: publishers look here before they make an event."""
        self.published = 0
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._by_type: dict[type[Any], tuple[Subscription, ...]] = {}

    def subscribe(
        self,
        subscriber: Any,
        *types: type[Any],
        where: Callable[[Any], bool] | None = None,
    ) -> Subscription:
        """Have events sent to an actor, or a function called with them.

        Args:
            subscriber: a ref (it gets events as messages) or a callable, which runs on the
                publisher's thread and must not block; what it raises is logged.
            types: which events; subclasses count. Optional, and if absent: all.
            where: only those for which this is true.

        A dead ref is unsubscribed by itself.

        Raises:
            TypeError: the subscriber, or one of the types, is none.
        """
        if not isinstance(subscriber, Cell) and not callable(subscriber):
            msg = f"{subscriber!r} cannot subscribe: give an actor ref or a function"
            raise TypeError(msg)
        for kind in types:
            if not isinstance(kind, type):
                msg = f"{kind!r} is no type of events: give classes, as in us.DeadLetter"
                raise TypeError(msg)
        subscription = Subscription(self, subscriber, types or (object,), where)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
            self._by_type = {}
            self.active = True
        return subscription

    def unsubscribe(self, subscriber: Any) -> int:
        """End all subscriptions of a ref or a function; says how many there were."""
        mine = [s for s in self._subscriptions if s.subscriber is subscriber]
        return sum(self._remove(subscription) for subscription in mine)

    def _remove(self, subscription: Subscription) -> bool:
        with self._lock:
            left = tuple(s for s in self._subscriptions if s is not subscription)
            found = len(left) < len(self._subscriptions)
            self._subscriptions = left
            self._by_type = {}
            self.active = bool(left)
        return found

    def subscribers(self, kind: type[Any]) -> tuple[Subscription, ...]:
        """Who gets events of this type."""
        found = self._by_type.get(kind)
        if found is None:
            with self._lock:
                found = tuple(s for s in self._subscriptions if issubclass(kind, s.types))
                self._by_type[kind] = found
        return found

    def publish(self, event: Any) -> None:
        """Give an event to everybody it concerns, on this thread. Never raises, never blocks."""
        self.published += 1
        for subscription in self.subscribers(type(event)):
            subscriber = subscription.subscriber
            try:
                if subscription.where is not None and not subscription.where(event):
                    continue
                if isinstance(subscriber, Cell):
                    # Not by tell: an event that cannot be delivered must not become a dead
                    # letter, whose own delivery would fail the same way, without end.
                    if subscriber._us_gate is DEAD:
                        self._remove(subscription)
                    else:
                        subscriber._us_put(_wrapped(event))
                else:
                    subscriber(event)
            except Exception:
                logger.exception("A subscriber failed: %r", subscriber)


def _wrapped(event: Any) -> Any:
    return (event, None, None, None, 0, None, None) if isinstance(event, tuple) else event
