"""Results as tables: rows of text that the terminal, Markdown and HTML share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.benchmarks import _units
from understudy.benchmarks._libraries import title
from understudy.benchmarks._statistics import slope

if TYPE_CHECKING:
    from understudy.benchmarks._results import Ratio, Results


@dataclass
class Table:
    """A heading, column names, rows, and what must be said below."""

    heading: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def subject(results: Results, scenario: str) -> str:
    """The library that a scenario's ratios are about: ours, else the first that has a figure."""
    peers = [p for p in results.scenarios[scenario]["peers"] if p in results.peers(scenario)]
    if "understudy" in peers:
        return "understudy"
    return peers[0] if peers else ""


def summary(results: Results, suite: str) -> Table:
    """One row per scenario and library: figure, rounds, ratio of ours to it, tail, memory, CPU."""
    table = Table(
        suite,
        ["scenario", "library", "median", "min – max", _better(results, suite), "p99",
         "CPU per item"],
    )  # fmt: skip
    wide = 0
    for name, facts in results.scenarios.items():
        if facts["suite"] != suite or results.points(name):
            continue
        first = subject(results, name)
        for peer in results.peers(name):
            row = _row(results, name, peer, first)
            wide += "~" in row[4]
            table.rows.append(row)
    if wide:
        table.notes.append(
            f"~ marks {wide} ratios whose rounds lie more than half apart: the machine was too "
            "noisy for them to mean much. Take more rounds on a quieter machine."
        )
    return table


def _better(results: Results, suite: str) -> str:
    """Heading of the ratios: whose they are."""
    names = [n for n, f in results.scenarios.items() if f["suite"] == suite]
    ours = all(subject(results, n) in {"understudy", ""} for n in names)
    return "ours is better by" if ours else "the first is better by"


def _row(results: Results, name: str, peer: str, first: str) -> list[str]:
    facts = results.scenarios[name]
    found = results.value(name, peer)
    if found is None:
        return [name, title(peer), "DNF", str(results.cause(name, peer)), "", "", ""]
    metric = facts["metric"]
    tail = results.figure(name, peer, "latency", "0.99")
    cpu = results.per_item(name, peer, "cpu") if metric in {"time", "median"} else None
    return [
        name,
        title(peer),
        _units.figure(metric, found.median),
        f"{_units.figure(metric, found.low)} – {_units.figure(metric, found.high)}",
        "" if peer == first else ratio_text(results.ratio(name, first, peer)),
        _units.seconds(tail.median) if tail else "",
        _units.seconds(cpu.median) if cpu else "",
    ]


def ratio_text(ratio: Ratio | None) -> str:
    """A ratio with its rounds' range, and a mark where the range is too wide."""
    if ratio is None:
        return ""
    mark = " ~" if ratio.meaningless else ""
    if ratio.n < 2:
        return f"{_units.times(ratio.median)} (1 round)"
    low, high = _units.digits(ratio.low), _units.digits(ratio.high)
    return f"{_units.times(ratio.median)} ({low} – {high}){mark}"


def latencies(results: Results, suite: str) -> Table:
    """The tail of every scenario whose single latencies were recorded."""
    table = Table(f"{suite}: latency", ["scenario", "library", "p50", "p90", "p99", "p99.9", "max"])
    for name, facts in results.scenarios.items():
        if facts["suite"] != suite:
            continue
        for peer in results.peers(name):
            cells = [
                results.figure(name, peer, "latency", q)
                for q in ("0.5", "0.9", "0.99", "0.999", "1.0")
            ]
            if all(cells):
                table.rows.append(
                    [name, title(peer), *(_units.seconds(c.median) for c in cells if c)]
                )
    return table


RESOURCES = (
    "Differences between before and after, divided by the items: memory that is used again and "
    "again counts once, and a library that measures itself elsewhere has no row."
)


def resources(results: Results, suite: str) -> Table:
    """What one item took: CPU, resident memory, allocations that were still alive at the end."""
    table = Table(
        f"{suite}: resources for one item",
        ["scenario", "library", "CPU", "resident memory", "live allocations"],
        notes=[RESOURCES],
    )
    for name, facts in results.scenarios.items():
        if facts["suite"] != suite or results.points(name):
            continue
        for peer in results.peers(name):
            cpu, rss, blocks = (results.per_item(name, peer, k) for k in ("cpu", "rss", "blocks"))
            if cpu is not None and rss is not None and blocks is not None:
                table.rows.append([
                    name,
                    title(peer),
                    _units.seconds(cpu.median),
                    _units.size(rss.median),
                    _units.digits(blocks.median),
                ])  # fmt: skip
    return table


