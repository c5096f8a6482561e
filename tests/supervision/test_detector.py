"""The detector's judgement: looks go in, findings come out. Time by hand, no threads."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.actors import Heartbeat
from understudy.supervision._detector import Finding, Judge, Look, Verdict, judge

REF = object()


class Case:
    """One actor in one handler, looked at every half second."""

    def __init__(self, rule: Heartbeat | None = None, **judge_options: Any) -> None:
        self.judge = Judge(**judge_options)
        self.rule = rule
        self.now = 100.0
        self.fields: dict[str, Any] = {"cpu": 1.0}
        self.turn: Any = 1

    def sweep(self, **changes: Any) -> list[Finding]:
        self.fields.update(changes)
        look = Look(REF, 1, self.turn, rule=self.rule, **self.fields)
        found = self.judge.sweep(self.now, [look])
        self.now += 0.5
        return found

    def sweeps(
        self, seconds: float, *, cpu_per_second: float = 0.0, **changes: Any
    ) -> list[Finding]:
        found: list[Finding] = []
        for _ in range(round(seconds / 0.5)):
            if self.fields.get("cpu") is not None:
                self.fields["cpu"] += cpu_per_second * 0.5
            found += self.sweep(**changes)
        return found


def verdicts(found: list[Finding]) -> list[tuple[str, str]]:
    return [(f.verdict.value, f.action) for f in found]


@pytest.mark.conformance(124)
def test_a_standstill_without_a_lease_is_frozen_within_four_to_five_seconds() -> None:
    case = Case(Heartbeat())
    found = case.sweeps(4.0)
    assert found == []
    [finding] = case.sweep()
    assert (finding.verdict, finding.action) == (Verdict.FROZEN, "restart")
    assert 4.0 <= finding.seconds <= 5.0
    assert case.judge.verdict(REF) is Verdict.FROZEN


@pytest.mark.parametrize("action", ["restart", "replace", "alert"])
def test_the_rule_says_what_is_done(action: Any) -> None:
    case = Case(Heartbeat(on_frozen=action))
    assert verdicts(case.sweeps(6)) == [("frozen", action)]


def test_without_a_heartbeat_a_freeze_is_only_reported() -> None:
    assert verdicts(Case(None).sweeps(6)) == [("frozen", "alert")]


def test_a_freeze_is_reported_once() -> None:
    assert len(Case(None).sweeps(60)) == 1


@pytest.mark.conformance(125)
def test_computing_is_busy_and_only_warned_about() -> None:
    case = Case(Heartbeat())
    assert verdicts(case.sweeps(60, cpu_per_second=0.9)) == [("busy", "alert")]


@pytest.mark.conformance(125)
def test_past_a_hard_limit_even_a_busy_handler_is_recovered() -> None:
    case = Case(Heartbeat(hard_limit=10.0))
    found = case.sweeps(12, cpu_per_second=0.9)
    assert verdicts(found) == [("busy", "alert"), ("overdue", "restart")]
    assert found[1].seconds == 10.0


def test_the_little_cpu_of_a_crowded_interpreter_still_counts_as_moving() -> None:
    case = Case(Heartbeat())
    assert verdicts(case.sweeps(30, cpu_per_second=0.01)) == [("busy", "alert")]


def test_computing_first_and_hanging_then_counts_from_the_standstill() -> None:
    case = Case(Heartbeat())
    case.sweeps(10, cpu_per_second=0.9)
    assert case.sweeps(3.5) == []
    assert verdicts(case.sweeps(1)) == [("frozen", "restart")]


@pytest.mark.parametrize("lease", ["taken", "of the rule"])
def test_a_lease_covers_a_standstill_until_it_ends(lease: str) -> None:
    if lease == "taken":
        case = Case(Heartbeat())
        case.fields["lease_until"] = case.now + 30
    else:
        case = Case(Heartbeat(lease=30))
    assert case.sweeps(30) == []
    assert verdicts(case.sweeps(1)) == [("frozen", "restart")]


def test_waiting_for_another_actor_is_not_hanging() -> None:
    case = Case(Heartbeat())
    assert case.sweeps(60, waiting=True) == []
    assert case.judge.verdict(REF) is Verdict.WAITING


def test_another_message_begins_anew() -> None:
    case = Case(Heartbeat())
    for turn in range(20):
        case.turn = turn
        assert case.sweeps(3) == []


def test_steps_of_a_coroutine_are_progress() -> None:
    case = Case(Heartbeat())
    case.fields["cpu"] = None
    case.fields["on_thread"] = False
    for step in range(20):
        assert verdicts(case.sweeps(1, progress=step)) in ([], [("busy", "alert")])
    assert verdicts(case.sweeps(5)) == [("frozen", "restart")]


def test_without_a_cpu_clock_a_thread_is_reported_but_not_touched() -> None:
    case = Case(Heartbeat())
    case.fields["cpu"] = None
    assert verdicts(case.sweeps(6)) == [("frozen", "alert")]


@pytest.mark.conformance(127)
def test_a_detector_that_was_away_suspects_nobody() -> None:
    case = Case(Heartbeat())
    case.sweeps(2)
    case.now += 10  # the whole process was stopped
    assert case.sweep() == []
    assert case.judge.late_sweeps == 1
    assert case.sweeps(1.5) == []


def test_a_detector_that_comes_late_each_time_keeps_suspecting_nobody() -> None:
    case = Case(Heartbeat())
    for _ in range(20):
        case.now += 1
        assert case.sweep() == []


def test_a_real_freeze_is_still_found_after_a_stall() -> None:
    case = Case(Heartbeat())
    case.sweeps(2)
    case.now += 10
    assert verdicts(case.sweeps(5)) == [("frozen", "restart")]


def test_sweeps_come_as_often_as_the_shortest_interval_asks() -> None:
    case = Case(Heartbeat(timeout=0.2))
    assert case.judge.next_in == 0.5
    case.sweep()
    assert case.judge.next_in == 0.1
    case.judge.sweep(case.now, [])
    assert case.judge.next_in == 0.5


def test_a_short_timeout_is_kept() -> None:
    case = Case(Heartbeat(timeout=0.2))
    judge_, now = case.judge, 0.0
    found: list[Finding] = []
    while not found:
        found = judge_.sweep(now, [Look(REF, 1, 1, cpu=0.0, rule=case.rule)])
        now += judge_.next_in
    assert now <= 0.2 + 0.2


class Call:
    """A suspended call, as `Turn` is one."""

    def __init__(self) -> None:
        self.over = False
        self.quiet_until = 0.0
        self.progress = (1, 0)

    def rest(self, until: float, progress: Any) -> bool:
        self.quiet_until = until
        return bool(self.progress == progress)


class Suspended:
    """A suspended call within a lease, given to the judge only while it does not rest."""

    def __init__(self, rule: Heartbeat | None = None, lease: float | None = None) -> None:
        self.judge = Judge()
        self.call = Call()
        self.rule = rule
        self.now = 100.0
        self.lease_until = None if lease is None else self.now + lease
        self.looks = 0

    def sweeps(self, seconds: float) -> list[Finding]:
        found: list[Finding] = []
        for _ in range(round(seconds / 0.5)):
            looks = []
            if self.call not in self.judge.resting and not self.call.over:
                self.looks += 1
                looks = [
                    Look(
                        REF, 1, self.call, progress=self.call.progress, on_thread=False,
                        lease_until=self.lease_until, rule=self.rule, rests=self.call,
                    )
                ]  # fmt: skip
            found += self.judge.sweep(self.now, looks)
            self.now += 0.5
        return found


@pytest.mark.parametrize(
    "case", [Suspended(Heartbeat(lease=120.0)), Suspended(Heartbeat(), lease=120.0)]
)
def test_what_waits_within_a_long_lease_is_left_alone_and_found_frozen_when_it_ends(
    case: Suspended,
) -> None:
    assert case.sweeps(100.0) == []
    assert case.looks == 2
    assert case.judge.verdict(REF) is Verdict.WAITING
    assert case.judge.running_for(REF, case.now) == 100.0
    assert case.sweeps(20.0) == []
    [finding] = case.sweeps(0.5)
    assert (finding.verdict, finding.seconds) == (Verdict.FROZEN, 120.0)


def test_a_short_lease_gives_no_rest() -> None:
    case = Suspended(Heartbeat(), lease=10.0)
    assert case.sweeps(10.0) == []
    assert case.looks == 20
    assert verdicts(case.sweeps(0.5)) == [("frozen", "restart")]


def test_a_call_that_beats_is_looked_at_again() -> None:
    case = Suspended(Heartbeat(), lease=120.0)
    case.sweeps(10.0)
    case.call.progress = (1, 1)
    case.lease_until = None
    case.judge.wake(case.call)
    assert verdicts(case.sweeps(4.0)) == [("busy", "alert")]
    assert verdicts(case.sweeps(0.5)) == [("frozen", "restart")]


def test_a_call_that_moves_as_it_is_let_rest_does_not_rest() -> None:
    case = Suspended(Heartbeat(), lease=120.0)
    case.call.rest = lambda until, progress: bool(until == progress)  # type: ignore[method-assign]
    case.sweeps(10.0)
    assert case.looks == 20


def test_what_ended_while_it_rested_is_forgotten() -> None:
    case = Suspended(Heartbeat(), lease=120.0)
    case.sweeps(5.0)
    assert case.judge.watched == 1
    case.call.over = True
    case.sweeps(10.0)
    assert case.judge.watched == 0
    assert case.judge.running_for(REF, case.now) is None
    assert not case.judge.resting


def test_nothing_is_remembered_of_handlers_that_ended() -> None:
    case = Case()
    case.sweep()
    assert case.judge.watched == 1
    assert case.judge.running_for(REF, case.now) == 0.5
    case.judge.sweep(case.now, [])
    assert case.judge.watched == 0
    assert case.judge.running_for(REF, case.now) is None
    assert case.judge.verdict(REF) is Verdict.ALIVE


def test_a_thousand_waiting_under_lease_and_progressing_are_never_suspected() -> None:
    judge_ = Judge()
    rule = Heartbeat()
    found: list[Finding] = []
    refs = [object() for _ in range(1000)]
    for step in range(120):
        now = step * 0.5
        found += judge_.sweep(
            now,
            [
                Look(ref, 1, step // 4, cpu=float(step), rule=rule)
                if n % 2
                else Look(ref, 1, 0, cpu=0.0, lease_until=1e9, rule=rule)
                for n, ref in enumerate(refs)
            ],
        )
    assert found == []


TABLE = [
    # in_handler, still, leased, waiting, hard_limit -> verdict
    (1.0, 1.0, False, False, None, Verdict.ALIVE),
    (4.0, 4.0, False, False, None, Verdict.FROZEN),
    (4.0, 4.0, True, False, None, Verdict.WAITING),
    (4.0, 4.0, False, True, None, Verdict.WAITING),
    (4.0, 0.0, False, False, None, Verdict.BUSY),
    (4.0, 3.0, False, False, None, Verdict.ALIVE),
    (9.0, 0.0, False, False, 9.0, Verdict.OVERDUE),
    (3.0, 0.0, False, False, 3.0, Verdict.OVERDUE),
    (9.0, 0.0, True, False, 9.0, Verdict.WAITING),
    (9.0, 9.0, False, True, 9.0, Verdict.WAITING),
]


@pytest.mark.parametrize(("in_handler", "still", "leased", "waiting", "hard", "verdict"), TABLE)
def test_the_decision_table(
    in_handler: float,
    still: float,
    leased: bool,
    waiting: bool,
    hard: float | None,
    verdict: Verdict,
) -> None:
    rule = Heartbeat(timeout=4.0, hard_limit=hard)
    assert (
        judge(in_handler=in_handler, still=still, rule=rule, leased=leased, waiting=waiting)
        is verdict
    )


def test_an_actor_that_computed_is_not_frozen_because_the_host_stood_still() -> None:
    case = Case(Heartbeat())
    assert verdicts(case.sweeps(20, cpu_per_second=0.9)) == [("busy", "alert")]
    case.now += 60  # nobody ran: not the detector, and not the actor
    assert case.sweep() == []
    assert case.judge.late_sweeps == 1
    assert verdicts(case.sweeps(6)) == [("frozen", "restart")]


def test_an_actor_that_moved_and_stands_still_again_is_reported_again() -> None:
    case = Case(None)
    found = [*case.sweeps(6), *case.sweeps(1, cpu_per_second=0.9), *case.sweeps(6)]
    assert verdicts(found) == [("frozen", "alert"), ("busy", "alert"), ("frozen", "alert")]
