"""A turn, seen by the one who asked: wait for its answer, or follow its frames."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from understudy.actors import Timeout
from understudy.agents._errors import TurnFailed
from understudy.agents._frames import CLOSING, Answer, Frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from understudy.agents._key import SessionKey


class TurnState:
    """What is known of one turn in this process, shared by everybody who named it.

    Written by the journal's thread (frames that are safe) and by the session (acceptance,
    failures before any frame); read from anywhere.
    """

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.frames: list[Frame] = []
        self.accepted = False
        self.closed = False
        self.error: BaseException | None = None
        self._changed = threading.Condition()
        self._watchers: list[Callable[[], None]] = []

    def accept(self, earlier: list[Frame] | None = None) -> None:
        """The message is safe; `earlier` are frames its turn already had."""
        with self._changed:
            if self.accepted:
                return
            self.accepted = True
            if earlier:
                # frames pushed meanwhile may be among those read from the journal
                first = self.frames[0]["seq"] if self.frames else earlier[-1]["seq"] + 1
                self.frames[:0] = [frame for frame in earlier if frame["seq"] < first]
                self.closed = self.frames[-1]["type"] in CLOSING
            watchers = self._notify()
        _call(watchers)

    def push(self, frames: list[Frame]) -> None:
        """These frames of the turn are safe.

        They may come before `accept`, where a turn of an earlier run of the process goes on:
        nobody is given a frame before `accept` has put the earlier ones in front.
        """
        with self._changed:
            self.frames.extend(frames)
            self.closed = self.closed or frames[-1]["type"] in CLOSING
            watchers = self._notify()
        _call(watchers)

    def fail(self, error: BaseException) -> None:
        """The turn ends here without a frame; nothing of it was kept since the last one."""
        with self._changed:
            if self.closed and self.accepted:
                return
            if not self.closed:
                self.error = error
                self.closed = True
            self.accepted = True
            watchers = self._notify()
        _call(watchers)

    def has_more(self, given: int) -> bool:
        """Whether one who was given `given` frames has something to look at."""
        return self.accepted and (len(self.frames) > given or self.closed)

    def wait(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Block until `ready()`; False when `timeout` seconds passed before."""
        with self._changed:
            return self._changed.wait_for(ready, timeout)

    def watch(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call `call` at every change, from the changing thread; returns the way out."""
        with self._changed:
            self._watchers.append(call)

        def cancel() -> None:
            with self._changed:
                if call in self._watchers:
                    self._watchers.remove(call)

        return cancel

    def _notify(self) -> list[Callable[[], None]]:
        self._changed.notify_all()
        return list(self._watchers)


class Turn:
    """One message and what becomes of it.

    The turn belongs to the session, not to this object: it goes on when nobody waits, survives a
    crash, and can be named again by sending the same `message_id`.

    Iterating gives the frames of the turn from its first one on, each as soon as it is safe in the
    journal, and ends after the final frame: ``async for frame in turn`` on an event loop,
    ``for frame in turn`` elsewhere.

    Attributes:
        session: The session's key.
        message_id: The name of the turn within its session.
    """

    def __init__(self, session: SessionKey, state: TurnState) -> None:
        self.session = session
        self.message_id = state.message_id
        self._state = state

    def done(self) -> bool:
        """Whether the turn has ended; afterwards `result` does not wait."""
        return self._state.closed

    def accepted(self, timeout: float | None = None) -> Turn:
        """Wait until the message itself is safe in the journal; not to be used on an event loop.

        Raises:
            Timeout: It was not within `timeout` seconds; optional, and if absent there is no limit.
        """
        state = self._state
        if not state.wait(lambda: state.accepted or state.closed, timeout):
            raise Timeout(f"message {self.message_id!r} was not safe within {timeout} s")
        if state.error is not None and not state.frames:
            raise state.error
        return self

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the answer; not to be used on an event loop, where one awaits the turn.

        Raises:
            TurnFailed: The turn ended with an error frame.
            Timeout: It did not end within `timeout` seconds (optional, and if absent there is no
                limit); it goes on, and may be waited for again.
        """
        state = self._state
        if not state.wait(lambda: state.closed, timeout):
            raise Timeout(
                f"turn {self.message_id!r} of session {self.session} did not end within "
                f"{timeout} s; it goes on, and result() may be called again"
            )
        return self._outcome()

    def add_done_callback(self, call: Callable[[Turn], object]) -> None:
        """Call `call(turn)` once the turn has ended, at once if it has.

        It runs on the journal's thread, or on this one, and must not block.
        """
        lock = threading.Lock()
        called = False

        def check() -> None:
            nonlocal called
            if not self._state.closed:
                return
            with lock:
                if called:
                    return
                called = True
            call(self)

        self._state.watch(check)
        check()

    def __await__(self) -> Generator[object, None, Answer]:
        return self._ended().__await__()

    async def _ended(self) -> Answer:
        await self._until(lambda: self._state.closed)
        return self._outcome()

    async def _accepted(self) -> None:
        await self._until(lambda: self._state.accepted or self._state.closed)
        if self._state.error is not None and not self._state.frames:
            raise self._state.error

    async def _until(self, ready: Callable[[], bool]) -> None:
        if ready():
            return
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)

        cancel = self._state.watch(wake)
        try:
            while not ready():
                await changed.wait()
                changed.clear()
        finally:
            cancel()

    async def __aiter__(self) -> AsyncIterator[Frame]:
        state, given = self._state, 0
        while True:
            await self._until(lambda: state.has_more(given))  # noqa: B023 -- called within this pass only
            while given < len(state.frames):
                given += 1
                yield dict(state.frames[given - 1])
            if state.closed and given == len(state.frames):
                break
        if state.error is not None:
            raise state.error

    def __iter__(self) -> Iterator[Frame]:
        state, given = self._state, 0
        while True:
            state.wait(lambda: state.has_more(given), None)  # noqa: B023 -- ditto
            while given < len(state.frames):
                given += 1
                yield dict(state.frames[given - 1])
            if state.closed and given == len(state.frames):
                break
        if state.error is not None:
            raise state.error

    def _outcome(self) -> Answer:
        if self._state.error is not None:
            raise self._state.error
        frame = self._state.frames[-1]
        if frame["type"] == "error":
            raise TurnFailed(
                frame["code"],
                frame["message"],
                retryable=frame["retryable"],
                message_id=self.message_id,
                frame=dict(frame),
            )
        return Answer(dict(frame))

    def __repr__(self) -> str:
        state = self._state
        stage = "ended" if state.closed else "running" if state.accepted else "sent"
        return f"<Turn {self.message_id!r} of {self.session}: {stage}>"


def _call(watchers: list[Callable[[], None]]) -> None:
    for watcher in watchers:
        watcher()