def curves(results: Results, suite: str) -> Table | None:
    """Scale curves: the figure at each size and the slope of the power law through them."""
    names = [n for n, f in results.scenarios.items() if f["suite"] == suite and results.points(n)]
    if not names:
        return None
    points = sorted({p for n in names for p in results.points(n)})
    table = Table(
        f"{suite}: scale",
        ["scenario", "library", *(f"{p:,}" for p in points), "slope"],
        notes=["slope: the cost grows as the size to this power; 0 means that it does not grow."],
    )
    for name in names:
        for peer in results.peers(name):
            for series in series_of(results, name, peer):
                cells = dict(curve(results, name, peer, series))
                metric = "bytes" if series == "bytes" else results.scenarios[name]["metric"]
                bent = slope(cells.items())
                table.rows.append([
                    f"{name} {series}".strip(),
                    title(peer),
                    *(_units.figure(metric, cells[p]) if p in cells else "" for p in points),
                    "" if bent is None else f"{bent:.2f}",
                ])  # fmt: skip
    return table


def series_of(results: Results, name: str, peer: str) -> list[str]:
    """Names of the series in a curve's extra figures; one empty name when there are none."""
    for point in results.points(name):
        for m in results.of(name, peer, point):
            if m.figures.get("extra", {}).get("series"):
                return list(m.figures["extra"]["series"])
    return [""]


def curve(results: Results, name: str, peer: str, series: str = "") -> list[tuple[int, float]]:
    """Points of one curve, as (size, median)."""
    found = []
    for point in results.points(name):
        value = (
            results.figure(name, peer, "extra", "series", series, point=point)
            if series
            else results.value(name, peer, point)
        )
        if value is not None:
            found.append((point, value.median))
    return found


def savina(results: Results) -> Table | None:
    """The thirty benchmarks in one table: sizes used, messages, time on each library."""
    names = [n for n, f in results.scenarios.items() if f["suite"] == "savina"]
    names = [n for n in names if results.peers(n)]
    if not names:
        return None
    peers = list(dict.fromkeys(p for n in names for p in results.peers(n)))
    order: list[str] = [p for p in ("understudy", "pykka", "asyncio") if p in peers]
    order += [p for p in peers if p not in order]
    table = Table(
        "savina",
        ["benchmark", "sizes used", "messages", *(title(p) for p in order),
         *(f"ours is better than {title(p)} by" for p in order if p != "understudy")],
    )  # fmt: skip
    for name in names:
        extra: dict[str, Any] = next(
            (m.figures["extra"] for p in order for m in results.of(name, p)
             if m.value is not None and "extra" in m.figures), {},
        )  # fmt: skip
        sizes = ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}"
                          for k, v in extra.get("sizes", {}).items())  # fmt: skip
        cells = []
        for peer in order:
            found = results.value(name, peer)
            cause = results.cause(name, peer)
            took = _units.seconds(found.median) if found else f"DNF: {cause}"
            cells.append(", ".join([took, *_counted(results, name, peer)]))
        ratios = [
            ratio_text(results.ratio(name, "understudy", p)) for p in order if p != "understudy"
        ]
        messages = f"{extra['messages']:,}" if "messages" in extra else ""
        label = results.scenarios[name]["title"]
        table.rows.append([label, sizes, messages, *cells, *ratios])
    return table


def _counted(results: Results, name: str, peer: str) -> list[str]:
    """Counts that the schedule decides, such as attempts in vain: the median over the rounds."""
    names = dict.fromkeys(
        key for m in results.of(name, peer) for key in m.figures.get("extra", {}).get("counted", {})
    )
    found = [(key, results.figure(name, peer, "extra", "counted", key)) for key in names]
    return [f"{round(spread.median):,} {key}" for key, spread in found if spread]


def suite_tables(results: Results, suite: str, *, whole: bool = True) -> list[Table]:
    """All tables of a suite that have a row; without the resources where not `whole`."""
    if suite == "savina":
        found: list[Table | None] = [savina(results)]
    else:
        found = [
            summary(results, suite),
            latencies(results, suite),
            resources(results, suite) if whole else None,
            curves(results, suite),
        ]
    return [t for t in found if t is not None and t.rows]
