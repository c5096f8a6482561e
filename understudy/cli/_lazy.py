"""Sub-commands imported when they are used, so that the command starts at once."""

from __future__ import annotations

import importlib
import sys
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperGroup

from understudy.cli._console import nobody_reads


class Elsewhere(NamedTuple):
    """A group of commands in a module that is imported when one of them is wanted."""

    module: str
    help: str


class LazyGroup(TyperGroup):
    """The root command: what it has itself, then what other rooms bring."""

    elsewhere: ClassVar[dict[str, Elsewhere]] = {
        "journal": Elsewhere(
            "understudy.cli._journal",
            "Look into a journal and care for it: ls, tail, replay, stats, export, backup, "
            "verify, prune.",
        ),
        "storage": Elsewhere(
            "understudy.cli._storage", "Move a store from one adapter or version to another."
        ),
        "bench": Elsewhere(
            "understudy.benchmarks.cli", "Run the benchmarks against the peers that are installed."
        ),
    }

    def invoke(self, ctx: Any) -> Any:
        """Run what was asked for; a reader that has enough, as `head`, is a good end."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            if not nobody_reads():
                raise
            return ctx.exit(0)
        return result

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, ours first."""
        return [*super().list_commands(ctx), *self.elsewhere]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, imported if it lives elsewhere."""
        found = super().get_command(ctx, cmd_name)
        if found is not None or cmd_name not in self.elsewhere:
            return found
        place = self.elsewhere[cmd_name]
        # While the root's own help is printed only the first line is needed, not the module.
        if ctx.resilient_parsing or getattr(ctx, "listing", False):
            return _placeholder(cmd_name, place)
        group: typer.Typer = importlib.import_module(place.module).app
        command = typer.main.get_command(group)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help without importing what lives elsewhere."""
        ctx.listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            ctx.listing = False


def _placeholder(name: str, place: Elsewhere) -> Any:
    group = typer.Typer(help=place.help)

    @group.callback()
    def nothing() -> None: ...

    command = typer.main.get_command(group)
    command.name = name
    return command
