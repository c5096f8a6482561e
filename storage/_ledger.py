"""The idempotency ledger: each key is worked on once, and a repeat gets the first answer."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import StorageError
from understudy.storage._state import expiry_us, set_expiry
from understudy.storage._tables import encoded, join, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.storage._tables import Core
    from understudy.storage._write import LedgerStatus

#: Seconds a key is remembered where nothing else is said: a client's retries end within a day.
DEFAULT_TTL = 86400.0


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerRow:
    """What the ledger knows of a key.

    Attributes:
        scope: name space.
        key: the idempotency key.
        status: in_flight, done or failed.
        result: what a repeat is answered with.
        expires_at: epoch seconds after which it is forgotten, None for never.
        attempts: how often the work was begun.
        claimed: True for the one caller of `begin` who shall do the work.
    """

    scope: str
    key: str
    status: LedgerStatus
    result: Any = None
    expires_at: float | None = None
    attempts: int = 1
    claimed: bool = False


class Ledger:
    """`journal.ledger`. Thread-safe; every write waits until it is safe."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._changed = threading.Condition()

    def begin(self, scope: str, key: str, ttl: float | None = DEFAULT_TTL) -> LedgerRow:
        """Claim a key, or learn what became of it.

        Exactly one of many concurrent callers gets `claimed=True` and does the work; it ends
        with `finish` or `fail`. The others get the row as it is. A claim whose process has died
        (it was made before this opening of the journal) may be claimed again.

        Args:
            scope: name space.
            key: the idempotency key; together with the scope at most 480 bytes of UTF-8.
            ttl: seconds after which the key is forgotten. Optional, default 24 hours; None for
                never.
        """
        name = join(scope, key)

        def apply(txn: Any) -> LedgerRow:
            core = self._core
            row = self._row(txn, scope, key)
            attempts = 1
            if row is not None:
                found, generation = row
                if found.status != "in_flight" or generation == core.generation:
                    return found
                attempts = found.attempts + 1
            expires = None if ttl is None else core.clock() + ttl
            write_ledger(core, txn, name, "in_flight", b"\xc0", expires, attempts)
            return LedgerRow(scope, key, "in_flight", None, expires, attempts, claimed=True)

        return self._core.call(apply).result()

    def finish(self, scope: str, key: str, result: Any = None) -> None:
        """The work is done; repeats get this result."""
        self._end(scope, key, "done", result)

    def fail(self, scope: str, key: str, error: Any = None) -> None:
        """The work failed for good; repeats get this error."""
        self._end(scope, key, "failed", error)

    def release(self, scope: str, key: str) -> None:
        """Give the claim back: the next `begin` may work on it."""
        name = join(scope, key)
        self._core.call(lambda txn: delete_ledger(self._core, txn, name)).result()
        self.notify()

    def _end(self, scope: str, key: str, status: LedgerStatus, result: Any) -> None:
        name = join(scope, key)
        value = encoded("result", result)

        def apply(txn: Any) -> None:
            row = self._row(txn, scope, key)
            if row is None:
                raise StorageError(
                    f"ledger key {key!r} of scope {scope!r} is not in flight: it was never begun, "
                    "or its time has passed; begin it again"
                )
            found = row[0]
            write_ledger(self._core, txn, name, status, value, found.expires_at, found.attempts)

        self._core.call(apply, len(value)).result()
        self.notify()

    def get(self, scope: str, key: str) -> LedgerRow | None:
        """The row of a key, or None where it is not known (any more)."""
        with self._core.environment.reading() as txn:
            row = self._row(txn, scope, key)
        return None if row is None else row[0]

    def wait(self, scope: str, key: str, timeout: float | None = None) -> LedgerRow | None:
        """Block until a key in flight is done or failed; None where it was released or forgotten.

        Args:
            scope: name space.
            key: the idempotency key.
            timeout: seconds to wait. Optional, and if absent for ever.

        Raises:
            TimeoutError: still in flight.
        """
        row = self.get(scope, key)

        def settled() -> bool:
            nonlocal row
            row = self.get(scope, key)
            return row is None or row.status != "in_flight"

        with self._changed:
            if not self._changed.wait_for(settled, timeout):
                raise TimeoutError(f"ledger key {key!r} still in flight after {timeout} s")
        return row

    def rows(self, scope: str) -> Iterator[LedgerRow]:
        """The rows of a scope in order of keys."""
        prefix = join(scope, "")
        with self._core.environment.reading() as txn:
            cursor = txn.cursor(self._core.database("ledger"))
            found = cursor.set_range(prefix)
            names = []
            while found and cursor.key().startswith(prefix):
                names.append(cursor.key()[len(prefix) :].decode())
                found = cursor.next()
        for key in names:
            row = self.get(scope, key)
            if row is not None:
                yield row

    def notify(self) -> None:
        """Wake those who wait for a key in flight; called when rows of the ledger changed."""
        with self._changed:
            self._changed.notify_all()

    def _row(self, txn: Any, scope: str, key: str) -> tuple[LedgerRow, int] | None:
        value = txn.get(join(scope, key), db=self._core.database("ledger"))
        if value is None:
            return None
        us, status, attempts, generation, result = unpack(value)
        if us and us <= self._core.clock() * 1e6:
            return None
        expires = us / 1e6 if us else None
        return LedgerRow(scope, key, status, result, expires, attempts), generation


def write_ledger(
    core: Core,
    txn: Any,
    name: bytes,
    status: LedgerStatus,
    result: bytes,
    expires_at: float | None,
    attempts: int = 1,
) -> None:
    """Set a row and keep the expiry index in step."""
    us = expiry_us(expires_at)
    old = txn.get(name, db=core.database("ledger"))
    if old is not None:
        set_expiry(core, txn, b"l", name, unpack(old)[0], remove=True)
    row = b"".join((b"\x95", pack(us), pack(status), pack(attempts), pack(core.generation), result))
    txn.put(name, row, db=core.database("ledger"))
    set_expiry(core, txn, b"l", name, us)


def delete_ledger(core: Core, txn: Any, name: bytes) -> None:
    """Remove a row."""
    old = txn.pop(name, db=core.database("ledger"))
    if old is not None:
        set_expiry(core, txn, b"l", name, unpack(old)[0], remove=True)
