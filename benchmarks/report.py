"""The report of a run: Markdown and HTML with plots, made from its results file alone."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.benchmarks import _goals, _plots, _units
from understudy.benchmarks._progress import absent_lines
from understudy.benchmarks._tables import Table, suite_tables

if TYPE_CHECKING:
    from understudy.benchmarks._results import Results

HEADINGS = {
    "kernel": "Kernel: messages, lives, memory",
    "supervision": "Supervision: crashes and freezes",
    "journal": "Journal: what durability costs",
    "sessions": "Sessions: what a durable conversation adds",
    "savina": "Savina: the thirty benchmarks of the field's suite",
}
ALT = {
    "bars": "Bars per scenario and library",
    "latency": "Latency curves",
    "scale": "Scale curves",
}


def write(results: Results, folder: str | Path) -> list[Path]:
    """Write `report.md`, `report.html` and, where matplotlib is installed, the plots.

    Args:
        results: a run.
        folder: where to; plots go into its `plots/`.

    Returns:
        the files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _plots.draw(results, folder / "plots") if _plots.available() else {}
    sections = _sections(results, drawn)
    written = [folder / "report.md", folder / "report.html"]
    written[0].write_text(_markdown(results, sections), encoding="utf-8")
    written[1].write_text(_html(results, sections), encoding="utf-8")
    return written + [folder / "plots" / name for names in drawn.values() for name in names]


class Section:
    """One heading with pictures, tables and explanations."""

    def __init__(
        self,
        heading: str,
        tables: list[Table],
        plots: list[str] | None = None,
        terms: list[tuple[str, str]] | None = None,
    ) -> None:
        self.heading = heading
        self.tables = tables
        self.plots = plots or []
        self.terms = terms or []


def _sections(results: Results, drawn: dict[str, list[str]]) -> list[Section]:
    goals = [g for g in _goals.GOALS if g.figure(results) is not None]
    sections = []
    if goals:
        # A run of some suites only is not held against goals it could not measure.
        whole = set(HEADINGS) <= {f["suite"] for f in results.scenarios.values()}
        sections.append(
            Section("Goals", [_goals.table(results, _goals.GOALS if whole else tuple(goals))])
        )
    for suite in dict.fromkeys(f["suite"] for f in results.scenarios.values()):
        terms = [
            (f["title"], f["doc"])
            for f in results.scenarios.values()
            if f["suite"] == suite and f["doc"] and suite != "savina"
        ]
        sections.append(
            Section(
                HEADINGS.get(suite, suite), suite_tables(results, suite), drawn.get(suite), terms
            )
        )
    failures = results.failures()
    if failures:
        table = Table("did not finish", ["scenario", "library", "cause"])
        table.rows = [[m.scenario, m.peer, m.cause or ""] for m in failures]
        sections.append(Section("Did not finish", [table]))
    return sections


def facts(results: Results) -> list[tuple[str, str]]:
    """Where and how the run took place."""
    run, machine = results.run, results.machine
    found: list[tuple[str, Any]] = [
        ("command", run.get("command")),
        ("started", run.get("started")),
        ("took", _units.seconds(run["seconds"]) if "seconds" in run else None),
        ("rounds", run.get("rounds")),
        ("kind", "quick" if run.get("quick") else "full"),
        ("interrupted", "yes: not everything was measured" if run.get("interrupted") else None),
        ("left out", _left_out(run.get("left_out"))),
        ("revision", run.get("revision")),
        ("processor", f"{machine.get('processor')}, {machine.get('cores')} cores"),
        ("memory", _units.size(machine["memory"]) if machine.get("memory") else None),
        ("system", f"{machine.get('system')}, {machine.get('python')}"),
        ("disk", machine.get("disk")),
        ("pinned to cores", ", ".join(map(str, run.get("pin", []))) or "none"),
        ("load", f"{machine.get('load_before')} before, {machine.get('load_after')} after"),
        ("noise (a short loop, 10th to 90th percentile)", _noise(machine)),
        ("versions", ", ".join(f"{k} {v}" for k, v in run.get("versions", {}).items())),
    ]
    return [(key, str(value)) for key, value in found if value is not None]


