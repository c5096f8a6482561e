"""Taking events away from single streams: truncate, delete, limits. Numbers never come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import pack
from understudy.storage._errors import StreamTombstoned
from understudy.storage._frame import check_name
from understudy.storage._writer import Work

if TYPE_CHECKING:
    from understudy.storage._catalog import Head
    from understudy.storage._core import Core
    from understudy.storage._future import CommitFuture
    from understudy.storage._writer import Writer


def truncate(core: Core, stream: str, before_seq: int) -> CommitFuture[int]:
    """Hide the events below a seq."""
    check_name("stream", stream)

    def apply(writer: Writer, txn: Any) -> int:
        head = core.catalog.own_head(txn, stream)
        low = min(before_seq, head.last + 1)
        gone = low - head.low
        if gone <= 0:
            return 0
        writer.touch(stream, head)
        head.low = low
        write_head(core, txn, stream, head)
        return gone

    return core.own_writer().submit(Work(apply))


def delete(core: Core, stream: str, *, tombstone: bool) -> CommitFuture[int]:
    """Hide all events of a stream, and its snapshots; for ever with a tombstone."""
    check_name("stream", stream)

    def apply(writer: Writer, txn: Any) -> int:
        head = core.catalog.own_head(txn, stream)
        if head.tombstone and not tombstone:
            raise StreamTombstoned(stream, head.last)
        writer.touch(stream, head)
        gone = max(head.last + 1 - head.low, 0)
        head.low = head.last + 1
        head.deleted_at = head.last
        head.tombstone = tombstone
        write_head(core, txn, stream, head)
        snapshots = core.database("snapshots")
        prefix = stream.encode() + b"\0"
        cursor = txn.cursor(snapshots)
        while cursor.set_range(prefix) and cursor.key().startswith(prefix):
            cursor.delete()
        return gone

    return core.own_writer().submit(Work(apply))


def limit(
    core: Core, stream: str, max_age: float | None, max_count: int | None
) -> CommitFuture[None]:
    """Set the limits of a stream; they hide what is beyond them from now on."""
    check_name("stream", stream)
    if max_age is not None and max_age <= 0:
        raise ValueError(f"max_age is {max_age}: use more than 0 seconds, or None for no limit")
    if max_count is not None and max_count < 1:
        raise ValueError(f"max_count is {max_count}: use 1 or more, or None for no limit")

    def apply(writer: Writer, txn: Any) -> None:
        head = core.catalog.own_head(txn, stream)
        writer.touch(stream, head)
        head.max_age = max_age or 0.0
        head.max_count = max_count or 0
        if head.max_count:
            head.low = max(head.low, head.last - head.max_count + 1)
        write_head(core, txn, stream, head)

    return core.own_writer().submit(Work(apply))


def write_head(core: Core, txn: Any, stream: str, head: Head) -> None:
    """Write a head now, not at the next checkpoint: the log does not tell what it says."""
    name = stream.encode()
    txn.put(name, head.to_row(), db=core.database("heads"))
    if head.low > 1:
        txn.put(name, pack(head.low), db=core.database("lows"))
    core.bump_changes(txn)
