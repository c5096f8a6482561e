"""One client's connection to one session: frames out of the journal, messages and acks in."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from understudy.agents import SessionKey
from understudy.gateway._errors import (
    CLOSE_BAD_REQUEST,
    CLOSE_CURSOR_AHEAD,
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL,
    CLOSE_STALLED,
    GatewayError,
    explain,
    internal_error,
)
from understudy.gateway._feed import Feed, Page
from understudy.gateway._frames import (
    Ack,
    Cancel,
    UserMessage,
    check_identifier,
    encode_frame,
    read_frame,
)
from understudy.gateway._middleware import behalf
from understudy.gateway._path import session_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from understudy.gateway._gateway import Gateway

log = structlog.get_logger("understudy.gateway")

DEFAULT_CLIENT = "default"


class Stalled(Exception):
    """The client took nothing for longer than `Limits.stall`."""


class SessionSocket:
    """One WebSocket on `/v1/sessions/{user}/{agent}/{thread}/ws`.

    What is refused before the session is known (path, agent, cursor) is answered with an error
    frame and a close; what is refused later is answered with an error frame, and the connection
    stays up. Everything runs on the server's event loop; whatever may wait for the disk is handed
    to a thread.
    """

    def __init__(self, gateway: Gateway, websocket: WebSocket) -> None:
        self._gateway = gateway
        self._limits = gateway.limits
        self._socket = websocket
        self._client = DEFAULT_CLIENT

    async def run(self) -> None:
        """Serve the connection until one side closes it."""
        await self._socket.accept()
        try:
            key, after = self._requested()
            await self._serve(key, after)
        except (WebSocketDisconnect, OSError):
            # OSError is how servers say that a client left while it was being written to.
            return
        except Stalled:
            log.warning("gateway_client_stalled", seconds=self._limits.stall, client=self._client)
            await self._close(CLOSE_STALLED, "nothing was read for too long")
        except Exception as error:
            await self._refuse(error)

    def _requested(self) -> tuple[SessionKey, int | None]:
        path = session_path(self._socket.scope)
        if path.action != "ws":
            raise GatewayError(
                "not_found",
                f"there is no WebSocket at {self._socket.url.path!r}; a session's is at "
                "/v1/sessions/{user}/{agent}/{thread}/ws",
                close=CLOSE_BAD_REQUEST,
            )
        key = SessionKey(*path.parts)
        query = self._socket.query_params
        try:
            after = read_after(query.get("after"))
            self._client = query.get("client", DEFAULT_CLIENT)
            check_identifier("client", self._client, self._limits)
        except GatewayError as error:
            error.close = CLOSE_BAD_REQUEST
            raise
        return key, after

    async def _serve(self, key: SessionKey, after: int | None) -> None:
        feed = Feed(after=0, capacity=self._limits.buffer, page=self._pages(key))
        attached: list[Any] = []

        def attach() -> None:
            # Live frames only: what this client missed is read in pages by the feed, so that a
            # long history neither passes through memory at once nor holds up the session.
            host = self._gateway.host
            last = host.last_frame(key)
            feed.sent = host.cursor(key, client=self._client) if after is None else after
            attached.append(host.attach(key, after=last, client=self._client, on_frame=feed.offer))
            if feed.sent > last:
                raise cursor_ahead(feed.sent, last)

        try:
            await run_in_threadpool(attach)
            feed.lag()
            await self._converse(key, feed, attached[0])
        finally:
            feed.close()
            for attachment in attached:
                await run_in_threadpool(attachment.close)

    def _pages(self, key: SessionKey) -> Page:
        host = self._gateway.host

        async def page(behind: int, limit: int) -> Sequence[Mapping[str, Any]]:
            return await run_in_threadpool(host.frames, key, after=behind, limit=limit)

        return page

    async def _converse(self, key: SessionKey, feed: Feed, attachment: Any) -> None:
        pump = asyncio.create_task(self._pump(feed))
        listen = asyncio.create_task(self._listen(key, attachment))
        try:
            done, _ = await asyncio.wait({pump, listen}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, listen):
                task.cancel()
            await asyncio.gather(pump, listen, return_exceptions=True)
        for task in done:
            task.result()

    async def _pump(self, feed: Feed) -> None:
        async for frame in feed.frames():
            await self._send(frame)
            self._gateway.traffic.frames_out += 1

    async def _listen(self, key: SessionKey, attachment: Any) -> None:
        while True:
            event = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                return
            try:
                raw = event.get("text")
                if raw is None:
                    raise GatewayError("not_text", "a binary frame came; send JSON in text frames")
                self._gateway.traffic.frames_in += 1
                await self._act(key, attachment, read_frame(raw, self._limits))
            except GatewayError as problem:
                await self._answer(problem)

    async def _act(
        self, key: SessionKey, attachment: Any, frame: UserMessage | Ack | Cancel
    ) -> None:
        host = self._gateway.host
        try:
            match frame:
                case UserMessage():
                    await host.send_async(
                        key,
                        frame.text,
                        message_id=frame.message_id,
                        data=frame.data,
                        metadata=behalf(self._socket.scope),
                    )
                case Ack():
                    await run_in_threadpool(attachment.ack, frame.seq)
                case Cancel():
                    await run_in_threadpool(host.cancel, key)
        except Exception as error:
            problem = explain(error) or self._unexpected(error)
            if isinstance(frame, UserMessage) and frame.message_id:
                problem.extra.setdefault("message_id", frame.message_id)
            raise problem from error

    async def _answer(self, problem: GatewayError) -> None:
        self._gateway.traffic.refused(problem.code)
        await self._send(problem.frame())
        if problem.close == CLOSE_GOING_AWAY:
            raise problem

    async def _refuse(self, error: Exception) -> None:
        problem = explain(error) or self._unexpected(error)
        with contextlib.suppress(WebSocketDisconnect, OSError, Stalled, RuntimeError):
            # RuntimeError is Starlette's word for a socket already closed by the other side.
            if problem is not error or problem.close != CLOSE_GOING_AWAY:
                self._gateway.traffic.refused(problem.code)
                await self._send(problem.frame())
            await self._close(problem.close or CLOSE_INTERNAL, problem.code)

    def _unexpected(self, error: Exception) -> GatewayError:
        log.error("gateway_failure", path=self._socket.url.path, exc_info=error)
        return internal_error(self._socket.scope.get("state", {}).get("request_id"))

    async def _send(self, frame: Mapping[str, Any]) -> None:
        # The time limit can only strike while the frame still waits for room: servers write a
        # frame in one piece, so none is ever cut in half.
        try:
            async with asyncio.timeout(self._limits.stall or None):
                await self._socket.send_text(encode_frame(frame))
        except TimeoutError:
            raise Stalled from None

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.application_state is not WebSocketState.CONNECTED:
            return
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, OSError, RuntimeError):
            async with asyncio.timeout(1.0):
                await self._socket.close(code, reason)


def cursor_ahead(after: int, last: int) -> GatewayError:
    """The refusal of a cursor the session has not reached."""
    return GatewayError(
        "bad_cursor",
        f"after={after} is ahead of this session, whose last frame is {last}: the client's memory "
        "is of another session or of deleted data; drop it and connect with after=0",
        status=409,
        close=CLOSE_CURSOR_AHEAD,
        extra={"last_seq": last},
    )


def read_after(text: str | None) -> int | None:
    """The cursor in a query, `None` where there is none.

    Raises:
        GatewayError: `bad_cursor` if it is not a whole number of 0 or more.
    """
    if text is None:
        return None
    # isdecimal alone would take other scripts' digits, and int() takes underscores and blanks.
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise GatewayError(
            "bad_cursor",
            f"after={text!r} is no seq: it is the number of the last frame the client has, "
            "0 for the beginning; leave it out to go on where this client acknowledged last",
        )
    return int(text)
