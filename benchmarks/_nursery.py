"""Child processes without their start-up time: forked from one that has done the imports.

A fresh interpreter needs half a second to import this project, which over a thousand measurements
is longer than the measurements themselves. The nursery is one process that imports and does
nothing else: no thread, no file, no loop. Each measurement is a fork of it, a process of its own
with a session of its own, killed with all it has started when its time is up.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType


class NurseryClosed(RuntimeError):
    """The process that children are forked from has ended; its last words are the message."""


def possible() -> bool:
    """Whether this platform can fork."""
    return hasattr(os, "fork")


class Nursery:
    """The runner's side: sends orders, watches the clock.

    Args:
        origins: modules and scripts to import before the first fork.
    """

    def __init__(self, origins: list[str]) -> None:
        # CPU seconds of the last child that ended by itself, and of those it has waited for.
        self.used: float | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="understudy-nursery-")
        self._errors = Path(self._folder.name, "nursery.err")
        with self._errors.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "understudy.benchmarks._nursery", json.dumps(origins)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                bufsize=0,  # select must see every line that has not been read
            )

    def run(self, order: dict[str, Any], limit: float) -> tuple[str, str, int | None]:
        """Fork a child for an order and wait for it; afterwards `used` is what it took.

        Returns:
            what it answered, what it wrote to stderr, and its status as `subprocess` has it
            (negative for a signal); None when it had to be cut off after `limit` seconds.
        """
        self.used = None
        stem = Path(self._folder.name, "child")
        answer, errors = stem.with_suffix(".out"), stem.with_suffix(".err")
        assert self._process.stdin is not None
        line = json.dumps({"order": order, "answer": str(answer), "errors": str(errors)})
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
        child = int(self._line(None))
        status: int | None = None
        try:
            found = self._line(time.monotonic() + limit)
            if found:
                code, used = found.split()
                status, self.used = int(code), float(used)
        finally:
            _kill(child)
            if status is None:
                self._line(None)  # the nursery's own note of the end
        return _text(answer), _text(errors), status

    def _line(self, deadline: float | None) -> str:
        """The next line from the nursery; an empty one when the deadline has passed."""
        assert self._process.stdout is not None
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([self._process.stdout], [], [], wait)[0]:
            return ""
        line = self._process.stdout.readline().decode()
        if not line:
            raise NurseryClosed(self._errors.read_text(encoding="utf-8")[-2_000:])
        return line.strip()

    def close(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def serve(origins: list[str]) -> None:
    """The nursery itself: import, then fork for each line on stdin until it ends."""
    from understudy.benchmarks import worker

    for origin in origins:
        worker.load(origin)
    for line in sys.stdin:
        task = json.loads(line)
        for name in ("answer", "errors"):
            Path(task[name]).unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            os.setsid()
            _become(task)
        print(child, flush=True)
        _, status, used = os.wait4(child, 0)
        print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, flush=True)


def _become(task: dict[str, Any]) -> None:
    """In the child: files for stdin, stdout and stderr, then the worker's main."""
    from understudy.benchmarks import worker

    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for path, mode, target in (
        (os.devnull, os.O_RDONLY, 0),
        (task["answer"], flags, 1),
        (task["errors"], flags, 2),
    ):
        opened = os.open(path, mode, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    status = 1
    try:
        status = worker.main([json.dumps(task["order"])])
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(json.loads(sys.argv[-1]))
