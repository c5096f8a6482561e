"""`understudy serve --tree`: a tree of actors run from a file, seen and stopped in order."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import command

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

PARTS = """
import understudy as us


class Part(us.Actor):
    def __init__(self, name):
        super().__init__()
        self._name = name

    def on_start(self):
        print(self._name, "up", flush=True)

    def on_stop(self):
        print(self._name, "down", flush=True)

    def on_receive(self, message):
        return self._name


class NoDatabase(us.Actor):
    def on_start(self):
        raise OSError("no database here")


class Crashing(us.Actor):
    def on_start(self):
        self.context.schedule_once(0.0, "crash")

    def on_receive(self, message):
        raise RuntimeError("broken for good")


class Ending(Crashing):
    def on_receive(self, message):
        self.stop()


def late(system):
    # The tree beside this application comes to its end before it is made.
    system.wait(20)
    return us.SessionHost(system, agents={})


def ask(system):
    print("asked:", system.lookup("/user/shop/b").ask("who?"), flush=True)
    return us.SessionHost(system, agents={})


def own():
    return us.SessionHost(us.ActorSystem("own"), agents={})


async def bare(scope, receive, send):
    ...
"""


def child(name: str, cls: str = "Part", **fields: str) -> str:
    lines = [f'id = "{name}"', f'class = "parts:{cls}"']
    if cls == "Part":
        lines.append(f'args = ["{name}"]')
    lines += [f"{key} = {value}" for key, value in fields.items()]
    return "[[supervisor.children]]\n" + "\n".join(lines) + "\n"


@pytest.fixture
def shop(office):
    """Writes the tree file of a test."""
    (office / "parts.py").write_text(PARTS)

    def write(*children: str, top: str = "") -> Path:
        path: Path = office / "shop.toml"
        path.write_text(f"[supervisor]\n{top}\n" + "".join(children))
        return path

    return write


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_tree_runs_without_code_and_stops_in_order(serve, shop, office, number) -> None:
    shop(child("a"), child("b"))
    server = serve("--tree", "shop.toml", "--port", "0")
    assert [server.lines.get(timeout=30) for _ in range(2)] == ["a up", "b up"]
    server.ready()
    assert server.get("/health")["ready"] is True
    data = json.loads(command("tree", "--json", cwd=office).stdout)
    assert data["system"] == "shop"
    [user] = [node for node in data["tree"]["children"] if node["name"] == "user"]
    [tree] = user["children"]
    assert [node["path"] for node in tree["children"]] == ["/user/shop/a", "/user/shop/b"]
    server.signal(number)
    assert server.wait() == 0
    assert [server.lines.get(timeout=30) for _ in range(2)] == ["b down", "a down"]
    assert "Traceback" not in server.said


def test_a_tree_runs_beside_an_application_in_the_same_system(serve, shop, office) -> None:
    shop(child("a"), child("b"))
    server = serve("parts:ask", "--tree", "shop.toml", "--port", "0")
    assert [server.lines.get(timeout=30) for _ in range(3)] == ["a up", "b up", "asked: b"]
    assert "serving parts:ask and shop.toml on http" in server.lines.get(timeout=30)
    server.signal(signal.SIGINT)
    assert server.wait() == 0


def test_a_tree_runs_in_the_system_an_application_has_made_itself(serve, shop) -> None:
    shop(child("a"))
    server = serve("parts:own", "--tree", "shop.toml", "--port", "0")
    assert server.lines.get(timeout=30) == "a up"
    server.ready()
    names = [node["name"] for node in server.get("/v1/tree")["tree"]["children"][-1]["children"]]
    assert names == ["shop"]
    server.signal(signal.SIGINT)
    assert server.wait() == 0


def test_an_application_without_a_system_cannot_have_a_tree(shop, office) -> None:
    shop(child("a"))
    done = command("serve", "parts:bare", "--tree", "shop.toml", "--port", "0", cwd=office)
    assert done.returncode == 2
    assert "it made 0 systems, and --tree runs in one" in done.stderr
    assert done.stdout == ""


def test_every_mistake_in_the_file_is_a_line_and_nothing_starts(shop, office) -> None:
    shop(child("a"), child("b", "Prat", restrat='"permanent"'), top='strategy = "one_for_some"')
    done = command("serve", "--tree", "shop.toml", "--port", "0", cwd=office)
    assert done.returncode == 2
    assert done.stdout == ""
    strategy, key, path = done.stderr.splitlines()
    assert strategy == (
        "understudy: error: tree shop.toml: supervisor.strategy = 'one_for_some' cannot be used; "
        "expected one_for_one, one_for_all, rest_for_one; did you mean 'one_for_one'?"
    )
    assert "supervisor.children[1].restrat = 'permanent'" in key
    assert "did you mean 'restart'?" in key
    assert "supervisor.children[1].class = 'parts:Prat'" in path
    assert "did you mean 'Part'?" in path


def test_a_child_that_cannot_start_is_told_and_the_others_are_stopped(shop, office) -> None:
    shop(child("a"), child("db", "NoDatabase"), child("b"))
    done = command("serve", "--tree", "shop.toml", "--port", "0", cwd=office)
    assert done.returncode == 2
    assert done.stdout.splitlines() == ["a up", "a down"]
    assert done.stderr.splitlines()[-1] == (
        "understudy: error: shop could not start, because shop/db could not: "
        "OSError: no database here"
    )


def test_a_tree_that_gives_up_ends_the_server_with_code_one(serve, shop) -> None:
    shop(child("a"), child("c", "Crashing"), top="intensity = 1")
    server = serve("--tree", "shop.toml", "--port", "0")
    assert server.wait() == 1
    assert "the tree shop.toml stopped by itself: RestartLimit(" in server.said
    assert "broken for good" in server.said
    lines = list(server.lines.queue)
    assert lines.count("a up") == lines.count("a down") == 4


def test_a_tree_that_has_come_to_its_end_ends_the_server_with_code_zero(serve, shop) -> None:
    ending = child("c", "Ending", restart='"transient"', significant="true")
    shop(child("a"), ending, top='auto_shutdown = "any_significant"')
    server = serve("--tree", "shop.toml", "--port", "0")
    assert server.wait() == 0
    assert "the tree shop.toml has ended: Exit.SHUTDOWN" in server.said
    assert "a down" in server.lines.queue


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("Ending", 0, "the tree shop.toml has ended: Exit.SHUTDOWN"),
        ("Crashing", 1, "the tree shop.toml stopped by itself: RestartLimit("),
    ],
)
def test_a_tree_that_ends_before_its_application_is_made_ends_the_server_the_same_way(
    serve, shop, kind, code, words
) -> None:
    top = 'auto_shutdown = "any_significant"\nintensity = 1'
    shop(child("a"), child("c", kind, restart='"transient"', significant="true"), top=top)
    server = serve("parts:late", "--tree", "shop.toml", "--port", "0")
    assert server.wait() == code
    assert words in server.said
    assert 'parts.py", line' not in server.said.rpartition(words)[2]  # nobody else is to blame


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "nothing to serve: name an application"),
        (("--tree", "missing.toml"), "missing.toml: No such file or directory"),
    ],
)
def test_what_is_not_named_or_not_there_is_one_line(office, args, words) -> None:
    done = command("serve", *args, "--port", "0", cwd=office)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert words in line


def test_classes_are_found_beside_the_file_too(serve, shop, office, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(shop(child("a")), elsewhere / "shop.toml")
    shutil.move(office / "parts.py", elsewhere / "parts.py")
    server = serve("--tree", elsewhere / "shop.toml", "--port", "0")
    assert server.lines.get(timeout=30) == "a up"
    server.ready().signal(signal.SIGINT)
    assert server.wait() == 0


def test_a_changed_file_is_run_after_a_reload(serve, shop) -> None:
    shop(child("a"))
    server = serve("--tree", "shop.toml", "--reload", "--port", "0")
    assert server.lines.get(timeout=30) == "a up"
    server.ready()
    shop(child("a"), child("b"))
    assert [server.lines.get(timeout=30) for _ in range(3)] == ["a down", "a up", "b up"]
    server.ready().signal(signal.SIGINT)
    assert server.wait() == 0


def test_the_example_is_served(serve, office) -> None:
    server = serve("--tree", EXAMPLES / "print_shop.toml", "--port", "0").ready()
    told = command("tree", cwd=office).stdout
    for name in ("print_shop", "ledger", "presses", "offset", "letterpress", "customer"):
        assert name in told
    server.signal(signal.SIGINT)
    assert server.wait() == 0
