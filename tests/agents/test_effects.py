"""Effects are recorded with the text around them and carried out after it, by one runner a channel."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import understudy as us
from tests.agents.conftest import WAIT, Gates
from understudy.agents._effects import Run
from understudy.storage import NewEffect


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


def runner(system: us.ActorSystem, channel: str) -> Any:
    """The channel's runner, which may still be starting: what it is sent waits."""
    effects = system.lookup("/effects")
    assert effects is not None
    children: Any = effects.proxy().which_children().get(timeout=WAIT)
    (ref,) = [child.ref for child in children if child.id == channel]
    return ref


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
    (effect,) = until_settled(system, host, "ada:o:t", "failed")
    assert (effect.attempts, effect.error) == (1, "OSError: closed")


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


def test_an_async_handler_that_takes_too_long_is_interrupted_and_tried_again(
    open_system: Callable[..., us.ActorSystem],
) -> None:
    import asyncio

    clock = us.testing.ManualClock()
    system = open_system(clock=clock)
    tries: list[int] = []

    class Slow(us.EffectHandler):
        timeout = 0.01

        async def handle(self, effect: Any) -> Any:
            tries.append(effect.attempts)
            if len(tries) == 1:
                await asyncio.get_running_loop().create_future()

    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": Slow})
    host.send("ada:o:t", "milk").result(timeout=WAIT)
    (effect,) = until_settled(system, host, "ada:o:t", "pending")
    if effect.attempts == 0:  # seen before its first try
        (effect,) = until_tried(system, host, "ada:o:t")
    assert "TimeoutError" in effect.error
    clock.advance(1)
    until_settled(system, host, "ada:o:t", "completed")
    assert tries == [1, 2]


def until_tried(system: us.ActorSystem, host: us.SessionHost, key: str) -> list[Any]:
    """Wait until every effect of the session has failed once."""
    tried = threading.Event()

    def look(info: Any = None) -> None:
        if all(e.error for e in host.effects(key)):
            tried.set()

    cancel = system.journal.on_commit(look)
    look()
    assert tried.wait(WAIT), host.effects(key)
    cancel()
    return host.effects(key)


def test_a_handler_that_cannot_be_made_leaves_its_effects_pending_and_says_so(
    system: us.ActorSystem,
) -> None:
    said = threading.Event()

    class Listens(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "effects of channel 'shop' stay pending" in record.getMessage():
                said.set()

    class Broken(us.EffectHandler):
        def __init__(self) -> None:
            raise OSError("no address")

        def handle(self, effect: Any) -> Any:
            raise AssertionError("never made")

    logger, listener = logging.getLogger("understudy.agents"), Listens()
    logger.addHandler(listener)
    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": Broken})
    host.send("ada:o:t", "milk").result(timeout=WAIT)
    assert said.wait(WAIT)
    logger.removeHandler(listener)
    assert [e.status for e in host.effects("ada:o:t")] == ["pending"]


@pytest.mark.parametrize(
    ("result", "kept"),
    [(None, None), (3, 3), ({"a": [1]}, {"a": [1]}), ({1, 2}, "{1, 2}"), ({"a": str}, "class")],
)
def test_what_a_handler_returns_is_kept_as_far_as_it_can_be(
    system: us.ActorSystem, result: Any, kept: Any
) -> None:
    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": lambda effect: result})
    host.send("ada:o:t", "milk").result(timeout=WAIT)
    (effect,) = until_settled(system, host, "ada:o:t", "completed")
    assert kept == effect.result or kept in effect.result


def test_the_sweep_finds_what_no_commit_announced(
    open_system: Callable[..., us.ActorSystem],
) -> None:
    clock = us.testing.ManualClock()
    system = open_system(clock=clock)
    shop = Shop()
    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": shop})
    # as if a runner elsewhere had taken it and was gone
    new = NewEffect("shop", {"word": "milk"}, "left", not_before=clock.time() + 5)
    system.journal.outbox.add([new])
    runner(system, "shop").ask(Run(), timeout=WAIT)
    assert shop.done == []
    clock.advance(6)
    assert [e.dedupe_key for e in shop.until(1)] == ["left"]
    del host


def test_a_runner_that_fails_gives_its_effect_to_the_next_incarnation(
    system: us.ActorSystem,
) -> None:
    tries: list[int] = []
    done = threading.Event()

    class Crashes(us.EffectHandler):
        async def handle(self, effect: Any) -> Any:
            import asyncio

            tries.append(effect.attempts)
            if len(tries) == 1:
                raise asyncio.CancelledError
            done.set()

    host = us.SessionHost(system, agents={"o": Orders}, effects={"shop": Crashes})
    host.send("ada:o:t", "milk").result(timeout=WAIT)
    assert done.wait(WAIT)
    until_settled(system, host, "ada:o:t", "completed")
    assert tries == [1, 2]


def test_a_runner_takes_nothing_else(system: us.ActorSystem) -> None:
    async def later(effect: Any) -> None:
        raise AssertionError("no effect was asked for")

    us.SessionHost(system, agents={}, effects={"a": print, "b": later})
    for channel in "ab":
        with pytest.raises(TypeError, match="takes Run"):
            runner(system, channel).ask("nonsense", timeout=WAIT)
