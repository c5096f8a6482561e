"""A `Write` on its way to the writer: checked and encoded by who submits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage import _outbox
from understudy.storage._ledger import write_ledger
from understudy.storage._state import delete_state, put_state, state_row
from understudy.storage._tables import encoded, join, pack
from understudy.storage._write import WriteResult

if TYPE_CHECKING:
    from understudy.storage._core import Core
    from understudy.storage._write import LedgerStatus, Write
    from understudy.storage._writer import PreparedAppend, Writer


class PreparedWrite:
    """All of a `Write`, encoded."""

    def __init__(self, core: Core, write: Write, appends: list[PreparedAppend]) -> None:
        self._core = core
        self._appends = appends
        self._effects = [_outbox.prepare(effect) for effect in write.effects]
        self._updates = tuple(write.effect_updates)
        for update in self._updates:
            encoded("result of the effect", update.result)
        self._puts = [
            (join(put.bucket, put.key), state_row(put.value, put.expires_at)) for put in write.puts
        ]
        self._deletes = [join(delete.bucket, delete.key) for delete in write.deletes]
        self._cursors = [(join(cursor.name), pack(cursor.seq)) for cursor in write.cursors]
        self._ledger: list[tuple[bytes, LedgerStatus, bytes, float | None]] = [
            (join(row.scope, row.key), row.status, encoded("result", row.result), row.expires_at)
            for row in write.ledger
        ]
        #: Whether it appends and does nothing else.
        self.plain = not (
            self._effects
            or self._updates
            or self._puts
            or self._deletes
            or self._cursors
            or self._ledger
        )
        self.events = sum(append.count for append in appends)
        self.size = 64 + sum(append.size for append in appends)
        self.size += sum(len(effect.payload) for effect in self._effects)
        self.size += sum(len(row) for _, row in self._puts)
        self.size += sum(len(result) for _, _, result, _ in self._ledger)

    def apply(self, writer: Writer, txn: Any) -> WriteResult:
        """Everything that may be refused first, and only then what is put down."""
        core = self._core
        appended = tuple(append.apply(writer, txn) for append in self._appends)
        for update in self._updates:
            _outbox.check(core, txn, update)
        effects = tuple(_outbox.insert(core, txn, effect) for effect in self._effects)
        for effect in self._effects:
            writer.channels.add(effect.channel)
        for update in self._updates:
            _outbox.update(core, txn, update)
        for name, row in self._puts:
            put_state(core, txn, name, row)
        for name in self._deletes:
            delete_state(core, txn, name)
        for name, row in self._cursors:
            txn.put(name, row, db=core.database("cursors"))
        for name, status, result, expires_at in self._ledger:
            write_ledger(core, txn, name, status, result, expires_at)
        return WriteResult(appended, writer.next_position - 1, effects)
