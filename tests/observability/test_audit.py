"""The audit trail is the journal, filtered."""

from __future__ import annotations

import datetime as dt

import pytest

from understudy.observability import audit
from understudy.storage import Journal, NewEvent

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def journal():
    now = [dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()]

    def clock() -> float:
        now[0] += 60
        return now[0]

    with Journal.in_memory(clock=clock) as journal:
        for stream, what, metadata in [
            ("account:ada", "opened", {"actor": "/user/ada", "request_id": "r1"}),
            ("account:bob", "opened", {"actor": "/user/bob", "request_id": "r2"}),
            ("account:ada", "paid", {"actor": "/user/ada/till", "traceparent": PARENT}),
            ("account:ada", "paid", {"actor": "/user/adam", "trace_id": "t2"}),
            ("account:bob", "closed", None),
        ]:
            journal.append(stream, [NewEvent(what, {"secret": 1}, metadata=metadata)])
        yield journal


def seen(entries) -> list[tuple[int, str]]:
    return [(entry.position, entry.what) for entry in entries]


def test_everything_is_in_the_trail_in_the_order_it_was_committed(journal) -> None:
    assert seen(audit(journal)) == [
        (1, "opened"),
        (2, "opened"),
        (3, "paid"),
        (4, "paid"),
        (5, "closed"),
    ]


def test_an_entry_says_who_when_where_and_on_whose_behalf_but_not_what_was_in_it(journal) -> None:
    entry = next(audit(journal, limit=1))
    assert (entry.stream, entry.seq, entry.actor, entry.request_id, entry.trace_id) == (
        "account:ada",
        1,
        "/user/ada",
        "r1",
        None,
    )
    assert entry.at.tzinfo is not None
    assert "secret" not in repr(entry)


def test_the_trail_of_an_actor_includes_those_below_it_and_no_namesake(journal) -> None:
    assert seen(audit(journal, actor="/user/ada")) == [(1, "opened"), (3, "paid")]


def test_the_trail_of_a_request_or_of_a_trace_can_be_followed(journal) -> None:
    assert seen(audit(journal, request_id="r2")) == [(2, "opened")]
    assert seen(audit(journal, trace_id=TRACE)) == [(3, "paid")]
    assert seen(audit(journal, trace_id="t2")) == [(4, "paid")]


def test_the_trail_can_be_cut_by_stream_type_place_and_time(journal) -> None:
    assert seen(audit(journal, stream="account:bob")) == [(2, "opened"), (5, "closed")]
    assert seen(audit(journal, stream="account:bob", after=1)) == [(5, "closed")]
    assert seen(audit(journal, types=["paid"])) == [(3, "paid"), (4, "paid")]
    assert seen(audit(journal, after=3)) == [(4, "paid"), (5, "closed")]
    assert seen(audit(journal, limit=2)) == [(1, "opened"), (2, "opened")]
    third = list(audit(journal))[2].at
    assert seen(audit(journal, since=third)) == [(3, "paid"), (4, "paid"), (5, "closed")]
    assert seen(audit(journal, until=third)) == [(1, "opened"), (2, "opened")]
