"""`understudy config show`: every setting, and where its value comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path  # noqa: TC003  - typer reads the annotations at run time
from typing import Annotated, Any

import typer

from understudy.actors import Config
from understudy.cli._console import read_port

config_app = typer.Typer(
    help="Look at the configuration.", no_args_is_help=True, rich_markup_mode=None
)


@config_app.callback()
def config() -> None:
    """Look at the configuration."""


@config_app.command()
def show(
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", help="TOML file; else UNDERSTUDY_CONFIG, else understudy.toml."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the data itself.")] = False,
) -> None:
    """Print every setting with its value and where the value comes from.

    A setting is taken from the TOML file, then from the environment (UNDERSTUDY_SECTION_NAME), then
    from keyword arguments in the program; the later wins. This command sees the first two.
    """
    loaded = Config.load(file)
    settings = list(rows(loaded))
    if as_json:
        found = {name: {"value": value, "origin": origin} for name, value, origin in settings}
        print(json.dumps(found, ensure_ascii=False, default=str, indent=2))
        return
    shown = [(name, _shown(value), origin) for name, value, origin in settings]
    name_width = max(len(name) for name, _, _ in shown)
    value_width = min(40, max(len(value) for _, value, _ in shown))
    for name, value, origin in shown:
        print(f"{name.ljust(name_width)}  {value.ljust(value_width)}  {origin}".rstrip())


def rows(loaded: Config) -> list[tuple[str, Any, str]]:
    """Name, value and origin of every setting, as `understudy serve` would find them."""
    found = list(loaded.items())
    port = os.environ.get("PORT")
    if not port:
        return found
    return [
        (name, read_port(port), "environment PORT")
        if name == "gateway.port"
        else (name, value, origin)
        for name, value, origin in found
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value == "":
        return '""'
    return "-" if value is None else str(value)
