"""The live end of a session's frames: who follows them, from where, without gap or repetition."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from understudy.agents._errors import CursorAhead, InvalidClient
from understudy.agents._frames import Frame, frame_of
from understudy.agents._turn import TurnState
from understudy.storage._write import Cursor, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors._journal_handle import AnyJournal
    from understudy.agents._key import SessionKey


log = logging.getLogger("understudy.agents")

MAX_CLIENT = 128  # bytes; with the longest session key it still fits one row key


class Attachment:
    """A client's place at a session's frames.

    Attributes:
        session: The session's key.
        client: The client's name; it owns one cursor in this session.
        after: The seq after which it was given frames.
    """

    def __init__(
        self, feed: Feed, client: str, after: int, on_frame: Callable[[Frame], object]
    ) -> None:
        self.session = feed.key
        self.client = client
        self.after = after
        self._feed = feed
        self._on_frame = on_frame
        self._given = after
        # While the client catches up, live frames wait here; None once it is live.
        self._waiting: list[Frame] | None = []
        self._lock = threading.Lock()
        self._until = after

    def ack(self, seq: int) -> None:
        """Keep `seq` as this client's cursor; it never goes back.

        Raises:
            CursorAhead: The session has not sent that frame.
        """
        self._feed.ack(self.client, seq)

    def close(self) -> None:
        """No frame is given after this returns, except one that is being given on another thread.

        Closing twice is harmless.
        """
        self._feed.leave(self)

    def start(self) -> Attachment:
        """Give what is in the journal already, on this thread; then live frames follow."""
        try:
            self._catch_up(self._until)
        except BaseException:
            self.close()
            raise
        return self

    def _catch_up(self, until: int) -> None:
        feed = self._feed
        while self._given < until and feed.has(self):
            for frame in feed.read(self._given, until, limit=1000):
                self._given = frame["seq"]
                self._on_frame(frame)
        while True:
            with self._lock:
                waiting = self._waiting
                if not waiting:
                    self._waiting = None
                    return
                self._waiting = []
            for frame in waiting:
                self._give(frame)

    def _live(self, frames: list[Frame]) -> None:
        with self._lock:
            if self._waiting is not None:
                self._waiting.extend(frames)
                return
        for frame in frames:
            self._give(frame)

    def _give(self, frame: Frame) -> None:
        if frame["seq"] <= self._given:
            return
        self._given = frame["seq"]
        try:
            self._on_frame(frame)
        except Exception:
            # one client's trouble is not the next one's
            log.exception(
                "client %r of session %s could not take a frame", self.client, self.session
            )
            self.close()


class Feed:
    """Everybody in this process who follows one session.

    It outlives the incarnations of the session's actor: frames reach it from the journal's commit
    callback, in the order of their seq, whoever wrote them.
    """

    def __init__(self, key: SessionKey, journal: AnyJournal) -> None:
        self.key = key
        self.journal = journal
        self.last = journal.last_seq(key.frames_stream)
        self.turns: dict[str, TurnState] = {}
        self._acks: dict[str, int] = {}  # newest by client, safe or on its way
        self._acking: list[str] = []  # on their way
        self._ack_lock = threading.Lock()
        self._attachments: list[Attachment] = []
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether somebody still follows, so that the feed must be kept."""
        return bool(self.turns or self._attachments or self._acking)

    def publish(self, message_id: str, frames: list[Frame]) -> None:
        """These frames of one turn are safe. Runs on the journal's thread and never blocks."""
        with self._lock:
            self.last = frames[-1]["seq"]
            attachments = tuple(self._attachments)
            state = self.turns.get(message_id)
        if state is not None:
            state.push(frames)
            if state.closed:
                self.forget(state)
        for attachment in attachments:
            attachment._live([dict(frame) for frame in frames])

    def turn(self, message_id: str) -> tuple[TurnState, bool]:
        """The state of a turn in this process, and whether it was made just now."""
        with self._lock:
            state = self.turns.get(message_id)
            if state is not None:
                return state, False
            state = self.turns[message_id] = TurnState(message_id)
            return state, True

    def forget(self, state: TurnState) -> None:
        """The turn has ended: whoever holds the state keeps it, a repeat asks the journal."""
        with self._lock:
            if state.accepted and self.turns.get(state.message_id) is state:
                del self.turns[state.message_id]

    def attach(
        self, client: str, after: int | None, on_frame: Callable[[Frame], object]
    ) -> Attachment:
        """Follow the frames after `after`, from `Attachment.start` on."""
        check_client(client)
        if after is None:
            after = self.cursor(client)
        self._check_cursor(after)
        with self._lock:
            attachment = Attachment(self, client, after, on_frame)
            attachment._until = self.last
            self._attachments.append(attachment)
        return attachment

    def has(self, attachment: Attachment) -> bool:
        """Whether the attachment is still open."""
        return attachment in self._attachments

    def leave(self, attachment: Attachment) -> None:
        """Give this attachment nothing more."""
        with self._lock:
            if attachment in self._attachments:
                self._attachments.remove(attachment)

    def read(self, after: int, until: int | None = None, limit: int | None = None) -> list[Frame]:
        """Frames from the journal, after `after` up to and with `until`."""
        records = self.journal.read(
            self.key.frames_stream, after=after, until_seq=until, limit=limit
        )
        return [frame_of(record) for record in records]

    def read_turn(self, message_id: str, first: int, last: int | None = None) -> list[Frame]:
        """The frames of one turn; those of turns cancelled in its middle are not among them."""
        return [
            frame
            for frame in self.read(first - 1, last)
            if frame.get("message_id", message_id) == message_id
        ]

    def cursor(self, client: str) -> int:
        """The last frame this client acknowledged; 0 if it never did."""
        check_client(client)
        known = self._acks.get(client)
        return self._saved_cursor(client) if known is None else known

    def ack(self, client: str, seq: int) -> None:
        """Keep the client's cursor; a cursor never goes back. Does not wait for the disk.

        Raises:
            CursorAhead: The session has not sent that frame.
        """
        check_client(client)
        self._check_cursor(seq)
        if client not in self._acks:
            saved = self._saved_cursor(client)
            with self._ack_lock:
                self._acks.setdefault(client, saved)
        # A lock of its own: the journal's thread never waits for it.
        with self._ack_lock:
            if seq <= self._acks[client]:
                return
            self._acks[client] = seq
            cursor = Cursor(self._cursor_name(client), seq)
            self._acking.append(client)
            commit = self.journal.submit_write(Write(cursors=(cursor,)))
        commit.add_done_callback(lambda _: self._acking.pop())

    def _check_cursor(self, seq: Any) -> None:
        """Refuse a place the session has not reached.

        A frame can be read in the journal a moment before it is published here: who has read it
        there has it, and may say so.
        """
        last = self.last
        if isinstance(seq, int) and seq > last:
            last = self.journal.last_seq(self.key.frames_stream)
        if not isinstance(seq, int) or not 0 <= seq <= last:
            raise CursorAhead(seq, last)

    def _saved_cursor(self, client: str) -> int:
        seq: int = self.journal.cursors.get(self._cursor_name(client))
        return seq

    def _cursor_name(self, client: str) -> str:
        return f"client:{self.key}:{client}"


def check_client(client: object) -> None:
    """Refuse a name that no cursor can have.

    Raises:
        InvalidClient: It is no text, empty, too long, or cannot be printed.
    """
    if not isinstance(client, str) or not client or not client.isprintable():
        raise InvalidClient(client, "it must be printable text of one character or more")
    if len(client.encode()) > MAX_CLIENT:
        raise InvalidClient(client[:40] + "…", f"it is over {MAX_CLIENT} bytes")
