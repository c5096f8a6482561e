"""The sessions suite: what a durable conversation adds to an agent's own time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from understudy.benchmarks._scenario import Metric, Scenario, declare
from understudy.benchmarks.suites.journal import account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from understudy.benchmarks._bench import Bench

LIMIT = 60.0
OURS = "understudy"
MEGABYTE = 1 << 20
# What a fast model takes to its first word; the overhead is told as a fraction of it.
THINKING = 0.2


def _sessions(key: str, title: str, doc: str, **options: Any) -> Scenario:
    return declare("sessions", key, title, doc=doc, pinned=False, **options)


def _host(bench: Bench, thinking: float, **options: Any) -> tuple[Any, Any]:
    """A system with a journal on disk and one agent called `echo`."""
    from understudy.agents import Agent, SessionHost
    from understudy.supervision import ActorSystem

    class Echo(Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[str]:
            del turn
            if thinking:
                await asyncio.sleep(thinking)
            for word in message.text.split():
                yield word + " "

    system = ActorSystem("bench", data_dir=bench.directory, **options)
    return system, SessionHost(system, agents={"echo": Echo})


FIRST_TOKEN = _sessions(
    "first_token", "time to the first token of an agent that answers at once", size=60, quick=20,
    unit="turn", metric=Metric.MEDIAN,
    doc="From host.send to the first token frame: the message and the token are each journaled "
    "first, so two durable commits of the disk are in it.",
)  # fmt: skip
OVERHEAD = _sessions(
    "first_token_overhead", "overhead on the first token of an agent that thinks 200 ms", size=10,
    quick=4, unit="turn", metric=Metric.SHARE, warm=False, rounds=3,
    doc="How much longer than the agent's own 200 ms the first token takes, as a fraction.",
)  # fmt: skip
CONCURRENT = _sessions(
    "concurrent", "sessions with a turn each at once", unit="turn", points=(100, 1_000),
    warm=False, rounds=2,
    doc="So many people say one thing at the same moment; until all have their whole answer.",
)  # fmt: skip
RESTORE = _sessions(
    "restore_10mb", "restore of a 10 MB session", size=10, quick=10, unit="restore",
    metric=Metric.SECONDS, rounds=3,
    doc="A persistent actor whose snapshot holds 10 MB of text starts and answers.",
)  # fmt: skip
REPLAY = _sessions(
    "replay_10000", "replay of 10,000 events into a persistent actor", size=10_000, quick=10_000,
    unit="event", metric=Metric.SECONDS, warm=False, rounds=3,
    doc="A persistent actor without a snapshot starts from its whole history and answers.",
)  # fmt: skip


def _first_token(host: Any, key: str, number: int) -> float:
    begun = time.perf_counter()
    turn = host.send(key, "hello there", message_id=f"m{number}")
    for frame in turn:
        if frame["type"] == "token":
            took = time.perf_counter() - begun
            break
    else:
        raise AssertionError("the turn ended without a token")
    turn.result(timeout=LIMIT)
    return took


@FIRST_TOKEN.on(OURS)
def first_token(bench: Bench) -> None:
    """One session, one turn after the other."""
    system, host = _host(bench, 0.0)
    bench.latencies(_first_token(host, "ada:echo:t1", i) for i in range(bench.size))
    system.stop(timeout=LIMIT)


@OVERHEAD.on(OURS)
def first_token_overhead(bench: Bench) -> None:
    """The same with an agent that thinks."""
    system, host = _host(bench, THINKING)
    found = sorted(_first_token(host, "ada:echo:t1", i) for i in range(bench.size))
    bench.latencies(found)
    bench.result(found[len(found) // 2] / THINKING - 1)
    system.stop(timeout=LIMIT)


@CONCURRENT.on(OURS)
def concurrent(bench: Bench) -> None:
    """Send to all, wait for all."""
    system, host = _host(bench, 0.0)
    with bench.measure():
        turns = [
            host.send(f"user{i}:echo:t", "to be or not to be", message_id="m")
            for i in range(bench.size)
        ]
        answers = [str(turn.result(timeout=LIMIT)) for turn in turns]
    bench.check(
        all(answer.split() == ["to", "be", "or", "not", "to", "be"] for answer in answers),
        "an answer is wrong",
    )
    system.stop(timeout=LIMIT)


@RESTORE.on(OURS)
def restore(bench: Bench) -> None:
    """Write a snapshot of so many megabytes, then start the actor."""
    from understudy.storage import Journal, NewEvent
    from understudy.supervision import ActorSystem

    cls = account()
    system: Any = ActorSystem("bench", data_dir=bench.directory)
    journal: Journal = system.journal
    journal.append("session:ada", [NewEvent("bench.moved", {"amount": 1})])
    texts = ["x" * 1_000 for _ in range(bench.size * MEGABYTE // 1_000)]
    journal.save_snapshot("session:ada", 1, {"count": 1, "texts": texts})
    with bench.measure(items=1):
        ref = system.spawn(cls, persistence_id="session:ada")
        answer = ref.ask(None, timeout=LIMIT)
    bench.check(answer == 1, f"the actor came back with {answer} events instead of 1")
    system.stop(timeout=LIMIT)


@REPLAY.on(OURS)
def replay(bench: Bench) -> None:
    """Append so many events to its stream, then start the actor."""
    from understudy.storage import NewEvent
    from understudy.supervision import ActorSystem

    cls = account()
    system: Any = ActorSystem("bench", data_dir=bench.directory)
    for start in range(0, bench.size, 1_000):
        news = [NewEvent("bench.moved", {"amount": i}) for i in range(start, start + 1_000)]
        system.journal.append("account:ada", news)
    with bench.measure(items=1):
        ref = system.spawn(cls, persistence_id="account:ada")
        answer = ref.ask(None, timeout=LIMIT)
    bench.check(answer == bench.size, f"{answer} of {bench.size} events were replayed")
    system.stop(timeout=LIMIT)
