"""The outbox: effects decided in a transaction, carried out after it, each at least once."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import key_of, u64
from understudy.storage._errors import StaleEpoch
from understudy.storage._state import PAGE, expiry_us
from understudy.storage._tables import UnknownEffect, encoded, join, pack, unpack

if TYPE_CHECKING:
    import builtins
    from collections.abc import Sequence

    from understudy.storage._tables import Core
    from understudy.storage._write import EffectStatus, EffectUpdate, NewEffect

FINAL = ("completed", "failed")
STATUSES = ("pending", "executing", *FINAL)


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """A row of the outbox.

    Attributes:
        id: number of the effect, growing in the order of commits.
        channel: who shall carry it out.
        payload: plain data for it.
        dedupe_key: unique within the channel; hand it to the outside, it repeats with a retry.
        stream: the stream that asked for it, or None.
        status: pending, executing, completed or failed.
        attempts: how often it was claimed.
        created_at: epoch seconds of its commit.
        next_at: epoch seconds from which it may be claimed, while pending.
        lease_until: epoch seconds until which it belongs to its claimer, while executing.
        epoch: incarnation of the last claimer, or None.
        error: text of the last failure, or None.
        result: what the handler returned, once completed.
        updated_at: epoch seconds of the last change.
    """

    id: int
    channel: str
    payload: Any
    dedupe_key: str
    stream: str | None
    status: EffectStatus
    attempts: int
    created_at: float
    next_at: float | None
    lease_until: float | None = None
    epoch: int | None = None
    error: str | None = None
    result: Any = None
    updated_at: float = 0.0


class Outbox:
    """`journal.outbox`. Thread-safe; every write waits until it is safe.

    An effect left executing by a process that is gone is pending again at the next opening; one
    whose claimer lets its lease pass may be claimed by the next who asks.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def add(self, effects: Sequence[NewEffect]) -> builtins.list[int]:
        """Add effects by themselves; `journal.write` adds them together with events.

        Returns:
            An id for each; of the older one where channel and dedupe key are known already.
        """
        prepared = [prepare(effect) for effect in effects]
        return self._core.call(
            lambda txn: [insert(self._core, txn, effect) for effect in prepared]
        ).result()

    def pending(self, channel: str, limit: int = 100) -> builtins.list[Effect]:
        """Effects of a channel that may be claimed now, those due longest first."""
        core = self._core
        prefix = join(channel, "")
        now = int(core.clock() * 1e6)
        found: builtins.list[Effect] = []
        with core.environment.reading() as txn:
            cursor = txn.cursor(core.database("outbox.due"))
            if cursor.set_range(prefix):
                for key, _ in cursor:
                    if not key.startswith(prefix) or len(found) >= limit:
                        break
                    if u64.unpack(key[-16:-8])[0] > now:
                        break
                    row = txn.get(key[-8:], db=core.database("outbox"))
                    if row is not None:
                        found.append(effect_of(row))
        return found

    def next_due(self, channel: str) -> float | None:
        """Epoch seconds at which the channel's next effect may be claimed; None for no effect."""
        core = self._core
        prefix = join(channel, "")
        with core.environment.reading() as txn:
            cursor = txn.cursor(core.database("outbox.due"))
            if cursor.set_range(prefix) and cursor.key().startswith(prefix):
                us: int = u64.unpack(cursor.key()[-16:-8])[0]
                return us / 1e6
        return None

    def claim(
        self,
        id: int,  # noqa: A002 - the field's name
        lease: float = 60.0,
        epoch: int | None = None,
    ) -> Effect | None:
        """Take an effect into execution; None where somebody else has it, or it is not due.

        Args:
            id: the effect.
            lease: seconds it belongs to the claimer. Optional, default 60.
            epoch: incarnation of the claimer: a higher one takes an executing effect over at
                once, a lower one than the row's gets nothing. Optional.

        Raises:
            UnknownEffect: there is no such effect.
            ValueError: the lease is not positive.
        """
        if lease <= 0:
            raise ValueError(f"lease is {lease!r}: use more than 0 seconds")
        core = self._core

        def apply(txn: Any) -> Effect | None:
            effect = load(core, txn, id)
            now = core.clock()
            if effect.status in FINAL:
                return None
            if epoch is not None and effect.epoch is not None:
                if epoch < effect.epoch:
                    return None
                newer = epoch > effect.epoch and effect.status == "executing"
            else:
                newer = False
            if not newer and due_us(effect) > int(now * 1e6):
                return None
            taken = dataclasses.replace(
                effect,
                status="executing",
                attempts=effect.attempts + 1,
                lease_until=now + lease,
                next_at=None,
                epoch=effect.epoch if epoch is None else epoch,
                updated_at=now,
            )
            store(core, txn, taken, effect)
            return taken

        return core.call(apply).result()

    def complete(self, id: int, result: Any = None, epoch: int | None = None) -> None:  # noqa: A002 - the field's name
        """The effect has been carried out; final.

        Raises:
            UnknownEffect: there is no such effect.
            StaleEpoch: a newer incarnation has claimed it.
        """
        from understudy.storage._write import EffectUpdate

        self._update(EffectUpdate(id, "completed", result=result, epoch=epoch))

    def fail(
        self,
        id: int,  # noqa: A002 - the field's name
        error: str,
        retry_at: float | None = None,
        epoch: int | None = None,
    ) -> None:
        """The try failed.

        Args:
            id: the effect.
            error: what went wrong.
            retry_at: epoch seconds of the next try. Optional, and if absent it has failed for
                good.
            epoch: incarnation of the claimer. Optional.

        Raises:
            UnknownEffect: there is no such effect.
            StaleEpoch: a newer incarnation has claimed it.
        """
        from understudy.storage._write import EffectUpdate

        status: EffectStatus = "failed" if retry_at is None else "pending"
        self._update(EffectUpdate(id, status, error=error, next_at=retry_at, epoch=epoch))

    def retry(self, id: int) -> None:  # noqa: A002 - the field's name
        """Make an effect that has failed for good pending again, by hand."""
        core = self._core

        def apply(txn: Any) -> None:
            effect = load(core, txn, id)
            now = core.clock()
            store(
                core,
                txn,
                dataclasses.replace(
                    effect, status="pending", next_at=now, lease_until=None, updated_at=now
                ),
                effect,
            )

        core.call(apply).result()

    def _update(self, change: EffectUpdate) -> None:
        encoded("result", change.result)
        self._core.call(lambda txn: update(self._core, txn, change)).result()

    def get(self, id: int) -> Effect | None:  # noqa: A002 - the field's name
        """One effect, or None."""
        with self._core.environment.reading() as txn:
            row = txn.get(key_of(id), db=self._core.database("outbox"))
        return None if row is None else effect_of(row)

    def list(
        self,
        stream: str | None = None,
        channel: str | None = None,
        status: str | None = None,
        limit: int | None = None,
        after: int = 0,
    ) -> builtins.list[Effect]:
        """Effects by id.

        Args:
            stream: only of this stream. Optional.
            channel: only of this channel. Optional.
            status: only in this status. Optional.
            limit: at most so many. Optional.
            after: only ids above this one. Optional.
        """
        core = self._core
        found: builtins.list[Effect] = []
        outbox = core.database("outbox")
        with core.environment.reading() as txn:
            if stream is None:
                cursor = txn.cursor(outbox)
                rows = (row for _, row in cursor) if cursor.set_range(key_of(after + 1)) else ()
            else:
                prefix = join(stream, "")
                rows = self._rows_of(txn, prefix, after)
            for row in rows:
                if limit is not None and len(found) >= limit:
                    break
                effect = effect_of(row)
                if channel in (None, effect.channel) and status in (None, effect.status):
                    found.append(effect)
        return found

    def _rows_of(self, txn: Any, prefix: bytes, after: int) -> Any:
        cursor = txn.cursor(self._core.database("outbox.streams"))
        if cursor.set_range(prefix + key_of(after + 1)):
            for key, _ in cursor:
                if not key.startswith(prefix):
                    return
                row = txn.get(key[-8:], db=self._core.database("outbox"))
                if row is not None:
                    yield row

    def counts(self) -> dict[str, int]:
        """How many effects there are in each status; kept, not counted."""
        core = self._core
        with core.environment.reading() as txn:
            row = txn.get(b"effects.counts", db=core.database("meta"))
        return dict.fromkeys(STATUSES, 0) if row is None else unpack(row)

    def purge(self, before: float) -> int:
        """Forget completed and failed effects last changed before this epoch second.

        Their dedupe keys are forgotten with them.
        """
        core = self._core
        doomed = [
            effect
            for effect in self.list()
            if effect.status in FINAL and effect.updated_at < before
        ]

        def apply(txn: Any, part: builtins.list[Effect]) -> None:
            for effect in part:
                remove(core, txn, effect)

        # Page by page: what others write goes in between.
        for start in range(0, len(doomed), PAGE):
            part = doomed[start : start + PAGE]
            core.call(functools.partial(apply, part=part)).result()
        return len(doomed)


