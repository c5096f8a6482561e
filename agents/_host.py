"""The door to all sessions of a system."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any

from understudy.actors import ActorDeadError, ActorRestarted, ActorStopped, Props
from understudy.agents._agent import Agent
from understudy.agents._effects import EffectSettings, check_handler, start_runners
from understudy.agents._entry import Entry, SessionSettings
from understudy.agents._errors import (
    HostStopped,
    InvalidMessageId,
    InvalidText,
    TextTooLong,
    UnknownAgent,
)
from understudy.agents._feed import Feed
from understudy.agents._key import SessionKey
from understudy.agents._log import OPEN_TURNS, SEPARATOR, SESSIONS, turn_key
from understudy.agents._message import Message, check_json, check_metadata
from understudy.agents._session import AgentReplaced, Cancel, CrashAgent, Look, Session, Submission
from understudy.agents._session_event import SessionEvent
from understudy.agents._turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from understudy.actors import ActorRef
    from understudy.agents._feed import Attachment
    from understudy.agents._frames import Frame
    from understudy.storage import Effect

log = logging.getLogger("understudy.agents")

MAX_MESSAGE_ID = 128  # bytes; with the longest session key it still fits one row key
_PREFIX = "/sessions/"
# A session whose name is not free yet is opened again after so many seconds.
_REOPEN_AFTER = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session, as a list shows it.

    Attributes:
        key: Its key.
        active: Whether it is in memory now.
        turns: Messages accepted so far.
        open_turns: Turns without a final frame.
        last_frame: Seq of its last frame.
        last_event: Seq of its last event.
        created: When its first message was accepted, in epoch seconds.
        updated: When a turn last began or ended, in epoch seconds.
    """

    key: SessionKey
    active: bool
    turns: int
    open_turns: int
    last_frame: int
    last_event: int
    created: float
    updated: float


