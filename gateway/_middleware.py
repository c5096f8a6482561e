"""What happens around every request: its id, its trace, its origin, its count."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from opentelemetry import context as otel_context
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from understudy.gateway._errors import GatewayError
from understudy.gateway._frames import encode_json
from understudy.observability import extract_trace, inject_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from understudy.gateway._gateway import Gateway

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class RequestContext:
    """Gives each request an id and its caller's trace, and counts how it ended.

    A client's own `X-Request-ID` is kept where it can be printed; the answer carries it back. The
    W3C `traceparent` becomes the current trace, so that log lines and messages made on the
    request's way carry it.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        traffic = self._gateway.traffic

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                traffic.requests[scope.get("method", ""), message["status"]] += 1
            if message["type"] in {"http.response.start", "websocket.accept"}:
                MutableHeaders(scope=message).setdefault("x-request-id", request_id)
            await send(message)

        trace = extract_trace({name: value for name, value in headers.items() if "trace" in name})
        token = otel_context.attach(trace) if trace is not None else None
        if scope["type"] == "websocket":
            traffic.opened()
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await self._app(scope, receive, answer)
        finally:
            if scope["type"] == "websocket":
                traffic.closed()
            if token is not None:
                otel_context.detach(token)


def behalf(scope: Scope) -> dict[str, str]:
    """For whom a message is: what is kept beside it in the journal, for the audit trail."""
    metadata = dict(inject_trace({}))
    request_id = scope.get("state", {}).get("request_id")
    if request_id is not None:
        metadata["request_id"] = request_id
    return metadata


class SameOrigin:
    """Refuses what a browser sends on behalf of a page of another site.

    The gateway listens on loopback, where any page a user has open could reach it: browsers let a
    foreign page open WebSockets and post simple requests anywhere. They also say whose page it is,
    in `Origin`; clients that are no browsers send none and are let through.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request, or refuse it."""
        checked = scope["type"] == "websocket" or (
            scope["type"] == "http" and scope["method"] not in {"GET", "HEAD", "OPTIONS"}
        )
        if checked:
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and not self._is_ours(origin, headers.get("host", "")):
                await refuse(_foreign(origin), scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, origin: str, host: str) -> bool:
        if "*" in self._allowed or origin.rstrip("/").lower() in self._allowed:
            return True
        return urlsplit(origin).netloc.lower() == host.lower() != ""


def _foreign(origin: str) -> GatewayError:
    return GatewayError(
        "foreign_origin",
        f"a page of {origin[:200]!r} may not use this gateway; "
        "name it in allowed_origins if it should",
        status=403,
    )


async def refuse(problem: GatewayError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a WebSocket's handshake, with `problem`: nothing behind it is asked."""
    if scope["type"] == "websocket":
        # The handshake itself is refused: a foreign page gets no socket to read from.
        await receive()
        extensions: dict[str, Any] = scope.get("extensions") or {}
        if "websocket.http.response" not in extensions:
            await send({"type": "websocket.close", "code": 1008})
            return
    body = encode_json(problem.body())
    await Response(body, problem.status, media_type="application/json")(scope, receive, send)
