"""The pytest plugin complains about what a test leaves behind."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

ACTORS = """
import pytest
import understudy as us

class Nothing(us.Actor):
    def on_receive(self, message):
        if message == "fail":
            raise RuntimeError("on purpose")
"""


def outcomes(pytester: pytest.Pytester, body: str) -> tuple[dict[str, int], str]:
    pytester.makepyfile(ACTORS + body)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    return result.parseoutcomes(), result.stdout.str()


def test_a_tidy_test_passes(pytester: pytest.Pytester) -> None:
    found, _ = outcomes(
        pytester,
        """
def test_tidy(system, clock, probe):
    ref = system.spawn(Nothing)
    ref.ask("x")
    clock.advance(1)
    probe.expect_none()
""",
    )
    assert found == {"passed": 1}


def test_a_standalone_actor_left_running_is_named(pytester: pytest.Pytester) -> None:
    found, said = outcomes(
        pytester,
        """
def test_untidy(system):
    Nothing.start()
""",
    )
    assert found.get("errors") == 1
    assert "left actors running" in said


def test_an_unexpected_dead_letter_fails_the_test(pytester: pytest.Pytester) -> None:
    body = """
{mark}
def test_letter(system):
    ref = system.spawn(Nothing)
    ref.stop()
    with pytest.raises(us.ActorDeadError):
        ref.tell("too late")
"""
    found, said = outcomes(pytester, body.format(mark=""))
    assert found.get("errors") == 1
    assert "dead letters" in said
    found, _ = outcomes(pytester, body.format(mark="@pytest.mark.expects_dead_letters"))
    assert found == {"passed": 1}


def test_an_unannounced_failure_of_an_actor_fails_the_test(pytester: pytest.Pytester) -> None:
    body = """
{mark}
def test_failure(system):
    system.spawn(Nothing).tell("fail")
"""
    found, said = outcomes(pytester, body.format(mark=""))
    assert found.get("errors") == 1
    assert "1 failures of actors" in said
    found, _ = outcomes(pytester, body.format(mark="@pytest.mark.expects_failures"))
    assert found == {"passed": 1}
