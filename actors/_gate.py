"""What holds a reply back until the events before it are safe."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("understudy.actors")


class Gate:
    """Opens once, when a write is safe, or breaks with the reason why it is not.

    Whoever passes does so in the order of `add_done_callback`, also when the gate opens at that
    moment: it counts as open only after everybody who waited has passed, so that nobody overtakes.
    """

    __slots__ = ("_error", "_lock", "_open", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Callable[[BaseException | None], object]] = []
        self._open = False
        self._error: BaseException | None = None

    @property
    def passed(self) -> bool:
        """Whether everybody may pass without waiting, or nobody ever will."""
        return self._open

    def add_done_callback(self, call: Callable[[BaseException | None], object]) -> None:
        """Call `call(None)` when the gate opens or `call(error)` when it breaks; at once if it has.

        It runs on the journal's thread, or on this one, and must not block.
        """
        with self._lock:
            if not self._open:
                self._waiting.append(call)
                return
        call(self._error)

    def settle(self, error: BaseException | None) -> None:
        """Open the gate, or break it."""
        self._error = error
        lock = self._lock
        while True:
            with lock:
                waiting = self._waiting
                if not waiting:
                    self._open = True
                    return
                self._waiting = []
            for call in waiting:
                try:
                    call(error)
                except Exception:
                    log.exception("a call that waited for a commit failed: %r", call)
