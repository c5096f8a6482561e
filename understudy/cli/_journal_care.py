"""The commands of `understudy journal` that copy, check and prune."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli._console import note
from understudy.cli._journal_open import (
    AsJson,
    DataDir,
    Priority,
    Since,
    Topics,
    Types,
    Until,
    changing,
    known,
    reading,
    times,
)
from understudy.cli._moments import duration
from understudy.cli._output import print_facts, print_json, print_table, size
from understudy.cli._progress import progress
from understudy.storage import Journal
from understudy.storage._transfer import to_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from understudy.cli._journal_live import LiveJournal
    from understudy.cli._progress import Tell

#: Lines between two looks at the progress bar.
STEP = 1000

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(b|bytes|k|kb|kib|m|mb|mib|g|gb|gib|t|tb|tib)?")
_POWERS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def export(
    target: Annotated[
        Path | None, typer.Argument(help="The file to write; standard output if absent or -.")
    ] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    after: Annotated[
        int, typer.Option(min=0, help="Begin behind this position (with a stream: seq).")
    ] = 0,
    since: Since = None,
    until: Until = None,
    event_types: Types = None,
    topics: Topics = None,
    priority: Priority = None,
    data_dir: DataDir = None,
) -> None:
    """Write events as JSON Lines, oldest first.

    A file appears under its name only when it is whole.
    """
    begin, end = times(since, until)
    wanted: dict[str, Any] = {
        "after": after,
        "types": event_types,
        "topics": topics,
        "since": begin,
        "until": end,
        "priority": priority,
    }
    with reading(data_dir) as journal, contextlib.ExitStack() as stack:
        if stream is None:
            records, total = journal.read_all(**wanted), journal.last_position() - after
        else:
            last = journal.last_seq(known(journal, stream))
            records, total = journal.read(stream, **wanted), last - after
        tell = stack.enter_context(progress())
        count = 0
        with _output(target) as file:
            for record in records:
                file.write(to_line(record) + "\n")
                count += 1
                if count % STEP == 0:
                    tell("exporting", count, max(total, count))
        tell("exporting", count, count)
    if target is not None and str(target) != "-":
        note(f"{count:,} events written to {target}")


@contextlib.contextmanager
def _output(target: Path | None) -> Iterator[IO[str]]:
    if target is None or str(target) == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    draft = target.with_name(f"{target.name}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def import_(
    source: Annotated[Path, typer.Argument(help="An export; - for standard input.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Read an export in: events keep their stream, seq, id and time.

    Events that are there already are passed over, so that an import which was cut short can
    be run again. A running system takes them in itself, but not into the history of an actor
    that is alive. Where there is no journal yet, one is made.
    """
    with contextlib.ExitStack() as stack:
        file: IO[str]
        if str(source) == "-":
            file, total = sys.stdin, None
        else:
            file = stack.enter_context(source.open(encoding="utf-8"))
            total = source.stat().st_size
        journal = changing(data_dir, make=True)
        if isinstance(journal, Journal):
            stack.enter_context(journal)
        tell = stack.enter_context(progress())
        new = journal.import_(_counted(file, tell, total))
    if as_json:
        print_json({"new": new})
    else:
        note(f"{new:,} new events")


def _counted(lines: Iterable[str], tell: Tell, total: int | None) -> Iterator[str]:
    done = 0
    for number, line in enumerate(lines, 1):
        yield line
        done += len(line.encode())
        if number % STEP == 0:
            tell("importing, bytes", done, total)
    tell("importing, bytes", done, total)


