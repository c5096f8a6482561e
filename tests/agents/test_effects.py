"""Effects are recorded with the text around them and carried out after it, by one runner a channel."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import understudy as us
from tests.agents.conftest import WAIT, Gates


class Orders(us.Agent):
    """Asks for an effect for every word."""

    async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
        for word in message.text.split():
            yield word + " "
            turn.effect("shop", {"word": word}, dedupe_key=f"{message.id}-{word}")


class Shop:
    """Collects what was done; a test waits for it."""

    def __init__(self, fail: int = 0) -> None:
        self.done: list[Any] = []
        self.fail = fail
        self._changed = threading.Condition()

    def __call__(self, effect: Any) -> Any:
        with self._changed:
            self.done.append(effect)
            self._changed.notify_all()
            if len(self.done) <= self.fail:
                raise OSError("the shop is closed")
        return {"n": len(self.done)}

    def until(self, count: int) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.done) >= count, WAIT), self.done
            return list(self.done)


def until_settled(system: us.ActorSystem, host: us.SessionHost, key: str, status: str) -> list[Any]:
    """Wait until every effect of the session has this status."""
    settled = threading.Event()

    def look(info: Any = None) -> None:
        if all(e.status == status for e in host.effects(key)):
            settled.set()

    cancel = system.journal.on_commit(look)
    look()
    assert settled.wait(WAIT), host.effects(key)
    cancel()
    return host.effects(key)


def test_effects_are_carried_out_once_in_order(system: us.ActorSystem) -> None:
    shop = Shop()
    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": shop})
    host.send("ada:o:t", "milk bread", message_id="m1").result(timeout=WAIT)
    assert [e.payload["word"] for e in shop.until(2)] == ["milk", "bread"]
    assert [e.dedupe_key for e in shop.done] == ["m1-milk", "m1-bread"]
    effects = until_settled(system, host, "ada:o:t", "completed")
    assert [(e.attempts, e.result) for e in effects] == [(1, {"n": 1}), (1, {"n": 2})]
    assert host.effects("ada:o:t", status="pending") == []
    assert host.effects("bob:o:t") == []


def test_a_handler_class_may_be_async_or_not(system: us.ActorSystem) -> None:
    shop = Shop()

    class Async(us.EffectHandler):
        async def handle(self, effect: Any) -> Any:
            return shop(effect)

    class Blocking(us.EffectHandler):
        def handle(self, effect: Any) -> Any:
            return shop(effect)

    class Both(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            turn.effect("async", 1)
            turn.effect("blocking", 2)
            yield "ok"

    host = us.SessionHost(
        system, agents={"b": Both}, effects={"async": Async, "blocking": Blocking()}
    )
    host.send("ada:b:t", "x", message_id="m1").result(timeout=WAIT)
    assert sorted(e.payload for e in shop.until(2)) == [1, 2]
    assert sorted(e.dedupe_key for e in shop.done) == ["ada:b:t:m1:1", "ada:b:t:m1:2"]
    until_settled(system, host, "ada:b:t", "completed")


def test_effects_without_a_handler_stay_pending(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"o": Orders})
    host.send("ada:o:t", "milk").result(timeout=WAIT)
    (effect,) = host.effects("ada:o:t")
    assert (effect.status, effect.attempts) == ("pending", 0)


def test_a_failed_effect_is_tried_again_later_with_the_same_key(
    open_system: Callable[..., us.ActorSystem],
) -> None:
    clock = us.testing.ManualClock()
    system = open_system(clock=clock)
    shop = Shop(fail=2)
    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": shop})
    host.send("ada:o:t", "milk", message_id="m1").result(timeout=WAIT)
    for tries in (1, 2):
        shop.until(tries)
        until_settled(system, host, "ada:o:t", "pending")
        (effect,) = host.effects("ada:o:t")
        assert effect.error == "OSError: the shop is closed"
        clock.advance(2.0)
    assert {e.dedupe_key for e in shop.until(3)} == {"m1-milk"}
    assert [e.attempts for e in shop.done] == [1, 2, 3]
    until_settled(system, host, "ada:o:t", "completed")


def test_a_rejected_effect_fails_for_good(system: us.ActorSystem) -> None:
    def reject(effect: Any) -> None:
        raise us.EffectRejected("no such shop")

    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": reject})
    host.send("ada:o:t", "milk").result(timeout=WAIT)
    (effect,) = until_settled(system, host, "ada:o:t", "failed")
    assert "no such shop" in effect.error


def test_an_effect_over_its_attempts_fails_for_good(system: us.ActorSystem) -> None:
    class Once(us.EffectHandler):
        max_attempts = 1

        def handle(self, effect: Any) -> Any:
            raise OSError("closed")

    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": Once})
    host.send("ada:o:t", "milk").result(timeout=WAIT)
    until_settled(system, host, "ada:o:t", "failed")


def test_an_answer_begun_anew_repeats_no_effect(system: us.ActorSystem) -> None:
    shop = Shop()

    class Fragile(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            turn.effect("shop", {"attempt": turn.attempt})
            yield "x"
            if turn.attempt == 1:
                await turn_safe(host)
                raise RuntimeError("after the effect")

    async def turn_safe(host: us.SessionHost) -> None:
        import asyncio

        while not host.effects("ada:f:t"):
            await asyncio.sleep(0)

    host = us.SessionHost(system, agents={"f": Fragile}, effects={"shop": shop})
    host.send("ada:f:t", "go").result(timeout=WAIT)
    until_settled(system, host, "ada:f:t", "completed")
    assert [e.payload for e in shop.done] == [{"attempt": 1}]


@pytest.mark.parametrize("data_dir", ["lmdb"], indirect=True)
def test_an_effect_in_hand_when_the_system_ended_is_tried_again_by_the_next(
    open_system: Callable[..., us.ActorSystem], data_dir: Path, gates: Gates
) -> None:
    class Waits(us.EffectHandler):
        async def handle(self, effect: Any) -> Any:
            await gates.at("held")

    first = open_system(data_dir=data_dir)
    host = us.SessionHost(first, agents={"o": Orders}, effects={"shop": Waits})
    host.send("ada:o:t", "milk").result(timeout=WAIT)
    gates.wait("held")
    assert [e.status for e in host.effects("ada:o:t")] == ["executing"]
    host.stop()
    first.stop()
    shop = Shop()
    second = open_system(data_dir=data_dir)
    again = us.SessionHost(second, agents={"o": Orders}, effects={"shop": shop})
    (effect,) = shop.until(1)
    assert effect.attempts == 2
    until_settled(second, again, "ada:o:t", "completed")


@pytest.mark.parametrize("handler", [None, 7, "mail", us.Actor])
def test_what_is_no_handler_is_refused(system: us.ActorSystem, handler: Any) -> None:
    with pytest.raises(TypeError, match="effects"):
        us.SessionHost(system, agents={}, effects={"mail": handler})


def test_an_effect_that_cannot_be_kept_is_an_error_of_the_agent(system: us.ActorSystem) -> None:
    class Wrong(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            turn.effect("shop", {"what": object()})
            yield "never"

    host = us.SessionHost(system, agents={"w": Wrong})
    with pytest.raises(us.TurnFailed, match="BadEvent"):
        host.send("ada:w:t", "x").result(timeout=WAIT)
