"""The command, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from understudy.benchmarks import Measurement, Results, _runner, cli

SAMPLE = str(Path(__file__).with_name("sample.py"))


@pytest.fixture
def bench():
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


@pytest.fixture(autouse=True)
def _no_nursery(monkeypatch):
    """These tests fake what would be forked."""
    monkeypatch.setattr(_runner, "_nursery_possible", lambda: False)


@pytest.fixture
def faked(monkeypatch):
    """Measurements without child processes."""

    def fake(step, options, nursery):
        value = {"loop": 4e-8, "builtin": 1e-8}.get(step.peer, 1e-6)
        return Measurement(step.scenario.name, step.peer, step.round, step.point, value,
                           figures={"items": 1, "wall": value, "cpu": value})  # fmt: skip

    monkeypatch.setattr(_runner, "take", fake)


@pytest.mark.usefixtures("faked")
def test_a_suite_name_alone_runs_it_and_prints_a_table(bench):
    found = bench("sample", "--load", SAMPLE, "--scenario", "sum", "--rounds", "1")
    assert found.exit_code == 0, found.output
    assert "sample/sum  loop" in found.stdout
    assert "0.25 × (1 round)" in found.stdout


@pytest.mark.usefixtures("faked")
def test_json_goes_to_stdout_and_nothing_else_does(bench):
    found = bench("sample", "--scenario", "sum", "--rounds", "2", "--json")
    assert len(json.loads(found.stdout)["measurements"]) == 4


@pytest.mark.usefixtures("faked")
def test_out_leaves_results_and_a_report_which_can_be_made_again(bench, tmp_path):
    out = tmp_path / "out"
    assert bench("sample", "--scenario", "sum", "--rounds", "1", "--out", str(out)).exit_code == 0
    assert Results.load(out).measurements
    (out / "report.md").unlink()
    assert bench("report", str(out)).exit_code == 0
    assert (out / "report.md").exists()


@pytest.mark.usefixtures("faked")
def test_two_runs_can_be_compared(bench, tmp_path):
    for name in ("a", "b"):
        bench("sample", "--scenario", "sum", "--rounds", "1", "--out", str(tmp_path / name))
    found = bench("compare", str(tmp_path / "a"), str(tmp_path / "b" / "results.json"))
    assert found.exit_code == 0
    assert "sample/sum" in found.stdout
    assert "+0 %" in found.stdout


@pytest.fixture
def committed(make, tmp_path):
    """A run in which ours was nine times faster than Pykka and three times than the queues."""
    path = tmp_path / "r.json"
    make({
        ("kernel/tell", "understudy"): [1.0, 1.1, 0.9], ("kernel/tell", "pykka"): [9.0] * 3,
        ("kernel/tell", "asyncio"): [3.0] * 3,
    }).save(path)  # fmt: skip
    return str(path)


@pytest.fixture
def measured(monkeypatch):
    """Measurements that give these figures, by library; a list gives one for each run."""

    def begin(**figures):
        runs = []
        real = _runner.run

        def counted(scenarios, options, watcher, **more):
            runs.append(options)
            return real(scenarios, options, watcher, **more)

        def fake(step, options, nursery):
            value = figures.get(step.peer, 1.0)
            if isinstance(value, list):
                value = value[len(runs) - 1]
            return Measurement(step.scenario.name, step.peer, step.round, step.point, value,
                               figures={"items": 1, "wall": value, "cpu": value})  # fmt: skip

        monkeypatch.setattr(_runner, "run", counted)
        monkeypatch.setattr(_runner, "take", fake)
        return runs

    return begin


def test_check_finds_nothing_where_nothing_became_slower(bench, committed, measured):
    runs = measured(understudy=1.0, pykka=9.0, asyncio=3.0)
    found = bench("check", "--against", committed)
    assert found.exit_code == 0, found.output
    assert "2 ratios of 1 scenarios compared" in found.stdout
    assert "fell by more than the noise: none" in found.stdout
    assert len(runs) == 1


def test_check_measures_a_fall_again_with_the_committed_sizes_and_lists_it(
    bench, committed, measured
):
    runs = measured(understudy=2.0, pykka=9.0, asyncio=3.0)
    found = bench("check", "--against", committed)
    assert found.exit_code == 0, found.output
    assert "fell by more than the noise: kernel/tell" in found.stdout
    assert "-50 %" in found.stdout
    assert [(o.quick, o.turns) for o in runs] == [(True, 2), (False, 5)]


@pytest.mark.parametrize(
    "figures",
    [
        {"understudy": [2.0, 1.0], "pykka": 9.0, "asyncio": 3.0},  # it did not fall again
        {"understudy": 1.0, "pykka": 4.0, "asyncio": 3.0},  # Pykka became faster, not ours slower
        {"understudy": 1.1, "pykka": 9.0, "asyncio": 3.0},  # within the noise
    ],
)
def test_check_does_not_list_what_is_no_fall_of_ours(bench, committed, measured, figures):
    measured(**figures)
    found = bench("check", "--against", committed)
    assert "fell by more than the noise: none" in found.stdout


def test_check_says_when_there_is_nothing_to_compare(bench, committed):
    found = bench("check", "--against", committed, "--scenario", "kernel/ask")
    assert found.exit_code == 0
    assert "holds no ratio of these scenarios to pykka,asyncio,sqlite" in found.stdout


def test_a_check_that_is_interrupted_is_status_130(bench, committed, monkeypatch):
    def interrupted(step, options, nursery):
        raise KeyboardInterrupt

    monkeypatch.setattr(_runner, "take", interrupted)
    found = bench("check", "--against", committed)
    assert found.exit_code == 130
    assert "fell" not in found.stdout


def test_a_failure_is_named_and_makes_the_exit_status_one(bench, monkeypatch):
    monkeypatch.setattr(
        _runner, "take",
        lambda step, options, nursery: Measurement(step.scenario.name, step.peer, step.round, cause="it broke"),
    )  # fmt: skip
    found = bench("sample", "--scenario", "sum", "--rounds", "1")
    assert found.exit_code == 1
    assert "sample/sum · loop did not finish: it broke" in found.stdout


def test_ctrl_c_is_status_130(bench, monkeypatch):
    def interrupted(step, options, nursery):
        raise KeyboardInterrupt

    monkeypatch.setattr(_runner, "take", interrupted)
    assert bench("sample", "--scenario", "sum").exit_code == 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "no suite is called 'nosuch'; there are: "),
        (["sample/sum"], "One scenario of a suite: --scenario sample/sum"),
        (["sample", "--scenario", "nosuch"], "no scenario matches 'nosuch'"),
        (["sample", "--peers", "nosuch"], "no peer is called 'nosuch'"),
        (["sample", "--pin", "x"], "--pin takes core numbers"),
        (["sample", "--pin", "4096"], "--pin 4096: this process may run on "),
        (["sample", "--limit", "0"], "--limit"),
        (["sample", "--out", __file__], f"--out {__file__} cannot be written to: File exists"),
        (["sample", "--directory", "nowhere"], "--directory nowhere cannot be written to: No such"),
        (["sample", "--load", "nosuch.py"], "nosuch.py"),
        (["sample", "--load", "nosuch.txt"], "--load takes a Python file (.py), not nosuch.txt"),
        (["list", "--load", "nosuch.txt"], "--load takes a Python file (.py), not nosuch.txt"),
        (["compare", "no.json", "no.json"], "there is no such file"),
        (["report", "nowhere"], "there is no such file"),
        (["check", "--against", "no.json"], "there is no such file"),
    ],
)
def test_a_wrong_name_is_refused_with_a_word(bench, arguments, message):
    found = bench(*arguments)
    assert found.exit_code == 2
    assert message in " ".join(found.stderr.split())


def test_a_script_that_cannot_be_loaded_is_named_with_the_reason(bench, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("import no_such_module", encoding="utf-8")
    found = bench("sample", "--load", str(script))
    assert found.exit_code == 2
    text = " ".join(found.stderr.split())
    assert "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'" in text


HEAD = '{"format": 1, "run": {}, "machine": {}, "scenarios": {}, "absent": {}, '


@pytest.mark.parametrize("text", ['{"format": 1, "run": {}}', HEAD + '"measurements": [{"x": 1}]}'])
@pytest.mark.parametrize("command", ["report", "compare", "check"])
def test_a_file_that_is_not_whole_is_refused_with_a_word(bench, tmp_path, text, command):
    path = tmp_path / "half.json"
    path.write_text(text, encoding="utf-8")
    arguments = {"report": [path], "compare": [path, path], "check": ["--against", path]}[command]
    found = bench(command, *map(str, arguments))
    assert found.exit_code == 2
    assert "it is not whole (" in " ".join(found.stderr.split())


def test_list_shows_scenarios_and_libraries(bench):
    found = bench("list", "--load", SAMPLE)
    assert "tell: send and go on" in found.stdout
    assert "pykka" in found.stdout
    assert "sample" in found.stdout


def test_help_names_the_suites(bench):
    assert "kernel, supervision, journal, sessions, savina or all" in " ".join(
        bench("--help").stdout.split()
    )


@pytest.mark.parametrize(
    ("text", "peers"), [(None, None), ("none", ()), ("pykka, asyncio", ("pykka", "asyncio"))]
)
def test_peers_are_separated_by_commas(text, peers):
    assert cli._peers(text) == peers


@pytest.mark.parametrize(("text", "cores"), [(None, None), ("none", ()), ("0,1", (0, 1))])
def test_cores_are_separated_by_commas(text, cores):
    assert cli._cores(text) == cores


def test_a_script_of_ones_own_is_the_whole_command(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "from understudy.benchmarks import Bench, main, scenario\n"
        "@scenario('words/split', peers=('split',), unit='text', size=100)\n"
        "def split(bench: Bench) -> None:\n"
        "    'Splitting.'\n"
        "    with bench.measure():\n"
        "        for _ in range(bench.size): 'to be or not'.split()\n"
        "if __name__ == '__main__':\n"
        "    main()\n",
        encoding="utf-8",
    )
    found = subprocess.run(
        [sys.executable, str(script), "--rounds", "1", "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    (measurement,) = json.loads(found.stdout)["measurements"]
    assert measurement["scenario"] == "words/split"
    listed = subprocess.run(
        [sys.executable, str(script), "list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "words/split" in listed.stdout
