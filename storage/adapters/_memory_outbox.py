"""Effects to be carried out, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage._tables import UnknownEffect
from understudy.storage.adapters._effects import (
    claimed,
    completed,
    due_at,
    failed,
    new_effect,
    pack_effect,
    unpack_effect,
)
from understudy.storage.adapters._values import check_name, seconds_to_micros

if TYPE_CHECKING:
    import builtins
    import threading
    from collections.abc import Callable, Sequence

    from understudy.storage._outbox import Effect
    from understudy.storage._write import NewEffect


class MemoryOutbox:
    """The outbox of a memory store. See `OutboxStore` for what each method promises."""

    def __init__(self, entered: Callable[[], threading.RLock], clock: Callable[[], float]) -> None:
        self._entered = entered
        self._clock = clock
        self._effects: dict[int, Effect] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._last = 0

    def add(self, effects: Sequence[NewEffect]) -> builtins.list[int]:
        """Add effects, pending; returns their ids, of the first with the same dedupe key."""
        now = self._clock()
        with self._entered():
            # All are made, and refused if not plain data, before one is kept.
            number = self._last
            ids: builtins.list[int] = []
            made: dict[tuple[str, str], Effect] = {}
            for new in effects:
                key = (
                    check_name(new.channel, "channel"),
                    check_name(new.dedupe_key, "dedupe_key"),
                )
                known = made[key].id if key in made else self._ids.get(key)
                if known is None:
                    number += 1
                    known = number
                    made[key] = _copied(new_effect(number, new, now))
                ids.append(known)
            self._keep(list(made.values()))
            return ids

    def _keep(self, effects: Sequence[Effect]) -> None:
        """Make effects, new or changed, what the outbox holds; called under the lock."""
        for effect in effects:
            self._effects[effect.id] = effect
            self._ids[effect.channel, effect.dedupe_key] = effect.id
            self._last = max(self._last, effect.id)

    def pending(self, channel: str, limit: int = 100) -> builtins.list[Effect]:
        """The effects that may be claimed now, oldest first."""
        now = seconds_to_micros(self._clock())
        with self._entered():
            due = (e for e in self._effects.values() if e.channel == channel and due_at(e) <= now)
            return [_copied(effect) for effect, _ in zip(due, range(limit), strict=False)]

    def claim(self, effect_id: int, lease: float, epoch: int | None = None) -> Effect | None:
        """Take an effect for `lease` seconds; None if it may not be had."""
        with self._entered():
            taken = claimed(self._found(effect_id), lease, epoch, self._clock())
            if taken is None:
                return None
            self._keep([taken])
            return _copied(taken)

    def complete(self, effect_id: int, result: Any = None, epoch: int | None = None) -> None:
        """The effect was carried out."""
        with self._entered():
            self._keep([_copied(completed(self._found(effect_id), result, epoch, self._clock()))])

    def fail(
        self,
        effect_id: int,
        error: str,
        *,
        retry_at: float | None = None,
        epoch: int | None = None,
    ) -> None:
        """The effect was not carried out: for good, or to be tried again at `retry_at`."""
        with self._entered():
            self._keep([failed(self._found(effect_id), error, retry_at, epoch, self._clock())])

    def _found(self, effect_id: int) -> Effect:
        effect = self._effects.get(effect_id)
        if effect is None:
            raise UnknownEffect(effect_id)
        return effect

    def get(self, effect_id: int) -> Effect | None:
        """One effect, or None."""
        with self._entered():
            effect = self._effects.get(effect_id)
            return None if effect is None else _copied(effect)

    def list(
        self,
        *,
        stream: str | None = None,
        channel: str | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[Effect]:
        """The effects of a stream, a channel, a status, or all, oldest first."""
        with self._entered():
            found = [
                effect
                for effect in self._effects.values()
                if (stream is None or effect.stream == stream)
                and (channel is None or effect.channel == channel)
                and (status is None or effect.status == status)
            ]
            return [_copied(effect) for effect in found[:limit]]

    def count(self) -> int:
        """How many effects there are."""
        return len(self._effects)

    def clear(self) -> None:
        """Forget all effects."""
        self._effects.clear()
        self._ids.clear()
        self._last = 0


def _copied(effect: Effect) -> Effect:
    """A copy whose payload and result are nobody else's."""
    return unpack_effect(pack_effect(effect))
