"""From a history to a state: the newest snapshot that can be read, then the events after it."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import TYPE_CHECKING, Any, Protocol

from understudy.actors._silence import StoreSilent, at_once
from understudy.storage._codec_errors import EventDecodeError
from understudy.storage._errors import CorruptRecord, StorageError, UnderstudyError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from understudy.actors._journal_handle import AnyJournal
    from understudy.storage import Record
    from understudy.storage._typed import EventRegistry

log = logging.getLogger("understudy.actors")

#: Events read and applied at a time: the bound on memory of any replay (Pekko's replay-batch-size).
BATCH = 1000

# In a snapshot of plain data this key would be the whole of it: nobody's data looks like that.
_TYPED = "us:typed"


class RecoveryFailed(UnderstudyError):
    """A history could not be turned into a state; the actor does not run.

    It is not restarted for it: the same history would fail again. A silent store may speak again:
    that failure is judged like any other.

    Attributes:
        persistence_id: The history.
        seq: The event that failed; where it was none, the last one applied.
        event_type: Its name on disk; None where it was no event.
        cause: What was raised.
    """

    def __init__(
        self, persistence_id: str, seq: int, event_type: str | None, cause: BaseException
    ) -> None:
        self.persistence_id = persistence_id
        self.seq = seq
        self.event_type = event_type
        self.cause = cause
        # Supervisors stop the actor at once, instead of trying again.
        self.us_permanent = not isinstance(cause, StoreSilent)
        what = f"event {seq} ({event_type!r})" if event_type is not None else f"seq {seq}"
        text = f"recovery of {persistence_id!r} stopped at {what}: {type(cause).__name__}: {cause}"
        if self.us_permanent:
            text += "; mend apply() or add an upcaster, then start the actor again"
        super().__init__(text)
        self.__cause__ = cause


class MissingEvents(UnderstudyError):
    """A history does not go on where its state ends.

    Attributes:
        persistence_id: The history.
        expected: The seq that should come next.
        found: The seq that came.
    """

    def __init__(self, persistence_id: str, expected: int, found: int) -> None:
        self.persistence_id = persistence_id
        self.expected = expected
        self.found = found
        super().__init__(
            f"history {persistence_id!r} goes on at {found} where {expected} should come; "
            "events were truncated without a snapshot that can be read"
        )


class Recoverable(Protocol):
    """What a history is folded into."""

    def apply(self, event: Any) -> None:
        """Take one event."""

    def restore(self, state: Any) -> None:
        """Take a snapshot."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recovered:
    """How a recovery went.

    Attributes:
        last_seq: The last seq of the history.
        snapshot_seq: The snapshot it began with; 0 without one.
        events: How many stored events were applied after it.
        skipped_snapshots: Seqs of snapshots that could not be read, with the reason.
    """

    last_seq: int
    snapshot_seq: int
    events: int
    skipped_snapshots: tuple[tuple[int, str], ...] = ()


def encode_state(registry: EventRegistry, state: Any) -> Any:
    """A snapshot as plain data; one of a registered class keeps its name and version."""
    if registry.of(type(state)) is None:
        return state
    event = registry.encode(state)
    return {_TYPED: [event.type, event.version, event.payload]}


def decode_state(registry: EventRegistry, data: Any) -> Any:
    """What `encode_state` was given; upcasters bring an older version up."""
    if not (isinstance(data, dict) and data.keys() == {_TYPED}):
        return data
    name, version, payload = data[_TYPED]
    states = registry.decode(name, version, payload)
    if len(states) != 1:
        raise EventDecodeError(name, version, "", f"a state became {len(states)} by its upcasters")
    return states[0]


