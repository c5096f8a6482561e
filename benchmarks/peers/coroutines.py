"""Our actors asked from coroutines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from understudy.benchmarks.peers.actors import AsyncEcho, Echo, Kit
from understudy.benchmarks.peers.queues import timed
from understudy.benchmarks.suites import _kernel as kernel

if TYPE_CHECKING:
    from understudy.actors import ActorRef
    from understudy.benchmarks._bench import Bench


@kernel.ASK_ASYNC.on("understudy")
def ask_async(bench: Bench) -> None:
    """An asyncio actor of a system that lives on the asker's loop."""

    async def body() -> None:
        from understudy.actors import Actor
        from understudy.supervision import ActorSystem

        cls = type("AsyncEcho", (AsyncEcho, Actor), {})
        async with ActorSystem("bench") as system:
            ref: ActorRef[Any] = system.spawn(cls)
            bench.check(await ref.ask_async("ping") == "ping", "no answer")
            await timed(bench, lambda: ref.ask_async("ping"), bench.size)

    asyncio.run(body())


@kernel.ASK_ASYNC_ACROSS.on("understudy")
def ask_async_across(bench: Bench) -> None:
    """An actor of the pool, asked from a loop that the system does not own."""
    kit = Kit("understudy")
    ref = kit.spawn(Echo)

    async def body() -> None:
        bench.check(await ref.ask_async("ping") == "ping", "no answer")
        await timed(bench, lambda: ref.ask_async("ping"), bench.size)

    asyncio.run(body())
    kit.close()
