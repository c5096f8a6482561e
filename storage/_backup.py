"""Copies of a running journal."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from typing import TYPE_CHECKING

import lmdb

from understudy.storage._archive import flush_directory
from understudy.storage._core import Core
from understudy.storage._environment import Environment
from understudy.storage._errors import CorruptRecord, StorageUnavailable
from understudy.storage._verify import Verifier, structure

if TYPE_CHECKING:
    import pathlib

    from understudy.storage._verify import VerifyReport


@dataclasses.dataclass(frozen=True, slots=True)
class BackupReport:
    """What `Journal.backup` made.

    Attributes:
        path: the directory.
        position: last position in it.
        size_bytes: bytes of its file.
        seconds: how long it took.
        verified: what was looked at, or None where nothing was.
    """

    path: pathlib.Path
    position: int
    size_bytes: int
    seconds: float
    verified: VerifyReport | None


def backup(core: Core, target: pathlib.Path, *, verify: bool) -> BackupReport:
    """Copy, flush, verify, rename."""
    began = time.perf_counter()
    env = core.environment
    env.check_fork()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageUnavailable(str(target), "it exists and is not empty; name a new directory")
    fresh = target.with_name(target.name + ".partial")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        # A read transaction of ours keeps the map in place while the engine copies.
        with env.reading():
            env.copy(str(fresh))
        with (fresh / "data.mdb").open("rb") as file:
            os.fsync(file.fileno())
        report = verified(fresh) if verify else None
        for name in ("lock.mdb", "journal.lock"):
            (fresh / name).unlink(missing_ok=True)
        flush_directory(fresh)
        if target.exists():
            target.rmdir()
        fresh.rename(target)
        flush_directory(target.parent)
    except OSError as error:
        raise StorageUnavailable(str(target), f"the copy failed: {error}") from error
    except lmdb.Error as error:
        raise env.translate(error) from error
    finally:
        if fresh.exists():
            shutil.rmtree(fresh, ignore_errors=True)
    size = (target / "data.mdb").stat().st_size
    position = core.catalog.view.position
    return BackupReport(target, position, size, time.perf_counter() - began, report)


def verified(path: pathlib.Path) -> VerifyReport:
    """Look through a copy that nobody uses yet; what is not sound raises."""
    problems = structure(path)
    if problems:
        raise StorageUnavailable(str(path), f"the copy is not sound: {problems[0]}")
    copy = Core(Environment(str(path), readonly=True), time.time)
    try:
        copy.open_readonly()
        report = Verifier(copy).run()
    finally:
        copy.environment.close()
    if report.problems:
        first = report.problems[0]
        raise CorruptRecord(first.stream, first.seq, first.position or 0, first.reason)
    return report
