"""Child specs: checked whole, one error per field."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.actors import Actor, Heartbeat, Mailbox, Props, Restart
from understudy.supervision import (
    AutoShutdown,
    ChildSpec,
    DynamicSupervisor,
    InvalidChildSpec,
    Shutdown,
    Supervisor,
)
from understudy.supervision._static_family import check_children


class Worker(Actor):
    pass


class Boss(Supervisor):
    pass


@pytest.mark.conformance(12)
def test_a_minimal_spec_is_a_permanent_worker_with_five_seconds_to_stop() -> None:
    spec = ChildSpec("a", Worker)
    assert (spec.restart, spec.type, spec.shutdown) == (Restart.PERMANENT, "worker", 5.0)
    assert (spec.args, spec.kwargs, spec.significant) == ((), {}, False)


@pytest.mark.conformance(12)
@pytest.mark.parametrize("cls", [Boss, DynamicSupervisor])
def test_a_supervisor_is_given_all_the_time_it_needs_to_stop(cls: Any) -> None:
    spec = ChildSpec("s", cls)
    assert (spec.type, spec.shutdown) == ("supervisor", Shutdown.INFINITY)


@pytest.mark.conformance(11)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", ""),
        ("id", "a/b"),
        ("id", 7),
        ("cls", None),
        ("cls", "Worker"),
        ("cls", int),
        ("args", 5),
        ("kwargs", [1]),
        ("kwargs", {1: 2}),
        ("restart", "sometimes"),
        ("restart", None),
        ("shutdown", -1.0),
        ("shutdown", float("nan")),
        ("shutdown", True),
        ("shutdown", "later"),
        ("significant", "yes"),
        ("heartbeat", 4.0),
        ("ask_failures", "ignore"),
        ("dispatcher", 3),
        ("mailbox", 10),
        ("persistence_id", 1),
    ],
)
def test_a_field_that_cannot_be_is_named_with_its_value(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"id": "a", "cls": Worker, field: value}
    with pytest.raises(InvalidChildSpec) as caught:
        ChildSpec(**fields)
    assert caught.value.field == field
    assert caught.value.value is value
    assert repr(value) in str(caught.value)


@pytest.mark.conformance(11)
def test_unknown_fields_are_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        ChildSpec("a", Worker, restarts=3)
    assert (caught.value.field, caught.value.value) == ("restarts", 3)
    assert "restart, shutdown" in str(caught.value)


@pytest.mark.conformance(11)
def test_a_spec_without_id_and_class_names_both() -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        ChildSpec()
    assert [p.field for p in caught.value.problems] == ["id", "cls"]


@pytest.mark.conformance(83)
def test_a_permanent_child_cannot_be_significant() -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        ChildSpec("a", Worker, significant=True)
    assert caught.value.field == "significant"


@pytest.mark.conformance(83)
def test_significant_children_need_a_supervisor_that_shuts_down() -> None:
    spec = ChildSpec("a", Worker, restart=Restart.TRANSIENT, significant=True)
    with pytest.raises(InvalidChildSpec) as caught:
        check_children([spec], AutoShutdown.NEVER)
    assert caught.value.field == "significant"
    assert check_children([spec], AutoShutdown.ANY_SIGNIFICANT) == [spec]


def test_an_id_may_come_once_only() -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        check_children([ChildSpec("a", Worker), ChildSpec("a", Worker)])
    assert (caught.value.field, caught.value.value) == ("id", "a")


def test_something_that_is_no_spec_is_refused() -> None:
    with pytest.raises(InvalidChildSpec) as caught:
        check_children([Worker])
    assert caught.value.field == "children"


def test_words_from_a_file_are_understood() -> None:
    spec = ChildSpec("a", Worker, restart="transient", shutdown="brutal")
    assert (spec.restart, spec.shutdown) == (Restart.TRANSIENT, Shutdown.BRUTAL)


def test_props_bring_their_arguments() -> None:
    spec = ChildSpec("a", Props(Worker, 1, x=2), args=(3,), kwargs={"y": 4})
    assert (spec.cls, spec.args, spec.kwargs) == (Worker, (1, 3), {"x": 2, "y": 4})


def test_a_spec_is_frozen_and_keeps_its_own_arguments() -> None:
    kwargs = {"x": 1}
    spec = ChildSpec("a", Worker, kwargs=kwargs, heartbeat=Heartbeat(), mailbox=Mailbox())
    kwargs["x"] = 2
    assert spec.kwargs == {"x": 1}
    with pytest.raises(AttributeError):
        spec.id = "b"  # type: ignore[misc] # frozen on purpose
    assert hash(spec) == hash(ChildSpec("a", Worker))
