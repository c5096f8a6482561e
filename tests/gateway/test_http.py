"""Sessions over plain HTTP, over real sockets."""

from __future__ import annotations

import json
import threading

import httpx
import pytest

from tests.gateway.conftest import Gate
from understudy.agents import SessionKey
from understudy.gateway import Limits

MESSAGES = "/v1/sessions/ada/echo/t1/messages"
EVENTS = "/v1/sessions/ada/echo/t1/events"


def stream(door, path: str, **options):
    """The server-sent events of a stream, as dicts of their fields."""
    with door.http.stream("GET", path, **options) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        for line in response.iter_lines():
            if not line:
                if event:
                    yield event
                event = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value


def test_a_posted_message_is_answered_when_the_turn_closes(door) -> None:
    response = door.http.post(MESSAGES, json={"text": "hello there", "message_id": "m1"})
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "done"
    assert body["message"] == "hello there "
    assert body["message_id"] == "m1"
    assert body["seq"] == 3
    assert "latencyMs" in body
    assert "tokenUsage" in body


def test_a_repeated_message_id_gets_the_same_answer_and_makes_nothing_new(door) -> None:
    first = door.http.post(MESSAGES, json={"text": "hello", "message_id": "m1"}).json()
    second = door.http.post(MESSAGES, json={"text": "hello", "message_id": "m1"}).json()
    assert first["seq"] == second["seq"]
    assert door.host.last_frame(SessionKey("ada", "echo", "t1")) == 2


def test_a_message_without_an_id_is_given_one(door) -> None:
    assert door.http.post(MESSAGES, json={"text": "hello"}).json()["message_id"]


def test_an_answer_that_takes_longer_than_wait_is_202_and_goes_on(door) -> None:
    path = "/v1/sessions/ada/gate/t1"
    response = door.http.post(f"{path}/messages?wait=0.05", json={"text": "x", "message_id": "m1"})
    assert response.status_code == 202
    assert response.json() == {
        "status": "running",
        "message_id": "m1",
        "events": f"{path}/events",
        "ws": f"{path}/ws",
    }
    assert response.headers["location"] == f"{path}/events"
    Gate.opened.set()
    response = door.http.post(f"{path}/messages", json={"text": "x", "message_id": "m1"})
    assert (response.status_code, response.json()["message"]) == (200, "waiting done")


@pytest.mark.parametrize("wait", ["0", "false", "no", "0.0"])
def test_wait_nothing_answers_at_once(door, wait: str) -> None:
    path = f"/v1/sessions/ada/gate/t1/messages?wait={wait}"
    assert door.http.post(path, json={"text": "x"}).status_code == 202


@pytest.mark.parametrize("wait", ["-1", "x", "nan", "inf", "1e9"])
def test_a_wait_that_is_no_time_is_refused(door, wait: str) -> None:
    response = door.http.post(f"{MESSAGES}?wait={wait}", json={"text": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_wait")


def test_a_failed_turn_is_told_with_its_code(door) -> None:
    response = door.http.post("/v1/sessions/ada/failing/t1/messages", json={"text": "x"})
    body = response.json()
    assert response.status_code == 502
    assert body["status"] == "failed"
    assert {"code", "message", "retryable"} == set(body["error"])


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (MESSAGES, b"", 400, "malformed"),
        (MESSAGES, b"text=hello", 400, "malformed"),
        (MESSAGES, b"[1]", 400, "malformed"),
        (MESSAGES, b"\xff", 400, "malformed"),
        (MESSAGES, b"{}", 400, "bad_frame"),
        (MESSAGES, b'{"text":7}', 400, "bad_frame"),
        (MESSAGES, b'{"text":"x","message_id":[]}', 400, "bad_frame"),
        (MESSAGES, b'{"text":"' + b"x" * 100_000 + b'"}', 413, "text_too_long"),
        (MESSAGES, b"x" * 2_000_000, 413, "frame_too_large"),
        ("/v1/sessions/ada/nobody/t1/messages", b'{"text":"x"}', 404, "unknown_agent"),
        ("/v1/sessions/ada/echo/%00/messages", b'{"text":"x"}', 400, "bad_session_key"),
        ("/v1/sessions/ada/echo/%FF/messages", b'{"text":"x"}', 400, "bad_session_key"),
        ("/v1/sessions/ada/echo/t1/dance", b"{}", 404, "not_found"),
        ("/v1/sessions/ada/echo", b"{}", 404, "not_found"),
        ("/v1/sessions/ada/echo/t1/events", b"{}", 405, "method_not_allowed"),
        ("/v1/sessions/ada/echo/t1/ws", b"{}", 426, "upgrade_required"),
    ],
)
def test_a_bad_post_is_answered_in_json_with_a_status_and_a_code(
    door, path: str, body: bytes, status: int, code: str
) -> None:
    response = door.http.post(path, content=body)
    problem = response.json()["error"]
    assert (response.status_code, problem["code"]) == (status, code)
    assert problem["message"]
    assert problem["retryable"] is False
    assert door.http.post(MESSAGES, json={"text": "still here"}).status_code == 200


