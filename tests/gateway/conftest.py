"""A real server on a free port for each test, and clients that speak to it over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import understudy.gateway
from understudy.agents import Agent, SessionHost
from understudy.gateway._server import Server, bind
from understudy.supervision import ActorSystem

SECONDS = 20


class Echo(Agent):
    """Says the words again, one piece each."""

    async def respond(self, message, turn):
        for word in message.text.split():
            yield word + " "


class Failing(Agent):
    async def respond(self, message, turn):
        yield "I am "
        raise ValueError("not able to")


class Gate(Agent):
    """Says one piece, then waits for the test; a class attribute, as agents are made elsewhere."""

    opened = threading.Event()
    entered = threading.Event()

    async def respond(self, message, turn):
        import asyncio

        yield "waiting "
        type(self).entered.set()
        while not type(self).opened.is_set() and not turn.cancelled:
            await asyncio.sleep(0.005)
        yield "done"


class Flood(Agent):
    """As many pieces as the message says, each of a kilobyte, or of the size behind an x."""

    async def respond(self, message, turn):
        count, _, size = message.text.partition("x")
        for number in range(int(count)):
            yield f"{number:06d}".ljust(int(size or 1024), "x")


class Client:
    """A plain client of one session."""

    def __init__(self, socket) -> None:
        self.socket = socket

    def send(self, **frame) -> None:
        self.socket.send(json.dumps(frame))

    def raw(self, data: str | bytes) -> None:
        self.socket.send(data)

    def say(self, text: str, message_id: str | None = None) -> None:
        self.send(
            type="user_message", text=text, **({"message_id": message_id} if message_id else {})
        )

    def receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=SECONDS))
        return frame

    def turn(self) -> list[dict]:
        """The frames up to and with the one that closes a turn."""
        frames = [self.receive()]
        while frames[-1]["type"] not in {"message", "error"}:
            frames.append(self.receive())
        return frames

    def until_closed(self) -> tuple[list[dict], int]:
        """All that still comes, and the code the server closed with."""
        frames = []
        try:
            while True:
                frames.append(self.receive())
        except ConnectionClosed:
            return frames, self.socket.close_code


class Door:
    """A served gateway."""

    def __init__(self, server: Server, host: SessionHost) -> None:
        self.server = server
        self.host = host
        self.url = server.address
        self.http = httpx.Client(base_url=self.url, timeout=SECONDS, trust_env=False)

    @contextmanager
    def connect(self, session="ada/echo/t1", query="", *, prefix="", **options):
        url = f"{self.url.replace('http', 'ws')}{prefix}/v1/sessions/{session}/ws{query}"
        options = {"open_timeout": SECONDS, "close_timeout": 2, "proxy": None, **options}
        with connect(url, **options) as socket:
            yield Client(socket)


@pytest.fixture
def system():
    # Each piece of text a frame of its own, so that tests can say what they expect.
    with ActorSystem("gateway", config={"sessions": {"coalesce": 0.0}}) as system:
        yield system


@pytest.fixture
def host(system):
    Gate.opened.clear()
    Gate.entered.clear()
    host = SessionHost(
        system, agents={"echo": Echo, "failing": Failing, "gate": Gate, "flood": Flood}
    )
    yield host
    Gate.opened.set()


@pytest.fixture
def serve(host):
    """Serve an application on a free port until the test ends: `serve()`, `serve(app)`."""
    doors: list[tuple[Door, threading.Thread]] = []

    def start(application=None, allowed_hosts=(), **options) -> Door:
        app = application or understudy.gateway.app(host, **options)
        server = Server(
            app, bind("127.0.0.1", 0), shutdown_timeout=10.0, allowed_hosts=allowed_hosts
        )
        thread = threading.Thread(target=server.run, name="gateway-under-test")
        thread.start()
        assert server.started.wait(SECONDS)
        door = Door(server, host)
        doors.append((door, thread))
        return door

    yield start
    Gate.opened.set()
    for door, thread in doors:
        door.http.close()
        door.server.stop()
        assert door.server.stopped.wait(SECONDS)
        thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def door(serve: Callable[[], Door]) -> Door:
    return serve()
