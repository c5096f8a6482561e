"""The doors: WebSocket, HTTP and console pages on the sessions of one system.

`app(host)` gives an ASGI application that any server runs and any other application mounts. The
web packages are imported when it is called, so that `import understudy` needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.gateway._errors import BindFailed, GatewayError, MissingExtra, StartupFailed
from understudy.gateway._limits import Limits

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from understudy.agents import SessionHost
    from understudy.supervision import ActorSystem

__all__ = [
    "BindFailed",
    "GatewayError",
    "Limits",
    "MissingExtra",
    "StartupFailed",
    "app",
    "serve",
]

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
        raise _missing(missing) from missing
    return build(
        host,
        routes=routes,
        middleware=middleware,
        limits=limits,
        allowed_origins=allowed_origins,
        debug=debug,
    )


def serve(
    application: ASGIApp | SessionHost,
    *,
    host: str = "127.0.0.1",
    port: int = 3030,
    listener: socket.socket | None = None,
    systems: Sequence[ActorSystem] = (),
    shutdown_timeout: float | None = None,
    on_started: Callable[[str], None] | None = None,
) -> None:
    """Serve an application until told to stop, then stop the systems behind it, in order.

    What `understudy serve` does, for a program of your own. Called on the main thread it answers
    SIGINT and SIGTERM: no new connections, WebSockets closed with 1001 between two frames, then
    each system's ordered stop, all within the shutdown time. The same signal again ends the
    process at once, with exit code 130. It returns as well when a system has stopped.

    Args:
        application: An ASGI application, or a session host, which gets the gateway's.
        host: Address to listen on; optional, and if absent only this machine can connect.
        port: Port to listen on, 0 for any free one; optional, and if absent it is 3030.
        listener: A bound socket instead of both.
        systems: Systems to stop afterwards, beside those whose gateways are found in the
            application, where it is mounted in it too.
        shutdown_timeout: Seconds for the ordered stop; optional, and if absent the longest that
            one of the systems is configured for.
        on_started: Called with the address, such as `http://127.0.0.1:3030`, once it answers.

    Raises:
        BindFailed: The address is taken or cannot be had.
        StartupFailed: The application's own startup failed.
        SystemFailed: A system had stopped by itself because its root gave up.
        MissingExtra: The packages of the extra `web` are not installed.
    """
    try:
        from understudy.gateway._run import run
    except ModuleNotFoundError as missing:
        raise _missing(missing) from missing
    run(
        application,
        host=host,
        port=port,
        listener=listener,
        systems=systems,
        shutdown_timeout=shutdown_timeout,
        on_started=on_started,
    )


def _missing(missing: ModuleNotFoundError) -> ModuleNotFoundError | MissingExtra:
    """The error that says what to install; the same one back where it is none of the extra's."""
    package = (missing.name or "").partition(".")[0]
    return MissingExtra("web", package) if package in _WEB_PACKAGES else missing
