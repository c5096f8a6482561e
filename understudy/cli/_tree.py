"""`understudy tree`: the supervision tree of a running system, asked over its control socket."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003  - typer reads the annotations at run time
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli._console import data_directory, note
from understudy.supervision._control_socket import (
    ControlError,
    NoRunningSystem,
    control_request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHILDREN_SHOWN = 50
CLEAR = "\x1b[H\x1b[2J\x1b[3J"
HEADINGS = ("actor", "class", "on", "state", "restarts", "mailbox", "now", "last failure")
STATE = HEADINGS.index("state")
STATE_COLOURS = {
    "running": typer.colors.GREEN,
    "starting": typer.colors.CYAN,
    "restarting": typer.colors.YELLOW,
    "stopping": typer.colors.YELLOW,
    "stopped": typer.colors.BRIGHT_BLACK,
    "waiting": typer.colors.CYAN,
    "busy": typer.colors.YELLOW,
    "frozen": typer.colors.RED,
}


def tree(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Its data directory; else UNDERSTUDY_DATA_DIR, else .understudy.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between two refreshes.")] = 1.0,
    stacks: Annotated[
        bool, typer.Option("--stacks", help="Also the stack of every thread and coroutine.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the data itself; with --watch, one line each.")
    ] = False,
    children: Annotated[
        int, typer.Option(min=0, help="Most children of one parent to show.")
    ] = CHILDREN_SHOWN,
) -> None:
    """Show the supervision tree of a running system, as it is now.

    For every actor: its state, how often it was restarted, the messages that wait and how long the
    oldest has, what it is doing and for how long, and its last failure. The system is found by its
    data directory; any process of the same user may ask.
    """
    directory = data_directory(data_dir)
    if not watch:
        print(_picture(directory, children, stacks, as_json, terminal=sys.stdout.isatty()))
        return
    terminal = sys.stdout.isatty() and not as_json
    try:
        while True:
            text = _picture(directory, children, stacks, as_json, terminal=terminal)
            sys.stdout.write(f"{CLEAR if terminal else ''}{text}\n")
            sys.stdout.flush()
            sleep(interval)
    except (NoRunningSystem, ControlError) as gone:
        note(f"the system has gone: {gone}")
    except KeyboardInterrupt:
        # Ctrl-C is how --watch is meant to end.
        return


def _picture(directory: Path, children: int, stacks: bool, as_json: bool, *, terminal: bool) -> str:
    data = control_request(directory, "tree", children=children)
    if stacks:
        data["stacks"] = control_request(directory, "stacks")
        data["tasks"] = control_request(directory, "tasks")
        data["threads"] = control_request(directory, "threads")
    if as_json:
        return json.dumps(data, ensure_ascii=False, default=str)
    lines = [heading(data), "", *rows(data["tree"], colour=terminal)]
    for stack in data.get("stacks", ()):
        lines += ["", *stack_lines(stack)]
    actors = {stack["actor"] for stack in data.get("stacks", ())}
    for task in data.get("tasks", ()):
        if task["task"] not in actors:
            lines += ["", f"--- task {task['task']}", *task["stack"].rstrip().splitlines()]
    at_work = {stack.get("thread") for stack in data.get("stacks", ())}
    for thread in data.get("threads", ()):
        if thread["thread"] not in at_work:
            lines += [
                "",
                f"--- thread {thread['name']}, in no actor",
                *thread["stack"].rstrip().splitlines(),
            ]
    return "\n".join(lines)


def heading(data: dict[str, Any]) -> str:
    """One line about the system as a whole."""
    facts = [f"pid {data['pid']}"] if data.get("pid") else []
    if data.get("uptime") is not None:
        facts.append(f"up {duration(data['uptime'])}")
    stats = data.get("stats") or {}
    for key, word in (("actors", "actors"), ("messages", "messages"), ("restarts", "restarts")):
        if key in stats:
            facts.append(f"{stats[key]} {word if stats[key] != 1 else word[:-1]}")
    return f"{data.get('system', 'system')} ({', '.join(facts)})"


def rows(root: dict[str, Any], *, colour: bool) -> list[str]:
    """The tree as aligned lines, the headings first."""
    table: list[Sequence[str]] = [HEADINGS]
    states = [""]
    for name, node in _walk(root, "", "", ""):
        table.append((name, *(_cells(node) if node is not None else ("",) * (len(HEADINGS) - 1))))
        states.append(str(node.get("state", "")) if node is not None else "")
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    lines = []
    for row, state in zip(table, states, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if colour and state in STATE_COLOURS:
            cells[STATE] = typer.style(cells[STATE], fg=STATE_COLOURS[state])
        lines.append("  ".join(cells).rstrip())
    return lines


def _walk(
    node: dict[str, Any], lead: str, branch: str, below: str
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    yield f"{lead}{branch}{node['name']}", node
    under = list(node.get("children") or ())
    more = node.get("more") or 0
    for number, child in enumerate(under):
        last = number == len(under) - 1 and not more
        yield from _walk(child, lead + below, "└─ " if last else "├─ ", "   " if last else "│  ")
    if more:
        yield f"{lead}{below}└─ … and {more} more", None


def _cells(node: dict[str, Any]) -> tuple[str, ...]:
    depth = node.get("depth") or 0
    mailbox = str(depth) if depth else ""
    if depth and node.get("oldest") is not None:
        mailbox += f" ({duration(node['oldest'])})"
    current = node.get("current")
    now = ""
    if current:
        now = _short(current.get("message", "?"), 40)
        if current.get("seconds") is not None:
            now += f" for {duration(current['seconds'])}"
    restarts = node.get("restarts") or 0
    return (
        str(node.get("class") or ""),
        str(node.get("dispatcher") or ""),
        str(node.get("state") or ""),
        str(restarts) if restarts else "",
        mailbox,
        now,
        _short(node.get("last_failure") or "", 60),
    )


def stack_lines(stack: dict[str, Any]) -> list[str]:
    """The stack of an actor at work, with a line on top that says whose it is."""
    kind = "coroutine" if stack.get("thread") is None else f"thread {stack['thread']}"
    title = f"--- {stack['actor']} ({kind}), in {_short(stack.get('message'), 60)}"
    if stack.get("seconds") is not None:
        title += f" for {duration(stack['seconds'])}"
    return [title, *str(stack.get("stack") or "").rstrip().splitlines()]


def duration(seconds: float) -> str:
    """Seconds as people say them: 12ms, 3.4s, 2m10s, 5h03m, 4d02h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def _short(value: object, width: int) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"
