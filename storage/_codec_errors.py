"""What can go wrong between an event and its bytes."""

from __future__ import annotations

from typing import Any

from understudy.storage._errors import StorageError


class CodecError(StorageError):
    """An event could not be named, encoded or decoded."""


class DuplicateEventName(CodecError):
    """Two classes claim one name on disk.

    Attributes:
        name: The name claimed twice.
        existing: The class that holds it.
        offered: The class that was refused.
    """

    def __init__(self, name: str, existing: type, offered: type) -> None:
        self.name = name
        self.existing = existing
        self.offered = offered
        super().__init__(
            f"event name {name!r} already belongs to {_qualified(existing)}; "
            f"{_qualified(offered)} needs a name of its own"
        )


class DuplicateUpcaster(CodecError):
    """Two upcasters claim the same step.

    Attributes:
        name: The event's name on disk.
        from_version: The version both start from.
    """

    def __init__(self, name: str, from_version: int) -> None:
        self.name = name
        self.from_version = from_version
        super().__init__(
            f"event {name!r} already has an upcaster from version {from_version}; "
            f"one step from each version is allowed, the next starts from {from_version + 1}"
        )


class UnregisteredEvent(CodecError):
    """An object was persisted whose class has no name on disk.

    Attributes:
        event: The object itself.
    """

    def __init__(self, event: Any) -> None:
        self.event = event
        cls = type(event)
        super().__init__(
            f"{_qualified(cls)} has no name on disk; decorate the class with "
            f'@us.event("{cls.__name__.lower()}", version=1) or persist a us.NewEvent'
        )


class EventEncodeError(CodecError):
    """An event holds a value that has no form on disk.

    Attributes:
        event_type: The event's name on disk.
        path: Where the value sits, such as ``items[2].price``; empty for the event itself.
        reason: What is wrong with it.
    """

    def __init__(self, event_type: str, path: str, reason: str) -> None:
        self.event_type = event_type
        self.path = path
        self.reason = reason
        where = f" at {path}" if path else ""
        super().__init__(f"event {event_type!r} cannot be encoded{where}: {reason}")


class EventDecodeError(CodecError):
    """Stored data does not fit the class that its name belongs to.

    Attributes:
        event_type: The event's name on disk.
        version: The version as stored.
        path: The field that does not fit, such as ``items[2].price``; empty for the event itself.
        reason: What was expected and what was found.
    """

    def __init__(self, event_type: str, version: int, path: str, reason: str) -> None:
        self.event_type = event_type
        self.version = version
        self.path = path
        self.reason = reason
        where = f" at {path}" if path else ""
        super().__init__(
            f"event {event_type!r} version {version} cannot be decoded{where}: {reason}"
        )


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
