"""`understudy journal`: look into a journal, also while a system writes to it."""

from __future__ import annotations

import contextlib
import queue
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli import _journal_archive, _journal_care, _journal_look
from understudy.cli._journal_open import (
    AsJson,
    DataDir,
    Priority,
    Since,
    Topics,
    Types,
    Until,
    chosen_priority,
    known,
    reading,
    times,
)
from understudy.cli._output import (
    EventPrinter,
    examples,
    local_time,
    print_facts,
    print_json,
    print_table,
    safe,
    size,
    terminal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from understudy.storage import Journal, Record

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

#: What the journal holds. Its other figures count since an opening, and this one is new.
HELD = (
    "path",
    "total_events",
    "total_streams",
    "first_position",
    "last_position",
    "snapshots",
    "effects",
    "keys",
    "segments",
    "tail_events",
    "size_bytes",
    "readers",
    "generation",
    "schema",
)

#: Seconds between two looks whether a followed journal is still readable.
PATIENCE = 0.5


@app.callback(
    epilog=examples(
        "understudy journal ls",
        "understudy journal tail session:ada:echo:t1",
        "understudy journal stats --json --data-dir /var/lib/office",
    )
)
def journal() -> None:
    """Look into a journal and care for it.

    All commands work beside a running system: those that read look at the journal themselves,
    those that change it (import, prune) ask the system to do it. Where the journal is open in a
    program that cannot be asked, they are refused; stop that program first.
    """


@app.command(
    epilog=examples(
        "understudy journal ls",
        "understudy journal ls session:ada",
        "understudy journal ls --json | jq '.[] | select(.events > 1000)'",
    )
)
def ls(
    prefix: Annotated[str, typer.Argument(help="Only streams that begin with this.")] = "",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the streams: how many events each holds, and its last one."""
    with reading(data_dir) as found:
        rows = [_stream_row(found, name) for name in found.streams() if name.startswith(prefix)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("stream", "events", "first", "last", "last event", "written"),
        [
            (
                row["stream"],
                row["events"],
                row["first_seq"],
                row["last_seq"],
                row["last_type"],
                local_time(row["last_timestamp"]),
            )
            for row in rows
        ],
        numbers=("events", "first", "last"),
    )


def _stream_row(journal: Journal, stream: str) -> dict[str, Any]:
    first, last = journal.first_seq(stream), journal.last_seq(stream)
    row: dict[str, Any] = {
        "stream": stream,
        "events": last - first + 1,
        "first_seq": first,
        "last_seq": last,
        "last_type": "",
        "last_timestamp": None,
    }
    for record in journal.read(stream, reverse=True, limit=1):
        row["last_type"] = record.type
        row["last_timestamp"] = record.timestamp
    return row


@app.command(
    epilog=examples(
        "understudy journal streams session: | wc -l",
    )
)
def streams(
    prefix: Annotated[str, typer.Argument(help="Only streams that begin with this.")] = "",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print the names of the streams, one a line."""
    with reading(data_dir) as found:
        names = [name for name in found.streams() if name.startswith(prefix)]
    if as_json:
        print_json(names)
        return
    for name in names:
        print(safe(name) if terminal() else name)


@app.command(
    epilog=examples(
        "understudy journal types",
        "understudy journal types --since 1h",
    )
)
def types(
    stream: Annotated[str | None, typer.Argument(help="Only of this stream.")] = None,
    since: Since = None,
    until: Until = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Count the events by type, most frequent first."""
    counts: dict[str, list[Any]] = {}
    begin, end = times(since, until)
    with reading(data_dir) as found:
        records = (
            found.read_all(since=begin, until=end)
            if stream is None
            else found.read(known(found, stream), since=begin, until=end)
        )
        for record in _watched(records, "counting"):
            row = counts.setdefault(record.type, [0, record.version, record.timestamp])
            row[0] += 1
            row[1] = max(row[1], record.version)
            row[2] = record.timestamp
    ordered = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
    if as_json:
        print_json(
            [
                {"type": name, "events": count, "version": version, "last_timestamp": last}
                for name, (count, version, last) in ordered
            ]
        )
        return
    print_table(
        ("type", "events", "version", "last"),
        [(name, count, version, local_time(last)) for name, (count, version, last) in ordered],
        numbers=("events", "version"),
    )


def _watched(records: Iterable[Record], what: str) -> Iterable[Record]:
    """The records, with a counter on a terminal while they pass."""
    if not sys.stderr.isatty():
        yield from records
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} events"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        number = 0
        for number, record in enumerate(records, 1):
            if number % 5000 == 0:
                progress.update(task, completed=number)
            yield record
        progress.update(task, completed=number)


@app.command(
    epilog=examples(
        "understudy journal tail",
        "understudy journal tail session:ada:echo:t1 -n 100",
        "understudy journal tail --type step.failed --json",
        "understudy journal tail --no-follow",
    )
)
def tail(
    stream: Annotated[str | None, typer.Argument(help="Only this stream; all if absent.")] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="Begin with so many of the last events.")
    ] = 10,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on with what is written, until Ctrl-C.")
    ] = True,
    event_types: Types = None,
    topics: Topics = None,
    priority: Priority = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print the last events, then each new one as it is written, until Ctrl-C."""
    with reading(data_dir) as found, contextlib.suppress(KeyboardInterrupt):
        if stream is None:
            end = found.last_position()
        else:
            end = found.last_seq(stream) if follow else found.last_seq(known(found, stream))
        wanted: dict[str, Any] = {
            "types": event_types,
            "topics": topics,
            "priority": chosen_priority(priority),
        }
        last = (
            found.read_all(limit=lines, reverse=True, until_position=end, **wanted)
            if stream is None
            else found.read(stream, limit=lines, reverse=True, until_seq=end, **wanted)
        )
        printer = EventPrinter(as_json=as_json, one_stream=stream is not None)
        for record in reversed(list(last)):
            printer.print(record)
        if follow:
            _follow(found, printer, stream, end, wanted)


def _follow(
    journal: Journal, printer: EventPrinter, stream: str | None, after: int, wanted: dict[str, Any]
) -> None:
    """Print what is written from now on; ends by Ctrl-C, or with the journal's own error."""
    new: queue.SimpleQueue[Record] = queue.SimpleQueue()
    with journal.subscribe(new.put, stream, after=after, **wanted) as subscription:
        while True:
            try:
                record = new.get(timeout=PATIENCE)
            except queue.Empty:
                if subscription.failed is not None:
                    raise subscription.failed from None
                continue
            printer.print(record)


@app.command(
    epilog=examples(
        "understudy journal stats",
        "understudy journal stats --json | jq .total_events",
    )
)
def stats(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print how much the journal holds."""
    with reading(data_dir) as found:
        figures = found.stats().to_dict()
    data = {name: figures[name] for name in HELD}
    if as_json:
        print_json(data)
        return
    print_facts(
        [
            ("journal", data["path"]),
            ("events", f"{data['total_events']:,}"),
            ("streams", f"{data['total_streams']:,}"),
            ("positions", f"{data['first_position']:,} to {data['last_position']:,}"),
            ("snapshots", f"{data['snapshots']:,}"),
            ("effects", f"{data['effects']:,}"),
            ("keys", f"{data['keys']:,}"),
            ("segments", data["segments"]),
            ("on disk", size(data["size_bytes"])),
            ("readers", data["readers"]),
            ("opened", f"{data['generation']} times"),
            ("schema", data["schema"]),
        ]
    )


app.command(
    epilog=examples(
        "understudy journal show 1024",
        "understudy journal show session:ada:echo:t1 17",
    )
)(_journal_look.show)
app.command(
    epilog=examples(
        "understudy journal replay session:ada:echo:t1",
        "understudy journal replay --type step.failed --type tool.failed --since 1h --limit 100",
        "understudy journal replay account:ada --until-seq 40 --actor office:Account",
    )
)(_journal_look.replay)
app.command(
    epilog=examples(
        "understudy journal export events.jsonl",
        "understudy journal export --stream account:ada | jq .payload",
    )
)(_journal_care.export)
app.command(
    name="import",
    epilog=examples("understudy journal import events.jsonl --data-dir fresh"),
)(_journal_care.import_)
app.command(epilog=examples("understudy journal backup backups/2026-01-31"))(_journal_care.backup)
app.command(epilog=examples("understudy journal verify && echo sound"))(_journal_care.verify)
app.command(
    epilog=examples(
        "understudy journal prune --older-than 30d",
        "understudy journal prune --keep-size 2GiB --archive-to old-events",
        "understudy journal prune --stream audit --keep-events 10000 --yes",
    )
)(_journal_care.prune)
app.add_typer(_journal_archive.app, name="archive")
