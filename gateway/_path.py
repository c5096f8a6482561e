"""Which session a request is about: read from the raw path, so that a slash may be escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from understudy.gateway._errors import CLOSE_BAD_REQUEST, GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PREFIX = ("v1", "sessions")
SHAPE = "/v1/sessions/{user}/{agent}/{thread}"


class SessionPath(NamedTuple):
    """The parts behind `/v1/sessions/`, unescaped, and what is asked of them."""

    parts: tuple[str, ...]
    action: str


def session_path(scope: Mapping[str, Any]) -> SessionPath:
    """The session named by a request's path.

    The parts are taken from the path as it came over the wire: `%2F` inside a part is a slash of
    that part and not a border between two.

    Raises:
        GatewayError: `bad_session_key` if a part is no UTF-8; `not_found` if the path has another
            shape than `/v1/sessions/{user}/{agent}/{thread}/{action}`.
    """
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    segments = raw.split(b"?", 1)[0].split(b"/")[1:]
    outer = [part for part in scope.get("root_path", "").split("/") if part]
    inner = segments[len(outer) + len(PREFIX) :]
    try:
        parts = tuple(unquote_to_bytes(segment).decode() for segment in inner)
    except UnicodeDecodeError:
        raise GatewayError(
            "bad_session_key",
            "a part of the session's path is no UTF-8; escape it as %XX of its UTF-8 bytes",
            close=CLOSE_BAD_REQUEST,
        ) from None
    if len(parts) == 1:
        return SessionPath(parts, "")
    if len(parts) == 4:
        return SessionPath(parts[:3], parts[3])
    raise GatewayError(
        "not_found",
        f"there is nothing at {scope['path']!r}; sessions are at {SHAPE}, followed by "
        "/ws, /messages, /events or /stream, and a slash inside a part is written %2F",
        status=404,
        close=CLOSE_BAD_REQUEST,
    )
