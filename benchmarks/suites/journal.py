"""The journal suite: what durability costs, beside a raw file and other stores."""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from understudy.benchmarks._scenario import Metric, Scenario, declare
from understudy.benchmarks.peers.actors import Kit, overhead
from understudy.benchmarks.peers.stores import STREAM, Store, events, store

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.benchmarks._bench import Bench

LIMIT = 60.0
OURS = "understudy"
OTHERS = ("sqlite", "eventsourcing", "rocksdict", "postgres", "redis", "file")
BLOCK = 1_000


def _journal(key: str, title: str, doc: str, **options: Any) -> Scenario:
    options = {"unit": "event", "pinned": False, **options}
    return declare("journal", key, title, doc=doc, **options)


# -- appending --


def _appending(batch: int, size: int, *more: str, doc: str) -> Scenario:
    """Appends in batches of one size; items are events."""
    title = f"durable append, {batch:,} at a time" if batch > 1 else "durable append, one at a time"
    item = _journal(f"append_{batch}", title, doc, size=size, quick=max(batch, size // 5))

    @item.on(OURS, "pipelined", "raw", *OTHERS, *more)
    def body(bench: Bench) -> None:
        place = store(bench.peer, bench.directory)
        batches = [events(batch, i * batch) for i in range(max(1, bench.size // batch))]
        with bench.measure(items=batch * len(batches)):
            for each in batches:
                place.append(each)
            place.flush()
        place.close()

    return item


APPEND_1 = _appending(
    1, 400, "relaxed", doc="Each event is on the disk before the next one is appended: what a "
    "single writer that waits for every event sees. The disk decides, not the library.",
)  # fmt: skip
APPEND_10 = _appending(10, 3_000, doc="Ten events in one transaction.")
APPEND_100 = _appending(100, 20_000, doc="A hundred events in one transaction: group commit.")
APPEND_1000 = _appending(
    1_000, 60_000, "eventsourcing-app",
    doc="A thousand events in one transaction: now the library decides, not the disk.",
)  # fmt: skip


def _in_turns(
    bench: Bench, ours: Callable[[], object], other: Callable[[], object], turns: int = 20
) -> None:
    """Run two things in turns in one process; the figure is the median quotient of their times.

    A disk that others write to takes 0.1 ms for a flush at one moment and 5 ms at the next: what
    is not measured side by side cannot be compared. The first turn of each warms up.
    """
    clock, quotients = time.perf_counter, []
    for turn in range(turns + 1):
        took = {}
        # Whoever goes first changes, so that a slow moment meets both alike.
        for call in (ours, other) if turn % 2 else (other, ours):
            begun = clock()
            call()
            took[call] = clock() - begun
        if turn:
            quotients.append(took[ours] / took[other])
    bench.result(statistics.median(quotients))
    bench.note(low=min(quotients), high=max(quotients))


def _beside_raw(batch: int) -> Scenario:
    """Appends of one size beside the raw file, in turns; appends a turn are `size`."""
    item = _journal(
        f"beside_raw_{batch}",
        f"durable append, {batch} at a time, beside the raw file",
        "What an append costs as a share of the raw file's: the same bytes of msgpack at the end "
        "of a file, one fdatasync a batch. Both in one process, fifty batches of the one, then "
        "fifty of the other, so that the same disk is measured. `sync` waits for each commit, "
        "which is one flush up to about 3 KB and two above; `pipelined` makes the next "
        "events while a commit is under way, and never has two waiting, which would share one: one "
        "flush for each batch, as the raw file has. Batches of a hundred are submitted one ahead.",
        size=50, quick=20, metric=Metric.SHARE, warm=False,
    )  # fmt: skip

    @item.on(OURS, "pipelined")
    def body(bench: Bench) -> None:
        ours = store(bench.peer, os.path.join(bench.directory, "ours"))
        raw = store("raw", os.path.join(bench.directory, "raw"))
        batches = [events(batch, i * batch) for i in range(bench.size)]

        def appending(place: Store) -> Callable[[], object]:
            def run() -> None:
                for each in batches:
                    place.append(each)
                place.flush()

            return run

        _in_turns(bench, appending(ours), appending(raw))
        ours.close()
        raw.close()

    return item


BESIDE_RAW_1 = _beside_raw(1)
BESIDE_RAW_10 = _beside_raw(10)
BESIDE_RAW_100 = _beside_raw(100)

ACTORS = _journal(
    "actors", "100 persistent actors at once", size=5_000, quick=1_000,
    doc="Each of a hundred persistent actors persists one event and answers once it is safe; "
    "beside it the journal alone, with the same hundred events in one transaction.",
)  # fmt: skip


@ACTORS.on("synchronous")
def one_write(bench: Bench) -> None:
    """A hundred streams, one event each, in one transaction."""
    from understudy.storage import Append, Journal, NewEvent, Write

    journal: Any = Journal.open(os.path.join(bench.directory, "journal"))
    turns = max(1, bench.size // 100)
    with bench.measure(items=100 * turns):
        for turn in range(turns):
            news = (NewEvent("bench.moved", {"amount": turn}),)
            journal.write(Write(appends=tuple(Append(f"account:{i}", news) for i in range(100))))
    journal.close()


@ACTORS.on(OURS)
def actors(bench: Bench) -> None:
    """A hundred actors, asked all at once, turn after turn."""
    from understudy.supervision import ActorSystem

    cls = account()
    system: Any = ActorSystem("bench", data_dir=bench.directory)
    refs = [system.spawn(cls, persistence_id=f"account:{i}") for i in range(100)]
    turns = max(1, bench.size // 100)
    with bench.measure(items=100 * turns):
        for turn in range(turns):
            for future in [ref.ask(turn, block=False) for ref in refs]:
                future.get(timeout=LIMIT)
    system.stop(timeout=LIMIT)


@functools.cache
def account() -> Any:
    """A persistent actor class whose every message is one event."""
    from dataclasses import dataclass

    from understudy.actors import PersistentActor
    from understudy.storage import event

    @event("bench.moved", version=1)
    @dataclass(frozen=True)
    class Moved:
        amount: int

    class Account(PersistentActor):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0
            self.texts: list[str] = []

        def apply(self, event: Moved) -> None:
            del event
            self.count += 1

        def on_receive(self, message: Any) -> int:
            if message is not None:
                self.persist(Moved(message))
            return self.count

        def snapshot(self) -> Any:
            return {"count": self.count, "texts": self.texts}

        def restore(self, state: Any) -> None:
            self.count, self.texts = state["count"], state["texts"]

    # The annotation above names a local class; the codec wants the class itself.
    Account.apply.__annotations__["event"] = Moved
    return Account


# -- reading --


def _filled(bench: Bench, peer: str | None = None, *, count: int | None = None) -> Store:
    """A store with so many events, appended a thousand at a time, not timed."""
    place = store(peer or bench.peer, bench.directory)
    count = bench.size if count is None else count
    for start in range(0, count, BLOCK):
        place.append(events(min(BLOCK, count - start), start))
    place.flush()
    return place


REPLAY = _journal(
    "replay", "replay of the whole log, payloads left alone", size=100_000,
    doc="All events in the order of their commits, with their envelopes; payloads are decoded "
    "only when somebody looks. What a projection that filters by type pays.",
)  # fmt: skip
REPLAY_DECODED = _journal(
    "replay_decoded", "replay of the whole log, payloads decoded", size=50_000,
    doc="The same with every payload decoded: what a projection that uses all events pays.",
)  # fmt: skip
READERS = (OURS, "eventsourcing", "eventsourcing-app", "sqlite", "rocksdict", "raw")


@REPLAY.on(*READERS)
def replay(bench: Bench) -> None:
    """Read them all."""
    _replay(bench, decode=False)


@REPLAY_DECODED.on(*READERS, "file")
def replay_decoded(bench: Bench) -> None:
    """Read and decode them all."""
    _replay(bench, decode=True)


REPLAY_SINGLE = _journal(
    "replay_single", "replay of the whole log, one event a row", size=50_000,
    doc="The first of these where each event was appended by itself, by one of a hundred streams: "
    "each is a row of its own, with its own envelope and checksum. What a journal of many "
    "persistent actors looks like.",
)  # fmt: skip


@REPLAY_SINGLE.on(OURS)
def replay_single(bench: Bench) -> None:
    """Read them all."""
    from understudy.storage import Append, NewEvent, Write

    place: Any = store(bench.peer, bench.directory)
    for start in range(0, bench.size, BLOCK):
        news = [NewEvent("moved", data) for data in events(min(BLOCK, bench.size - start), start)]
        place.journal.write(
            Write(appends=[Append(f"account:{i % 100}", (new,)) for i, new in enumerate(news)])
        )
    with bench.measure():
        count = place.replay(decode=False)
    bench.check(count == bench.size, f"{count} events came back of {bench.size}")
    place.close()


def _replay(bench: Bench, *, decode: bool) -> None:
    place = _filled(bench)
    with bench.measure():
        count = place.replay(decode=decode)
    bench.check(count == bench.size, f"{count} events came back of {bench.size}")
    place.close()


STREAM_READ = _journal(
    "stream", "one stream of 100,000 events", size=100_000,
    doc="One stream read by itself, as an actor without a snapshot does when it recovers.",
)  # fmt: skip


@STREAM_READ.on(OURS)
def stream(bench: Bench) -> None:
    """Read one stream among others' events."""
    place: Any = _filled(bench)
    with bench.measure():
        count = sum(1 for _ in place.journal.read(STREAM))
    bench.check(count == bench.size, f"{count} events came back of {bench.size}")
    place.close()


DISK = _journal(
    "disk", "bytes on disk for an event", size=100_000, metric=Metric.BYTES, warm=False, rounds=1,
    doc="What the file takes for an event of 120 bytes of msgpack, all indexes included.",
)  # fmt: skip


@DISK.on(OURS, "raw", "sqlite", "eventsourcing", "rocksdict", "file", "postgres")
def disk(bench: Bench) -> None:
    """After a clean close where the store lies in the directory."""
    place = _filled(bench)
    used = place.disk()
    place.close()
    if bench.peer == OURS:
        used = place.disk()
    bench.external(items=bench.size, rss=used)


# -- opening --

_WRITER = """
import os, sys
from understudy.benchmarks.peers.stores import events, store
place = store("understudy", sys.argv[1])
count = int(sys.argv[2])
for start in range(0, count, 1000):
    place.append(events(min(1000, count - start), start))
os._exit(0)
"""

RECOVERY = _journal(
    "recovery", "opening after a crash, 50,000 events unindexed", size=49_000, quick=10_000,
    metric=Metric.SECONDS, warm=False, rounds=3,
    doc="A writer dies without closing; how long until the journal can be used again.",
)  # fmt: skip


@RECOVERY.on(OURS)
def recovery(bench: Bench) -> None:
    """Open what a process left behind that ended without a goodbye."""
    from understudy.storage import Journal

    subprocess.run(
        [sys.executable, "-c", _WRITER, bench.directory, str(bench.size)],
        check=True, timeout=LIMIT, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with bench.measure(items=1):
        journal: Any = Journal.open(os.path.join(bench.directory, "journal"))
        last = journal.last_seq(STREAM)
    bench.check(last == bench.size, f"{last} of {bench.size} events are there after the crash")
    journal.close()


# -- making room --

SEGMENT = 250_000

DROP = _journal(
    "drop_segment", "dropping a segment of 250,000 events", size=SEGMENT, quick=SEGMENT,
    metric=Metric.SECONDS, warm=False, rounds=1,
    doc="Retention takes the oldest 250,000 events out without archiving them: the whole call, "
    "with its look at what is still needed.",
)  # fmt: skip
CHURN = _journal(
    "churn", "file after churn beside what lives in it", unit="segment", size=4, quick=2,
    metric=Metric.SHARE, warm=False, rounds=1, limit=120.0,
    doc="Four segments live; so many times another is filled and the oldest dropped. The file at "
    "the end as a multiple of the file of the first four: LMDB's file never shrinks, so that what "
    "was freed must be used again.",
)  # fmt: skip
LIVE = 4


def _segments(place: Any, count: int) -> None:
    for start in range(0, count * SEGMENT, BLOCK):
        place.append(events(BLOCK, start))


@DROP.on(OURS)
def drop_segment(bench: Bench) -> None:
    """Fill one segment and a little of the next, then keep the little."""
    place: Any = store("relaxed", bench.directory)
    _segments(place, 1)
    place.append(events(BLOCK))
    with bench.measure(items=1):
        report = place.journal.retain(max_events=BLOCK, archive=False, force=True)
    bench.note(dropped=report.dropped_events, segments=report.dropped_segments)
    bench.check(report.dropped_segments >= 1, "no segment was dropped")
    place.close()


@CHURN.on(OURS)
def churn(bench: Bench) -> None:
    """Fill, then fill and drop in turns."""
    place: Any = store("relaxed", bench.directory)
    _segments(place, LIVE)
    once = place.disk()
    for _ in range(bench.size):
        _segments(place, 1)
        place.journal.retain(max_events=LIVE * SEGMENT, archive=False, force=True)
    place.close()
    bench.result(place.disk() / once)
    bench.note(live=once, file=place.disk())


OBSERVED = _journal(
    "observed_append", "what metrics add to an append", size=20, metric=Metric.SHARE, warm=False,
    doc="CPU time of a hundred events in a transaction, metrics on against metrics off, in turns "
    "in one process.",
)  # fmt: skip


@OBSERVED.on(OURS)
def observed_append(bench: Bench) -> None:
    """Append through the journals of two systems."""
    from understudy.storage import NewEvent

    def prepare(kit: Kit) -> Callable[[], object]:
        journal = kit.system.journal
        batch = events(100)

        def run() -> None:
            for _ in range(bench.size):
                journal.append(STREAM, [NewEvent("moved", data) for data in batch])

        return run

    overhead(bench, prepare, directory=bench.directory)


# -- side by side --

CONCURRENT = _journal(
    "concurrent", "100 readers beside 100 writers", size=1_000, quick=300, unit="operation",
    warm=False, rounds=2,
    doc="A hundred threads append, each to its own stream and each waiting for the disk, while a "
    "hundred others read as often; the time is that of one append or read.",
)  # fmt: skip


@CONCURRENT.on(OURS)
def concurrent(bench: Bench) -> None:
    """Threads without actors."""
    from understudy.storage import Journal, NewEvent

    journal: Any = Journal.open(os.path.join(bench.directory, "journal"))
    each = max(1, bench.size // 100)
    read: list[int] = []

    def writing(name: str) -> None:
        for i in range(each):
            journal.append(name, [NewEvent("moved", {"amount": i})], expected_seq=i)

    def reading(name: str) -> None:
        count = 0
        for _ in range(each):
            count = sum(1 for _ in journal.read(name))
        read.append(count)

    names = [f"account:{i}" for i in range(100)]
    writers = [threading.Thread(target=writing, args=(name,)) for name in names]
    readers = [threading.Thread(target=reading, args=(name,)) for name in names]
    with bench.measure(items=200 * each):
        for pair in zip(readers, writers, strict=True):
            for thread in pair:
                thread.start()
        for thread in readers + writers:
            thread.join(LIMIT)
    bench.check(len(read) == 100, "a reader got stuck")
    bench.check(all(journal.last_seq(name) == each for name in names), "an append was lost")
    journal.close()


# -- scale --

SCALE = _journal(
    "scale", "a thousand to a million events", points=(1_000, 10_000, 100_000, 1_000_000),
    warm=False, rounds=1, limit=120.0,
    doc="Cost of an append (a thousand at a time), of replay and of opening, per event, as the "
    "journal grows.",
)  # fmt: skip


@SCALE.on(OURS)
def scale(bench: Bench) -> None:
    """Append, close, open, replay."""
    clock, series, n = time.perf_counter, {}, bench.size
    place: Any = store(bench.peer, bench.directory)
    begun = clock()
    for start in range(0, n, BLOCK):
        place.append(events(BLOCK, start))
    series["append"] = (clock() - begun) / n
    place.close()
    from understudy.storage import Journal

    begun = clock()
    place.journal = Journal.open(os.path.join(bench.directory, "journal"))
    series["open"] = (clock() - begun) / n
    begun = clock()
    bench.check(place.replay(decode=False) == n, "events are missing")
    series["replay"] = (clock() - begun) / n
    place.close()
    bench.result(series["append"])
    bench.note(series=series)


STREAMS = _journal(
    "streams", "a thousand to a million streams", unit="stream",
    points=(1_000, 10_000, 100_000, 1_000_000), warm=False, rounds=1, limit=180.0,
    doc="One event in each of so many streams, a thousand streams to a transaction.",
)  # fmt: skip


@STREAMS.on(OURS)
def streams(bench: Bench) -> None:
    """One event each."""
    from understudy.storage import Append, Journal, NewEvent, Write

    journal: Any = Journal.open(os.path.join(bench.directory, "journal"))
    news = (NewEvent("bench.moved", {"amount": 1}),)
    with bench.measure():
        for start in range(0, bench.size, BLOCK):
            journal.write(
                Write(appends=tuple(Append(f"s:{start + i}", news) for i in range(BLOCK)))
            )
    journal.close()