class SessionHost:
    """All sessions of a system: each is an actor, started when it is spoken to.

    A session is named by its key. Within it messages are answered in order, one at a time;
    different sessions run side by side. Everything a session says is in the journal before anybody
    sees it. When the host starts, turns that a crash interrupted are taken up again by themselves.

    All methods may be called from any thread; those with an async twin block for the disk, or for
    an answer, and belong off the event loop.

    Args:
        system: The system whose journal and tree are used.
        agents: By the names that keys use: an `Agent` class, or `us.Props(cls, *args)`.
        effects: By channel: an `EffectHandler` class, an instance, or a function of the effect.
            Optional, and if absent effects stay pending.

    Raises:
        TypeError: An agent or a handler is none.

    Example::

        host = us.SessionHost(system, agents={"echo": Echo})
        turn = host.send("ada:echo:t1", "hello there", message_id="m1")
        print(turn.result(timeout=5))
    """

    def __init__(
        self,
        system: Any,
        agents: Mapping[str, type[Agent] | Props[Agent]],
        effects: Mapping[str, Any] | None = None,
    ) -> None:
        _check_agents(agents)
        for channel, handler in (effects or {}).items():
            check_handler(channel, handler)
        self.system = system
        self.agents = dict(agents)
        self.settings = _settings(SessionSettings, system, "sessions")
        self.journal = system.journal
        self._entries: dict[SessionKey, Entry] = {}
        self._prune_at = 1000
        self._lock = threading.Lock()
        self._stopped = False
        self._sessions = system.lookup("/sessions")
        self._subscription = system.events.subscribe(
            self._on_event, ActorStopped, ActorRestarted, where=_is_session_event
        )
        start_runners(system, effects or {}, _settings(EffectSettings, system, "effects"))
        self._take_up()

    # -- talking -----------------------------------------------------------------------------

    def send(
        self,
        key: SessionKey | str,
        text: str,
        *,
        message_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Turn:
        """Say `text` in a session; gives the turn at once, without waiting for the disk.

        The message is safe when ``turn.accepted()`` returns, or its first frame comes. Sending the
        same `message_id` again is harmless, whenever it happens: it makes no new turn and no new
        frame, and gives the turn that it named the first time.

        Args:
            key: The session; it begins with its first message.
            text: What the user says.
            message_id: The client's name for this message. Optional, and if absent a new one.
            data: Plain data beside the text; optional, and if absent there is none.
            timeout: Seconds for the answer; afterwards the turn ends with an error frame.
                Optional, and if absent ``sessions.turn_timeout``.
            metadata: On whose behalf, such as `request_id` and `traceparent`: kept beside the
                event for the audit trail, and shown to the agent as ``message.metadata``. Optional.

        Raises:
            InvalidSessionKey, UnknownAgent, InvalidMessageId, InvalidText, TextTooLong: Nothing of
                it was kept.
            HostStopped: The host is shutting down.
        """
        key = self._key(key)
        message = self._message(text, message_id, data, timeout, metadata)
        with self._lock:
            # Under one lock, so that the entry is not forgotten before it is busy.
            if self._stopped:
                raise HostStopped
            entry = self._entry_locked(key)
            state, new = entry.feed.turn(message.id)
        if new:
            self._post(entry, Submission(message))
        return Turn(key, state)

    async def send_async(
        self,
        key: SessionKey | str,
        text: str,
        *,
        message_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- the answer's, not this call's
        metadata: Mapping[str, str] | None = None,
    ) -> Turn:
        """`send`, which returns when the message is safe in the journal."""
        turn = self.send(
            key, text, message_id=message_id, data=data, timeout=timeout, metadata=metadata
        )
        await turn._accepted()
        return turn

    def cancel(self, key: SessionKey | str, message_id: str | None = None) -> None:
        """End a turn: the named one, or the one that is being answered.

        It ends with an error frame, code `cancelled`. Nothing happens if it has ended.
        """
        entry = self._known_entry(self._key(key))
        ref = entry.ref if entry is not None else None
        if entry is not None and ref is not None:
            entry.tell(ref, Cancel(message_id))

    def crash(self, key: SessionKey | str) -> bool:
        """Make a session's agent fail, to show that the session survives; False if it is not live.

        An answer that is being given is interrupted, and taken up again.
        """
        ref = self.session_ref(key)
        if ref is None:
            return False
        try:
            ref.tell(CrashAgent())
        except ActorDeadError:
            return False
        return True

    # -- reading -----------------------------------------------------------------------------

    def history(
        self,
        key: SessionKey | str,
        after: int = 0,
        *,
        types: Iterable[str] | None = None,
        priority: str | None = None,
        limit: int | None = None,
    ) -> list[SessionEvent]:
        """The events of a session with a seq above `after`, oldest first."""
        records = self.journal.read(
            self._key(key).events_stream,
            after=after,
            types=None if types is None else tuple(types),
            priority=priority,
            limit=limit,
        )
        return [SessionEvent(record) for record in records]

    def frames(
        self, key: SessionKey | str, after: int = 0, *, limit: int | None = None
    ) -> list[Frame]:
        """The frames of a session with a seq above `after`, as its clients receive them."""
        return self._feed(self._key(key)).read(after, limit=limit)

    def effects(self, key: SessionKey | str, status: str | None = None) -> list[Effect]:
        """The effects this session asked for, oldest first, with their status and attempts."""
        return list(self.journal.outbox.list(stream=self._key(key).events_stream, status=status))

    def sessions(
        self, *, user: str | None = None, agent: str | None = None, limit: int | None = None
    ) -> list[SessionInfo]:
        """The sessions in the journal, latest first; of one user, or with one agent."""
        infos = []
        for text, row in self.journal.state.scan(SESSIONS):
            key = SessionKey.parse(text)
            if (user is None or key.user == user) and (agent is None or key.agent == agent):
                infos.append((row["updated"], key, row))
        infos.sort(key=lambda info: info[0], reverse=True)
        return [self._info(key, row) for _, key, row in infos[:limit]]

    @property
    def active(self) -> int:
        """How many sessions are in memory now."""
        return sum(1 for entry in tuple(self._entries.values()) if entry.ref is not None)

    @property
    def open_turns(self) -> int:
        """How many turns have no final frame yet, those of sleeping sessions included."""
        return sum(1 for _ in self.journal.state.scan(OPEN_TURNS))

    def last_frame(self, key: SessionKey | str) -> int:
        """Seq of the session's last frame; 0 if there is none."""
        seq: int = self.journal.last_seq(self._key(key).frames_stream)
        return seq

    def session_ref(self, key: SessionKey | str) -> ActorRef[Session] | None:
        """The session's actor; None if it is not in memory."""
        entry = self._known_entry(self._key(key))
        return entry.ref if entry is not None else None

    def agent_ref(self, key: SessionKey | str) -> ActorRef[Agent] | None:
        """The session's agent; None if it is not in memory."""
        entry = self._known_entry(self._key(key))
        return None if entry is None else entry.agent_ref

    # -- following ---------------------------------------------------------------------------

    def attach(
        self,
        key: SessionKey | str,
        *,
        on_frame: Callable[[Frame], object],
        after: int | None = None,
        client: str = "default",
    ) -> Attachment:
        """Give a client the frames after `after`, then each new one, in order, each once.

        Args:
            key: The session.
            on_frame: Called with each frame: with those in the journal on this thread, before
                `attach` returns, then on the journal's thread, as soon as the frame is safe. It
                must not block.
            after: The last frame the client has; optional, and if absent the last one it
                acknowledged.
            client: The client's name; each has one cursor in each session.

        Raises:
            CursorAhead: The session has not sent that frame.
        """
        key = self._key(key)
        with self._lock:
            entry = self._entry_locked(key)
            attachment = entry.feed.attach(client, after, on_frame)
        return attachment.start()

    async def attach_async(
        self,
        key: SessionKey | str,
        *,
        on_frame: Callable[[Frame], object],
        after: int | None = None,
        client: str = "default",
    ) -> Attachment:
        """`attach`, reading what is in the journal on another thread."""
        return await asyncio.to_thread(
            self.attach, key, on_frame=on_frame, after=after, client=client
        )

    def cursor(self, key: SessionKey | str, client: str = "default") -> int:
        """The last frame this client acknowledged; 0 if it never did."""
        return self._feed(self._key(key)).cursor(client)

    def ack(self, key: SessionKey | str, seq: int, *, client: str = "default") -> None:
        """Keep `seq` as the client's cursor; a cursor never goes back. Does not wait for the disk.

        Raises:
            CursorAhead: The session has not sent that frame.
        """
        with self._lock:
            feed = self._entry_locked(self._key(key)).feed
        feed.ack(client, seq)

    # -- ending ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Take no more messages. Open turns are taken up by the next host on this journal."""
        with self._lock:
            self._stopped = True
        self._subscription.cancel()

    # -- inside ------------------------------------------------------------------------------

    def _key(self, key: SessionKey | str) -> SessionKey:
        key = SessionKey.parse(key)
        if key.agent not in self.agents:
            raise UnknownAgent(key.agent, self.agents)
        return key

    def _message(
        self,
        text: Any,
        message_id: str | None,
        data: Mapping[str, Any] | None,
        timeout: float | None,
        metadata: Mapping[str, str] | None,
    ) -> Message:
        if message_id is None:
            message_id = uuid.uuid4().hex
        if not isinstance(message_id, str) or not message_id:
            raise InvalidMessageId(message_id, "it must be text of one character or more")
        if not message_id.isprintable():
            raise InvalidMessageId(message_id, "it holds characters that cannot be printed")
        if len(message_id.encode()) > MAX_MESSAGE_ID:
            raise InvalidMessageId(message_id[:40] + "…", f"it is over {MAX_MESSAGE_ID} bytes")
        if not isinstance(text, str):
            raise InvalidText(f"its text is {type(text).__name__}, not a string")
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidText(f"its text is not valid Unicode: {error.reason}") from None
        if size > self.settings.max_text_bytes:
            raise TextTooLong(size, self.settings.max_text_bytes)
        if data is not None:
            if not isinstance(data, dict):
                raise InvalidText(f"its data is {type(data).__name__}, not a dict")
            size = check_json(data)
            if size > self.settings.max_text_bytes:
                raise TextTooLong(size, self.settings.max_text_bytes)
        if metadata is not None:
            check_metadata(metadata, self.settings.max_text_bytes)
        now = self.system.clock.time()
        timeout = self.settings.turn_timeout if timeout is None else timeout
        deadline = None if timeout is None else now + timeout
        return Message(text, message_id, data or {}, now, deadline, dict(metadata or {}))

    def _entry_locked(self, key: SessionKey) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            self._prune()
            entry = self._entries[key] = self._new_entry(key)
        return entry

    def _feed(self, key: SessionKey) -> Feed:
        """The session's feed, for a look; it is not kept for that."""
        entry = self._entries.get(key)
        return Feed(key, self.journal) if entry is None else entry.feed

    def _new_entry(self, key: SessionKey) -> Entry:
        agent = self.agents[key.agent]
        return Entry(key, self.journal, self.system.clock, self.settings, agent)

    def _known_entry(self, key: SessionKey) -> Entry | None:
        return self._entries.get(key)

    def _post(self, entry: Entry, submission: Submission | None) -> None:
        if self._stopped:
            raise HostStopped
        ref, start = entry.post(submission)
        if ref is not None:
            entry.tell(ref, Look())
        elif start:
            self._open(entry)

    def _open(self, entry: Entry) -> None:
        try:
            started = self._sessions.proxy().start_child(Session, entry, name=str(entry.key))
        except ActorDeadError as error:
            entry.start_failed(error)
            return
        started.add_done_callback(lambda done: self._opened(entry, done))

    def _opened(self, entry: Entry, started: Any) -> None:
        error = started.exception()
        if error is None:
            return  # the session has told its entry
        if type(error).__name__ == "AlreadyStarted":
            # the one before has not let go of its name yet
            self._later(_REOPEN_AFTER, lambda: self._open(entry))
            return
        log.error("session %s could not be started: %r", entry.key, error)
        entry.start_failed(error)

    def _later(self, seconds: float, call: Callable[[], object]) -> None:
        clock = self.system.clock
        clock.call_at(clock.monotonic() + seconds, call)

    def _on_event(self, event: Any) -> None:
        """Follow what becomes of sessions and agents. Runs on whatever thread published it."""
        session, _, agent = event.path.removeprefix(_PREFIX).partition("/")
        try:
            entry = self._entries.get(SessionKey.parse(session))
        except ValueError:
            return
        if entry is None:
            return
        if agent:
            if isinstance(event, ActorRestarted) and entry.ref is not None:
                entry.tell(entry.ref, AgentReplaced(event.incarnation))
        elif isinstance(event, ActorStopped):
            self._session_gone(entry, event)

    def _session_gone(self, entry: Entry, event: ActorStopped) -> None:
        waits = entry.gone(event.ref)
        if self._stopped:
            return
        if event.reason.abnormal:
            # It gave up. Who waits is told; turns that are open get another chance, not in a hurry.
            entry.start_failed(RuntimeError(f"the session ended ({event.reason})"))
            self._later(entry.pause(), lambda: self._reopen(entry))
        elif waits:
            self._reopen(entry)
        else:
            self._forget(entry)

    def _reopen(self, entry: Entry) -> None:
        if self._stopped:
            return
        ref, start = entry.post(None)
        if ref is None and start:
            self._open(entry)

    def _forget(self, entry: Entry) -> None:
        with self._lock:
            if entry.idle and self._entries.get(entry.key) is entry:
                del self._entries[entry.key]

    def _prune(self) -> None:
        """Forget the sessions nobody speaks or listens to, now and then."""
        if len(self._entries) < self._prune_at:
            return
        self._entries = {key: entry for key, entry in self._entries.items() if not entry.idle}
        self._prune_at = 2 * len(self._entries) + 1000

    def _take_up(self) -> None:
        """Start the sessions with turns that have no final frame."""
        keys = {text.partition(SEPARATOR)[0] for text, _ in self.journal.state.scan(OPEN_TURNS)}
        for text in sorted(keys):
            key = SessionKey.parse(text)
            if key.agent not in self.agents:
                log.warning("session %s has open turns and its agent is not here", key)
                continue
            with self._lock:
                entry = self._entry_locked(key)
            self._reopen(entry)

    def _info(self, key: SessionKey, row: Mapping[str, Any]) -> SessionInfo:
        entry = self._entries.get(key)
        return SessionInfo(
            key=key,
            active=entry is not None and entry.ref is not None,
            turns=row["turns"],
            open_turns=sum(1 for _ in self.journal.state.scan(OPEN_TURNS, turn_key(key, ""))),
            last_frame=self.journal.last_seq(key.frames_stream),
            last_event=self.journal.last_seq(key.events_stream),
            created=row["created"],
            updated=row["updated"],
        )


def _is_session_event(event: Any) -> bool:
    path: str = event.path
    return path.startswith(_PREFIX)


def _check_agents(agents: Mapping[str, Any]) -> None:
    for name, agent in agents.items():
        cls = agent.cls if isinstance(agent, Props) else agent
        if not (isinstance(cls, type) and issubclass(cls, Agent)):
            raise TypeError(
                f"agents[{name!r}] is {agent!r}; give a subclass of us.Agent, or us.Props of one"
            )
        if cls.respond is Agent.respond:
            raise TypeError(
                f"agents[{name!r}]: {cls.__name__} has no respond; "
                "it needs  async def respond(self, message, turn)"
            )
        SessionKey("user", name, "thread")  # a name that no key can carry is refused here


def _settings(cls: Any, system: Any, section: str) -> Any:
    """The section of the system's configuration, where it has one, by our field names."""
    config = getattr(getattr(system, "config", None), section, None)
    names = [field.name for field in dataclasses.fields(cls)]
    return cls(**{name: getattr(config, name) for name in names if hasattr(config, name)})
