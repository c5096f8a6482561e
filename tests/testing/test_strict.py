"""Strict mode finds what a persistent actor says before its events are safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import understudy as us
from understudy.actors import ActorRef
from understudy.testing import StrictSends, TestProbe, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]


@us.event("strict.happened", version=1)
@dataclass(frozen=True)
class Happened:
    what: str


class Speaker(us.PersistentActor):
    """Does what the message says, a word a deed."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self.other = other

    def apply(self, event: Any) -> None:
        pass

    def on_receive(self, message: str) -> None:
        for deed in message.split():
            if deed == "persist":
                self.persist(Happened("it"))
            elif deed == "tell":
                self.other.tell("told")
            elif deed == "ask":
                self.other.ask("asked")
            elif deed == "send":
                self.send(self.other, "sent")
            elif deed == "then":
                self.then(lambda: self.other.tell("then"))
            elif deed == "effect":
                self.effect("post", {"n": 1})
            elif deed == "self":
                self.actor_ref.tell("nothing")


class Hears(us.Actor):
    def on_receive(self, message: Any) -> Any:
        return message


@pytest.fixture
def live() -> Iterator[us.ActorSystem]:
    with us.ActorSystem("strict") as system:
        yield system


def found(system: us.ActorSystem, message: str) -> list[Any]:
    speaker = system.spawn(Speaker, system.spawn(Hears), persistence_id="speaker")
    with StrictSends(system).watching() as strict:
        speaker.ask(message, timeout=10.0)
        settle(system)
    return strict.found


@pytest.mark.parametrize("message", ["persist tell", "tell persist", "effect tell"])
def test_a_plain_tell_in_a_step_that_persists_is_found(live: us.ActorSystem, message: str) -> None:
    [early] = found(live, message)
    assert (early.sender, early.handling, early.message) == ("/user/Speaker-2", message, "told")
    assert "use self.send(ref, message)" in str(early)


@pytest.mark.parametrize(
    "message", ["tell", "persist send", "persist then", "ask persist", "persist self", "persist"]
)
def test_what_waits_for_safety_or_needs_none_is_not_found(
    live: us.ActorSystem, message: str
) -> None:
    assert found(live, message) == []


def test_as_a_context_manager_it_raises_and_leaves_no_trace(live: us.ActorSystem) -> None:
    speaker = live.spawn(Speaker, live.spawn(Hears), persistence_id="speaker")
    with pytest.raises(AssertionError, match="told /user/Hears-1 'told' in a step that persists"):  # noqa: SIM117 - the outer one judges the inner
        with StrictSends(live):
            assert "tell" in ActorRef.__dict__
            speaker.ask("persist tell", timeout=10.0)
    assert "tell" not in ActorRef.__dict__


def test_the_failure_of_the_block_itself_is_not_hidden(live: us.ActorSystem) -> None:
    speaker = live.spawn(Speaker, live.spawn(Hears), persistence_id="speaker")
    with pytest.raises(KeyError), StrictSends(live):
        speaker.ask("persist tell", timeout=10.0)
        raise KeyError


def test_another_systems_actors_are_not_watched(live: us.ActorSystem) -> None:
    speaker = live.spawn(Speaker, live.spawn(Hears), persistence_id="speaker")
    with us.ActorSystem("other") as other, StrictSends(other):
        speaker.ask("persist tell", timeout=10.0)


PROGRAM = """
import pytest
from tests.testing.test_strict import Hears, Speaker

{mark}
def test_early(system):
    speaker = system.spawn(Speaker, system.spawn(Hears), persistence_id="speaker")
    speaker.ask("persist tell", timeout=10.0)
"""


@pytest.mark.parametrize(
    ("mark", "option", "complains"),
    [
        ("", "", False),
        ("@pytest.mark.strict_sends", "", True),
        ("", "understudy_strict = true", True),
    ],
)
def test_the_fixture_fails_a_test_that_is_to_be_strict(
    pytester: pytest.Pytester, mark: str, option: str, complains: bool
) -> None:
    pytester.makepyfile(PROGRAM.format(mark=mark))
    pytester.makeini(f"[pytest]\n{option}\n")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    outcome = done.parseoutcomes()
    assert outcome.get("errors", 0) == complains
    assert ("use self.send(ref, message)" in done.stdout.str()) == complains


def test_probes_may_be_told(live: us.ActorSystem) -> None:
    probe = TestProbe(live)
    speaker = live.spawn(Speaker, probe.ref, persistence_id="speaker")
    with StrictSends(live).watching() as strict:
        speaker.ask("tell", timeout=10.0)
        probe.expect("told")
    assert strict.found == []
