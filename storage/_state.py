"""Key-value rows beside the log, some of them with a time to live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import key_of, u64
from understudy.storage._tables import encoded, join, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.storage._tables import Core

#: Rows of one page of a scan, and of one transaction of a purge.
PAGE = 1000


class State:
    """`journal.state`: plain values by bucket and key.

    Reads see what is committed; every write waits until it is safe. Thread-safe.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def get(self, bucket: str, key: str, default: Any = None) -> Any:
        """The value, or `default` where there is none or its time has passed."""
        core = self._core
        with core.environment.reading() as txn:
            row = txn.get(join(bucket, key), db=core.database("state"))
        if row is None:
            return default
        expires, value = unpack(row)
        return default if expires and expires <= core.clock() * 1e6 else value

    def expires_at(self, bucket: str, key: str) -> float | None:
        """Epoch seconds at which the row is gone; None where it stays, or is not there."""
        core = self._core
        with core.environment.reading() as txn:
            row = txn.get(join(bucket, key), db=core.database("state"))
        expires = 0 if row is None else unpack(row)[0]
        return expires / 1e6 if expires else None

    def put(
        self,
        bucket: str,
        key: str,
        value: Any,
        expires_at: float | None = None,
        *,
        ttl: float | None = None,
    ) -> None:
        """Set a value.

        Args:
            bucket: name space.
            key: its key; together with the bucket at most 480 bytes of UTF-8.
            value: plain data.
            expires_at: epoch seconds after which it is gone. Optional, and if absent it stays.
            ttl: the same as seconds from now. Optional.
        """
        if ttl is not None:
            expires_at = self._core.clock() + ttl
        name = join(bucket, key)
        row = state_row(value, expires_at)
        self._core.call(
            lambda txn: put_state(self._core, txn, name, row), len(row) + len(name)
        ).result()

    def delete(self, bucket: str, key: str) -> bool:
        """Remove a row; whether it was there and had not expired."""
        name = join(bucket, key)
        now = self._core.clock() * 1e6

        def apply(txn: Any) -> bool:
            row = delete_state(self._core, txn, name)
            return row is not None and not 0 < unpack(row)[0] <= now

        return self._core.call(apply).result()

    def delete_bucket(self, bucket: str) -> int:
        """Remove all rows of a bucket; returns how many."""
        keys = [key for key, _ in self.scan(bucket, expired=True)]

        def apply(txn: Any) -> int:
            return sum(delete_state(self._core, txn, join(bucket, key)) is not None for key in keys)

        return self._core.call(apply).result()

    def scan(
        self, bucket: str, prefix: str = "", *, after: str | None = None, expired: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """(key, value) of a bucket in order of keys.

        Args:
            bucket: name space.
            prefix: only keys that begin with it. Optional, default all.
            after: only keys behind this one. Optional.
            expired: also rows whose time has passed and that are not purged yet. Optional.
        """
        core = self._core
        start = join(bucket, prefix)
        skip = len(join(bucket, ""))
        last = None if after is None else join(bucket, after)
        while True:
            now = core.clock() * 1e6
            page: list[tuple[str, Any]] = []
            with core.environment.reading() as txn:
                cursor = txn.cursor(core.database("state"))
                found = cursor.set_range(start if last is None or last < start else last)
                if found and cursor.key() == last:
                    found = cursor.next()
                seen = 0
                while found and cursor.key().startswith(start):
                    expires, value = unpack(cursor.value())
                    last = cursor.key()
                    if expired or not 0 < expires <= now:
                        page.append((last[skip:].decode(), value))
                    seen += 1
                    if seen == PAGE:
                        break
                    found = cursor.next()
                else:
                    seen = 0
            yield from page
            if not seen:
                return

    def buckets(self) -> list[str]:
        """The names of the buckets that hold rows."""
        core = self._core
        names = []
        with core.environment.reading() as txn:
            cursor = txn.cursor(core.database("state"))
            found = cursor.first()
            while found:
                name = cursor.key().split(b"\0", 1)[0]
                names.append(name.decode())
                found = cursor.set_range(name + b"\1")
        return names

    def purge_expired(self, now: float | None = None) -> int:
        """Remove rows, also of the ledger, whose time has passed; returns how many."""
        moment = self._core.clock() if now is None else now
        total = 0
        while True:
            count = self._core.call(lambda txn: purge(self._core, txn, moment)).result()
            total += count
            if count < PAGE:
                return total


def state_row(value: Any, expires_at: float | None) -> bytes:
    """A row of the state table."""
    return b"\x92" + pack(expiry_us(expires_at)) + encoded("value", value)


def expiry_us(expires_at: float | None) -> int:
    """Epoch seconds as the microseconds that rows hold; 0 for never."""
    return 0 if expires_at is None else max(int(expires_at * 1e6), 1)


def put_state(core: Core, txn: Any, name: bytes, row: bytes) -> None:
    """Set a row and keep the expiry index in step."""
    old = txn.get(name, db=core.database("state"))
    if old is not None:
        set_expiry(core, txn, b"s", name, unpack(old)[0], remove=True)
    txn.put(name, row, db=core.database("state"))
    set_expiry(core, txn, b"s", name, unpack(row)[0])


def delete_state(core: Core, txn: Any, name: bytes) -> bytes | None:
    """Remove a row; returns what it held."""
    old: bytes | None = txn.pop(name, db=core.database("state"))
    if old is not None:
        set_expiry(core, txn, b"s", name, unpack(old)[0], remove=True)
    return old


def set_expiry(
    core: Core, txn: Any, kind: bytes, name: bytes, us: int, *, remove: bool = False
) -> None:
    """Add or remove a row of the expiry index; nothing for rows that stay."""
    if not us:
        return
    key = key_of(us) + kind + name
    if remove:
        txn.delete(key, db=core.database("expiry"))
    else:
        txn.put(key, b"", db=core.database("expiry"))


def purge(core: Core, txn: Any, now: float) -> int:
    """Remove at most a page of expired rows."""
    limit = int(now * 1e6)
    count = 0
    cursor = txn.cursor(core.database("expiry"))
    while count < PAGE and cursor.first():
        key = cursor.key()
        if u64.unpack(key[:8])[0] > limit:
            break
        txn.delete(key[9:], db=core.database("state" if key[8:9] == b"s" else "ledger"))
        cursor.delete()
        count += 1
    return count
