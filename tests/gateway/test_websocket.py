"""One client's WebSocket on one session, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from understudy.agents import SessionKey
from understudy.gateway import Limits

KEY = SessionKey("ada", "echo", "t1")


def test_an_answer_is_streamed_and_its_tokens_joined_are_the_message(door) -> None:
    with door.connect() as client:
        client.say("the play begins", "m1")
        frames = client.turn()
    tokens = [frame["value"] for frame in frames[:-1]]
    assert all(frame["type"] == "token" for frame in frames[:-1])
    assert frames[-1]["type"] == "message"
    assert "".join(tokens) == frames[-1]["message"] == "the play begins "
    assert isinstance(frames[-1]["latencyMs"], int | float)
    assert isinstance(frames[-1]["tokenUsage"], dict)


def test_seqs_are_dense_from_one_over_several_turns(door) -> None:
    with door.connect() as client:
        client.say("one two", "m1")
        first = client.turn()
        client.say("three", "m2")
        second = client.turn()
    seqs = [frame["seq"] for frame in first + second]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_client_that_comes_back_with_after_gets_the_rest_once(door) -> None:
    with door.connect() as client:
        client.say("a b c d", "m1")
        frames = client.turn()
    with door.connect(query="?after=2") as client:
        rest = client.turn()
    assert rest == frames[2:]


def test_after_zero_gives_everything_again(door) -> None:
    with door.connect() as client:
        client.say("a b", "m1")
        frames = client.turn()
        client.send(type="ack", seq=frames[-1]["seq"])
        client.say("c", "m2")
        frames += client.turn()
    with door.connect(query="?after=0") as client:
        assert client.turn() + client.turn() == frames


def test_without_after_a_client_goes_on_where_it_acknowledged_last(door, host) -> None:
    with door.connect(query="?client=phone") as client:
        client.say("a b c", "m1")
        frames = client.turn()
        client.send(type="ack", seq=2)
        client.raw("sync")
        assert client.receive()["code"] == "malformed"
    assert host.cursor(KEY, client="phone") == 2
    with door.connect(query="?client=phone") as client:
        assert client.turn() == frames[2:]


def test_each_client_has_a_cursor_of_its_own(door) -> None:
    with door.connect(query="?client=phone") as client:
        client.say("a b", "m1")
        frames = client.turn()
        client.send(type="ack", seq=frames[-1]["seq"])
        client.raw("sync")
        client.receive()
    with door.connect(query="?client=desk") as client:
        assert client.turn() == frames
    with door.connect() as client:
        assert client.turn() == frames


def test_an_older_ack_does_not_move_the_cursor_back(door, host) -> None:
    with door.connect() as client:
        client.say("a b", "m1")
        client.turn()
        for seq in (3, 1):
            client.send(type="ack", seq=seq)
        client.raw("sync")
        client.receive()
    assert host.cursor(KEY) == 3


def test_an_ack_of_what_was_never_sent_is_refused_and_the_connection_stays(door) -> None:
    with door.connect() as client:
        client.send(type="ack", seq=99)
        problem = client.receive()
        assert (problem["type"], problem["code"], problem["retryable"]) == (
            "error",
            "bad_cursor",
            False,
        )
        client.say("still here", "m1")
        assert client.turn()[-1]["message"] == "still here "


def test_after_ahead_of_the_session_is_an_error_that_names_the_last_frame(door) -> None:
    with door.connect() as client:
        client.say("a", "m1")
        client.turn()
    with door.connect(query="?after=3") as client:
        frames, code = client.until_closed()
    assert [frame["code"] for frame in frames] == ["bad_cursor"]
    assert frames[0]["last_seq"] == 2
    assert "after=0" in frames[0]["message"]
    assert code == 4409


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "1_0", "", "%D9%A1", "9" * 30])
def test_an_after_that_is_no_seq_is_an_error_in_words(door, after: str) -> None:
    with door.connect(query=f"?after={after}") as client:
        frames, code = client.until_closed()
    assert [frame["code"] for frame in frames] == ["bad_cursor"]
    assert "number of the last frame" in frames[0]["message"]
    assert code == 4400


@pytest.mark.parametrize(
    ("session", "code", "close"),
    [
        ("ada/nobody/t1", "unknown_agent", 4404),
        ("ada/echo/" + "x" * 500, "bad_session_key", 4400),
        ("ada/echo/%00", "bad_session_key", 4400),
        ("a%FF/echo/t1", "bad_session_key", 4400),
        ("ada//t1", "bad_session_key", 4400),
        ("ada/echo", "not_found", 4400),
        ("ada/echo/t1/more", "not_found", 4400),
    ],
)
def test_a_session_that_cannot_be_is_an_error_frame_and_a_close(
    door, session: str, code: str, close: int
) -> None:
    with door.connect(session) as client:
        frames, closed = client.until_closed()
    assert [(frame["type"], frame["code"]) for frame in frames] == [("error", code)]
    assert closed == close


def test_the_refusal_of_an_unknown_agent_names_the_known_ones(door) -> None:
    with door.connect("ada/nobody/t1") as client:
        frames, _ = client.until_closed()
    assert frames[0]["known"] == ["echo", "failing", "flood", "gate"]


def test_a_client_name_that_cannot_be_a_key_is_refused(door) -> None:
    with door.connect(query="?client=" + "x" * 300) as client:
        frames, closed = client.until_closed()
    assert (frames[0]["code"], closed) == ("bad_client", 4400)


def test_names_with_slashes_colons_and_other_scripts_are_sessions_like_any_other(door) -> None:
    with door.connect("a%2Fda/echo/t%3A1%20%C3%9F") as client:
        client.say("hello", "m1")
        assert client.turn()[-1]["message"] == "hello "
    assert door.host.last_frame(SessionKey("a/da", "echo", "t:1 ß")) == 2


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "malformed"),
        ("{", "malformed"),
        ("[" * 100_000, "malformed"),
        ("[]", "malformed"),
        ('{"type":"user_message","text":"\\ud800"}', "malformed"),
        ("{}", "unknown_type"),
        ('{"type":"dance"}', "unknown_type"),
        ('{"type":"message","message":"forged","seq":1}', "unknown_type"),
        ('{"type":"user_message"}', "bad_frame"),
        ('{"type":"user_message","text":["x"]}', "bad_frame"),
        ('{"type":"ack","seq":"x"}', "bad_frame"),
        ('{"type":"ack","seq":-5}', "bad_seq"),
        (b'{"type":"cancel"}', "not_text"),
        (json.dumps({"type": "user_message", "text": "x" * 100_000}), "text_too_long"),
        (json.dumps({"type": "user_message", "text": "x" * 2_000_000}), "frame_too_large"),
    ],
)
def test_bad_input_is_told_and_neither_the_connection_nor_the_session_minds(
    door, raw: str | bytes, code: str
) -> None:
    with door.connect() as client:
        client.raw(raw)
        problem = client.receive()
        assert (problem["type"], problem["code"], problem["retryable"]) == ("error", code, False)
        assert problem["message"]
        assert "seq" not in problem
        client.say("still here", "m1")
        assert [frame["seq"] for frame in client.turn()] == [1, 2, 3]


def test_a_message_beyond_what_the_server_reads_at_all_closes_only_its_own_connection(door) -> None:
    with door.connect("bob/echo/t1") as other, door.connect(max_size=None) as client:
        client.raw("x" * (17 * 1024 * 1024))
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        other.say("hello", "m1")
        assert other.turn()[-1]["message"] == "hello "


def test_a_refused_message_is_matched_by_its_id(door) -> None:
    with door.connect() as client:
        client.send(type="user_message", text="x" * 100_000, message_id="big")
        assert client.receive()["message_id"] == "big"


def test_a_repeated_message_id_makes_no_new_frame(door) -> None:
    with door.connect() as client:
        client.say("one", "m1")
        client.turn()
        client.say("one", "m1")
        client.say("two", "m2")
        frames = client.turn()
    assert [(frame["seq"], frame["type"]) for frame in frames] == [(3, "token"), (4, "message")]
    assert frames[-1]["message"] == "two "


def test_a_failing_agent_is_an_error_frame_of_the_session(door) -> None:
    with door.connect("ada/failing/t1") as client:
        client.say("try", "m1")
        frames = client.turn()
        assert frames[-1]["type"] == "error"
        assert {"code", "message", "retryable", "seq"} <= set(frames[-1])
        client.say("again", "m2")
        assert client.turn()[-1]["seq"] > frames[-1]["seq"]


def test_a_turn_can_be_cancelled(door) -> None:
    with door.connect("ada/gate/t1") as client:
        client.say("wait", "m1")
        assert client.receive()["value"] == "waiting "
        client.send(type="cancel")
        assert client.turn()[-1]["code"] == "cancelled"


def test_cancelling_nothing_is_no_error(door) -> None:
    with door.connect() as client:
        client.send(type="cancel")
        client.say("fine", "m1")
        assert client.turn()[-1]["message"] == "fine "


def test_two_connections_of_one_session_see_the_same_frames(door) -> None:
    with door.connect() as one, door.connect(query="?client=other") as two:
        one.say("to both", "m1")
        assert one.turn() == two.turn()


def test_sessions_do_not_see_each_other(door) -> None:
    with door.connect("ada/echo/t1") as one, door.connect("bob/echo/t1") as two:
        one.say("secret", "m1")
        two.say("other", "m1")
        assert two.turn()[-1]["message"] == "other "
        assert one.turn()[-1]["message"] == "secret "


def test_a_client_that_leaves_in_the_middle_finds_the_rest_later(door, host) -> None:
    from tests.gateway.conftest import Gate

    with door.connect("ada/gate/t1") as client:
        client.say("wait", "m1")
        first = client.receive()
    Gate.opened.set()
    assert host.send(SessionKey("ada", "gate", "t1"), "wait", message_id="m1").result(timeout=20)
    with door.connect("ada/gate/t1", "?after=1") as client:
        rest = client.turn()
    assert [frame["seq"] for frame in [first, *rest]] == [1, 2, 3]


def test_a_slow_client_misses_nothing_and_costs_no_memory(serve) -> None:
    door = serve(limits=Limits(buffer=8))
    count = 3000
    with door.connect("ada/flood/t1", max_queue=1, max_size=None) as client:
        client.say(str(count), "m1")
        # The flood is over before the first frame is read.
        door.host.send(SessionKey("ada", "flood", "t1"), str(count), message_id="m1").result(60)
        frames = client.turn()
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    text = "".join(frame["value"] for frame in frames[:-1])
    assert text == frames[-1]["message"]
    assert len(text) == count * 1024


def test_a_client_that_reads_nothing_at_all_is_given_up_and_its_cursor_stands(
    serve, host, monkeypatch
) -> None:
    door = serve(limits=Limits(buffer=8, stall=0.05))
    given_up = threading.Event()
    attach = host.attach

    def watched(*args, **options):
        attachment = attach(*args, **options)
        close = attachment.close
        attachment.close = lambda: (close(), given_up.set())
        return attachment

    monkeypatch.setattr(host, "attach", watched)
    where = urlsplit(door.url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(
            b"GET /v1/sessions/ada/flood/t1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        assert stuck.recv(12) == b"HTTP/1.1 101"
        key = SessionKey("ada", "flood", "t1")
        # More than the buffers of both sides can hold together.
        door.host.send(key, "150x65536", message_id="m1").result(60)
        assert given_up.wait(60)
    monkeypatch.undo()
    assert door.host.cursor(key) == 0
    # Another door, patient: the one above gives up on anybody the machine keeps waiting.
    with serve().connect("ada/flood/t1") as client:
        assert client.receive()["seq"] == 1


def test_a_page_of_another_site_is_not_let_in(door) -> None:
    with pytest.raises(InvalidStatus) as caught, door.connect(origin="https://evil.example"):
        pass
    assert caught.value.response.status_code == 403
    assert json.loads(caught.value.response.body)["error"]["code"] == "foreign_origin"


def test_a_page_of_this_server_or_of_an_allowed_site_is_let_in(serve) -> None:
    door = serve(allowed_origins=["https://chat.example"])
    for origin in (door.url, "https://chat.example"):
        with door.connect(origin=origin) as client:
            client.say("hello", origin)
            assert client.turn()[-1]["message"] == "hello "


def test_a_request_id_comes_back_with_the_handshake(door) -> None:
    with door.connect(additional_headers={"X-Request-ID": "r-1"}) as client:
        assert client.socket.response.headers["x-request-id"] == "r-1"


def test_an_unexpected_failure_is_told_without_its_inside_and_the_server_lives(
    door, monkeypatch, caplog
) -> None:
    def broken(*_, **__):
        raise RuntimeError("the secret is hunter2")

    with door.connect() as client:
        monkeypatch.setattr(door.host, "cancel", broken)
        client.send(type="cancel")
        problem = client.receive()
        assert (problem["code"], problem["retryable"]) == ("internal", True)
        assert "hunter2" not in json.dumps(problem)
        client.say("still here", "m1")
        assert client.turn()[-1]["message"] == "still here "
    monkeypatch.setattr(door.host, "attach", broken)
    with door.connect() as client:
        frames, code = client.until_closed()
    assert (frames[0]["code"], code) == ("internal", 1011)


def test_an_ordered_stop_closes_with_going_away_after_whole_frames(door) -> None:
    with door.connect("ada/gate/t1") as client:
        client.say("wait", "m1")
        assert client.receive()["value"] == "waiting "
        door.server.stop()
        frames, code = client.until_closed()
        assert (frames, code) == ([], 1001)
    assert door.server.stopped.wait(20)


def test_after_the_host_has_stopped_a_message_is_refused_as_retryable(door) -> None:
    with door.connect() as client:
        client.raw("sync")
        client.receive()
        door.host.stop()
        client.say("too late", "m9")
        problem = client.receive()
        assert (problem["code"], problem["retryable"]) == ("stopping", True)
        assert problem["message_id"] == "m9"
        assert client.until_closed() == ([], 1001)
