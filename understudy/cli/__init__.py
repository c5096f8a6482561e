"""The command `understudy`."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from typing import Annotated

import typer

from understudy.cli._config import config_app
from understudy.cli._console import EXIT_ERROR, complain, complaints
from understudy.cli._lazy import LazyGroup
from understudy.cli._serve import serve
from understudy.cli._tree import tree
from understudy.storage import UnderstudyError

__all__ = ["app", "main"]

HELP = """Durable, supervised actors for Python.

Begin with a file, office.py, that makes a session host:

    import understudy as us

    class Echo(us.Agent):
        async def respond(self, message, turn):
            for word in message.text.split():
                yield word + " "

    def app(system):
        return us.SessionHost(system, agents={"echo": Echo})

and serve it:

    understudy serve office:app --reload

Then, from another terminal, look inside while it runs:

    understudy tree --watch          who is alive, doing what, how often restarted
    understudy journal tail          what was said, as it is written
    understudy config show           every setting, and where it comes from

Everything a running system keeps is in its data directory: --data-dir, else UNDERSTUDY_DATA_DIR,
else .understudy in the working directory.
"""


def kept(text: str | None) -> str:
    """A help text whose indented paragraphs are printed as they stand, as programs must be."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    # A line with a backspace alone is how the help printer is told to leave a paragraph alone.
    return "\n\n".join(
        f"\b\n{part}" if part.startswith(" ") or "\n  " in part else part for part in paragraphs
    )


app = typer.Typer(
    cls=LazyGroup,
    name="understudy",
    help=kept(HELP),
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command(help=kept(serve.__doc__))(serve)
app.command(help=kept(tree.__doc__))(tree)
app.add_typer(config_app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"understudy {version('understudy')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print it and end."),
    ] = False,
) -> None:
    """Nothing of its own: the sub-commands do the work."""


def main() -> None:
    """Run the command; an error is one line on standard error and exit code 2.

    Of a file with several mistakes each has a line.

    A traceback is shown only for what is not foreseen, or with UNDERSTUDY_TRACEBACK=1.
    """
    try:
        app(prog_name="understudy")
    except KeyboardInterrupt:
        sys.exit(130)
    except (UnderstudyError, OSError) as error:
        if os.environ.get("UNDERSTUDY_TRACEBACK"):
            traceback.print_exc()
        for line in complaints(error):
            complain(line)
        sys.exit(EXIT_ERROR)