@dataclasses.dataclass(frozen=True, slots=True)
class PreparedEffect:
    """A new effect, checked and encoded."""

    channel: str
    payload: bytes
    dedupe_key: str
    stream: str | None
    not_before: float | None


def prepare(effect: NewEffect) -> PreparedEffect:
    """Check and encode on the caller's thread."""
    join(effect.channel, effect.dedupe_key)
    join(effect.channel, "0123456789abcdef")
    if not effect.channel or not effect.dedupe_key:
        from understudy.storage._errors import BadEvent

        raise BadEvent(
            f"an effect needs a channel and a dedupe_key, got {effect.channel!r}, "
            f"{effect.dedupe_key!r}"
        )
    if effect.stream is not None:
        join(effect.stream, "01234567")
    return PreparedEffect(
        effect.channel,
        encoded("payload of the effect", effect.payload),
        effect.dedupe_key,
        effect.stream,
        effect.not_before,
    )


def insert(core: Core, txn: Any, effect: PreparedEffect) -> int:
    """Add an effect, or find the one that has its key."""
    name = join(effect.channel, effect.dedupe_key)
    known = txn.get(name, db=core.database("outbox.keys"))
    if known is not None:
        return int(u64.unpack(known)[0])
    meta = core.database("meta")
    number: int = unpack(txn.get(b"effects", db=meta) or b"\x00") + 1
    txn.put(b"effects", pack(number), db=meta)
    now = core.clock()
    row = Effect(
        id=number,
        channel=effect.channel,
        payload=unpack(effect.payload),
        dedupe_key=effect.dedupe_key,
        stream=effect.stream,
        status="pending",
        attempts=0,
        created_at=now,
        next_at=now if effect.not_before is None else effect.not_before,
        updated_at=now,
    )
    key = key_of(number)
    txn.put(name, key, db=core.database("outbox.keys"))
    if effect.stream is not None:
        txn.put(join(effect.stream, "") + key, b"", db=core.database("outbox.streams"))
    store(core, txn, row, None)
    return number


