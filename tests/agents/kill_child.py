"""A server to be killed: one session whose agent yields a piece for each line on standard input.

Frames go to standard output as JSON lines. Arguments: data directory, after, resumable or not.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import understudy as us

KEY = us.SessionKey("ada", "teller", "t1")
PIECES = 10


class Teller(us.Agent):
    resumable = sys.argv[3] == "resumable"

    async def respond(self, message: Any, turn: Any) -> AsyncIterator[str]:
        start = len(turn.sent.split())
        for number in range(start, PIECES):
            await asyncio.to_thread(sys.stdin.readline)
            if number == 2:
                turn.effect("note", {"told": number}, dedupe_key=f"{message.id}-note")
            yield f"{number} "


def main() -> None:
    faulthandler.dump_traceback_later(20, exit=True)  # who hangs says where
    data_dir, after = Path(sys.argv[1]), int(sys.argv[2])

    def say(frame: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(frame) + "\n")
        sys.stdout.flush()

    def note(effect: Any) -> None:
        with (data_dir.parent / "notes").open("a") as file:
            file.write(effect.dedupe_key + "\n")

    with us.ActorSystem("killed", data_dir=data_dir) as system:
        host = us.SessionHost(system, agents={"teller": Teller}, effects={"note": note})
        host.attach(KEY, after=after, on_frame=say)
        host.send(KEY, "tell", message_id="m1").result()


if __name__ == "__main__":
    main()
