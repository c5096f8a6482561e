"""The life of an effect, written once for all adapters: who may take it, when, and how it ends."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import StaleEpoch
from understudy.storage._outbox import Effect
from understudy.storage.adapters._values import pack, seconds_to_micros, unpack

if TYPE_CHECKING:
    from understudy.storage._write import EffectStatus, NewEffect


#: When an effect that is over may be claimed again, in microseconds: never.
NEVER = 2**62


def new_effect(number: int, new: NewEffect, now: float) -> Effect:
    """A pending effect."""
    return Effect(
        id=number,
        channel=new.channel,
        payload=new.payload,
        dedupe_key=new.dedupe_key,
        stream=new.stream,
        status="pending",
        attempts=0,
        created_at=now,
        next_at=now if new.not_before is None else new.not_before,
        updated_at=now,
    )


def due_at(effect: Effect) -> int:
    """The microsecond from which the effect may be claimed."""
    if effect.status == "pending":
        return seconds_to_micros(effect.next_at or 0.0)
    if effect.status == "executing":
        return seconds_to_micros(effect.lease_until or 0.0)
    return NEVER


def claimed(effect: Effect, lease: float, epoch: int | None, now: float) -> Effect | None:
    """The effect in the hands of the claimer, or None if it may not have it.

    An executing effect changes hands when its lease has run out, or at once to a later
    epoch: its holder is a past incarnation then.
    """
    if lease <= 0:
        raise ValueError(f"lease is {lease!r}: use more than 0 seconds")
    if epoch is not None and effect.epoch is not None and epoch < effect.epoch:
        return None
    later = epoch is not None and effect.epoch is not None and epoch > effect.epoch
    taken_over = later and effect.status == "executing"
    if not taken_over and due_at(effect) > seconds_to_micros(now):
        return None
    return replace(
        effect,
        status="executing",
        attempts=effect.attempts + 1,
        next_at=None,
        lease_until=now + lease,
        epoch=effect.epoch if epoch is None else epoch,
        updated_at=now,
    )


def completed(effect: Effect, result: Any, epoch: int | None, now: float) -> Effect:
    """The effect after it was carried out."""
    return _ended(effect, "completed", None, result, None, epoch, now)


def failed(
    effect: Effect, error: str, retry_at: float | None, epoch: int | None, now: float
) -> Effect:
    """The effect after a try that failed: over, or pending until `retry_at`."""
    status: EffectStatus = "failed" if retry_at is None else "pending"
    return _ended(effect, status, error, None, retry_at, epoch, now)


def _ended(
    effect: Effect,
    status: EffectStatus,
    error: str | None,
    result: Any,
    next_at: float | None,
    epoch: int | None,
    now: float,
) -> Effect:
    """The effect after its execution; one that was completed stays as it is."""
    _check_epoch(effect, epoch)
    if effect.status == "completed":
        return effect
    return replace(
        effect,
        status=status,
        error=error,
        result=result,
        next_at=next_at,
        lease_until=None,
        epoch=effect.epoch if epoch is None else epoch,
        updated_at=now,
    )


def _check_epoch(effect: Effect, epoch: int | None) -> None:
    if epoch is not None and effect.epoch is not None and epoch < effect.epoch:
        raise StaleEpoch(effect.stream or effect.channel, epoch, effect.epoch)


_FIELDS = tuple(field.name for field in fields(Effect))


def pack_effect(effect: Effect) -> bytes:
    """The effect as bytes; a payload or result that is not plain data is refused."""
    return pack({name: getattr(effect, name) for name in _FIELDS}, stream=effect.stream)


def unpack_effect(data: bytes) -> Effect:
    """The effect that `pack_effect` was given."""
    return Effect(**unpack(data))
