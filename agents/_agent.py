"""Agents: actors that answer the messages of a session, piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.actors import Actor, Heartbeat
from understudy.agents._errors import AgentCrash
from understudy.agents._turn_context import Outcome, TurnContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from understudy.agents._message import Message


class Crash:
    """A message that makes an agent fail (`SessionHost.crash`)."""


class Respond:
    """A turn to be answered."""

    def __init__(self, context: TurnContext) -> None:
        self.context = context

    def __repr__(self) -> str:
        turn = self.context
        return f"Respond({turn.message.text!r}, id={turn.message.id!r}, attempt={turn.attempt})"


class Agent(Actor):
    """Answers the messages of one session, one after the other.

    It may wait for something outside for ``sessions.lease`` seconds (120) between two pieces before
    it counts as frozen and is replaced; a class with a `heartbeat` of its own follows that.

    Each session has an agent of its own, supervised by the session: what it keeps in its attributes
    lasts until it restarts, what it said lasts for ever. It runs on the event loop of the system's
    asyncio dispatcher, which it shares: what blocks for long belongs into ``asyncio.to_thread``.

    If it raises, it is restarted and its turn is taken up again, up to ``sessions.max_attempts``
    times; then the turn ends with an error frame, and the next one begins.

    Example::

        class Echo(us.Agent):
            async def respond(self, message, turn):
                for word in message.text.split():
                    yield word + " "
    """

    dispatcher = "asyncio"
    heartbeat = Heartbeat(timeout=4.0, on_frozen="restart")

    resumable: ClassVar[bool] = False
    """Whether `respond` can go on in the middle of an answer.

    After a crash a resumable agent is called with ``turn.sent``, the text the client has already,
    and yields only the rest. Any other agent begins anew, after a `retry` frame that tells the
    client to drop the partial text.
    """

    def respond(self, message: Message, turn: TurnContext) -> AsyncIterator[str | dict[str, Any]]:
        """Answer `message`: an async generator that yields text as it comes.

        A dict that is yielded is merged into the `data` of the final frame (sources, for example).
        An ``async def`` that returns its text at once will do, too. It runs on the event loop of
        the agent's dispatcher.

        Args:
            message: `text`, `id` and `data` of the question.
            turn: The session's history, effects, cancellation, deadline.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} needs: async def respond(self, message, turn)"
        )

    async def on_receive(self, message: Any) -> Any:
        """Answer a turn. An agent with messages of its own passes the others on to this one."""
        if isinstance(message, Respond):
            await self._us_respond(message.context)
            return None
        if isinstance(message, Crash):
            raise AgentCrash
        raise TypeError(
            f"{type(self).__qualname__} answers turns of its session, not {message!r}; override "
            "on_receive and pass what is not yours to super()"
        )

    async def _us_respond(self, turn: TurnContext) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # a handler is one, whoever steps it
        cancel = functools.partial(loop.call_soon_threadsafe, task.cancel)
        error: BaseException | None = None
        try:
            if turn.begin(self.actor_ref._us_incarnation, cancel):  # pyright: ignore[reportArgumentType]  # it is variadic
                await self._us_drive(turn)
        except BaseException as raised:
            error = raised
        if turn.crashing:
            error = AgentCrash()
        elif turn.cancelled and isinstance(error, asyncio.CancelledError):
            error = None
            task.uncancel()
        turn.finish(Outcome(error=None if turn.cancelled else error, cancelled=turn.cancelled))
        if error is not None:
            raise error

    async def _us_drive(self, turn: TurnContext) -> None:
        own = type(self).heartbeat is not Agent.heartbeat
        beat = bool if own else functools.partial(self.context.heartbeat, lease=turn.lease)
        beat()
        answer: Any = self.respond(turn.message, turn)
        if hasattr(answer, "__aiter__"):
            async with contextlib.aclosing(answer):
                async for piece in answer:
                    turn.yielded(piece)
                    beat()
                    if turn.cancelled:
                        return
                    if turn.ahead:
                        await turn.room()
        elif hasattr(answer, "__await__"):
            piece = await answer
            if piece is not None:
                turn.yielded(piece)
        else:
            raise TypeError(
                f"{type(self).__qualname__}.respond() must be an async generator "
                f"(async def with yield), not return {type(answer).__name__}"
            )
