"""Folders that cost no disk: these tests are about what stores do, not about how disks do it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A file system in memory, where flushes cost nothing; a killed process leaves there what it would
#: leave on a disk.
MEMORY = "/dev/shm"  # noqa: S108 - every test makes a private folder there


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of this test alone, in memory where the system has such folders."""
    base = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(
        prefix="understudy-test-", dir=base, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
