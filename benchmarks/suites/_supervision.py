"""The supervision scenarios: what is measured; bodies are in `supervision` and `peers.otp`."""

from __future__ import annotations

from typing import Any

from understudy.benchmarks._scenario import Metric, Scenario, declare


def _supervision(key: str, title: str, doc: str, **options: Any) -> Scenario:
    return declare(
        "supervision", key, title, doc=doc,
        origin="understudy.benchmarks.suites.supervision", **options,
    )  # fmt: skip


CRASH = _supervision(
    "crash", "crash to replacement ready", size=2_000, unit="restart", metric=Metric.MEDIAN,
    doc="From the message that makes an actor raise to its next incarnation having started, "
    "one at a time: how long a ref that is used has nobody behind it.",
)  # fmt: skip
STORM = _supervision(
    "storm", "10,000 crash at once", size=10_000, quick=10_000, unit="restart",
    metric=Metric.SECONDS, warm=False, rounds=3,
    doc="All children of one dynamic supervisor crash; until all of them run again.",
)  # fmt: skip
GROUP = _supervision(
    "group", "one_for_all of ten", size=500, unit="restart", metric=Metric.MEDIAN,
    doc="One of ten crashes, the other nine are stopped, all ten are started again.",
)  # fmt: skip
ESCALATION = _supervision(
    "escalation", "escalation through five levels", size=200, unit="restart",
    metric=Metric.MEDIAN,
    doc="A crash at the bottom exceeds the limit of every supervisor above it but the topmost, "
    "which starts the whole line again.",
)  # fmt: skip
RESTARTS = _supervision(
    "restarts", "a thousand to a hundred thousand restarts in the window", unit="restart",
    points=(1_000, 10_000, 100_000), warm=False, rounds=3,
    doc="What the next 5,000 restarts of a child cost when so many already lie inside the period; "
    "at most a hundred crashes wait at a time, so that only the window grows.",
)  # fmt: skip
BACKLOG = _supervision(
    "backlog", "a restart while a thousand to a hundred thousand messages wait", unit="restart",
    points=(1_000, 10_000, 100_000), warm=False, rounds=3,
    doc="What a restart costs a child with so many messages behind the one that made it fail: they "
    "are kept, in order, for the next incarnation.",
)  # fmt: skip
FROZEN = _supervision(
    "frozen", "frozen actor found and replaced, default settings", size=1, quick=1, unit="actor",
    metric=Metric.SECONDS, warm=False, rounds=1, pinned=False,
    doc="From a handler that blocks on a lock for ever to its replacement having started, with "
    "Heartbeat() at its defaults: the timeout is 4 s, the sweep 0.5 s.",
)  # fmt: skip
