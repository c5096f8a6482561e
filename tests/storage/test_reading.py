"""Reading by stream, type, topic, priority and time, in both directions, over many segments."""

from __future__ import annotations

import datetime as dt
import pickle
import random
from typing import Any

import pytest

from tests.storage.conftest import events, seqs
from understudy.storage import Journal, NewEvent, Priority, Record


def at(clock_start: float, seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(clock_start + seconds, dt.UTC)


@pytest.fixture(params=["in the tail", "checkpointed", "in many segments", "reopened"])
def filled(request, path, clock):
    """200 commits of 1 to 4 events over 7 streams, and the records as plain tuples."""
    limits: dict[str, Any] = {"segment_events": 60, "checkpoint_events": 25}
    limits = limits if request.param in ("in many segments", "reopened") else {}
    journal = Journal.open(path, "relaxed", clock=clock, **limits)
    shuffled = random.Random(7)
    expected = []
    seq: dict[str, int] = {}
    position = 0
    for _ in range(200):
        stream = f"s{shuffled.randrange(7)}"
        batch = []
        for _ in range(shuffled.randrange(1, 5)):
            type_ = f"t{shuffled.randrange(4)}"
            topics = tuple(t for t in ("a", "b") if shuffled.random() < 0.2)
            priority: Priority = "critical" if shuffled.random() < 0.2 else "normal"
            position += 1
            seq[stream] = seq.get(stream, 0) + 1
            expected.append((position, stream, seq[stream], type_, topics, priority, clock.now))
            batch.append(NewEvent(type_, position, topics=topics, priority=priority))
        journal.append(stream, batch)
        clock.advance(10)
    if request.param == "checkpointed":
        journal.checkpoint()
    if request.param == "reopened":
        journal.close()
        journal = Journal.open(path, "relaxed", clock=clock, **limits)
    yield journal, expected
    journal.close()


START = 1_700_000_000.0

FILTERS = [
    ({}, lambda e: True),
    ({"types": "t1"}, lambda e: e[3] == "t1"),
    ({"types": ["t1", "t3", "t9"]}, lambda e: e[3] in ("t1", "t3")),
    ({"types": []}, lambda e: False),
    ({"types": "t9"}, lambda e: False),
    ({"topics": "a"}, lambda e: "a" in e[4]),
    ({"topics": {"a", "b"}}, lambda e: e[4]),
    ({"priority": "critical"}, lambda e: e[5] == "critical"),
    ({"priority": "normal"}, lambda e: e[5] == "normal"),
    ({"priority": "all"}, lambda e: True),
    ({"since": at(START, 500)}, lambda e: e[6] >= START + 500),
    ({"until": at(START, 505)}, lambda e: e[6] < START + 505),
    ({"until": at(START, 500)}, lambda e: e[6] < START + 500),
    (
        {"since": at(START, 300), "until": at(START, 1700)},
        lambda e: START + 300 <= e[6] < START + 1700,
    ),
    ({"since": at(START, 99999)}, lambda e: False),
    ({"until": at(START, 0)}, lambda e: False),
    (
        {"types": "t2", "priority": "critical", "since": at(START, 100)},
        lambda e: e[3] == "t2" and e[5] == "critical" and e[6] >= START + 100,
    ),
]


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_filters_agree_with_a_plain_list(filled, number):
    journal, expected = filled
    arguments, wanted = FILTERS[number]
    chosen = [e for e in expected if wanted(e)]
    found = [(r.position, r.stream, r.seq, r.type) for r in journal.read_all(**arguments)]
    assert found == [e[:4] for e in chosen]
    backwards = [r.position for r in journal.read_all(**arguments, reverse=True)]
    assert backwards == [e[0] for e in reversed(chosen)]
    for after in (0, 100, 333, 10_000):
        rest = [e[0] for e in chosen if e[0] > after]
        assert [r.position for r in journal.read_all(after, **arguments)] == rest
        assert [r.position for r in journal.read_all(after, limit=3, **arguments)] == rest[:3]
        last = [r.position for r in journal.read_all(after, limit=3, reverse=True, **arguments)]
        assert last == rest[::-1][:3]
        until = [r.position for r in journal.read_all(after, until_position=400, **arguments)]
        assert until == [p for p in rest if p <= 400]
    for stream in ("s0", "s3", "s6", "none"):
        own = [e for e in chosen if e[1] == stream]
        assert seqs(journal.read(stream, **arguments)) == [e[2] for e in own]
        assert seqs(journal.read(stream, reverse=True, **arguments)) == [e[2] for e in own[::-1]]
        assert (
            seqs(journal.read(stream, after=5, until_seq=20, limit=4, **arguments))
            == [e[2] for e in own if 5 < e[2] <= 20][:4]
        )


def test_payloads_and_times_belong_to_their_records(filled):
    journal, expected = filled
    for record, fact in zip(journal.read_all(), expected, strict=True):
        assert record.payload == fact[0]
        assert record.timestamp.timestamp() == fact[6]
        assert record.topics == fact[4]
        assert record.priority == fact[5]
    assert journal.verify().ok


def test_a_record_is_found_by_its_position(filled):
    journal, expected = filled
    for position, stream, seq, *_ in expected[::17]:
        record = journal.record_at(position)
        assert (record.stream, record.seq) == (stream, seq)
    assert journal.record_at(0) is None
    assert journal.record_at(len(expected) + 1) is None


def test_streams_are_listed_by_name_and_prefix(filled):
    journal, _ = filled
    assert journal.streams() == [f"s{n}" for n in range(7)]
    assert journal.streams("s3") == ["s3"]
    assert journal.streams("x") == []


def test_a_read_crosses_many_batches(journal):
    for n in range(30):
        journal.append("s", events(100, start=100 * n))
        journal.append("t", events(1))
    assert [r.payload["n"] for r in journal.read("s")] == list(range(3000))
    assert [r.payload["n"] for r in journal.read("s", reverse=True)] == list(range(2999, -1, -1))
    assert [r.position for r in journal.read_all()] == list(range(1, 3031))
    assert [r.position for r in journal.read_all(reverse=True)] == list(range(3030, 0, -1))
    assert seqs(journal.read("s", after=1500, limit=1201)) == list(range(1501, 2702))


def test_an_iterator_sees_what_is_appended_behind_it(journal):
    journal.append("s", events(1500))
    records = journal.read("s")
    first = [next(records) for _ in range(10)]
    journal.append("s", events(10))
    assert seqs([*first, *records]) == list(range(1, 1511))


@pytest.mark.parametrize(
    "arguments",
    [{"after": -1}, {"limit": -1}, {"priority": "urgent"}, {"since": dt.datetime(2024, 1, 1)}],
)
def test_senseless_bounds_are_refused_at_once(journal, arguments):
    with pytest.raises(ValueError):
        journal.read("s", **arguments)
    with pytest.raises(ValueError):
        journal.read_all(**arguments)


def test_reading_an_empty_journal_finds_nothing(journal):
    assert list(journal.read("s")) == []
    assert list(journal.read_all()) == []
    assert list(journal.read_all(reverse=True)) == []
    assert list(journal.read_all(since=at(START, 0), types="x")) == []
    assert journal.streams() == []
    assert journal.last_position() == 0
    assert journal.verify().ok


def test_records_compare_show_and_pickle_by_their_fields(journal):
    journal.append("s", [NewEvent("x", {"a": 1}, "id-1", {"m": 2}, "critical", ("t",), 3)])
    [one] = journal.read("s")
    [two] = journal.read_all()
    assert one == two
    assert one != "something else"
    assert pickle.loads(pickle.dumps(one)) == one
    assert "seq=1" in repr(one)
    assert one.to_dict()["payload"] == {"a": 1}
    assert one.payload_bytes
    assert one.payload is one.payload
    made = Record.of(
        position=1, stream="s", seq=1, type="x", timestamp=one.timestamp, id="id-1",
        payload={"a": 1}, metadata={"m": 2}, priority="critical", topics=["t"], version=3,
    )  # fmt: skip
    assert made == one
    with pytest.raises(TypeError):
        hash(one)


def test_metadata_can_be_asked_before_the_payload(journal):
    journal.append("s", [NewEvent("x", 1, metadata={"m": 2})])
    assert next(journal.read("s")).metadata == {"m": 2}


def test_one_event_of_a_long_row_is_found_from_both_ends(journal):
    journal.append("s", events(250))
    assert seqs(journal.read("s", after=100, until_seq=102)) == [101, 102]
    assert seqs(journal.read("s", after=100, until_seq=102, reverse=True)) == [102, 101]
    assert [r.position for r in journal.read_all(after=100, limit=2)] == [101, 102]
    assert [r.position for r in journal.read_all(after=100, until_position=101)] == [101]
    assert [r.position for r in journal.read_all(after=247, reverse=True)] == [250, 249, 248]


def test_an_index_of_one_stream_longer_than_a_row_is_searched(path):
    with Journal.open(path) as journal:
        for n in range(900):
            journal.submit("s", events(1, start=n))
            journal.submit("t" if n % 2 else "r", events(1))
        journal.checkpoint()
        assert [r.payload["n"] for r in journal.read("s", after=700)] == list(range(700, 900))
        assert seqs(journal.read("s", until_seq=650, limit=3, reverse=True)) == [650, 649, 648]
        assert len(list(journal.read_all(types="happened"))) == 1800


@pytest.mark.parametrize("name", ["", "x" * 600, "\ud800", "a\0b"])
def test_a_stream_that_cannot_be_has_nothing(journal, name):
    assert list(journal.read(name)) == []
    assert journal.last_seq(name) == 0
    assert journal.first_seq(name) == 1
    assert journal.load_snapshot(name) is None


def test_single_events_read_the_same_whatever_the_pages(path):
    with Journal.open(path, "relaxed", segment_events=300, checkpoint_events=170) as journal:
        for n in range(1000):
            journal.submit(f"s{n % 3}", events(1 + (n % 97 == 0), start=n))
            if n == 500:
                journal.truncate("s1", 50)
        journal.sync()
        everything = list(journal.read_all())
        positions = [r.position for r in everything]
        assert positions == [r.position for r in journal.read_all(reverse=True)][::-1]
        assert len(everything) == journal.last_position() - 49
        for stream in journal.streams():
            mine = [r for r in everything if r.stream == stream]
            assert list(journal.read(stream)) == mine
            for after in (0, 7, 99, 255, 300):
                for limit in (1, 2, 8, 9, 40, 1000):
                    expected = [r.seq for r in mine if r.seq > after][:limit]
                    assert seqs(journal.read(stream, after=after, limit=limit)) == expected
        for after in (0, 1, 298, 299, 300, 301, 777):
            found = [r.position for r in journal.read_all(after=after, until_position=900)]
            assert found == [p for p in positions if after < p <= 900]
