"""The doors: WebSocket, HTTP and console pages on the sessions of one system.

`app(host)` gives an ASGI application that any server runs and any other application mounts. The
web packages are imported when it is called, so that `import understudy` needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.gateway._errors import GatewayError, MissingExtra
from understudy.gateway._limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import BaseRoute

    from understudy.agents import SessionHost

__all__ = ["GatewayError", "Limits", "MissingExtra", "app"]

_WEB_PACKAGES = frozenset({"anyio", "starlette", "uvicorn", "websockets"})


def app(
    host: SessionHost,
    *,
    routes: Sequence[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
    limits: Limits | None = None,
    allowed_origins: Sequence[str] = (),
    debug: bool = False,
) -> Starlette:
    """An ASGI application with every door of `host`.

    It serves the sessions (`/v1/sessions/…`), `/health`, `/metrics` and `/v1/tree`; the guide
    `docs/guides/gateway.md` has each frame and answer. Run it with `understudy serve`, with any
    ASGI server, or mount it under a path of another application; it needs no lifespan, so that
    mounting is all there is to do. Its handlers run on the server's event loop and hand whatever
    may wait for the disk to threads. It does not own the system: whoever made that stops it
    (`understudy serve` does, for the system it serves).

    Args:
        host: The session host whose sessions are served.
        routes: Starlette routes of your own, matched before these; optional, and if absent there
            are none.
        middleware: Starlette middleware of your own, inside the gateway's; optional, and if absent
            there is none.
        limits: How much a client may send and hold; optional, and if absent it is `Limits()`.
        allowed_origins: Origins of web pages that may use the gateway beside its own, such as
            `https://chat.example.org`, or `*` for any; optional, and if absent there are none.
        debug: Whether unexpected failures are shown to clients with their traceback; optional, and
            if absent they are only logged.

    Raises:
        MissingExtra: The packages of the extra `web` are not installed.
    """
    try:
        from understudy.gateway._app import build
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in _WEB_PACKAGES:
            raise
        raise MissingExtra("web", package) from missing
    return build(
        host,
        routes=routes,
        middleware=middleware,
        limits=limits,
        allowed_origins=allowed_origins,
        debug=debug,
    )
