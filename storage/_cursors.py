"""Named cursors: how far somebody has read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage._tables import join, pack, unpack

if TYPE_CHECKING:
    from understudy.storage._tables import Core


class Cursors:
    """`journal.cursors`. Thread-safe; `set` waits until it is safe."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def get(self, name: str, default: int = 0) -> int:
        """Where the cursor stands."""
        with self._core.environment.reading() as txn:
            row = txn.get(join(name), db=self._core.database("cursors"))
        return default if row is None else unpack(row)

    def set(self, name: str, seq: int) -> None:
        """Move the cursor, forwards or backwards."""
        key = join(name)
        self._core.call(
            lambda txn: txn.put(key, pack(seq), db=self._core.database("cursors"))
        ).result()

    def delete(self, name: str) -> bool:
        """Forget a cursor; whether there was one."""
        key = join(name)

        def apply(txn: Any) -> bool:
            return bool(txn.delete(key, db=self._core.database("cursors")))

        return self._core.call(apply).result()

    def list(self, prefix: str = "") -> dict[str, int]:
        """All cursors whose name begins with `prefix`, in order of names."""
        start = join(prefix)
        found: dict[str, int] = {}
        with self._core.environment.reading() as txn:
            cursor = txn.cursor(self._core.database("cursors"))
            if cursor.set_range(start) if start else cursor.first():
                for key, value in cursor:
                    if not key.startswith(start):
                        break
                    found[key.decode()] = unpack(value)
        return found
