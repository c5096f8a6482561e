"""xoscar in one process: actors are coroutines behind direct calls."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any

from understudy.benchmarks.peers.queues import timed
from understudy.benchmarks.suites import _kernel as kernel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from understudy.benchmarks._bench import Bench

PEER = "xoscar"


class Pool:
    """A pool without subprocesses, and classes made for it."""

    def __init__(self, library: Any, pool: Any) -> None:
        self.library = library
        self.pool = pool
        self._made: dict[type[Any], type[Any]] = {}
        self._count = 0

    async def create(self, mixin: type[Any], *args: Any) -> Any:
        """Create an actor that behaves as the mixin; a ref that calls it directly."""
        made = await self.bare(mixin, *args)
        # What create_actor returns goes through the transport, what actor_ref returns does not.
        return await self.library.actor_ref(made)

    async def bare(self, mixin: type[Any], *args: Any) -> Any:
        """Create an actor and nothing more."""
        if mixin not in self._made:
            self._made[mixin] = type(mixin.__name__, (mixin, self.library.Actor), {})
        self._count += 1
        return await self.library.create_actor(
            self._made[mixin], *args, address=self.pool.external_address, uid=f"a{self._count}"
        )


def run(body: Callable[[Pool], Awaitable[None]]) -> None:
    """Start a pool and run a coroutine beside it."""

    async def inner() -> None:
        library: Any = importlib.import_module("xoscar")
        pool = await library.create_actor_pool("test://127.0.0.1:0", n_process=0)
        async with pool:
            await body(Pool(library, pool))

    asyncio.run(inner())


class Echo:
    """Answers, and counts what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def echo(self, message: Any) -> Any:
        """The message itself."""
        return message

    async def take(self, message: Any) -> None:
        """One more."""
        del message
        self.count += 1

    async def counted(self) -> int:
        """How many were taken."""
        return self.count


@kernel.TELL.on(PEER)
def tell(bench: Bench) -> None:
    """`await ref.take.tell(message)`."""

    async def body(pool: Pool) -> None:
        ref = await pool.create(Echo)
        with bench.measure():
            for _ in range(bench.size):
                await ref.take.tell("ping")
            while await ref.counted() < bench.size:  # noqa: ASYNC110  # lets the told ones run
                await asyncio.sleep(0)

    run(body)


@kernel.ASK.on(PEER)
@kernel.ASK_ASYNC.on(PEER)
def ask(bench: Bench) -> None:
    """`await ref.echo(message)`."""

    async def body(pool: Pool) -> None:
        ref = await pool.create(Echo)
        with bench.measure():
            for _ in range(bench.size):
                await ref.echo("ping")
        await timed(bench, lambda: ref.echo("ping"), bench.size // 2)

    run(body)


@kernel.PIPELINED.on(PEER)
def pipelined(bench: Bench) -> None:
    """Gather a thousand."""

    async def body(pool: Pool) -> None:
        ref = await pool.create(Echo)
        batches = max(1, bench.size // 1_000)
        with bench.measure(items=batches * 1_000):
            for _ in range(batches):
                await asyncio.gather(*(ref.echo("ping") for _ in range(1_000)))

    run(body)


class Member:
    """Of a ring."""

    def __init__(self, done: asyncio.Event) -> None:
        super().__init__()
        self.finished = done
        self.following: Any = None

    async def link(self, following: Any) -> None:
        """Learn the neighbour."""
        self.following = following

    async def hop(self, left: int) -> None:
        """Pass the token on."""
        if left == 0:
            self.finished.set()
        else:
            await self.following.hop.tell(left - 1)


def _ring(bench: Bench, members: int, hops: int) -> None:
    async def body(pool: Pool) -> None:
        done = asyncio.Event()
        refs = [await pool.create(Member, done) for _ in range(members)]
        for ref, following in zip(refs, refs[1:] + refs[:1], strict=True):
            await ref.link(following)
        with bench.measure():
            await refs[0].hop.tell(hops)
            await asyncio.wait_for(done.wait(), 60)

    run(body)


@kernel.RING.on(PEER)
def ring(bench: Bench) -> None:
    """A hundred members."""
    _ring(bench, 100, bench.size)


@kernel.PING_PONG.on(PEER)
def ping_pong(bench: Bench) -> None:
    """A ring of two."""
    _ring(bench, 2, 2 * bench.size)


@kernel.CREATE.on(PEER)
def create(bench: Bench) -> None:
    """One after the other."""

    async def body(pool: Pool) -> None:
        with bench.measure():
            for _ in range(bench.size):
                await pool.bare(Echo)

    run(body)


@kernel.IDLE.on(PEER)
def idle(bench: Bench) -> None:
    """Resident memory before and after."""

    async def body(pool: Pool) -> None:
        refs = [await pool.bare(Echo) for _ in range(10)]
        with bench.measure():
            refs += [await pool.bare(Echo) for _ in range(bench.size)]

    run(body)


@kernel.STOP.on(PEER)
def stop(bench: Bench) -> None:
    """Destroy each."""

    async def body(pool: Pool) -> None:
        refs = [await pool.bare(Echo) for _ in range(bench.size)]
        with bench.measure():
            for ref in refs:
                await pool.library.destroy_actor(ref)

    run(body)
