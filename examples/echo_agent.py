"""The smallest agent, as a program and as a server.

    python examples/echo_agent.py
    understudy serve examples/echo_agent.py:app

The second listens on port 3030; talk to it at
`ws://127.0.0.1:3030/v1/sessions/ada/echo/t1/ws` with
`{"type": "user_message", "text": "hello there", "message_id": "m1"}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import understudy as us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Echo(us.Agent):
    """Says back what it is told, word by word; knows how often it was talked to."""

    async def respond(self, message: us.Message, turn: us.TurnContext) -> AsyncIterator[str]:
        for word in message.text.split():
            yield word + " "
        yield f"(number {len(turn.history) + 1})"


def app(system: us.ActorSystem) -> us.SessionHost:
    """Return what `understudy serve` serves."""
    return us.SessionHost(system, agents={"echo": Echo})


def main() -> None:
    with us.ActorSystem("echo") as system:
        host = app(system)
        key = us.SessionKey("ada", "echo", "t1")
        for frame in host.send(key, "hello there", message_id="m1"):
            print(frame["seq"], frame["type"], frame.get("value", frame.get("message")))
        answer = host.send(key, "and again", message_id="m2").result(timeout=10.0)
        print("answer:", answer)
        # Sent once more under the same name: the answer there is, and no new frame.
        again = host.send(key, "and again", message_id="m2").result(timeout=10.0)
        print("same answer:", again == answer, "frames:", host.last_frame(key))


if __name__ == "__main__":
    main()
