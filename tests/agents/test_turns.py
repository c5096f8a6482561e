"""A turn: a message, its frames, its answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import understudy as us
from tests.agents.conftest import WAIT, Collector, Echo, Gates, seqs, text_of
from understudy.agents._feed import Feed
from understudy.storage import Write


def test_an_answer_is_the_text_that_was_yielded(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    answer = host.send(us.SessionKey("ada", "echo", "t1"), "hello there").result(timeout=WAIT)
    assert answer == "hello there "
    assert answer.message == "hello there "
    assert answer.latency_ms >= 0
    assert answer.token_usage == {"promptTokens": 2, "completionTokens": 2, "totalTokens": 4}
    assert answer["latencyMs"] == answer.latency_ms


def test_the_frames_of_a_turn_are_dense_and_its_tokens_joined_are_its_message(
    system: us.ActorSystem,
) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    turn = host.send("ada:echo:t1", "a b c d")
    frames = list(turn)
    assert seqs(frames) == list(range(1, len(frames) + 1))
    assert [f["type"] for f in frames[:-1]] == ["token"] * (len(frames) - 1)
    assert frames[-1]["type"] == "message"
    assert text_of(frames) == frames[-1]["message"] == "a b c d "
    assert set(frames[0]) == {"type", "value", "seq"}
    assert host.frames("ada:echo:t1") == frames


def test_turns_of_a_session_are_answered_in_order_and_frames_go_on_counting(
    system: us.ActorSystem,
) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    turns = [host.send("ada:echo:t1", f"message {n}", message_id=f"m{n}") for n in range(20)]
    assert [turn.result(timeout=WAIT) for turn in turns] == [f"message {n} " for n in range(20)]
    frames = host.frames("ada:echo:t1")
    assert seqs(frames) == list(range(1, len(frames) + 1))
    assert [f["message_id"] for f in frames if f["type"] == "message"] == [
        f"m{n}" for n in range(20)
    ]


def test_a_repeated_message_id_names_the_same_turn_and_makes_no_new_frame(
    system: us.ActorSystem,
) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    first = host.send("ada:echo:t1", "hello", message_id="m1")
    frames = list(first)
    again = host.send("ada:echo:t1", "hello", message_id="m1")
    assert again.result(timeout=WAIT) == "hello "
    assert list(again) == frames
    assert host.frames("ada:echo:t1") == frames
    assert [e.type for e in host.history("ada:echo:t1")].count("user_message") == 1


def test_a_message_id_repeated_while_its_turn_runs_attaches_to_it(
    system: us.ActorSystem, gates: Gates
) -> None:
    class Slow(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield "one "
            await gates.at("middle")
            yield "two"

    host = us.SessionHost(system, agents={"slow": Slow})
    turn = host.send("ada:slow:t1", "go", message_id="m1")
    gates.wait("middle")
    repeated = [host.send("ada:slow:t1", "go", message_id="m1") for _ in range(5)]
    gates.let("middle")
    assert {t.result(timeout=WAIT) for t in [turn, *repeated]} == {"one two"}
    assert sum(f["type"] == "message" for f in host.frames("ada:slow:t1")) == 1


def test_data_that_is_yielded_stands_in_the_final_frame(system: us.ActorSystem) -> None:
    class Sourced(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield {"sources": ["a"]}
            yield "text"
            yield {"more": {"n": 1}}

    host = us.SessionHost(system, agents={"s": Sourced})
    answer = host.send("ada:s:t", "?").result(timeout=WAIT)
    assert answer == "text"
    assert answer.data == {"sources": ["a"], "more": {"n": 1}}


def test_a_plain_coroutine_may_return_its_answer(system: us.ActorSystem) -> None:
    class Short(us.Agent):
        async def respond(self, message: Any, turn: Any) -> str:  # type: ignore[override]
            return str(message.text).upper()

    host = us.SessionHost(system, agents={"s": Short})
    assert host.send("ada:s:t", "loud").result(timeout=WAIT) == "LOUD"


def test_an_agent_sees_the_conversation_so_far(system: us.ActorSystem) -> None:
    class Remembers(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield {"n": len(turn.history)}
            yield " | ".join(f"{e.text}={e.answer}({e.data['n']})" for e in turn.history)

    host = us.SessionHost(system, agents={"r": Remembers})
    host.send("ada:r:t", "first").result(timeout=WAIT)
    assert host.send("ada:r:t", "second").result(timeout=WAIT) == "first=(0)"
    assert host.send("ada:r:t", "third").result(timeout=WAIT) == "first=(0) | second=first=(0)(1)"
    assert host.send("ada:r:other", "first").result(timeout=WAIT) == ""


def test_an_agent_may_set_its_usage(system: us.ActorSystem) -> None:
    class Counted(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            turn.usage(prompt=10, completion=20)
            yield "x"

    host = us.SessionHost(system, agents={"c": Counted})
    assert host.send("ada:c:t", "?").result(timeout=WAIT).token_usage == {
        "promptTokens": 10,
        "completionTokens": 20,
        "totalTokens": 30,
    }


def test_sessions_do_not_wait_for_each_other(system: us.ActorSystem, gates: Gates) -> None:
    class Waits(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            if message.text == "wait":
                await gates.at("held")
            yield message.text

    host = us.SessionHost(system, agents={"w": Waits})
    held = host.send("ada:w:t1", "wait")
    gates.wait("held")
    assert host.send("ada:w:t2", "go").result(timeout=WAIT) == "go"
    assert not held.done()
    gates.let("held")
    assert held.result(timeout=WAIT) == "wait"


def test_ten_messages_in_each_of_two_sessions_do_not_mix(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    turns = [
        (who, n, host.send(f"{who}:echo:t", f"{who} says {n}"))
        for n in range(10)
        for who in ("ada", "bob")
    ]
    for who, n, turn in turns:
        assert turn.result(timeout=WAIT) == f"{who} says {n} "
    for who, other in (("ada", "bob"), ("bob", "ada")):
        assert other not in text_of(host.frames(f"{who}:echo:t"))


def test_a_turn_that_takes_too_long_to_wait_for_goes_on(
    system: us.ActorSystem, gates: Gates
) -> None:
    class Waits(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            await gates.at("held")
            yield "done"

    host = us.SessionHost(system, agents={"w": Waits})
    turn = host.send("ada:w:t1", "?")
    with pytest.raises(us.Timeout, match="it goes on"):
        turn.result(timeout=0.01)
    gates.let("held")
    assert turn.result(timeout=WAIT) == "done"


def test_a_turn_is_awaited_and_followed_on_an_event_loop(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})

    async def main() -> None:
        turn = await host.send_async("ada:echo:t1", "hello there")
        frames = [frame async for frame in turn]
        assert await turn == "hello there "
        assert text_of(frames) == "hello there "
        results = await asyncio.gather(
            *[await host.send_async(f"u{n}:echo:t", f"n{n}") for n in range(10)]
        )
        assert results == [f"n{n} " for n in range(10)]

    asyncio.run(asyncio.wait_for(main(), WAIT))


def test_a_done_callback_is_called_once_whenever_it_is_added(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    called: list[us.Turn] = []
    turn = host.send("ada:echo:t1", "x")
    turn.add_done_callback(called.append)
    turn.result(timeout=WAIT)
    turn.add_done_callback(called.append)
    host.send("ada:echo:t1", "y").result(timeout=WAIT)
    assert called == [turn, turn]


def test_a_client_receives_what_it_missed_and_then_what_comes(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t1", "a b c").result(timeout=WAIT)
    late, later = Collector(), Collector()
    attached = host.attach("ada:echo:t1", after=0, on_frame=late)
    last = host.last_frame("ada:echo:t1")
    host.attach("ada:echo:t1", after=last, on_frame=later)
    host.send("ada:echo:t1", "d").result(timeout=WAIT)
    assert text_of(late.until_closed(2)) == "a b c d "
    assert late.frames == host.frames("ada:echo:t1")
    assert later.until_closed() == host.frames("ada:echo:t1", after=last)
    attached.close()
    host.send("ada:echo:t1", "e").result(timeout=WAIT)
    later.until_closed(2)
    assert "e " not in text_of(late.frames)


def test_a_client_goes_on_after_what_it_acknowledged(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    first = Collector()
    attached = host.attach("ada:echo:t1", client="phone", on_frame=first)
    host.send("ada:echo:t1", "a").result(timeout=WAIT)
    frames = first.until_closed()
    attached.ack(frames[0]["seq"])
    attached.close()
    system.journal.write(Write())  # behind the acknowledgement
    assert host.cursor("ada:echo:t1", "phone") == frames[0]["seq"]
    assert host.cursor("ada:echo:t1", "desk") == 0
    second = Collector()
    again = host.attach("ada:echo:t1", client="phone", on_frame=second)
    assert again.after == frames[0]["seq"]
    assert second.until_closed() == frames[1:]
    host.ack("ada:echo:t1", 0, client="phone")
    system.journal.write(Write())
    assert host.cursor("ada:echo:t1", "phone") == frames[0]["seq"]


@pytest.mark.parametrize("after", [1, -1, 10**9])
def test_a_cursor_beyond_the_last_frame_is_refused(system: us.ActorSystem, after: int) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    with pytest.raises(us.CursorAhead) as caught:
        host.attach("ada:echo:t1", after=after, on_frame=print)
    assert (caught.value.after, caught.value.last) == (after, 0)
    with pytest.raises(us.CursorAhead):
        host.ack("ada:echo:t1", after)


def test_a_frame_read_in_the_journal_is_a_cursor_before_followers_are_given_it(
    system: us.ActorSystem, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield "one "
            await gates.at("middle")
            yield "two"

    held, go = threading.Event(), threading.Event()
    publish = Feed.publish

    def late(feed: Feed, message_id: str, frames: list[Any]) -> None:
        held.set()
        assert go.wait(WAIT)  # the journal's thread: the frame is safe, and nobody was given it
        publish(feed, message_id, frames)

    monkeypatch.setattr(Feed, "publish", late)
    host = us.SessionHost(system, agents={"slow": Slow})
    turn = host.send("ada:slow:t1", "go")
    follower = Collector()
    try:
        assert held.wait(WAIT)
        read = host.frames("ada:slow:t1")
        attached = host.attach("ada:slow:t1", after=len(read), client="phone", on_frame=follower)
        attached.ack(len(read))
    finally:
        go.set()
    gates.let("middle")
    turn.result(timeout=WAIT)
    frames = follower.until_closed()
    assert len(read) >= 1
    assert [*read, *frames] == host.frames("ada:slow:t1")
    system.journal.write(Write())  # behind the acknowledgement
    assert host.cursor("ada:slow:t1", "phone") == len(read)


def test_history_tells_what_happened_and_can_be_filtered(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t1", "hello", message_id="m1", data={"lang": "en"}).result(timeout=WAIT)
    events = host.history("ada:echo:t1")
    assert [e.type for e in events] == ["user_message", "token", "message"]
    assert [e.seq for e in events] == [1, 2, 3]
    assert events[0]["text"] == "hello"
    assert events[0].payload == {"message_id": "m1", "text": "hello", "data": {"lang": "en"}}
    assert events[2].to_dict()["message"] == "hello "
    assert [e.type for e in host.history("ada:echo:t1", after=1)] == ["token", "message"]
    assert [e.type for e in host.history("ada:echo:t1", types=["message"])] == ["message"]
    critical = host.history("ada:echo:t1", priority="critical")
    assert [e.type for e in critical] == ["user_message", "message"]
    assert host.history("ada:echo:nothing") == []


def test_sessions_are_listed_latest_first(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo, "other": Echo})
    for key in ("ada:echo:t1", "ada:other:t2", "bob:echo:t1"):
        host.send(key, "x").result(timeout=WAIT)
    assert {str(info.key) for info in host.sessions()} == {
        "ada:echo:t1",
        "ada:other:t2",
        "bob:echo:t1",
    }
    assert {str(info.key) for info in host.sessions(user="ada")} == {"ada:echo:t1", "ada:other:t2"}
    (info,) = host.sessions(user="ada", agent="other")
    assert (info.turns, info.open_turns, info.active, info.last_frame) == (1, 0, True, 2)
    assert len(host.sessions(limit=2)) == 2


def test_a_session_lives_in_the_tree_with_its_agent_as_child(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t1", "x").result(timeout=WAIT)
    session, agent = host.session_ref("ada:echo:t1"), host.agent_ref("ada:echo:t1")
    assert session is not None
    assert agent is not None
    assert session.path == "/sessions/ada:echo:t1"
    assert agent.path == "/sessions/ada:echo:t1/agent"
    assert system.lookup("/sessions/ada:echo:t1") == session


@pytest.mark.parametrize(
    ("key", "text", "options", "error", "words"),
    [
        ("ada:nobody:t1", "x", {}, us.UnknownAgent, "no agent 'nobody' here; known agents: echo"),
        ("ada:echo", "x", {}, us.InvalidSessionKey, "2 parts instead of 3"),
        (7, "x", {}, us.InvalidSessionKey, "int, not text"),
        ("ada:echo:t1", 7, {}, us.InvalidText, "int, not a string"),
        ("ada:echo:t1", "\ud800", {}, us.InvalidText, "not valid Unicode"),
        ("ada:echo:t1", "x" * 70000, {}, us.TextTooLong, "70000 bytes and the limit is 65536"),
        ("ada:echo:t1", "x", {"message_id": ""}, us.InvalidMessageId, "one character or more"),
        ("ada:echo:t1", "x", {"message_id": 5}, us.InvalidMessageId, "must be text"),
        ("ada:echo:t1", "x", {"message_id": "a\x00b"}, us.InvalidMessageId, "cannot be printed"),
        ("ada:echo:t1", "x", {"message_id": "m" * 200}, us.InvalidMessageId, "over 128 bytes"),
        ("ada:echo:t1", "x", {"data": [1]}, us.InvalidText, "list, not a dict"),
        ("ada:echo:t1", "x", {"data": {"a": object()}}, us.InvalidText, "no JSON"),
        ("ada:echo:t1", "x", {"data": {"a": "x" * 70000}}, us.TextTooLong, "limit is 65536"),
    ],
)
def test_bad_input_is_refused_with_a_reason_and_nothing_is_kept(
    system: us.ActorSystem,
    key: Any,
    text: Any,
    options: dict[str, Any],
    error: type[us.SessionError],
    words: str,
) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    with pytest.raises(error, match=words) as caught:
        host.send(key, text, **options)
    assert caught.value.code
    assert host.sessions() == []


@pytest.mark.parametrize("agent", [Echo(), "Echo", us.Actor, None])
def test_what_is_no_agent_is_refused(system: us.ActorSystem, agent: Any) -> None:
    with pytest.raises(TypeError, match="give a subclass of us.Agent"):
        us.SessionHost(system, agents={"x": agent})


def test_an_agent_without_respond_is_refused_before_anybody_talks_to_it(
    system: us.ActorSystem,
) -> None:
    class Mute(us.Agent):
        pass

    with pytest.raises(TypeError, match="Mute has no respond; it needs"):
        us.SessionHost(system, agents={"x": Mute})


def test_a_stopped_host_takes_no_message(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.stop()
    with pytest.raises(us.HostStopped) as caught:
        host.send("ada:echo:t1", "x")
    assert caught.value.retryable


def test_an_older_acknowledgement_right_behind_a_newer_one_changes_nothing(
    system: us.ActorSystem,
) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t1", "a").result(timeout=WAIT)
    for _ in range(50):
        host.ack("ada:echo:t1", 2)
        host.ack("ada:echo:t1", 1)
        assert host.cursor("ada:echo:t1") == 2
    system.journal.write(Write())
    assert host.cursor("ada:echo:t1") == 2


@pytest.mark.parametrize("client", ["", "a\nb", "x" * 200, None, 7])
def test_a_client_needs_a_name_that_can_be_kept(system: us.ActorSystem, client: Any) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    with pytest.raises(us.SessionError, match="client .* is not valid"):
        host.attach("ada:echo:t1", client=client, on_frame=print)


def test_sessions_nobody_speaks_or_listens_to_are_forgotten(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    for n in range(1500):
        host.attach(f"u{n}:echo:t1", on_frame=print).close()
    assert len(host._entries) < 1100


def test_an_event_of_the_history_is_a_mapping_of_its_json_form(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t1", "hello", message_id="m1").result(timeout=WAIT)
    first, token, _ = host.history("ada:echo:t1")
    assert dict(first) == first.to_dict() == json.loads(json.dumps(first.to_dict()))
    assert list(first) == ["seq", "type", "timestamp", "message_id", "text"]
    assert len(first) == 5
    assert first["timestamp"] == first.timestamp.isoformat()
    assert first.timestamp.utcoffset() == dt.timedelta(0)
    assert (first.priority, token.priority) == ("critical", "normal")
    assert repr(first) == f"<SessionEvent 1 user_message {first.payload!r}>"
    first.to_dict()["text"] = "changed"
    assert first["text"] == "hello"
