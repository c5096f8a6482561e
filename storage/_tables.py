"""What the tables beside the log share: keys, values, and how a call reaches the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from understudy.storage._errors import BadEvent, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.storage._environment import Environment
    from understudy.storage._future import CommitFuture

T = TypeVar("T")

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder().decode

#: LMDB's keys end at 511 bytes; the expiry index puts 9 before them.
LONGEST_KEY = 480

#: The databases beside the log's own.
TABLES = (
    "meta",
    "segments",
    "heads",
    "lows",
    "snapshots",
    "state",
    "expiry",
    "ledger",
    "outbox",
    "outbox.keys",
    "outbox.due",
    "outbox.streams",
    "cursors",
    "subscriptions",
    "parked",
)


class Core(Protocol):
    """What a table needs of its journal."""

    environment: Environment
    clock: Callable[[], float]
    generation: int

    def call(self, apply: Callable[[Any], T], size: int = ...) -> CommitFuture[T]:
        """Run `apply(txn)` in the next write transaction."""
        ...

    def database(self, name: str) -> Any:
        """A database of the environment."""
        ...


class UnknownEffect(StorageError):
    """An effect that is not in the outbox (any more).

    Attributes:
        id: the effect.
    """

    def __init__(self, id: int) -> None:  # noqa: A002 - the field's name
        self.id = id
        super().__init__(f"the outbox has no effect {id}; it was purged, or never was")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.id,))


def join(*parts: str) -> bytes:
    """A key of several texts; none may hold NUL, so that no two keys fall together."""
    try:
        key = "\0".join(parts).encode()
    except (UnicodeEncodeError, TypeError) as error:
        raise BadEvent(f"key {parts!r} is not text: {error}") from error
    if key.count(b"\0") != len(parts) - 1:
        raise BadEvent(f"key {parts!r} holds NUL")
    if len(key) > LONGEST_KEY:
        raise BadEvent(f"key {parts!r} is {len(key)} bytes long, use at most {LONGEST_KEY}")
    return key


def encoded(what: str, value: Any) -> bytes:
    """A value as msgpack.

    Raises:
        BadEvent: it is no plain data.
    """
    try:
        return pack(value)
    except Exception as error:
        raise BadEvent(f"{what}: {type(error).__name__}: {error}") from error
