"""Awaiting a future that others wait for as well."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.actors import Future

__all__ = ["await_shared", "wait_here"]


def wait_here(future: Future[Any]) -> Any:
    """The result of a future, waited for also on a thread that runs an event loop.

    For starts and stops of the system's own parts: they are short, and need no loop of the
    caller's.
    """
    future._us_wait(None, on_loop=True)
    return future.get()


async def await_shared(future: Future[Any], seconds: float | None = None) -> Any:
    """The result of a future; cancelling the waiter leaves the future alone.

    Awaiting a future directly hands a cancellation on to it, which is right for an ask and wrong
    for what belongs to many.

    Raises:
        TimeoutError: not resolved within `seconds`.

    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def resolved(_: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(wake)

    future.add_done_callback(resolved)
    await asyncio.wait_for(waiter, seconds)
    return future.get(timeout=0)
