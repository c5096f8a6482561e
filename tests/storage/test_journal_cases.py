"""What a journal owes a replay, after the list that Akka's journals are held to."""

from __future__ import annotations

import pytest

from tests.storage.conftest import events, seqs
from understudy.storage import BadEvent, NewEvent


@pytest.fixture
def five(journal):
    journal.append("other", events(2))
    journal.append("s", events(2))
    journal.append("other", events(1))
    journal.append("s", events(3, start=2))
    return journal


def test_all_events_are_replayed_in_order(five):
    records = list(five.read("s"))
    assert seqs(records) == [1, 2, 3, 4, 5]
    assert [record.payload["n"] for record in records] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"after": 2}, [3, 4, 5]),
        ({"until_seq": 3}, [1, 2, 3]),
        ({"limit": 3}, [1, 2, 3]),
        ({"after": 1, "until_seq": 3}, [2, 3]),
        ({"after": 1, "until_seq": 4, "limit": 2}, [2, 3]),
        ({"after": 1, "until_seq": 2}, [2]),
        ({"after": 1, "limit": 1}, [2]),
        ({"limit": 0}, []),
        ({"after": 3, "until_seq": 2}, []),
        ({"after": 9}, []),
        ({"until_seq": 0}, []),
        ({"reverse": True}, [5, 4, 3, 2, 1]),
        ({"reverse": True, "after": 1, "until_seq": 4, "limit": 2}, [4, 3]),
        ({"reverse": True, "limit": 0}, []),
    ],
)
def test_bounds_of_a_replay(five, arguments, expected):
    assert seqs(five.read("s", **arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"after": 2}, [3, 4, 5]),
        ({"after": 1, "until_seq": 4, "limit": 2}, [2, 3]),
        ({"reverse": True, "after": 1, "until_seq": 4, "limit": 2}, [4, 3]),
    ],
)
def test_bounds_are_the_same_once_the_index_is_on_disk(five, arguments, expected):
    five.checkpoint()
    assert seqs(five.read("s", **arguments)) == expected


def test_highest_seq_is_known_without_a_replay(five):
    assert five.last_seq("s") == 5
    assert five.last_seq("nobody") == 0


def test_range_deleted_events_are_not_replayed(five):
    assert five.truncate("s", before_seq=4) == 3
    assert seqs(five.read("s")) == [4, 5]
    assert seqs(five.read("s", reverse=True)) == [5, 4]
    assert [r.seq for r in five.read_all() if r.stream == "s"] == [4, 5]


def test_highest_seq_survives_the_deletion_of_all_events(five):
    assert five.truncate("s", before_seq=100) == 5
    assert list(five.read("s")) == []
    assert five.last_seq("s") == 5
    assert five.append("s", events(1)).first_seq == 6


def test_a_batch_with_an_event_that_cannot_be_stored_is_refused_whole_and_named(five):
    with pytest.raises(BadEvent) as caught:
        five.append("s", [*events(2), NewEvent("bad", {"object": object()}), *events(1)])
    assert caught.value.stream == "s"
    assert caught.value.index == 2
    assert "event 2" in str(caught.value)
    assert "'s'" in str(caught.value)
    assert five.last_seq("s") == 5
    assert five.append("s", events(1)).last_seq == 6


def test_several_events_become_visible_together(journal):
    result = journal.append("s", events(700))
    assert (result.first_seq, result.last_seq, result.position) == (1, 700, 700)
    assert seqs(journal.read("s")) == list(range(1, 701))


def test_metadata_priority_topics_version_and_id_come_back(journal):
    journal.append(
        "s",
        [
            NewEvent(
                "x", [1, None], "my-id", {"trace": "t1"}, "critical", ("money", "audit"), version=7
            ),
            NewEvent("y", b"bytes", metadata={"only": "this"}),
            NewEvent("z", "text", topics=["one"]),
        ],
    )
    first, second, third = journal.read("s")
    assert (first.id, first.metadata, first.priority) == ("my-id", {"trace": "t1"}, "critical")
    assert (first.topics, first.version, first.payload) == (("money", "audit"), 7, [1, None])
    assert (second.metadata, second.payload, second.priority) == (
        {"only": "this"}, b"bytes", "normal",
    )  # fmt: skip
    assert (third.topics, third.metadata, third.version) == (("one",), None, 1)
