"""Files that survive a crash whole: names, atomic replacement, the lock of a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from typing import TYPE_CHECKING

from understudy.storage.adapters._errors import StoreFailed, StoreInUse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PLAIN = re.compile(rb"[a-z0-9_.-]")

#: Longest part of a name that is kept in a file name: file systems allow 255 bytes, and the
#: hash and the ending need some.
LONGEST = 180


def file_name(name: str) -> str:
    """A file name for any text, on any file system, different for different texts.

    Small letters, digits, "_", "-" and "." stay; the rest, capitals included, is
    percent-encoded, since some file systems do not tell cases apart. A long name is cut
    and gets a hash; the file itself holds the full one.
    """
    encoded = "".join(
        chr(byte) if _PLAIN.match(bytes((byte,))) else f"%{byte:02x}"
        for byte in name.encode("utf-8", "surrogatepass")
    )
    if encoded.startswith("."):
        encoded = "%2e" + encoded[1:]
    if len(encoded) > LONGEST:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12)
        encoded = f"{encoded[:LONGEST]}~{digest.hexdigest()}"
    return encoded


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turns what the system refuses (no room, no permission) into `StoreFailed`."""
    try:
        yield
    except OSError as error:
        raise StoreFailed("filesystem", str(error)) from error


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file by new content, so that after any crash it is the old or the new one.

    Safe on disk when this returns.
    """
    draft = path.with_name(f"{path.name}.new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def remove(path: Path) -> bool:
    """Remove a file for good; False if there is none."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder safe on disk, where the system can do that."""
    if os.name == "nt":
        return  # Windows has no handle on a folder to flush; renames are journaled there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FolderLock:
    """Keeps a folder to one store, in this process and among others, until released.

    The system lets go of it when the process dies, however that happens.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(self._handle, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            raise StoreInUse("filesystem", str(folder)) from None

    def release(self) -> None:
        """Let go of the folder."""
        os.close(self._handle)
