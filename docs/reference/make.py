"""Write `api.md`: every public name of `understudy`, its signature and docstring.

python docs/reference/make.py            # writes docs/reference/api.md
python docs/reference/make.py --check    # exit code 1 if the file is out of date
"""

from __future__ import annotations

import importlib
import inspect
import pathlib
import re
import sys
from collections import defaultdict

import understudy

PAGE = pathlib.Path(__file__).with_name("api.md")
ROOMS = {
    "actors": "Actors",
    "supervision": "Supervision",
    "storage": "Storage",
    "agents": "Agents and sessions",
}
# What is not in the facade, by module: its title and the guide that tells of it.
MODULES = {
    "understudy.storage": ("the journal's parts", "journal.md"),
    "understudy.storage.adapters": ("other stores", "storage.md"),
    "understudy.storage.contract": ("suites for adapters", "write-an-adapter.md"),
    "understudy.gateway": ("HTTP and WebSocket", "gateway.md"),
    "understudy.observability": ("metrics, logs, traces, audit", "observability.md"),
    "understudy.testing": ("the test kit", "testing.md"),
}
HEADER = """# Reference

The first four parts are importable from `understudy`, the others from the module in their
title. This page is made from the docstrings by `python docs/reference/make.py`; a test keeps
it current. The command is told in [command.md](command.md).
"""


def first_part(thing: object) -> str:
    """The docstring up to its first section."""
    text = inspect.getdoc(thing) or ""
    return re.split(r"\n\n(?:Args|Raises|Returns|Example|Attributes)s?:", text)[0].strip()


def signature(name: str, thing: object) -> str:
    """How it is called; empty for what is not called."""
    if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, BaseException)):
        return ""
    if getattr(thing, "_is_protocol", False):  # nobody makes one
        return ""
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text)
    return name + re.sub(r"<[^<>]* at 0x[0-9a-f]+>", "...", text).replace("'", "")


def members(thing: object) -> list[str]:
    """One line for each public method and property that the class defines and tells."""
    lines = []
    if not inspect.isclass(thing):
        return lines
    for name, value in sorted(vars(thing).items()):
        if name.startswith("_"):
            continue
        inner = inspect.unwrap(getattr(value, "__func__", value))
        text = inspect.getdoc(inner)
        if not text or not (inspect.isfunction(inner) or isinstance(value, property)):
            continue
        call = name if isinstance(value, property) else f"{name}()"
        line = " ".join(text.split("\n\n")[0].split())
        lines.append(f"- `{call}`: {line}")
    return lines


def page() -> str:
    """The whole page."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for name in understudy.__all__:
        thing = getattr(understudy, name)
        home = getattr(thing, "__module__", "") or ""
        room = home.split(".")[1] if home.startswith("understudy.") else "actors"
        if room in ROOMS and not name.startswith("_") and not inspect.ismodule(thing):
            rooms[room].append(name)
    parts = [HEADER]
    for room, title in ROOMS.items():
        parts.append(f"## {title}\n")
        for name in sorted(rooms[room], key=str.lower):
            parts += entry(name, getattr(understudy, name))
    for path, (title, guide) in MODULES.items():
        module = importlib.import_module(path)
        parts.append(f"## `{path}`: {title}\n")
        parts.append(f"See [the guide](../guides/{guide}).\n")
        for name in sorted(module.__all__, key=str.lower):
            thing = getattr(module, name)
            if not hasattr(understudy, name) and (
                inspect.isclass(thing) or inspect.isroutine(thing)
            ):
                parts += entry(name, thing)
    return "\n".join(parts)


def entry(name: str, thing: object) -> list[str]:
    """The lines of one name."""
    lines = [f"### {name}\n"]
    if call := signature(name, thing):
        lines.append(f"```text\n{call}\n```\n")
    lines.append(first_part(thing) + "\n")
    if told := members(thing):
        lines.append("\n".join(told) + "\n")
    return lines


def main() -> int:
    """Write the page, or check it."""
    text = page()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE.name}: {text.count(chr(10) + '### ')} names")
    return 0


if __name__ == "__main__":
    sys.exit(main())
