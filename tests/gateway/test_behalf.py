"""A request leaves its id and its trace beside what it wrote."""

from __future__ import annotations

from understudy.observability import audit

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_a_posted_message_is_found_by_its_request_id_and_its_trace(door, host) -> None:
    answer = door.http.post(
        "/v1/sessions/ada/echo/t1/messages",
        json={"text": "hello"},
        headers={"X-Request-ID": "r-1", "traceparent": PARENT},
    )
    assert answer.status_code == 200
    (entry,) = audit(host.journal, request_id="r-1")
    assert (entry.stream, entry.seq, entry.what) == ("session:ada:echo:t1", 1, "user_message")
    assert entry.trace_id == TRACE
    assert [e.position for e in audit(host.journal, trace_id=TRACE)] == [entry.position]


def test_a_message_over_a_websocket_is_found_by_the_id_of_its_handshake(door, host) -> None:
    headers = {"X-Request-ID": "r-2", "traceparent": PARENT}
    with door.connect(additional_headers=headers) as client:
        client.say("one")
        client.turn()
        client.say("two")
        client.turn()
    entries = list(audit(host.journal, request_id="r-2"))
    assert [entry.what for entry in entries] == ["user_message", "user_message"]
    assert {entry.trace_id for entry in entries} == {TRACE}


def test_a_request_that_names_no_id_and_no_trace_has_an_id_all_the_same(door, host) -> None:
    answer = door.http.post("/v1/sessions/ada/echo/t1/messages", json={"text": "hello"})
    (entry,) = audit(host.journal, request_id=answer.headers["x-request-id"])
    assert entry.trace_id is None
    assert set(entry.metadata) == {"request_id"}
