"""Read by type checkers, never run: what the kernel's types promise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, assert_type

import pykka

import understudy as us


@dataclass(frozen=True)
class Balance(us.Msg[int]):
    """Answered with a number."""

    account: str


class Teller(us.Actor):
    """Answers whatever it is asked."""

    mailbox = us.Mailbox(capacity=10, overflow="reject")
    heartbeat = us.Heartbeat(timeout=2.0)

    def on_receive(self, message: Any) -> Any:
        """Handle it."""
        assert_type(self.context, us.Context)
        assert_type(self.context.schedule_once(1.0, "x"), us.Timer)
        return message


def messages_know_their_answers(ref: us.ActorRef[Teller]) -> None:
    """`ask` gives what the message says; other messages are answered with anything."""
    assert_type(ref.ask(Balance("ada")), int)
    assert_type(ref.ask(Balance("ada"), timeout=1.0), int)
    assert_type(ref.ask(Balance("ada"), block=False), us.Future[int])
    assert_type(ref.stop(), bool)
    assert_type(ref.stop(block=False), us.Future[bool])
    assert_type(ref.path, str)


def standalone_actors_know_their_class() -> us.ActorRef[Teller]:
    """As in Pykka."""
    return Teller.start()


async def futures_are_awaitable(future: us.Future[int]) -> None:
    """On any event loop, and gathered."""
    assert_type(await future, int)
    assert_type(future.done(), bool)
    assert_type(future.map(str), us.Future[str])
    await asyncio.gather(future, future)


def refs_are_pykkas(ref: us.ActorRef[Teller], future: us.Future[int]) -> None:
    """So that code written for Pykka takes them."""
    theirs: pykka.ActorRef[Any] = ref
    theirs.tell("x")
    waiting: pykka.Future[int] = future
    waiting.get()


def exits_are_matched_by_type(event: us.ActorStopped) -> BaseException | None:
    """Reasons carry their cause."""
    assert_type(event.reason, us.Exit)
    return event.reason.cause
