"""Which names a server answers to: the guard of a loopback address against DNS rebinding."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from understudy.gateway._errors import GatewayError
from understudy.gateway._middleware import refuse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

ANY = "*"


class KnownHosts:
    """Refuses requests whose `Host` is no name of this server.

    A page of another site can have its own name resolved to 127.0.0.1 and then be of the "same
    origin" as a server there. The browser still says the name it was given, in `Host`. A request
    without one comes from no browser and passes.

    Args:
        app: What is guarded.
        bound: The address that is listened on. Beyond loopback any name passes, unless some are
            named.
        allowed: Further names; `*` for any.
    """

    def __init__(self, app: ASGIApp, bound: str, allowed: Iterable[str] = ()) -> None:
        self._app = app
        named = {_bare(name) for name in allowed} - {""}
        self._any = ANY in named or not (named or is_loopback(bound))
        self._known = named | {_bare(bound), "localhost", "127.0.0.1", "::1"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request, or refuse it."""
        if not self._any and scope["type"] in {"http", "websocket"}:
            host = Headers(scope=scope).get("host")
            if host is not None and _bare(host) not in self._known:
                await refuse(_foreign(host), scope, receive, send)
                return
        await self._app(scope, receive, send)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches `address`."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def split_names(text: str) -> list[str]:
    """The names in `gateway.allowed_hosts`."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _foreign(host: str) -> GatewayError:
    return GatewayError(
        "foreign_host",
        f"this server is not {host[:200]!r}; call it by the address it listens on, or name that "
        "host in gateway.allowed_hosts (UNDERSTUDY_GATEWAY_ALLOWED_HOSTS)",
        status=421,
    )


def _bare(host: str) -> str:
    """The name in a `Host` header, without its port, brackets and final dot, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    if colon and ":" not in name and (port.isdigit() or not port):
        host = name
    return host.removesuffix(".")
