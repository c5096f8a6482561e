"""A running system's control socket: how `understudy tree` asks a process it did not start.

A Unix socket in the data directory, for its owner alone. Requests and replies are msgpack maps in
frames of a four-byte big-endian length; nothing that comes in is ever unpickled or run. One thread
serves one request after another, so that whatever is asked costs the system one thread at most,
and none while nobody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import selectors
import socket
import stat
import struct
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from understudy.storage import UnderstudyError
from understudy.supervision._stacks import coroutine_stack

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator, Mapping

    Handler = Callable[[Mapping[str, Any]], Any]
    SpawnThread = Callable[..., Any]

log = logging.getLogger("understudy.control")

SOCKET_NAME = "control.sock"
PROTOCOL = 1

# A request is a word and a few options, or a piece of an export. A reply may hold the tree of a
# hundred thousand actors.
LINE = 16
"""How many may wait to be let in; who comes then tries again."""
LINE_SECONDS = 0.01
MAX_REQUEST = 16 * 1024 * 1024
MAX_REPLY = 256 * 1024 * 1024
# The owner's own tool is on the other side; whoever takes longer is stuck, and others wait.
PEER_SECONDS = 5.0
# The address of a Unix socket holds this many bytes, the last a zero (Linux: 108, macOS: 104).
ADDRESS_BYTES = 103

_LENGTH = struct.Struct(">I")


class NoRunningSystem(UnderstudyError):
    """No system answers in this data directory.

    Attributes:
        data_dir: Where one was looked for.
        reason: What was found instead.
    """

    def __init__(self, data_dir: Path, reason: str) -> None:
        super().__init__(
            f"no running system in {str(data_dir)!r}: {reason}; "
            "name its data directory with --data-dir or UNDERSTUDY_DATA_DIR, or start one"
        )
        self.data_dir = data_dir
        self.reason = reason


class ControlError(UnderstudyError):
    """A running system refused a request, or failed at it.

    Attributes:
        code: A stable word.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ControlSocket:
    """Answers requests on a Unix socket until stopped.

    Args:
        path: Where the socket shall be; a stale one there is replaced. The directory's lock is
            the caller's business: two systems never share a data directory.
        handlers: What can be asked, beside `threads` and `tasks`: the word and a callable taking
            the request (a mapping) and returning plain data. They run on the socket's own thread,
            one at a time; what one raises is told to whoever asked.
        spawn_thread: Starts the thread: called as `spawn_thread(target, name)`; optional,
            and if absent a plain daemon thread is started.
    """

    def __init__(
        self,
        path: Path | str,
        handlers: Mapping[str, Handler] | None = None,
        *,
        spawn_thread: SpawnThread | None = None,
    ) -> None:
        self.path = Path(path)
        self.handlers: dict[str, Handler] = {
            "threads": all_threads,
            "tasks": all_tasks,
            **(handlers or {}),
        }
        self._spawn_thread = spawn_thread or _plain_thread
        self._listener: socket.socket | None = None
        self._waker: socket.socket | None = None
        self._ended = threading.Event()
        self._thread: int | None = None

    def start(self) -> None:
        """Listen, and answer from a thread of its own.

        The socket is open to its owner alone from its first moment: its mode is set between
        binding and listening, and before that nobody can connect.

        Raises:
            OSError: The directory cannot be written, or its file system has no sockets.
        """
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _address(self.path) as address:
                with contextlib.suppress(FileNotFoundError):
                    if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                        msg = f"{self.path} is there and is no socket; move it away"
                        raise FileExistsError(msg)
                    self.path.unlink()
                listener.bind(address)
            self.path.chmod(0o600)
            listener.listen(LINE)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        wake_reader, self._waker = socket.socketpair()
        self._listener = listener
        self._ended.clear()

        def serve() -> None:
            self._thread = threading.get_ident()
            try:
                self._serve(listener, wake_reader)
            finally:
                self._ended.set()

        self._spawn_thread(serve, "understudy-control")

    def stop(self, timeout: float = PEER_SECONDS) -> bool:
        """Stop answering and remove the socket; a reply on its way is finished first.

        Called from one of its own handlers it does not wait. A second call does nothing.

        Returns:
            Whether the thread has ended within `timeout` seconds.
        """
        listener, self._listener = self._listener, None
        waker, self._waker = self._waker, None
        if listener is None or waker is None:
            return True
        waker.close()
        with contextlib.suppress(OSError):
            self.path.unlink()
        if threading.get_ident() == self._thread:
            return False
        return self._ended.wait(timeout)

    def _serve(self, listener: socket.socket, wake_reader: socket.socket) -> None:
        with listener, wake_reader, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(wake_reader, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if wake_reader in ready:
                    return
                try:
                    peer, _ = listener.accept()
                except OSError:
                    # The peer gave up between the select and the accept, or there are too many
                    # open files just now; the next select tells.
                    continue
                with peer:
                    self._answer(peer)

    def _answer(self, peer: socket.socket) -> None:
        try:
            peer.settimeout(PEER_SECONDS)
            if not _is_owner(peer):
                log.warning("control socket: refused a peer of another user")
                return
            reply = self._reply(_receive(peer, MAX_REQUEST))
            _send(peer, reply)
        except (OSError, EOFError, ValueError) as error:
            log.debug("control socket: a peer went away or spoke nonsense: %s", error)

    def _reply(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            return _refusal("malformed", "a request is a map with an 'op'")
        handler = self.handlers.get(request["op"])
        if handler is None:
            known = ", ".join(sorted(self.handlers))
            return _refusal("unknown_op", f"unknown op {request['op']!r}; known: {known}")
        try:
            return {"ok": True, "v": PROTOCOL, "data": handler(request)}
        except UnderstudyError as error:
            return _refusal(type(error).__name__, str(error))
        except Exception as error:
            log.exception("control socket: %s failed", request["op"])
            return _refusal("failed", f"{request['op']} failed: {error!r}")


def _connect(peer: socket.socket, address: str, until: float) -> None:
    """Connect, with patience where more ask at once than may stand in line."""
    while True:
        try:
            peer.connect(address)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(LINE_SECONDS)
        else:
            return


def control_request(data_dir: Path | str, op: str, *, timeout: float = 10.0, **options: Any) -> Any:
    """Ask the system that runs on `data_dir`.

    Args:
        data_dir: Its data directory.
        op: What is asked, as `tree`, `stats`, `stacks`, `stop`, `ping`.
        timeout: Seconds to wait for the answer.
        options: Further fields of the request; plain data.

    Raises:
        NoRunningSystem: Nothing listens there.
        ControlError: The system refused or failed, or gave no answer in time.
    """
    directory = Path(data_dir)
    path = directory / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(timeout)
        try:
            with _address(path) as address:
                _connect(peer, address, time.monotonic() + timeout)
        except FileNotFoundError:
            reason = "it has no control socket" if directory.is_dir() else "there is no such folder"
            raise NoRunningSystem(directory, reason) from None
        except ConnectionRefusedError:
            raise NoRunningSystem(
                directory, "its control socket is left from a process that has ended"
            ) from None
        except BlockingIOError:
            raise ControlError(
                "timeout", f"the system in {str(directory)!r} let nobody in within {timeout:g} s"
            ) from None
        except PermissionError:
            raise NoRunningSystem(directory, "its control socket belongs to another user") from None
        except OSError as error:
            raise NoRunningSystem(directory, str(error)) from error
        try:
            _send(peer, {"op": op, "v": PROTOCOL, **options})
            reply = _receive(peer, MAX_REPLY)
        except TimeoutError:
            raise ControlError(
                "timeout", f"the system in {str(directory)!r} gave no answer within {timeout:g} s"
            ) from None
        except (OSError, EOFError, ValueError) as error:
            raise ControlError(
                "broken", f"the system in {str(directory)!r} broke off its answer: {error}"
            ) from error
    if not reply.get("ok"):
        told = reply.get("error") or {}
        raise ControlError(told.get("code", "failed"), told.get("message", "it gave no reason"))
    return reply.get("data")


def all_threads(_: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Python stack of every thread of this process but the one that looks."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        {
            "thread": ident,
            "name": names.get(ident, "unknown"),
            "stack": "".join(traceback.format_stack(frame)),
        }
        for ident, frame in sys._current_frames().items()
        if ident != threading.get_ident()
    ]


def all_tasks(_: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where every asyncio task of this process waits, on whichever thread its loop runs."""
    return [
        {"task": task.get_name(), "stack": coroutine_stack(task.get_coro())}
        for loop in _running_loops()
        for task in asyncio.all_tasks(loop)
    ]


def _running_loops() -> list[asyncio.AbstractEventLoop]:
    """The event loops at work now, found where they run: on the stacks of the threads."""
    loops: list[asyncio.AbstractEventLoop] = []
    for frame in sys._current_frames().values():
        below: types.FrameType | None = frame
        while below is not None:
            owner = below.f_locals.get("self")
            # A loop written in C has no frame of its own; its runner has.
            if isinstance(owner, asyncio.Runner):
                owner = owner.get_loop()
            if isinstance(owner, asyncio.AbstractEventLoop) and owner not in loops:
                loops.append(owner)
            below = below.f_back
    return loops


def _plain_thread(target: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "v": PROTOCOL, "error": {"code": code, "message": message}}


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """The socket's address, also where its path is longer than an address may be."""
    text = str(path)
    if len(os.fsencode(text)) <= ADDRESS_BYTES:
        yield text
        return
    # A directory opened by us has a short second name below /proc (Linux) or /dev/fd.
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for names in ("/proc/self/fd", "/dev/fd"):
            if Path(f"{names}/{directory}").is_dir():
                yield f"{names}/{directory}/{path.name}"
                return
        msg = f"the path of the control socket is too long for this platform: {text}"
        raise OSError(msg)
    finally:
        os.close(directory)


def _is_owner(peer: socket.socket) -> bool:
    """Whether the other side runs as our user (or as root); the socket's mode already says so."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, option, 12))
    return uid in {0, os.geteuid()}


def _send(peer: socket.socket, value: Any) -> None:
    body: bytes = msgpack.packb(value, default=str)  # pyright: ignore[reportAssignmentType]  # it ships no types
    peer.sendall(_LENGTH.pack(len(body)) + body)


def _receive(peer: socket.socket, limit: int) -> Any:
    (length,) = _LENGTH.unpack(_exactly(peer, _LENGTH.size))
    if length > limit:
        msg = f"a frame of {length} bytes is over the limit of {limit}"
        raise ValueError(msg)
    return msgpack.unpackb(_exactly(peer, length), strict_map_key=False)


def _exactly(peer: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = peer.recv(min(size - len(parts), 1024 * 1024))
        if not part:
            msg = "the other side closed the connection in the middle of a frame"
            raise EOFError(msg)
        parts += part
    return bytes(parts)
