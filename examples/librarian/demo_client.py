"""The demo's client: asks over a WebSocket, reconnects with its last seq, checks every frame."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AWAY = (OSError, ConnectionClosed, InvalidHandshake, InvalidMessage, EOFError, TimeoutError)

# Between two attempts to reach a server that is down, first and most. Not part of any
# check; growing, so that the attempts do not keep the machine from starting the server.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.4


@dataclass
class Check:
    """What one client found; everything but the counts at the top must stay at zero."""

    frames: int = 0
    tokens: int = 0
    answers: int = 0
    connects: int = 0
    retries: int = 0
    lost: int = 0  # a seq was skipped
    repeated: int = 0  # a seq came again
    torn: int = 0  # the tokens of a turn, joined, are not its message
    failed: int = 0  # a turn ended with an error
    unsourced: int = 0  # an answer from the documents that names no source
    forgotten: int = 0  # a question about the conversation was answered wrongly
    notes: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """Return how many things were off."""
        return self.lost + self.repeated + self.torn + self.failed + self.unsourced + self.forgotten


class Client:
    """One session: asks its questions one after the other until each is answered.

    `moved` is called after every frame; `mid_answer` says whether an answer is
    being streamed right now, of which some has arrived in this run of the server.
    """

    def __init__(
        self,
        address: str,
        user: str,
        thread: str,
        questions: Sequence[tuple[str, str]],
        moved: Callable[[Client, dict[str, Any]], None],
    ) -> None:
        self.url = f"{address}/v1/sessions/{user}/librarian/{thread}/ws"
        self.questions = questions
        self.check = Check()
        self.seq = 0
        self.received: list[dict[str, Any]] = []
        self.fresh_tokens = 0
        self.connected_at = 0.0  # monotonic seconds of the last (re)connect
        self._moved = moved
        self._parts: list[str] = []
        self._name = f"{user}:librarian:{thread}"

    @property
    def mid_answer(self) -> bool:
        """Return whether tokens of an unfinished answer came since the last (re)connect."""
        return self.fresh_tokens >= 3

    async def run(self) -> None:
        """Ask every question; return when each has its answer."""
        for number, (question, expected) in enumerate(self.questions):
            await self._ask(f"{self._name}-{number}", question, expected)

    async def _ask(self, message_id: str, question: str, expected: str) -> None:
        asked = json.dumps({"type": "user_message", "text": question, "message_id": message_id})
        pause = FIRST_PAUSE
        while True:
            # A server that was killed: connect again, say what we have, ask again by the same name.
            self.fresh_tokens = 0
            try:
                async with connect(f"{self.url}?after={self.seq}", open_timeout=5) as socket:
                    self.connected_at = time.monotonic()
                    pause = FIRST_PAUSE
                    self.check.connects += 1
                    await socket.send(asked)
                    while True:
                        frame = json.loads(await socket.recv())
                        if self._take(frame, message_id, expected):
                            await socket.send(json.dumps({"type": "ack", "seq": self.seq}))
                            return
            except AWAY:
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 1.5)

    def _take(self, frame: dict[str, Any], message_id: str, expected: str) -> bool:
        """Check one frame; return whether it ends the turn asked for."""
        check = self.check
        if "seq" not in frame:
            check.failed += 1
            check.notes.append(f"{message_id}: {frame}")
            return True
        if frame["seq"] <= self.seq:
            check.repeated += 1
            check.notes.append(f"{message_id}: seq {frame['seq']} came after {self.seq}")
            return False
        if frame["seq"] != self.seq + 1:
            check.lost += frame["seq"] - self.seq - 1
            check.notes.append(f"{message_id}: seq {frame['seq']} came after {self.seq}")
        self.seq = frame["seq"]
        self.received.append(frame)
        check.frames += 1
        ended = self._account(frame, message_id, expected)
        self._moved(self, frame)
        return ended

    def _account(self, frame: dict[str, Any], message_id: str, expected: str) -> bool:
        check = self.check
        kind = frame["type"]
        if kind == "token":
            check.tokens += 1
            self.fresh_tokens += 1
            self._parts.append(frame["value"])
            return False
        if kind == "retry":
            check.retries += 1
            self._parts.clear()
            return False
        text = "".join(self._parts)
        self._parts.clear()
        self.fresh_tokens = 0
        if kind == "error":
            check.failed += 1
            check.notes.append(f"{message_id}: {frame}")
            return bool(frame.get("message_id", message_id) == message_id)
        if text != frame["message"]:
            check.torn += 1
            check.notes.append(f"{message_id}: {text[-60:]!r} is not {frame['message'][-60:]!r}")
        if frame.get("message_id") not in {None, message_id}:
            return False
        check.answers += 1
        if expected and expected not in frame["message"]:
            check.forgotten += 1
            check.notes.append(f"{message_id}: {expected!r} is not in {frame['message']!r}")
        if not expected and not frame.get("data", {}).get("sources"):
            check.unsourced += 1
            check.notes.append(f"{message_id}: no source for {frame['message'][:80]!r}")
        return True

    async def compare(self) -> None:
        """Read the whole session again, as a new client would, and compare frame by frame."""
        again: list[dict[str, Any]] = []
        async with connect(f"{self.url}?after=0&client=auditor", open_timeout=10) as socket:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(30):
                    while len(again) < len(self.received):
                        again.append(json.loads(await socket.recv()))
        if again != self.received:
            different = sum(a != b for a, b in zip(again, self.received, strict=False))
            missing = abs(len(again) - len(self.received))
            self.check.lost += different + missing
            self.check.notes.append(f"{self._name}: {different} frames differ, {missing} missing")
