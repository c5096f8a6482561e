"""What a turn shows to whoever waits for it, frame by frame; no session, no journal."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import understudy as us
from tests.agents.conftest import WAIT
from understudy.agents._turn import Turn, TurnState

KEY = us.SessionKey("ada", "echo", "t1")
NOT_SAVED = us.TurnFailed("not_saved", "no", retryable=True, message_id="m1")


def token(seq: int) -> dict[str, Any]:
    return {"type": "token", "value": f"{seq} ", "seq": seq}


def final(seq: int) -> dict[str, Any]:
    usage = {"promptTokens": 0, "completionTokens": 0, "totalTokens": 0}
    return {"type": "message", "message": "all", "latencyMs": 1.0, "tokenUsage": usage, "seq": seq}


def error(seq: int) -> dict[str, Any]:
    return {"type": "error", "code": "c", "message": "m", "retryable": True, "seq": seq}


@pytest.fixture
def state() -> TurnState:
    return TurnState("m1")


@pytest.fixture
def turn(state: TurnState) -> Turn:
    return Turn(KEY, state)


async def followed(turn: Turn) -> list[dict[str, Any]]:
    return [frame async for frame in turn]


def test_frames_of_an_earlier_run_stand_before_those_that_came_meanwhile(
    state: TurnState, turn: Turn
) -> None:
    state.push([token(3)])
    assert not state.has_more(0)  # the earlier ones are not in front yet
    state.accept([token(1), token(2), token(3)])
    state.push([final(4)])
    assert [frame["seq"] for frame in turn] == [1, 2, 3, 4]
    assert [frame["seq"] for frame in asyncio.run(followed(turn))] == [1, 2, 3, 4]


def test_a_turn_that_had_ended_before_is_ended_once_its_frames_are_there(
    state: TurnState, turn: Turn
) -> None:
    assert repr(turn) == "<Turn 'm1' of ada:echo:t1: sent>"
    state.accept([token(1), final(2)])
    assert turn.done()
    assert turn.result(timeout=0) == "all"
    assert repr(turn) == "<Turn 'm1' of ada:echo:t1: ended>"


def test_a_second_acceptance_changes_nothing(state: TurnState, turn: Turn) -> None:
    state.accept()
    assert repr(turn) == "<Turn 'm1' of ada:echo:t1: running>"
    state.accept([token(1), final(2)])
    assert not turn.done()
    assert state.frames == []


def test_waiting_ends_after_the_limit_and_says_what_it_waited_for(turn: Turn) -> None:
    with pytest.raises(us.Timeout, match="'m1' was not safe within 0 s"):
        turn.accepted(timeout=0)
    with pytest.raises(us.Timeout, match="'m1' of session ada:echo:t1 did not end within 0 s"):
        turn.result(timeout=0)


def test_a_message_that_was_not_kept_fails_everybody_who_waits(
    state: TurnState, turn: Turn
) -> None:
    async def both() -> list[Any]:
        waiting = [asyncio.ensure_future(turn._accepted()), asyncio.ensure_future(turn._ended())]
        await asyncio.to_thread(state.fail, NOT_SAVED)
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [getattr(one, "code", one) for one in asyncio.run(both())] == ["not_saved"] * 2
    with pytest.raises(us.TurnFailed, match="no"):
        turn.accepted(timeout=WAIT)
    with pytest.raises(us.TurnFailed, match="no"):
        turn.result(timeout=WAIT)
    with pytest.raises(us.TurnFailed, match="no"):
        list(turn)
    with pytest.raises(us.TurnFailed, match="no"):
        asyncio.run(followed(turn))


def test_frames_that_are_safe_are_given_before_the_failure_that_ends_them(
    state: TurnState, turn: Turn
) -> None:
    state.accept()
    state.push([token(1)])
    state.fail(NOT_SAVED)
    frames = iter(turn)
    assert next(frames)["seq"] == 1
    with pytest.raises(us.TurnFailed):
        next(frames)
    assert turn.accepted(timeout=WAIT) is turn  # the message itself was safe


def test_a_turn_that_has_ended_cannot_fail_any_more(state: TurnState, turn: Turn) -> None:
    state.push([final(1)])
    state.fail(RuntimeError("its first write was not told yet"))
    assert turn.accepted(timeout=WAIT).result(timeout=WAIT) == "all"
    state.fail(RuntimeError("too late"))
    assert turn.result(timeout=WAIT) == "all"
    assert [frame["seq"] for frame in turn] == [1]


def test_an_error_frame_is_an_exception_that_holds_it(state: TurnState, turn: Turn) -> None:
    state.accept()
    state.push([error(1)])
    with pytest.raises(us.TurnFailed) as caught:
        turn.result(timeout=WAIT)
    assert (caught.value.code, caught.value.retryable) == ("c", True)
    assert (caught.value.message_id, caught.value.frame) == ("m1", error(1))


def test_a_callback_is_called_once_whether_the_turn_has_ended_or_will(
    state: TurnState, turn: Turn
) -> None:
    called: list[Any] = []
    turn.add_done_callback(lambda one: called.append(("before", one)))
    state.accept()
    state.push([token(1)])
    assert called == []
    state.push([final(2)])
    turn.add_done_callback(lambda one: called.append(("after", one)))
    state.fail(RuntimeError("too late"))
    assert called == [("before", turn), ("after", turn)]


def test_who_stops_looking_is_told_nothing_more(state: TurnState) -> None:
    seen: list[int] = []
    cancel = state.watch(lambda: seen.append(len(state.frames)))
    state.push([token(1)])
    cancel()
    cancel()  # twice is harmless
    state.push([token(2)])
    assert seen == [1]


def test_changes_after_the_end_of_a_followers_event_loop_hurt_nobody(
    state: TurnState, turn: Turn
) -> None:
    loop = asyncio.new_event_loop()
    waiting = turn._until(turn.done)
    task = loop.create_task(waiting)
    loop.run_until_complete(entered(state))
    loop.close()
    thread = threading.Thread(target=state.push, args=([final(1)],))
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert turn.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was left on purpose
    waiting.close()


async def entered(state: TurnState) -> None:
    while not state._watchers:
        await asyncio.sleep(0)