def test_a_body_without_a_length_is_bounded_too(door) -> None:
    def long():
        for _ in range(500):
            yield b"x" * 65536

    try:
        response = door.http.post(MESSAGES, content=long())
        assert response.status_code == 413
    except (httpx.WriteError, httpx.ReadError):
        # The server hung up on a client that went on sending.
        pass
    assert door.http.post(MESSAGES, json={"text": "still here"}).status_code == 200


def test_a_wrong_method_is_told_the_right_one(door) -> None:
    response = door.http.delete(MESSAGES)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


def test_a_foreign_page_may_not_post(door) -> None:
    response = door.http.post(
        MESSAGES, json={"text": "x"}, headers={"origin": "https://evil.example"}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_origin")
    assert door.host.last_frame(SessionKey("ada", "echo", "t1")) == 0


def test_events_are_read_after_a_seq_and_by_type(door) -> None:
    door.http.post(MESSAGES, json={"text": "one two", "message_id": "m1"})
    everything = door.http.get(EVENTS).json()
    seqs = [event["seq"] for event in everything["events"]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert everything["events"][0]["type"] == "user_message"
    assert everything["next"] == seqs[-1]
    assert everything["more"] is False
    later = door.http.get(EVENTS, params={"after": 1}).json()
    assert [event["seq"] for event in later["events"]] == seqs[1:]
    said = door.http.get(EVENTS, params={"types": "user_message,message"}).json()
    assert {event["type"] for event in said["events"]} == {"user_message", "message"}


def test_events_come_in_pages(door) -> None:
    for number in range(3):
        door.http.post(MESSAGES, json={"text": "x", "message_id": f"m{number}"})
    whole = door.http.get(EVENTS).json()["events"]
    seen: list[dict] = []
    page = {"next": 0, "more": True}
    while page["more"]:
        page = door.http.get(EVENTS, params={"after": page["next"], "limit": 2}).json()
        seen += page["events"]
    assert seen == whole


def test_events_of_another_priority_are_left_out(door) -> None:
    door.http.post(MESSAGES, json={"text": "x", "message_id": "m1"})
    everything = door.http.get(EVENTS).json()["events"]
    critical = door.http.get(EVENTS, params={"priority": "critical"}).json()["events"]
    normal = door.http.get(EVENTS, params={"priority": "normal"}).json()["events"]
    assert {event["type"] for event in critical} == {"user_message", "message"}
    assert sorted(critical + normal, key=lambda event: event["seq"]) == everything


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=x", "bad_cursor"),
        ("after=-1", "bad_cursor"),
        ("priority=loud", "bad_priority"),
        ("limit=0", "bad_limit"),
        ("limit=x", "bad_limit"),
        ("limit=99999999999999", "bad_limit"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(door, query: str, code: str) -> None:
    response = door.http.get(f"{EVENTS}?{query}")
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


def test_frames_can_be_polled_from_a_cursor(door, host) -> None:
    door.http.post(MESSAGES, json={"text": "a b c", "message_id": "m1"})
    frames = "/v1/sessions/ada/echo/t1/frames"
    page = door.http.get(frames, params={"limit": 3}).json()
    assert [frame["seq"] for frame in page["frames"]] == [1, 2, 3]
    assert (page["next"], page["more"]) == (3, True)
    page = door.http.get(frames, params={"after": 3}).json()
    assert [frame["type"] for frame in page["frames"]] == ["message"]
    assert page["more"] is False
    host.ack(SessionKey("ada", "echo", "t1"), 4, client="phone")
    page = door.http.get(frames, params={"client": "phone"}).json()
    assert (page["frames"], page["next"]) == ([], 4)
    response = door.http.get(frames, params={"after": 5})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "bad_cursor")


def test_frames_are_streamed_as_server_sent_events_with_their_seq_as_id(door) -> None:
    door.http.post(MESSAGES, json={"text": "a b", "message_id": "m1"})
    path = "/v1/sessions/ada/echo/t1/stream"
    seen = []
    for event in stream(door, path, params={"after": 0}):
        seen.append(event)
        if event["event"] == "message":
            break
    assert [event["id"] for event in seen] == ["1", "2", "3"]
    assert json.loads(seen[-1]["data"])["message"] == "a b "
    for event in stream(door, path, headers={"last-event-id": "2"}):
        assert event["id"] == "3"
        break


def test_a_stream_goes_on_with_live_frames(door) -> None:
    path = "/v1/sessions/ada/echo/t1/stream"
    events = stream(door, path, params={"after": 0})
    posted = threading.Thread(
        target=lambda: httpx.post(f"{door.url}{MESSAGES}", json={"text": "live"}, trust_env=False)
    )
    posted.start()
    assert [next(events)["event"], next(events)["event"]] == ["token", "message"]
    posted.join(20)
    events.close()


def test_a_stream_of_an_unknown_agent_or_from_ahead_is_refused_before_it_begins(door) -> None:
    response = door.http.get("/v1/sessions/ada/nobody/t1/stream")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_agent")
    response = door.http.get("/v1/sessions/ada/echo/t1/stream?after=7")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "bad_cursor")


def test_the_end_of_the_server_ends_a_stream_and_a_waiting_post(door) -> None:
    answers: list = []

    def post() -> None:
        answers.append(
            httpx.post(
                f"{door.url}/v1/sessions/ada/gate/t1/messages",
                json={"text": "x", "message_id": "m1"},
                timeout=20,
                trust_env=False,
            )
        )

    events = stream(door, "/v1/sessions/ada/gate/t1/stream", params={"after": 0})
    posting = threading.Thread(target=post)
    posting.start()
    assert next(events)["event"] == "token"
    assert Gate.entered.wait(20)
    door.server.stop()
    assert list(events) == []
    posting.join(20)
    assert answers[0].status_code == 202
    assert door.server.stopped.wait(20)


def test_a_users_threads_are_listed(door) -> None:
    for thread in ("t1", "t2"):
        door.http.post(f"/v1/sessions/ada/echo/{thread}/messages", json={"text": "x"})
    door.http.post("/v1/sessions/bob/echo/t1/messages", json={"text": "x"})
    body = door.http.get("/v1/sessions/ada").json()
    assert body["user"] == "ada"
    assert sorted(session["session"] for session in body["sessions"]) == [
        "ada:echo:t1",
        "ada:echo:t2",
    ]
    assert door.http.get("/v1/sessions/nobody").json()["sessions"] == []


def test_a_request_id_is_kept_or_given(door) -> None:
    assert (
        door.http.get("/health", headers={"x-request-id": "r-7"}).headers["x-request-id"] == "r-7"
    )
    assert len(door.http.get("/health").headers["x-request-id"]) == 32
    odd = door.http.get("/health", headers={"x-request-id": "a b\tc"}).headers["x-request-id"]
    assert len(odd) == 32


def test_an_unexpected_failure_is_500_without_its_inside(door, monkeypatch) -> None:
    def broken(*_, **__):
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(door.host, "history", broken)
    response = door.http.get(EVENTS)
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert "hunter2" not in response.text
    assert response.headers["x-request-id"] in response.json()["error"]["message"]


def test_a_page_limit_is_the_greatest_that_may_be_asked(serve) -> None:
    door = serve(limits=Limits(page=5))
    assert door.http.get(f"{EVENTS}?limit=5").status_code == 200
    assert door.http.get(f"{EVENTS}?limit=6").status_code == 400


def test_an_address_or_a_method_that_nobody_has_is_told_in_json_too(door) -> None:
    missing = door.http.get("/nothing/here")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert "/v1/sessions/" in missing.json()["error"]["message"]
    wrong = door.http.delete("/health")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"]