def recover(
    target: Recoverable,
    persistence_id: str,
    journal: AnyJournal,
    registry: EventRegistry,
    *,
    until: int | dt.datetime | None = None,
    snapshots: bool = True,
    batch: int = BATCH,
    ask: Callable[[str, Callable[[], Any]], Any] = at_once,
) -> Recovered:
    """Bring `target` from empty to the state of `persistence_id`, on this thread.

    A stream that was deleted begins anew after its deletion; its numbers go on.

    Args:
        target: A fresh instance.
        persistence_id: The stream.
        journal: Where it is.
        registry: What the stored names mean.
        until: The last seq to take, or an aware time before which; optional, and if absent all.
        snapshots: Whether to begin with a snapshot; optional, and if absent yes.
        batch: Events read and held at a time; optional.
        ask: How the journal is asked, given what for and the call; optional, and if absent on this
            thread.

    Raises:
        RecoveryFailed: An event could not be decoded or applied, the history has a hole, or the
            journal went silent.
    """
    origin = journal.deleted_seq(persistence_id)
    after = origin
    skipped: list[tuple[int, str]] = []
    by_seq = until if isinstance(until, int) else None
    try:
        # A snapshot knows no times of events: travel in time replays in full.
        if snapshots and (until is None or by_seq is not None):
            found, skipped = _restore(
                target, persistence_id, journal, registry, by_seq, origin, ask
            )
            after = max(found, origin)
        start = after
        options: dict[str, Any] = {"until_seq": by_seq}
        if until is not None and by_seq is None:
            options["until"] = until
        head = journal.last_seq(persistence_id)
        while after < head:
            records = ask(
                f"{persistence_id!r} after seq {after}",
                functools.partial(
                    _page, journal, persistence_id, after=after, limit=batch, **options
                ),
            )
            for record in records:
                _take(target, persistence_id, registry, record, after + 1)
                after = record.seq
            if len(records) < batch:
                break
    except StoreSilent as error:
        raise RecoveryFailed(persistence_id, after, None, error) from error
    count = after - start
    if until is None and after < head:
        # The newest events were truncated: numbering goes on where it was, and what they did is
        # lost unless the snapshot has it.
        if count or start > origin:
            raise RecoveryFailed(
                persistence_id, head, None, MissingEvents(persistence_id, after + 1, head + 1)
            )
        after = head
    return Recovered(after, start if start > origin else 0, count, tuple(skipped))


def _page(journal: AnyJournal, stream: str, **options: Any) -> list[Record]:
    return list(journal.read(stream, **options))


def _take(
    target: Recoverable,
    persistence_id: str,
    registry: EventRegistry,
    record: Record,
    expected: int,
) -> None:
    if record.seq != expected:
        missing = MissingEvents(persistence_id, expected, record.seq)
        raise RecoveryFailed(persistence_id, record.seq, record.type, missing)
    try:
        for event in registry.decode(record.type, record.version, record.payload):
            target.apply(event)
    except Exception as error:
        raise RecoveryFailed(persistence_id, record.seq, record.type, error) from error


def _restore(
    target: Recoverable,
    persistence_id: str,
    journal: AnyJournal,
    registry: EventRegistry,
    max_seq: int | None,
    origin: int,
    ask: Callable[[str, Callable[[], Any]], Any],
) -> tuple[int, list[tuple[int, str]]]:
    skipped: list[tuple[int, str]] = []
    while True:
        try:
            snapshot = ask(
                f"a snapshot of {persistence_id!r}",
                functools.partial(journal.load_snapshot, persistence_id, max_seq=max_seq),
            )
        except StoreSilent:
            raise
        except StorageError as error:
            seq = error.seq if isinstance(error, CorruptRecord) else None
            if seq is None:
                raise
            reason: BaseException = error
        else:
            # One of the time before the deletion came late: it is of what was deleted.
            if snapshot is None or snapshot.seq <= origin:
                return 0, skipped
            seq = snapshot.seq
            before = dict(vars(target))
            try:
                target.restore(decode_state(registry, snapshot.state))
            except Exception as error:
                # Back to the fresh instance: restore() assigns, it does not edit in place.
                vars(target).clear()
                vars(target).update(before)
                reason = error
            else:
                return seq, skipped
        skipped.append((seq, f"{type(reason).__name__}: {reason}"))
        log.warning(
            "snapshot %s of %s cannot be read (%r): falling back to what is before it",
            seq,
            persistence_id,
            reason,
        )
        max_seq = seq - 1
