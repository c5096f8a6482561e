"""A turn, seen by the agent that answers it."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import TYPE_CHECKING, Any

from understudy.agents._log import Piece
from understudy.agents._message import check_json
from understudy.storage._tables import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from understudy.actors import Clock
    from understudy.agents._key import SessionKey
    from understudy.agents._message import Exchange, Message

# Text that an agent may be ahead of the journal, in characters; then it waits.
ROOM = 1 << 18


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: with `error`, cancelled, or well."""

    error: BaseException | None = None
    cancelled: bool = False


class TurnContext:
    """What an agent knows and can do while it answers: the second argument of `Agent.respond`.

    Attributes:
        session: The session's key.
        message: The message being answered.
        attempt: 1, or more after a crash.
        sent: The text this turn has sent already. Empty, except where a resumable agent goes on
            after a crash.
        lease: Seconds the agent may wait between two pieces.
        history: Earlier questions of this session with their answers, oldest first, as many as
            ``sessions.history`` says.
    """

    def __init__(
        self,
        session: SessionKey,
        message: Message,
        *,
        attempt: int,
        sent: str,
        history: tuple[Exchange, ...],
        clock: Clock,
        lease: float,
        wake: Callable[[], object],
    ) -> None:
        self.session = session
        self.message = message
        self.attempt = attempt
        self.sent = sent
        self.history = history
        self.lease = lease
        self._clock = clock
        self._wake = wake
        self._lock = threading.Lock()
        self._pieces: list[Piece] = []
        self._signalled = False
        self._outcome: Outcome | None = None
        self._usage: dict[str, int] | None = None
        self._effects = 0
        self._ahead = 0
        self._room: Callable[[], object] | None = None
        self._cancelled: str | None = None
        self._on_cancel: Callable[[], object] | None = None
        self._abandoned = False
        self.crashing = False
        self.incarnation: int | None = None  # of the agent that has begun this attempt

    # -- for the agent's author ------------------------------------------------------------------

    @property
    def message_id(self) -> str:
        """The turn's name within its session."""
        return self.message.id

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the rest of the answer; `respond` should return.

        If it does not, it is stopped at its next ``await`` or ``yield``.
        """
        return self._cancelled is not None

    @property
    def deadline(self) -> float | None:
        """When the answer stops being useful, in epoch seconds; None for no limit."""
        return self.message.deadline

    def remaining(self) -> float | None:
        """Seconds until the deadline, never below 0; None for no limit."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - self._clock.time())

    def effect(self, channel: str, payload: Any, *, dedupe_key: str | None = None) -> str:
        """Have the handler of `channel` do something outside.

        It is recorded in the same transaction as the text around it, and carried out after that:
        at least once, with a stable dedupe key.

        Args:
            channel: The name of the handler in `SessionHost(effects=)`. Without such a handler the
                effect stays pending.
            payload: Plain data for it.
            dedupe_key: Unique within the channel: a second effect with this key is not made.
                Optional, and if absent it is made of the session, the message and the number of
                the effect in its turn, so that an answer that is begun anew repeats none, as long
                as it asks for the same effects in the same order.

        Returns:
            The dedupe key.
        """
        if not isinstance(channel, str) or not channel:
            raise ValueError(f"an effect's channel must be a name, not {channel!r}")
        encoded("payload", payload)  # refused here, where the agent's author sees it
        self._effects += 1
        if dedupe_key is None:
            dedupe_key = f"{self.session}:{self.message_id}:{self._effects}"
        self._put(Piece(effect=(channel, payload, dedupe_key)))
        return dedupe_key

    def usage(self, *, prompt: int | None = None, completion: int | None = None) -> None:
        """Set the `tokenUsage` of the final frame.

        Without it the words of the question and the pieces of text that were yielded are counted.
        """
        usage = {"prompt": prompt, "completion": completion}
        self._usage = {
            **(self._usage or {}),
            **{name: count for name, count in usage.items() if count is not None},
        }

    # -- for the agent's actor -------------------------------------------------------------------

    def begin(self, incarnation: int, on_cancel: Callable[[], object]) -> bool:
        """The agent begins; False if the turn is not wanted any more."""
        with self._lock:
            self.incarnation = incarnation
            if self._cancelled is not None or self._abandoned or self.crashing:
                return False
            self._on_cancel = on_cancel
            return True

    def yielded(self, piece: Any) -> None:
        """Take one piece that `respond` yielded."""
        if isinstance(piece, str):
            if piece:
                self._put(Piece(text=piece))
        elif isinstance(piece, dict):
            check_json(piece)
            self._put(Piece(data=piece))
        else:
            raise TypeError(
                f"respond() yielded {type(piece).__name__}: {piece!r}; yield text (str), or a dict "
                "to go into the `data` of the final frame"
            )

    @property
    def ahead(self) -> bool:
        """Whether the agent should wait for the journal."""
        return self._ahead > ROOM

    async def room(self) -> None:
        """Wait until the journal has caught up."""
        loop = asyncio.get_running_loop()
        free = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(free.set)

        with self._lock:
            if not self.ahead:
                return
            self._room = wake
        await free.wait()

    def finish(self, outcome: Outcome) -> None:
        """The attempt has ended; only the first word counts."""
        with self._lock:
            if self._outcome is not None:
                return
            self._outcome = outcome
            self._on_cancel = None
            signal = not self._signalled
            self._signalled = True
        if signal:
            self._wake()

    # -- for the session -----------------------------------------------------------------------

    @property
    def usage_set(self) -> Mapping[str, int] | None:
        """What the agent said about its usage."""
        return self._usage

    @property
    def cancel_code(self) -> str | None:
        """Why the turn was cancelled."""
        return self._cancelled

    @property
    def outcome(self) -> Outcome | None:
        """How the attempt ended; None while it goes on."""
        return self._outcome

    def take(self) -> tuple[list[Piece], Outcome | None]:
        """Everything since the last time; the next piece wakes the session again."""
        with self._lock:
            pieces, self._pieces = self._pieces, []
            self._signalled = False
            return pieces, self._outcome

    def written(self, characters: int) -> None:
        """So much text is safe. Runs on the journal's thread."""
        with self._lock:
            self._ahead -= characters
            if self.ahead or self._room is None:
                return
            wake, self._room = self._room, None
        wake()

    def cancel(self, code: str) -> None:
        """Ask the agent to end; its attempt ends as cancelled."""
        with self._lock:
            if self._cancelled is not None or self._outcome is not None:
                return
            self._cancelled = code
            call = self._on_cancel
        if call is not None:
            call()

    def crash(self) -> None:
        """Make the agent fail where it is."""
        with self._lock:
            self.crashing = True
            call = self._on_cancel
        if call is not None:
            call()

    def abandon(self) -> None:
        """Take nothing more from this attempt."""
        with self._lock:
            self._abandoned = True
            self._pieces = []
            wake, self._room = self._room, None
        if wake is not None:
            wake()

    def _put(self, piece: Piece) -> None:
        with self._lock:
            if self._abandoned or self._outcome is not None:
                return  # an attempt that was given up is still running: nobody listens
            self._pieces.append(piece)
            if piece.text is not None:
                self._ahead += len(piece.text)
            signal = not self._signalled
            self._signalled = True
        if signal:
            self._wake()
