"""Session keys: who talks to which agent in which thread."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from understudy.agents._errors import InvalidSessionKey

MAX_PART = 128  # characters before escaping: a key stays well under LMDB's 511 bytes
MAX_KEY_BYTES = 300  # after escaping: with a message id it still fits one row key

_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# quote() leaves letters, digits and _.-~ alone; these read well in a key and are safe in a path.
_SAFE = "@+=,!$*()"


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """One conversation: a user, an agent and a thread.

    ``str(key)`` is ``user:agent:thread`` with everything that could be misread (``:``, ``/``,
    ``%``, spaces, control characters, non-ASCII) percent-escaped; `parse` is its exact inverse.
    Keys are hashable, and equal when their parts are.

    Raises:
        InvalidSessionKey: A part is not text, is empty, is ``.`` or ``..``, holds a control
            character or a lone surrogate, or is too long.
    """

    user: str
    agent: str
    thread: str

    def __post_init__(self) -> None:
        for name in ("user", "agent", "thread"):
            _check(self, name, getattr(self, name))
        size = len(str(self))
        if size > MAX_KEY_BYTES:
            raise InvalidSessionKey(
                (self.user, self.agent, self.thread),
                f"it has {size} bytes when escaped, and the limit is {MAX_KEY_BYTES}",
            )

    def __str__(self) -> str:
        return f"{_escape(self.user)}:{_escape(self.agent)}:{_escape(self.thread)}"

    @classmethod
    def parse(cls, text: SessionKey | str) -> SessionKey:
        """The key that `text` spells; a key passes as it is.

        Raises:
            InvalidSessionKey: There are not three parts, or one of them is wrong.
        """
        if isinstance(text, SessionKey):
            return text
        if not isinstance(text, str):
            raise InvalidSessionKey(text, f"it is {type(text).__name__}, not text")
        parts = text.split(":")
        if len(parts) != 3:
            raise InvalidSessionKey(
                text,
                f"it has {len(parts)} part{'s' * (len(parts) != 1)} instead of 3 "
                "(a colon inside a part is written %3A)",
            )
        return cls(*(_unescape(text, part) for part in parts))

    @property
    def events_stream(self) -> str:
        """The journal's stream of this session's events."""
        return f"session:{self}"

    @property
    def frames_stream(self) -> str:
        """The journal's stream of this session's frames; its seq is the clients' cursor."""
        return f"frames:{self}"


def _check(key: SessionKey, name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidSessionKey(value, f"{name} is {type(value).__name__}, not text")
    if not value:
        raise InvalidSessionKey((key.user, key.agent, key.thread), f"{name} is empty")
    if value in (".", ".."):
        raise InvalidSessionKey((key.user, key.agent, key.thread), f"{name} is {value!r}")
    if len(value) > MAX_PART:
        raise InvalidSessionKey(
            value[:40] + "…", f"{name} has {len(value)} characters, and the limit is {MAX_PART}"
        )
    for character in value:
        if ord(character) < 32 or ord(character) == 127:
            raise InvalidSessionKey(value, f"{name} holds the control character {character!r}")
        if 0xD800 <= ord(character) <= 0xDFFF:
            raise InvalidSessionKey(value, f"{name} holds a lone surrogate, which has no bytes")


def _escape(part: str) -> str:
    return quote(part, safe=_SAFE)


def _unescape(text: str, part: str) -> str:
    if _PERCENT.search(part):
        raise InvalidSessionKey(text, f"{part!r} holds a % that is not followed by two hex digits")
    try:
        # a lone surrogate has no UTF-8: it stays, for the check of the part to name it
        return unquote_to_bytes(part.encode("utf-8", "surrogatepass")).decode(
            "utf-8", "strict" if part.isascii() else "surrogatepass"
        )
    except UnicodeDecodeError:
        raise InvalidSessionKey(text, f"{part!r} is not UTF-8 when unescaped") from None
