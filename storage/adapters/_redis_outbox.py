"""Effects to be carried out, on a Redis server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped] # ships no types

from understudy.storage._tables import UnknownEffect
from understudy.storage.adapters import _redis_scripts as scripts
from understudy.storage.adapters._effects import (
    NEVER,
    claimed,
    completed,
    due_at,
    failed,
    new_effect,
    pack_effect,
    unpack_effect,
)
from understudy.storage.adapters._rules import PAGE
from understudy.storage.adapters._values import check_name, seconds_to_micros

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator, Sequence

    from understudy.storage._outbox import Effect
    from understudy.storage._write import NewEffect
    from understudy.storage.adapters._redis_server import RedisServer


class RedisOutbox:
    """The outbox of a Redis store. See `OutboxStore` for what each method promises."""

    def __init__(self, server: Callable[[], RedisServer], clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock

    def add(self, effects: Sequence[NewEffect]) -> builtins.list[int]:
        """Add effects, pending; returns their ids, of the first with the same dedupe key."""
        server = self._server()
        now = self._clock()
        for new in effects:
            check_name(new.channel, "channel")
            check_name(new.dedupe_key, "dedupe_key")
        while True:
            with server.asked() as client:
                last: Any = client.get(server.key("effect"))
            number = int(last or 0)
            expected = number
            ids: builtins.list[int] = []
            made: dict[tuple[str, str], builtins.list[Any]] = {}
            for new in effects:
                key = (new.channel, new.dedupe_key)
                (known,) = server.values(server.key("effect-keys", new.channel), [new.dedupe_key])
                if key in made:
                    ids.append(int(made[key][5]))
                elif known is not None:
                    ids.append(int(known))
                else:
                    number += 1
                    effect = new_effect(number, new, now)
                    packed = pack_effect(effect)
                    stream = new.stream or False
                    made[key] = [*key, stream, due_at(effect), packed, _member(number)]
                    ids.append(number)
            request = msgpack.packb(list(made.values()), use_bin_type=False)
            if not made or server.run(scripts.ADD_EFFECTS, expected, request):
                return ids

    def pending(self, channel: str, limit: int = 100) -> builtins.list[Effect]:
        """The effects that may be claimed now, those that are due longest first."""
        server = self._server()
        now = seconds_to_micros(self._clock())
        with server.asked() as client:
            members: Any = client.zrangebyscore(
                server.key("due", channel), "-inf", now, start=0, num=limit
            )
        return [*_effects(server, members)]

    def claim(self, effect_id: int, lease: float, epoch: int | None = None) -> Effect | None:
        """Take an effect for `lease` seconds; None if it may not be had."""

        def change(effect: Effect) -> Effect | None:
            return claimed(effect, lease, epoch, self._clock())

        return self._change(effect_id, change)

    def complete(self, effect_id: int, result: Any = None, epoch: int | None = None) -> None:
        """The effect was carried out."""
        self._change(effect_id, lambda effect: completed(effect, result, epoch, self._clock()))

    def fail(
        self,
        effect_id: int,
        error: str,
        *,
        retry_at: float | None = None,
        epoch: int | None = None,
    ) -> None:
        """The effect was not carried out: for good, or to be tried again at `retry_at`."""
        self._change(
            effect_id, lambda effect: failed(effect, error, retry_at, epoch, self._clock())
        )

    def _change(self, effect_id: int, change: Callable[[Effect], Effect | None]) -> Effect | None:
        server = self._server()
        number = _member(effect_id)
        while True:
            (before,) = server.values(server.key("effects"), [number])
            if before is None:
                raise UnknownEffect(effect_id)
            after = change(unpack_effect(before))
            if after is None:
                return None
            due = due_at(after)
            done = server.run(
                scripts.CHANGE_EFFECT,
                number,
                before,
                pack_effect(after),
                after.channel,
                "" if due == NEVER else due,
            )
            if done:
                return after

    def get(self, effect_id: int) -> Effect | None:
        """One effect, or None."""
        server = self._server()
        (packed,) = server.values(server.key("effects"), [_member(effect_id)])
        return None if packed is None else unpack_effect(packed)

    def list(
        self,
        *,
        stream: str | None = None,
        channel: str | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[Effect]:
        """The effects of a stream, a channel, a status, or all, oldest first."""
        server = self._server()
        members: Any
        if stream is None:
            with server.asked() as client:
                last: Any = client.get(server.key("effect"))
            members = [_member(number) for number in range(1, int(last or 0) + 1)]
        else:
            with server.asked() as client:
                members = client.zrange(server.key("effects-of", stream), 0, -1)
        found = [
            effect
            for effect in _effects(server, members)
            if (channel is None or effect.channel == channel)
            and (status is None or effect.status == status)
        ]
        return found[:limit]


def _member(number: int) -> str:
    """An effect's number as text that sorts as numbers do."""
    return f"{number:016d}"


def _effects(server: RedisServer, members: Sequence[str | bytes]) -> Iterator[Effect]:
    for start in range(0, len(members), PAGE):
        for packed in server.values(server.key("effects"), members[start : start + PAGE]):
            if packed is not None:
                yield unpack_effect(packed)
