"""A system's metrics in Prometheus form: pulled when somebody looks, free while nobody does."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from understudy.actors import (
    ActorBusy,
    ActorFailed,
    DeadLetter,
    DispatcherStarved,
)
from understudy.storage import UnderstudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from understudy.actors import JournalHandle
    from understudy.supervision import ActorSystem

    Source = Callable[[], Iterable[Metric]]

PREFIX = "understudy_"

# Seconds. An append takes tens of microseconds in memory and up to tens of milliseconds on a slow
# disk; beyond a second only the fact matters.
LATENCY_BUCKETS = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
)


class Metrics:
    """The metrics of one system, in a registry of its own.

    Whatever a system counts for itself is read at the moment of a scrape, on the scraper's thread;
    only what is rare (failures, dead letters, busy actors) is listened to on the event stream. The
    path of a message or an append is not touched.

    Two systems in one process have two registries: their numbers never mix.

    Args:
        system: The system to observe. It is held weakly: metrics keep no system alive.
    """

    def __init__(self, system: ActorSystem) -> None:
        self.registry = CollectorRegistry()
        self._system = weakref.ref(system)
        self._sources: list[Source] = []
        self._events = _EventTally()
        self._subscription = system.events.subscribe(self._events, *_EventTally.TYPES)
        self._own: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.registry.register(_Sources(self._collect))

    # --- reading ---------------------------------------------------------------------------

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics as text, and its content type.

        Args:
            accept: The scraper's `Accept` header: OpenMetrics for one that asks for it; optional,
                and if absent it is the classic Prometheus text.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def values(self) -> dict[str, float]:
        """Every sample as `name{label="value"}` and its number, for JSON and for tests."""
        shown: dict[str, float] = {}
        for metric in self.registry.collect():
            for sample in metric.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                shown[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return shown

    # --- an application's own -----------------------------------------------------------------

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """A counter of the application's own in this registry; the same one for the same name."""
        made: Counter = self._make(Counter, name, documentation, labels)
        return made

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """A gauge of the application's own in this registry; the same one for the same name."""
        made: Gauge = self._make(Gauge, name, documentation, labels)
        return made

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = LATENCY_BUCKETS,
    ) -> Histogram:
        """A histogram of the application's own in this registry; the same one for one name."""
        made: Histogram = self._make(Histogram, name, documentation, labels, buckets=tuple(buckets))
        return made

    def _make(
        self, kind: Any, name: str, documentation: str, labels: Sequence[str], **options: Any
    ) -> Any:
        with self._lock:
            found = self._own.get(name)
            if found is None:
                found = kind(name, documentation, list(labels), registry=self.registry, **options)
                self._own[name] = found
            elif not isinstance(found, kind):
                msg = f"metric {name!r} is a {type(found).__name__.lower()}; take another name"
                raise ValueError(msg)
            return found

    # --- sources -------------------------------------------------------------------------------

    def add_source(self, source: Source) -> None:
        """Have `source()` asked for metric families at each scrape, on the scraper's thread.

        A source that raises spoils the scrape it is asked in, and is told to the scraper: numbers
        that are silently missing would be worse.
        """
        self._sources.append(source)

    def observe_gateway(self, traffic: Any) -> None:
        """Show a gateway's counts: connections, frames, requests, errors."""
        self.add_source(lambda: _gateway(traffic))

    def observe_sessions(self, host: Any) -> None:
        """Show a session host's counts: active sessions, open turns, effects by status."""
        self.add_source(lambda: _sessions(host))

    def close(self) -> None:
        """Stop listening to the system's events; the numbers so far stay readable."""
        self._subscription.cancel()

    def _collect(self) -> Iterator[Metric]:
        system = self._system()
        if system is not None:
            yield from _system(system)
            yield from _journal(system.journal)
        yield from self._events.families()
        for source in list(self._sources):
            yield from source()


class _Sources(Collector):
    """What the registry knows of us: one collector that asks all sources."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        """Every family, now."""
        return self._collect()

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering shall not ask a system that may still be starting."""
        return []


class _EventTally:
    """Counts rare events by kind. Called on the thread that publishes them."""

    TYPES = (ActorFailed, ActorBusy, DispatcherStarved, DeadLetter)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # What has not happened yet is shown as 0: an alert on a rate needs a first value.
        self._counts = {ActorBusy: 0, DispatcherStarved: 0}
        self._letters = {"dead": 0}
        self._phases = {"receive": 0}

    def __call__(self, event: Any) -> None:
        with self._lock:
            if isinstance(event, DeadLetter):
                self._letters[event.reason] = self._letters.get(event.reason, 0) + 1
            elif isinstance(event, ActorFailed):
                self._phases[event.phase] = self._phases.get(event.phase, 0) + 1
            else:
                self._counts[type(event)] += 1

    def families(self) -> Iterator[Metric]:
        with self._lock:
            counts, letters, phases = dict(self._counts), dict(self._letters), dict(self._phases)
        yield _counter("busy", "Actors reported as computing for too long.", counts[ActorBusy])
        yield _counter(
            "starved", "Times messages waited and no thread was free.", counts[DispatcherStarved]
        )
        yield _by("failures_by_phase", "Failures by where they happened.", "phase", phases)
        yield _by("dead_letters_by_reason", "Dead letters by reason.", "reason", letters)


def _counter(name: str, documentation: str, value: Any) -> Metric:
    return CounterMetricFamily(PREFIX + name, documentation, value=float(value))


def _gauge(name: str, documentation: str, value: Any) -> Metric:
    return GaugeMetricFamily(PREFIX + name, documentation, value=float(value))


