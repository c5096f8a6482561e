"""The client of a language model speaks /chat/completions with a real server."""

from __future__ import annotations

import asyncio
import socket

import pytest

from examples.librarian.model import DEFAULT_MODEL, Model, ModelError, Usage, stream
from tests.examples.model_server import ModelServer

ASKED = [{"role": "user", "content": "Which pump?"}]


@pytest.fixture
def server():
    with ModelServer() as server:
        yield server


def told(model, usage=None):
    async def collect():
        return [piece async for piece in stream(model, ASKED, usage)]

    return asyncio.run(collect())


def test_an_answer_comes_piece_by_piece_with_its_usage(server):
    server.behaviour = [["Oil", " it", " weekly — ✓"]]
    usage = Usage()
    assert told(Model(server.url, "key", "small"), usage) == ["Oil", " it", " weekly — ✓"]
    assert (usage.prompt, usage.completion) == (70, 7)


def test_the_request_is_what_the_protocol_wants(server):
    told(Model(server.url, "s3cret", "small"))
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["Content-Type"] == "application/json"
    assert body["model"] == "small"
    assert body["messages"] == ASKED
    assert body["stream"] is True


@pytest.mark.parametrize(
    ("status", "retryable", "hint"),
    [
        (401, False, "check OPENAI_API_KEY"),
        (404, False, "check OPENAI_BASE_URL and OPENAI_MODEL"),
        (429, True, "rate limit"),
        (500, True, "ask again"),
        (503, True, "ask again"),
    ],
)
def test_a_refusal_says_what_was_told_and_what_to_do(server, status, retryable, hint):
    server.behaviour = [status]
    with pytest.raises(ModelError, match=f"answered {status}: told {status}") as raised:
        told(Model(server.url, "key"))
    assert raised.value.status == status
    assert raised.value.retryable is retryable
    assert hint in str(raised.value)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("break", "broke off|cannot be reached"),
        ("error", "broke off: out of memory"),
        ("garbage", "is not chat/completions"),
    ],
)
def test_a_stream_that_goes_wrong_is_an_error_and_no_end(server, behaviour, said):
    server.behaviour = [behaviour]
    with pytest.raises(ModelError, match=said) as raised:
        told(Model(server.url, "key"))
    assert raised.value.retryable


def test_an_endpoint_that_is_not_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(
        ModelError, match=f"the model at http://127.0.0.1:{port}/v1 cannot be reached"
    ):
        told(Model(f"http://127.0.0.1:{port}/v1", "key"))


def test_an_endpoint_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ModelError, match="cannot be reached: timed out"):
            told(Model(f"http://127.0.0.1:{port}/v1", "key", timeout=0.2))


def test_leaving_the_stream_early_hangs_up_on_the_endpoint(server):
    server.behaviour = ["endless"]

    async def first():
        pieces = stream(Model(server.url, "key"), ASKED)
        try:
            return await anext(pieces)
        finally:
            await pieces.aclose()

    assert asyncio.run(first()) == "again "
    assert server.hung_up.wait(60)  # beside an endless writer and its reader, for the GIL


def test_the_environment_switches_the_model_on():
    assert Model.from_environment({}) is None
    assert Model.from_environment({"OPENAI_BASE_URL": "http://h/v1"}) is None
    assert Model.from_environment({"OPENAI_API_KEY": "k"}) is None
    both = {"OPENAI_BASE_URL": "http://h/v1/", "OPENAI_API_KEY": "k"}
    assert Model.from_environment(both) == Model("http://h/v1", "k", DEFAULT_MODEL)
    named = Model.from_environment({**both, "OPENAI_MODEL": "m"})
    assert named is not None
    assert named.name == "m"


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ValueError, match="not an address such as https://host/v1"):
        Model.from_environment({"OPENAI_BASE_URL": "api.example.org", "OPENAI_API_KEY": "k"})


def test_the_key_is_not_shown():
    assert "s3cret" not in repr(Model("http://h/v1", "s3cret"))
