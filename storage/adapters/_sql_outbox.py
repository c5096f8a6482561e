"""Effects to be carried out, in an SQL table."""

# ruff: noqa: S608 - statements are put together from constants; values are parameters

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
    from collections.abc import Callable, Sequence

    from understudy.storage._outbox import Effect
    from understudy.storage._write import NewEffect
    from understudy.storage.adapters._sql_database import Database, Executor


class SqlOutbox:
    """The outbox of an SQL store. See `OutboxStore` for what each method promises.

    An effect is claimed by changing its row, so of several processes exactly one gets it.
    """

    def __init__(self, database: Callable[[], Database], clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def add(self, effects: Sequence[NewEffect]) -> builtins.list[int]:
        """Add effects, pending; returns their ids, of the first with the same dedupe key."""
        now = self._clock()
        ids: builtins.list[int] = []
        with self._database().writing() as tx:
            number = tx.execute(
                "UPDATE us_meta SET value = value WHERE name = 'effects' RETURNING value"
            ).fetchone()[0]
            for new in effects:
                check_name(new.channel, "channel")
                check_name(new.dedupe_key, "dedupe_key")
                row = tx.execute(
                    "SELECT number FROM us_effects WHERE channel = ? AND dedupe_key = ?",
                    (new.channel, new.dedupe_key),
                ).fetchone()
                if row is not None:
                    ids.append(row[0])
                    continue
                number += 1
                effect = new_effect(number, new, now)
                tx.execute(
                    "INSERT INTO us_effects "
                    "(number, channel, dedupe_key, stream, status, due_at, body) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        number,
                        new.channel,
                        new.dedupe_key,
                        new.stream,
                        effect.status,
                        due_at(effect),
                        pack_effect(effect),
                    ),
                )
                ids.append(number)
            tx.execute("UPDATE us_meta SET value = ? WHERE name = 'effects'", (number,))
        return ids

    def pending(self, channel: str, limit: int = 100) -> builtins.list[Effect]:
        """The effects that may be claimed now, oldest first."""
        now = seconds_to_micros(self._clock())
        with self._database().reading() as tx:
            rows = tx.execute(
                "SELECT body FROM us_effects WHERE channel = ? AND due_at <= ? "
                "ORDER BY number LIMIT ?",
                (channel, now, limit),
            ).fetchall()
        return [unpack_effect(row[0]) for row in rows]

    def claim(self, effect_id: int, lease: float, epoch: int | None = None) -> Effect | None:
        """Take an effect for `lease` seconds; None if it may not be had."""
        now = self._clock()
        with self._database().writing() as tx:
            effect = _locked(tx, effect_id)
            if effect is None:
                raise UnknownEffect(effect_id)
            taken = claimed(effect, lease, epoch, now)
            if taken is not None:
                _update(tx, taken)
        return taken

    def complete(self, effect_id: int, result: Any = None, epoch: int | None = None) -> None:
        """The effect was carried out."""
        with self._database().writing() as tx:
            effect = _locked(tx, effect_id)
            if effect is None:
                raise UnknownEffect(effect_id)
            _update(tx, completed(effect, result, epoch, self._clock()))

    def fail(
        self,
        effect_id: int,
        error: str,
        *,
        retry_at: float | None = None,
        epoch: int | None = None,
    ) -> None:
        """The effect was not carried out: for good, or to be tried again at `retry_at`."""
        with self._database().writing() as tx:
            effect = _locked(tx, effect_id)
            if effect is None:
                raise UnknownEffect(effect_id)
            _update(tx, failed(effect, error, retry_at, epoch, self._clock()))

    def get(self, effect_id: int) -> Effect | None:
        """One effect, or None."""
        with self._database().reading() as tx:
            row = tx.execute(
                "SELECT body FROM us_effects WHERE number = ?", (effect_id,)
            ).fetchone()
        return None if row is None else unpack_effect(row[0])

    def list(
        self,
        *,
        stream: str | None = None,
        channel: str | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[Effect]:
        """The effects of a stream, a channel, a status, or all, oldest first."""
        where, values = [], []
        for column, value in (("stream", stream), ("channel", channel), ("status", status)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        condition = f"WHERE {' AND '.join(where)} " if where else ""
        with self._database().reading() as tx:
            rows = tx.execute(
                f"SELECT body FROM us_effects {condition}ORDER BY number LIMIT ?",
                (*values, 2**62 if limit is None else limit),
            ).fetchall()
        return [unpack_effect(row[0]) for row in rows]


def _locked(tx: Executor, effect_id: int) -> Effect | None:
    """The effect, with its row held until the transaction ends."""
    row = tx.execute(
        "UPDATE us_effects SET status = status WHERE number = ? RETURNING body", (effect_id,)
    ).fetchone()
    return None if row is None else unpack_effect(row[0])


def _update(tx: Executor, effect: Effect) -> None:
    tx.execute(
        "UPDATE us_effects SET status = ?, due_at = ?, body = ? WHERE number = ?",
        (effect.status, due_at(effect), pack_effect(effect), effect.id),
    )
