"""How much one client may send, ask for, and hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the gateway. Sizes are bytes of UTF-8, times seconds.

    Args:
        frame: Longest JSON frame or request body; optional, and if absent it is 1 MiB. The text in
            it has a limit of its own, the session host's (`sessions.max_text_bytes`).
        identifier: Longest name of a `client`; optional, and if absent it is 128: it becomes a
            key of the store, whose keys are short.
        buffer: Frames held in memory for one connection; optional, and if absent it is 256. A
            client slower than its session is served from the journal instead, so that it costs no
            more memory and misses nothing.
        stall: Seconds a client may take nothing at all before its connection is given up;
            optional, and if absent it is 60. Nothing is lost by it: the client's cursor stands.
        wait: Seconds `POST …/messages` waits for the answer; optional, and if absent it is 30.
        page: Most events in one answer of `GET …/events`; optional, and if absent it is 1000.
        tree_interval: Least seconds between two pictures on the tree's stream; optional, and if
            absent it is 0.25.
    """

    frame: int = 1024 * 1024
    identifier: int = 128
    buffer: int = 256
    stall: float = 60.0
    wait: float = 30.0
    page: int = 1000
    tree_interval: float = 0.25

    def __post_init__(self) -> None:
        """Refuse bounds that would leave a door that lets nothing through."""
        for name in ("frame", "identifier", "buffer", "page"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                msg = f"Limits.{name} is {value!r}; it must be a whole number of at least 1"
                raise ValueError(msg)
        for name in ("stall", "wait", "tree_interval"):
            value = getattr(self, name)
            if value < 0:
                msg = f"Limits.{name} is {value!r}; it must be a number of seconds, 0 or more"
                raise ValueError(msg)
