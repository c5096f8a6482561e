"""Plain values as JSON that people can read, and back without loss: as in exports."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

from understudy.storage._transfer import data as decode
from understudy.storage._transfer import plain as encode

__all__ = ["decode", "dumps", "encode", "loads", "parse_timestamp", "timestamp"]


def timestamp(when: datetime) -> str:
    """An aware time as text, in UTC, with microseconds: texts sort as times do."""
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def parse_timestamp(text: str) -> datetime:
    """The time that `timestamp` was given."""
    return datetime.fromisoformat(text)


def dumps(data: Any) -> str:
    """One line of JSON, without escapes for letters of other alphabets."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def loads(text: str | bytes) -> Any:
    """The data of a line of JSON."""
    return cast("Any", json.loads(text))
