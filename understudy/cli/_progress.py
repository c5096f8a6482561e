"""A bar for long work, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tell(Protocol):
    """Says how far the work has come."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


def _silent(what: str, done: int, total: int | None) -> None:
    """Tells nobody."""


@contextlib.contextmanager
def progress() -> Iterator[Tell]:
    """What to call with a kind of work, how much is done, and how much there is, if known.

    Draws on standard error, so that results can be piped; elsewhere than on a terminal
    nothing is drawn.
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield tell
