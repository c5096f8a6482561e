"""The results file, ratios inside a run, comparison of two runs, goals."""

from __future__ import annotations

import json

import pytest

from understudy.benchmarks import Measurement, NotResults, Results, _compare, _goals, _tables

TELL = "kernel/tell"


def test_a_file_comes_back_as_it_was_written(make, tmp_path):
    results = make({(TELL, "understudy"): [1.0, 2.0], (TELL, "pykka"): [9.0]})
    results.add(Measurement(TELL, "xoscar", 0, cause="no result within 60 s"))
    results.save(tmp_path / "deep" / "results.json")
    again = Results.load(tmp_path / "deep")
    assert again.data() == results.data()


def test_one_measurement_is_one_line_of_the_file(make, tmp_path):
    results = make({(TELL, "understudy"): [1.0, 2.0, 3.0]})
    results.save(tmp_path / "r.json")
    lines = (tmp_path / "r.json").read_text(encoding="utf-8").splitlines()
    assert sum('"scenario": "kernel/tell"' in line for line in lines) == 3


def test_ratios_are_formed_round_by_round(make):
    results = make({(TELL, "understudy"): [1.0, 2.0, 4.0], (TELL, "pykka"): [8.0, 10.0, 28.0]})
    ratio = results.ratio(TELL, "understudy", "pykka")
    assert (ratio.low, ratio.median, ratio.high, ratio.n) == (5.0, 7.0, 8.0, 3)
    assert ratio.meaningless


def test_rounds_without_a_counterpart_count_in_no_ratio(make):
    results = make({(TELL, "understudy"): [1.0, 1.0], (TELL, "pykka"): [8.0]})
    assert results.ratio(TELL, "understudy", "pykka").n == 1
    assert results.ratio(TELL, "understudy", "nobody") is None


def test_a_library_that_failed_has_a_cause_instead_of_a_figure(make):
    results = make({(TELL, "understudy"): [1.0]})
    results.add(Measurement(TELL, "pykka", 0, cause="can't start new thread"))
    assert results.value(TELL, "pykka") is None
    assert results.cause(TELL, "pykka") == "can't start new thread"
    assert results.cause(TELL, "understudy") is None
    assert results.peers(TELL) == ["understudy", "pykka"]


