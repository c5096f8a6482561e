"""Pulses: what runs elsewhere, pinged only when it has been quiet."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.actors import Future, Heartbeat
from understudy.supervision._pulse import Pulse
from understudy.testing import ManualClock


class Elsewhere:
    def __init__(self, answer: Any = None) -> None:
        self.clock = ManualClock()
        self.answer = answer
        self.pings = 0
        self.silences: list[float] = []
        self.group: dict[str, Pulse] = {}
        rule = Heartbeat(timeout=4.0, interval=2.0)
        self.pulse = self.group["w"] = Pulse(
            "w", self.ping, lambda _, seconds: self.silences.append(seconds), rule,
            self.clock, self.group,
        )  # fmt: skip

    def ping(self) -> Any:
        self.pings += 1
        return self.answer

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.clock.advance(0.5)
            self.pulse.look(self.clock.monotonic(), late=False)


def test_natural_activity_makes_pings_needless() -> None:
    there = Elsewhere()
    for _ in range(20):
        there.run(1.5)
        there.pulse.beat()
    assert there.pings == 0


def test_a_quiet_one_is_pinged_once_an_interval_and_lives_by_its_answers() -> None:
    there = Elsewhere(answer=True)
    there.run(20)
    assert there.pings == 10
    assert there.silences == []


def test_one_that_answers_later_lives_too() -> None:
    there = Elsewhere(answer=Future())
    there.run(3)
    there.answer.set(None)
    there.answer = True
    there.run(3)
    assert there.silences == []


def test_silence_for_the_timeout_is_told_once_with_its_length() -> None:
    there = Elsewhere()
    there.run(10)
    assert there.silences == [4.0]
    assert there.pulse.silent
    there.pulse.beat()
    assert not there.pulse.silent
    there.run(10)
    assert len(there.silences) == 2


def test_an_answer_that_is_an_error_is_no_sign_of_life() -> None:
    failed: Future[None] = Future()
    failed.set_exception((OSError, OSError(), None))
    there = Elsewhere(answer=failed)
    there.run(5)
    assert there.silences == [4.0]


def test_a_detector_that_was_away_does_not_hold_it_against_the_pulse() -> None:
    there = Elsewhere()
    there.run(2)
    there.clock.advance(60)
    there.pulse.look(there.clock.monotonic(), late=True)
    there.run(3)
    assert there.silences == []


def test_a_ping_that_raises_is_logged_and_counts_as_no_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = Elsewhere()

    def broken() -> Any:
        raise OSError("no route")

    there.pulse._ping = broken
    there.run(5)
    assert "error while asking" in caplog.text
    assert there.silences == [4.0]


def test_a_cancelled_pulse_is_out_of_the_group() -> None:
    there = Elsewhere()
    there.pulse.cancel()
    there.pulse.cancel()
    assert there.group == {}
