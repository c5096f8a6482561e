"""`make demo`: kills the server three times in the middle of answers, and counts what was lost.

A server as its own process on a fresh data directory, a receiver of effects as
another, and in this one twenty sessions that ask real questions over WebSockets.
Three times, while at least half of the sessions are in the middle of an answer,
the server gets `kill -9`; it is started again and the clients reconnect with the
last seq they have. They check every frame. Exit code 0 only if nothing was lost,
nothing repeated, every question answered and no effect applied twice.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
if not __package__:  # run as a file: the package is found two levels up
    sys.path[0] = str(ROOT)

from rich.console import Console  # noqa: E402  - after the path is set
from rich.table import Table  # noqa: E402  - after the path is set

from examples.librarian.demo_client import Client  # noqa: E402  - after the path is set

if TYPE_CHECKING:
    from collections.abc import Sequence

QUESTIONS = (
    "What does the with statement do?",
    "How does functools.lru_cache work?",
    "What is a context manager?",
    "What happens when an exception is raised in a finally block?",
    "How can I parse command line arguments?",
    "What is a generator?",
    "How do I sort a list by a key?",
    "What does zip do?",
    "How do I open a SQLite database?",
    "What is operator precedence in Python?",
    "How do I make a temporary file?",
    "What are the truth value testing rules?",
    "How do slices work?",
    "What does the yield expression do?",
    "What is a deque good for?",
    "How do I create a thread?",
    "What is the heapq module?",
    "How do decorators work?",
    "How do I copy a directory tree?",
    "What does the for loop's else clause do?",
)
START_LIMIT = 60.0
DEMO_LIMIT = 300.0


@dataclass
class Kill:
    """One `kill -9`: how many answers it cut, and how long until the next came."""

    mid_answer: int
    at: float
    ready: float = 0.0  # seconds from the new process to its first healthy answer
    first_frame: float | None = None  # seconds from the new process to the first frame
    first_answer: float | None = None  # seconds from the new process to the first full answer
    started: float = 0.0


@dataclass
class Demo:
    """The server, the receiver and the clients of one run."""

    sessions: int
    kills: int
    pace: float
    console: Console
    folder: Path
    port: int = 0
    server: subprocess.Popen[bytes] | None = None
    receiver: subprocess.Popen[bytes] | None = None
    receiver_port: int = 0
    clients: list[Client] = field(default_factory=list)
    done: list[Kill] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    # --- processes -----------------------------------------------------------------

    def start_receiver(self) -> None:
        """Start the receiver of effects and learn its port."""
        command = [sys.executable, str(Path(__file__).with_name("demo_receiver.py"))]
        self.receiver = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.receiver.stdout is not None
        self.receiver_port = int(self.receiver.stdout.readline())

    async def start_server(self) -> float:
        """Start the server; return the seconds until it said it was healthy."""
        environment = {
            **os.environ,
            "UNDERSTUDY_DATA_DIR": str(self.folder / "data"),
            "PORT": str(self.port),
            "LIBRARIAN_PACE": str(self.pace),
            "LIBRARIAN_WEBHOOK": f"http://127.0.0.1:{self.receiver_port}/",
        }
        for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "LIBRARIAN_DOCS"):
            environment.pop(name, None)
        begun = time.monotonic()
        self.server = await asyncio.to_thread(self._spawn, environment)
        while not await asyncio.to_thread(self._healthy):
            if self.server.poll() is not None:
                raise RuntimeError(
                    f"the server ended with exit code {self.server.returncode} while starting; "
                    f"{self.folder / 'server.log'} says why"
                )
            if time.monotonic() - begun > START_LIMIT:
                raise RuntimeError(f"the server was not healthy within {START_LIMIT:.0f} s")
            await asyncio.sleep(0.02)
        return time.monotonic() - begun

    def _spawn(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(Path(__file__).parent)],
                env=environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _healthy(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def report(self) -> dict[str, int]:
        """Ask the receiver what it got."""
        with urlopen(f"http://127.0.0.1:{self.receiver_port}/report", timeout=5) as answer:
            counts: dict[str, int] = json.load(answer)
            return counts

    # --- the play ------------------------------------------------------------------

    async def run(self) -> list[str]:
        """Play it through; return what was off."""
        self.port = free_port()
        self.start_receiver()
        ready = await self.start_server()
        self.console.print(f"server up after {ready:.2f} s on port {self.port}")
        for number in range(self.sessions):
            self.clients.append(
                Client(
                    f"ws://127.0.0.1:{self.port}",
                    "demo",
                    f"t{number:02d}",
                    self._questions(number),
                    self._on_frame,
                )
            )
        tasks = [asyncio.ensure_future(client.run()) for client in self.clients]
        try:
            for number in range(self.kills):
                await self._kill(number, tasks)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*(client.compare() for client in self.clients))
        effects = await self._effects()
        code = await self._end()
        self._print(effects)
        return self._off(effects, code)

    def _questions(self, number: int) -> list[tuple[str, str]]:
        """Two subjects with a follow-up each; the last asks what was asked first."""
        first = QUESTIONS[number % len(QUESTIONS)]
        second = QUESTIONS[(number * 7 + 3) % len(QUESTIONS)]
        return [
            (first, ""),
            ("Tell me more about the first source", ""),
            (second, ""),
            ("What was my first question?", f"“{first}”"),
        ]

    @property
    def total(self) -> int:
        """Return how many questions are asked in all."""
        return sum(len(client.questions) for client in self.clients)

    async def _kill(self, number: int, tasks: Sequence[asyncio.Future[None]]) -> None:
        """Wait until enough was answered and half the sessions are mid-answer, then kill -9."""
        # The last question of a session has a short answer; the long ones are the first three.
        quota = round(self.total * 0.75 * (number + 0.4) / (self.kills + 0.4))
        enough = max(1, self.sessions // 2)
        while True:
            answered = sum(client.check.answers for client in self.clients)
            cut = sum(client.mid_answer for client in self.clients)
            if answered >= quota and cut >= enough:
                break
            if all(task.done() for task in tasks):
                raise RuntimeError("all questions were answered before the kill; ask for less pace")
            self.moved.clear()
            await self.moved.wait()
        server = self.server
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
        kill = Kill(mid_answer=cut, at=time.monotonic())
        server.wait()
        self.console.print(
            f"kill -9 number {number + 1}: {cut} of {self.sessions} sessions in mid-answer, "
            f"{answered} of {self.total} questions answered"
        )
        for client in self.clients:
            client.fresh_tokens = 0
        kill.started = time.monotonic()
        self.done.append(kill)
        kill.ready = await self.start_server()

    def _on_frame(self, client: Client, frame: dict[str, Any]) -> None:
        kill = self.done[-1] if self.done else None
        # Frames that a killed server had sent may still be on their way: they are not its heir's.
        if kill is not None and kill.first_answer is None and client.connected_at > kill.started:
            since = time.monotonic() - kill.started
            if kill.first_frame is None:
                kill.first_frame = since
            if frame["type"] == "message":
                kill.first_answer = since
        self.moved.set()

    async def _effects(self) -> dict[str, int]:
        """Wait until the receiver has the effect of every answer."""
        begun = time.monotonic()
        while True:
            effects = await asyncio.to_thread(self.report)
            if effects["messages"] >= self.total or time.monotonic() - begun > START_LIMIT:
                return effects
            await asyncio.sleep(0.1)

    async def _end(self) -> int:
        """End the server as an operator would; return its exit code."""
        server = self.server
        assert server is not None
        server.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(server.wait, 30)

    # --- the reckoning ----------------------------------------------------------------

    def _sum(self, name: str) -> int:
        return sum(getattr(client.check, name) for client in self.clients)

    def _off(self, effects: dict[str, int], exit_code: int) -> list[str]:
        off = [note for client in self.clients for note in client.check.notes]
        facts = {
            "every question answered": self._sum("answers") == self.total,
            "nothing lost": self._sum("lost") == 0,
            "nothing repeated": self._sum("repeated") == 0,
            "tokens joined are the message": self._sum("torn") == 0,
            "no turn failed": self._sum("failed") == 0,
            "every answer names its sources": self._sum("unsourced") == 0,
            "the conversation is remembered": self._sum("forgotten") == 0,
            f"{self.kills} kills": len(self.done) == self.kills,
            "each kill cut answers short": all(kill.mid_answer > 0 for kill in self.done),
            "every effect arrived": effects["messages"] == self.total,
            "no effect applied twice": effects["applied_twice"] == 0,
            "no effect changed": effects["changed_bodies"] == 0,
            "the server ended in order": exit_code == 0,
        }
        return [f"not so: {fact}" for fact, holds in facts.items() if not holds] + off

    def _print(self, effects: dict[str, int]) -> None:
        table = Table(title="kill -9 in the middle of answers", title_justify="left")
        table.add_column("what")
        table.add_column("count", justify="right")
        rows: list[tuple[str, object]] = [
            ("sessions", self.sessions),
            ("messages asked", self.total),
            ("messages answered", self._sum("answers")),
            ("frames", self._sum("frames")),
            ("of these tokens", self._sum("tokens")),
            ("kill -9", len(self.done)),
            ("answers cut short", sum(kill.mid_answer for kill in self.done)),
            ("answers begun anew", self._sum("retries")),
            ("connections made", self._sum("connects")),
            ("lost", self._sum("lost")),
            ("repeated", self._sum("repeated")),
            ("effects delivered", effects["deliveries"]),
            ("effects by key", effects["keys"]),
            ("effects applied twice", effects["applied_twice"]),
        ]
        for name, count in rows:
            table.add_row(name, f"{count:,}")
        self.console.print(table)
        times = Table(title="after each restart, in seconds", title_justify="left")
        for name in ("kill", "answers cut", "healthy", "first frame", "first answer"):
            times.add_column(name, justify="right")
        for number, kill in enumerate(self.done, 1):
            times.add_row(
                str(number),
                str(kill.mid_answer),
                f"{kill.ready:.2f}",
                "-" if kill.first_frame is None else f"{kill.first_frame:.2f}",
                "-" if kill.first_answer is None else f"{kill.first_answer:.2f}",
            )
        self.console.print(times)

    def clean_up(self) -> None:
        """End what still runs."""
        for process in (self.server, self.receiver):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def play(demo: Demo) -> list[str]:
    """Run the demo with a limit on its time."""
    async with asyncio.timeout(DEMO_LIMIT):
        return await demo.run()


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return 0 only if everything held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--pace", type=float, default=0.03, help="seconds per piece of an answer")
    parser.add_argument("--keep", action="store_true", help="keep the data directory and the log")
    options = parser.parse_args(arguments)
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="understudy-demo-"))
    demo = Demo(options.sessions, options.kills, options.pace, console, folder)
    keep = options.keep
    try:
        off = asyncio.run(play(demo))
    except (RuntimeError, TimeoutError) as error:
        off = [f"the demo could not be played to its end: {error or 'it took too long'}"]
    except KeyboardInterrupt:
        off = ["interrupted"]
    finally:
        demo.clean_up()
    if off:
        keep = True
        for note in itertools.islice(off, 40):
            console.print(note, style="red", highlight=False, markup=False)
    if keep:
        console.print(f"kept: {folder}", highlight=False)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    console.print("[red]FAILED[/]" if off else "[green]lost 0, repeated 0[/]")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
