"""The command as its users run it: a process of its own."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

SECONDS = 30

OFFICE = """
import asyncio
import understudy as us


class Echo(us.Agent):
    async def respond(self, message, turn):
        for word in message.text.split():
            yield word + " "


class Slow(us.Agent):
    async def respond(self, message, turn):
        for number in range(1000):
            yield f"{number} "
            await asyncio.sleep(0.02)


def app(system):
    return us.SessionHost(system, agents={"echo": Echo, "slow": Slow})
"""


def environment(**extra: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("UNDERSTUDY_") and name not in {"PORT", "PYTHONPATH"}
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


def command(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "understudy.cli", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=cwd,
        env=environment(**env),
        check=False,
    )


class Running:
    """A server in a process of its own."""

    def __init__(self, *args: str | Path, cwd: Path, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "understudy.cli", "serve", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment(**env),
            # A group of its own, so that what it starts can be ended with it.
            start_new_session=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_out, daemon=True),
            threading.Thread(target=self._read_err, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line)

    @property
    def said(self) -> str:
        return "".join(self.errors)

    def address(self) -> str:
        """Where it serves; waits until it does."""
        try:
            line = self.lines.get(timeout=SECONDS)
        except queue.Empty:
            pytest.fail(f"the server did not start: {self.said}")
        assert "serving" in line, line
        return line.rpartition(" ")[2]

    def get(self, path: str) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.where + path, timeout=SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def ready(self) -> Running:
        self.where = self.address()
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        code = self.process.wait(SECONDS)
        for reader in self._readers:
            reader.join(SECONDS)
        return code


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A folder with an application in it."""
    folder = tmp_path / "office"
    folder.mkdir()
    (folder / "office.py").write_text(OFFICE)
    return folder


@pytest.fixture
def serve(office: Path):
    """Start servers in the office's folder; whatever still runs at the end is killed."""
    started: list[Running] = []

    def start(*args: str | Path, **env: str) -> Running:
        server = Running(*args, cwd=office, **env)
        started.append(server)
        return server

    yield start
    for server in started:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.wait()
        for pipe in (server.process.stdout, server.process.stderr):
            assert pipe is not None
            pipe.close()
