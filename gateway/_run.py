"""Serving an application together with the systems behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.agents import SessionHost
from understudy.gateway._app import build
from understudy.gateway._gateway import Gateway
from understudy.gateway._hosts import split_names
from understudy.gateway._server import Server, bind
from understudy.supervision import ActorSystem, SystemFailed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp

# Where neither the caller nor a system says how long an ordered stop may take.
SHUTDOWN_TIMEOUT = 10.0


def run(
    application: ASGIApp | SessionHost,
    *,
    host: str,
    port: int,
    listener: socket.socket | None = None,
    systems: Sequence[ActorSystem] = (),
    shutdown_timeout: float | None = None,
    on_started: Callable[[str], None] | None = None,
) -> None:
    """Serve until told to stop, then stop the systems; `understudy.gateway.serve` says more."""
    app = build(application) if isinstance(application, SessionHost) else application
    behind = list(dict.fromkeys([*systems, *systems_of(app)]))
    if shutdown_timeout is None:
        limits = [system.config.shutdown_timeout for system in behind]
        shutdown_timeout = max(limits, default=SHUTDOWN_TIMEOUT)
    settings = [system.config.gateway for system in behind]
    names = [name for section in settings for name in split_names(section.allowed_hosts)]
    failures: list[SystemFailed] = []

    def stop_systems(remaining: float) -> None:
        # The last one made may stand on the ones before it.
        for system in reversed(behind):
            try:
                system.stop(timeout=remaining)
            except SystemFailed as failed:
                failures.append(failed)

    server = Server(
        app,
        listener if listener is not None else bind(host, port),
        shutdown_timeout=shutdown_timeout,
        on_started=on_started,
        on_stopped=stop_systems,
        allowed_hosts=names,
    )
    for system in behind:
        _tie(system, server)
    server.run()
    if failures:
        raise failures[0]


def _tie(system: ActorSystem, server: Server) -> None:
    """Let the server end when its system does, whoever ends that."""
    system.terminated.add_done_callback(lambda _: server.stop())
    if system.control is None:
        return

    def stop(_: Any) -> dict[str, bool]:
        server.stop()
        return {"stopping": True}

    # Asked to stop, the doors are closed before the system is.
    system.control.handlers["stop"] = stop


def systems_of(application: Any, _seen: set[int] | None = None) -> list[ActorSystem]:
    """The systems behind an application: its gateway's, and those of what it mounts or wraps."""
    seen = set() if _seen is None else _seen
    if application is None or id(application) in seen:
        return []
    seen.add(id(application))
    found: list[ActorSystem] = []
    door = getattr(getattr(application, "state", None), "gateway", None)
    if isinstance(door, Gateway):
        found.append(door.host.system)
    # `app` is what Starlette's mounts and most middleware call what they wrap.
    inner = [getattr(application, name, None) for name in ("app", "_app")]
    for part in [*inner, *(getattr(application, "routes", None) or ())]:
        found += systems_of(part, seen)
    return found
