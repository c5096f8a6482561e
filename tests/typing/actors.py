"""Read by type checkers, never run: what the kernel's types promise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_type, cast

import pykka
from pykka.typing import ActorMemberMixin, proxy_field, proxy_method

import understudy as us

if TYPE_CHECKING:
    from types import TracebackType


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
    assert_type(Teller.start(), us.ActorRef[Teller])
    return Teller.start()


def spawned_actors_know_their_class(system: us.ActorSystem) -> None:
    """Also from `Props`, and named."""
    assert_type(system.spawn(Teller), us.ActorRef[Teller])
    assert_type(system.spawn(Teller, 1, name="teller", limit=3), us.ActorRef[Teller])
    assert_type(system.spawn(us.Props(Teller, 1)), us.ActorRef[Teller])
    assert_type(system.spawn(Teller).ask(Balance("ada")), int)
    assert_type(system.spawn(Teller).proxy(), us.ActorProxy[Teller])


async def the_same_without_blocking_a_loop(system: us.ActorSystem) -> None:
    """Spawning and asking."""
    ref = await system.spawn_async(Teller)
    assert_type(ref, us.ActorRef[Teller])
    assert_type(await ref.ask_async(Balance("ada")), int)
    assert_type(await ref.ask_async(Balance("ada"), timeout=1.0), int)
    assert_type(ref.ask_async("anything"), us.Future[Any])


class Branch(us.Actor):
    """Has children, and hooks that are plain functions."""

    def on_start(self) -> None:
        """Start them."""
        teller = self.context.spawn(Teller, name="teller")
        assert_type(teller, us.ActorRef[Teller])
        assert_type(self.context.watch(teller), us.ActorRef[Teller])

    def on_stop(self) -> None:
        """Nothing is left to do."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """With Pykka's types."""

    def on_receive(self, message: Balance) -> int:
        """Takes one kind of message only."""
        return len(message.account)


class Waiter(us.Actor):
    """All its hooks are coroutine functions."""

    async def on_start(self) -> None:
        """Awaits something."""
        await asyncio.sleep(0)

    async def on_stop(self) -> None:
        """Awaits something."""
        await asyncio.sleep(0)

    async def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Awaits something."""
        await asyncio.sleep(0)

    async def on_receive(self, message: Balance) -> int:
        """Takes one kind of message only."""
        return len(message.account)

    async def balance(self, account: str) -> int:
        """For proxies."""
        return len(account)


class Account(us.Actor):
    """Used through a proxy whose type names its members."""

    owner: str = "ada"

    def deposit(self, amount: int) -> int:
        """Answers with the new balance."""
        return amount


class AccountProxy(ActorMemberMixin, us.ActorProxy[Account]):
    """As Pykka's guide to typing writes them."""

    owner = proxy_field(Account.owner)
    deposit = proxy_method(Account.deposit)


def proxies_are_typed_as_in_pykka(system: us.ActorSystem) -> None:
    """With its own words, from its `pykka.typing`."""
    proxy = cast("AccountProxy", system.spawn(Account).proxy())
    assert_type(proxy.owner.get(), str)
    assert_type(proxy.deposit(3).get(), int)
    assert_type(proxy.stop().get(), None)


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


def the_registry_is_pykkas_with_our_types() -> None:
    """It hands out our refs."""
    assert_type(us.ActorRegistry.get_by_class(Teller), list[us.ActorRef[Teller]])
    assert_type(us.ActorRegistry.stop_all(), list[bool])
    assert_type(us.ActorRegistry.stop_all(block=False), list[us.Future[bool]])
