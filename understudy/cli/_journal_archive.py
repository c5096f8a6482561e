"""`understudy journal archive`: what was moved out of the way, and how to read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli._journal_open import (
    AsJson,
    DataDir,
    Priority,
    Since,
    Topics,
    Types,
    Until,
    reading,
    times,
)
from understudy.cli._moments import duration, moment
from understudy.cli._output import EventPrinter, examples, local_time, print_json, print_table, size

app = typer.Typer(
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Where = Annotated[
    Path | None, typer.Option("--path", help="Directory of archives; beside the journal if absent.")
]


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "understudy journal archive",
        "understudy journal archive make --before 30d",
        "understudy journal archive read session:ada:echo:t1",
        "understudy journal archive purge --older-than 90d",
    ),
)
def archive(
    context: typer.Context,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List, make, read and remove archives of old events. Lists them if nothing is said."""
    if context.invoked_subcommand is None:
        ls(data_dir=data_dir, as_json=as_json)


@app.command(epilog=examples("understudy journal archive ls --since 90d --stream account:ada"))
def ls(
    since: Since = None,
    until: Until = None,
    stream: Annotated[str | None, typer.Option(help="Only with events of this stream.")] = None,
    event_type: Annotated[
        str | None, typer.Option("--type", "-t", help="Only with events of this type.")
    ] = None,
    path: Where = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the archives, oldest first."""
    begin, end = times(since, until)
    with reading(data_dir) as journal:
        found = journal.archives(since=begin, until=end, stream=stream, type=event_type, path=path)
        rows: list[dict[str, Any]] = [
            {
                "date": one.date.isoformat(),
                "events": one.events,
                "first_time": one.first_time,
                "last_time": one.last_time,
                "first_position": one.first_position,
                "last_position": one.last_position,
                "streams": len(one.streams),
                "types": list(one.types),
                "size_bytes": one.size_bytes,
                "path": str(one.path),
            }
            for one in found
        ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("day", "events", "streams", "from", "to", "size", "file"),
        [
            (
                row["date"],
                row["events"],
                row["streams"],
                local_time(row["first_time"]),
                local_time(row["last_time"]),
                size(row["size_bytes"]),
                row["path"],
            )
            for row in rows
        ],
        numbers=("events", "streams", "size"),
    )


@app.command(epilog=examples("understudy journal archive make --before 30d"))
def make(
    before: Annotated[
        str | None, typer.Option(help="Only events before this time: 2026-01-31, or 30d ago.")
    ] = None,
    path: Where = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copy events into an archive; the journal keeps them. `prune` moves them instead."""
    with reading(data_dir) as journal:
        made = journal.archive(None if before is None else moment(before), path)
    if as_json:
        print_json(None if made is None else {"path": str(made.path), "events": made.events})
    elif made is None:
        print("nothing to archive")
    else:
        print(f"{made.path}: {made.events:,} events, {size(made.size_bytes)}")


@app.command(
    epilog=examples(
        "understudy journal archive read account:ada",
        "understudy journal archive read --type step.failed --since 90d --json",
    )
)
def read(
    stream: Annotated[str | None, typer.Argument(help="Only this stream; all if absent.")] = None,
    since: Since = None,
    until: Until = None,
    event_types: Types = None,
    topics: Topics = None,
    priority: Priority = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many.")] = None,
    path: Where = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print archived events, oldest first; those in two archives once."""
    begin, end = times(since, until)
    wanted: dict[str, Any] = {
        "types": event_types,
        "topics": topics,
        "since": begin,
        "until": end,
        "priority": priority,
    }
    printer = EventPrinter(as_json=as_json, one_stream=stream is not None)
    last = left = 0
    left = -1 if limit is None else limit
    with reading(data_dir) as journal:
        for one in journal.archives(since=begin, until=end, stream=stream, path=path):
            records = one.read_all(**wanted) if stream is None else one.read(stream, **wanted)
            for record in records:
                if record.position <= last:
                    continue
                if left == 0:
                    return
                last = record.position
                left -= 1
                printer.print(record)


@app.command(epilog=examples("understudy journal archive purge --older-than 90d"))
def purge(
    older_than: Annotated[
        str, typer.Option(help="Remove archives whose last event is older than this.")
    ] = "30d",
    path: Where = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Remove old archives for good."""
    age = duration(older_than).total_seconds()
    with reading(data_dir) as journal:
        gone = journal.purge_archives(age, path)
    if as_json:
        print_json({"removed": gone})
    else:
        print(f"{gone} archives removed")
