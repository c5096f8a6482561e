"""What happens to a turn when something falls: nothing lost, nothing repeated, never silently anew."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import understudy as us
from tests.agents.conftest import WAIT, Collector, Echo, Gates, seqs, text_of
from understudy.storage import CommitFuture


class Fails(us.Agent):
    """Fails as often as the class says, in the middle of its answer."""

    times = 1
    calls: list[int]

    async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
        type(self).calls.append(turn.attempt)
        yield "one "
        if len(type(self).calls) <= type(self).times:
            raise RuntimeError("in the middle")
        yield "two"


@pytest.fixture
def fails() -> type[Fails]:
    return type("Fails", (Fails,), {"calls": []})


def test_a_crashed_agent_restarts_and_its_turn_is_begun_anew_and_says_so(
    system: us.ActorSystem, fails: type[Fails]
) -> None:
    host = us.SessionHost(system, agents={"f": fails})
    turn = host.send("ada:f:t", "go")
    assert turn.result(timeout=WAIT) == "one two"
    frames = host.frames("ada:f:t")
    assert seqs(frames) == list(range(1, len(frames) + 1))
    (retry,) = [f for f in frames if f["type"] == "retry"]
    assert set(retry) == {"type", "attempt", "seq"}
    assert retry["attempt"] == 2
    assert text_of(frames) == "one two"
    assert list(turn) == frames
    assert fails.calls == [1, 2]


def test_the_conversation_stands_after_a_crash(system: us.ActorSystem, fails: type[Fails]) -> None:
    histories: list[Any] = []

    class Remembers(fails):  # type: ignore[misc,valid-type]  # a class made by the fixture
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            histories.append([e.text for e in turn.history])
            async for piece in super().respond(message, turn):
                yield piece

    Remembers.calls = [0, 0]
    host = us.SessionHost(system, agents={"f": Remembers})
    host.send("ada:f:t", "before").result(timeout=WAIT)
    Remembers.calls = []
    host.send("ada:f:t", "crash").result(timeout=WAIT)
    host.send("ada:f:t", "after").result(timeout=WAIT)
    assert histories == [[], ["before"], ["before"], ["before", "crash"]]


def test_a_poisoned_message_ends_with_an_error_and_the_next_one_is_answered(
    system: us.ActorSystem,
) -> None:
    class Poisoned(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield "x"
            if message.text == "poison":
                raise ValueError("secret details")

    host = us.SessionHost(system, agents={"p": Poisoned})
    bad = host.send("ada:p:t", "poison", message_id="bad")
    good = host.send("ada:p:t", "fine")
    with pytest.raises(us.TurnFailed) as caught:
        bad.result(timeout=WAIT)
    assert (caught.value.code, caught.value.retryable) == ("agent_failed", False)
    assert "3 times (ValueError)" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert good.result(timeout=WAIT) == "x"
    frames = host.frames("ada:p:t")
    assert seqs(frames) == list(range(1, len(frames) + 1))
    assert [f["attempt"] for f in frames if f["type"] == "retry"] == [2, 3]
    (error,) = [f for f in frames if f["type"] == "error"]
    assert error["message_id"] == "bad"
    with pytest.raises(us.TurnFailed, match="3 times"):
        host.send("ada:p:t", "poison", message_id="bad").result(timeout=WAIT)


def test_a_resumable_agent_goes_on_where_the_journal_ends(system: us.ActorSystem) -> None:
    class Counts(us.Agent):
        resumable = True
        crashed = False

        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            start = len(turn.sent.split())
            for n in range(start, 5):
                if n == 3 and not type(self).crashed:
                    type(self).crashed = True
                    # what was yielded is on its way; wait until it is safe
                    while not host.frames("ada:c:t"):
                        await asyncio.sleep(0)
                    raise RuntimeError("halfway")
                yield f"{n} "

    host = us.SessionHost(system, agents={"c": Counts})
    assert host.send("ada:c:t", "go").result(timeout=WAIT) == "0 1 2 3 4 "
    frames = host.frames("ada:c:t")
    assert "retry" not in {f["type"] for f in frames}
    assert text_of(frames) == "0 1 2 3 4 "
    assert "retry" in {e.type for e in host.history("ada:c:t")}


def test_an_agent_told_to_crash_is_interrupted_and_other_sessions_do_not_notice(
    system: us.ActorSystem, gates: Gates
) -> None:
    class Slow(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield "begun "
            if message.text == "wait" and turn.attempt == 1:
                await gates.at("held")
            yield "done"

    host = us.SessionHost(system, agents={"s": Slow})
    turn = host.send("ada:s:t", "wait")
    other = host.send("bob:s:t", "wait")
    gates.wait("held")
    agent = host.agent_ref("ada:s:t")
    assert host.crash("ada:s:t")
    assert turn.result(timeout=WAIT) == "begun done"
    assert not other.done()
    gates.let("held")
    assert other.result(timeout=WAIT) == "begun done"
    assert "retry" not in {f["type"] for f in host.frames("bob:s:t")}
    assert host.agent_ref("ada:s:t") == agent
    assert host.crash("ada:s:t")
    assert host.send("ada:s:t", "again").result(timeout=WAIT) == "begun done"
    assert not host.crash("nobody:s:t")


def test_a_cancelled_turn_ends_with_an_error_and_the_next_one_is_answered(
    system: us.ActorSystem, gates: Gates
) -> None:
    seen = threading.Event()

    class Slow(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield "begun "
            if message.text == "wait":
                try:
                    await gates.at("held")
                finally:
                    if turn.cancelled:
                        seen.set()
            yield "done"

    host = us.SessionHost(system, agents={"s": Slow})
    turn, queued = host.send("ada:s:t", "wait"), host.send("ada:s:t", "x", message_id="queued")
    after = host.send("ada:s:t", "after")
    gates.wait("held")
    host.cancel("ada:s:t", "queued")
    with pytest.raises(us.TurnFailed, match="cancelled"):
        queued.result(timeout=WAIT)
    assert not turn.done()
    host.cancel("ada:s:t")
    with pytest.raises(us.TurnFailed) as caught:
        turn.result(timeout=WAIT)
    assert caught.value.code == "cancelled"
    assert seen.wait(WAIT)
    assert after.result(timeout=WAIT) == "begun done"
    frames = host.frames("ada:s:t")
    assert seqs(frames) == list(range(1, len(frames) + 1))
    host.cancel("ada:s:t")
    host.cancel("nobody:s:t")


def test_a_turn_past_its_deadline_ends_with_an_error(
    open_system: Callable[..., us.ActorSystem], gates: Gates
) -> None:
    clock = us.testing.ManualClock()
    system = open_system(clock=clock)

    class Slow(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            assert turn.remaining() == 30
            await gates.at("held")
            yield "late"

    host = us.SessionHost(system, agents={"s": Slow})
    turn = host.send("ada:s:t", "x", timeout=30)
    gates.wait("held")
    clock.advance(31)
    with pytest.raises(us.TurnFailed) as caught:
        turn.result(timeout=WAIT)
    assert caught.value.code == "deadline_exceeded"


def test_what_respond_may_not_yield_is_an_error_of_the_agent(system: us.ActorSystem) -> None:
    class Wrong(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield {"bytes": b"x", "number": 7}.get(message.text, 7)

    host = us.SessionHost(system, agents={"w": Wrong})
    with pytest.raises(us.TurnFailed, match="TypeError"):
        host.send("ada:w:t", "bytes").result(timeout=WAIT)


@pytest.mark.parametrize("data_dir", ["lmdb"], indirect=True)
def test_open_turns_are_taken_up_when_a_host_starts(
    open_system: Callable[..., us.ActorSystem], data_dir: Path, gates: Gates
) -> None:
    class Slow(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield f"{message.text} "
            if turn.attempt == 1 and message.text == "first":
                await gates.at("held")
            yield "done"

    first = open_system(data_dir=data_dir)
    host = us.SessionHost(first, agents={"s": Slow})
    host.send("ada:s:t", "first", message_id="m1")
    host.send("ada:s:t", "second", message_id="m2").accepted(WAIT)
    gates.wait("held")
    client = Collector()
    host.attach("ada:s:t", on_frame=client)
    client.until(lambda frames: bool(frames))
    host.stop()
    first.stop()

    second = open_system(data_dir=data_dir)
    again = us.SessionHost(second, agents={"s": Slow})
    rest = Collector()
    again.attach("ada:s:t", after=client.frames[-1]["seq"], on_frame=rest)
    rest.until_closed(2)
    frames = client.frames + rest.frames
    assert seqs(frames) == list(range(1, len(frames) + 1))
    assert [f["type"] for f in rest.frames][0] == "retry"
    assert [f["message"] for f in frames if f["type"] == "message"] == [
        "first done",
        "second done",
    ]
    assert again.send("ada:s:t", "first", message_id="m1").result(timeout=WAIT) == "first done"
    assert again.frames("ada:s:t") == frames


def test_a_session_that_is_idle_leaves_memory_and_comes_back(
    open_system: Callable[..., us.ActorSystem],
) -> None:
    clock = us.testing.ManualClock()
    system = open_system(clock=clock)
    gone = threading.Event()
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t", "one").result(timeout=WAIT)
    ref = host.session_ref("ada:echo:t")
    assert ref is not None
    system.events.subscribe(lambda event: gone.set() if event.ref == ref else None, us.ActorStopped)
    clock.advance(400)
    assert gone.wait(WAIT)
    assert host.session_ref("ada:echo:t") is None
    assert host.active == 0
    assert host.send("ada:echo:t", "two").result(timeout=WAIT) == "two "
    assert seqs(host.frames("ada:echo:t")) == [1, 2, 3, 4]


def test_a_message_that_cannot_be_saved_fails_its_turn_and_may_be_sent_again(
    system: us.ActorSystem,
) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t", "one").result(timeout=WAIT)

    def refuse(write: Any, **options: Any) -> Any:
        future: Any = CommitFuture()
        future.set_exception(us.StorageError("no room"))
        return future

    vars(system.journal)["submit_write"] = refuse
    lost = host.send("ada:echo:t", "two", message_id="m2")
    with pytest.raises(us.TurnFailed) as caught:
        lost.result(timeout=WAIT)
    assert (caught.value.code, caught.value.retryable) == ("not_saved", True)
    del vars(system.journal)["submit_write"]
    assert host.send("ada:echo:t", "two", message_id="m2").result(timeout=WAIT) == "two "
    frames = host.frames("ada:echo:t")
    assert seqs(frames) == list(range(1, len(frames) + 1))


def test_every_piece_is_its_own_frame_where_coalescing_is_off(
    open_system: Callable[..., us.ActorSystem],
) -> None:
    system = open_system(config={"sessions": {"coalesce": 0}})
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t", "a b c d e").result(timeout=WAIT)
    frames = host.frames("ada:echo:t")
    assert [f["value"] for f in frames[:-1]] == ["a ", "b ", "c ", "d ", "e "]


def test_text_that_comes_fast_is_gathered(open_system: Callable[..., us.ActorSystem]) -> None:
    system = open_system(clock=us.testing.ManualClock())
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t", " ".join("abcdefghij" * 20)).result(timeout=WAIT)
    assert len(host.frames("ada:echo:t")) <= 4


@pytest.mark.slow
@pytest.mark.parametrize("how", ["awaits", "blocks"])
def test_a_frozen_agent_is_replaced_and_its_turn_taken_up(system: us.ActorSystem, how: str) -> None:
    release = threading.Event()

    class Freezes(us.Agent):
        heartbeat = us.Heartbeat(timeout=0.5, interval=0.1)

        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield f"attempt {turn.attempt} "
            if turn.attempt == 1 and how == "awaits":
                await asyncio.get_running_loop().create_future()
            elif turn.attempt == 1:
                release.wait(20)  # the whole event loop with it
            yield "done"

    host = us.SessionHost(system, agents={"f": Freezes})
    assert host.send("ada:f:t", "x").result(timeout=WAIT) == "attempt 2 done"
    release.set()
    assert [f["type"] for f in host.frames("ada:f:t")].count("retry") == 1


def test_an_agent_that_ends_itself_is_started_anew(system: us.ActorSystem) -> None:
    class Quits(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield f"attempt {turn.attempt}"
            self.stop()

    host = us.SessionHost(system, agents={"q": Quits})
    ended = threading.Event()
    system.events.subscribe(
        lambda e: ended.set() if e.path.endswith("/agent") else None, us.ActorStopped
    )
    assert host.send("ada:q:t", "x").result(timeout=WAIT) == "attempt 1"
    assert ended.wait(WAIT)
    assert host.send("ada:q:t", "y").result(timeout=WAIT).startswith("attempt")


def test_an_agent_that_cannot_be_started_ends_the_turn_with_an_error(
    system: us.ActorSystem,
) -> None:
    class Broken(us.Agent):
        def __init__(self) -> None:
            super().__init__()
            raise OSError("no model here")

        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield "never"

    host = us.SessionHost(system, agents={"b": Broken})
    with pytest.raises(us.TurnFailed) as caught:
        host.send("ada:b:t", "x").result(timeout=WAIT)
    assert (caught.value.code, caught.value.retryable) == ("agent_unavailable", True)


def test_an_agent_may_be_made_with_arguments(system: us.ActorSystem) -> None:
    class Greets(us.Agent):
        def __init__(self, greeting: str) -> None:
            super().__init__()
            self.greeting = greeting

        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield f"{self.greeting}, {message.text}"

    host = us.SessionHost(system, agents={"g": us.Props(Greets, "Hello")})
    assert host.send("ada:g:t", "Ada").result(timeout=WAIT) == "Hello, Ada"


def test_a_respond_that_is_no_coroutine_is_an_error_that_says_so(
    system: us.ActorSystem, caplog: pytest.LogCaptureFixture
) -> None:
    class Plain(us.Agent):
        def respond(self, message: Any, turn: Any) -> Any:
            return "text"

    class Missing(us.Agent):
        def respond(self, message: Any, turn: Any) -> Any:
            return super().respond(message, turn)

    host = us.SessionHost(system, agents={"p": Plain, "m": Missing})
    for agent in "pm":
        with pytest.raises(us.TurnFailed):
            host.send(f"ada:{agent}:t", "x").result(timeout=WAIT)
    assert "must be an async generator" in caplog.text
    assert "needs: async def respond" in caplog.text


def test_an_agent_far_ahead_of_the_journal_waits_for_it(system: us.ActorSystem) -> None:
    ahead: list[int] = []

    class Floods(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            for _ in range(40):
                ahead.append(turn._ahead)
                yield "x" * 65536

    host = us.SessionHost(system, agents={"f": Floods})
    assert len(host.send("ada:f:t", "x").result(timeout=WAIT)) == 40 * 65536
    assert max(ahead) <= 2 * (1 << 18)


def test_an_agent_takes_messages_of_its_own_and_refuses_others(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t", "x").result(timeout=WAIT)
    for ref in (host.agent_ref("ada:echo:t"), host.session_ref("ada:echo:t")):
        assert ref is not None
        with pytest.raises(TypeError, match="not 'nonsense'|take 'nonsense'"):
            ref.ask("nonsense", timeout=WAIT)


def test_a_cancelled_turn_whose_agent_does_not_end_is_closed_without_it(
    open_system: Callable[..., us.ActorSystem], gates: Gates
) -> None:
    clock = us.testing.ManualClock()
    system = open_system(clock=clock)
    cancelled = threading.Event()

    class Stubborn(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield "begun "
            while message.text == "wait":
                try:
                    await gates.at("held")
                    return
                except asyncio.CancelledError:
                    cancelled.set()
            yield "done"

    host = us.SessionHost(system, agents={"s": Stubborn})
    turn = host.send("ada:s:t", "wait")
    gates.wait("held")
    stubborn, gone = host.agent_ref("ada:s:t"), threading.Event()
    system.events.subscribe(
        lambda event: gone.set() if event.ref == stubborn else None, us.ActorStopped
    )
    host.cancel("ada:s:t")
    assert cancelled.wait(WAIT)
    assert not turn.done()
    clock.advance(6)
    with pytest.raises(us.TurnFailed, match="cancelled"):
        turn.result(timeout=WAIT)
    gates.let("held")
    assert host.send("ada:s:t", "go").result(timeout=WAIT) == "begun done"
    assert gone.wait(WAIT)
    assert host.agent_ref("ada:s:t") != stubborn


def test_an_answer_that_is_interrupted_again_and_again_ends_with_an_error(
    system: us.ActorSystem, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.agents._session.MOST_ATTEMPTS", 3)

    class Slow(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
            yield "begun "
            if message.text == "wait":
                await gates.at(f"attempt {turn.attempt}")

    host = us.SessionHost(system, agents={"s": Slow})
    turn = host.send("ada:s:t", "wait")
    for attempt in (1, 2, 3):
        gates.wait(f"attempt {attempt}")
        assert not turn.done()
        session = host.session_ref("ada:s:t")
        assert session is not None
        session.tell("nonsense")  # the session fails, and takes its agent along
    with pytest.raises(us.TurnFailed, match="interrupted 3 times") as caught:
        turn.result(timeout=WAIT)
    assert (caught.value.code, caught.value.retryable) == ("interrupted", True)
    assert host.send("ada:s:t", "go").result(timeout=WAIT) == "begun "


def test_a_session_over_its_budget_comes_back_after_a_pause(
    open_system: Callable[..., us.ActorSystem],
) -> None:
    clock = us.testing.ManualClock()
    system = open_system(clock=clock)
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t", "one").result(timeout=WAIT)
    ref = host.session_ref("ada:echo:t")
    assert ref is not None
    gone = threading.Event()
    system.events.subscribe(lambda event: gone.set() if event.ref == ref else None, us.ActorStopped)
    for _ in range(10):
        if ref.is_alive():
            ref.tell("nonsense")
    assert gone.wait(WAIT)
    clock.advance(2)
    assert host.send("ada:echo:t", "two").result(timeout=WAIT) == "two "
    assert seqs(host.frames("ada:echo:t")) == [1, 2, 3, 4]


def test_a_message_repeated_while_its_final_frame_is_on_its_way_is_not_taken_twice(
    system: us.ActorSystem,
) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    host.send("ada:echo:t", "warm up").result(timeout=WAIT)
    entry = host._entries[us.SessionKey.parse("ada:echo:t")]
    real = system.journal.submit_write
    held: list[tuple[Any, Any]] = []
    closing = threading.Event()

    def hold(write: Any, **options: Any) -> Any:
        if not any(row.status == "done" for row in write.ledger):
            return real(write, **options)
        future: Any = CommitFuture()
        held.append((write, future))
        closing.set()
        return future

    vars(system.journal)["submit_write"] = hold
    first = host.send("ada:echo:t", "hello", message_id="m1")
    assert closing.wait(WAIT)
    # a client that was told of a failure before, and asks again
    entry.feed.turns.pop("m1")
    again = host.send("ada:echo:t", "hello", message_id="m1")
    ref = host.session_ref("ada:echo:t")
    assert ref is not None
    with pytest.raises(TypeError):
        ref.ask("behind the repeat", timeout=WAIT)
    del vars(system.journal)["submit_write"]
    for write, future in held:
        future.set_result(real(write).result())
    assert again.result(timeout=WAIT) == "hello "
    assert [f["type"] for f in again] == ["token", "message"]
    asked = [e["message_id"] for e in host.history("ada:echo:t", types=["user_message"])]
    assert asked.count("m1") == 1
    del first
