"""Declaring, finding and scaling scenarios."""

from __future__ import annotations

import pytest

from understudy.benchmarks import (
    LIBRARIES,
    REGISTRY,
    Registry,
    Scenario,
    UnknownScenario,
    WrongAnswer,
    scenario,
    suites,
)
from understudy.benchmarks import _bench as bench_module
from understudy.benchmarks import _libraries as libraries
from understudy.benchmarks._bench import Bench


def test_the_decorator_takes_title_and_doc_from_the_function():
    item = REGISTRY.get("sample/sum")
    assert item.title == "Adding numbers up: what the interpreter's loop costs."
    assert list(item.bodies) == ["loop", "builtin"]
    assert item.origin.endswith("sample.py")


def test_a_name_without_a_suite_is_ones_own():
    @scenario("lonely")
    def lonely(bench):
        """Alone."""

    assert REGISTRY.get("own/lonely").origin == __name__
    REGISTRY._scenarios.pop("own/lonely")


def test_quick_sizes_are_a_fifth_unless_said_otherwise():
    plain = Scenario(suite="s", key="k", title="t", size=100, sizes={"slow": 10})
    small = Scenario(suite="s", key="k", title="t", size=100, quick=7, sizes={"slow": 5})
    assert [plain.size_for(p, quick=q) for p in ("x", "slow") for q in (False, True)] == [
        100,
        20,
        10,
        2,
    ]
    assert [small.size_for(p, quick=True) for p in ("x", "slow")] == [7, 5]


def test_select_matches_keys_names_and_wildcards():
    names = [s.name for s in REGISTRY.select(["sample"], ["sum", "sample/cu*"])]
    assert names == ["sample/sum", "sample/curve"]


def test_own_means_what_scripts_have_declared():
    assert {s.suite for s in REGISTRY.select(["own"])} == {"sample"}


def test_all_means_every_suite():
    assert REGISTRY.select(["all"]) == REGISTRY.all()


@pytest.mark.parametrize(
    ("suite", "pattern", "message"),
    [
        ("nosuch", None, r"no suite is called 'nosuch'; there are: .*sample, all$"),
        ("sample", "nosuch", r"no scenario matches 'nosuch'.*bench list"),
    ],
)
def test_a_name_that_matches_nothing_is_refused_with_those_there_are(suite, pattern, message):
    with pytest.raises(UnknownScenario, match=message):
        REGISTRY.select([suite], [pattern] if pattern else [])


def test_an_exact_name_that_is_not_there_is_refused():
    with pytest.raises(UnknownScenario):
        Registry().get("kernel/tell")


def test_all_suites_load_and_every_scenario_has_a_body_and_a_meaning():
    suites.load()
    for name in ("kernel", "supervision", "journal", "sessions", "savina"):
        found = REGISTRY.select([name])
        assert found
        for item in found:
            assert item.bodies, item.name
            assert item.doc, item.name
            assert set(item.bodies) <= set(LIBRARIES), item.name


def test_a_check_that_fails_is_a_wrong_answer():
    bench = Bench("x", 1)
    bench.check(True, "fine")
    with pytest.raises(WrongAnswer, match="two and two"):
        bench.check(False, "two and two is five")


def test_measuring_twice_adds_up():
    bench = Bench("x", 10)
    for _ in range(2):
        with bench.measure():
            pass
    assert bench.figures["items"] == 20
    assert bench.figures["wall"] >= 0


def test_latencies_of_nothing_leave_no_trace():
    bench = Bench("x", 10)
    bench.latencies([])
    assert bench.figures == {}


def test_resident_memory_is_known_without_proc(monkeypatch):
    def missing(*args, **kwargs):
        raise FileNotFoundError

    monkeypatch.setattr(bench_module, "open", missing, raising=False)
    assert bench_module.resident() > 1_000_000


def test_a_missing_program_service_or_module_is_told_with_its_reason(monkeypatch):
    monkeypatch.setenv("NOWHERE", "redis://127.0.0.1:1/0")
    made = libraries.Library
    assert (
        made("a", "A", modules=("no_such_module",)).missing() == "no_such_module is not installed"
    )
    assert made("b", "B", program="no-such-program").missing() == "no no-such-program on the path"
    reason = made("c", "C", service=("NOWHERE", "redis://127.0.0.1:1")).missing()
    assert reason is not None
    assert reason.startswith("nothing answers at 127.0.0.1:1")
    assert reason.endswith("set NOWHERE")
    assert made("d", "D").missing() is None


def test_an_unknown_library_is_called_by_its_name_and_counts_as_ones_own():
    assert libraries.title("mine") == "mine"
    assert libraries.is_ours("mine")
    assert not libraries.is_ours("pykka")
