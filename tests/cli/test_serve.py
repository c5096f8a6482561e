"""`understudy serve`: from one line to a durable server, and to an ordered end."""

from __future__ import annotations

import json
import signal
import socket

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.cli.conftest import command

pytestmark = pytest.mark.slow


def session(server, name: str = "ada/echo/t1", query: str = ""):
    where = server.where.replace("http", "ws")
    return connect(f"{where}/v1/sessions/{name}/ws{query}", proxy=None, open_timeout=20)


def ask(client, text: str, message_id: str) -> list[dict]:
    client.send(json.dumps({"type": "user_message", "text": text, "message_id": message_id}))
    frames = [json.loads(client.recv(20))]
    while frames[-1]["type"] not in {"message", "error"}:
        frames.append(json.loads(client.recv(20)))
    return frames


def test_a_function_of_the_system_is_served_and_the_address_is_printed(serve, office) -> None:
    server = serve("office:app", "--port", "0").ready()
    assert server.where.startswith("http://127.0.0.1:")
    assert server.get("/health")["ready"] is True
    with session(server) as client:
        assert ask(client, "good morning", "m1")[-1]["message"] == "good morning "
    assert (office / ".understudy").is_dir()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Traceback" not in server.said


def test_killed_in_the_middle_it_comes_back_with_every_frame_once(serve) -> None:
    first = serve("office", "--port", "0").ready()
    with session(first, "ada/slow/t1") as client:
        client.send(json.dumps({"type": "user_message", "text": "go", "message_id": "m1"}))
        seen = [json.loads(client.recv(20)) for _ in range(5)]
        first.process.kill()
        first.wait()
        try:
            while True:
                seen.append(json.loads(client.recv(20)))
        except ConnectionClosed:
            pass
    second = serve("office", "--port", "0").ready()
    with session(second, "ada/slow/t1", f"?after={seen[-1]['seq']}") as client:
        more = [json.loads(client.recv(20)) for _ in range(5)]
    seqs = [frame["seq"] for frame in seen + more]
    assert seqs == list(range(1, len(seqs) + 1))
    assert [frame["type"] for frame in seen + more].count("retry") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_order_while_an_answer_is_being_streamed(serve, number) -> None:
    server = serve("office", "--port", "0").ready()
    with session(server, "ada/slow/t1") as client:
        client.send(json.dumps({"type": "user_message", "text": "go", "message_id": "m1"}))
        frames = [json.loads(client.recv(20))]
        server.signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                frames.append(json.loads(client.recv(20)))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    assert server.wait() == 0
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert "Traceback" not in server.said


def test_the_same_signal_again_ends_it_at_once(serve, office) -> None:
    (office / "stuck.py").write_text(
        "import threading\n"
        "import understudy as us\n"
        "class Stuck(us.Actor):\n"
        "    def on_stop(self):\n"
        "        print('stopping', flush=True)\n"
        "        threading.Event().wait()\n"
        "def app(system):\n"
        "    system.spawn(Stuck, name='stuck', dispatcher='thread')\n"
        "    return us.SessionHost(system, agents={})\n"
    )
    server = serve("stuck", "--port", "0", "--shutdown-timeout", "20").ready()
    server.signal(signal.SIGINT)
    assert server.lines.get(timeout=20) == "stopping"
    server.signal(signal.SIGINT)
    assert server.wait() == 130
    assert "forced to stop" in server.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_it_serves_ends_it_in_order_too(serve, office, number) -> None:
    (office / "long.py").write_text(
        "import threading\n"
        "def app(system):\n"
        "    print('loading', flush=True)\n"
        "    threading.Event().wait(60)\n"
    )
    server = serve("long", "--port", "0")
    assert server.lines.get(timeout=30) == "loading"
    server.signal(number)
    assert server.wait() == 0
    assert "Traceback" not in server.said
    assert not (office / ".understudy" / "control.sock").exists()


def test_port_and_data_directory_come_from_the_environment(serve, tmp_path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = tmp_path / "new" / "data"
    server = serve("office", PORT=str(port), UNDERSTUDY_DATA_DIR=str(data)).ready()
    assert server.where == f"http://127.0.0.1:{port}"
    assert data.is_dir()
    assert server.get("/health")["live"] is True


def test_the_data_directory_of_the_configuration_file_is_used(serve, office) -> None:
    (office / "understudy.toml").write_text('data_dir = "from-the-file"\n')
    server = serve("office", "--port", "0").ready()
    assert (office / "from-the-file" / "control.sock").exists()
    assert not (office / ".understudy").exists()
    assert command("tree", cwd=office).returncode == 0
    assert command("journal", "ls", cwd=office).returncode == 0
    assert command("tree", cwd=office, UNDERSTUDY_DATA_DIR="elsewhere").returncode == 2
    assert server.get("/health")["ready"] is True


def test_options_win_over_the_environment(serve, tmp_path) -> None:
    data = tmp_path / "data"
    server = serve(
        "office", "--port", "0", "--data-dir", data, PORT="1", UNDERSTUDY_DATA_DIR="/proc/none"
    ).ready()
    assert not server.where.endswith(":1")
    assert data.is_dir()


def test_a_busy_port_is_one_line_and_code_two(serve, office) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command("serve", "office", "--port", port, cwd=office)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"127.0.0.1:{port}: it is in use" in line
    assert "--port" in line


def test_a_data_directory_that_cannot_be_written_is_one_line_and_code_two(office) -> None:
    (office / "file").write_text("")
    done = command("serve", "office", "--port", "0", "--data-dir", "file/data", cwd=office)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "cannot write the data directory" in line
    assert "file/data" in line
    assert "UNDERSTUDY_DATA_DIR" in line


def test_a_second_server_on_the_same_data_directory_is_refused(serve, office) -> None:
    server = serve("office", "--port", "0").ready()
    done = command("serve", "office", "--port", "0", cwd=office)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert ".understudy" in line
    assert "Traceback" not in done.stderr
    assert server.get("/health")["ready"] is True


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere:app", ["no module 'nowhere'", "looked for in"]),
        ("office:door", ["has no 'door'", "app"]),
        ("office:Echo", ["cannot serve 'office:Echo'"]),
        ("missing.py", ["no file 'missing.py'"]),
        (":app", ["no module is named"]),
    ],
)
def test_a_target_that_is_not_there_is_told_in_one_line(office, target, words) -> None:
    done = command("serve", target, "--port", "0", cwd=office)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    for word in words:
        assert word in line


