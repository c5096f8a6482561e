"""A small commit written down beside itself, so that one flush makes it safe.

A durable commit of the engine is two flushes: its pages, then the meta page that makes them
current. Here the rows of a small commit are also written, before it, into bytes of the data file
that the engine does not use: the flush of the pages takes them along, since it is one file. If a
power cut then loses the meta page, the file opens as it was one commit before, and the rows are put
back from there. The next commit's flush carries the meta page to disk.

The engine's two meta pages take turns and fill their first sector only. The rows of transaction
n lie in the rest of the page that the meta of n will be written to: a write torn there hurts the
meta of n - 2 at most, which nobody needs. What is written down names its transaction, and counts
only where the file has ended right before it, so that nothing ever has to be cleared in a hurry.
"""

from __future__ import annotations

import logging
import os
import zlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("understudy.storage")

MAGIC = b"uRd1"
#: The engine's meta takes 152 bytes of its page; the disk writes whole sectors.
SECTOR = 512
#: Before the body: magic, crc32, length.
HEAD = 12
#: More rows than this do not fit anyway.
MOST_ROWS = 64
#: Bytes beside keys and values: names, lengths.
AROUND = 128


class Noted(msgspec.Struct, array_like=True, frozen=True):
    """A commit of rows of one database: all it wrote."""

    transaction: int
    database: str
    rows: list[tuple[bytes, bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Noted).decode


class Redo:
    """The two places for the last commits, in an open data file.

    Args:
        path: the data file.
        page_size: bytes of its pages.
    """

    def __init__(self, path: str, page_size: int) -> None:
        self._fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        self._page_size = page_size
        self._room = page_size - SECTOR - HEAD

    def _place(self, transaction: int) -> int:
        return (transaction & 1) * self._page_size + SECTOR

    def note(self, transaction: int, database: str, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        """Write down what a transaction that is about to be committed writes.

        Returns:
            Whether it was: it may be too much, and then its meta page has to be flushed.
        """
        if len(rows) > MOST_ROWS:
            return False
        if sum(len(value) + 16 for _, value in rows) > self._room - AROUND:
            return False
        body = _encode((transaction, database, rows))
        if len(body) > self._room:
            return False
        head = MAGIC + zlib.crc32(body).to_bytes(4, "big") + len(body).to_bytes(4, "big")
        try:
            return os.pwrite(self._fd, head + body, self._place(transaction)) == HEAD + len(body)
        except OSError as error:
            log.debug("a commit was not written down beside itself: %s", error)
            return False

    def cancel(self, transaction: int) -> None:
        """Take a transaction back that was noted and came to nothing."""
        os.pwrite(self._fd, bytes(HEAD), self._place(transaction))

    def clear(self) -> None:
        """Wipe both: every meta page is on disk."""
        for place in (0, 1):
            os.pwrite(self._fd, bytes(HEAD + self._room), self._place(place))

    def noted(self) -> list[Noted]:
        """What is written down, as far as it is whole."""
        found = []
        for place in (0, 1):
            data = os.pread(self._fd, HEAD + self._room, self._place(place))
            size = int.from_bytes(data[8:HEAD], "big")
            body = data[HEAD : HEAD + size]
            if data[:4] != MAGIC or zlib.crc32(body) != int.from_bytes(data[4:8], "big"):
                continue
            try:
                found.append(_decode(body))
            except msgspec.DecodeError:
                log.warning("what lies beside a meta page has a sound checksum and makes no sense")
        return found

    def after(self, last: int) -> Noted | None:
        """The commit that follows the last one of the file, if it was noted."""
        return next((one for one in self.noted() if one.transaction == last + 1), None)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
