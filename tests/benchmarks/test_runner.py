"""Runs in child processes: order, cut-offs, crashes, interruption."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from typing import Any

import pytest

from understudy.benchmarks import (
    LIBRARIES,
    REGISTRY,
    Measurement,
    Metric,
    Options,
    Results,
    _machine,
    plan,
    run,
    suites,
    worker,
)
from understudy.benchmarks import _progress as progress
from understudy.benchmarks import _runner as runner
from understudy.benchmarks._nursery import Nursery, NurseryClosed

from .conftest import Recorder


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 1.0)


def options(**more):
    return Options(rounds=1, quick=True, pin=(), **more)


def test_rounds_are_interleaved_and_whoever_begins_changes(chosen):
    steps, _ = plan(chosen("sum"), Options(rounds=3))
    assert [(s.round, s.peer) for s in steps] == [
        (0, "loop"), (0, "builtin"),
        (1, "builtin"), (1, "loop"),
        (2, "loop"), (2, "builtin"),
    ]  # fmt: skip


def test_a_quick_run_measures_the_first_points_of_a_curve(chosen):
    quick, _ = plan(chosen("curve"), options())
    full, _ = plan(chosen("curve"), Options(rounds=1))
    assert [s.point for s in quick] == [10, 100]
    assert [s.size for s in full] == [10, 100, 1_000]


def test_a_library_that_is_not_installed_is_left_out_with_a_word(chosen, monkeypatch):
    missing = LIBRARIES["ray"].__class__("ray", "Ray", ("no_such_ray",), install="pip install ray")
    monkeypatch.setitem(LIBRARIES, "ray", missing)
    steps, absent = plan(chosen("absent"), options())
    assert [s.peer for s in steps] == ["builtin"]
    assert absent == {"ray": "no_such_ray is not installed"}


def test_peers_limits_others_but_never_ours(chosen):
    steps, absent = plan(REGISTRY.select(["sample"], ["absent", "sum"]), options(peers=()))
    assert [s.peer for s in steps] == ["loop", "builtin", "builtin"]
    assert absent == {}


def test_rounds_default_to_few_when_quick():
    assert (Options(quick=True).turns, Options().turns) == (2, 3)
    assert (Options(quick=True).messages, Options(budget=7).messages) == (4_000, 7)


def test_measurements_come_from_child_processes_and_are_saved_one_by_one(
    chosen, recorder, tmp_path
):
    path = tmp_path / "results.json"
    recorder.on_took = lambda step, m: assert_saved(path, len(recorder.taken))
    results = run(chosen("sum"), options(), recorder, path=path, command="test")
    assert [m.cause for m in results.measurements] == [None, None]
    ratio = results.ratio("sample/sum", "builtin", "loop")
    assert ratio is not None
    assert ratio.median > 0
    assert results.measurements[0].figures["items"] == 200
    assert recorder.ended
    assert Results.load(path).run["command"] == "test"


def assert_saved(path, count):
    assert len(Results.load(path).measurements) == count


def test_a_hanging_library_is_cut_off_and_the_place_is_named(chosen, recorder):
    results = run(chosen("hang", "sum"), options(), recorder)
    hanging = next(m for m in results.measurements if m.scenario == "sample/hang")
    assert hanging.value is None
    assert hanging.cause is not None
    assert hanging.cause.startswith("no result within 0.3 s, in wait_for_ever (sample.py:")
    assert [m.value is None for m in results.measurements].count(False) == 2


def test_a_crash_is_named_and_the_run_goes_on(chosen, recorder):
    results = run(chosen("sample/crash"), options(), recorder)
    causes = {m.peer: m.cause for m in results.measurements}
    assert causes == {
        "raises": "RuntimeError: out of threads",
        "killed": "killed by SIGKILL",
        "exits": "ended with status 7: the last words",
        "wrong": "WrongAnswer: two and two is five",
        "prints": None,
    }
    assert [m.peer for m in results.failures()] == ["raises", "killed", "exits", "wrong"]


def test_what_failed_is_not_tried_again_in_later_rounds(recorder, chosen, monkeypatch):
    tried = []

    def fake(step, opts, nursery):
        tried.append((step.peer, step.round))
        value = None if step.peer == "loop" else 1.0
        cause = "it broke" if value is None else None
        return Measurement(step.scenario.name, step.peer, step.round, None, value, cause)

    monkeypatch.setattr(runner, "take", fake)
    results = run(chosen("sum"), Options(rounds=3), recorder)
    assert [peer for peer, _ in tried] == ["loop", "builtin", "builtin", "builtin"]
    assert len(recorder.taken) == 6  # the watcher's count comes out
    assert len(results.measurements) == 4


def test_ctrl_c_leaves_the_results_so_far(chosen, tmp_path):
    path = tmp_path / "results.json"
    recorder = Recorder(interrupt_at=1)
    results = run(chosen("sum"), options(), recorder, path=path)
    assert results.run["interrupted"] is True
    assert recorder.ended
    saved = Results.load(path)
    assert saved.run["interrupted"] is True
    assert [m.peer for m in saved.measurements] == ["loop"]


def test_a_child_is_killed_when_the_wait_for_it_is_interrupted(monkeypatch):
    killed = []
    real = runner._kill

    def kill(child):
        killed.append(child.pid)
        real(child)

    monkeypatch.setattr(runner, "_kill", kill)

    def interrupted(self, timeout=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner._child(["sleep", "60"], 1.0)
    assert killed


def test_pinning_defaults_to_the_first_core():
    assert runner.cores(Options()) == tuple(_machine.cores()[:1])
    assert runner.cores(Options(pin=())) == ()


def test_an_empty_answer_of_a_child_is_a_death():
    assert runner._parse("no json here\n[1]\n") is None
    assert runner._death(3, "") == "ended with status 3 and no answer"
    assert runner._death(-signal.SIGSEGV, "boom\n") == "killed by SIGSEGV: boom"


def test_profiles_are_made_by_cprofile_where_py_spy_is_missing(chosen, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *a, **k: None)
    step = plan(chosen("sum"), options())[0][0]
    order = json.loads(runner._command(step, {}, options(profile=True, out=tmp_path))[-1])
    assert order["profile"] == str(tmp_path / "profiles" / "sample-sum-loop.txt")


def test_profiles_are_flame_graphs_where_py_spy_is_there(chosen, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *a, **k: "/usr/bin/py-spy")
    step = plan(chosen("sum"), options())[0][0]
    command = runner._command(step, {}, options(profile=True, out=tmp_path))
    assert command[:2] == ["/usr/bin/py-spy", "record"]
    assert str(tmp_path / "profiles" / "sample-sum-loop.svg") in command


# -- the worker, in this process --


def order(name, peer, **more):
    item = REGISTRY.get(name)
    return {"scenario": name, "origin": item.origin, "peer": peer, "size": 100, **more}


def test_the_worker_warms_up_and_measures():
    figures = worker.take(order("sample/sum", "loop"))
    assert figures["items"] == 100
    assert figures["value"] == pytest.approx(figures["wall"] / 100)


def test_the_worker_gives_the_median_where_that_is_the_metric():
    figures = worker.take(order("sample/latency", "clock"))
    assert figures["value"] == figures["latency"]["0.5"]
    assert figures["samples"] == 100


def test_the_worker_writes_a_table_of_the_profile(tmp_path):
    path = tmp_path / "profile.txt"
    worker.take(order("sample/sum", "builtin", profile=str(path)))
    assert "function calls" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("metric", "figures", "value"),
    [
        ("TIME", {"wall": 2.0, "items": 4}, 0.5),
        ("SECONDS", {"wall": 2.0}, 2.0),
        ("BYTES", {"rss": 4096, "items": 4}, 1024.0),
        ("SHARE", {"cpu": 1.0, "wall": 4.0}, 0.25),
        ("MEDIAN", {"latency": {"0.5": 3.0}}, 3.0),
        ("TIME", {"value": 7}, 7.0),
    ],
)
def test_each_metric_has_its_figure(metric, figures, value):
    assert worker.value_of(Metric[metric], figures) == value


def test_a_scratch_directory_is_gone_afterwards(tmp_path):
    worker.take(order("sample/sum", "loop", directory=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_the_machine_is_described(tmp_path):
    found = _machine.describe(tmp_path)
    assert found["cores"] >= 1
    assert found["memory"] > 2**20
    assert _machine.versions()["python"]
    assert 0 <= _machine.noise() < 100


# -- the nursery --


def test_a_nursery_that_ends_says_its_last_words():
    with Nursery(["no_such_module"]) as nursery:
        with pytest.raises(NurseryClosed, match="no_such_module"):
            nursery.run(order("sample/sum", "loop"), 10)


def test_children_of_a_nursery_are_processes_of_their_own():
    with Nursery([REGISTRY.get("sample/sum").origin]) as nursery:
        found = [nursery.run(order("sample/sum", "loop"), 10) for _ in range(3)]
    assert [status for _, _, status in found] == [0, 0, 0]
    assert all(json.loads(answer)["items"] == 100 for answer, _, _ in found)


def test_without_fork_each_measurement_starts_an_interpreter(chosen, recorder, monkeypatch):
    monkeypatch.setattr(runner, "_nursery_possible", lambda: False)
    results = run(chosen("sum"), options(), recorder)
    assert [m.cause for m in results.measurements] == [None, None]


def test_an_interpreter_that_hangs_is_cut_off_too(chosen):
    (step,) = plan(chosen("hang"), options())[0]
    found = runner.take(step, options(limit=2.0))
    assert found.cause is not None
    assert found.cause.startswith("no result within 2 s")


# -- two minutes --


@pytest.fixture
def slow(monkeypatch):
    """Measurements without children, and no time for a second round."""

    def fake(step, opts, nursery):
        return Measurement(step.scenario.name, step.peer, step.round, None, 1.0)

    monkeypatch.setattr(runner, "take", fake)
    monkeypatch.setattr(runner, "QUICK_SECONDS", 0.0)


@pytest.mark.usefixtures("slow")
def test_a_quick_run_out_of_time_leaves_later_rounds_out_and_says_so(chosen, recorder):
    results = run(chosen("sum"), Options(quick=True), recorder)
    assert [(m.peer, m.round) for m in results.measurements] == [("loop", 0), ("builtin", 0)]
    assert results.run["left_out"] == 2
    (line,) = progress.cut_short(results)
    assert line.startswith("out of time: 2 measurements of the last rounds were left out")


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("asked", [Options(rounds=2), Options(quick=True, rounds=2)])
def test_rounds_that_were_asked_for_are_all_taken(chosen, recorder, asked):
    results = run(chosen("sum"), asked, recorder)
    assert len(results.measurements) == 4
    assert progress.cut_short(results) == []


def test_a_quick_run_cuts_off_early_unless_told_otherwise(chosen):
    (item,) = chosen("sum")
    assert Options().limit_of(item) == 60.0
    assert Options(quick=True).limit_of(item) == runner.QUICK_LIMIT
    assert Options(quick=True, limit=90.0).limit_of(item) == 90.0


def test_a_scenario_may_ask_for_fewer_rounds_when_quick():
    chosen = REGISTRY.select(["sample"], ["once"])
    assert [s.round for s in plan(chosen, Options(quick=True))[0]] == [0]
    assert [s.round for s in plan(chosen, Options())[0]] == [0, 1, 2]
    assert [s.round for s in plan(chosen, Options(quick=True, rounds=2))[0]] == [0, 1]


def test_a_library_that_hangs_again_and_again_is_left_out_of_the_rest(recorder, monkeypatch):
    tried = []

    def fake(step, opts, nursery):
        tried.append(step.peer)
        hangs = step.peer == "pykka"
        return Measurement(step.scenario.name, step.peer, step.round, None,
                           None if hangs else 1.0, "it hung" if hangs else None,
                           cut_off=hangs)  # fmt: skip

    monkeypatch.setattr(runner, "take", fake)
    suites.load()
    four = REGISTRY.select(["kernel"], ["tell", "ask", "ring", "proxy"])
    results = run(four, options(peers=("pykka",)), recorder)
    assert tried.count("pykka") == runner.PATIENCE
    assert tried.count("understudy") == 4
    assert [m.cause for m in results.failures()][-1] == (
        "not tried: cut off 2 times before, in kernel/tell and kernel/ask"
    )


def test_a_library_that_starts_slowly_is_left_out_of_a_quick_run_unless_named(chosen, monkeypatch):
    here = LIBRARIES["ray"].__class__("ray", "Ray", ("json",), install="pip install it", start=60.0)
    monkeypatch.setitem(LIBRARIES, "ray", here)
    steps, absent = plan(chosen("absent"), Options(quick=True))
    assert {s.peer for s in steps} == {"builtin"}
    (line,) = progress.absent_lines(absent)
    assert line.startswith("without Ray: it needs longer to start than a quick run has")
    assert "pip" not in line
    for asked in (Options(quick=True, peers=("ray",)), Options()):
        assert {s.peer for s in plan(chosen("absent"), asked)[0]} == {"builtin", "ray"}


def test_processes_of_a_library_are_not_squeezed_onto_one_core_and_may_start_slowly(chosen):
    taken = {}

    class Fake:
        used = 0.5

        def run(self, order, limit):
            taken[order["peer"]] = order
            return '{"value": 1}', "", 0

    fake: Any = Fake()
    for peer in ("builtin", "ray"):
        step = runner.Step(chosen("absent")[0], peer, 0, 1)
        measurement = runner.take(step, Options(pin=(0,), limit=5.0), fake)
        assert measurement.figures["process_cpu"] == 0.5
    assert taken["builtin"]["pin"] == [0]
    assert "pin" not in taken["ray"]
    assert (taken["builtin"]["limit"], taken["ray"]["limit"]) == (5.0, 65.0)
