"""The agent in a system: streams, remembers across restarts, reports, and lets a model word it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import understudy as us
from examples.librarian.agent import Librarian, Settings, WordedLibrarian
from examples.librarian.app import AGENT, BadSetting, settings_from
from examples.librarian.model import Model
from examples.librarian.webhook import Webhook
from tests.examples.model_server import ModelServer

KEY = us.SessionKey("ada", AGENT, "t1")
WITH = "What does the with statement do?"
LIMIT = 30.0


def host_of(system, library, **settings):
    chosen = Settings(**{"pace": 0.0, **settings})
    kind = Librarian if chosen.model is None else WordedLibrarian
    return us.SessionHost(
        system, agents={AGENT: us.Props(kind, library, chosen)}, effects={"webhook": Webhook}
    )


@pytest.fixture
def system():
    with us.ActorSystem("librarian") as system:
        yield system


@pytest.fixture
def host(system, library):
    return host_of(system, library)


@pytest.fixture
def server():
    with ModelServer() as server:
        yield server


class Receiver:
    """Takes what a webhook delivers; refuses the first `refusals` of them."""

    def __init__(self, refusals=0):
        self.deliveries: list[tuple[str, dict]] = []
        self.refusals = refusals
        self.arrived = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.deliveries.append((self.headers["Idempotency-Key"], body))
                refused = len(receiver.deliveries) <= receiver.refusals
                self.send_response(500 if refused else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                if not refused:
                    receiver.arrived.set()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def test_an_answer_comes_in_tokens_that_joined_are_the_message_with_its_sources(host):
    frames = list(host.send(KEY, WITH, message_id="m1"))
    *tokens, message = frames
    assert {frame["type"] for frame in tokens} == {"token"}
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert "".join(frame["value"] for frame in tokens) == message["message"]
    assert message["data"]["sources"][0]["title"] == "The with statement"


def test_a_paced_answer_comes_in_many_frames(system, library):
    host = host_of(system, library, pace=0.02)
    frames = list(host.send(KEY, "What does zip do?", message_id="m1"))
    assert len(frames) > 20


def test_a_follow_up_is_understood_from_the_history(host):
    first = host.send(KEY, WITH, message_id="m1").result(LIMIT)
    second = host.send(KEY, "and the second one?", message_id="m2").result(LIMIT)
    assert second.startswith(f"**{first.data['sources'][1]['title']}**")


def test_sessions_do_not_know_of_each_other(host):
    host.send(KEY, WITH, message_id="m1").result(LIMIT)
    other = us.SessionKey("bob", AGENT, "t1")
    answer = host.send(other, "What was my first question?", message_id="m1").result(LIMIT)
    assert "first thing you ask" in answer


def test_the_conversation_survives_the_end_of_the_system(tmp_path, library):
    with us.ActorSystem("librarian", data_dir=tmp_path) as system:
        host_of(system, library).send(KEY, WITH, message_id="m1").result(LIMIT)
    with us.ActorSystem("librarian", data_dir=tmp_path) as system:
        host = host_of(system, library)
        answer = host.send(KEY, "and the second one?", message_id="m2").result(LIMIT)
        assert "With more than one item" in answer


def test_the_conversation_survives_a_crash_of_the_agent(host):
    host.send(KEY, WITH, message_id="m1").result(LIMIT)
    assert host.crash(KEY)
    answer = host.send(KEY, "What was my first question?", message_id="m2").result(LIMIT)
    assert answer == f"Your first question here was “{WITH}”."


def test_a_crash_in_the_middle_neither_loses_nor_repeats_a_word(system, library):
    host = host_of(system, library, pace=0.02)
    expected = library.reply(WITH, ()).text
    frames = []
    turn = host.send(KEY, WITH, message_id="m1")
    for frame in turn:
        frames.append(frame)
        if len(frames) in {5, 15}:
            assert host.crash(KEY)
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert "retry" not in {frame["type"] for frame in frames}
    assert "".join(frame.get("value", "") for frame in frames) == expected
    assert frames[-1]["message"] == expected


def test_each_answer_is_reported_once_with_a_key_of_its_own(system, library):
    with Receiver() as receiver:
        host = host_of(system, library, webhook=receiver.url)
        host.send(KEY, WITH, message_id="m1").result(LIMIT)
        assert receiver.arrived.wait(LIMIT)
        ((key, body),) = receiver.deliveries
    assert key == "ada:librarian:t1/m1"
    assert body["question"] == WITH
    assert body["sources"][0] == "Python language reference, help('with')"


def test_a_report_that_is_refused_comes_again_under_the_same_key(system, library):
    with Receiver(refusals=1) as receiver:
        host = host_of(system, library, webhook=receiver.url)
        host.send(KEY, WITH, message_id="m1").result(LIMIT)
        assert receiver.arrived.wait(LIMIT)
    assert [key for key, _ in receiver.deliveries] == ["ada:librarian:t1/m1"] * 2


def test_a_model_words_the_answer_from_the_passages(system, library, server):
    server.behaviour = [["It wraps", " a block", " [1]."]]
    host = host_of(system, library, model=Model(server.url, "key", "small"))
    answer = host.send(KEY, WITH, message_id="m1").result(LIMIT)
    assert answer == "It wraps a block [1]."
    assert answer.data["model"] == "small"
    assert answer.data["sources"][0]["title"] == "The with statement"
    assert answer.token_usage == {"promptTokens": 70, "completionTokens": 7, "totalTokens": 77}
    told = server.requests[0][2]["messages"]
    assert told[0]["role"] == "system"
    assert "[1] The with statement (Python language reference, help('with'))" in told[-1]["content"]
    assert told[-1]["content"].endswith(f"Question: {WITH}")


def test_a_model_is_told_what_was_said_before(system, library, server):
    server.behaviour = [["First [1]."], ["Second [2]."]]
    host = host_of(system, library, model=Model(server.url, "key"))
    host.send(KEY, WITH, message_id="m1").result(LIMIT)
    answer = host.send(KEY, "and the second one?", message_id="m2").result(LIMIT)
    assert answer == "Second [2]."
    told = server.requests[1][2]["messages"]
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user"]
    assert told[2]["content"] == "First [1]."
    assert "[2] The with statement" in told[3]["content"]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_model_that_refuses_costs_no_answer(system, library, server, status):
    server.behaviour = [status]
    host = host_of(system, library, model=Model(server.url, "key"))
    answer = host.send(KEY, WITH, message_id="m1").result(LIMIT)
    assert answer.startswith(
        "The language model did not answer, so here are the documents' own words."
    )
    assert "is used to wrap the execution of a block" in answer
    assert f"answered {status}" in answer.data["model_error"]


def test_a_model_that_breaks_off_is_asked_anew_and_the_client_told(system, library, server):
    server.behaviour = ["break", ["Whole [1]."]]
    host = host_of(system, library, model=Model(server.url, "key"))
    frames = list(host.send(KEY, WITH, message_id="m1"))
    kinds = [frame["type"] for frame in frames]
    again = kinds.index("retry")
    assert frames[again]["attempt"] == 2
    assert "".join(frame.get("value", "") for frame in frames[again:]) == "Whole [1]."
    assert frames[-1]["message"] == "Whole [1]."


def test_a_cancelled_turn_hangs_up_on_the_model(system, library, server):
    server.behaviour = ["endless"]
    host = host_of(system, library, model=Model(server.url, "key"))
    turn = host.send(KEY, WITH, message_id="m1")
    frames = iter(turn)
    assert next(frames)["type"] == "token"
    host.cancel(KEY)
    assert list(frames)[-1]["code"] == "cancelled"
    assert server.hung_up.wait(LIMIT)


def test_a_model_is_not_asked_when_nothing_was_found(system, library, server):
    host = host_of(system, library, model=Model(server.url, "key"))
    answer = host.send(KEY, "Who won the football world cup in 1998?", message_id="m1").result(
        LIMIT
    )
    assert "I found nothing" in answer
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LIBRARIAN_PACE", "fast", "give seconds from 0 to 10"),
        ("LIBRARIAN_PACE", "-1", "give seconds from 0 to 10"),
        ("LIBRARIAN_PACE", "nan", "give seconds from 0 to 10"),
        ("LIBRARIAN_WEBHOOK", "ftp://x", "give an address such as http://host/path"),
        ("OPENAI_BASE_URL", "here", "not an address"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name, value, said):
    with pytest.raises(BadSetting, match=f"{name}='{value}'") as raised:
        settings_from({"OPENAI_API_KEY": "k", name: value})
    assert said in str(raised.value)
