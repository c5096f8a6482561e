"""The journal against a plain Python model, driven by hypothesis."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.storage.conftest import TIMEOUT, Collector, leave_the_index_behind
from understudy.storage import (
    DuplicateEvent,
    Journal,
    NewEvent,
    StaleEpoch,
    StreamTombstoned,
    WrongExpectedSeq,
)

STREAMS = ("a", "b", "c:d")
TYPES = ("x", "y", "z")
LIMITS: dict[str, Any] = {"segment_events": 12, "checkpoint_events": 5}

streams = st.sampled_from(STREAMS)
batches = st.lists(
    st.tuples(
        st.sampled_from(TYPES),
        st.integers(-(2**63), 2**64 - 1),
        st.one_of(st.none(), st.integers(0, 40).map(lambda n: f"id-{n}")),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda event: event[2] if event[2] is not None else object(),
)


class Model:
    """What a stream is, in plain Python."""

    def __init__(self) -> None:
        self.events: list[tuple] = []  # (type, value, id, critical, position, end of batch)
        self.low = 1
        self.epoch = 0
        self.tombstone = False
        self.deleted_at = -1
        self.snapshots: dict[int, int] = {}

    @property
    def last(self) -> int:
        return len(self.events)

    def seq_of(self, event_id: str) -> int | None:
        for seq, event in enumerate(self.events, 1):
            if event[2] == event_id:
                return seq
        return None


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.journal = Journal.open(self.directory / "j", "relaxed", **LIMITS)
        self.model = {name: Model() for name in STREAMS}
        self.positions: list[tuple[str, int]] = []
        self.subscribed: list[tuple[Collector, object, int]] = []

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.directory)

    @rule(
        stream=streams,
        batch=batches,
        expectation=st.sampled_from(["any", "right", "zero", "less", "more"]),
        epoch=st.one_of(st.none(), st.integers(0, 3)),
    )
    def append(self, stream, batch, expectation, epoch):
        model = self.model[stream]
        expected = {
            "any": None, "right": model.last, "zero": 0, "less": max(model.last - 1, 0),
            "more": model.last + 1,
        }[expectation]  # fmt: skip
        new = [NewEvent(t, v, i, priority="critical" if c else "normal") for t, v, i, c in batch]
        error, place = self.expect(model, batch, expected, epoch)
        if error is not None:
            with pytest.raises(error):
                self.journal.append(stream, new, expected, epoch)
            return
        result = self.journal.append(stream, new, expected, epoch)
        if place is not None:
            assert result.duplicate
            assert (result.first_seq, result.last_seq) == (place, place + len(batch) - 1)
            assert result.position == model.events[result.last_seq - 1][4]
            return
        assert not result.duplicate
        assert result.first_seq == model.last + 1
        end = model.last + len(batch)
        for type_, value, event_id, critical in batch:
            self.positions.append((stream, model.last + 1))
            model.events.append((type_, value, event_id, critical, len(self.positions), end))
        model.epoch = max(model.epoch, epoch or 0)
        assert result.last_seq == model.last
        assert result.position == len(self.positions)

    def expect(self, model, batch, expected, epoch):
        if model.tombstone:
            return StreamTombstoned, None
        if epoch is not None and epoch < model.epoch:
            return StaleEpoch, None
        known = [None if e[2] is None else model.seq_of(e[2]) for e in batch]
        if any(seq is not None for seq in known):
            first = known[0]
            if (
                first is not None
                and known == list(range(first, first + len(batch)))
                and expected in (None, first - 1)
            ):
                return None, first
            if expected is not None and expected != model.last:
                return WrongExpectedSeq, None
            return DuplicateEvent, None
        deleted = model.deleted_at == model.last
        if expected is not None and expected != model.last and (expected or not deleted):
            return WrongExpectedSeq, None
        return None, None

    @rule(stream=streams, before=st.integers(0, 30))
    def truncate(self, stream, before):
        model = self.model[stream]
        low = max(model.low, min(before, model.last + 1))
        assert self.journal.truncate(stream, before) == low - model.low
        model.low = low

    @rule(stream=streams)
    def delete(self, stream):
        model = self.model[stream]
        if model.tombstone:
            with pytest.raises(StreamTombstoned):
                self.journal.delete(stream)
            return
        assert self.journal.delete(stream) == model.last + 1 - model.low
        model.low = model.last + 1
        if model.last:
            model.deleted_at = model.last
        model.snapshots.clear()

    @rule(stream=st.just("c:d"))
    @precondition(lambda self: len(self.positions) > 25)
    def bury(self, stream):
        model = self.model[stream]
        self.journal.delete(stream, tombstone=True)
        model.low = model.last + 1
        model.tombstone = True
        model.snapshots.clear()

    @rule(stream=streams, seq=st.integers(0, 20), state=st.integers(0, 99))
    def save_snapshot(self, stream, seq, state):
        self.journal.save_snapshot(stream, seq, state)
        self.model[stream].snapshots[seq] = state

    @rule(stream=streams, limit=st.one_of(st.none(), st.integers(0, 20)))
    def load_snapshot(self, stream, limit):
        saved = self.model[stream].snapshots
        best = max((seq for seq in saved if limit is None or seq <= limit), default=None)
        found = self.journal.load_snapshot(stream, limit)
        assert (found and (found.seq, found.state)) == (
            None if best is None else (best, saved[best])
        )

    @rule(stream=streams, low=st.integers(0, 20), high=st.integers(0, 20))
    def delete_snapshots(self, stream, low, high):
        saved = self.model[stream].snapshots
        doomed = [seq for seq in saved if low <= seq <= high]
        assert self.journal.delete_snapshots(stream, low, high) == len(doomed)
        for seq in doomed:
            del saved[seq]

    @rule()
    def checkpoint(self):
        self.journal.checkpoint()

    @rule(crash=st.booleans())
    def reopen(self, crash):
        for collector, subscription, start in self.subscribed:
            self.check_subscription(collector, subscription, start)
        self.subscribed = []
        if crash:
            leave_the_index_behind(self.journal)
        self.journal.close()
        self.journal = Journal.open(self.directory / "j", "relaxed", **LIMITS)

    @rule()
    def compact(self):
        self.journal.compact()
        for model in self.model.values():
            # A batch of which nothing can be read is gone, and its ids are forgotten.
            for seq, event in enumerate(model.events, 1):
                if event[5] < model.low:
                    model.events[seq - 1] = (*event[:2], None, *event[3:])

    @rule()
    @precondition(lambda self: len(self.subscribed) < 3)
    def subscribe(self):
        start = len(self.positions)
        collector = Collector(1 << 60)
        self.subscribed.append((collector, self.journal.subscribe(collector, after=start), start))

    def check_subscription(self, collector, subscription, start):
        wanted = len(self.positions)
        if wanted > start:
            seen = threading.Event()

            def last(record):
                if record.position == wanted:
                    seen.set()

            stream, seq = self.positions[-1]
            if seq >= self.model[stream].low:
                self.journal.subscribe(last, after=wanted - 1)
                assert seen.wait(TIMEOUT)
        subscription.cancel()
        got = [record.position for record in collector.records]
        assert got == sorted(set(got))
        visible = [
            position
            for position, (stream, seq) in enumerate(self.positions, 1)
            if position > start and seq >= self.model[stream].low
        ]
        assert set(got) <= set(range(start + 1, wanted + 1))
        assert got[: len(got)] == got
        assert not got or set(visible) & set(range(start + 1, got[-1] + 1)) <= set(got)

    @rule(
        stream=streams,
        after=st.integers(0, 25),
        until=st.one_of(st.none(), st.integers(0, 25)),
        types=st.one_of(st.none(), st.sets(st.sampled_from(TYPES))),
        priority=st.sampled_from([None, "critical", "normal"]),
        limit=st.one_of(st.none(), st.integers(0, 10)),
        reverse=st.booleans(),
    )
    def read(self, stream, after, until, types, priority, limit, reverse):
        model = self.model[stream]
        expected = [
            (seq, event[1])
            for seq, event in enumerate(model.events, 1)
            if seq >= model.low
            and seq > after
            and (until is None or seq <= until)
            and (types is None or event[0] in types)
            and (priority is None or event[3] == (priority == "critical"))
        ]
        if reverse:
            expected.reverse()
        found = self.journal.read(
            stream, after, until, types, priority=priority, limit=limit, reverse=reverse
        )
        assert [(r.seq, r.payload) for r in found] == expected[:limit]

    @rule(
        after=st.integers(0, 60),
        types=st.one_of(st.none(), st.sets(st.sampled_from(TYPES))),
        limit=st.one_of(st.none(), st.integers(0, 10)),
        reverse=st.booleans(),
    )
    def read_all(self, after, types, limit, reverse):
        expected = [
            (position, stream, seq)
            for position, (stream, seq) in enumerate(self.positions, 1)
            if position > after
            and seq >= self.model[stream].low
            and (types is None or self.model[stream].events[seq - 1][0] in types)
        ]
        if reverse:
            expected.reverse()
        found = self.journal.read_all(after, types, limit=limit, reverse=reverse)
        assert [(r.position, r.stream, r.seq) for r in found] == expected[:limit]

    @invariant()
    def heads_agree(self):
        for name, model in self.model.items():
            assert self.journal.last_seq(name) == model.last
        assert self.journal.last_position() == len(self.positions)
        assert self.journal.streams() == sorted(
            name for name, model in self.model.items() if model.last >= model.low
        )

    @rule()
    def verify(self):
        report = self.journal.verify()
        assert report.ok, report.problems


JournalMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_the_journal_agrees_with_a_plain_model = pytest.mark.slow(JournalMachine.TestCase)