def backup(
    target: Annotated[Path, typer.Argument(help="The directory to make; its parent must exist.")],
    check: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Look at every event of the copy.")
    ] = True,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copy the journal, also while a system writes to it.

    The copy is whole and of one moment; it appears under its name only when it is verified.
    To use it, open it like any journal, or put it in the place of one.
    """
    with reading(data_dir) as journal:
        report = journal.backup(target, verify=check)
    if as_json:
        print_json(
            {
                "path": str(report.path),
                "position": report.position,
                "size_bytes": report.size_bytes,
                "seconds": round(report.seconds, 3),
                "verified": report.verified is not None,
            }
        )
        return
    checked = "" if report.verified is None else f", {report.verified.events:,} events verified"
    print(
        f"{report.path}: up to position {report.position:,}, {size(report.size_bytes)} "
        f"in {report.seconds:.1f} s{checked}"
    )


def verify(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Look at every event, index and snapshot; ends with 1 if something is wrong.

    Nothing is mended. Damage is repaired by a backup.
    """
    with reading(data_dir) as journal:
        report = journal.verify()
    problems = [
        {
            "stream": problem.stream,
            "seq": problem.seq,
            "position": problem.position,
            "reason": problem.reason,
        }
        for problem in report.problems
    ]
    if as_json:
        print_json(
            {
                "ok": report.ok,
                "events": report.events,
                "streams": report.streams,
                "snapshots": report.snapshots,
                "problems": problems,
            }
        )
    elif report.ok:
        print(
            f"no problem in {report.events:,} events of {report.streams:,} streams "
            f"and {report.snapshots:,} snapshots"
        )
    else:
        print_table(
            ("stream", "seq", "position", "problem"),
            [tuple("" if cell is None else cell for cell in p.values()) for p in problems],
            numbers=("seq", "position"),
        )
    if not report.ok:
        raise typer.Exit(1)


def byte_count(text: str) -> int:
    """A number of bytes as people write it: 500000, 64MB, 1.5GiB; a unit is a power of 1024."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size: write 500000, 64MB or 1.5GiB")
    return int(float(match[1]) * 1024 ** _POWERS[(match[2] or "b")[0]])


def prune(
    older_than: Annotated[
        str | None, typer.Option(help="Drop events older than this: 12h, 30d, 8w.")
    ] = None,
    keep_events: Annotated[
        int | None, typer.Option(min=0, help="Keep about so many events.")
    ] = None,
    keep_size: Annotated[
        str | None, typer.Option(help="Keep about so many bytes of events: 500MB, 2GiB.")
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(help="Only this stream; its age and number become its lasting limits."),
    ] = None,
    archive_to: Annotated[
        Path | None, typer.Option(help="Directory of archives; beside the journal if absent.")
    ] = None,
    archived: Annotated[
        bool, typer.Option("--archive/--no-archive", help="Keep what is dropped in an archive.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Drop also what a replay or a reader still needs.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Move old events to an archive and drop them; the strictest bound wins.

    What somebody still needs stays, and is named: events behind the newest snapshot of their
    stream, of streams with unfinished effects, and those that a durable subscription has
    not acknowledged. A running system does it itself, and goes on meanwhile.
    """
    if older_than is None and keep_events is None and keep_size is None:
        raise typer.BadParameter("say what to drop: --older-than, --keep-events or --keep-size")
    if stream is not None and keep_size is not None:
        raise typer.BadParameter("--keep-size is for the whole journal, not for a stream")
    if stream is not None and archive_to is not None:
        raise typer.BadParameter("what is beyond a stream's own limits is dropped, not archived")
    age = None if older_than is None else duration(older_than).total_seconds()
    amount = None if keep_size is None else byte_count(keep_size)
    with reading(data_dir) as found:
        if stream is not None:
            known(found, stream)
    lost = force or not archived or stream is not None
    if lost and not yes and sys.stdin.isatty():
        typer.confirm("Events will be lost for good. Go on?", abort=True)
    archive = (True if archive_to is None else str(archive_to.absolute())) if archived else False
    report = _prune(
        changing(data_dir),
        max_age=age,
        max_events=keep_events,
        max_bytes=amount,
        stream=stream,
        archive=archive,
        force=force,
    )
    if as_json:
        print_json(report)
        return
    print_facts(
        [
            ("dropped", f"{report['dropped_events']:,} events"),
            *(("archived in", path) for path in report["archives"]),
            ("kept", f"{report['kept_events']:,} events that were due"),
            *((f"  {name}", reason) for name, reason in report["kept_because"].items()),
        ]
    )


def _prune(journal: Journal | LiveJournal, **wanted: Any) -> dict[str, Any]:
    if not isinstance(journal, Journal):
        return journal.prune(**wanted)
    with journal:
        report = journal.retain(**wanted)
    return {
        "dropped_events": report.dropped_events,
        "dropped_segments": report.dropped_segments,
        "archives": [str(one.path) for one in report.archives],
        "kept_events": report.kept_events,
        "kept_because": report.kept_because,
    }
