"""Times and durations as people type them."""

from __future__ import annotations

import datetime as dt
import re

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def duration(text: str) -> dt.timedelta:
    """A length of time: "90s", "30m", "1.5h", "7d" or "2w"."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration: write 90s, 30m, 12h, 7d or 2w")
    return dt.timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def moment(text: str, now: dt.datetime | None = None) -> dt.datetime:
    """An aware time: a duration means so long ago, a time without a zone is local time."""
    if _DURATION.fullmatch(text.strip().lower()):
        return (now or dt.datetime.now(dt.UTC)) - duration(text)
    try:
        parsed = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time: write 2026-01-31, 2026-01-31T09:30:00+01:00, "
            "or a duration ago as 30m, 12h, 7d"
        ) from None
    return parsed.astimezone(dt.UTC)
