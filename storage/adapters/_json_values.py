"""Plain values as JSON that people can read, and back without loss.

What JSON has no word for stands as an object with one key: `$bytes` (base64), `$time`
(ISO 8601, UTC), `$float` ("nan", "inf", "-inf"), and `$map` (a list of pairs) for a map with
keys that are no texts or that look like one of these.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any, cast


def encode(value: Any) -> Any:
    """Data for `json.dumps` that stands for the value."""
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": timestamp(value)}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: encode(item) for key, item in value.items()}
        return {"$map": [[encode(key), encode(item)] for key, item in value.items()]}
    raise TypeError(f"{type(value).__name__} is not plain data: {value!r}")


def decode(data: Any) -> Any:
    """The value that `encode` was given, tuples as lists."""
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        (tag, inner), *_ = data.items()
        if tag == "$bytes":
            return base64.b64decode(inner)
        if tag == "$time":
            return parse_timestamp(inner)
        if tag == "$float":
            return float(inner)
        if tag == "$map":
            return {decode(key): decode(item) for key, item in inner}
    return {key: decode(item) for key, item in data.items()}


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
