"""Plain values as bytes and back, the same for every adapter; times as whole microseconds."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgpack  # type: ignore[import-untyped] # ships no types

from understudy.storage._errors import BadEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def pack(value: Any, *, stream: str | None = None, index: int | None = None) -> bytes:
    """The msgpack bytes of plain data; `stream` and `index` name the offender in the error."""
    try:
        return cast("bytes", msgpack.packb(value, datetime=True))
    except (TypeError, ValueError, OverflowError) as error:
        raise BadEvent(str(error), stream=stream, index=index) from error


def unpack(data: bytes) -> Any:
    """The value that `pack` was given, tuples as lists."""
    return msgpack.unpackb(data, timestamp=3, strict_map_key=False)


def micros(when: datetime, what: str) -> int:
    """Microseconds since 1970 of an aware time."""
    if when.tzinfo is None:
        raise ValueError(
            f"{what} is {when!r}, which has no time zone: use an aware datetime, "
            "for example datetime.now(UTC)"
        )
    return (when - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """The aware UTC time of so many microseconds since 1970."""
    return _EPOCH + value * _MICROSECOND


def seconds_to_micros(seconds: float) -> int:
    """Whole microseconds of a clock's seconds."""
    return round(seconds * 1_000_000)


def ttl_to_micros(ttl: float | timedelta) -> int:
    """Whole microseconds of a time to live, which must lie in the future."""
    value = ttl // _MICROSECOND if isinstance(ttl, timedelta) else seconds_to_micros(ttl)
    if value <= 0:
        raise ValueError(f"ttl is {ttl!r}: use more than 0 seconds, or None to keep for ever")
    return value


def check_name(value: object, what: str) -> str:
    """A key, session id or stream name: any text but the empty one, without a NUL."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}: use a str")
    if not value or "\0" in value:
        raise ValueError(f"{what} is {value!r}: use a text that is not empty and holds no NUL")
    return value


def new_id() -> str:
    """A UUIDv7: unique, and later ones sort behind earlier ones, which keeps indexes compact."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=number))
