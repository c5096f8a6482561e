"""Sessions: one actor for each conversation, which keeps its book and has its agent as child."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import TYPE_CHECKING, Any

from understudy.actors import Actor, Heartbeat, StartFailed, Terminated
from understudy.agents._agent import Crash, Respond
from understudy.agents._errors import TurnFailed
from understudy.agents._log import OpenTurn, SessionLog, Step
from understudy.agents._turn_context import Outcome, TurnContext

if TYPE_CHECKING:
    from understudy.actors import ActorRef
    from understudy.agents._entry import Entry
    from understudy.agents._message import Message
    from understudy.storage._future import CommitFuture

log = logging.getLogger("understudy.agents")

#: Seconds an agent is given to end a cancelled turn before the turn is closed without it.
CANCEL_GRACE = 5.0
#: Attempts at one turn, interruptions of the process included: a message that ends the process
#: each time it is answered must end some day.
MOST_ATTEMPTS = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """A message on its way into a session."""

    message: Message


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """There is something in the inbox."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel:
    """End a turn: the named one, or the one that is being answered."""

    message_id: str | None
    code: str = "cancelled"


@dataclasses.dataclass(frozen=True, slots=True)
class CrashAgent:
    """Make the agent fail."""


@dataclasses.dataclass(frozen=True, slots=True)
class AgentReplaced:
    """The agent's incarnation is a new one."""

    incarnation: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Wake:
    attempt: int
    message_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Flush:
    attempt: int
    message_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Begin:
    message_id: str
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Overdue:
    message_id: str
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class _WriteFailed:
    error: BaseException


@dataclasses.dataclass(frozen=True, slots=True)
class _Idle:
    pass


_CANCEL_WORDS = {
    "cancelled": "the turn was cancelled",
    "deadline_exceeded": "the turn's deadline passed before its answer was complete",
}


