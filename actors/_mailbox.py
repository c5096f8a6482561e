"""Mailboxes with a limit, a policy, or an order of their own.

The default mailbox is the cell's plain list and has none of this. A `Lane` stands at the gate of
a cell that asked for more: senders go through it, under its lock, and the owner takes from it.
The control lane never comes here, and stop requests, timers and watch notices are exempt.
"""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from understudy.actors._envelope import message_of
from understudy.actors._errors import InvalidMailbox, MailboxFull

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Lane", "Mailbox", "MailboxStatistics"]

Overflow = Literal["block", "reject", "drop_oldest", "drop_newest"]
_POLICIES = ("block", "reject", "drop_oldest", "drop_newest")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """What an actor's mailbox should be, per class (`mailbox = Mailbox(...)`) or at spawn.

    capacity: how many messages may wait. Optional, and if absent there is no limit.
    overflow: what happens to a message that finds it full. "block": the sender waits for room
        (`await ref.tell_async(...)` waits without blocking the loop). "reject": the sender gets
        `MailboxFull` with the message. "drop_oldest" and "drop_newest": one becomes a
        `DeadLetter` with the reason "overflow". Optional, and if absent it is "block".
    timeout: seconds a sender waits under "block", then gets `MailboxFull`. Optional, and if
        absent it waits as long as it takes.
    priority: a function of the message: a smaller result is served sooner, equal ones in their
        order. Watch notices come after all that waits. Optional, and if absent: first come.

    An actor that sends to itself is never blocked: its own full mailbox takes the message.
    """

    capacity: int | None = None
    overflow: Overflow = "block"
    timeout: float | None = None
    priority: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        capacity = self.capacity
        if capacity is not None and (
            not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1
        ):
            raise InvalidMailbox("capacity", capacity, "a whole number of at least 1, or None")
        if self.overflow not in _POLICIES:
            raise InvalidMailbox("overflow", self.overflow, f"one of {', '.join(_POLICIES)}")
        timeout = self.timeout
        if timeout is not None and (
            not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or timeout < 0
        ):
            raise InvalidMailbox("timeout", timeout, "seconds from 0 on, or None")
        if self.priority is not None and not callable(self.priority):
            raise InvalidMailbox("priority", self.priority, "a function of the message, or None")

    @property
    def limited(self) -> bool:
        """Whether it differs from the default mailbox at all."""
        return self.capacity is not None or self.priority is not None


@dataclass(frozen=True, slots=True)
class MailboxStatistics:
    """A look at one mailbox.

    `high_water` is the most that ever waited. The default mailbox takes it when its actor takes
    messages up, in batches of up to 1024, and when it is asked: a peak of up to 8 messages, or
    one that came and went within a batch, may be missed. It goes on through restarts.

    `oldest_age` is how many seconds the longest waiting message has waited, None where nothing
    waits. A `Mailbox` with a capacity or a priority measures it. Sends to the default mailbox do
    not read the clock: there the failure detector marks waiting mail at each of its sweeps, and
    the age may be short by up to a sweep (0.5 s by default; ten sweeps behind a coroutine that
    rests under a long lease), and is None for standalone actors and where the detector is off.
    """

    depth: int
    capacity: int | None
    high_water: int
    oldest_age: float | None
    dropped: int
    rejected: int
    blocked: int