def _left_out(count: int | None) -> str | None:
    return f"{count} measurements of the last rounds, for lack of time" if count else None


def _noise(machine: dict[str, Any]) -> str:
    before, after = machine.get("noise_before"), machine.get("noise_after")
    return f"{_units.share(before or 0)} before, {_units.share(after or 0)} after"


INTRODUCTION = (
    "Every measurement was taken in a process of its own, in interleaved rounds; figures are "
    "medians over the rounds, ratios are formed inside each round of this run. How to read them, "
    "and what they do not show, is told in [reading.md](reading.md)."
)


AGAIN = (
    "To make this report again: `understudy bench report DIR`, where DIR holds results.json; to "
    "measure again: the command above."
)


def _markdown(results: Results, sections: list[Section]) -> str:
    out = ["# Benchmarks", "", INTRODUCTION, ""]
    out += [f"- {key}: {value}" for key, value in facts(results)]
    out += [f"- {line}" for line in absent_lines(results.absent)]
    out += ["", AGAIN, ""]
    for section in sections:
        out += [f"## {section.heading}", ""]
        for plot in section.plots:
            out += [f"![{_alt(plot)}](plots/{plot})", ""]
        for table in section.tables:
            out += _markdown_table(table)
        for term, text in section.terms:
            out += [f"- **{term}**: {' '.join(text.split())}"]
        out += [""]
    return "\n".join(out).rstrip() + "\n"


def _alt(plot: str) -> str:
    suite, _, kind = plot.removesuffix(".svg").rpartition("-")
    return f"{ALT[kind]}, {suite} suite"


def _markdown_table(table: Table) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows]
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in cells]
    return [*lines, "", *table.notes, ""] if table.notes else [*lines, ""]


CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #111827; max-width: 1180px;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.9rem; } h2 { margin-top: 2.5rem; border-bottom: 2px solid #c2410c; }
img { max-width: 100%; margin: 1rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0;
        font-variant-numeric: tabular-nums; }
th { text-align: left; border-bottom: 1px solid #9ca3af; }
td, th { padding: .25rem .7rem; vertical-align: top; }
tr:nth-child(even) td { background: #f9fafb; }
td.met { color: #15803d; font-weight: 600; } td.missed { color: #b91c1c; font-weight: 600; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 0; } dl.facts { display: grid;
  grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dl.facts dd { margin: 0; }
.note { color: #4b5563; }
"""


def _html(results: Results, sections: list[Section]) -> str:
    escape = html.escape
    introduction = escape(INTRODUCTION).replace(
        "[reading.md](reading.md)", '<a href="reading.md">reading.md</a>'
    )
    out = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Understudy benchmarks</title><style>{CSS}</style></head><body>",
        f"<h1>Benchmarks</h1><p>{introduction}</p>",
        '<dl class="facts">',
        *(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts(results)),
        "</dl>",
        *(f'<p class="note">{escape(line)}</p>' for line in absent_lines(results.absent)),
    ]
    for section in sections:
        out.append(f"<h2>{escape(section.heading)}</h2>")
        out += [
            f'<img src="plots/{escape(plot)}" alt="{escape(_alt(plot))}">' for plot in section.plots
        ]
        out += [_html_table(table) for table in section.tables]
        if section.terms:
            terms = "".join(
                f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in section.terms
            )
            out.append(f"<dl>{terms}</dl>")
    out.append("</body></html>")
    return "\n".join(out) + "\n"


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = []
    for row in table.rows:
        cells = "".join(f"<td{_mark(cell)}>{html.escape(cell)}</td>" for cell in row)
        rows.append(f"<tr>{cells}</tr>")
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in table.notes)
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="wide"><table>{body}</table></div>{notes}'


def _mark(cell: str) -> str:
    if cell == "met":
        return ' class="met"'
    if cell == "missed" or cell.startswith("missed by"):
        return ' class="missed"'
    return ""
