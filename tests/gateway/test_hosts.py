"""A server on loopback answers to its own names only: pages of rebound names get nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from websockets.exceptions import InvalidStatus

import understudy.gateway
from understudy.gateway._hosts import KnownHosts, split_names

WS = "/v1/sessions/ada/echo/t1/ws"


def status(door, host: str) -> int:
    code: int = door.http.get("/health", headers={"Host": host}).status_code
    return code


def test_a_rebound_name_is_told_which_setting_would_let_it_in(door) -> None:
    answer = door.http.get("/v1/tree", headers={"Host": "evil.example:3030"})
    assert answer.status_code == 421
    error = answer.json()["error"]
    assert error["code"] == "foreign_host"
    assert "'evil.example:3030'" in error["message"]
    assert "gateway.allowed_hosts" in error["message"]


def test_the_servers_own_names_are_answered(door) -> None:
    port = urlsplit(door.url).port
    for host in (
        f"127.0.0.1:{port}",
        "127.0.0.1",
        f"localhost:{port}",
        "LOCALHOST",
        "localhost.",
        f"[::1]:{port}",
    ):
        assert status(door, host) == 200, host


@pytest.mark.parametrize("name", ["localhost.evil.example", "127.0.0.1.evil.example", "", "[::2]"])
def test_names_that_only_look_like_its_own_are_refused(door, name: str) -> None:
    assert status(door, name) == 421


def test_a_websocket_of_a_rebound_name_is_refused_before_the_handshake(door) -> None:
    origin = "http://evil.example"
    with (
        pytest.raises(InvalidStatus) as caught,
        door.connect(origin=origin, additional_headers={"Host": "evil.example"}),
    ):
        pass
    assert caught.value.response.status_code in {400, 421}


def test_named_hosts_are_answered_beside_its_own(serve) -> None:
    door = serve(allowed_hosts=["Chat.example", "other.example:8443"])
    assert status(door, "chat.example:80") == 200
    assert status(door, "other.example") == 200
    assert status(door, "localhost") == 200
    assert status(door, "evil.example") == 421


def test_a_star_answers_to_any_name(serve) -> None:
    assert status(serve(allowed_hosts=["*"]), "evil.example") == 200


def get(app, path: str, host: str) -> int:
    """The status of a request that no server of ours stands before."""

    async def ask() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return (await client.get(path, headers={"Host": host})).status_code

    return asyncio.run(ask())


def answered(bound: str, host: str, allowed: tuple[str, ...] = ()) -> int:
    async def hello(request):
        return PlainTextResponse("hello")

    return get(KnownHosts(Starlette(routes=[Route("/", hello)]), bound, allowed), "/", host)


@pytest.mark.parametrize("bound", ["0.0.0.0", "192.0.2.7", "::"])
def test_an_address_that_others_reach_answers_to_any_name_unless_some_are_named(bound) -> None:
    assert answered(bound, "evil.example") == 200
    assert answered(bound, "evil.example", ("chat.example",)) == 421
    assert answered(bound, "chat.example", ("chat.example",)) == 200


@pytest.mark.parametrize("bound", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_loopback_in_all_its_forms_is_guarded(bound) -> None:
    assert answered(bound, bound if ":" not in bound else f"[{bound}]:1") == 200
    assert answered(bound, "evil.example") == 421


def test_a_gateway_mounted_in_a_foreign_server_is_not_guarded(host) -> None:
    app = Starlette(routes=[Mount("/chat", understudy.gateway.app(host))])
    assert get(app, "/chat/health", "any.example") == 200


def test_a_request_without_a_host_passes(door) -> None:
    where = urlsplit(door.url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as plain:
        plain.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert plain.recv(12) == b"HTTP/1.1 200"


def test_the_names_of_the_setting_are_separated_by_commas() -> None:
    assert split_names(" chat.example, ,b.example:80,") == ["chat.example", "b.example:80"]
    assert split_names("") == []


def test_the_refusal_is_json_for_machines_too(door) -> None:
    answer = httpx.get(door.url + "/", headers={"Host": "x"}, trust_env=False)
    assert json.loads(answer.content)["error"]["retryable"] is False