def test_a_mistake_in_the_application_is_shown_with_its_place(office) -> None:
    (office / "broken.py").write_text("def app(system):\n    return 1 / 0\n")
    done = command("serve", "broken", "--port", "0", cwd=office)
    assert done.returncode == 2
    assert "broken.py" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "understudy/cli" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("understudy: error: broken failed")


def test_a_module_that_misses_another_is_not_called_missing_itself(office) -> None:
    (office / "needy.py").write_text("import no_such_package\n")
    done = command("serve", "needy", "--port", "0", cwd=office)
    assert done.returncode == 2
    assert "No module named 'no_such_package'" in done.stderr


@pytest.mark.parametrize(
    ("env", "args", "words"),
    [
        ({"PORT": "many"}, (), "PORT is 'many'; give a number from 0 to 65535"),
        ({"PORT": "70000"}, (), "PORT is '70000'"),
        ({}, ("--log-level", "loud"), "--log-level is 'loud'"),
        ({}, ("--port", "70000"), "--port"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(office, env, args, words) -> None:
    done = command("serve", "office", *args, cwd=office, **env)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_asgi_application_that_mounts_a_gateway_is_served_and_its_system_stopped(
    serve, office
) -> None:
    (office / "site.py").unlink(missing_ok=True)
    (office / "website.py").write_text(
        "import os\n"
        "import understudy as us\n"
        "from starlette.applications import Starlette\n"
        "from starlette.routing import Mount\n"
        "from office import Echo\n"
        "system = us.ActorSystem('site', data_dir=os.environ['UNDERSTUDY_DATA_DIR'])\n"
        "host = us.SessionHost(system, agents={'echo': Echo})\n"
        "app = Starlette(routes=[Mount('/chat', us.gateway.app(host))])\n"
    )
    server = serve("website:app", "--port", "0").ready()
    assert server.get("/chat/health")["ready"] is True
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_session_host_made_by_the_module_is_served(serve, office) -> None:
    (office / "hosted.py").write_text(
        "import os\n"
        "import understudy as us\n"
        "from office import Echo\n"
        "system = us.ActorSystem('h', data_dir=os.environ['UNDERSTUDY_DATA_DIR'])\n"
        "host = us.SessionHost(system, agents={'echo': Echo})\n"
    )
    server = serve("hosted.py:host", "--port", "0").ready()
    assert server.get("/health")["ready"] is True


def test_a_changed_file_is_served_after_a_reload_and_sessions_go_on(serve, office) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve("office", "--reload", "--port", port).ready()
    with session(server) as client:
        last = ask(client, "a b", "m1")[-1]["seq"]
    text = (office / "office.py").read_text().replace('word + " "', 'word.upper() + " "')
    (office / "office.py").write_text(text)
    again = server.ready()
    with session(again, query=f"?after={last}") as client:
        frames = ask(client, "a b", "m2")
    assert frames[-1]["message"] == "A B "
    assert frames[0]["seq"] == last + 1
    server.signal(signal.SIGINT)
    assert server.wait() == 0


def test_a_reloader_that_is_killed_takes_its_server_with_it(serve) -> None:
    server = serve("office", "--reload", "--port", "0").ready()
    server.process.kill()
    # The server holds the other end of the pipe: it ends when the server does.
    assert server.wait() == -signal.SIGKILL
    assert not any(reader.is_alive() for reader in server._readers)


def test_a_system_that_gives_up_ends_the_server_with_code_one(serve, office) -> None:
    (office / "doomed.py").write_text(
        "import understudy as us\n"
        "class Doomed(us.Actor):\n"
        "    def on_receive(self, message):\n"
        "        raise SystemExit(3)\n"
        "def app(system):\n"
        "    system.spawn(Doomed, name='doomed').proxy()\n"
        "    ref = system.lookup('/user/doomed')\n"
        "    from starlette.responses import PlainTextResponse\n"
        "    from starlette.routing import Route\n"
        "    async def doom(request):\n"
        "        ref.tell('now')\n"
        "        return PlainTextResponse('{}')\n"
        "    host = us.SessionHost(system, agents={})\n"
        "    return us.gateway.app(host, routes=[Route('/doom', doom)])\n"
    )
    server = serve("doomed", "--port", "0").ready()
    assert server.get("/doom") == {}
    assert server.wait() == 0
    assert "Traceback (most recent call last)" not in server.said
