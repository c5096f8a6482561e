"""Ending open connections in order: whole frames, a reason the client understands, no waiting."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from understudy.gateway._errors import CLOSE_GOING_AWAY

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Where a request finds the event that tells it that the server is stopping.
EXTENSION = "understudy.drain"


class Drained(OSError):
    """Something was to be sent on a connection that has been closed for shutdown.

    An `OSError`, as ASGI asks of sends after the end of a connection.
    """


class Drain:
    """Wraps any ASGI application so that its open connections can be ended from outside.

    A WebSocket is closed with 1001, "going away", between two frames. Requests that wait or stream
    find an `asyncio.Event` in their scope's extensions and end by themselves. Works for
    applications that know nothing of it, as one that mounts a gateway in itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._sockets: set[_Socket] = set()
        self._stopping: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request or connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        extensions: dict[str, Any] = scope.get("extensions") or {}
        scope["extensions"] = {**extensions, EXTENSION: self._event()}
        if scope["type"] == "http":
            await self._app(scope, receive, send)
            return
        connection = _Socket(send)
        self._sockets.add(connection)
        try:
            await self._app(scope, receive, connection.send)
        except Drained:
            # An application without a guard of its own against a client that left.
            return
        finally:
            self._sockets.discard(connection)

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109  - asyncio.wait takes it
        """End everything that is open; wait at most `timeout` seconds for slow clients."""
        self._event().set()
        closing = [asyncio.ensure_future(socket.close()) for socket in list(self._sockets)]
        if closing:
            _, slow = await asyncio.wait(closing, timeout=timeout)
            for task in slow:
                task.cancel()

    def _event(self) -> asyncio.Event:
        if self._stopping is None:
            self._stopping = asyncio.Event()
        return self._stopping


class _Socket:
    """One WebSocket's way out: one frame at a time, and a close that comes between two."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = asyncio.Lock()
        self._accepted = False
        self._ended = False

    async def send(self, message: Message) -> None:
        async with self._lock:
            if self._ended:
                raise Drained("the server is stopping; the connection is closed")
            if message["type"] == "websocket.accept":
                self._accepted = True
            elif message["type"] == "websocket.close":
                self._ended = True
            await self._send(message)

    async def close(self) -> None:
        async with self._lock:
            if self._ended or not self._accepted:
                return
            self._ended = True
            with contextlib.suppress(OSError, RuntimeError):
                # Both are servers' words for "the client has just left by itself".
                await self._send(
                    {
                        "type": "websocket.close",
                        "code": CLOSE_GOING_AWAY,
                        "reason": "the server is stopping",
                    }
                )


def stopping(scope: Scope) -> asyncio.Event | None:
    """The event that is set when the server stops, `None` under a server without a drain."""
    found: asyncio.Event | None = (scope.get("extensions") or {}).get(EXTENSION)
    return found
