"""The book a session keeps: each step of a turn as one transaction, and the way back after a crash.

Nothing here knows actors. A `SessionLog` holds what its writes will have made true; whoever submits
them in order, and drops the log when one fails, has the journal and the log agree.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any

from understudy.agents._message import Exchange, Message
from understudy.storage._record import NewEvent
from understudy.storage._write import Append, Delete, LedgerWrite, NewEffect, Put, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from understudy.actors._journal_handle import AnyJournal
    from understudy.agents._frames import Frame
    from understudy.agents._key import SessionKey

#: One row for each session: created, updated, turns.
SESSIONS = "sessions"
#: One row for each turn that has no final frame yet; what a starting host looks for.
OPEN_TURNS = "open-turns"
# A message id names its turn for as long as the session lives, so its ledger row never expires.
NEVER = 253402300799.0  # the last second of the year 9999

SEPARATOR = " "  # in no key (it is escaped there): scans by prefix are exact


def turn_key(session: SessionKey | str, message_id: str) -> str:
    """The row key of a turn."""
    return f"{session}{SEPARATOR}{message_id}"


def ledger_scope(session: SessionKey | str) -> str:
    """The ledger's scope of a session's message ids."""
    return f"turn:{session}"


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """What an agent yielded or asked for, in order: text, data beside it, or an effect."""

    text: str | None = None
    data: Mapping[str, Any] | None = None
    effect: tuple[str, Any, str] | None = None  # channel, payload, dedupe key


@dataclasses.dataclass(slots=True)
class OpenTurn:
    """A turn without its final frame."""

    message: Message
    seq: int
    attempt: int = 0  # 0: still waits for the turns before it
    failures: int = 0  # attempts that ended because the agent failed
    first: int | None = None  # seq of its first frame, once it has begun
    text: list[str] = dataclasses.field(default_factory=list)
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    pieces: int = 0

    @property
    def id(self) -> str:
        """The message id that names it."""
        return self.message.id

    def row(self) -> dict[str, Any]:
        """Its form in the journal's state."""
        message = self.message
        row = {
            "seq": self.seq,
            "attempt": self.attempt,
            "failures": self.failures,
            "first": self.first,
            "text": message.text,
            "data": dict(message.data),
            "at": message.at,
            "deadline": message.deadline,
        }
        if message.metadata:
            row["metadata"] = dict(message.metadata)
        return row

    @classmethod
    def from_row(cls, message_id: str, row: Mapping[str, Any]) -> OpenTurn:
        """The turn that a row tells of, without what it has sent."""
        message = Message(
            row["text"],
            message_id,
            row["data"],
            row["at"],
            row["deadline"],
            row.get("metadata", {}),
        )
        return cls(message, row["seq"], row["attempt"], row["failures"], row["first"])


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One transaction, and the frames it makes visible."""

    write: Write
    message_id: str
    frames: list[Frame]


class SessionLog:
    """What one session has in the journal, and the writes that take it further.

    Args:
        key: The session.
        journal: Where it is.
        now: Epoch seconds.
        history: How many earlier exchanges are kept at hand.
    """

    def __init__(
        self, key: SessionKey, journal: AnyJournal, now: Callable[[], float], *, history: int = 50
    ) -> None:
        self.key = key
        self._journal = journal
        self._now = now
        self.events = 0
        self.frames = 0
        self.open: dict[str, OpenTurn] = {}  # in the order of acceptance
        self.exchanges: collections.deque[Exchange] = collections.deque(maxlen=history)
        self._summary: dict[str, Any] | None = None

    @property
    def current(self) -> OpenTurn | None:
        """The turn at the head: the only one that may send."""
        return next(iter(self.open.values()), None)

    def recover(self) -> None:
        """Read from the journal where the session stands."""
        journal, key = self._journal, self.key
        self.events = journal.last_seq(key.events_stream)
        self.frames = journal.last_seq(key.frames_stream)
        self._summary = journal.state.get(SESSIONS, str(key))
        prefix = turn_key(key, "")
        turns = [
            OpenTurn.from_row(row_key[len(prefix) :], row)
            for row_key, row in journal.state.scan(OPEN_TURNS, prefix)
        ]
        turns.sort(key=lambda turn: turn.seq)
        self.open = {turn.id: turn for turn in turns}
        if turns and turns[0].attempt:
            self._recover_sent(turns[0])
        self._recover_exchanges()

    def lookup(self, message_id: str) -> Mapping[str, Any] | None:
        """What the ledger says of an earlier turn: `first` and `last` frame; None if unknown."""
        row = self._journal.ledger.get(ledger_scope(self.key), message_id)
        return None if row is None else row.result

    def accept(self, message: Message) -> Step:
        """The user's message is taken; its turn begins with it, where no other is open."""
        turn = OpenTurn(message, self.events + 1)
        if not self.open:
            self._begin(turn)
        self.open[turn.id] = turn
        summary = self._touch()
        summary["turns"] += 1
        event = NewEvent(
            "user_message",
            _user_message(message),
            metadata=dict(message.metadata) or None,
            priority="critical",
        )
        return self._step(
            turn,
            [event],
            [],
            puts=[*self._rows(turn), Put(SESSIONS, str(self.key), dict(summary))],
            ledger=[LedgerWrite(ledger_scope(self.key), turn.id, "in_flight", expires_at=NEVER)],
        )

    def send(self, turn: OpenTurn, pieces: Iterable[Piece]) -> Step | None:
        """Text, data and effects of the turn; None if there is nothing in them."""
        text, events, effects = self._take(turn, pieces)
        frames: list[tuple[str, dict[str, Any]]] = []
        if text:
            frames.append(("token", {"value": text}))
        if not (events or effects):
            return None
        return self._step(turn, events, frames, effects=effects)

    def close(
        self,
        turn: OpenTurn,
        pieces: Iterable[Piece] = (),
        *,
        usage: Mapping[str, int] | None = None,
        error: tuple[str, str, bool] | None = None,
    ) -> Step:
        """The last pieces and the final frame; the next turn begins in the same transaction.

        `error` is (code, message, retryable) and makes the final frame an error.
        """
        text, events, effects = self._take(turn, pieces)
        frames: list[tuple[str, dict[str, Any]]] = []
        if text:
            frames.append(("token", {"value": text}))
        if error is None:
            answer = "".join(turn.text)
            final: dict[str, Any] = {
                "message": answer,
                "latencyMs": round(max(0.0, self._now() - turn.message.at) * 1000, 3),
                "tokenUsage": _usage(turn, usage),
                "message_id": turn.id,
            }
            if turn.data:
                final["data"] = dict(turn.data)
            frames.append(("message", final))
            events.append(NewEvent("message", dict(final), priority="critical"))
            self.exchanges.append(Exchange(turn.id, turn.message.text, answer, dict(turn.data)))
        else:
            code, reason, retryable = error
            final = {"code": code, "message": reason, "retryable": retryable, "message_id": turn.id}
            frames.append(("error", final))
            events.append(NewEvent("error", dict(final), priority="critical"))
        if turn.first is None:
            turn.first = self.frames + 1
        result = {"first": turn.first, "last": self.frames + len(frames)}
        del self.open[turn.id]
        following = self.current
        if following is not None and not following.attempt:
            self._begin(following, after=len(frames))
        return self._step(
            turn,
            events,
            frames,
            effects=effects,
            puts=[
                *(self._rows(following) if following is not None else ()),
                Put(SESSIONS, str(self.key), dict(self._touch())),
            ],
            deletes=[Delete(OPEN_TURNS, turn_key(self.key, turn.id))],
            ledger=[
                LedgerWrite(
                    ledger_scope(self.key),
                    turn.id,
                    "done" if error is None else "failed",
                    result,
                    expires_at=NEVER,
                )
            ],
        )

    def again(self, turn: OpenTurn, *, resume: bool, failed: bool) -> Step:
        """Another attempt at the turn: where it stopped, or anew with a frame that says so.

        `failed` tells an agent that failed from one that was interrupted.
        """
        turn.attempt += 1
        turn.failures += failed
        if turn.first is None:
            turn.first = self.frames + 1
        payload = {"message_id": turn.id, "attempt": turn.attempt, "resumed": resume}
        frames: list[tuple[str, dict[str, Any]]] = []
        if not resume:
            turn.text, turn.data, turn.pieces = [], {}, 0
            frames.append(("retry", {"attempt": turn.attempt}))
        return self._step(turn, [NewEvent("retry", payload)], frames, puts=self._rows(turn))

    def _begin(self, turn: OpenTurn, after: int = 0) -> None:
        turn.attempt = 1
        turn.first = self.frames + after + 1

    def _take(
        self, turn: OpenTurn, pieces: Iterable[Piece]
    ) -> tuple[str, list[NewEvent], list[NewEffect]]:
        texts: list[str] = []
        data: dict[str, Any] = {}
        effects: list[NewEffect] = []
        for piece in pieces:
            if piece.text:
                texts.append(piece.text)
            if piece.data is not None:
                data.update(piece.data)
            if piece.effect is not None:
                channel, payload, dedupe_key = piece.effect
                effects.append(NewEffect(channel, payload, dedupe_key, self.key.events_stream))
        text = "".join(texts)
        events: list[NewEvent] = []
        turn.pieces += len(texts)
        if text:
            turn.text.append(text)
            payload = {"message_id": turn.id, "value": text, "pieces": len(texts)}
            events.append(NewEvent("token", payload))
        if data:
            turn.data.update(data)
            events.append(NewEvent("data", {"message_id": turn.id, "data": data}))
        return text, events, effects

    def _step(
        self,
        turn: OpenTurn,
        events: list[NewEvent],
        frames: list[tuple[str, dict[str, Any]]],
        *,
        effects: list[NewEffect] | None = None,
        puts: list[Put] | None = None,
        deletes: list[Delete] | None = None,
        ledger: list[LedgerWrite] | None = None,
    ) -> Step:
        # The exact seq is the fence: a second incarnation of this session cannot write beside us.
        appends = []
        if events:
            appends.append(Append(self.key.events_stream, events, expected_seq=self.events))
        if frames:
            new = [
                NewEvent(kind, payload, priority="normal" if kind == "token" else "critical")
                for kind, payload in frames
            ]
            appends.append(Append(self.key.frames_stream, new, expected_seq=self.frames))
        visible = [
            {"type": kind, **payload, "seq": self.frames + number}
            for number, (kind, payload) in enumerate(frames, 1)
        ]
        self.events += len(events)
        self.frames += len(frames)
        write = Write(
            appends=appends,
            effects=effects or (),
            puts=puts or (),
            deletes=deletes or (),
            ledger=ledger or (),
        )
        return Step(write, turn.id, visible)

    def _rows(self, turn: OpenTurn) -> list[Put]:
        return [Put(OPEN_TURNS, turn_key(self.key, turn.id), turn.row())]

    def _touch(self) -> dict[str, Any]:
        if self._summary is None:
            self._summary = {"created": self._now(), "updated": self._now(), "turns": 0}
        self._summary["updated"] = self._now()
        return self._summary

    def _recover_sent(self, turn: OpenTurn) -> None:
        for record in self._journal.read(
            self.key.events_stream, after=turn.seq, types=("token", "data", "retry")
        ):
            payload = record.payload
            if payload["message_id"] != turn.id:
                continue
            if record.type == "token":
                turn.text.append(payload["value"])
                turn.pieces += payload["pieces"]
            elif record.type == "data":
                turn.data.update(payload["data"])
            elif not payload["resumed"]:
                turn.text, turn.data, turn.pieces = [], {}, 0

    def _recover_exchanges(self) -> None:
        self.exchanges.clear()
        most = self.exchanges.maxlen or 0
        answers: dict[str, Mapping[str, Any]] = {}
        found: list[Exchange] = []
        # newest first: an answer stands behind its question
        for record in self._journal.read(
            self.key.events_stream, types=("user_message", "message"), reverse=True
        ):
            if len(found) >= most:
                break
            payload = record.payload
            if record.type == "message":
                answers[payload["message_id"]] = payload
                continue
            answer = answers.pop(payload["message_id"], None)
            if answer is None:
                continue  # without an answer, or with an error in its place
            found.append(
                Exchange(
                    payload["message_id"],
                    payload["text"],
                    answer["message"],
                    answer.get("data", {}),
                )
            )
        self.exchanges.extend(reversed(found))


def _user_message(message: Message) -> dict[str, Any]:
    payload: dict[str, Any] = {"message_id": message.id, "text": message.text}
    if message.data:
        payload["data"] = dict(message.data)
    if message.deadline is not None:
        payload["deadline"] = message.deadline
    return payload


def _usage(turn: OpenTurn, usage: Mapping[str, int] | None) -> dict[str, int]:
    prompt = len(turn.message.text.split())
    completion = turn.pieces
    if usage is not None:
        prompt = usage.get("prompt", prompt)
        completion = usage.get("completion", completion)
    return {
        "promptTokens": prompt,
        "completionTokens": completion,
        "totalTokens": prompt + completion,
    }
