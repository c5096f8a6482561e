"""Reports: Markdown, HTML and plots from a results file alone."""

from __future__ import annotations

import io
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from understudy.benchmarks import Measurement, _plots, _progress, plan, report
from understudy.benchmarks._runner import Options


@pytest.fixture
def results(make):
    found = make({
        ("kernel/tell", "understudy"): [1e-7, 1.1e-7], ("kernel/tell", "pykka"): [1e-6, 1.1e-6],
        ("savina/fib", "understudy"): [0.1, 0.1], ("savina/fib", "pykka"): [0.9, 1.0],
        ("savina/fib", "asyncio"): [0.2, 0.3],
        ("kernel/scale", "understudy"): [],
    })  # fmt: skip
    for point in (1_000, 10_000):
        found.add(Measurement("kernel/scale", "understudy", 0, point, 1e-6,
                              figures={"extra": {"series": {"tell": 1e-6 * point, "bytes": 900.0}}}))  # fmt: skip
    found.add(Measurement("kernel/tell", "xoscar", 0, cause="a <hang> | here"))
    return found


def test_a_report_holds_figures_ratios_goals_and_what_failed(results, tmp_path):
    written = report.write(results, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert {p.name for p in written} == {
        "report.md", "report.html", "kernel-bars.svg", "kernel-latency.svg", "kernel-scale.svg",
        "savina-bars.svg", "savina-latency.svg",
    }  # fmt: skip
    assert "| tell, in a system | ≥ 7 × Pykka | 10 × Pykka | met |" in text
    assert "10 × (10 – 10)" in text
    assert "a <hang> \\| here" in text
    assert "![Bars per scenario and library, kernel suite](plots/kernel-bars.svg)" in text
    assert "without Ray: ray is not installed (pip install ray)" in text
    assert "| kernel/scale tell | Understudy | 1 ms | 10 ms | 1.00 |" in text


def test_the_page_is_well_formed_and_escapes_what_libraries_say(results, tmp_path):
    report.write(results, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a &lt;hang&gt; | here" in text
    assert '<td class="met">met</td>' in text
    open_tags = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in {"meta", "img"}:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(text)
    assert open_tags == []


def test_pictures_are_svg_and_the_same_results_give_the_same_file(results, tmp_path):
    first, second = (_plots.draw(results, tmp_path / name) for name in ("a", "b"))
    assert first == second
    for name in (n for names in first.values() for n in names):
        one = (tmp_path / "a" / name).read_bytes()
        assert ET.fromstring(one).tag.endswith("svg")
        assert one == (tmp_path / "b" / name).read_bytes()


def test_without_matplotlib_there_is_a_report_without_pictures(results, tmp_path, monkeypatch):
    monkeypatch.setattr(_plots, "available", lambda: False)
    written = report.write(results, tmp_path)
    assert [p.name for p in written] == ["report.md", "report.html"]
    assert "![" not in written[0].read_text(encoding="utf-8")


def test_plain_lines_say_what_is_measured_and_what_is_missing(results, chosen):
    out = io.StringIO()
    watcher = _progress.PlainWatcher(out)
    steps, _ = plan(chosen("sum"), Options(rounds=1))
    results.run["interrupted"] = True
    watcher.began(results, steps)
    for step in steps:
        watcher.taking(step)
    watcher.took(steps[0], Measurement("sample/sum", "loop", 0, None, 2e-8))
    watcher.took(steps[1], Measurement("sample/sum", "builtin", 0, cause="it broke"))
    watcher.finished(results)
    lines = out.getvalue().splitlines()
    assert lines[0] == "without Ray: ray is not installed (pip install ray)"
    assert lines[2] == "[1/2] sample/sum · loop: 20 ns (50 M numbers/s)"
    assert lines[3] == "[2/2] sample/sum · builtin: DNF: it broke"
    assert lines[4].startswith("interrupted")


def test_a_terminal_gets_a_bar_and_keeps_failures_in_sight(results, chosen):
    from rich.console import Console

    out = io.StringIO()
    watcher = _progress.BarWatcher()
    watcher._console = Console(file=out, force_terminal=True, width=100)
    steps, _ = plan(chosen("curve"), Options(rounds=1))
    results.run["interrupted"] = True
    watcher.began(results, steps)
    watcher.taking(steps[0])
    watcher.took(steps[0], Measurement("sample/curve", "list", 0, 10, cause="it broke"))
    watcher.finished(results)
    assert "sample/curve at 10 · list: DNF: it broke" in out.getvalue()
    assert "interrupted" in out.getvalue()


@pytest.mark.parametrize(("terminal", "kind"), [(True, "BarWatcher"), (False, "PlainWatcher")])
def test_the_bar_is_for_terminals_only(monkeypatch, terminal, kind):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert type(_progress.watcher()).__name__ == kind
