"""The command's parts called in this process: what the processes of the other tests do not show."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import understudy.cli
from understudy.agents import SessionHost
from understudy.cli._serve import Options, prepare, run
from understudy.supervision import ActorSystem

runner = CliRunner()


@pytest.fixture
def system(tmp_path):
    with ActorSystem("inside", data_dir=tmp_path / "data") as system:
        SessionHost(system, agents={})
        yield system


def test_the_tree_is_printed_as_text_and_as_data(system, tmp_path) -> None:
    where = ["--data-dir", str(tmp_path / "data")]
    shown = runner.invoke(understudy.cli.app, ["tree", *where])
    assert shown.exit_code == 0
    assert shown.output.startswith("inside (pid ")
    assert "─ journal " in shown.output
    data = json.loads(runner.invoke(understudy.cli.app, ["tree", "--json", *where]).output)
    assert data["system"] == "inside"
    stacks = runner.invoke(understudy.cli.app, ["tree", "--stacks", *where]).output
    assert "--- thread MainThread, in no actor" in stacks


def test_watching_ends_with_ctrl_c_or_with_the_system(system, tmp_path, monkeypatch) -> None:
    pictures = []

    def once(seconds: float) -> None:
        pictures.append(seconds)
        if len(pictures) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("understudy.cli._tree.sleep", once)
    arguments = ["tree", "--watch", "--interval", "0.5", "--data-dir", str(tmp_path / "data")]
    watched = runner.invoke(understudy.cli.app, arguments)
    assert watched.exit_code == 0
    assert pictures == [0.5, 0.5]
    assert watched.output.count("inside (pid ") == 2
    monkeypatch.setattr("understudy.cli._tree.sleep", lambda _: system.stop())
    ended = runner.invoke(understudy.cli.app, arguments)
    assert ended.exit_code == 0
    assert "the system has gone" in ended.output


def test_settings_are_printed_as_text_and_as_data() -> None:
    shown = runner.invoke(understudy.cli.app, ["config", "show"])
    assert "gateway.port" in shown.output
    data = json.loads(runner.invoke(understudy.cli.app, ["config", "show", "--json"]).output)
    assert data["gateway.host"]["value"] == "127.0.0.1"


def test_groups_of_other_rooms_are_imported_only_when_used(monkeypatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "understudy.cli._storage", raising=False)
    assert "storage" in runner.invoke(understudy.cli.app, ["--help"]).output
    assert "understudy.cli._storage" not in sys.modules
    assert runner.invoke(understudy.cli.app, ["storage", "--help"]).exit_code == 0
    assert "understudy.cli._storage" in sys.modules


def test_without_the_web_packages_serve_says_what_to_install(monkeypatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    failed = runner.invoke(understudy.cli.app, ["serve", "office:app"])
    assert "pip install 'understudy[web]'" in str(failed.exception)


def test_main_turns_errors_into_one_line_and_a_code(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr("sys.argv", ["understudy", "tree", "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        understudy.cli.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("understudy: error: no running system")

    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(understudy.cli, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        understudy.cli.main()
    assert ended.value.code == 130


def test_the_data_directory_is_made_and_told_to_what_is_loaded(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_DATA_DIR", "elsewhere")
    prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    import os

    assert os.environ["UNDERSTUDY_DATA_DIR"] == str(tmp_path / "a" / "b")


def test_a_served_application_ends_with_its_system_and_code_zero(
    tmp_path, monkeypatch, capsys
) -> None:
    import sys

    from understudy.gateway._server import bind

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "short_lived.py").write_text(
        "import understudy as us\n"
        "class Ending(us.Actor):\n"
        "    def on_receive(self, message):\n"
        "        self.context.system.stop()\n"
        "def app(system):\n"
        "    ref = system.spawn(Ending)\n"
        "    ref.tell('now')\n"
        "    return us.SessionHost(system, agents={})\n"
        "def broken(system):\n"
        "    raise KeyError('no')\n"
    )

    def options(target: str) -> Options:
        return Options(
            target=target,
            host=None,
            port=0,
            data_dir=tmp_path / "data",
            config=None,
            log_level="warning",
            shutdown_timeout=10.0,
        )

    prepare(tmp_path / "data")
    assert run(options("short_lived"), bind("127.0.0.1", 0)) == 0
    assert "serving short_lived on http://127.0.0.1:" in capsys.readouterr().out
    with bind("127.0.0.1", 0) as listener:
        assert run(options("short_lived:broken"), listener) == 2
    assert "KeyError: 'no'" in capsys.readouterr().err
