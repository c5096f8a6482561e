"""Pictures of a run: bars per scenario and library, latency curves, scale curves."""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import TYPE_CHECKING, Any

from understudy.benchmarks import _tables, _units
from understudy.benchmarks._libraries import title
from understudy.benchmarks._statistics import QUANTILES, slope

if TYPE_CHECKING:
    from pathlib import Path

    from understudy.benchmarks._results import Results

# Ours in one strong colour, the others told apart but quiet; the same in every picture.
COLOURS = {
    "understudy": "#c2410c",
    "standalone": "#f59e0b",
    "pipelined": "#ea580c",
    "relaxed": "#fdba74",
    "synchronous": "#fb923c",
    "raw": "#111827",
    "pykka": "#2563eb",
    "asyncio": "#0f766e",
    "uvloop": "#14b8a6",
    "thespian": "#7c3aed",
    "xoscar": "#a78bfa",
    "ray": "#0891b2",
    "otp": "#be123c",
    "sqlite": "#1d4ed8",
    "eventsourcing": "#7e22ce",
    "eventsourcing-app": "#a855f7",
    "rocksdict": "#047857",
    "postgres": "#0369a1",
    "redis": "#b91c1c",
    "file": "#6b7280",
}
QUIET = "#6b7280"
STYLE = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#4b5563",
    "ytick.color": "#111827",
    "figure.facecolor": "white",
    "svg.hashsalt": "understudy",
    "savefig.bbox": "tight",
}


def available() -> bool:
    """Whether matplotlib is here."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(results: Results, folder: Path) -> dict[str, list[str]]:
    """Draw all pictures a run gives rise to; their file names by suite."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, list[str]] = {}
    with pyplot.rc_context(STYLE):
        for suite in dict.fromkeys(f["suite"] for f in results.scenarios.values()):
            for kind, painter in (
                ("bars", _savina if suite == "savina" else _bars),
                ("latency", _latency),
                ("scale", _scale),
            ):
                figure = painter(pyplot, results, suite)
                if figure is None:
                    continue
                name = f"{suite}-{kind}.svg"
                # Without a date: the same results give the same file.
                figure.savefig(folder / name, metadata={"Date": None})
                pyplot.close(figure)
                drawn.setdefault(suite, []).append(name)
    return drawn


def colour(peer: str) -> str:
    """The colour of a library."""
    return COLOURS.get(peer, QUIET)


def _grid(pyplot: Any, heights: list[float]) -> tuple[Any, list[Any]]:
    """Panels of these heights in inches, three to a row; a row is as high as its highest."""
    count = len(heights)
    columns = min(3, count)
    rows = [max(heights[i : i + columns]) for i in range(0, count, columns)]
    figure, axes = pyplot.subplots(
        len(rows),
        columns,
        figsize=(4.6 * columns, sum(rows) + 0.4),
        squeeze=False,
        height_ratios=rows,
    )
    flat = [axis for row in axes for axis in row]
    for axis in flat[count:]:
        axis.set_visible(False)
    return figure, flat[:count]


