"""asyncio queues, one a task: actors as one writes them by hand; the same on uvloop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from understudy.benchmarks.suites import _kernel as kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from understudy.benchmarks._bench import Bench

BOTH = ("asyncio", "uvloop")


def run(bench: Bench, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on the loop that the peer stands for."""
    factory: Any = None
    if bench.peer == "uvloop":
        import uvloop  # pyright: ignore[reportMissingImports] - an optional peer

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(body())


class Actor:
    """A queue and a task; what comes with a future is answered."""

    __slots__ = ("handler", "queue", "task", "tell")

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.tell = self.queue.put_nowait
        self.handler = handler
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        take, handler = self.queue.get, self.handler
        while True:
            message, answer = await take()
            found = handler(message)
            if answer is not None:
                answer.set_result(found)

    def ask(self, message: Any) -> asyncio.Future[Any]:
        """Send, and get what is awaited for the answer."""
        answer = asyncio.get_running_loop().create_future()
        self.tell((message, answer))
        return answer


def _echo(message: Any) -> Any:
    return message


@kernel.TELL.on(*BOTH)
def tell(bench: Bench) -> None:
    """Flood one queue."""

    async def body() -> None:
        left, done = bench.size, asyncio.Event()

        def count(message: Any) -> None:
            nonlocal left
            del message
            left -= 1
            if left == 0:
                done.set()

        send = Actor(count).tell
        with bench.measure():
            for _ in range(bench.size):
                send(("ping", None))
            await done.wait()

    run(bench, body)


@kernel.ASK.on(*BOTH)
def ask(bench: Bench) -> None:
    """One question after the other."""

    async def body() -> None:
        call = Actor(_echo).ask
        with bench.measure():
            for _ in range(bench.size):
                await call("ping")
        await timed(bench, lambda: call("ping"), bench.size // 2)

    run(bench, body)


@kernel.ASK_ASYNC.on(*BOTH)
def ask_async(bench: Bench) -> None:
    """The same, for the latency alone."""

    async def body() -> None:
        call = Actor(_echo).ask
        await timed(bench, lambda: call("ping"), bench.size)

    run(bench, body)


async def timed(bench: Bench, call: Callable[[], Any], times: int) -> None:
    """Await something `times` times and record each latency."""
    clock, samples = time.perf_counter_ns, []
    for _ in range(times):
        begun = clock()
        await call()
        samples.append(clock() - begun)
    bench.latencies(ns / 1e9 for ns in samples)


@kernel.PIPELINED.on(*BOTH)
def pipelined(bench: Bench) -> None:
    """Batches of a thousand futures."""

    async def body() -> None:
        call = Actor(_echo).ask
        batches = max(1, bench.size // 1_000)
        with bench.measure(items=batches * 1_000):
            for _ in range(batches):
                futures = [call("ping") for _ in range(1_000)]
                for future in futures:
                    await future

    run(bench, body)


@kernel.CREATE.on(*BOTH)
def create(bench: Bench) -> None:
    """A queue and a task each, until every task waits."""

    async def body() -> None:
        with bench.measure():
            actors = [Actor(_echo) for _ in range(bench.size)]
            await asyncio.sleep(0)
        bench.check(all(not a.task.done() for a in actors), "a task has ended")

    run(bench, body)


@kernel.IDLE.on(*BOTH)
def idle(bench: Bench) -> None:
    """Resident memory before and after."""

    async def body() -> None:
        actors = [Actor(_echo) for _ in range(10)]
        with bench.measure():
            actors += [Actor(_echo) for _ in range(bench.size)]
            await asyncio.sleep(0)

    run(bench, body)


@kernel.STOP.on(*BOTH)
def stop(bench: Bench) -> None:
    """Cancel the tasks and wait for them."""

    async def body() -> None:
        actors = [Actor(_echo) for _ in range(bench.size)]
        await asyncio.sleep(0)
        with bench.measure():
            for actor in actors:
                actor.task.cancel()
            await asyncio.gather(*(a.task for a in actors), return_exceptions=True)

    run(bench, body)


@kernel.SHORT_BLOCKS.on(*BOTH)
def short_blocks(bench: Bench) -> None:
    """The same waits, as a loop wants them: awaited."""

    async def sleeper(queue: asyncio.Queue[float]) -> None:
        for _ in range(bench.size):
            await asyncio.sleep(await queue.get())

    async def body() -> None:
        queues: list[asyncio.Queue[float]] = [asyncio.Queue() for _ in range(100)]
        tasks = [asyncio.create_task(sleeper(queue)) for queue in queues]
        with bench.measure(items=100 * bench.size):
            for _ in range(bench.size):
                for queue in queues:
                    queue.put_nowait(0.005)
            await asyncio.gather(*tasks)

    run(bench, body)
