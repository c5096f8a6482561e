"""The ASGI application: every door of one `SessionHost`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from understudy.gateway import _health, _status
from understudy.gateway._errors import GatewayError
from understudy.gateway._gateway import Gateway
from understudy.gateway._http import guarded, json_response, session_request
from understudy.gateway._limits import Limits
from understudy.gateway._middleware import RequestContext, SameOrigin
from understudy.gateway._path import SHAPE
from understudy.gateway._websocket import SessionSocket
from understudy.observability import attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from understudy.agents import SessionHost


CODES = {404: "not_found", 405: "method_not_allowed"}


async def elsewhere(request: Request, error: Exception) -> Response:
    """An address or a method that no route has, told in JSON as every other mistake is."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    hint = {
        404: f"there is nothing at {path!r}; sessions are at {SHAPE}, beside them /health, "
        "/metrics and /v1/tree",
        405: f"{request.method} is not for {path!r}",
    }
    problem = GatewayError(
        CODES.get(error.status_code, "http_error"),
        hint.get(error.status_code, error.detail),
        status=error.status_code,
    )
    return json_response(problem.body(), error.status_code, **dict(error.headers or {}))


def build(
    host: SessionHost,
    *,
    routes: Sequence[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
    limits: Limits | None = None,
    allowed_origins: Sequence[str] = (),
    debug: bool = False,
) -> Starlette:
    """The application of `understudy.gateway.app`, which see."""
    gateway = Gateway(host=host, limits=limits or Limits(), metrics=attach(host.system))
    gateway.metrics.observe_gateway(gateway.traffic)
    gateway.metrics.observe_sessions(host)

    async def session_socket(websocket: WebSocket) -> None:
        await SessionSocket(gateway, websocket).run()

    sessions = "/v1/sessions/{rest:path}"
    own: list[BaseRoute] = [
        Route("/health", guarded(gateway, _health.health)),
        Route("/health/live", guarded(gateway, _health.live)),
        Route("/health/ready", guarded(gateway, _health.ready)),
        Route("/metrics", guarded(gateway, _status.metrics)),
        Route("/v1/tree", guarded(gateway, _status.tree)),
        Route("/v1/tree/stream", guarded(gateway, _status.tree_stream)),
        WebSocketRoute(sessions, session_socket),
        Route(
            sessions,
            guarded(gateway, session_request),
            # All, so that a wrong one is answered by the same JSON as any other mistake.
            methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        ),
    ]
    application = Starlette(
        debug=debug,
        exception_handlers={HTTPException: elsewhere},
        # The caller's first: a route of an application's own may stand in for one of ours.
        routes=[*routes, *own],
        middleware=[
            Middleware(RequestContext, gateway=gateway),
            Middleware(SameOrigin, allowed=allowed_origins),
            *middleware,
        ],
    )
    application.state.gateway = gateway
    return application
