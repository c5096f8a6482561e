"""Sessions in an LMDB journal, with the indexes that answer lists without looking at them all.

Everything lies in buckets of the journal's state: a small row and the data of each session, and
one row in each index. All of it changes in one transaction, so that no crash parts them.
"""

from __future__ import annotations

import itertools
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from understudy.storage._protocols import SessionRecord
from understudy.storage._state import state_row
from understudy.storage._tables import join, unpack
from understudy.storage.adapters._sessions import SessionRow, select_sessions
from understudy.storage.adapters._values import from_micros, micros

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.storage._core import Core
    from understudy.storage._protocols import ListOptions

#: What is listed and sorted is kept apart from the data, which may be large.
SESSIONS, SESSION_DATA = "session", "session-data"
BY_UPDATE, BY_CREATION, BY_AGENT = "session-by-update", "session-by-creation", "session-by-agent"
INDEX = "session-index"

#: All buckets that belong to sessions.
BUCKETS = frozenset((SESSIONS, SESSION_DATA, BY_UPDATE, BY_CREATION, BY_AGENT, INDEX))

#: Digits of a moment in the key of an index, and of an agent: names may be long, keys may not.
_DIGITS = 16
_EPOCH = 1 << 63  # added to a moment, so that one before 1970 sorts before the others
_MARK = join(INDEX, "version")
_NOTHING = state_row(None, None)

#: Rows read in one transaction, which must be short: the writer keeps old pages for it.
PAGE = 1000


def _moment(us: int) -> str:
    return f"{us + _EPOCH:0{_DIGITS}x}"


