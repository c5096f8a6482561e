"""Old versions are brought up to today's on read, one event to zero or more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from understudy.storage._codec_errors import DuplicateUpcaster, EventDecodeError
from understudy.storage._record import NewEvent
from understudy.storage._typed import EventRegistry, UnknownEvent, registry, upcaster


@dataclass(frozen=True)
class Deposited:
    cents: int
    currency: str = "EUR"


@dataclass(frozen=True)
class Opened:
    owner: str


@pytest.fixture
def events() -> EventRegistry:
    made = EventRegistry()
    made.event("deposited", version=3)(Deposited)
    made.event("opened", version=1)(Opened)
    return made


def test_versions_are_chained_one_step_after_the_other(events: EventRegistry) -> None:
    @events.upcaster("deposited", from_version=1)
    def in_cents(old: dict[str, Any]) -> dict[str, Any]:
        return {"cents": old["euros"] * 100}

    @events.upcaster("deposited", from_version=2)
    def with_currency(old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "currency": "CHF"}

    assert events.decode("deposited", 1, {"euros": 2}) == (Deposited(200, "CHF"),)
    assert events.decode("deposited", 2, {"cents": 5}) == (Deposited(5, "CHF"),)
    assert events.decode("deposited", 3, {"cents": 5}) == (Deposited(5, "EUR"),)


def test_one_event_becomes_none(events: EventRegistry) -> None:
    events.upcaster("deposited", from_version=1)(lambda old: [])
    assert events.decode("deposited", 1, {}) == ()


def test_one_event_becomes_several_of_other_types_in_order(events: EventRegistry) -> None:
    events.upcaster("deposited", from_version=2)(lambda old: {**old, "currency": "CHF"})

    @events.upcaster("deposited", from_version=1)
    def split(old: dict[str, Any]) -> list[Any]:
        return [
            ("opened", {"owner": old["by"]}),
            {"cents": old["euros"] * 100},
            ("deposited", {"cents": 1}, 3),
            NewEvent("note", {"n": 1}, version=7),
        ]

    assert events.decode("deposited", 1, {"by": "ada", "euros": 1}) == (
        Opened("ada"),
        Deposited(100, "CHF"),
        Deposited(1),
        UnknownEvent("note", 7, {"n": 1}),
    )


def test_an_event_that_no_class_claims_is_upcast_too(events: EventRegistry) -> None:
    events.upcaster("note", from_version=1)(lambda old: {**old, "new": True})
    assert events.decode("note", 1, {}) == (UnknownEvent("note", 2, {"new": True}),)


def test_a_step_that_edits_its_argument_leaves_the_stored_data_alone(events: EventRegistry) -> None:
    @events.upcaster("note", from_version=1)
    def edit(old: dict[str, Any]) -> dict[str, Any]:
        old["list"].append(1)
        return old

    stored: dict[str, Any] = {"list": []}
    events.decode("note", 1, stored)
    assert stored == {"list": []}


def test_a_step_claimed_twice_is_refused(events: EventRegistry) -> None:
    events.upcaster("deposited", from_version=1)(lambda old: old)
    with pytest.raises(
        DuplicateUpcaster, match="'deposited' already has an upcaster from version 1"
    ):
        events.upcaster("deposited", from_version=1)(lambda old: old)


@pytest.mark.parametrize("bad", [0, -1, "1"])
def test_a_step_starts_from_a_positive_version(events: EventRegistry, bad: Any) -> None:
    with pytest.raises(ValueError, match="from_version must be 1 or more"):
        events.upcaster("deposited", from_version=bad)(lambda old: old)


@pytest.mark.parametrize("bad", [None, "text", 3, b"bytes", [3], ["x"]])
def test_a_step_that_returns_no_event_is_named(events: EventRegistry, bad: Any) -> None:
    events.upcaster("deposited", from_version=1)(lambda old: bad)
    with pytest.raises(EventDecodeError, match="'deposited' version 1.*its upcaster returned"):
        events.decode("deposited", 1, {})


def test_a_step_that_raises_is_named_with_its_cause(events: EventRegistry) -> None:
    events.upcaster("deposited", from_version=1)(lambda old: {"cents": old["missing"]})
    with pytest.raises(EventDecodeError, match="its upcaster raised KeyError") as caught:
        events.decode("deposited", 1, {})
    assert isinstance(caught.value.__cause__, KeyError)


def test_steps_that_go_round_in_a_circle_are_stopped(events: EventRegistry) -> None:
    events.upcaster("a", from_version=1)(lambda old: [("b", old)])
    events.upcaster("b", from_version=1)(lambda old: [("a", old)])
    with pytest.raises(EventDecodeError, match="'a' version 1.*do not end"):
        events.decode("a", 1, {})


def test_the_decorator_of_the_package_fills_the_registry_of_the_process() -> None:
    @upcaster("tests.codec.moved", from_version=1)
    def moved(old: Any) -> Any:
        return {"moved": True}

    assert registry.decode("tests.codec.moved", 1, {}) == (
        UnknownEvent("tests.codec.moved", 2, {"moved": True}),
    )
