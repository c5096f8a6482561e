"""Poison messages: durable messages that crash their reader each time they are delivered."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

__all__ = ["PoisonGuard", "PoisonMessage"]

CRASHES = 3
"""Two crashes may be the neighbour's fault; the third on the same message is the message's."""


@dataclass(frozen=True, slots=True)
class PoisonMessage:
    """A durable message was parked because it crashed its reader too often.

    Attributes:
        recipient: path of the reader.
        message_id: stable id of the message.
        crashes: how often the reader crashed on it.
        cause: the last crash.

    """

    recipient: str
    message_id: str
    crashes: int
    cause: BaseException


class PoisonGuard:
    """Counts crashes per durable message and says when one must be parked.

    A message in memory is never delivered twice, so it cannot poison anybody. A durable one is
    delivered again after each restart; whoever delivers it asks the guard first:

    1. `guard.parked(message_id)` before delivery: skip it where this is true;
    2. `guard.crashed(recipient, message_id, cause)` after a crash on it: returns the
       `PoisonMessage` record to journal and publish when the limit is reached, else None;
    3. `guard.done(message_id)` after it was handled.

    The counts live in memory of whoever holds the guard, outside the reader that crashes; call
    `restore()` with journaled records to keep messages parked over a process restart. At most
    `remember` messages are counted at a time, the oldest are forgotten first; parked ones stay.
    Not thread-safe: one owner.

    Args:
        limit: crashes on the same message after which it is parked; optional, and if absent 3.
        remember: messages counted at a time; optional, and if absent 10,000.

    """

    __slots__ = ("_counts", "_limit", "_parked", "_remember")

    def __init__(self, limit: int = CRASHES, remember: int = 10_000) -> None:
        if limit < 1:
            raise ValueError(f"limit = {limit!r} cannot be used; expected 1 crash or more")
        self._limit = limit
        self._remember = remember
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._parked: dict[str, PoisonMessage] = {}

    def crashed(
        self, recipient: Any, message_id: str, cause: BaseException
    ) -> PoisonMessage | None:
        """Count a crash; the record when it is time to park the message, else None."""
        if message_id in self._parked:
            return None
        count = self._counts.pop(message_id, 0) + 1
        if count < self._limit:
            self._counts[message_id] = count
            if len(self._counts) > self._remember:
                self._counts.popitem(last=False)
            return None
        record = PoisonMessage(str(recipient), message_id, count, cause)
        self._parked[message_id] = record
        return record

    def parked(self, message_id: str) -> bool:
        """Whether the message must not be delivered."""
        return message_id in self._parked

    def done(self, message_id: str) -> None:
        """Forget the crashes on a message that was handled after all."""
        self._counts.pop(message_id, None)

    def restore(self, record: PoisonMessage) -> None:
        """Keep a message parked that was parked before."""
        self._parked[record.message_id] = record

    def release(self, message_id: str) -> bool:
        """Deliver a parked message again, its count at nought; whether it was parked."""
        self._counts.pop(message_id, None)
        return self._parked.pop(message_id, None) is not None

    @property
    def messages(self) -> tuple[PoisonMessage, ...]:
        """The parked messages, oldest first."""
        return tuple(self._parked.values())