def _agent(name: str) -> str:
    return blake2b(name.encode(), digest_size=_DIGITS // 2).hexdigest()


def _index_rows(
    session_id: str, agent: str | None, created: int, updated: int
) -> Iterator[tuple[bytes, bytes]]:
    yield join(BY_UPDATE, _moment(updated) + session_id), _NOTHING
    yield join(BY_CREATION, _moment(created) + session_id), _NOTHING
    if agent is not None:
        # The name again, because two names may have the same digest.
        key = join(BY_AGENT, _agent(agent) + _moment(updated) + session_id)
        yield key, state_row([agent, created], None)


class SessionTable:
    """The sessions of one journal."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def prepare(self) -> None:
        """Make the indexes of a store that was filled before there were any."""
        if not self._indexed() and any(True for _ in self._span(SESSIONS)):
            self._core.call(self._build).result()

    def _indexed(self) -> bool:
        with self._core.environment.reading() as txn:
            return txn.get(_MARK, db=self._core.database("state")) is not None

    def _build(self, txn: Any) -> None:
        db = self._core.database("state")
        prefix = join(SESSIONS, "")
        cursor = txn.cursor(db)
        cursor.set_range(prefix)
        found = list(itertools.takewhile(lambda row: row[0].startswith(prefix), cursor))
        for key, value in found:
            for name, row in _index_rows(key[len(prefix) :].decode(), *unpack(value)[1]):
                txn.put(name, row, db=db)
        txn.put(_MARK, state_row(1, None), db=db)

    def save(
        self,
        session_id: str,
        data: Any,
        agent: str | None,
        created: int | None,
        updated: int,
        now: int,
    ) -> None:
        """Save a session, safe when this returns.

        Args:
            session_id: its name.
            data: plain data.
            agent: who has the word.
            created: microseconds since 1970; if None that of the first save, else now.
            updated: microseconds since 1970.
            now: microseconds since 1970.
        """
        name, data_name = join(SESSIONS, session_id), join(SESSION_DATA, session_id)
        data_row = state_row(data, None)

        def apply(txn: Any) -> None:
            db = self._core.database("state")
            first = created
            before = txn.get(name, db=db)
            if before is not None:
                fields = unpack(before)[1]
                first = fields[1] if first is None else first
                for key, _ in _index_rows(session_id, *fields):
                    txn.delete(key, db=db)
            elif txn.get(_MARK, db=db) is None:
                txn.put(_MARK, state_row(1, None), db=db)
            first = now if first is None else first
            txn.put(name, state_row([agent, first, updated], None), db=db)
            txn.put(data_name, data_row, db=db)
            for key, row in _index_rows(session_id, agent, first, updated):
                txn.put(key, row, db=db)

        self._core.call(apply, len(data_row) + 4 * len(data_name)).result()

    def get(self, session_id: str) -> SessionRecord | None:
        """A session as last saved."""
        name, data_name = join(SESSIONS, session_id), join(SESSION_DATA, session_id)
        db = self._core.database("state")
        with self._core.environment.reading() as txn:
            row, data = txn.get(name, db=db), txn.get(data_name, db=db)
        if row is None:
            return None
        agent, created, updated = unpack(row)[1]
        return SessionRecord(
            session_id, unpack(data)[1], agent, from_micros(created), from_micros(updated)
        )

    def delete(self, session_id: str) -> bool:
        """Forget a session; whether there was one."""
        name, data_name = join(SESSIONS, session_id), join(SESSION_DATA, session_id)

        def apply(txn: Any) -> bool:
            db = self._core.database("state")
            before = txn.pop(name, db=db)
            if before is None:
                return False
            txn.delete(data_name, db=db)
            for key, _ in _index_rows(session_id, *unpack(before)[1]):
                txn.delete(key, db=db)
            return True

        return self._core.call(apply).result()

    def count(self) -> int:
        """How many there are."""
        return sum(1 for _ in self._span(SESSIONS))

    def list(self, options: ListOptions) -> list[str]:
        """The ids that the options ask for, sorted and cut."""
        since, until = options.updated_since, options.updated_until
        low = "" if since is None else _moment(micros(since, "updated_since"))
        high = None if until is None else _moment(micros(until, "updated_until"))
        narrowed = options.active_agent is not None or low or high is not None
        page = PAGE if options.limit is None else min(PAGE, options.offset + options.limit)
        if not self._indexed():
            # A store of an older version, open for reading only.
            return select_sessions(self._rows(self._ids()), options)
        if options.sort == "updated_at":
            ids = self._updated(options.active_agent, low, high, page, reverse=options.reverse)
        elif narrowed:
            # The index chooses; what is left is sorted.
            return select_sessions(
                self._rows(self._updated(options.active_agent, low, high)), options
            )
        elif options.sort == "created_at":
            found = self._span(BY_CREATION, page=page, reverse=options.reverse)
            ids = (key[_DIGITS:] for key, _ in found)
        else:
            ids = self._ids(page, reverse=options.reverse)
        stop = None if options.limit is None else options.offset + options.limit
        return list(itertools.islice(ids, options.offset, stop))

    def _ids(self, page: int = PAGE, *, reverse: bool = False) -> Iterator[str]:
        return (key for key, _ in self._span(SESSIONS, page=page, reverse=reverse))

    def _updated(
        self,
        agent: str | None,
        low: str,
        high: str | None,
        page: int = PAGE,
        *,
        reverse: bool = False,
    ) -> Iterator[str]:
        """The ids of an agent, or of all, in the order of their last save."""
        if agent is None:
            for key, _ in self._span(BY_UPDATE, "", low, high, page, reverse=reverse):
                yield key[_DIGITS:]
            return
        found = self._span(BY_AGENT, _agent(agent), low, high, page, reverse=reverse)
        for key, row in found:
            if unpack(row)[1][0] == agent:
                yield key[_DIGITS:]

    def _rows(self, ids: Iterator[str]) -> Iterator[SessionRow]:
        while names := list(itertools.islice(ids, PAGE)):
            db = self._core.database("state")
            with self._core.environment.reading() as txn:
                rows = [txn.get(join(SESSIONS, name), db=db) for name in names]
            for name, row in zip(names, rows, strict=True):
                if row is not None:
                    yield SessionRow(name, b"", *unpack(row)[1])

    def _span(
        self,
        bucket: str,
        prefix: str = "",
        low: str = "",
        high: str | None = None,
        page: int = PAGE,
        *,
        reverse: bool = False,
    ) -> Iterator[tuple[str, bytes]]:
        """The rows of a bucket behind a prefix, from low up to but without high."""
        base = join(bucket, prefix)
        start = base + low.encode()
        # No text has the byte 0xff.
        end = base + (b"\xff" if high is None else high.encode())
        skip = len(base)
        while start < end and page:
            rows: list[tuple[bytes, bytes]] = []
            with self._core.environment.reading() as txn:
                cursor = txn.cursor(self._core.database("state"))
                if reverse:
                    found = cursor.prev() if cursor.set_range(end) else cursor.last()
                    step = cursor.prev
                else:
                    found = cursor.set_range(start)
                    step = cursor.next
                while found and start <= cursor.key() < end and len(rows) < page:
                    rows.append((cursor.key(), cursor.value()))
                    found = step()
            for key, value in rows:
                yield key[skip:].decode(), value
            if len(rows) < page:
                return
            if reverse:
                end = rows[-1][0]
            else:
                start = rows[-1][0] + b"\0"
