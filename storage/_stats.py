"""What the journal counts of itself."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from understudy.storage._future import CommitFuture

if TYPE_CHECKING:
    from understudy.storage._core import Core
    from understudy.storage._feed import Feed
    from understudy.storage._reader import Reader

#: Upper bounds of the latency buckets in seconds: from 10 µs to about 40 s, a quarter each.
BOUNDS = tuple(1e-5 * 1.25**n for n in range(69))


class Meter:
    """Counters of a journal. Written by one thread (reads of records by many, not exactly)."""

    def __init__(self) -> None:
        self.events = 0
        self.commits = 0
        self.works = 0
        self.failures = 0
        self.listener_errors = 0
        self.commit_seconds = 0.0
        self.latency_sum = 0.0
        self.latency_count = 0
        self.buckets = [0] * (len(BOUNDS) + 1)

    def commit(self, events: int, works: int, seconds: float) -> None:
        """Count a commit."""
        self.events += events
        self.works += works
        self.commits += 1
        self.commit_seconds += seconds

    def latency(self, seconds: float) -> None:
        """Count the time from submit to safe of one write."""
        self.latency_sum += seconds
        self.latency_count += 1
        self.buckets[bisect_left(BOUNDS, seconds)] += 1

    def quantile(self, share: float) -> float:
        """The latency in seconds that this share of writes did not exceed, to a quarter."""
        wanted = share * self.latency_count
        seen = 0
        for bound, count in zip((*BOUNDS, BOUNDS[-1]), self.buckets, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class JournalStats:
    """How much a journal holds and how it fares, at one moment. Counters start at its opening.

    Attributes:
        events_written: events committed since it was opened.
        events_queried: records handed to readers since then.
        avg_write_latency_ms: mean milliseconds from submit to safe.
        p95_write_latency_ms: what 95 % of writes did not exceed, to a quarter.
        total_events: events in the log now.
        total_streams: streams with at least one event that can be read.
        last_position: position of the last acknowledged event.
        first_position: position of the oldest event in the log, 0 where there is none.
        commits: transactions since it was opened.
        writes: appends and other writes since then; several share a commit.
        failed_writes: writes that a full disk or another fault of the storage refused.
        commit_seconds: seconds spent in transactions.
        latency_buckets: (upper bound in seconds, count) pairs, not cumulative.
        latency_sum: seconds, over all writes.
        segments: stretches of the log.
        tail_events: events since the last checkpoint, indexed in memory.
        snapshots: saved snapshots.
        effects: rows of the outbox, whatever their status.
        keys: key-value rows, expired ones included until they are purged.
        size_bytes: bytes of the file.
        map_size: bytes of address space.
        readers: read transactions open now, in all processes.
        subscriptions: live subscriptions.
        durability: sync, pipelined or relaxed.
        path: the directory.
        schema: layout number.
        generation: how often the journal has been opened for writing.
        callback_errors: exceptions out of callbacks and listeners.
    """

    events_written: int
    events_queried: int
    avg_write_latency_ms: float
    p95_write_latency_ms: float
    total_events: int
    total_streams: int
    last_position: int
    first_position: int
    commits: int
    writes: int
    failed_writes: int
    commit_seconds: float
    latency_buckets: tuple[tuple[float, int], ...]
    latency_sum: float
    segments: int
    tail_events: int
    snapshots: int
    effects: int
    keys: int
    size_bytes: int
    map_size: int
    readers: int
    subscriptions: int
    durability: str
    path: str
    schema: int
    generation: int
    callback_errors: int

    def to_dict(self) -> dict[str, Any]:
        """All figures by name."""
        return dataclasses.asdict(self)

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)


def collect(core: Core, reader: Reader, feed: Feed) -> JournalStats:
    """The figures of a journal now."""
    env = core.environment
    meter = core.meter
    with env.reading() as txn:
        view = core.catalog.view
        streams = sum(head.visible >= head.low for _, head in core.catalog.names(txn))
        entries = {
            name: txn.stat(env.databases[name])["entries"]
            for name in ("snapshots", "outbox", "state")
        }
    info = env.info()
    size = (info["last_pgno"] + 1) * env.page_size()
    return JournalStats(
        events_written=meter.events,
        events_queried=reader.queried,
        avg_write_latency_ms=(
            1000 * meter.latency_sum / meter.latency_count if meter.latency_count else 0.0
        ),
        p95_write_latency_ms=1000 * meter.quantile(0.95),
        total_events=sum(segment.events for segment in view.segments),
        total_streams=streams,
        last_position=view.position,
        first_position=next((s.first for s in view.segments if s.events), 0),
        commits=meter.commits,
        writes=meter.works,
        failed_writes=meter.failures,
        commit_seconds=meter.commit_seconds,
        latency_buckets=tuple(zip((*BOUNDS, float("inf")), meter.buckets, strict=True)),
        latency_sum=meter.latency_sum,
        segments=len(view.segments),
        tail_events=view.tail.events,
        snapshots=entries["snapshots"],
        effects=entries["outbox"],
        keys=entries["state"],
        size_bytes=size,
        map_size=info["map_size"],
        readers=info["num_readers"],
        subscriptions=len(feed),
        durability=core.durability,
        path=env.path,
        schema=core.schema,
        generation=core.generation,
        callback_errors=CommitFuture.callback_errors + meter.listener_errors + feed.errors,
    )
