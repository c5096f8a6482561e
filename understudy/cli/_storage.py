"""`understudy storage`: stores of any kind, and the way from one to another."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli._output import examples, print_facts, print_json, print_table, size
from understudy.cli._progress import progress
from understudy.storage.adapters._migrate import MigrationRefused, migrate
from understudy.storage.adapters._url import open_storage, redacted

if TYPE_CHECKING:
    from understudy.storage.adapters._migrate import MigrationProgress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Url = Annotated[str, typer.Argument(help="The store, as lmdb:///path or postgresql://host/db.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.callback(
    epilog=examples(
        "understudy storage migrate --from file:old --to lmdb:data/journal",
        "understudy storage stats sqlite:sessions.db",
    )
)
def storage() -> None:
    """Look into stores of any kind, and move from one to another.

    A store is named by its URL: lmdb:///path, sqlite:///path, file:///path,
    postgresql://user@host/database, redis://host:6379/0. A path right behind the colon is
    relative to this directory.
    """


@app.command(
    "migrate",
    epilog=examples(
        "understudy storage migrate --from sqlite:sessions.db --to lmdb:data/journal",
        "understudy storage migrate --from lmdb:data/journal --to postgresql://db.example/office",
        "understudy storage migrate --from redis://cache:6379/0 --to file:readable --json",
    ),
)
def migrate_command(
    source: Annotated[str, typer.Option("--from", help="URL of the store to copy.")],
    target: Annotated[str, typer.Option("--to", help="URL of the store to copy it to.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Also into a store that holds something already.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare both stores at the end.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Copy everything from one store to another that the other can hold.

    The source is only read; stop whatever writes to it first. A copy that was cut short goes on
    where it was when the command is given again. At the end counts and checksums of both are
    compared. What the target cannot hold is named.
    """
    if source == target:
        raise MigrationRefused("source and target are the same store")
    with contextlib.ExitStack() as stack:
        old = open_storage(_to_read(source), must_exist=True)
        stack.callback(old.close)
        new = open_storage(target)
        stack.callback(new.close)
        tell = stack.enter_context(progress())

        def on_progress(now: MigrationProgress) -> None:
            tell(now.kind, now.done, now.total)

        report = migrate(
            old, new, name=redacted(source), merge=merge, verify=verify, on_progress=on_progress
        )
    if as_json:
        print_json(
            {
                "from": redacted(source),
                "to": redacted(target),
                "copied": report.copied,
                "resumed": report.resumed,
                "verified": verify,
                "checksums": {
                    kind: {"count": count, "checksum": text}
                    for kind, (count, text) in report.checksums.items()
                },
                "left_behind": report.left_behind,
                "notes": report.notes,
                "seconds": round(report.seconds, 3),
            }
        )
        return
    print_table(
        ("kind", "copied", "in both", "checksum"),
        [
            (kind, count, *report.checksums.get(kind, ("not compared", "")))
            for kind, count in report.copied.items()
        ],
        numbers=("copied", "in both"),
    )
    for name, count in report.left_behind.items():
        print(f"left behind: {count:,} {name}")
    for text in report.notes:
        print(f"note: {text}")
    what = "everything"
    if report.left_behind:
        what = "all that the target can hold"
    if report.resumed:
        what = "the rest of an earlier copy"
    print(f"copied {what} in {report.seconds:.1f} s")


@app.command(epilog=examples("understudy storage stats postgresql://db.example/office --json"))
def stats(url: Url, as_json: AsJson = False) -> None:
    """Print how much a store holds."""
    store = open_storage(_to_read(url), must_exist=True)
    try:
        found = store.get_stats()
    finally:
        store.close()
    data: dict[str, Any] = {
        "name": found.name,
        "persistent": found.persistent,
        "sessions": found.sessions,
        "keys": found.keys,
        "events": found.events,
        "streams": found.streams,
        "snapshots": found.snapshots,
        "effects": found.effects,
        "size_bytes": found.size_bytes,
        "details": dict(found.details),
    }
    if as_json:
        print_json(data)
        return
    details = data.pop("details")
    data["size_bytes"] = size(found.size_bytes)
    print_facts([*data.items(), *details.items()])


def _to_read(url: str) -> str:
    """The URL of a store that is only read: of an LMDB journal, beside the system that writes."""
    if not url.startswith("lmdb:") or "readonly=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}readonly=true"