def _bars(pyplot: Any, results: Results, suite: str) -> Any:
    """One small picture a scenario, one bar a library, shortest on top; lines show min to max."""
    panels = []
    for name, facts in results.scenarios.items():
        if facts["suite"] != suite or results.points(name):
            continue
        found = [(p, s) for p in results.peers(name) if (s := results.value(name, p))]
        found = [(p, s) for p, s in found if s.low > 0]
        # A single bar compares nothing; its figure stands in the table.
        if len(found) > 1:
            panels.append((name, facts, sorted(found, key=lambda each: each[1].median)))
    if not panels:
        return None
    counts = [len(found) for _, _, found in panels]
    figure, axes = _grid(pyplot, [0.6 + 0.27 * count for count in counts])
    for number, (axis, (_, facts, found)) in enumerate(zip(axes, panels, strict=True)):
        row = number // 3 * 3
        tallest = max(counts[row : row + 3])
        low = min(s.low for _, s in found)
        high = max(s.high for _, s in found)
        floor = low / 3
        for place, (peer, s) in enumerate(reversed(found)):
            axis.barh(place, s.median - floor, left=floor, color=colour(peer), height=0.62)
            axis.plot([s.low, s.high], [place, place], color="#111827", linewidth=1)
            text = _units.figure(facts["metric"], s.median)
            axis.text(s.high * 1.15, place, text, va="center", fontsize=9, color="#111827")
        # Bars are equally thick in all panels, and start at the top.
        axis.set_ylim(len(found) - tallest - 0.6, len(found) - 0.4)
        axis.set_xscale("log")
        axis.set_xlim(floor, max(high, low * 3) * 12)
        axis.set_yticks(range(len(found)), [title(p) for p, _ in reversed(found)], fontsize=8.5)
        axis.get_xaxis().set_visible(False)
        axis.spines["bottom"].set_visible(False)
        axis.set_title(facts["title"], fontsize=10)
    figure.suptitle(
        f"{suite}: shorter is better (logarithmic; black lines from the fastest round to the "
        "slowest)",
        x=0.01, ha="left", fontsize=12,
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    return figure


def _latency(pyplot: Any, results: Results, suite: str) -> Any:
    """Latency over the share of calls that were faster, towards the tail."""
    panels = []
    for name, facts in results.scenarios.items():
        if facts["suite"] != suite or results.points(name):
            continue
        lines = []
        for peer in results.peers(name):
            curve = [
                (q, s.median)
                for q in QUANTILES
                if 0 < q < 1 and (s := results.figure(name, peer, "latency", str(q)))
            ]
            if curve:
                lines.append((peer, curve))
        if lines:
            panels.append((facts, lines))
    if not panels:
        return None
    figure, axes = _grid(pyplot, [3.2] * len(panels))
    for axis, (facts, lines) in zip(axes, panels, strict=True):
        for peer, curve in lines:
            nines = [-math.log10(1 - q) for q, _ in curve]
            axis.plot(
                nines, [v for _, v in curve], color=colour(peer), label=title(peer),
                linewidth=2.2 if peer == "understudy" else 1.4,
            )  # fmt: skip
        axis.set_yscale("log")
        axis.set_xticks(
            [0.301, 1, 2, 3, 4], ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"], fontsize=8.5
        )
        axis.yaxis.set_major_formatter(lambda v, _: _units.seconds(v))
        axis.yaxis.set_minor_formatter(lambda _v, _p: "")
        axis.grid(axis="y", color="#e5e7eb")
        axis.set_axisbelow(True)
        axis.set_title(facts["title"], fontsize=10)
        axis.legend(fontsize=7.5, frameon=False, loc="upper left")
    figure.suptitle(
        f"{suite}: latency that this share of calls stays below", x=0.01, ha="left", fontsize=12
    )
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    return figure


def _scale(pyplot: Any, results: Results, suite: str) -> Any:
    """Cost per item over the number of items, with the slope of each curve."""
    panels = []
    for name, facts in results.scenarios.items():
        if facts["suite"] != suite or not results.points(name):
            continue
        lines = []
        for peer in results.peers(name):
            for series in _tables.series_of(results, name, peer):
                curve = _tables.curve(results, name, peer, series)
                curve = [(x, y) for x, y in curve if y > 0]
                if len(curve) > 1:
                    lines.append((peer, series, curve))
        times = [line for line in lines if line[1] != "bytes"]
        if times:
            panels.append((facts["title"], facts["metric"], times))
        sizes = [line for line in lines if line[1] == "bytes"]
        if sizes:
            panels.append((f"{facts['title']}: memory", "bytes", sizes))
    if not panels:
        return None
    figure, axes = _grid(pyplot, [3.4] * len(panels))
    tones = ["#c2410c", "#2563eb", "#0f766e", "#7c3aed"]
    for axis, (heading, metric, lines) in zip(axes, panels, strict=True):
        for place, (peer, series, curve) in enumerate(lines):
            bent = slope(curve)
            label = f"{series or title(peer)} (slope {bent:.2f})"
            axis.plot(
                [x for x, _ in curve], [y for _, y in curve], marker="o", markersize=4,
                color=tones[place % len(tones)], label=label,
            )  # fmt: skip
        axis.set_xscale("log")
        axis.set_yscale("log")
        values = [y for _, _, curve in lines for _, y in curve]
        axis.set_ylim(min(values) / 3, max(values) * 6)
        axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
        axis.yaxis.set_major_formatter(lambda v, _, m=metric: _units.figure(m, v))
        axis.yaxis.set_minor_formatter(lambda _v, _p: "")
        axis.grid(color="#e5e7eb")
        axis.set_axisbelow(True)
        axis.set_title(heading, fontsize=10)
        axis.legend(fontsize=8, frameon=False)
    figure.suptitle(f"{suite}: cost per item as the number grows", x=0.01, ha="left", fontsize=12)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    return figure


def _savina(pyplot: Any, results: Results, suite: str) -> Any:
    """How many times faster ours finishes each benchmark, beside each other library."""
    names = [n for n, f in results.scenarios.items() if f["suite"] == suite]
    others = list(dict.fromkeys(p for n in names for p in results.peers(n) if p != "understudy"))
    rows = [
        (results.scenarios[n]["title"], {p: results.ratio(n, "understudy", p) for p in others})
        for n in names
    ]
    rows = [(name, ratios) for name, ratios in rows if any(ratios.values())]
    if not rows:
        return None
    figure, axis = pyplot.subplots(figsize=(9.5, 0.33 * len(rows) + 1.2))
    height = 0.8 / len(others)
    for place, (_, ratios) in enumerate(reversed(rows)):
        for i, peer in enumerate(others):
            ratio = ratios[peer]
            if ratio is None:
                continue
            at = place + 0.4 - (i + 0.5) * height
            axis.barh(
                at, ratio.median - 1, left=1, height=height * 0.9, color=colour(peer),
                label=f"beside {title(peer)}" if place == 0 else None,
            )  # fmt: skip
            axis.text(
                max(ratio.median, 1) * 1.04, at, _units.times(ratio.median), va="center",
                fontsize=7.5,
            )  # fmt: skip
    axis.set_xscale("log")
    axis.axvline(1, color="#111827", linewidth=1)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)], fontsize=9)
    axis.xaxis.set_major_formatter(lambda v, _: f"{v:g} ×")
    axis.xaxis.set_minor_formatter(lambda _v, _p: "")
    axis.set_title("Savina: how many times faster Understudy finishes (logarithmic)")
    axis.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    return figure
