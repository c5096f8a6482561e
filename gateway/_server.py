"""Running an application: one port, an ordered end, whichever way the end is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import structlog
import uvicorn

from understudy.gateway._drain import Drain
from understudy.gateway._errors import BindFailed, StartupFailed
from understudy.gateway._hosts import KnownHosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType
    from typing import Any

    from starlette.types import ASGIApp

log = structlog.get_logger("understudy.gateway")

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 3030
# Of the shutdown time, this much at most goes to saying goodbye to clients; the rest is the
# system's, whose children have shutdown limits of their own.
GOODBYE_SHARE = 0.3
FORCED = 130
DEAD_PEER_MS = 60_000


def bind(host: str, port: int) -> socket.socket:
    """A listening socket for `serve`, bound before anything expensive is started.

    Raises:
        BindFailed: The port is taken or forbidden, or the host is none of this machine's.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise BindFailed(host, port, f"the host is unknown: {error}") from error
    listener = socket.socket(family, kind, proto)
    try:
        # Without it a restart waits a minute for connections of the last run to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection: one whose other side takes nothing for a minute is dropped
        # by the kernel. A server above can only ask for an end, which waits for the other side.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
        listener.bind(address)
        # Now rather than in the server: two servers that both set SO_REUSEADDR may both bind, and
        # only the second listen() is refused.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        reasons = {
            errno.EADDRINUSE: "it is in use by another process",
            errno.EACCES: "the system does not allow it (ports below 1024 are for root)",
            errno.EADDRNOTAVAIL: "this machine has no such address",
        }
        raise BindFailed(host, port, reasons.get(error.errno or 0, str(error))) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The `http://host:port` of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """Runs one ASGI application on one listening socket until told to stop.

    The end has an order: no new connections; WebSockets closed with 1001 between two frames,
    streams and waiting requests ended; the application's lifespan; then `on_stopped`, in which the
    caller stops its systems. All of it within `shutdown_timeout` seconds.

    Args:
        application: What to serve.
        listener: A bound socket, as from `bind`; the server closes it.
        shutdown_timeout: Seconds from the order to stop to the end.
        on_started: Called with the address once connections are answered, on the server's thread.
        on_stopped: Called with the seconds that remain, after the last connection.
        allowed_hosts: Names in `Host` that are answered beside those of the address. On an address
            that other machines reach, none given means any.
    """

    def __init__(
        self,
        application: ASGIApp,
        listener: socket.socket,
        *,
        shutdown_timeout: float = 10.0,
        on_started: Callable[[str], None] | None = None,
        on_stopped: Callable[[float], None] | None = None,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        self.address = address_of(listener)
        self.started = threading.Event()
        self.stopped = threading.Event()
        self._listener = listener
        self._shutdown_timeout = shutdown_timeout
        self._on_started = on_started
        self._on_stopped = on_stopped
        bound = listener.getsockname()[0]
        self._drain = Drain(KnownHosts(application, bound, allowed_hosts))
        self._server = _Uvicorn(
            uvicorn.Config(
                self._drain,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="auto",
                timeout_graceful_shutdown=1,
            ),
            self,
        )
        self._given: set[int] = set()
        self.stop_asked: float | None = None

    def run(self) -> None:
        """Serve until `stop` is called, or a signal comes where this is the main thread.

        SIGINT and SIGTERM begin the ordered end; the same one again ends the process at once, with
        exit code 130. The journal is made for that: what was acknowledged stays.

        Raises:
            StartupFailed: The application's own startup failed.
        """
        failed: BaseException | None = None
        try:
            with self._signals():
                try:
                    self._server.run(sockets=[self._listener])
                except SystemExit as end:
                    # uvicorn's way of saying that the lifespan's startup failed.
                    failed = end
                finally:
                    self._listener.close()
                    if self._on_stopped is not None:
                        self._on_stopped(self.remaining())
        finally:
            self.stopped.set()
        if failed is not None:
            raise StartupFailed from failed

    def stop(self) -> None:
        """Begin the ordered end. From any thread; a second call changes nothing."""
        if self.stop_asked is None:
            self.stop_asked = time.monotonic()
        self._server.should_exit = True

    def remaining(self) -> float:
        """Seconds left of the shutdown time; all of it while nobody has asked to stop."""
        if self.stop_asked is None:
            return self._shutdown_timeout
        return max(0.0, self._shutdown_timeout - (time.monotonic() - self.stop_asked))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        # Only a signal that was given before forces. A terminal sends SIGINT to a whole group of
        # processes, and a reloader above us adds its SIGTERM: that is one wish, not two.
        if number not in self._given:
            self._given.add(number)
            self.stop()
            return
        # Not sys.exit: a thread that hangs in user code would keep the interpreter from ending,
        # and that thread may be why the second signal was sent. Not print: it is not re-entrant.
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"understudy: forced to stop\n")
        os._exit(FORCED)

    async def _goodbye(self) -> None:
        await self._drain.drain(self.remaining() * GOODBYE_SHARE)
        grace = self.remaining() * GOODBYE_SHARE
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))


class _Uvicorn(uvicorn.Server):
    """uvicorn, with our signals instead of its own and a goodbye before it hangs up."""

    def __init__(self, config: uvicorn.Config, owner: Server) -> None:
        super().__init__(config)
        self._owner = owner

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the signals to the owner: uvicorn would raise them again at the end."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._owner.started.set()
            if self._owner._on_started is not None:
                self._owner._on_started(self._owner.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, say goodbye to the open ones, then hang up."""
        for server in self.servers:
            server.close()
        # One turn of the loop, so that a connection accepted a moment ago is known to the drain.
        await asyncio.sleep(0)
        await self._owner._goodbye()
        await super().shutdown(sockets=sockets)
