"""The ASGI application: every door of one `SessionHost`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from understudy.gateway import _health, _status
from understudy.gateway._gateway import Gateway
from understudy.gateway._http import guarded, session_request
from understudy.gateway._limits import Limits
from understudy.gateway._middleware import RequestContext, SameOrigin
from understudy.gateway._websocket import SessionSocket
from understudy.observability import attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.websockets import WebSocket

    from understudy.agents import SessionHost


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
