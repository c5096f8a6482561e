"""Which journal the command works on, and how it is opened."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli._console import data_directory
from understudy.cli._moments import moment
from understudy.storage import Journal, JournalLocked, UnderstudyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.cli._journal_live import LiveJournal

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        "-d",
        help="Data directory of the system; else UNDERSTUDY_DATA_DIR, else .understudy.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", help="Only events of this type; may be given again."),
]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", help="Only events with this topic; may be given again."),
]
Since = Annotated[
    str | None,
    typer.Option(help="Only events from this time on: 2026-01-31T09:30, or 15m, 12h, 7d ago."),
]
Until = Annotated[str | None, typer.Option(help="Only events before this time, written as above.")]
Priority = Annotated[str | None, typer.Option(help="Only critical, or only normal events.")]


class NoJournal(UnderstudyError):
    """There is no journal in the data directory.

    Attributes:
        path: where it was looked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"no journal at {path}; name the data directory of a system with --data-dir or "
            "UNDERSTUDY_DATA_DIR (a system that has never run has no journal yet)"
        )


class JournalBusy(UnderstudyError):
    """A running system has the journal for itself.

    Attributes:
        path: the journal.
        owner: who has it, as far as that is known.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self.path = path
        self.owner = owner
        super().__init__(
            f"journal {path} is in use by {owner}, which cannot be asked to change it: stop it "
            "first (reading commands, export, backup and verify work beside it)"
        )


class NoStream(UnderstudyError):
    """The journal has no stream of this name.

    Attributes:
        stream: the name.
        similar: names there are that resemble it.
    """

    def __init__(self, stream: str, similar: list[str]) -> None:
        self.stream = stream
        self.similar = similar
        hint = f"; did you mean {', '.join(map(repr, similar))}?" if similar else ""
        super().__init__(
            f"no stream {stream!r} in the journal{hint} `understudy journal streams` lists them all"
            if hint
            else f"no stream {stream!r} in the journal; `understudy journal streams` lists them all"
        )


def journal_path(data_dir: Path | None) -> Path:
    """The directory of the journal: `journal` in the data directory, or that directory itself."""
    directory = data_directory(data_dir)
    inner = directory / "journal"
    for candidate in (inner, directory):
        if (candidate / "data.mdb").is_file():
            return candidate
    raise NoJournal(inner)


def reading(data_dir: Path | None) -> Journal:
    """The journal for reading: safe beside a system that is running."""
    return Journal.open(journal_path(data_dir), readonly=True)


def changing(data_dir: Path | None, *, make: bool = False) -> Journal | LiveJournal:
    """The journal for writing, or, while a system has it open, that system.

    Args:
        data_dir: as given on the command line.
        make: whether to begin a journal where there is none.
    """
    try:
        path = journal_path(data_dir)
    except NoJournal as missing:
        if not make:
            raise
        path = missing.path
    try:
        return Journal.open(path)
    except JournalLocked as error:
        busy = JournalBusy(path, error.owner)
    from understudy.cli._journal_live import LiveJournal

    return LiveJournal(path.parent if path.name == "journal" else path, busy)


def known(journal: Journal, stream: str) -> str:
    """The stream, if the journal has it or ever had it."""
    if journal.last_seq(stream) == 0:
        import difflib

        similar = difflib.get_close_matches(stream, _some(journal.streams()), n=3)
        raise NoStream(stream, similar)
    return stream


def _some(names: list[str]) -> list[str]:
    return names[:10_000]


def times(since: str | None, until: str | None) -> Iterator[dt.datetime | None]:
    """Both bounds as aware times."""
    now = dt.datetime.now(dt.UTC)
    for text in (since, until):
        yield None if text is None else moment(text, now)


def chosen_priority(text: str | None) -> str | None:
    """The priority, if it is one."""
    if text not in (None, "critical", "normal"):
        raise typer.BadParameter(f"{text!r} is no priority: use critical or normal")
    return text
