"""What the host and the incarnations of one session share."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from typing import TYPE_CHECKING, Any

from understudy.actors import ActorDeadError, Props
from understudy.agents._feed import Feed
from understudy.agents._session import Look, Session, Submission, not_saved

if TYPE_CHECKING:
    from understudy.actors import ActorRef, Clock
    from understudy.actors._journal_handle import AnyJournal
    from understudy.agents._agent import Agent
    from understudy.agents._key import SessionKey
    from understudy.storage._future import CommitFuture


@dataclasses.dataclass(frozen=True, slots=True)
class SessionSettings:
    """How sessions behave; the defaults of the `sessions` section of the configuration.

    Attributes:
        coalesce: Seconds for which text is gathered into one transaction; 0 writes each piece.
        lease: Seconds an agent may wait between two pieces before it counts as frozen.
        max_attempts: How often an agent may fail in one turn before the turn ends with an error.
        idle_timeout: Seconds without a message after which a session leaves memory.
        max_text_bytes: The greatest size of a message's text, in bytes.
        history: How many earlier exchanges an agent is given.
        turn_timeout: Seconds for an answer; None for no limit.
    """

    coalesce: float = 0.020
    lease: float = 120.0
    max_attempts: int = 3
    idle_timeout: float = 300.0
    max_text_bytes: int = 65536
    history: int = 50
    turn_timeout: float | None = None


class Entry:
    """One session of this host: its mail, its followers, the ref of its actor while it has one.

    Mail waits here and not in the actor's mailbox, so that none is lost when the actor leaves
    memory, crashes or is being started.
    """

    def __init__(
        self,
        key: SessionKey,
        journal: AnyJournal,
        clock: Clock,
        settings: SessionSettings,
        agent: type[Agent] | Props[Agent],
    ) -> None:
        self.key = key
        self.journal = journal
        self.clock = clock
        self.settings = settings
        self.agent = agent
        self.agent_class: type[Agent] = agent.cls if isinstance(agent, Props) else agent
        self.feed = Feed(key, journal)
        self.ref: ActorRef[Session] | None = None
        self.agent_ref: ActorRef[Agent] | None = None
        self.opening = False
        self.closing = False
        self._revivals = 0
        self.inbox: list[Submission] = []
        self.unsaved: set[str] = set()
        self.last_commit: CommitFuture[Any] | None = None
        self.lock = threading.Lock()

    @property
    def idle(self) -> bool:
        """Whether nobody speaks or listens, so that the entry may be forgotten."""
        with self.lock:
            live = self.inbox or self.ref is not None or self.opening or self.closing
            return not (live or self.feed.busy)

    # -- for the host ------------------------------------------------------------------------

    def post(self, submission: Submission | None) -> tuple[ActorRef[Session] | None, bool]:
        """Leave mail; gives the ref to wake, and whether the caller must start the session."""
        with self.lock:
            if submission is not None:
                self.inbox.append(submission)
            if self.ref is not None:
                return self.ref, False
            start = not (self.opening or self.closing)
            self.opening = self.opening or start
            return None, start

    def gone(self, ref: ActorRef[Session]) -> bool:
        """The actor has ended for good; whether mail waits for the next one."""
        with self.lock:
            if self.ref == ref:
                self.ref = None
            self.closing = False
            self.agent_ref = None
            return bool(self.inbox)

    def start_failed(self, cause: BaseException) -> None:
        """The actor could not be started: who waits is told."""
        with self.lock:
            self.opening = False
            inbox, self.inbox = self.inbox, []
        for submission in inbox:
            self.fail(submission.message.id, cause)

    def pause(self) -> float:
        """Seconds before a session that gave up is started again: 1, 2, 4, … up to 60."""
        self._revivals += 1
        return min(2.0 ** (self._revivals - 1), 60.0)

    # -- for the session ---------------------------------------------------------------------

    def opened(self, ref: ActorRef[Any]) -> None:
        """An incarnation has read its book: wake it when there is mail."""
        with self.lock:
            self.ref = ref
            self.opening = False
            self.closing = False

    def closed(self, ref: ActorRef[Any]) -> None:
        """The incarnation has ended in order; mail waits until its actor is gone."""
        with self.lock:
            if self.ref == ref:
                self.ref = None
                self.closing = True

    def try_close(self, ref: ActorRef[Any]) -> bool:
        """Leave memory, unless there is mail."""
        with self.lock:
            if self.inbox or self.ref != ref:
                return False
            self.ref = None
            self.closing = True
            return True

    def take(self) -> Submission | None:
        """The next piece of mail."""
        with self.lock:
            return self.inbox.pop(0) if self.inbox else None

    def put_back(self, submission: Submission) -> None:
        """Mail that has to be looked at again. Runs on the journal's thread."""
        with self.lock:
            self.inbox.append(submission)
            ref = self.ref
        if ref is not None:
            self.tell(ref, Look())

    def saved(self, message_id: str) -> None:
        """A write of this turn is safe; with its first one the message is."""
        self._revivals = 0
        if message_id in self.unsaved:
            self.unsaved.discard(message_id)
            state = self.feed.turns.get(message_id)
            if state is not None:
                state.accept()

    def unsaved_failed(self, cause: BaseException | None) -> None:
        """Messages that were on their way to the journal did not arrive."""
        while self.unsaved:
            self.fail(self.unsaved.pop(), cause)

    def tell(self, ref: ActorRef[Any], message: Any) -> None:
        """Tell the session's actor; when it has ended, the journal tells the next one."""
        with contextlib.suppress(ActorDeadError):
            ref.tell(message)

    def fail(self, message_id: str, cause: BaseException | None) -> None:
        """Tell who waits for this turn that its message did not reach the journal."""
        state = self.feed.turns.get(message_id)
        if state is not None:
            state.fail(not_saved(message_id, cause))
            self.feed.forget(state)