class Lane:
    """The user lane of one cell with a `Mailbox` of its own.

    Entries are lists [key, number, item, since, exempt], in a heap where there is a priority and
    in order of arrival otherwise.
    """

    __slots__ = (
        "_blocked",
        "_clock",
        "_lock",
        "_number",
        "_room",
        "_size",
        "dropped",
        "high_water",
        "rejected",
        "spec",
    )

    def __init__(self, spec: Mailbox, clock: Any) -> None:
        self.spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self._room: list[Callable[[], object]] = []
        self._number = 0
        self._size = 0
        self._blocked = 0
        self.high_water = 0
        self.dropped = 0
        self.rejected = 0

    # --- the owner's side (the claim is held) ------------------------------------------------

    def take(self, queue: list[Any]) -> Any:
        """The next item, or this lane itself if there is none."""
        with self._lock:
            if not queue:
                return self
            entry = heapq.heappop(queue) if self.spec.priority is not None else queue.pop(0)
            if not entry[4]:
                self._size -= 1
            waiter = self._room.pop(0) if self._room else None
        if waiter is not None:
            waiter()
        return entry[2]

    def put_back(self, queue: list[Any], items: list[Any]) -> None:
        """Put items (a stash) before all that waits; they do not count against the capacity."""
        with self._lock:
            if self.spec.priority is None:
                queue[0:0] = [[0, 0, item, 0.0, True] for item in items]
                return
            for number, item in enumerate(items, -len(items)):
                heapq.heappush(queue, _Entry((_FIRST, number, item, 0.0, True)))

    def flatten(self, queue: list[Any]) -> None:
        """Turn the entries of a closed lane into items, in the order of service."""
        with self._lock:
            if queue and self.spec.priority is not None:
                queue.sort()
            queue[:] = [entry[2] if isinstance(entry, list) else entry for entry in queue]
            self._size = 0
            waiters, self._room = self._room, []
        for waiter in waiters:
            waiter()

    # --- the senders' side -------------------------------------------------------------------

    def put(self, queue: list[Any], item: Any, *, exempt: bool = False) -> Any:
        """Put an item if there is room.

        Returns:
            None if it lies there now; the item itself if there is no room (block, reject or
            drop_newest); another item, which was dropped to make room (drop_oldest).
        """
        with self._lock:
            return self._put(queue, item, exempt=exempt)

    def _put(self, queue: list[Any], item: Any, *, exempt: bool) -> Any:
        spec = self.spec
        dropped = None
        if not exempt and spec.capacity is not None and self._size >= spec.capacity:
            if spec.overflow != "drop_oldest":
                return item
            dropped = self._drop_oldest(queue)
        self._number += 1
        if not exempt:
            self._size += 1
            self.high_water = max(self.high_water, self._size)
        since = self._clock.monotonic()
        if spec.priority is None:
            queue.append([0, self._number, item, since, exempt])
        else:
            key = _LAST if exempt else spec.priority(message_of(item))
            heapq.heappush(queue, _Entry((key, self._number, item, since, exempt)))
        return dropped

    def _drop_oldest(self, queue: list[Any]) -> Any:
        oldest = min(
            (entry for entry in queue if not entry[4]), key=lambda entry: entry[1], default=None
        )
        if oldest is None:
            return None
        for index, entry in enumerate(queue):
            if entry is oldest:
                del queue[index]
                break
        if self.spec.priority is not None:
            heapq.heapify(queue)
        self._size -= 1
        self.dropped += 1
        return oldest[2]

    def when_room(self, callback: Callable[[], object]) -> bool:
        """Have `callback` called once there is room; False, and not called, if there is now."""
        with self._lock:
            if self.spec.capacity is None or self._size < self.spec.capacity:
                return False
            self._room.append(callback)
            self._blocked += 1
            return True

    def forget(self, callback: Callable[[], object]) -> None:
        """Take a waiting callback back; pass the room on if it had been called already."""
        with self._lock:
            if callback in self._room:
                self._room.remove(callback)
                return
            waiter = self._room.pop(0) if self._room else None
        if waiter is not None:
            waiter()

    def wait_for_room(self, cell: Any, item: Any) -> None:
        """Block the calling thread until `item` lies in the mailbox.

        Raises:
            MailboxFull: the mailbox's `timeout` is over.
        """
        limit = self.spec.timeout
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            gate = threading.Lock()
            gate.acquire()
            if self.when_room(gate.release):
                wait = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
                if not gate.acquire(timeout=wait):
                    self.forget(gate.release)
                    with self._lock:
                        self.rejected += 1
                    raise MailboxFull(message_of(item), cell, self.spec.capacity)
            if cell._us_gate is not self or self.put(cell._us_queue, item) is None:
                return

    def statistics(self, queue: list[Any]) -> MailboxStatistics:
        """A consistent look."""
        with self._lock:
            now = self._clock.monotonic()
            waiting = [entry[3] for entry in queue if not entry[4]]
            return MailboxStatistics(
                depth=len(queue),
                capacity=self.spec.capacity,
                high_water=self.high_water,
                oldest_age=now - min(waiting) if waiting else None,
                dropped=self.dropped,
                rejected=self.rejected,
                blocked=self._blocked,
            )


class _Extreme:
    """A key before or after all others."""

    __slots__ = ("_last",)

    def __init__(self, *, last: bool) -> None:
        self._last = last

    def __lt__(self, other: object) -> bool:
        return other is not self and not self._last

    def __gt__(self, other: object) -> bool:
        return other is not self and self._last


_FIRST = _Extreme(last=False)
_LAST = _Extreme(last=True)


class _Entry(list[Any]):
    """An entry of the heap: compared by its key, then by its number."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        mine, theirs = self[0], other[0]
        if mine is theirs:
            return bool(self[1] < other[1])
        if isinstance(mine, _Extreme) or isinstance(theirs, _Extreme):
            return bool(mine < theirs) if isinstance(mine, _Extreme) else bool(theirs > mine)
        if mine < theirs:
            return True
        if theirs < mine:
            return False
        return bool(self[1] < other[1])