def check(core: Core, txn: Any, change: EffectUpdate) -> Effect:
    """The row a change applies to.

    Raises:
        UnknownEffect: there is none.
        StaleEpoch: a newer incarnation has it.
    """
    effect = load(core, txn, change.id)
    if change.epoch is not None and effect.epoch is not None and change.epoch < effect.epoch:
        raise StaleEpoch(effect.stream or effect.channel, change.epoch, effect.epoch)
    return effect


def update(core: Core, txn: Any, change: EffectUpdate) -> None:
    """Apply a change; a completed effect stays completed."""
    effect = check(core, txn, change)
    if effect.status == "completed":
        return
    now = core.clock()
    status = change.status
    next_at = None
    if status == "pending":
        next_at = now if change.next_at is None else change.next_at
    changed = dataclasses.replace(
        effect,
        status=status,
        next_at=next_at,
        lease_until=change.lease_until if status == "executing" else None,
        epoch=effect.epoch if change.epoch is None else change.epoch,
        error=change.error if change.error is not None or status == "completed" else effect.error,
        result=change.result,
        updated_at=now,
    )
    store(core, txn, changed, effect)


def load(core: Core, txn: Any, number: int) -> Effect:
    """A row that must be there."""
    row = txn.get(key_of(number), db=core.database("outbox"))
    if row is None:
        raise UnknownEffect(number)
    return effect_of(row)


def store(core: Core, txn: Any, effect: Effect, old: Effect | None) -> None:
    """Write a row and keep the index of what is due in step."""
    due = core.database("outbox.due")
    if old is not None and old.status not in FINAL:
        txn.delete(_due_key(old), db=due)
    if effect.status not in FINAL:
        txn.put(_due_key(effect), b"", db=due)
    txn.put(key_of(effect.id), _row(effect), db=core.database("outbox"))
    _count(core, txn, None if old is None else old.status, effect.status)


def _count(core: Core, txn: Any, old: str | None, new: str | None) -> None:
    """Keep the numbers of effects by status."""
    if old == new:
        return
    meta = core.database("meta")
    row = txn.get(b"effects.counts", db=meta)
    counts: dict[str, int] = dict.fromkeys(STATUSES, 0) if row is None else unpack(row)
    if old is not None:
        counts[old] -= 1
    if new is not None:
        counts[new] += 1
    txn.put(b"effects.counts", pack(counts), db=meta)


def remove(core: Core, txn: Any, effect: Effect) -> None:
    """Forget an effect."""
    key = key_of(effect.id)
    txn.delete(key, db=core.database("outbox"))
    txn.delete(_due_key(effect), db=core.database("outbox.due"))
    txn.delete(join(effect.channel, effect.dedupe_key), db=core.database("outbox.keys"))
    if effect.stream is not None:
        txn.delete(join(effect.stream, "") + key, db=core.database("outbox.streams"))
    _count(core, txn, effect.status, None)


def recover(core: Core, txn: Any, now: float) -> int:
    """Make effects left executing by a dead process pending again; returns how many."""
    left = []
    outbox = core.database("outbox")
    for key, _ in txn.cursor(core.database("outbox.due")):
        row = txn.get(key[-8:], db=outbox)
        if row is not None:
            effect = effect_of(row)
            if effect.status == "executing":
                left.append(effect)
    for effect in left:
        store(
            core,
            txn,
            dataclasses.replace(
                effect, status="pending", next_at=now, lease_until=None, updated_at=now
            ),
            effect,
        )
    return len(left)


def due_us(effect: Effect) -> int:
    """The microsecond from which an unfinished effect may be claimed."""
    moment = effect.lease_until if effect.status == "executing" else effect.next_at
    return expiry_us(moment)


def _due_key(effect: Effect) -> bytes:
    return join(effect.channel, "") + key_of(due_us(effect)) + key_of(effect.id)


def _row(effect: Effect) -> bytes:
    return pack(tuple(getattr(effect, name) for name in _FIELDS))


def effect_of(row: bytes) -> Effect:
    """The effect in a row."""
    return Effect(*unpack(row))


_FIELDS = tuple(field.name for field in dataclasses.fields(Effect))
