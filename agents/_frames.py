"""Frames: what a client of a session receives, numbered densely from 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex, overload

if TYPE_CHECKING:
    from understudy.storage import Record

Frame = dict[str, Any]

#: Frames after which a turn has ended.
CLOSING = frozenset({"message", "error"})


def frame_of(record: Record) -> Frame:
    """The frame as clients see it: its type, its fields, its seq."""
    return {"type": record.type, **record.payload, "seq": record.seq}


class Answer(str):
    """The text of an answer, which also knows the frame it came in.

    It is the text: it compares, prints and slices as such. The fields of the frame are attributes,
    and items: ``answer["latencyMs"]``.

    Attributes:
        frame: The final frame of the turn.
    """

    __slots__ = ("frame",)
    frame: Frame

    def __new__(cls, frame: Frame) -> Answer:
        self = super().__new__(cls, frame["message"])
        self.frame = frame
        return self

    @property
    def message(self) -> str:
        """The text."""
        return str(self)

    @property
    def data(self) -> dict[str, Any]:
        """What came beside the text, such as its sources; empty if nothing did."""
        data: dict[str, Any] = self.frame.get("data", {})
        return data

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the acceptance of the message to the end of its answer."""
        latency: float = self.frame["latencyMs"]
        return latency

    @property
    def token_usage(self) -> dict[str, int]:
        """`promptTokens`, `completionTokens` and `totalTokens` of the turn."""
        usage: dict[str, int] = self.frame["tokenUsage"]
        return usage

    @overload
    def __getitem__(self, key: SupportsIndex | slice, /) -> str: ...

    @overload
    def __getitem__(self, key: str, /) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any:
        if isinstance(key, str):
            return self.frame[key]
        return super().__getitem__(key)
