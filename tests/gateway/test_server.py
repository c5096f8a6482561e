"""Binding, starting and ending a server."""

from __future__ import annotations

import socket
import threading

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from websockets.sync.client import connect

import understudy.gateway
from tests.gateway.conftest import Client
from understudy.gateway import BindFailed, MissingExtra, StartupFailed
from understudy.gateway._run import systems_of
from understudy.gateway._server import Server, address_of, bind

SECONDS = 20


async def hello(request):
    return PlainTextResponse("hello")


def test_port_zero_is_a_free_port_and_the_address_says_which() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_address_of_the_sixth_version_is_written_in_brackets() -> None:
    try:
        listener = bind("::1", 0)
    except BindFailed:
        pytest.skip("this machine has no IPv6 loopback")
    with listener:
        assert address_of(listener).startswith("http://[::1]:")


def test_a_busy_port_is_named_with_a_way_out() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindFailed) as caught:
            bind("127.0.0.1", port)
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
    assert f"127.0.0.1:{port}: it is in use by another process" in str(caught.value)
    assert "--port" in str(caught.value)


def test_a_host_that_is_not_of_this_machine_is_named() -> None:
    with pytest.raises(BindFailed, match="no such address"):
        bind("203.0.113.1", 0)
    with pytest.raises(BindFailed, match="unknown"):
        bind("no.such.host.invalid", 0)
    with pytest.raises(BindFailed, match="unknown"):
        bind("x" * 300, 0)


def test_an_application_whose_startup_fails_is_not_served() -> None:
    async def broken(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

    stopped: list[float] = []
    server = Server(broken, bind("127.0.0.1", 0), on_stopped=stopped.append)
    with pytest.raises(StartupFailed):
        server.run()
    assert stopped == [10.0]
    assert server.stopped.is_set()
    assert not server.started.is_set()


def test_stopping_twice_is_stopping_once_and_the_limit_counts_from_the_first() -> None:
    told: list[str] = []
    left: list[float] = []
    server = Server(
        Starlette(routes=[Route("/", hello)]),
        bind("127.0.0.1", 0),
        shutdown_timeout=30.0,
        on_started=told.append,
        on_stopped=left.append,
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.started.wait(SECONDS)
    assert told == [server.address]
    assert httpx.get(server.address, trust_env=False).text == "hello"
    server.stop()
    first = server.stop_asked
    server.stop()
    assert server.stop_asked == first
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert 0 < left[0] < 30.0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])))


def test_a_gateway_mounted_in_another_application_works_under_its_path(serve, host) -> None:
    site = Starlette(routes=[Route("/", hello), Mount("/chat/now", understudy.gateway.app(host))])
    door = serve(site)
    assert door.http.get("/").text == "hello"
    path = "/chat/now/v1/sessions/ada/echo/t1/messages"
    answer = door.http.post(path, json={"text": "hi", "message_id": "m1"}).json()
    assert answer["message"] == "hi "
    assert answer["events"] == "/chat/now/v1/sessions/ada/echo/t1/events"
    with door.connect("ada/echo/t%2F1", prefix="/chat/now") as client:
        client.say("there", "m2")
        assert client.turn()[-1]["message"] == "there "
    assert door.http.get("/chat/now/health").status_code == 200
    with door.connect("ada/gate/t1", prefix="/chat/now") as client:
        client.say("wait", "m1")
        assert client.receive()["value"] == "waiting "
        door.server.stop()
        assert client.until_closed() == ([], 1001)


def test_a_route_of_the_applications_own_comes_first(serve, host) -> None:
    door = serve(understudy.gateway.app(host, routes=[Route("/", hello), Route("/health", hello)]))
    assert door.http.get("/").text == "hello"
    assert door.http.get("/health").text == "hello"
    assert door.http.get("/metrics").status_code == 200


def test_the_systems_behind_mounts_and_middleware_are_found_once(host, system) -> None:
    gateway = understudy.gateway.app(host)

    class Wrapped:
        def __init__(self, app) -> None:
            self.app = app

        async def __call__(self, scope, receive, send) -> None:
            await self.app(scope, receive, send)

    site = Wrapped(Starlette(routes=[Mount("/a", gateway), Mount("/b", Wrapped(gateway))]))
    assert systems_of(site) == [system]
    assert systems_of(hello) == []


def test_a_program_can_serve_a_host_and_ends_with_its_system(system, host) -> None:
    where: list[str] = []
    answered = threading.Event()

    def started(address: str) -> None:
        where.append(address)
        answered.set()

    thread = threading.Thread(
        target=understudy.gateway.serve, args=(host,), kwargs={"port": 0, "on_started": started}
    )
    thread.start()
    assert answered.wait(SECONDS)
    path = f"{where[0]}/v1/sessions/ada/echo/t1/messages"
    assert httpx.post(path, json={"text": "x"}, trust_env=False).json()["message"] == "x "
    system.stop()
    thread.join(SECONDS)
    assert not thread.is_alive()


@pytest.mark.parametrize("call", ["app", "serve"])
def test_without_the_web_packages_the_error_says_what_to_install(host, monkeypatch, call) -> None:
    import sys

    for name in ("understudy.gateway._app", "understudy.gateway._run"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    with pytest.raises(MissingExtra) as caught:
        getattr(understudy.gateway, call)(host)
    assert "pip install 'understudy[web]'" in str(caught.value)
    assert (caught.value.extra, caught.value.package) == ("web", "starlette")


def test_another_missing_package_is_not_blamed_on_the_extra(host, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "understudy.gateway._app", None)
    with pytest.raises(ModuleNotFoundError, match="_app"):
        understudy.gateway.app(host)


def test_under_a_server_of_somebody_elses_the_end_is_quiet_too(host, caplog) -> None:
    import uvicorn

    told = threading.Event()

    class Plain(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            told.set()

    listener = bind("127.0.0.1", 0)
    server = Plain(uvicorn.Config(understudy.gateway.app(host), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    address = address_of(listener)
    thread.start()
    assert told.wait(SECONDS)
    where = address.replace("http", "ws") + "/v1/sessions/ada/gate/t1/ws"
    with connect(where, proxy=None, open_timeout=SECONDS) as socket_:
        client = Client(socket_)
        client.say("wait", "m1")
        assert client.receive()["value"] == "waiting "
        server.should_exit = True
        assert client.until_closed() == ([], 1012)
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
