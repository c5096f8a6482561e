"""The kernel scenarios: what is measured, in PERFORMANCE's order; `peers` says how."""

from __future__ import annotations

from typing import Any

from understudy.benchmarks._scenario import Metric, Scenario, declare

THOUSAND, MILLION = 1_000, 1_000_000
# Thespian and xoscar make an actor, and Pykka a thread, much more slowly than the others.
FEW = {"pykka": 2_000, "xoscar": 2_000, "thespian": 5_000}


def _kernel(key: str, title: str, doc: str, **options: Any) -> Scenario:
    return declare(
        "kernel", key, title, doc=doc, origin="understudy.benchmarks.suites.kernel", **options
    )


TELL = _kernel(
    "tell", "tell: send and go on", size=200_000,
    doc="One thread sends to one actor as fast as it can, until all is handled: how many events "
    "a second one actor can take in. Says nothing about handlers that do something.",
)  # fmt: skip
ASK = _kernel(
    "ask", "ask: send and wait, no time limit", size=20_000, unit="ask",
    doc="One question at a time to an idle actor. Ours may run it on the caller's thread; "
    "switching threads twice is what it costs the others.",
)  # fmt: skip
ASK_TIMEOUT = _kernel(
    "ask_timeout", "ask with a time limit", size=10_000, unit="ask", metric=Metric.MEDIAN,
    doc="The same with a timeout, which needs a second thread, so that the caller can give up.",
)  # fmt: skip
PROXY = _kernel(
    "proxy", "proxy call and get()", size=10_000, unit="call",
    doc="A method of the actor called through its proxy, and its result waited for.",
)  # fmt: skip
PIPELINED = _kernel(
    "pipelined", "ask, a thousand in flight", size=50_000, unit="ask",
    doc="A thousand questions are sent before the first answer is read: what batching callers see.",
)  # fmt: skip
RING = _kernel(
    "ring", "ring of 100", size=50_000, unit="hop",
    doc="A token goes round a ring of actors: one wake-up a message, no parallelism at all.",
)  # fmt: skip
PING_PONG = _kernel(
    "ping_pong", "ping-pong", size=20_000, unit="round trip",
    doc="Two actors, one message: the latency of two sends between actors.",
)  # fmt: skip
FAN_OUT = _kernel(
    "fan_out", "fan-out 1 to 100", size=100_000,
    doc="One actor sends to a hundred others and hears from each: broadcasts.",
)  # fmt: skip
BIG = _kernel(
    "big", "big: 50 actors, everybody to everybody", size=50_000, unit="ping",
    doc="Fifty actors ping each other at random: many mailboxes with a little in each.",
)  # fmt: skip
ASK_ASYNC = _kernel(
    "ask_async", "await ask_async on the same loop", size=20_000, unit="ask",
    metric=Metric.MEDIAN,
    doc="A coroutine asks an asyncio actor that lives on its own event loop.",
)  # fmt: skip
ASK_ASYNC_ACROSS = _kernel(
    "ask_async_across", "await ask_async across threads", size=10_000, unit="ask",
    metric=Metric.MEDIAN,
    doc="A coroutine asks an actor on another thread and is woken from there.",
)  # fmt: skip
CREATE = _kernel(
    "create", "create an actor", size=20_000, unit="actor", sizes=FEW,
    doc="Spawn and return once the actor has started; ours under a system, supervised.",
)  # fmt: skip
IDLE = _kernel(
    "idle", "memory of an idle actor", size=50_000, unit="actor", metric=Metric.BYTES,
    sizes={**FEW, "pykka": 1_000}, warm=False, rounds=2,
    doc="Resident memory that one more idle actor takes, its own attributes not counted.",
)  # fmt: skip
STOP = _kernel(
    "stop", "stop 10,000 actors", size=10_000, quick=10_000, unit="actor", metric=Metric.SECONDS,
    warm=False, rounds=2, quick_rounds=1,
    doc="From the order to the end of all of them; ours is the ordered shutdown of the system.",
)  # fmt: skip
SHORT_BLOCKS = _kernel(
    "short_blocks", "100 actors, 20 messages each that sleep 5 ms", size=20, quick=20,
    unit="message", metric=Metric.SECONDS, warm=False, rounds=3,
    doc="Handlers that block briefly, as those that read files or call services do: 0.1 s is "
    "what a thread for each would take, 10 s what a single thread would.",
)  # fmt: skip
BLOCKED = _kernel(
    "blocked", "the 61st actor while 60 are blocked", size=60, quick=60, unit="answer",
    metric=Metric.SECONDS, warm=False, rounds=3,
    doc="Sixty handlers block; how long does an actor that does not wait for its turn?",
)  # fmt: skip
UNPINNED_TELL = _kernel(
    "unpinned_tell", "tell on all cores", size=200_000, pinned=False,
    doc="As tell, without pinning: a library must not become slower by having more cores.",
)  # fmt: skip
UNPINNED_ASK = _kernel(
    "unpinned_ask", "ask on all cores", size=20_000, unit="ask", pinned=False,
    doc="As ask, without pinning.",
)  # fmt: skip
UNPINNED_PING_PONG = _kernel(
    "unpinned_ping_pong", "ping-pong on all cores", size=20_000, unit="round trip", pinned=False,
    doc="As ping-pong, without pinning.",
)  # fmt: skip
DETECTOR = _kernel(
    "detector", "CPU of an idle system with its failure detector", unit="actor",
    metric=Metric.SHARE, points=(100, 10_000, 100_000), warm=False, rounds=1,
    quick_points=1, pinned=False,
    doc="Share of one core that a system takes whose actors, all watched, do nothing.",
)  # fmt: skip
DETECTOR_WAITING = _kernel(
    "detector_waiting", "CPU of a system whose actors all wait inside a handler", unit="actor",
    metric=Metric.SHARE, points=(100, 10_000, 100_000), warm=False, rounds=1,
    quick_points=1, pinned=False, limit=120.0,
    doc="Share of one core that a system takes whose actors each await something within a lease, "
    "as agents await their model: the detector knows of every one of them.",
)  # fmt: skip
OBSERVED_TELL = _kernel(
    "observed_tell", "what metrics add to a tell", size=20_000, unit="message",
    metric=Metric.SHARE, warm=False,
    doc="CPU time with metrics on, against metrics off, in turns in one process.",
)  # fmt: skip
OBSERVED_ASK = _kernel(
    "observed_ask", "what metrics add to an ask", size=5_000, unit="ask", metric=Metric.SHARE,
    warm=False,
    doc="CPU time with metrics on, against metrics off, in turns in one process.",
)  # fmt: skip
SCALE = _kernel(
    "scale", "a thousand to a million actors", unit="actor",
    points=(THOUSAND, 10_000, 100_000, MILLION), quick_points=2, warm=False, rounds=1, limit=120.0,
    doc="Cost of creating, telling, asking and stopping one actor, and its memory, as the number "
    "of actors grows. The garbage collector and the caches of the processor bend the curves.",
)  # fmt: skip
