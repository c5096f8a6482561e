"""Sessions over plain HTTP: send a message, read the events, follow the frames, list threads."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from understudy.agents import SessionKey
from understudy.gateway._drain import stopping
from understudy.gateway._errors import GatewayError, explain, internal_error
from understudy.gateway._feed import Feed
from understudy.gateway._frames import check_identifier, encode_frame, encode_json, read_message
from understudy.gateway._middleware import behalf
from understudy.gateway._path import session_path
from understudy.gateway._websocket import DEFAULT_CLIENT, cursor_ahead, read_after
from understudy.storage._record import Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from understudy.gateway._gateway import Gateway

    Handler = Callable[[Gateway, Request], Awaitable[Response]]

log = structlog.get_logger("understudy.gateway")

PRIORITIES: tuple[str, ...] = get_args(Priority)


def json_response(value: Any, status: int = 200, **headers: str) -> Response:
    """`value` as a JSON answer."""
    return Response(
        encode_json(value), status, {**headers, "cache-control": "no-store"}, "application/json"
    )


def guarded(gateway: Gateway, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """`handler` with its errors told as JSON, each with its code and status."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(gateway, request)
        except ClientDisconnect:
            # Nobody is there to read this; 499 is what logs conventionally show for it.
            return Response(status_code=499)
        except Exception as error:
            problem = explain(error)
            if problem is None:
                log.error("gateway_failure", path=request.url.path, exc_info=error)
                problem = internal_error(request.scope.get("state", {}).get("request_id"))
            gateway.traffic.refused(problem.code)
            headers = {"allow": problem.extra.pop("allow")} if "allow" in problem.extra else {}
            if problem.status == 503:
                headers["retry-after"] = "1"
            elif problem.status == 413:
                # What is left of the body is not read: the connection ends with this answer.
                headers["connection"] = "close"
            return json_response(problem.body(), problem.status, **headers)

    return endpoint


async def session_request(gateway: Gateway, request: Request) -> Response:
    """Anything below `/v1/sessions/`, by its last segment and method."""
    path = session_path(request.scope)
    if path.action == "" and len(path.parts) == 1:
        _only(request, "GET")
        return await list_sessions(gateway, request, path.parts[0])
    actions: dict[str, tuple[str, Callable[..., Awaitable[Response]]]] = {
        "messages": ("POST", post_message),
        "events": ("GET", get_events),
        "frames": ("GET", get_frames),
        "stream": ("GET", stream_frames),
    }
    if path.action == "ws":
        raise GatewayError(
            "upgrade_required",
            "this address speaks WebSocket; connect to it with a WebSocket client, or use "
            "/messages and /events beside it",
            status=426,
        )
    if path.action not in actions:
        raise GatewayError(
            "not_found",
            f"a session has no {path.action!r}; it has ws, {', '.join(actions)}",
            status=404,
        )
    method, handler = actions[path.action]
    _only(request, method)
    return await handler(gateway, request, SessionKey(*path.parts))


def _only(request: Request, method: str) -> None:
    allowed = ("GET", "HEAD") if method == "GET" else (method,)
    if request.method not in allowed:
        raise GatewayError(
            "method_not_allowed",
            f"{request.method} is not for this address; use {method}",
            status=405,
            extra={"allow": ", ".join(allowed)},
        )


async def post_message(gateway: Gateway, request: Request, key: SessionKey) -> Response:
    """`POST …/messages`: 200 with the answer, or 202 if it takes longer than `wait`."""
    wait = _seconds(request.query_params.get("wait"), gateway.limits.wait)
    message = read_message(await _body(request, gateway.limits.frame), gateway.limits)
    turn = await gateway.host.send_async(
        key,
        message.text,
        message_id=message.message_id,
        data=message.data,
        metadata=behalf(request.scope),
    )
    frame = await _closing_frame(turn, wait, stopping(request.scope))
    where = request.url.path.removesuffix("/messages")
    links = {"events": f"{where}/events", "ws": f"{where}/ws"}
    if frame is None:
        return json_response(
            {"status": "running", "message_id": turn.message_id, **links},
            202,
            location=links["events"],
        )
    answer = {key: value for key, value in frame.items() if key != "type"}
    if frame["type"] == "error":
        error = {name: answer.pop(name, None) for name in ("code", "message", "retryable")}
        return json_response(
            {"status": "failed", **answer, "message_id": turn.message_id, "error": error, **links},
            409 if error["code"] == "cancelled" else 502,
        )
    return json_response({"status": "done", **answer, "message_id": turn.message_id, **links})


