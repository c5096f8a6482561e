"""The drain: a close between two frames, and never half of one."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from understudy.gateway._drain import Drain, Drained, stopping

pytestmark = pytest.mark.asyncio


class Wire:
    """The server's side of one connection, as ASGI shows it."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self.inbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self.writable = asyncio.Event()
        self.writable.set()

    async def receive(self) -> MutableMapping[str, Any]:
        return await self.inbox.get()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.writable.wait()
        self.sent.append(message)


async def talk(scope, receive, send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def test_an_open_socket_is_closed_with_going_away_and_nothing_is_sent_after() -> None:
    wire, drain = Wire(), None
    drain = Drain(talk)
    wire.inbox.put_nowait({"type": "websocket.connect"})
    wire.inbox.put_nowait({"type": "websocket.receive", "text": "one"})
    running = asyncio.create_task(drain({"type": "websocket"}, wire.receive, wire.send))
    while len(wire.sent) < 2:
        await asyncio.sleep(0)
    await drain.drain(1.0)
    assert wire.sent[-1]["type"] == "websocket.close"
    assert wire.sent[-1]["code"] == 1001
    wire.inbox.put_nowait({"type": "websocket.receive", "text": "two"})
    await running
    assert [message.get("text") for message in wire.sent].count("two") == 0


async def test_a_frame_being_written_is_finished_before_the_close() -> None:
    wire = Wire()
    drain = Drain(talk)
    wire.inbox.put_nowait({"type": "websocket.connect"})
    running = asyncio.create_task(drain({"type": "websocket"}, wire.receive, wire.send))
    while not wire.sent:
        await asyncio.sleep(0)
    wire.writable.clear()
    wire.inbox.put_nowait({"type": "websocket.receive", "text": "slow"})
    draining = asyncio.create_task(drain.drain(5.0))
    for _ in range(10):
        await asyncio.sleep(0)
    wire.writable.set()
    await draining
    assert [message["type"] for message in wire.sent][-2:] == ["websocket.send", "websocket.close"]
    wire.inbox.put_nowait({"type": "websocket.disconnect"})
    await running


async def test_a_client_that_takes_nothing_does_not_hold_up_the_end() -> None:
    wire = Wire()
    drain = Drain(talk)
    wire.inbox.put_nowait({"type": "websocket.connect"})
    running = asyncio.create_task(drain({"type": "websocket"}, wire.receive, wire.send))
    while not wire.sent:
        await asyncio.sleep(0)
    wire.writable.clear()
    wire.inbox.put_nowait({"type": "websocket.receive", "text": "stuck"})
    await drain.drain(0.01)
    assert wire.sent[-1]["type"] == "websocket.accept"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_socket_still_in_its_handshake_is_left_to_the_server() -> None:
    wire = Wire()
    drain = Drain(talk)
    running = asyncio.create_task(drain({"type": "websocket"}, wire.receive, wire.send))
    await asyncio.sleep(0)
    await drain.drain(1.0)
    assert wire.sent == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_send_after_the_drain_is_an_os_error_as_asgi_asks() -> None:
    caught: list[BaseException] = []

    async def stubborn(scope, receive, send) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            caught.append(error)
            raise

    wire = Wire()
    drain = Drain(stubborn)
    running = asyncio.create_task(drain({"type": "websocket"}, wire.receive, wire.send))
    while not wire.sent:
        await asyncio.sleep(0)
    await drain.drain(1.0)
    wire.inbox.put_nowait({})
    await running
    assert isinstance(caught[0], Drained)


async def test_a_request_finds_the_event_that_ends_it() -> None:
    seen: list[asyncio.Event] = []

    async def waits(scope, receive, send) -> None:
        ends = stopping(scope)
        assert ends is not None
        seen.append(ends)
        await ends.wait()

    drain = Drain(waits)
    wire = Wire()
    running = asyncio.create_task(drain({"type": "http"}, wire.receive, wire.send))
    await asyncio.sleep(0)
    await drain.drain(1.0)
    await running
    assert seen[0].is_set()
    assert stopping({"type": "http"}) is None


async def test_the_lifespan_passes_through() -> None:
    seen: list[str] = []

    async def app(scope, receive, send) -> None:
        seen.append(scope["type"])

    wire = Wire()
    await Drain(app)({"type": "lifespan"}, wire.receive, wire.send)
    assert seen == ["lifespan"]
