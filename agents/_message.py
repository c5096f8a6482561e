"""What a user says to an agent, and what was said before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from understudy.agents._errors import InvalidText


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One message of a user, as `Agent.respond` receives it.

    Attributes:
        text: What the user wrote.
        id: The client's `message_id`; unique within the session.
        data: What the client sent beside the text; empty if it sent nothing.
        at: When it was accepted, in epoch seconds.
        deadline: When its answer stops being useful, in epoch seconds; None for no limit.
        metadata: On whose behalf it came, such as `request_id` and `traceparent`; text by name,
            empty if nobody said.
    """

    text: str
    id: str
    data: Mapping[str, Any]
    at: float
    deadline: float | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """A question of this session and the answer it got.

    Attributes:
        message_id: The question's id.
        text: The question.
        answer: The answer's text.
        data: What came beside the answer, such as its sources.
    """

    message_id: str
    text: str
    answer: str
    data: Mapping[str, Any]


def check_metadata(metadata: Any, most: int) -> None:
    """Refuse what is no metadata of a message.

    Raises:
        InvalidText: It is no mapping of text by text, or over `most` bytes.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidText(f"its metadata is {type(metadata).__name__}, not a mapping")
    for name, value in metadata.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise InvalidText(f"its metadata {name!r} is {value!r}; names and values are text")
    size = check_json(dict(metadata))
    if size > most:
        raise InvalidText(f"its metadata has {size} bytes of {most} allowed")


def check_json(data: Any) -> int:
    """The size of `data` in JSON, in bytes.

    Raises:
        InvalidText: It is not made of text keys, text, numbers, booleans, None, lists and dicts.
    """
    try:
        return len(json.dumps(data, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidText(f"its data is no JSON: {error}") from None
