"""Paths as results may show them: from the package on, with nothing of the machine before it."""

from __future__ import annotations

import os
import re
import shlex
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def _places(cwd: str, home: str) -> tuple[tuple[re.Pattern[str], re.Pattern[str], str], ...]:
    """What a path may begin with, alone too, the longest first, and what is put in its place."""
    found: dict[str, str] = {}

    def add(place: str | Path | None, shown: str) -> None:
        if place:
            for path in (os.path.abspath(place), os.path.realpath(place)):
                if path != os.path.dirname(path):  # the root directory says nothing
                    found.setdefault(path, shown)

    add(home, "~/")
    add(tempfile.gettempdir(), "")
    add(ROOT, "understudy/")
    add(cwd, "")
    for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts"):
        add(sysconfig.get_path(name), "")
    for entry in sys.path:
        # A checkout on the path, as in an editable install, is the project itself.
        add(entry, "understudy/" if os.path.realpath(entry) == str(ROOT) else "")
    return tuple(
        (re.compile(start + "/"), re.compile(start + r"(?![\w.-])"), shown)
        for path, shown in sorted(found.items(), key=lambda item: -len(item[0]))
        for start in (rf"(?<![\w./-]){re.escape(path)}",)
    )


def shortened(text: str) -> str:
    """The text of an error or a traceback with every path that names this machine cut short.

    A file of an installed library or of this project is shown from its package on, one below the
    working directory relative to it, and the home directory as `~`.
    """
    for below, itself, shown in _places(os.getcwd(), os.path.expanduser("~")):
        text = below.sub(shown, text)
        text = itself.sub(shown[:-1] or ".", text)
    return text


def typed(program: str, arguments: list[str]) -> str:
    """A command line as it was typed, ready for a shell, but for where this machine keeps things.

    Args:
        program: its first words, such as "understudy bench".
        arguments: what followed; below the working directory a path becomes relative, below the
            home directory it begins with `~`, and anything else stays as it is.
    """
    here, home = os.getcwd() + os.sep, os.path.expanduser("~") + os.sep
    shown = [program] if program else []
    for argument in arguments:
        if argument.startswith(here):
            shown.append(shlex.quote(argument.removeprefix(here)))
        elif argument.startswith(home):
            # The tilde must stay outside the quotes, or no shell would see it.
            shown.append("~/" + shlex.quote(argument.removeprefix(home)))
        else:
            shown.append(shlex.quote(argument))
    return " ".join(shown)
