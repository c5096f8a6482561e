"""Typed events: classes with a stable name on disk, made of and into plain msgpack data."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from understudy.storage._codec_errors import (
    DuplicateEventName,
    EventDecodeError,
    EventEncodeError,
    UnregisteredEvent,
)
from understudy.storage._record import PRIORITIES, NewEvent, Priority
from understudy.storage._upcasters import Stored, Upcasters, UpcastT

ClassT = TypeVar("ClassT", bound=type)

# bytes have a form of their own in msgpack; all else that msgspec knows becomes text or a list.
_PLAIN = (bytes, bytearray, memoryview)
_PATH = re.compile(r"^(?P<reason>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class UnknownEvent:
    """A stored event whose name no class here claims: its data, nothing lost.

    Persisting it again writes the same event.

    Attributes:
        type: The name on disk.
        version: The version as stored.
        payload: The data, as plain values.
    """

    type: str
    version: int
    payload: Any


@dataclasses.dataclass(frozen=True, slots=True)
class EventType:
    """What a class is on disk."""

    name: str
    version: int
    cls: type
    priority: Priority
    topics: tuple[str, ...]


class EventRegistry:
    """Names, classes and upcasters that belong together.

    `us.event` and `us.upcaster` fill one registry for the whole process; a registry of one's own
    keeps two versions of an application apart, as a migration or a test needs it. Registering
    belongs to import time; reading is safe from any thread.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, EventType] = {}
        self._by_class: dict[type, EventType] = {}
        self.upcasters = Upcasters()

    def event(
        self,
        name: str,
        version: int = 1,
        *,
        priority: Priority = "normal",
        topics: Iterable[str] = (),
    ) -> Callable[[ClassT], ClassT]:
        """Give the decorated dataclass or msgspec Struct a stable name on disk.

        Args:
            name: What is written, whatever the class is called later.
            version: The form of its fields; optional, and if absent it is 1. Raise it when old
                data no longer fits, and add an `upcaster` from the version before.
            priority: `normal` or `critical`; optional, and if absent it is `normal`.
            topics: Topics of every event of this class; optional, and if absent there are none.

        Raises:
            DuplicateEventName: Another class holds this name. A module that is imported again
                replaces its own classes.
            TypeError: The class has no fields that could be written.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f"an event's name must be text, not {name!r}; write @us.event('name')")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ValueError(f"event {name!r}: version must be 1 or more, not {version!r}")
        if priority not in PRIORITIES:
            raise ValueError(
                f"event {name!r}: priority must be 'normal' or 'critical', not {priority!r}"
            )

        def register(cls: ClassT) -> ClassT:
            if not (dataclasses.is_dataclass(cls) or issubclass(cls, msgspec.Struct)):
                raise TypeError(
                    f"{cls.__module__}.{cls.__qualname__} is neither a dataclass nor a "
                    "msgspec.Struct; put @us.event above @dataclass"
                )
            existing = self._by_name.get(name)
            if existing is not None:
                if not _same_source(existing.cls, cls):
                    raise DuplicateEventName(name, existing.cls, cls)
                self._by_class.pop(existing.cls, None)
            entry = EventType(name, version, cls, priority, tuple(topics))
            self._by_name[name] = entry
            self._by_class[cls] = entry
            return cls  # pyright: ignore[reportReturnType]  # narrowed above

        return register

    def upcaster(self, name: str, *, from_version: int) -> Callable[[UpcastT], UpcastT]:
        """Bring stored events of `name` from `from_version` to the next version on read.

        The decorated function is given the stored data (its own copy) and returns the data of the
        next version, or a list with zero or more events: dicts (the same type, next version) and
        ``(type, payload[, version])``. Steps are chained until none applies. It runs on the thread
        that reads and must depend on its argument only.

        Raises:
            DuplicateUpcaster: That step is taken.
        """

        def register(step: UpcastT) -> UpcastT:
            self.upcasters.register(name, from_version, step)
            return step

        return register

    def named(self, name: str) -> EventType | None:
        """The class that claims `name`, with its version; None if there is none."""
        return self._by_name.get(name)

    def of(self, cls: type) -> EventType | None:
        """The name on disk of `cls`; None if it was never registered."""
        return self._by_class.get(cls)

    def types(self) -> tuple[EventType, ...]:
        """Everything registered, by name."""
        return tuple(self._by_name[name] for name in sorted(self._by_name))

    def encode(
        self,
        event: Any,
        *,
        id: str | None = None,  # noqa: A002 -- the record's field has this name
        metadata: Mapping[str, Any] | None = None,
    ) -> NewEvent:
        """The journal's form of `event`: its name, its version, and plain msgpack data.

        A `NewEvent` passes as it is.

        Raises:
            UnregisteredEvent: The class has no name on disk.
            EventEncodeError: A value has no form on disk; the error names the field.
        """
        entry = self._by_class.get(type(event))
        if entry is None:
            if isinstance(event, NewEvent):
                return event
            if isinstance(event, UnknownEvent):
                return NewEvent(
                    event.type,
                    event.payload,
                    id=id,
                    metadata=_dict(metadata),
                    version=event.version,
                )
            raise UnregisteredEvent(event)
        try:
            payload = msgspec.to_builtins(event, builtin_types=_PLAIN)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            path, reason = _locate(event, str(error))
            raise EventEncodeError(entry.name, path, reason) from error
        if metadata is not None:
            metadata = dict(metadata)
        return NewEvent(
            entry.name, payload, id, metadata, entry.priority, entry.topics, entry.version
        )

    def decode(self, type: str, version: int, payload: Any) -> tuple[Any, ...]:  # noqa: A002 -- ditto
        """The events that the stored one stands for today: one, unless an upcaster says otherwise.

        A name that no class claims comes back as `UnknownEvent`.

        Raises:
            EventDecodeError: The data does not fit its class, an upcaster is missing or failed,
                or the event was written by a newer version of the application.
        """
        if not self.upcasters.has(type, version):
            return (self._one(type, version, payload),)
        stored = self.upcasters.upcast(Stored(type, version, payload))
        return tuple(self._one(*event) for event in stored)

    def _one(self, name: str, version: int, payload: Any) -> Any:
        entry = self._by_name.get(name)
        if entry is None:
            return UnknownEvent(name, version, payload)
        if version != entry.version:
            if version > entry.version:
                reason = (
                    f"{entry.cls.__qualname__} is at version {entry.version}: "
                    "the event was written by a newer version of the application"
                )
            else:
                reason = (
                    f"{entry.cls.__qualname__} is at version {entry.version} and nothing leads "
                    f"there; add @us.upcaster({name!r}, from_version={version})"
                )
            raise EventDecodeError(name, version, "", reason)
        try:
            return msgspec.convert(payload, entry.cls, builtin_types=_PLAIN)
        except msgspec.ValidationError as error:
            path, reason = _split(str(error))
            raise EventDecodeError(name, version, path, reason) from error
        except (TypeError, NameError) as error:
            # the class itself is beyond the codec (a union of classes without tags, a name that
            # cannot be resolved), or its own __post_init__ refused
            raise EventDecodeError(name, version, "", str(error)) from error


def _dict(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(metadata) if metadata is not None else None


def _same_source(old: type, new: type) -> bool:
    """Whether `new` is `old` from a module that was executed again (reload, ``__main__``)."""
    return (
        old.__module__ == new.__module__
        and old.__qualname__ == new.__qualname__
        and "<locals>" not in new.__qualname__
    )


def _split(message: str) -> tuple[str, str]:
    match = _PATH.match(message)
    assert match is not None  # the pattern matches any text
    path = (match["path"] or "").removeprefix("$").removeprefix(".")
    return path, match["reason"]


def _locate(value: Any, reason: str, path: str = "", depth: int = 0) -> tuple[str, str]:
    """The innermost part of `value` that cannot be encoded, and why."""
    for part, inner in _parts(value):
        try:
            msgspec.to_builtins(inner, builtin_types=_PLAIN)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            if depth > 50:  # a value that contains itself
                return path, "it contains itself"
            return _locate(inner, str(error), f"{path}{part}".removeprefix("."), depth + 1)
    return path, reason


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, msgspec.Struct):
        return [(f".{name}", getattr(value, name)) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(value):
        return [(f".{f.name}", getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    return []


registry = EventRegistry()
"""What `us.event` and `us.upcaster` fill."""


def event(
    name: str,
    version: int = 1,
    *,
    priority: Priority = "normal",
    topics: Iterable[str] = (),
) -> Callable[[ClassT], ClassT]:
    """Give the decorated dataclass or msgspec Struct a stable name on disk.

    Fields may hold what msgspec converts: numbers, text, bytes, enums, dates and times, UUIDs,
    Decimal, lists, tuples, sets, dicts, and other dataclasses or Structs. On disk they are plain
    msgpack, readable without the class.

    Args:
        name: What is written, whatever the class is called later.
        version: The form of its fields; optional, and if absent it is 1.
        priority: `normal` or `critical`; optional, and if absent it is `normal`.
        topics: Topics of every event of this class; optional, and if absent there are none.

    Raises:
        DuplicateEventName: Another class holds this name.

    Example:
        >>> from dataclasses import dataclass
        >>> @event("docs.deposited", version=1)
        ... @dataclass(frozen=True)
        ... class Deposited:
        ...     amount: int
    """
    return registry.event(name, version, priority=priority, topics=topics)


def upcaster(name: str, *, from_version: int) -> Callable[[UpcastT], UpcastT]:
    """Bring stored events of `name` from `from_version` to the next version whenever they are read.

    The decorated function is given the stored data (its own copy) and returns the data of the next
    version, or a list with zero or more events: dicts (the same type, next version) and
    ``(type, payload[, version])``. What is on disk stays as it was.

    Raises:
        DuplicateUpcaster: That step is taken.

    Example:
        >>> @upcaster("docs.deposited", from_version=1)
        ... def in_cents(old):
        ...     return {"amount": old["amount"] * 100}
    """
    return registry.upcaster(name, from_version=from_version)
