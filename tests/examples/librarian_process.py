"""The Librarian as a process of its own, for tests that kill it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LibrarianProcess:
    """`python examples/librarian` on a port and a data directory that stay the same."""

    def __init__(self, data_dir, *, pace=0.02, docs=None, **environment):
        self.data_dir = Path(data_dir)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        handle, name = tempfile.mkstemp(prefix="librarian-", suffix=".log")
        os.close(handle)
        self.log = Path(name)
        self.command = [sys.executable, str(ROOT / "examples" / "librarian")]
        if docs is not None:
            self.command += ["--docs", str(docs)]
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("OPENAI_", "LIBRARIAN_", "UNDERSTUDY_"))
            },
            "PORT": str(self.port),
            "UNDERSTUDY_DATA_DIR": str(self.data_dir),
            "LIBRARIAN_PACE": str(pace),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self):
        """Start it and wait until it says that it serves; it says so once it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=log
            )
        assert self.process.stdout is not None
        with self.process.stdout as told:
            said = told.readline()
        assert b"serving" in said, f"it ended: {self.log.read_text()[-3000:]}"
        assert self.healthy()
        return self

    def healthy(self):
        try:
            return self.get("/health")[0] == 200
        except OSError:
            return False

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(
                method, path, data, {"content-type": "application/json", **(headers or {})}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def ask(self, thread, text, message_id, *, user="ada"):
        status, body = self.request(
            "POST",
            f"/v1/sessions/{user}/librarian/{thread}/messages",
            {"text": text, "message_id": message_id},
        )
        assert status == 200, body
        return json.loads(body)

    def kill(self):
        """kill -9."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self, number=signal.SIGTERM):
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self.log.unlink(missing_ok=True)
