"""Changing the journal of a running system: it does it itself, asked on its control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage import StorageError
from understudy.storage._transfer import from_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from understudy.cli._journal_open import JournalBusy

#: Lines, and characters, of one request: the system does nothing else on its socket meanwhile.
LINES, SIZE = 1000, 1 << 20

#: Seconds that one request may take: a prune archives before it drops.
PATIENCE = 3600.0


class LineTooLong(StorageError):
    """An event that is larger than a running system takes at once.

    Attributes:
        number: the line of the export.
        size: its bytes.
    """

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        super().__init__(
            f"line {number} has {size:,} bytes, more than a running system takes at once: "
            "stop the system and import again"
        )


class LiveJournal:
    """The journal that a running system has for itself."""

    def __init__(self, data_dir: Path, busy: JournalBusy) -> None:
        self._data_dir = data_dir
        self.busy = busy

    def _ask(self, op: str, **options: Any) -> dict[str, Any]:
        from understudy.supervision import ControlError, NoRunningSystem, control_request

        try:
            reply: dict[str, Any] = control_request(self._data_dir, op, timeout=PATIENCE, **options)
        except NoRunningSystem:
            # Whoever has it is no system that could be asked.
            raise self.busy from None
        except ControlError as error:
            if error.code == "unknown_op":
                raise self.busy from None
            raise
        return reply

    def prune(self, **wanted: Any) -> dict[str, Any]:
        """`Journal.retain`, as plain data."""
        return self._ask("journal.prune", **wanted)

    def import_(self, lines: Iterable[str]) -> int:
        """Read an export in, in pieces; how many events were new."""
        from understudy.supervision._control_socket import MAX_REQUEST

        new = size = 0
        piece: list[str] = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            from_line(line, number)  # names the line that is none; nothing of its piece is sent
            length = len(line.encode())
            if length > MAX_REQUEST - 1024:
                raise LineTooLong(number, length)
            if len(piece) == LINES or (piece and size + length > SIZE):
                new += self._send(piece)
                piece, size = [], 0
            piece.append(line)
            size += length
        return new + self._send(piece)

    def _send(self, piece: list[str]) -> int:
        # Also an empty one: where nobody can be asked, that is told.
        return int(self._ask("journal.import", lines=piece)["new"])
