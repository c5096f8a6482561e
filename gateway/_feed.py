"""The frames on their way to one client: bounded in memory, whatever the client does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

# Seconds between two looks for a frame that must be in the journal, and how many looks: a frame
# that retention has taken meanwhile never comes.
PAUSE = 0.01
LOOKS = 100

Frame = Mapping[str, Any]
Page = Callable[[int, int], Awaitable[Sequence[Frame]]]


class Feed:
    """Frames from a journal thread to one connection's coroutine, in order, each once.

    The session's frames are numbered densely and stand in the journal, so the buffer here is only
    a short cut. When a client is slower than its session the buffer fills, further frames are
    let go, and what was let go is read back from the journal page by page, at the client's own
    pace. The rule that keeps it right needs no agreement between the two threads: a frame leaves
    here only if its number is the next one; a smaller one was sent already, and a greater one
    means that pages must be read first.

    Args:
        after: The number of the last frame the client has.
        capacity: Frames held at most.
        page: Coroutine function `(after, limit)`, giving the frames behind `after` from the
            journal, at most `limit`.
    """

    def __init__(self, *, after: int, capacity: int, page: Page) -> None:
        self.sent = after
        self._capacity = capacity
        self._page = page
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lock = threading.Lock()
        self._buffer: list[Frame] = []
        self._lagging = False
        self._owed = 0
        self._notified = False
        self._closed = False

    def offer(self, frame: Frame) -> None:
        """Take one live frame. Runs on a journal thread; never blocks, never raises.

        However many frames come, at most one wake-up waits in the event loop: otherwise the
        loop's own queue would grow where the buffer may not.
        """
        with self._lock:
            if self._closed:
                return
            if len(self._buffer) < self._capacity:
                self._buffer.append(frame)
            else:
                self._lagging = True
                self._owed = max(self._owed, frame["seq"])
            if self._notified:
                return
            self._notified = True
        self._notify()

    def lag(self) -> None:
        """Have the next round read from the journal: used once, to begin where `after` says."""
        with self._lock:
            self._lagging = True
            self._notified = True
        self._wake.set()

    def close(self) -> None:
        """Take nothing more, and end the iteration."""
        with self._lock:
            self._closed = True
            self._buffer.clear()
        self._notify()

    def _notify(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            # The event loop is closed: so is the connection.
            self._closed = True

    def _take(self) -> tuple[list[Frame], bool]:
        with self._lock:
            self._wake.clear()
            self._notified = False
            frames, self._buffer = self._buffer, []
            lagging, self._lagging = self._lagging, False
            return frames, lagging

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """The frames behind `after`, each once, in order, until `close`."""
        while True:
            await self._wake.wait()
            frames, lagging = self._take()
            if self._closed:
                return
            for frame in frames:
                seq = frame["seq"]
                if seq > self.sent + 1:
                    async for older in self._read_pages():
                        yield older
                if seq > self.sent:
                    self.sent = seq
                    yield frame
            if lagging:
                async for older in self._read_pages():
                    yield older

    async def _read_pages(self) -> AsyncGenerator[Frame, None]:
        patience = LOOKS
        while not self._closed:
            page = await self._page(self.sent, self._capacity)
            for frame in page:
                if frame["seq"] > self.sent:
                    self.sent = frame["seq"]
                    yield frame
            if len(page) == self._capacity:
                continue
            if self.sent >= self._owed or not patience:
                return
            # What was let go was safe already; a reader that does not show it yet will soon.
            patience -= 1
            await asyncio.sleep(PAUSE)
