"""The conformance page says what the tests show."""

from __future__ import annotations

import pytest

from tests.supervision.conformance_cases import (
    NO_COUNTERPART,
    PAGE,
    SECTIONS,
    covered,
    page,
)

CASES = [number for cases in SECTIONS.values() for number in cases]


def test_every_case_is_covered_or_says_why_it_has_no_counterpart() -> None:
    tests = covered()
    missing = [n for n in CASES if n not in NO_COUNTERPART and n not in tests]
    assert missing == []


def test_every_mark_stands_for_a_known_case() -> None:
    assert set(covered()) - set(CASES) == set()
    assert len(CASES) == len(set(CASES))


@pytest.mark.parametrize("number", sorted(NO_COUNTERPART))
def test_reasons_are_given_for_known_cases(number: int) -> None:
    assert number in CASES
    assert NO_COUNTERPART[number].endswith((".", ")"))


def test_the_page_is_up_to_date() -> None:
    """After a change of marks or cases: `python tests/supervision/conformance_cases.py`."""
    assert PAGE.read_text(encoding="utf-8") == page()
