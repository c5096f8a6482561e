"""A history at another time: seen in a detached actor, or gone on with in another stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from understudy.actors._recovery import BATCH, MissingEvents, RecoveryFailed, recover
from understudy.storage._record import NewEvent

if TYPE_CHECKING:
    import datetime as dt

    from understudy.actors._journal_handle import AnyJournal
    from understudy.actors._persistent import PersistentActor

A = TypeVar("A", bound="PersistentActor")


def replay(
    cls: type[A],
    journal: AnyJournal,
    persistence_id: str,
    *args: Any,
    until: int | dt.datetime | None = None,
    **kwargs: Any,
) -> A:
    """The actor as it was: an instance of `cls` with the state of its history up to `until`.

    It is detached: it belongs to no system, is not running, and refuses to persist. Its methods and
    attributes may be used for looking. The living actor, if there is one, does not notice. Runs on
    the calling thread.

    Args:
        cls: The persistent actor's class.
        journal: Where its history is: a `Journal` (a read-only one will do), or ``system.journal``.
        persistence_id: The history.
        args: What `cls` is made with.
        until: The last seq (inclusive), or an aware time, before which. Optional, and if absent
            the whole history.
        kwargs: What `cls` is made with.

    Raises:
        RecoveryFailed: An event could not be decoded or applied.

    Example::

        before = us.replay(Account, system.journal, "account:ada", until=41)
        print(before.balance)
    """
    actor = cls(*args, **kwargs)
    actor._us_persistence_id = persistence_id
    actor._us_recovering = True
    try:
        recovered = recover(actor, persistence_id, journal, cls.event_registry, until=until)
    finally:
        actor._us_recovering = False
    actor._us_recovered = recovered
    actor._us_seq = recovered.last_seq
    return actor


def fork(
    journal: AnyJournal,
    source: str,
    target: str,
    *,
    until: int | dt.datetime | None = None,
) -> int:
    """Begin the history `target` with the events of `source`; both go on by themselves.

    Events keep their ids, times of their own they get anew. Interrupted half way, the same call
    finishes the work. Blocks until the copy is safe.

    Args:
        journal: Where both are.
        source: The history to copy.
        target: The new history, which must not exist.
        until: The last seq (inclusive), or an aware time, before which. Optional, and if absent
            all of it.

    Returns:
        The last seq of the new history.

    Raises:
        WrongExpectedSeq: `target` has a history of its own.
        RecoveryFailed: The first events of `source` were truncated.
    """
    origin = journal.deleted_seq(source)  # it began anew after its deletion: so does the copy
    options: dict[str, Any] = {"until_seq": until} if isinstance(until, int) else {"until": until}
    after = origin
    while True:
        batch = list(journal.read(source, after=after, limit=BATCH, **options))
        if batch and batch[0].seq != after + 1:
            missing = MissingEvents(source, after + 1, batch[0].seq)
            raise RecoveryFailed(source, batch[0].seq, batch[0].type, missing)
        if batch:
            events = [
                NewEvent(
                    record.type,
                    record.payload,
                    id=record.id,
                    metadata=record.metadata,
                    priority=record.priority,
                    topics=record.topics,
                    version=record.version,
                )
                for record in batch
            ]
            journal.append(target, events, expected_seq=after - origin)
            after = batch[-1].seq
        if len(batch) < BATCH:
            return after - origin
