"""What every dispatcher has: actors that are ready to run, and a way to have them looked after."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.actors._cell import Cell
    from understudy.actors._runtime import Runtime

__all__ = ["CALL_AT", "THROUGHPUT", "Dispatcher"]


THROUGHPUT = 512
"""Messages one actor may handle before the others get a turn."""

CALL_AT = 4
"""So many actors waiting call whoever dozes; one or two are a conversation."""


class Dispatcher:
    """Where actors run.

    `ready` holds those that have something to do. While `free` is above zero nobody may be there
    to run them, and while `dozing` nobody looks whether they are run: then `look_after` sees to
    that. Otherwise handing over an actor is an append, which is why a send spells `submit` out.

    throughput: messages one actor may handle before the others get a turn.
    inline: whether an asker may run its actors on a thread of its own.
    fast: whether plain actors need no look at each message (see `_work`).
    loop: the event loop it runs on, None if it runs on threads.
    """

    inline = False
    fast = False
    loop: Any = None

    def __init__(self, runtime: Runtime, name: str, throughput: int = THROUGHPUT) -> None:
        self.runtime = runtime
        self.name = name
        self.throughput = throughput
        self.ready: deque[Cell] = deque()
        self.free = 1
        self.dozing = False

    def submit(self, cell: Cell) -> None:
        """Have `cell` run soon. Any thread; cheap while the dispatcher is at work."""
        self.ready.append(cell)
        if self.free > 0 or (self.dozing and len(self.ready) >= CALL_AT):
            self.look_after()

    def look_after(self) -> None:
        """See to it that somebody runs what is ready."""
        raise NotImplementedError
