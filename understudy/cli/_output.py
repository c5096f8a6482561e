"""Results for two readers: tables for a person at a terminal, plain lines and JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from understudy.storage._transfer import to_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from understudy.storage import Record


def examples(*commands: str) -> str:
    """The end of a command's help: examples, each on a line of its own."""
    # \b keeps the lines as they are.
    return "\b\n" + "\n".join(("Examples:", *(f"  {command}" for command in commands)))


def print_json(data: Any) -> None:
    """Print one JSON document on a line of its own."""
    sys.stdout.write(json.dumps(jsonable(data), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def jsonable(value: Any) -> Any:
    """Plain data for JSON; what it has no word for stands as text or as `{"$bytes": …}`."""
    import base64

    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else str(jsonable(key)): jsonable(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)  # nan and inf are no JSON
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def safe(text: str) -> str:
    """The text without letters that could steer a terminal: names come from users."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def compact(value: Any, width: int) -> str:
    """A value on one line of at most `width` characters."""
    text = value if isinstance(value, str) else json.dumps(jsonable(value), ensure_ascii=False)
    text = safe(text[: width + 1])
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()
) -> None:
    """A table on a terminal; elsewhere a line per row, its cells between tabs.

    Args:
        columns: the headings.
        rows: the cells.
        numbers: the headings of the columns that are set to the right.
    """
    if not terminal():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(compact(str(cell), 10_000) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        if column in numbers:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(safe(str(cell))) for cell in row))
    Console().print(table)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one pair a line; a value of several lines stands below its name."""
    pairs = [
        (safe(name), "\n".join(safe(line) for line in str(value).split("\n")))
        for name, value in facts
    ]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        if "\n" in value:
            print(f"{name}\n  " + value.replace("\n", "\n  "))
        else:
            print(f"{name.ljust(width)}  {value}".rstrip())


def local_time(when: dt.datetime) -> str:
    """A time for people: local, to the millisecond."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def size(count: int | None) -> str:
    """A number of bytes for people."""
    if count is None:
        return "unknown"
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{count} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


class EventPrinter:
    """Prints events as lines: JSON, or columns cut to the width of the terminal."""

    def __init__(self, *, as_json: bool, one_stream: bool) -> None:
        self._as_json = as_json
        self._one_stream = one_stream
        self._coloured = terminal()
        self._width = 10_000
        if self._coloured:
            import shutil

            self._width = max(shutil.get_terminal_size().columns, 60)

    def print(self, record: Record) -> None:
        """Print one event at once."""
        if self._as_json:
            print(to_line(record), flush=True)
            return
        place = str(record.seq) if self._one_stream else f"{safe(record.stream)} {record.seq}"
        what = safe(record.type)
        head = f"{local_time(record.timestamp)}  {place}  {what}  "
        text = compact(record.payload, max(self._width - len(head), 20))
        if self._coloured:
            mark = typer.colors.RED if record.priority == "critical" else typer.colors.CYAN
            typer.echo(
                typer.style(local_time(record.timestamp), dim=True)
                + f"  {place}  "
                + typer.style(what, fg=mark)
                + f"  {text}"
            )
        else:
            print(head + text, flush=True)
