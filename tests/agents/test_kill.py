"""kill -9 in the middle of an answer: nothing lost, nothing repeated, seq dense."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.conftest import seqs, text_of

CHILD = Path(__file__).with_name("kill_child.py")
WHOLE = "".join(f"{n} " for n in range(10))


class Server:
    """The process to be killed, and the client that follows it."""

    def __init__(self, data_dir: Path, mode: str) -> None:
        self.data_dir = data_dir
        self.mode = mode
        self.frames: list[dict[str, Any]] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        after = self.frames[-1]["seq"] if self.frames else 0
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(self.data_dir), str(after), self.mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def go_on(self, pieces: int) -> None:
        """Let the agent say so many pieces, and receive them."""
        assert self.process is not None
        assert self.process.stdin is not None
        for _ in range(pieces):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            while self.receive()["type"] != "token":
                pass

    def receive(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server ended"
        frame: dict[str, Any] = json.loads(line)
        self.frames.append(frame)
        return frame

    def kill(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process = None

    def finish(self) -> None:
        while self.receive()["type"] != "message":
            pass
        assert self.process is not None
        assert self.process.wait(20) == 0
        self.kill()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["anew", "resumable"])
def test_kill_9_in_the_middle_of_an_answer_loses_and_repeats_nothing(
    tmp_path: Path, servers: list[Server], mode: str
) -> None:
    server = Server(tmp_path / "data", mode)
    servers.append(server)
    for pieces in (4, 3, 2):
        server.start()
        server.go_on(pieces)
        server.kill()
    said = sum(f["type"] == "token" for f in server.frames)
    assert said == 9
    server.start()
    server.go_on(1 if mode == "resumable" else 10)
    server.finish()
    frames = server.frames
    assert seqs(frames) == list(range(1, len(frames) + 1))
    assert text_of(frames) == WHOLE
    assert frames[-1]["message"] == WHOLE
    assert [f["type"] for f in frames].count("message") == 1
    retries = [f["attempt"] for f in frames if f["type"] == "retry"]
    assert retries == ([] if mode == "resumable" else [2, 3, 4])
    # outside the journal an effect happens at least once; here no kill fell between the two
    assert set((tmp_path / "notes").read_text().split()) == {"m1-note"}
