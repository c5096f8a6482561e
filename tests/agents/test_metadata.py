"""On whose behalf a message came is kept beside it, and the agent is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import understudy as us
from tests.agents.conftest import WAIT, Echo, Gates

BEHALF = {"request_id": "r1", "traceparent": "00-1-2-01"}


class Told(us.Agent):
    async def respond(self, message: Any, turn: Any) -> AsyncIterator[str]:
        yield ",".join(f"{name}={value}" for name, value in sorted(message.metadata.items()))


def test_metadata_stands_beside_the_user_message_and_reaches_the_agent(
    system: us.ActorSystem,
) -> None:
    host = us.SessionHost(system, agents={"told": Told})
    turn = host.send("ada:told:t1", "hello", metadata=BEHALF)
    assert turn.result(timeout=WAIT) == "request_id=r1,traceparent=00-1-2-01"
    first, *rest = host.history("ada:told:t1")
    assert first.type == "user_message"
    assert first.record.metadata == BEHALF
    assert "metadata" not in first
    assert not any(event.record.metadata for event in rest)


def test_without_metadata_there_is_none(system: us.ActorSystem) -> None:
    host = us.SessionHost(system, agents={"told": Told})
    assert host.send("ada:told:t1", "hello").result(timeout=WAIT) == ""
    assert host.history("ada:told:t1")[0].record.metadata is None


def test_metadata_survives_the_end_of_the_process(open_system: Any, tmp_path: Any) -> None:
    gates = Gates()

    class Waits(us.Agent):
        async def respond(self, message: Any, turn: Any) -> AsyncIterator[str]:
            await gates.at("in")
            yield message.metadata["request_id"]

    first = open_system(data_dir=tmp_path / "data")
    host = us.SessionHost(first, agents={"waits": Waits})
    host.send("ada:waits:t1", "hello", message_id="m1", metadata=BEHALF)
    gates.wait("in")
    host.stop()
    first.stop(timeout=1)
    gates.let("in")
    second = us.SessionHost(open_system(data_dir=tmp_path / "data"), agents={"waits": Waits})
    assert second.send("ada:waits:t1", "hello", message_id="m1").result(timeout=WAIT) == "r1"


@pytest.mark.parametrize(
    "metadata", [["r1"], {"request_id": 1}, {1: "r1"}, {"request_id": "x" * 70_000}]
)
def test_metadata_that_is_no_text_by_text_is_refused(system: us.ActorSystem, metadata: Any) -> None:
    host = us.SessionHost(system, agents={"echo": Echo})
    with pytest.raises(us.InvalidText, match="metadata"):
        host.send("ada:echo:t1", "hello", metadata=metadata)
    assert host.history("ada:echo:t1") == []
