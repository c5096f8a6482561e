"""Figures as people read them."""

from __future__ import annotations

import math


def seconds(value: float) -> str:
    """1.2 s, 3.4 ms, 5.6 µs, 78 ns."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns")):
        if abs(value) * factor >= 1:
            return f"{digits(value * factor)} {unit}"
    return f"{digits(value * 1e9)} ns"


def size(value: float) -> str:
    """1.2 GiB, 3.4 MiB, 5.6 KiB, 78 B."""
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= factor:
            return f"{digits(value / factor)} {unit}"
    return f"{digits(value)} B"


def rate(value: float, unit: str) -> str:
    """5.9 M messages/s, 54 k messages/s."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{digits(value / factor)} {prefix} {plural(unit)}/s"
    return f"{digits(value)} {plural(unit)}/s"


def share(value: float) -> str:
    """A fraction as a percentage."""
    return f"{digits(value * 100)} %"


def times(value: float) -> str:
    """A ratio: 8.3 ×."""
    return f"{digits(value)} ×"


def digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    places = 2 - math.floor(math.log10(abs(value)))
    text = f"{round(value, places):,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plural(unit: str) -> str:
    """The plural of a unit: actors, replies, searches."""
    if unit.endswith("y") and not unit.endswith(("ay", "ey", "oy")):
        return unit[:-1] + "ies"
    return unit + ("es" if unit.endswith(("s", "ch", "sh", "x")) else "s")


def figure(metric: str, value: float) -> str:
    """A scenario's figure in the unit its metric has."""
    if metric == "bytes":
        return size(value)
    if metric == "share":
        return share(value)
    return seconds(value)
