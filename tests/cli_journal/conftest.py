"""A journal to look into, and the command to do it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from understudy.cli._journal import app as journal_app
from understudy.cli._storage import app as storage_app
from understudy.storage import Journal, NewEvent

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A second later at each look."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


#: A file system in memory, where flushes cost nothing.
MEMORY = "/dev/shm"  # noqa: S108 - every test makes a private folder there


@pytest.fixture
def tmp_path():
    """A folder of this test alone, in memory where the system has such folders."""
    base = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="understudy-test-", dir=base) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    """No data directory of the machine, and no terminal of a certain width."""
    monkeypatch.delenv("UNDERSTUDY_DATA_DIR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def journal(data_dir, clock):
    """A journal with three streams, open for writing, as by a running system."""
    journal = Journal.open(data_dir / "journal", clock=clock)
    for number in range(1, 4):
        journal.append(
            "session:ada:echo:t1",
            [
                NewEvent("user_message", {"text": f"question {number}"}, topics=["talk"]),
                NewEvent("token", {"value": f"answer {number}"}, version=2),
            ],
        )
        clock.advance(60)
    journal.append("account:ada", [NewEvent("deposited", {"amount": 5}, id="d-1")])
    clock.advance(60)
    journal.append("account:bob", [NewEvent("overdrawn", {"by": 7}, priority="critical")])
    yield journal
    journal.close()


class Command:
    """Runs the command in this process."""

    def __init__(self, app) -> None:
        self._app = app
        self._runner = CliRunner()

    def __call__(self, *arguments, code=0, **options):
        result = self._runner.invoke(self._app, [str(a) for a in arguments], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *arguments, **options):
        return json.loads(self(*arguments, "--json", **options))

    def lines(self, *arguments, **options):
        return [json.loads(line) for line in self(*arguments, "--json", **options).splitlines()]


@pytest.fixture
def run(monkeypatch, data_dir):
    monkeypatch.setenv("UNDERSTUDY_DATA_DIR", str(data_dir))
    return Command(journal_app)


@pytest.fixture
def run_storage():
    return Command(storage_app)


@pytest.fixture
def start(data_dir):
    """Starts the command as a process of its own."""
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-c", "from understudy.cli import main; main()", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "UNDERSTUDY_DATA_DIR": str(data_dir)},
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def minutes():
    return lambda number: (START + timedelta(minutes=number)).isoformat()
