"""Typed events are plain data on disk under a stable name."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.storage._codec_errors import (
    DuplicateEventName,
    EventDecodeError,
    EventEncodeError,
    UnregisteredEvent,
)
from understudy.storage._record import NewEvent
from understudy.storage._typed import EventRegistry, UnknownEvent, event


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclass(frozen=True)
class Line:
    sku: str
    price: decimal.Decimal


class Place(msgspec.Struct, frozen=True):
    street: str
    codes: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Ordered:
    number: int
    colour: Colour
    level: Level
    at: dt.datetime
    day: dt.date
    order_id: uuid.UUID
    total: decimal.Decimal
    raw: bytes
    tags: set[str]
    pair: tuple[int, str]
    lines: list[Line]
    place: Place
    counts: dict[int, float] = field(default_factory=dict)
    note: str | None = None
    pause: dt.timedelta = dt.timedelta(seconds=3)


@pytest.fixture
def registry() -> EventRegistry:
    return EventRegistry()


def ordered(**changes: Any) -> Ordered:
    values: dict[str, Any] = {
        "number": 1,
        "colour": Colour.RED,
        "level": Level.HIGH,
        "at": dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        "day": dt.date(2026, 1, 2),
        "order_id": uuid.UUID(int=7),
        "total": decimal.Decimal("1.10"),
        "raw": b"\x00\xff",
        "tags": {"a", "b"},
        "pair": (1, "x"),
        "lines": [Line("k", decimal.Decimal("0.1"))],
        "place": Place("Main", frozenset({1, 2})),
        "counts": {1: 0.5},
    }
    return Ordered(**{**values, **changes})


def through_msgpack(value: Any) -> Any:
    return msgpack.unpackb(msgpack.packb(value), strict_map_key=False)


def test_every_supported_kind_of_value_comes_back_equal_through_plain_msgpack(
    registry: EventRegistry,
) -> None:
    registry.event("order.placed", version=1)(Ordered)
    new = registry.encode(ordered())
    assert (new.type, new.version) == ("order.placed", 1)
    assert registry.decode(new.type, new.version, through_msgpack(new.payload)) == (ordered(),)


@given(
    number=st.integers(-(2**63), 2**63 - 1),
    total=st.decimals(allow_nan=False, allow_infinity=False),
    at=st.datetimes(timezones=st.just(dt.UTC)),
    raw=st.binary(),
    tags=st.sets(st.text()),
    counts=st.dictionaries(st.integers(-1000, 1000), st.floats(allow_nan=False)),
    pause=st.timedeltas(max_value=dt.timedelta(days=1000), min_value=-dt.timedelta(days=1000)),
)
def test_any_values_of_those_kinds_come_back_equal(**values: Any) -> None:
    registry = EventRegistry()
    registry.event("order.placed")(Ordered)
    new = registry.encode(ordered(**values))
    assert registry.decode(new.type, new.version, through_msgpack(new.payload)) == (
        ordered(**values),
    )


def test_a_struct_is_an_event_too(registry: EventRegistry) -> None:
    registry.event("place.seen")(Place)
    new = registry.encode(Place("Side"))
    assert new.payload == {"street": "Side", "codes": []}
    assert registry.decode("place.seen", 1, new.payload) == (Place("Side"),)


def test_the_name_on_disk_stays_when_the_class_is_renamed(registry: EventRegistry) -> None:
    @dataclass
    class Before:
        amount: int

    registry.event("account.deposited")(Before)
    stored = registry.encode(Before(3))
    later = EventRegistry()

    @dataclass
    class After:
        amount: int

    later.event("account.deposited")(After)
    assert later.decode(stored.type, stored.version, stored.payload) == (After(3),)


def test_priority_and_topics_of_a_class_are_those_of_its_events(registry: EventRegistry) -> None:
    registry.event("line.sold", priority="critical", topics=["sales"])(Line)
    new = registry.encode(Line("k", decimal.Decimal(1)), id="e1", metadata={"by": "ada"})
    assert (new.priority, tuple(new.topics)) == ("critical", ("sales",))
    assert (new.id, new.metadata) == ("e1", {"by": "ada"})


def test_an_unknown_type_is_read_as_data_and_written_back_the_same(registry: EventRegistry) -> None:
    (read,) = registry.decode("of.another.app", 4, {"x": [1, b"y"]})
    assert read == UnknownEvent("of.another.app", 4, {"x": [1, b"y"]})
    again = registry.encode(read)
    assert (again.type, again.version, again.payload) == ("of.another.app", 4, {"x": [1, b"y"]})


def test_a_new_event_passes_as_it_is(registry: EventRegistry) -> None:
    new = NewEvent("deposited", {"amount": 5})
    assert registry.encode(new) is new


def test_a_name_claimed_twice_is_refused_naming_both(registry: EventRegistry) -> None:
    registry.event("x")(Line)
    with pytest.raises(DuplicateEventName, match="'x' already belongs to .*Line.*Place") as caught:
        registry.event("x", version=2)(Place)
    assert (caught.value.existing, caught.value.offered) == (Line, Place)
    found = registry.named("x")
    assert found is not None
    assert found.cls is Line


def test_a_reloaded_module_replaces_its_own_class(registry: EventRegistry) -> None:
    def load() -> type:
        return type("Reloaded", (), {"__annotations__": {"a": int}, "__module__": "m"})

    first: type = dataclass(load())
    second: type = dataclass(load())
    registry.event("m.reloaded")(first)
    registry.event("m.reloaded")(second)
    found = registry.named("m.reloaded")
    assert found is not None
    assert found.cls is second
    assert registry.of(first) is None


def test_an_event_without_a_name_is_refused_with_the_way_to_give_it_one(
    registry: EventRegistry,
) -> None:
    with pytest.raises(UnregisteredEvent, match=r"Line has no name on disk.*@us\.event\(\"line\""):
        registry.encode(Line("k", decimal.Decimal(1)))


@pytest.mark.parametrize("bad", ["", None, 3])
def test_a_name_must_be_text(registry: EventRegistry, bad: Any) -> None:
    with pytest.raises(ValueError, match="must be text"):
        registry.event(bad)


@pytest.mark.parametrize("bad", [0, -1, "1", True, 1.0])
def test_a_version_must_be_a_positive_whole_number(registry: EventRegistry, bad: Any) -> None:
    with pytest.raises(ValueError, match="version must be 1 or more"):
        registry.event("x", version=bad)


def test_a_priority_must_be_known(registry: EventRegistry) -> None:
    with pytest.raises(ValueError, match="'normal' or 'critical', not 'urgent'"):
        registry.event("x", priority="urgent")  # type: ignore[arg-type]  # the mistake under test


def test_a_class_without_fields_is_refused_with_the_order_of_the_decorators(
    registry: EventRegistry,
) -> None:
    with pytest.raises(TypeError, match="put @us.event above @dataclass"):
        registry.event("x")(Colour)


def test_a_field_that_cannot_be_encoded_is_named_with_its_path(registry: EventRegistry) -> None:
    @dataclass
    class Basket:
        items: list[dict[str, Any]]

    registry.event("basket")(Basket)
    with pytest.raises(EventEncodeError, match=r"'basket'.*at items\[1\]\['price'\]") as caught:
        registry.encode(Basket([{"price": 1}, {"price": object()}]))
    assert caught.value.path == "items[1]['price']"
    assert "object" in caught.value.reason


def test_a_value_that_contains_itself_is_refused(registry: EventRegistry) -> None:
    @dataclass
    class Loop:
        items: list[Any]

    registry.event("loop")(Loop)
    items: list[Any] = []
    items.append(items)
    with pytest.raises(EventEncodeError, match="'loop'"):
        registry.encode(Loop(items))


def test_stored_data_that_does_not_fit_is_named_with_type_version_and_field(
    registry: EventRegistry,
) -> None:
    registry.event("order.placed")(Ordered)
    payload = registry.encode(ordered()).payload
    payload["lines"][0]["price"] = []
    with pytest.raises(EventDecodeError, match=r"'order.placed' version 1.*lines\[0\].price") as e:
        registry.decode("order.placed", 1, payload)
    assert e.value.path == "lines[0].price"
    assert "Expected `decimal`" in e.value.reason


def test_an_event_of_a_newer_application_is_named(registry: EventRegistry) -> None:
    registry.event("x", version=1)(Line)
    with pytest.raises(EventDecodeError, match="written by a newer version"):
        registry.decode("x", 2, {})


def test_a_missing_step_between_versions_is_named_with_the_decorator_to_add(
    registry: EventRegistry,
) -> None:
    registry.event("x", version=3)(Line)
    with pytest.raises(EventDecodeError, match=r"@us.upcaster\('x', from_version=1\)"):
        registry.decode("x", 1, {})


def test_a_class_beyond_the_codec_is_an_error_that_names_the_event(registry: EventRegistry) -> None:
    @dataclass
    class Either:
        what: Line | Ordered

    registry.event("either")(Either)
    with pytest.raises(EventDecodeError, match="'either' version 1"):
        registry.decode("either", 1, {"what": {}})


def test_a_check_of_the_class_itself_is_an_error_that_names_the_event(
    registry: EventRegistry,
) -> None:
    @dataclass
    class Positive:
        amount: int

        def __post_init__(self) -> None:
            if self.amount <= 0:
                raise ValueError("amount must be positive")

    registry.event("positive")(Positive)
    with pytest.raises(EventDecodeError, match="'positive' version 1.*amount must be positive"):
        registry.decode("positive", 1, {"amount": -1})


def test_the_decorator_of_the_package_fills_the_registry_of_the_process() -> None:
    from understudy.storage._typed import registry as shared

    @event("tests.codec.shared", version=2)
    @dataclass
    class Shared:
        a: int

    found = shared.named("tests.codec.shared")
    assert found is not None
    assert (found.cls, found.version) == (Shared, 2)
    assert found in shared.types()
