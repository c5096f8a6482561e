"""What lies in a mailbox.

A message sent from outside any actor lies there as it is. An exact tuple is an envelope:

    (message, reply, sender, strand, turn, talk, deadline)

made for asks, for sends from inside an actor, and for messages that are tuples themselves (so
that an exact tuple in a mailbox is always an envelope). A plain tuple costs 18 ns where an object
with attributes costs 84, and most messages need none.

`strand` and `turn` name the handler call that sent it: a message's id is the call that handles
it, so that ids cost nothing until they are read. `talk` is the conversation it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from understudy.actors._future import Future
    from understudy.actors._strand import Strand

__all__ = [
    "MESSAGE",
    "REPLY",
    "SENDER",
    "Envelope",
    "Returned",
    "Special",
    "StopRequest",
    "Talk",
    "TimerDue",
    "WatchNotice",
    "bare",
    "message_of",
    "seal",
]

Envelope: TypeAlias = (
    "tuple[Any, Future[Any] | None, Any, Strand | None, int, Talk | None, float | None]"
)

MESSAGE, REPLY, SENDER, STRAND, TURN, TALK, DEADLINE = range(7)


class Talk:
    """What a chain of messages shares: the correlation id and the trace."""

    __slots__ = ("_id", "_strand", "_turn", "trace")

    def __init__(
        self,
        strand: Strand | None,
        turn: int,
        *,
        id: str | None = None,  # noqa: A002 - the field's word
        trace: Any = None,
    ) -> None:
        self._strand = strand
        self._turn = turn
        self._id = id
        self.trace = trace

    @property
    def id(self) -> str | None:
        """The correlation id: the id of the message the chain began with, unless it was set."""
        if self._id is None and self._strand is not None:
            self._id = turn_id(self._strand, self._turn)
        return self._id


def turn_id(strand: Strand, turn: int) -> str:
    """The id of the message that was handled in that turn, unique in this process."""
    return f"{strand.serial:x}-{turn:x}"


class Special:
    """A message of the kernel itself, never seen by a handler as it is."""

    __slots__ = ()


class StopRequest(Special):
    """Stop, in order behind what was sent before. `ordered`: told from outside."""

    __slots__ = ("future", "ordered")

    def __init__(self, future: Future[bool] | None, *, ordered: bool) -> None:
        self.future = future
        self.ordered = ordered


class WatchNotice(Special):
    """A `Terminated` on its way; void once the watch it answers is gone."""

    __slots__ = ("terminated", "token")

    def __init__(self, terminated: Any, token: object) -> None:
        self.terminated = terminated
        self.token = token


class TimerDue(Special):
    """A timer's message to its own actor; void once the timer is cancelled."""

    __slots__ = ("message", "timer")

    def __init__(self, timer: Any, message: Any) -> None:
        self.timer = timer
        self.message = message


class Returned(Special):
    """A message that comes back from the stash: `item` as it first came, and the turn it had then.

    Its envelope has a strand and no talk, so that whatever is sent while it is handled takes the
    way through `seal`, which looks in here.
    """

    __slots__ = ("item", "strand", "turn")

    def __init__(self, item: Any, strand: Strand, turn: int) -> None:
        self.item = item
        self.strand = strand
        self.turn = turn

    def envelope(self, reply: Future[Any] | None) -> Envelope:
        """What lies in the mailbox."""
        item = self.item
        sender, deadline = (item[2], item[6]) if type(item) is tuple else (None, None)
        return (self, reply, sender, self.strand, self.turn, None, deadline)


def bare(message: Any) -> Any:
    """Make a message sent from outside fit for a mailbox."""
    if isinstance(message, tuple):
        return (message, None, None, None, 0, None, None)
    return message


def seal(message: Any, reply: Future[Any] | None, sender: Any, strand: Strand, turn: int) -> Any:
    """Make an envelope for a message sent from inside the actor `sender`, in its `turn`."""
    cause = strand.envelope
    talk = None
    if type(cause) is tuple and cause[0].__class__ is Returned:
        again = cause[0]
        cause, strand, turn = again.item, again.strand, again.turn
    if type(cause) is tuple:
        talk = cause[5]
        if talk is None and cause[3] is not None:
            talk = Talk(cause[3], cause[4])
    return (message, reply, sender, strand, turn, talk, None)


def message_of(item: Any) -> Any:
    """The user's message in an item of a mailbox."""
    if type(item) is tuple:
        item = item[0]
        if item.__class__ is Returned:
            return message_of(item.item)
        if isinstance(item, TimerDue):
            return item.message
        if isinstance(item, WatchNotice):
            return item.terminated
    return item
