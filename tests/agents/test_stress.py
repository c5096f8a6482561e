"""Everybody talks at once while agents, sessions and the journal actor fall: the books stay right."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import understudy as us
from tests.agents.conftest import Collector, seqs

SECONDS = float(os.environ.get("UNDERSTUDY_STRESS_SECONDS", "3"))
SESSIONS = [f"u{n}:{agent}:t" for n in range(4) for agent in ("anew", "resumes")]


class Anew(us.Agent):
    async def respond(self, message: Any, turn: Any) -> AsyncIterator[Any]:
        for word in message.text.split()[len(turn.sent.split()) :]:
            yield word + " "
            await asyncio.sleep(0)
        turn.effect("count", {"id": message.id}, dedupe_key=f"{turn.session}-{message.id}")


class Resumes(Anew):
    resumable = True


def _has(count: int, seen: list[Any]) -> bool:
    return len(seen) >= count


@pytest.mark.stress
@pytest.mark.slow
def test_the_books_stay_right_whatever_falls(
    open_system: Callable[..., us.ActorSystem], tmp_path: Path
) -> None:
    chance = random.Random(20)
    system = open_system(data_dir=tmp_path / "data", config={"sessions": {"coalesce": 0.001}})
    done: list[str] = []
    host = us.SessionHost(
        system,
        agents={"anew": Anew, "resumes": Resumes},
        effects={"count": lambda effect: done.append(effect.dedupe_key)},
    )
    clients = {key: Collector() for key in SESSIONS}
    for key, client in clients.items():
        host.attach(key, on_frame=client)
    sent: dict[tuple[str, str], str] = {}
    turns: list[tuple[str, str, us.Turn]] = []
    end = time.monotonic() + SECONDS

    def talk(seed: int) -> None:
        mine = random.Random(seed)
        while time.monotonic() < end:
            key, name = mine.choice(SESSIONS), f"m{mine.randrange(100)}"
            text = sent.setdefault((key, name), f"{name} " * mine.randrange(1, 20))
            turn = host.send(key, text, message_id=name)
            turns.append((key, name, turn))
            if mine.random() < 0.5:
                try:
                    turn.result(timeout=60)
                except us.TurnFailed:
                    pass

    talkers = [threading.Thread(target=talk, args=(seed,)) for seed in range(6)]
    for talker in talkers:
        talker.start()
    journal = system.lookup("/storage/journal")
    assert journal is not None
    falls = 0
    while time.monotonic() < end:
        threading.Event().wait(0.05)  # a pause between two falls, not a wait for anything
        kind = chance.random()
        ref = host.session_ref(chance.choice(SESSIONS))
        if kind < 0.7:
            falls += host.crash(chance.choice(SESSIONS))
        elif kind < 0.9 and ref is not None and ref.is_alive():
            ref.tell("nonsense")
        elif falls % 20 == 0:
            journal.tell("nonsense")
    for talker in talkers:
        talker.join(90)
        assert not talker.is_alive()

    outcomes: dict[tuple[str, str], Any] = {}
    for key, name, turn in turns:
        try:
            outcomes[key, name] = turn.result(timeout=60)
        except us.TurnFailed as error:
            outcomes[key, name] = error
            assert error.code in ("agent_failed", "not_saved", "interrupted")
    assert outcomes
    assert falls
    for key, client in clients.items():
        frames = host.frames(key)
        assert seqs(frames) == list(range(1, len(frames) + 1))
        client.until(functools.partial(_has, len(frames)))
        assert client.frames == frames
        asked = [e["message_id"] for e in host.history(key, types=["user_message"])]
        assert len(asked) == len(set(asked))
        closed = [f["message_id"] for f in frames if f["type"] in ("message", "error")]
        assert closed == asked
        text = ""
        for frame in frames:
            if frame["type"] == "token":
                text += frame["value"]
            elif frame["type"] == "retry":
                text = ""
            else:
                if frame["type"] == "message":
                    assert frame["message"] == text == sent[key, frame["message_id"]]
                text = ""
    assert len(system.journal.outbox.list()) == len(
        {e.dedupe_key for e in system.journal.outbox.list()}
    )
