"""The suites that `understudy bench` brings along, imported when it needs their scenarios."""

from __future__ import annotations

import importlib

MODULES = (
    "understudy.benchmarks.suites.kernel",
    "understudy.benchmarks.suites.supervision",
    "understudy.benchmarks.suites.journal",
    "understudy.benchmarks.suites.sessions",
    "understudy.benchmarks.savina",
)

__all__ = ["MODULES", "load"]


def load() -> None:
    """Import all suites, so that their scenarios are registered."""
    for module in MODULES:
        importlib.import_module(module)
