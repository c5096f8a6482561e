"""The command as a whole: help that teaches, errors in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import SECONDS, command, environment
from understudy.cli._console import explain
from understudy.storage import JournalClosed, UnderstudyError


def test_the_help_teaches_the_first_steps_and_lists_every_command(tmp_path) -> None:
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in (
        "serve",
        "tree",
        "config",
        "journal",
        "storage",
        "bench",
        "understudy serve office:app",
        "us.SessionHost",
        "UNDERSTUDY_DATA_DIR",
    ):
        assert word in done.stdout
    # An example that is re-flowed is no example any more.
    assert "\n          async def respond(self, message, turn):\n" in done.stdout


def test_without_arguments_the_help_is_shown(tmp_path) -> None:
    assert "understudy serve office:app" in "".join(
        (done := command(cwd=tmp_path)).stdout + done.stderr
    )


@pytest.mark.parametrize("name", ["serve", "tree", "config"])
def test_each_command_explains_itself(tmp_path, name: str) -> None:
    done = command(name, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage:" in done.stdout


@pytest.mark.parametrize("name", ["journal", "storage", "bench"])
def test_commands_of_other_rooms_are_found_when_they_are_wanted(tmp_path, name: str) -> None:
    done = command(name, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{name} " in done.stdout


def test_the_version_is_printed(tmp_path) -> None:
    done = command("--version", cwd=tmp_path)
    assert done.returncode == 0
    name, _, version = done.stdout.strip().partition(" ")
    assert name == "understudy"
    assert version[0].isdigit()


def test_an_unknown_command_is_told(tmp_path) -> None:
    done = command("dance", cwd=tmp_path)
    assert done.returncode == 2
    assert "dance" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_is_shown_to_who_asks_for_it(tmp_path) -> None:
    done = command("tree", cwd=tmp_path, UNDERSTUDY_TRACEBACK="1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("understudy: error:")


def test_a_reader_that_has_enough_is_no_error(tmp_path) -> None:
    piped = subprocess.run(
        f"{sys.executable} -m understudy.cli --help | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert piped.stderr == ""


def test_the_innermost_error_of_ours_speaks_for_those_around_it() -> None:
    inner = UnderstudyError("the journal in 'x' is locked")
    middle = RuntimeError("start failed")
    middle.__cause__ = inner
    outer = UnderstudyError("system demo failed to start")
    outer.cause = middle  # type: ignore[attr-defined]  # as StartFailed has it
    assert explain(outer) == "the journal in 'x' is locked"


def test_an_error_of_ours_speaks_for_the_operating_systems_beneath_it() -> None:
    locked = UnderstudyError("the journal is open in process 7")
    locked.__cause__ = BlockingIOError(11, "Resource temporarily unavailable")
    assert explain(locked) == "the journal is open in process 7"


def test_an_error_whose_cause_is_a_text_is_explained_too() -> None:
    assert "the system has stopped" in explain(JournalClosed("journal", "the system has stopped"))


def test_an_error_of_the_operating_system_names_its_file() -> None:
    assert explain(FileNotFoundError(2, "No such file", "x.toml")) == "x.toml: No such file"
    assert explain(UnderstudyError("two\nlines")) == "two lines"


def test_causes_in_a_circle_end() -> None:
    one, two = UnderstudyError("one"), UnderstudyError("two")
    one.__cause__, two.__cause__ = two, one
    assert explain(one) == "two"