class Session(Actor):
    """One conversation, at ``/sessions/user:agent:thread``.

    It takes messages in order, has its agent answer one at a time, and writes every step as one
    transaction. All it knows is in the journal: started again, it goes on where that ends.
    """

    heartbeat = Heartbeat(timeout=4.0, on_frozen="restart", lease=120.0)

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry = entry
        self._settings = entry.settings
        self._log = SessionLog(
            entry.key, entry.journal, entry.clock.time, history=entry.settings.history
        )
        self._agent: ActorRef[Any] | None = None
        self._agents = 0
        self._turn: TurnContext | None = None
        # Turns that have ended here and not yet in the journal.
        self._closing: dict[str, CommitFuture[Any]] = {}
        self._flushed_at = float("-inf")
        self._flush_due = False
        self._last_active = 0.0

    def on_start(self) -> None:
        """Read the book, take up what is open, then look at what has come."""
        entry = self._entry
        if entry.last_commit is not None:
            # what an incarnation before this one wrote is either there or refused
            entry.last_commit.wait()
        self._log.recover()
        self._spawn_agent()
        entry.opened(self.actor_ref)
        self._last_active = self._now()
        current = self._log.current
        if current is not None:
            self._again(current)
        self._look()
        self.context.schedule_once(self._settings.idle_timeout, _Idle())

    def on_receive(self, message: Any) -> None:
        """Everything that happens to a session, one at a time."""
        if not isinstance(message, _Idle):
            self._last_active = self._now()
        match message:
            case _Wake():
                self._wake(message)
            case _Flush():
                if self._is_current(message.message_id, message.attempt):
                    self._flush_due = False
                    self._drain()
            case _Begin():
                self._begin(message)
            case Look():
                self._look()
            case Cancel():
                self._cancel(message)
            case CrashAgent():
                self._crash()
            case AgentReplaced():
                self._agent_replaced(message.incarnation)
            case Terminated():
                self._agent_gone(message)
            case _Overdue():
                self._overdue(message)
            case _WriteFailed():
                raise message.error
            case _Idle():
                self._idle()
            case _:
                raise TypeError(f"a session does not take {message!r}; send to it by SessionHost")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: Any,
    ) -> None:
        """Let go of the turn that was running; the next incarnation takes it up."""
        del exception_type, traceback
        self._let_go()
        self._entry.unsaved_failed(exception_value)

    def on_stop(self) -> None:
        """Let go of the turn that was running; the next activation takes it up."""
        self._let_go()
        self._entry.closed(self.actor_ref)

    # -- what comes in -----------------------------------------------------------------------

    def _look(self) -> None:
        while (submission := self._entry.take()) is not None:
            try:
                self._accept(submission)
            except BaseException as error:
                self._entry.fail(submission.message.id, error)
                raise

    def _accept(self, submission: Submission) -> None:
        entry, message = self._entry, submission.message
        closing = self._closing.get(message.id)
        if closing is not None and not closing.done():
            # its final frame is on its way: the journal knows it in a moment
            closing.add_done_callback(lambda _: entry.put_back(submission))
            return
        state = entry.feed.turns.get(message.id)
        known = self._log.open.get(message.id)
        if known is not None:
            # taken up again after a crash, and named anew by its client
            if state is not None and message.id not in entry.unsaved:
                first = known.first
                earlier = entry.feed.read_turn(message.id, first) if first else []
                state.accept(earlier)
            return
        row = self._log.lookup(message.id)
        if row is not None:
            if state is not None:
                state.accept(entry.feed.read_turn(message.id, row["first"], row["last"]))
                entry.feed.forget(state)
            return
        step = self._log.accept(message)
        turn = self._log.open[message.id]
        entry.unsaved.add(message.id)
        begin = _Begin(message.id, 1) if turn.attempt else None
        self._submit(step, begin)

    def _begin(self, begin: _Begin) -> None:
        turn = self._log.open.get(begin.message_id)
        if turn is None or turn is not self._log.current or turn.attempt != begin.attempt:
            return
        if self._turn is not None:
            return
        if self._agent is None and not self._spawn_agent():
            self._close(turn, ("agent_unavailable", "the agent could not be started", True))
            return
        assert self._agent is not None
        attempt = turn.attempt
        wake = functools.partial(self._entry.tell, self.actor_ref, _Wake(attempt, turn.id))
        context = self._turn = TurnContext(
            self._entry.key,
            turn.message,
            attempt=attempt,
            sent="".join(turn.text),
            history=tuple(self._log.exchanges),
            clock=self._entry.clock,
            lease=self._settings.lease,
            wake=wake,
        )
        self._flushed_at, self._flush_due = float("-inf"), False
        remaining = context.remaining()
        if remaining is not None:
            self.context.schedule_once(remaining, Cancel(turn.id, "deadline_exceeded"))
        self._agent.tell(Respond(context))

    # -- what the agent says ---------------------------------------------------------------------

    def _wake(self, wake: _Wake) -> None:
        if self._is_current(wake.message_id, wake.attempt):
            self._drain()

    def _drain(self) -> None:
        """Write what the agent has said, unless more is to be awaited first."""
        context = self._turn
        assert context is not None
        coalesce = self._settings.coalesce
        if context.outcome is None and coalesce > 0:
            wait = self._flushed_at + coalesce - self._now()
            if wait > 0:
                if not self._flush_due:
                    self._flush_due = True
                    self.context.schedule_once(wait, _Flush(context.attempt, context.message_id))
                return
        self._flushed_at = self._now()
        turn = self._log.current
        assert turn is not None
        pieces, outcome = context.take()
        if outcome is not None and outcome.error is not None:
            self._turn = None
            context.abandon()
            self._failed(turn, outcome.error)
            return
        size = sum(len(piece.text) for piece in pieces if piece.text is not None)
        if coalesce <= 0:
            last = pieces[-1:] if outcome is not None else []
            for piece in pieces[: len(pieces) - len(last)]:
                self._write(turn, [piece], context)
            pieces, size = last, len(last[0].text or "") if last else 0
        if outcome is None:
            if pieces:
                self._write(turn, pieces, context)
            return
        self._turn = None
        if outcome.cancelled:
            code = context.cancel_code or "cancelled"
            self._close(turn, (code, _CANCEL_WORDS.get(code, code), True), pieces)
        else:
            self._submit_close(self._log.close(turn, pieces, usage=context.usage_set))
        context.written(size)

    def _write(self, turn: OpenTurn, pieces: list[Any], context: TurnContext) -> None:
        step = self._log.send(turn, pieces)
        if step is not None:
            size = sum(len(piece.text) for piece in pieces if piece.text is not None)
            self._submit(step, None, context, size)

    def _failed(self, turn: OpenTurn, error: BaseException) -> None:
        log.warning(
            "agent of session %s failed in turn %s, attempt %s",
            self._entry.key,
            turn.id,
            turn.attempt,
            exc_info=error,
        )
        if turn.failures + 1 >= self._settings.max_attempts:
            # a poisoned message: whoever asks is told, and the next turn begins
            reason = f"the agent failed {turn.failures + 1} times ({type(error).__name__})"
            self._close(turn, ("agent_failed", reason, False))
            return
        self._again(turn, failed=True)

    def _again(self, turn: OpenTurn, *, failed: bool = False) -> None:
        if turn.attempt >= MOST_ATTEMPTS:
            reason = f"the answer was interrupted {turn.attempt} times"
            self._close(turn, ("interrupted", reason, True))
            return
        agent: Any = self._entry.agent_class
        step = self._log.again(turn, resume=agent.resumable, failed=failed)
        self._submit(step, _Begin(turn.id, turn.attempt))

    def _crash(self) -> None:
        if self._turn is not None:
            self._turn.crash()
        elif self._agent is not None:
            self._agent.tell(Crash())

    def _agent_replaced(self, incarnation: int) -> None:
        context = self._turn
        if context is None or context.incarnation is None or context.incarnation >= incarnation:
            return  # not begun: the message is still in the agent's mailbox
        context.finish(Outcome(error=RuntimeError("the agent was replaced")))

    def _agent_gone(self, notice: Terminated) -> None:
        if notice.ref != self._agent:
            return
        self._agent = None
        context = self._turn
        if context is not None:
            context.finish(Outcome(error=RuntimeError(f"the agent ended ({notice.reason})")))

    # -- ending turns ----------------------------------------------------------------------------

    def _cancel(self, cancel: Cancel) -> None:
        turn = (
            self._log.current
            if cancel.message_id is None
            else self._log.open.get(cancel.message_id)
        )
        if turn is None:
            return
        context = self._turn
        if context is not None and context.message_id == turn.id:
            self.context.schedule_once(CANCEL_GRACE, _Overdue(turn.id, context.attempt))
            context.cancel(cancel.code)
            return
        self._close(turn, (cancel.code, _CANCEL_WORDS.get(cancel.code, cancel.code), True))

    def _overdue(self, overdue: _Overdue) -> None:
        """The agent did not end a cancelled turn: the turn ends without it, and it is replaced."""
        if not self._is_current(overdue.message_id, overdue.attempt):
            return
        context, turn = self._turn, self._log.current
        assert context is not None
        assert turn is not None
        self._turn = None
        context.abandon()
        code = context.cancel_code or "cancelled"
        self._close(turn, (code, _CANCEL_WORDS.get(code, code), True))
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.stop(now=True)

    def _close(self, turn: OpenTurn, error: tuple[str, str, bool], pieces: Any = ()) -> None:
        self._submit_close(self._log.close(turn, pieces, error=error))

    def _submit_close(self, step: Step) -> None:
        following = self._log.current
        begin = None if following is None else _Begin(following.id, following.attempt)
        closing = {name: commit for name, commit in self._closing.items() if not commit.done()}
        self._closing = {**closing, step.message_id: self._submit(step, begin)}

    # -- the journal -----------------------------------------------------------------------------

    def _submit(
        self,
        step: Step,
        then: Any,
        context: TurnContext | None = None,
        size: int = 0,
    ) -> CommitFuture[Any]:
        commit: CommitFuture[Any] = self._entry.journal.submit_write(step.write)
        self._entry.last_commit = commit
        commit.add_done_callback(
            functools.partial(self._committed, step=step, then=then, context=context, size=size)
        )
        return commit

    def _committed(
        self,
        commit: CommitFuture[Any],
        *,
        step: Step,
        then: Any,
        context: TurnContext | None,
        size: int,
    ) -> None:
        """Make it visible. Runs on the journal's thread."""
        error = commit.exception()
        if error is not None:
            # what was submitted behind it expects it, and fails as well
            self._entry.unsaved_failed(error)
            self._entry.tell(self.actor_ref, _WriteFailed(error))
            return
        self._entry.saved(step.message_id)
        if step.frames:
            self._entry.feed.publish(step.message_id, step.frames)
        if context is not None:
            context.written(size)
        if then is not None:
            self._entry.tell(self.actor_ref, then)

    # -- itself ----------------------------------------------------------------------------------

    def _spawn_agent(self) -> bool:
        # The name of one that is still ending is not free.
        name = f"agent-{self._agents + 1}" if self._agents else "agent"
        self._agents += 1
        try:
            ref = self.context.spawn(self._entry.agent, name=name)
        except StartFailed:
            log.exception("agent of session %s could not be started", self._entry.key)
            return False
        self._agent = self._entry.agent_ref = ref
        self.context.watch(ref)
        return True

    def _is_current(self, message_id: str, attempt: int) -> bool:
        turn = self._turn
        return turn is not None and turn.message_id == message_id and turn.attempt == attempt

    def _let_go(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.abandon()
            turn.cancel("interrupted")

    def _idle(self) -> None:
        rest = self._last_active + self._settings.idle_timeout - self._now()
        if self._log.open:
            rest = self._settings.idle_timeout
        if rest <= 0 and self._entry.try_close(self.actor_ref):
            self.stop()
            return
        self.context.schedule_once(max(rest, 0.001), _Idle())

    def _now(self) -> float:
        return self._entry.clock.monotonic()


def not_saved(message_id: str, cause: BaseException | None) -> TurnFailed:
    """What a sender is told whose message did not reach the journal."""
    return TurnFailed(
        "not_saved",
        f"the message could not be saved ({cause}); send it again with the same message_id",
        retryable=True,
        message_id=message_id,
    )
