"""The goals the project has set itself, and how a run's results measure them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.benchmarks import _units
from understudy.benchmarks._libraries import title
from understudy.benchmarks._tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.benchmarks._results import Results


@dataclass(frozen=True)
class Goal:
    """One goal: a figure of a run that must be at most, or at least, a limit.

    Attributes:
        area: heading in the table.
        what: what is measured, in words.
        limit: the figure to reach.
        figure: how the figure is read from a run; None where the run has not measured it.
        form: how the figure is written.
        at_least: whether more is better.
    """

    area: str
    what: str
    limit: float
    figure: Callable[[Results], float | None]
    form: Callable[[float], str]
    at_least: bool = False

    def row(self, results: Results) -> list[str]:
        """The goal, what was measured, and whether it is met or by how much it is missed."""
        sign = "≥" if self.at_least else "≤"
        goal = f"{sign} {self.form(self.limit)}"
        found = self.figure(results)
        if found is None:
            return [self.what, goal, "not measured in this run", ""]
        return [self.what, goal, self.form(found), self.verdict(found)]

    def verdict(self, found: float) -> str:
        """Whether it is met, or how far it is off."""
        if found >= self.limit if self.at_least else found <= self.limit:
            return "met"
        off = self.limit / found if self.at_least else found / self.limit
        if found <= 0 or off >= 10:
            return "missed"
        percent = (off - 1) * 100
        return f"missed by {percent:.0f} %" if percent >= 1 else "missed by less than 1 %"


def faster(scenario: str, peer: str, against: str) -> Callable[[Results], float | None]:
    """How many times better one library is than another."""

    def figure(results: Results) -> float | None:
        found = results.ratio(scenario, peer, against)
        return found.median if found else None

    return figure


def cost(
    scenario: str, peer: str, against: str, *, other: str | None = None, path: tuple[str, ...] = ()
) -> Callable[[Results], float | None]:
    """What one costs as a multiple of another; `other` is the scenario of the other."""

    def figure(results: Results) -> float | None:
        # Turned round: `ratio` tells how much better the first is than the second.
        found = results.ratio(other or scenario, against, peer, other=scenario, path=path)
        return found.median if found else None

    return figure


def value(
    scenario: str, *path: str, peer: str = "understudy", point: int | None = None
) -> Callable[[Results], float | None]:
    """The figure of a scenario itself, or one beside it."""

    def figure(results: Results) -> float | None:
        found = (
            results.figure(scenario, peer, *path, point=point)
            if path
            else results.value(scenario, peer, point)
        )
        return found.median if found else None

    return figure


def growth(
    scenario: str, series: str, *, first: int, last: int
) -> Callable[[Results], float | None]:
    """What an item costs at one size of a curve, as a multiple of a smaller size."""

    def figure(results: Results) -> float | None:
        path = ("extra", "series", series) if series else ()
        small = value(scenario, *path, point=first)(results)
        large = value(scenario, *path, point=last)(results)
        return large / small if small and large else None

    return figure


def rate(scenario: str, peer: str = "understudy") -> Callable[[Results], float | None]:
    """Items a second."""

    def figure(results: Results) -> float | None:
        found = results.value(scenario, peer)
        return 1 / found.median if found and found.median > 0 else None

    return figure


def _times_of(name: str) -> Callable[[float], str]:
    return lambda found: f"{_units.times(found)} {title(name)}"


def _events(found: float) -> str:
    return _units.rate(found, "event")


def _messages() -> list[Goal]:
    found = []
    for key, what, limit in (
        ("tell", "tell", 7.0),
        ("ask", "ask, sequential", 25.0),
        ("proxy", "proxy call, get()", 5.0),
        ("pipelined", "ask, pipelined 1000", 8.0),
        ("ring", "ring of 100", 14.0),
        ("ping_pong", "ping-pong", 18.0),
        ("fan_out", "fan-out 1 → 100", 8.0),
        ("big", "big (50)", 7.0),
    ):
        for peer, where in (("understudy", "in a system"), ("standalone", "standalone")):
            found.append(
                Goal("messages", f"{what}, {where}", limit,
                     faster(f"kernel/{key}", peer, "pykka"), _times_of("pykka"), at_least=True)
            )  # fmt: skip
    return [
        *found,
        Goal("messages", "ask p50 beside gen_server:call", 0.6,
             cost("kernel/ask", "understudy", "otp", path=("latency", "0.5")), _times_of("otp")),
        Goal("messages", "ask with a timeout beside Pykka's ask", 1.0,
             cost("kernel/ask_timeout", "understudy", "pykka"), _times_of("pykka")),
        Goal("messages", "await ask_async, same loop, beside a queue on uvloop", 1.0,
             cost("kernel/ask_async", "understudy", "uvloop"), _times_of("uvloop")),
        Goal("messages", "await ask_async across threads", 20e-6,
             value("kernel/ask_async_across"), _units.seconds),
    ]  # fmt: skip


def _lives() -> list[Goal]:
    pinned = {"unpinned_tell": "tell", "unpinned_ask": "ask", "unpinned_ping_pong": "ping_pong"}
    return [
        Goal("lives", "create", 50.0, faster("kernel/create", "understudy", "pykka"),
             _times_of("pykka"), at_least=True),
        Goal("lives", "idle actor", 1024.0, value("kernel/idle"), _units.size),
        Goal("lives", "one million actors alive", 1.2 * 2**30,
             _times(value("kernel/scale", "extra", "series", "bytes", point=1_000_000), 1e6),
             _units.size),
        Goal("lives", "stop of 10,000", 0.05, value("kernel/stop"), _units.seconds),
        Goal("blocking", "100 actors × 20 messages that sleep 5 ms, beside Pykka", 1.0,
             cost("kernel/short_blocks", "understudy", "pykka"), _times_of("pykka")),
        Goal("blocking", "60 handlers blocked: the 61st answers", 0.05, value("kernel/blocked"),
             _units.seconds),
        *(
            Goal("cores", f"{plain} on all cores beside one", 1.1,
                 cost(f"kernel/{key}", "understudy", "understudy", other=f"kernel/{plain}"),
                 _units.times)
            for key, plain in pinned.items()
        ),
        Goal("scale", "tell at 1,000,000 actors beside 1,000", 2.0,
             growth("kernel/scale", "tell", first=1_000, last=1_000_000), _units.times),
        Goal("scale", "create at 1,000,000 actors beside 1,000", 2.5,
             growth("kernel/scale", "create", first=1_000, last=1_000_000), _units.times),
        Goal("scale", "stop at 1,000,000 actors beside 1,000", 2.5,
             growth("kernel/scale", "stop", first=1_000, last=1_000_000), _units.times),
    ]  # fmt: skip


def _supervision() -> list[Goal]:
    return [
        Goal("supervision", "crash to replacement ready, p50", 15e-6,
             value("supervision/crash"), _units.seconds),
        Goal("supervision", "10,000 crash at once, all replaced", 0.3,
             value("supervision/storm"), _units.seconds),
        Goal("supervision", "a restart among 100,000 beside one among 1,000", 1.1,
             growth("supervision/restarts", "", first=1_000, last=100_000), _units.times),
        Goal("supervision", "frozen actor found and replaced", 5.0,
             value("supervision/frozen"), _units.seconds),
        Goal("supervision", "failure detector, 100 actors", 0.003,
             value("kernel/detector", point=100), _units.share),
        # Between the two sizes that have a goal: the limit of the larger holds here too.
        Goal("supervision", "failure detector, 10,000 actors", 0.01,
             value("kernel/detector", point=10_000), _units.share),
        Goal("supervision", "failure detector, 100,000 actors", 0.01,
             value("kernel/detector", point=100_000), _units.share),
        Goal("supervision", "idle system with 100,000 actors", 0.005,
             value("kernel/detector", point=100_000), _units.share),
        Goal("observability", "added to a tell", 0.03, value("kernel/observed_tell"),
             _units.share),
        Goal("observability", "added to an ask", 0.03, value("kernel/observed_ask"),
             _units.share),
        Goal("observability", "added to an append", 0.03, value("journal/observed_append"),
             _units.share),
    ]  # fmt: skip


def _storage() -> list[Goal]:
    raw, app = _times_of("raw"), _times_of("eventsourcing-app")
    recorder, sqlite = _times_of("eventsourcing"), _times_of("sqlite")
    return [
        Goal("journal", "durable append, batch 1, sync", 2.0,
             value("journal/beside_raw_1"), raw),
        Goal("journal", "durable append, batch 1, pipelined", 1.1,
             value("journal/beside_raw_1", peer="pipelined"), raw),
        Goal("journal", "end to end, batch 10", 2.0,
             value("journal/beside_raw_10"), raw),
        Goal("journal", "end to end, batch 100", 2.5,
             value("journal/beside_raw_100"), raw),
        Goal("journal", "end to end, batch 1000", 300_000.0, rate("journal/append_1000"),
             _events, at_least=True),
        Goal("journal", "batch 1000 beside eventsourcing's Application", 5.0,
             faster("journal/append_1000", "understudy", "eventsourcing-app"), app, at_least=True),
        Goal("journal", "batch 1000 beside eventsourcing's recorder", 2.0,
             faster("journal/append_1000", "understudy", "eventsourcing"), recorder,
             at_least=True),
        Goal("journal", "batch 1000 beside SQLite FULL", 1.5,
             faster("journal/append_1000", "understudy", "sqlite"), sqlite, at_least=True),
        Goal("journal", "through 100 persistent actors beside the journal alone", 0.8,
             faster("journal/actors", "understudy", "synchronous"), _units.times, at_least=True),
        Goal("journal", "replay all, lazy", 1_500_000.0, rate("journal/replay"), _events,
             at_least=True),
        Goal("journal", "replay all, lazy, one event a row", 1_500_000.0,
             rate("journal/replay_single"), _events, at_least=True),
        Goal("journal", "replay all beside repository.get", 25.0,
             faster("journal/replay", "understudy", "eventsourcing-app"), app, at_least=True),
        Goal("journal", "replay all beside eventsourcing's recorder", 4.0,
             faster("journal/replay", "understudy", "eventsourcing"), recorder, at_least=True),
        Goal("journal", "one stream of 100,000", 600_000.0, rate("journal/stream"), _events,
             at_least=True),
        Goal("journal", "disk beside the raw file", 1.25,
             cost("journal/disk", "understudy", "raw"), raw),
        Goal("journal", "recovery of a 50,000-event tail", 0.1, value("journal/recovery"),
             _units.seconds),
        Goal("journal", "dropping a segment of 250,000 events", 0.02,
             value("journal/drop_segment"), _units.seconds),
        Goal("journal", "file after churn beside live data", 1.35, value("journal/churn"),
             _units.times),
        Goal("sessions", "restore of a 10 MB session", 0.02, value("sessions/restore_10mb"),
             _units.seconds),
        Goal("sessions", "10,000 events replayed into a persistent actor", 0.05,
             value("sessions/replay_10000"), _units.seconds),
        Goal("sessions", "overhead on the first token", 0.1,
             value("sessions/first_token_overhead"), _units.share),
    ]  # fmt: skip


def _times(
    figure: Callable[[Results], float | None], factor: float
) -> Callable[[Results], float | None]:
    def scaled(results: Results) -> float | None:
        found = figure(results)
        return None if found is None else found * factor

    return scaled


GOALS: tuple[Goal, ...] = (*_messages(), *_lives(), *_supervision(), *_storage())


def table(results: Results, goals: tuple[Goal, ...] = GOALS) -> Table:
    """All goals as a table, with how many are met."""
    shown = Table("goals", ["goal", "limit", "measured", "verdict"])
    shown.rows = [goal.row(results) for goal in goals]
    verdicts = [row[3] for row in shown.rows]
    met, open_ = verdicts.count("met"), verdicts.count("")
    shown.notes.append(
        f"{met} of {len(goals)} met, {len(goals) - met - open_} missed, {open_} not measured."
    )
    return shown