async def _closing_frame(
    turn: Any, wait: float, stop: asyncio.Event | None
) -> Mapping[str, Any] | None:
    """The frame that closes `turn`, `None` if it is open after `wait` seconds, or at shutdown."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    def tell(_: Any) -> None:
        # Runs on whichever thread closes the turn, maybe after this server's loop is gone.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(closed.set)

    turn.add_done_callback(tell)
    if wait > 0:
        events = [closed] if stop is None else [closed, stop]
        await _first_of(events, wait)
    # The turn goes on: only this request stops waiting for it.
    if not turn.done():
        return None
    try:
        frame: Mapping[str, Any] = turn.result(timeout=0).frame
    except Exception as error:
        failure: Any = error
        if not hasattr(failure, "code"):
            raise
        return {
            "type": "error",
            "code": failure.code,
            "message": getattr(failure, "message", None) or str(failure),
            "retryable": getattr(failure, "retryable", False) is True,
        }
    return frame


async def _first_of(events: Sequence[asyncio.Event], timeout: float) -> None:  # noqa: ASYNC109
    """Wait until one of `events` is set, at most `timeout` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()


async def get_events(gateway: Gateway, request: Request, key: SessionKey) -> Response:
    """`GET …/events`: the session's events behind `after`, filtered, in pages."""
    query = request.query_params
    after = read_after(query.get("after")) or 0
    limit = _count(query.get("limit"), gateway.limits.page)
    types = [name for name in query.get("types", "").split(",") if name] or None
    events = await run_in_threadpool(
        gateway.host.history,
        key,
        after=after,
        types=types,
        priority=_priority(query.get("priority")),
        limit=limit,
    )
    shown = [_event(event) for event in events]
    return json_response(
        {
            "session": str(key),
            "events": shown,
            "next": shown[-1]["seq"] if shown else after,
            "more": len(shown) == limit,
        }
    )


def _priority(text: str | None) -> str | None:
    if text is not None and text not in PRIORITIES:
        raise GatewayError(
            "bad_priority", f"priority={text!r}: give {' or '.join(PRIORITIES)}, or leave it out"
        )
    return text


def _event(event: Any) -> dict[str, Any]:
    if hasattr(event, "to_dict"):
        shown: dict[str, Any] = event.to_dict()
        return shown
    names = ("seq", "type", "version", "timestamp", "id", "payload", "metadata", "priority")
    shown = {name: getattr(event, name) for name in names if hasattr(event, name)}
    if isinstance(shown.get("timestamp"), datetime):
        shown["timestamp"] = shown["timestamp"].isoformat()
    return shown


async def get_frames(gateway: Gateway, request: Request, key: SessionKey) -> Response:
    """`GET …/frames`: the frames behind `after`, in pages, for clients that poll."""
    query = request.query_params
    after = read_after(query.get("after"))
    client = query.get("client", DEFAULT_CLIENT)
    check_identifier("client", client, gateway.limits)
    limit = _count(query.get("limit"), gateway.limits.page)
    host = gateway.host

    def page() -> tuple[int, int, Sequence[Mapping[str, Any]]]:
        start = host.cursor(key, client=client) if after is None else after
        last = host.last_frame(key)
        if start > last:
            raise cursor_ahead(start, last)
        return start, last, host.frames(key, after=start, limit=limit)

    start, last, frames = await run_in_threadpool(page)
    return json_response(
        {
            "session": str(key),
            "frames": frames,
            "next": frames[-1]["seq"] if frames else start,
            "more": bool(frames) and frames[-1]["seq"] < last,
        }
    )