def _by(name: str, documentation: str, label: str, values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, documentation, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([str(key)], float(value))
    found: Metric = family
    return found


def _system(system: ActorSystem) -> Iterator[Metric]:
    stats = system.stats()
    yield _counter("messages", "Messages handled by actors.", stats.messages)
    yield _counter("failures", "Failures of actors that supervisors judged.", stats.failures)
    yield _counter("restarts", "Incarnations that took the place of another.", stats.restarts)
    yield _counter("dead_letters", "Messages that reached nobody.", stats.dead_letters)
    yield _counter(
        "refused",
        "What replaced incarnations still tried to do: replies, sends, appends.",
        stats.refused,
    )
    yield _counter("frozen", "Actors the failure detector found frozen.", stats.frozen)
    yield _counter(
        "detector_late_sweeps", "Sweeps that came late and judged nobody.", stats.late_sweeps
    )
    yield _gauge("actors", "Actors alive now.", stats.actors)
    yield _gauge("threads", "Threads of the system's dispatchers.", stats.threads)
    yield _gauge(
        "zombie_threads", "Threads of replaced incarnations still held up.", stats.zombie_threads
    )
    yield _gauge("uptime_seconds", "Seconds since the system started.", system.uptime)
    # Less than a microsecond for each actor, and only when somebody asks.
    refs = list(system.runtime.paths.values())
    depths = [ref.mailbox_depth() for ref in refs]
    yield _gauge("mailbox_messages", "Messages waiting in all mailboxes.", sum(depths))
    yield _gauge(
        "mailbox_deepest", "Messages waiting in the fullest mailbox.", max(depths, default=0)
    )
    waiting = (ref for ref, depth in zip(refs, depths, strict=True) if depth)
    ages = (ref.mailbox_statistics().oldest_age for ref in waiting)
    yield _gauge(
        "mailbox_oldest_seconds",
        "Seconds the longest waiting message has waited.",
        max((age for age in ages if age is not None), default=0.0),
    )
    dispatchers = system.runtime.stats().dispatchers
    for name, documentation in (
        ("threads", "Threads of a dispatcher."),
        ("running", "Handlers at work on a dispatcher."),
        ("queued", "Actors with messages that wait for a thread of a dispatcher."),
    ):
        family = GaugeMetricFamily(
            f"{PREFIX}dispatcher_{name}", documentation, labels=["dispatcher"]
        )
        for key, counts in sorted(dispatchers.items()):
            family.add_metric([key], float(counts.get(name, 0)))
        yield family


def _journal(handle: JournalHandle) -> Iterator[Metric]:
    try:
        # Not through the handle itself: it would wait for a journal that is being reopened, and a
        # scrape shall not.
        journal = handle.current(timeout=0) if handle.attached else None
        stats = journal.stats() if journal is not None else None
        effects = journal.outbox.counts() if journal is not None else {}
    except UnderstudyError:
        stats, effects = None, {}
    yield _gauge("journal_up", "Whether the journal is open.", stats is not None)
    if stats is None:
        return
    family = GaugeMetricFamily(
        PREFIX + "effects", "Effects in the outbox by status.", labels=["status"]
    )
    for status, count in sorted(effects.items()):
        family.add_metric([status], count)
    yield family
    yield _counter("appends", "Events appended to the journal.", stats.events_written)
    yield _counter("commits", "Transactions of the journal.", stats.commits)
    yield _counter("append_failures", "Writes the storage refused.", stats.failed_writes)
    yield _counter("events_read", "Records handed to readers.", stats.events_queried)
    yield HistogramMetricFamily(
        PREFIX + "append_latency_seconds",
        "From submitting a write until it is safe at the journal's level.",
        buckets=_cumulative(stats.latency_buckets),
        sum_value=stats.latency_sum,
    )
    yield _gauge("journal_position", "Position of the last safe event.", stats.last_position)
    yield _gauge("journal_streams", "Streams with at least one event.", stats.total_streams)
    yield _gauge("journal_bytes", "Bytes of the journal's file.", stats.size_bytes)
    yield _gauge("journal_map_bytes", "Bytes the journal may grow to.", stats.map_size)
    yield _gauge("journal_readers", "Read transactions open now.", stats.readers)


def _cumulative(fine: Iterable[tuple[float, int]]) -> list[tuple[str, float]]:
    """The journal's fine buckets as the few cumulative ones that Prometheus is given.

    A fine bucket goes where its upper bound does: a latency may be shown up to a quarter too high
    and never too low.
    """
    pairs = sorted(fine)
    shown: list[tuple[str, float]] = []
    for bound in LATENCY_BUCKETS:
        within = sum(count for upper, count in pairs if upper <= bound * 1.000001)
        shown.append((repr(bound), within))
    shown.append(("+Inf", sum(count for _, count in pairs)))
    return shown


def _sessions(host: Any) -> Iterator[Metric]:
    yield _gauge("sessions_active", "Sessions in memory now.", host.active)
    yield _gauge("turns_open", "Turns without a closing frame.", host.open_turns)


def _gateway(traffic: Any) -> Iterator[Metric]:
    yield _gauge("gateway_connections", "Connections open now.", traffic.connections)
    yield _counter("gateway_connections_opened", "Connections opened.", traffic.connections_total)
    frames = CounterMetricFamily(
        PREFIX + "gateway_frames", "Frames by direction.", labels=["direction"]
    )
    frames.add_metric(["in"], traffic.frames_in)
    frames.add_metric(["out"], traffic.frames_out)
    yield frames
    requests = CounterMetricFamily(
        PREFIX + "gateway_requests", "HTTP requests answered.", labels=["method", "status"]
    )
    for (method, status), count in sorted(traffic.requests.items()):
        requests.add_metric([method, str(status)], count)
    yield requests
    yield _by("gateway_errors", "Errors told to clients, by code.", "code", traffic.errors)
