"""What operators and load balancers ask: health, metrics, the supervision tree."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from understudy.actors import ActorFailed, ActorRestarted, ActorStarted, ActorStopped
from understudy.gateway._errors import GatewayError
from understudy.gateway._frames import encode_json
from understudy.gateway._http import EventStream, json_response
from understudy.supervision import tree_data

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from understudy.gateway._gateway import Gateway

# A picture at least this often, because depths and ages move without any event.
REFRESH = 1.0
CHILDREN_SHOWN = 200


async def metrics(gateway: Gateway, request: Request) -> Response:
    """`GET /metrics`: the Prometheus text, or OpenMetrics for a scraper that asks for it."""
    accept = request.headers.get("accept", "")
    body, content_type = await run_in_threadpool(gateway.metrics.render, accept)
    return Response(body, headers={"content-type": content_type})


async def tree(gateway: Gateway, request: Request) -> Response:
    """`GET /v1/tree`: the supervision tree now; as a stream where the client asks for events."""
    children = _children(request)
    if "text/event-stream" in request.headers.get("accept", ""):
        return _tree_stream(gateway, children)
    return json_response(await run_in_threadpool(tree_data, gateway.host.system, children))


async def tree_stream(gateway: Gateway, request: Request) -> Response:
    """`GET /v1/tree/stream`: a picture at once, then one at each change, as server-sent events."""
    return _tree_stream(gateway, _children(request))


def _children(request: Request) -> int:
    text = request.query_params.get("children")
    if text is None:
        return CHILDREN_SHOWN
    if not (text.isascii() and text.isdecimal() and len(text) < 8):
        raise GatewayError(
            "bad_children", f"children={text!r}: give how many children of one parent to show"
        )
    return int(text)


def _tree_stream(gateway: Gateway, children: int) -> Response:
    system = gateway.host.system
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    closed = False

    def notice(_: Any) -> None:
        # On the thread of whoever started or failed; the loop may be gone at the very end.
        if not changed.is_set():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(changed.set)

    subscription = system.events.subscribe(
        notice, ActorStarted, ActorFailed, ActorRestarted, ActorStopped
    )

    async def pictures() -> AsyncIterator[str]:
        last = b""
        while not closed:
            changed.clear()
            picture = encode_json(await run_in_threadpool(tree_data, system, children))
            if picture != last:
                last = picture
                yield f"event: tree\ndata: {picture.decode()}\n\n"
            else:
                # Keeps the connection warm, and finds out that the client has left.
                yield ": same\n\n"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH):
                    await changed.wait()
            # A storm of restarts makes one picture per interval, not one per restart.
            await asyncio.sleep(gateway.limits.tree_interval)

    async def close() -> None:
        nonlocal closed
        closed = True
        subscription.cancel()
        changed.set()

    return EventStream(gateway, pictures(), close)