def test_figures_beside_the_main_one_are_found_by_their_path(make):
    results = make({(TELL, "understudy"): [1.0, 3.0]})
    assert results.figure(TELL, "understudy", "latency", "0.99").median == 6.0
    assert results.figure(TELL, "understudy", "nothing", "here") is None
    assert results.per_item(TELL, "understudy", "cpu").median == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no such file"),
        ("{", "not JSON"),
        ("[]", "its format"),
        ('{"format": 99}', "its format"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(tmp_path, text, why):
    path = tmp_path / "r.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(NotResults, match=why):
        Results.load(path)


# -- two runs --


def test_a_ratio_that_fell_by_more_than_the_noise_is_listed(make):
    before = make({(TELL, "understudy"): [1.0] * 3, (TELL, "pykka"): [8.0, 8.1, 8.2]})
    after = make({(TELL, "understudy"): [1.0] * 3, (TELL, "pykka"): [4.0, 4.1, 4.2]})
    (change,) = _compare.changes(before, after)
    assert change.fell
    assert change.factor == pytest.approx(4.1 / 8.1)
    table = _compare.table([change], "then", "now")
    assert table.rows[0][-2:] == ["-49 %", "fell"]


def test_a_ratio_inside_the_noise_is_not_said_to_have_fallen(make):
    before = make({(TELL, "understudy"): [1.0] * 3, (TELL, "pykka"): [6.0, 8.0, 10.0]})
    after = make({(TELL, "understudy"): [1.0] * 3, (TELL, "pykka"): [5.0, 6.5, 7.0]})
    (change,) = _compare.changes(before, after)
    assert not change.apart
    assert _compare.table([change], "a", "b").rows[0][-1] == ""


def test_a_ratio_that_rose_says_so_and_other_scenarios_are_passed_over(make):
    before = make({(TELL, "understudy"): [1.0] * 2, (TELL, "pykka"): [2.0] * 2,
                   ("kernel/ask", "understudy"): [1.0]})  # fmt: skip
    after = make({(TELL, "understudy"): [1.0] * 2, (TELL, "pykka"): [4.0] * 2,
                  ("kernel/new", "understudy"): [1.0]})  # fmt: skip
    (change,) = _compare.changes(before, after)
    assert _compare.table([change], "a", "b").rows[0][-1] == "rose"


# -- goals --


def test_a_goal_is_met_or_missed_by_a_percentage(make):
    results = make({(TELL, "understudy"): [1.0], (TELL, "pykka"): [5.0]})
    goal = _goals.Goal("messages", "tell", 7.0, _goals.faster(TELL, "understudy", "pykka"),
                       _goals._times_of("pykka"), at_least=True)  # fmt: skip
    assert goal.row(results) == ["tell", "≥ 7 × Pykka", "5 × Pykka", "missed by 40 %"]


def test_a_limit_from_above_is_met_from_below(make):
    results = make({(TELL, "understudy"): [1e-6], ("kernel/ask", "understudy"): [3e-6]})
    assert _goals.Goal("m", "t", 2e-6, _goals.value(TELL), str).row(results)[3] == "met"
    assert (
        _goals.Goal("m", "t", 2e-6, _goals.value("kernel/ask"), str).row(results)[3]
        == "missed by 50 %"
    )
    assert _goals.Goal("m", "t", 1e-8, _goals.value("kernel/ask"), str).row(results)[3] == "missed"


def test_what_a_run_has_not_measured_is_said_so(make):
    results = make({(TELL, "understudy"): [1.0]})
    table = _goals.table(results)
    assert len(table.rows) == len(_goals.GOALS)
    assert all(row[2] == "not measured in this run" for row in table.rows)
    assert "0 of" in table.notes[0]


def test_costs_turn_a_ratio_round_and_growth_compares_the_ends_of_a_curve(make):
    results = make({("journal/append_1", "understudy"): [3.0], ("journal/append_1", "raw"): [2.0]})
    assert _goals.cost("journal/append_1", "understudy", "raw")(results) == 1.5
    for point, seconds in ((1_000, 1.0), (1_000_000, 1.8)):
        results.add(Measurement("kernel/scale", "understudy", 0, point, seconds,
                                figures={"extra": {"series": {"tell": seconds}}}))  # fmt: skip
    ends = {"first": 1_000, "last": 1_000_000}
    assert _goals.growth("kernel/scale", "tell", **ends)(results) == 1.8
    assert _goals.growth("kernel/scale", "", **ends)(results) == 1.8
    assert _goals.growth("kernel/scale", "tell", first=1_000, last=10_000)(results) is None
    assert _goals.rate("journal/append_1")(results) == pytest.approx(1 / 3)


def test_every_goal_names_a_scenario_that_exists():
    from understudy.benchmarks import REGISTRY, suites

    suites.load()
    asked = set()

    class Spy(Results):
        def value(self, scenario, peer, point=None):
            asked.add((scenario, peer))
            return super().value(scenario, peer, point)

        def figure(self, scenario, peer, *path, point=None):
            asked.add((scenario, peer))

        def ratio(
            self, scenario, peer, against, *, other=None, point=None, path=(), per_item=False
        ):
            asked.add((scenario, peer))
            asked.add((other or scenario, against))

    _goals.table(Spy())
    for name, peer in asked:
        assert peer in REGISTRY.get(name).bodies, (name, peer)


# -- tables --


def test_a_ratio_too_wide_to_mean_much_is_marked_and_explained(make):
    results = make({(TELL, "understudy"): [1.0, 1.0], (TELL, "pykka"): [4.0, 9.0]})
    table = _tables.summary(results, "kernel")
    assert table.rows[1][4].endswith("~")
    assert "too noisy" in table.notes[0]


def test_one_round_is_said_to_be_one():
    assert _tables.ratio_text(None) == ""
    from understudy.benchmarks import Ratio

    assert _tables.ratio_text(Ratio(2.0, 2.0, 2.0, 1)) == "2 × (1 round)"


def test_savina_has_one_table_with_sizes_messages_and_dnf(make):
    results = make({("savina/fib", "understudy"): [1.0], ("savina/fib", "asyncio"): [2.0]})
    for m in results.measurements:
        m.figures["extra"] = {"sizes": {"n": 12, "f": 0.5}, "messages": 930}
    results.add(Measurement("savina/fib", "pykka", 0, cause="RuntimeError: can't start new thread"))
    table = _tables.savina(results)
    assert table is not None
    assert table.rows == [
        ["fib", "n 12, f 0.5", "930", "1 s", "DNF: RuntimeError: can't start new thread", "2 s",
         "", "2 × (1 round)"],
    ]  # fmt: skip


def test_json_of_a_run_can_be_read_by_others(make):
    assert json.loads(json.dumps(make({(TELL, "understudy"): [1.0]}).data()))["format"] == 1


def test_resources_are_told_for_one_item(make):
    table = _tables.resources(make({(TELL, "understudy"): [1.0]}), "kernel")
    assert table.rows == [[TELL, "Understudy", "900 ms", "410 B", "0.5"]]


def test_savina_shows_what_the_schedule_decided_beside_each_time(make):
    results = make({("savina/barber", "understudy"): [1.0, 1.0], ("savina/barber", "pykka"): [1.0]})
    for m, attempts in zip(results.measurements, (9_000, 11_000, 333), strict=True):
        m.figures["extra"] = {"counted": {"attempts": attempts}}
    table = _tables.savina(results)
    assert table is not None
    (row,) = table.rows
    assert row[3:5] == ["1 s, 10,000 attempts", "1 s, 333 attempts"]


def test_cpu_time_is_compared_where_it_is_what_a_scenario_takes(make):
    figures = {(TELL, "understudy"): [1.0, 1.0], (TELL, "pykka"): [9.0, 9.0]}
    before, busy, slow = make(figures), make(figures), make(figures)
    for m in [*busy.measurements, *slow.measurements]:
        m.value = 5.0  # the machine was busy with something else: the clock says nothing
    for m in slow.of(TELL, "understudy"):
        m.figures["cpu"] *= 2
    (held,) = _compare.changes(before, busy, cpu=True)
    (fell,) = _compare.changes(before, slow, cpu=True)
    assert (held.cpu, held.fell, fell.cpu, fell.fell) == (True, False, True, True)
    assert _compare.fallen([fell]) == [fell]
    assert "kernel/tell, CPU time" in _compare.table([fell], "a", "b").rows[0]
    for facts in before.scenarios.values():
        facts["pinned"] = False
    (clock,) = _compare.changes(before, busy, cpu=True)
    assert not clock.cpu
    assert clock.fell


def test_a_scenario_that_waits_is_compared_by_the_clock(make):
    before = make({(TELL, "understudy"): [1.0, 1.0], (TELL, "pykka"): [9.0, 9.0]})
    for m in before.measurements:
        m.figures["cpu"] = m.figures["wall"] / 10
    (change,) = _compare.changes(before, before, cpu=True)
    assert not change.cpu
