"""What a person at a terminal sees: tables, colours, and bars for long work."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys

import pytest

from understudy.storage import NewEvent
from understudy.storage.adapters._url import open_storage

pty = pytest.importorskip("pty", reason="this system has no pseudo terminals")

pytestmark = pytest.mark.slow


@pytest.fixture
def at_terminal(data_dir):
    """Runs the command with a terminal for its output; returns its exit code and what it showed."""

    def run(*arguments, answer=b""):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", "from understudy.cli import main; main()", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={
                **os.environ,
                "UNDERSTUDY_DATA_DIR": str(data_dir),
                "TERM": "xterm-256color",
                "COLUMNS": "100",
            },
        )
        os.close(theirs)
        if answer:
            os.write(ours, answer)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal ends with the process
            while part := os.read(ours, 65536):
                shown += part
        os.close(ours)
        return process.wait(timeout=60), shown.decode()

    return run


def plain(shown):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n")


def test_streams_are_a_table(at_terminal, journal):
    code, shown = at_terminal("journal", "ls")
    assert code == 0
    assert "\t" not in shown
    lines = plain(shown).splitlines()
    assert re.match(r"stream +events +first +last +last event +written", lines[0])
    assert re.match(r"account:ada +1 +1 +1 +deposited", lines[1])


def test_events_are_coloured_and_cut_to_the_width(at_terminal, journal):
    journal.append("long", [NewEvent("a", {"text": "x" * 500}, priority="critical")])
    code, shown = at_terminal("journal", "tail", "--no-follow", "-n", "2")
    assert code == 0
    assert "\x1b[" in shown
    lines = plain(shown).splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert len(lines[1]) <= 100


def test_long_work_shows_how_far_it_is(at_terminal, journal, tmp_path):
    journal.append("many", [NewEvent("n", n) for n in range(3000)])
    code, shown = at_terminal("journal", "export", tmp_path / "out.jsonl")
    assert code == 0
    assert "exporting" in shown
    assert "3008/3008" in plain(shown)
    code, shown = at_terminal("journal", "import", tmp_path / "out.jsonl", "-d", tmp_path / "new")
    assert code == 0
    assert "importing" in shown
    code, shown = at_terminal("journal", "types")
    assert code == 0
    assert re.search(r"n +3000", plain(shown))


def test_a_migration_shows_each_kind(at_terminal, tmp_path):
    with open_storage(f"sqlite://{tmp_path}/a.db") as store:
        store.save_session("s", 1)
        store.journal.append("s", [NewEvent("a", 1)])
    code, shown = at_terminal(
        "storage", "migrate", "--from", f"sqlite://{tmp_path}/a.db", "--to", f"file://{tmp_path}/b"
    )
    assert code == 0
    told = plain(shown)
    assert "sessions" in told
    assert "1/1" in told
    assert "verify events" in told


def test_losing_events_for_good_is_asked_about(at_terminal, journal):
    journal.close()
    code, shown = at_terminal("journal", "prune", "--older-than", "1d", "--force", answer=b"n\n")
    assert code == 1
    assert "lost for good" in shown
    code, shown = at_terminal("journal", "stats")
    assert re.search(r"events +8\b", plain(shown))
    code, shown = at_terminal("journal", "prune", "--older-than", "1d", "--force", answer=b"y\n")
    assert code == 0
    assert "8 events" in plain(shown)
