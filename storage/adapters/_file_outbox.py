"""Effects to be carried out, in a file: a line for each change of an effect, the last one holds."""

from __future__ import annotations

import dataclasses
import os
from io import FileIO
from typing import TYPE_CHECKING, Any

from understudy.storage._outbox import Effect
from understudy.storage.adapters import _file_log as log
from understudy.storage.adapters import _json_values as json_values
from understudy.storage.adapters._errors import StoreFailed
from understudy.storage.adapters._files import reported, write_whole
from understudy.storage.adapters._memory_outbox import MemoryOutbox

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path


class FileOutbox(MemoryOutbox):
    """The outbox of a filesystem store. See `OutboxStore` for the promises."""

    def __init__(self, entered: Callable[[], threading.RLock], clock: Callable[[], float]) -> None:
        super().__init__(entered, clock)
        self._path: Any = None
        self._file: FileIO | None = None
        self._size = 0

    def load(self, path: Path) -> None:
        """Read the effects and rewrite the file without what is outdated."""
        self._path = path
        super().clear()
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            for number, line in enumerate(lines, 1):
                try:
                    effects = [_effect(fields) for fields in log.unseal(line)["effects"]]
                except (ValueError, KeyError, TypeError) as error:
                    if number == len(lines):
                        break  # half-written when the process died: never acknowledged
                    reason = f"{path}, line {number}: {error}"
                    raise StoreFailed("filesystem", reason) from error
                super()._keep(effects)
        self._rewrite()

    def unload(self) -> None:
        """Close the file and forget the effects."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().clear()

    def _rewrite(self) -> None:
        if self._file is not None:
            self._file.close()
        data = b"".join(_line([effect]) for effect in self._effects.values())
        write_whole(self._path, data)
        self._file = FileIO(self._path, "ab")
        self._size = len(data)

    def _keep(self, effects: Sequence[Effect]) -> None:
        file = self._file
        if effects and file is not None:
            data = _line(effects)
            with reported():
                if file.seek(0, os.SEEK_END) != self._size:
                    file.truncate(self._size)  # what an earlier write left half-done
                file.write(data)
                os.fsync(file.fileno())
            self._size += len(data)
        super()._keep(effects)

    def clear(self) -> None:
        """Forget all effects."""
        super().clear()
        with reported():
            self._rewrite()


def _line(effects: Sequence[Effect]) -> bytes:
    return log.seal({"effects": [_fields(effect) for effect in effects]})


def _fields(effect: Effect) -> dict[str, Any]:
    fields = dataclasses.asdict(effect)
    return {name: json_values.encode(value) for name, value in fields.items()}


def _effect(fields: dict[str, Any]) -> Effect:
    return Effect(**{name: json_values.decode(value) for name, value in fields.items()})
