"""Where a run took place: machine, versions, load and noise."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from understudy.benchmarks._statistics import quantile

NOISE_SLICES = 60
DISTRIBUTIONS = (
    "understudy",
    "pykka",
    "uvloop",
    "thespian",
    "xoscar",
    "ray",
    "lmdb",
    "msgpack",
    "msgspec",
    "eventsourcing",
    "rocksdict",
    "psycopg",
    "redis",
)


def cores() -> list[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def load() -> float | None:
    """The load average of the last minute, where the platform has one."""
    with contextlib.suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None


def noise() -> float:
    """How much the speed of this machine wavers, as a fraction of the median.

    The same short loop is timed again and again; on a quiet machine the 90th percentile lies a
    few percent above the 10th, on a shared one it may be half as much again.
    """
    slices = []
    for _ in range(NOISE_SLICES):
        begun = time.perf_counter()
        for _ in range(20_000):
            pass
        slices.append(time.perf_counter() - begun)
    slices.sort()
    return round((quantile(slices, 0.9) - quantile(slices, 0.1)) / quantile(slices, 0.5), 3)


def versions() -> dict[str, str]:
    """Versions of Python and of every library that takes part and is installed."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def describe(directory: str | Path = ".") -> dict[str, Any]:
    """Facts about this machine, for the head of a results file."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(cores()),
        "memory": _memory(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
        "disk": _filesystem(directory),
        "load_before": load(),
        "noise_before": noise(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory() -> int | None:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _filesystem(directory: str | Path) -> str:
    """Type of the file system under a directory: a durable append on a tmpfs proves nothing."""
    target = Path(directory).resolve()
    best, kind = "", "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            _, mount, fstype, *_ = line.split()
            if target.is_relative_to(mount) and len(mount) >= len(best):
                best, kind = mount, fstype
    return kind


def revision() -> str | None:
    """The commit the measured source stands at, with a plus sign where it was changed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        head = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
        return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
    return None