async def stream_frames(gateway: Gateway, request: Request, key: SessionKey) -> Response:
    """`GET …/stream`: the frames as server-sent events, each with its seq as the event's id.

    A browser's `EventSource` reconnects by itself and says `Last-Event-ID`: that is the cursor.
    """
    query = request.query_params
    given = request.headers.get("last-event-id") or query.get("after")
    after = read_after(given)
    client = query.get("client", DEFAULT_CLIENT)
    check_identifier("client", client, gateway.limits)
    host = gateway.host

    async def page(behind: int, limit: int) -> Sequence[Mapping[str, Any]]:
        return await run_in_threadpool(host.frames, key, after=behind, limit=limit)

    feed = Feed(after=0, capacity=gateway.limits.buffer, page=page)

    def attach() -> Any:
        last = host.last_frame(key)
        feed.sent = host.cursor(key, client=client) if after is None else after
        if feed.sent > last:
            raise cursor_ahead(feed.sent, last)
        return host.attach(key, after=last, client=client, on_frame=feed.offer)

    attachment = await run_in_threadpool(attach)
    feed.lag()

    async def events() -> AsyncIterator[str]:
        # A first comment, so that the client's connection counts as open before any frame.
        yield ": open\n\n"
        async for frame in feed.frames():
            gateway.traffic.frames_out += 1
            yield f"id: {frame['seq']}\nevent: {frame['type']}\ndata: {encode_frame(frame)}\n\n"

    async def close() -> None:
        feed.close()
        await run_in_threadpool(attachment.close)

    return EventStream(gateway, events(), close)


class EventStream(StreamingResponse):
    """Server-sent events that no proxy between holds back.

    Args:
        gateway: Whose connection counts this one joins.
        events: The texts to send.
        close: Ends the source of the events, and with it the iteration. Called at the end, also
            where the client left before the first event (a generator's own `finally` would not
            run then), and when the server stops; so maybe twice.
    """

    def __init__(
        self,
        gateway: Gateway,
        events: AsyncIterator[str],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        self._traffic = gateway.traffic
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client leaves or the server stops."""
        self._traffic.opened()
        stop = stopping(scope)
        watch = asyncio.ensure_future(self._end_with(stop)) if stop is not None else None
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._traffic.closed()
            if watch is not None:
                watch.cancel()
            await self._close()

    async def _end_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        await self._close()


async def list_sessions(gateway: Gateway, request: Request, user: str) -> Response:
    """`GET /v1/sessions/{user}`: the threads of one user."""
    limit = _count(request.query_params.get("limit"), gateway.limits.page)
    agent = request.query_params.get("agent") or None
    sessions = await run_in_threadpool(gateway.host.sessions, user=user, agent=agent, limit=limit)
    return json_response({"user": user, "sessions": [_session(info) for info in sessions]})


def _session(info: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "session": str(info.key),
        "agent": info.key.agent,
        "thread": info.key.thread,
    }
    for name in ("active", "last_frame", "last_event", "open_turns", "created", "updated"):
        value = getattr(info, name, None)
        shown[name] = value.isoformat() if isinstance(value, datetime) else value
    return shown


async def _body(request: Request, limit: int) -> bytes:
    """The whole body, refused as soon as it is known to be too long."""
    declared = request.headers.get("content-length", "")
    parts = bytearray()
    if not declared.isdecimal() or int(declared) <= limit:
        async for chunk in request.stream():
            parts += chunk
            if len(parts) > limit:
                break
        else:
            return bytes(parts)
    raise GatewayError(
        "frame_too_large", f"the body is too long; at most {limit} bytes are taken", status=413
    )


def _seconds(text: str | None, default: float) -> float:
    words = {"false": 0.0, "no": 0.0, "true": default, "yes": default, "": default}
    if text is None:
        return default
    if text.lower() in words:
        return words[text.lower()]
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    # The comparison is false for NaN as well.
    if not 0 <= seconds <= 3600:
        raise GatewayError(
            "bad_wait",
            f"wait={text!r} is no time to wait: give seconds from 0 to 3600; 0 answers at once "
            "with 202, and the answer is then read from /events, /frames or /ws",
        )
    return seconds


def _count(text: str | None, most: int) -> int:
    if text is None:
        return most
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= most:
        raise GatewayError(
            "bad_limit", f"limit={text!r}: give a whole number from 1 to {most}, or leave it out"
        )
    return int(text)
