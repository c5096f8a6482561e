"""One transaction, written down: what shall become true together or not at all."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from understudy.storage._record import AppendResult, NewEvent

EffectStatus = Literal["pending", "executing", "completed", "failed"]
LedgerStatus = Literal["in_flight", "done", "failed"]


@dataclasses.dataclass(frozen=True, slots=True)
class Append:
    """Events for one stream.

    Args:
        stream: its name, 1 to 400 bytes of UTF-8.
        events: one or more.
        expected_seq: last seq the stream must have; 0 for "no stream yet". Optional, and if
            absent any.
        epoch: number of the writer's incarnation; lower than the highest seen is refused.
            Optional, and if absent not checked.
    """

    stream: str
    events: Sequence[NewEvent]
    expected_seq: int | None = None
    epoch: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NewEffect:
    """Something to be done outside once the transaction is safe.

    Args:
        channel: who shall do it.
        payload: plain data for it.
        dedupe_key: unique within the channel: a second effect with the same key is not made, the
            first one's id is returned.
        stream: the stream that asked for it. Optional.
        not_before: epoch seconds before which it must not be tried. Optional, default at once.
    """

    channel: str
    payload: Any
    dedupe_key: str
    stream: str | None = None
    not_before: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class EffectUpdate:
    """A new status for an effect.

    Args:
        id: the effect.
        status: pending, executing, completed or failed. Completed and failed are final.
        error: text of the last failure. Optional.
        next_at: epoch seconds of the next try, for pending. Optional, default at once.
        lease_until: epoch seconds until which an executing effect belongs to its claimer. Optional.
        epoch: incarnation of the claimer: an update by an older one than the row's is refused.
            Optional.
        result: plain data to keep with a completed effect. Optional.
    """

    id: int
    status: EffectStatus
    error: str | None = None
    next_at: float | None = None
    lease_until: float | None = None
    epoch: int | None = None
    result: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Put:
    """A key-value row.

    Args:
        bucket: name space; bucket and key together at most 480 bytes of UTF-8.
        key: its key.
        value: plain data.
        expires_at: epoch seconds after which it is gone. Optional, and if absent it stays.
    """

    bucket: str
    key: str
    value: Any
    expires_at: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Delete:
    """A key-value row to remove; removing what is not there is no error."""

    bucket: str
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Cursor:
    """How far a named reader has come."""

    name: str
    seq: int


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerWrite:
    """A row of the idempotency ledger.

    Args:
        scope: name space of the keys.
        key: the idempotency key.
        status: in_flight, done or failed.
        result: plain data a repeat is answered with. Optional.
        expires_at: epoch seconds after which the key is forgotten. Optional, and if absent never.
    """

    scope: str
    key: str
    status: LedgerStatus
    result: Any = None
    expires_at: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """All of this, or nothing of it, in the order in which the fields stand."""

    appends: Sequence[Append] = ()
    effects: Sequence[NewEffect] = ()
    effect_updates: Sequence[EffectUpdate] = ()
    puts: Sequence[Put] = ()
    deletes: Sequence[Delete] = ()
    cursors: Sequence[Cursor] = ()
    ledger: Sequence[LedgerWrite] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write became.

    Attributes:
        appends: one result for each append, in order.
        position: last position of the journal after this write.
        effects: one id for each new effect, in order; of the older one where the key was known.
    """

    appends: tuple[AppendResult, ...]
    position: int
    effects: tuple[int, ...] = ()
