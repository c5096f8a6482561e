"""The pytest plugin: fixtures `clock`, `system` and `probe` for tests of actors.

It is loaded by itself where understudy is installed. A test that uses `system` fails
when it

- leaves actors running: a second system it did not stop, or a standalone actor;
- leaves dead letters it did not announce with `@pytest.mark.expects_dead_letters`;
- had an actor fail, or an error logged, and did not announce it with
  `@pytest.mark.expects_failures`;
- is marked `@pytest.mark.strict_sends`, or the option `understudy_strict = true` is set, and a
  persistent actor told somebody something before the events of its step were safe.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.supervision import ActorSystem
    from understudy.testing._clock import ManualClock
    from understudy.testing._probe import TestProbe

# Suites for storage adapters find their servers through these fixtures.
pytest_plugins = ["understudy.storage.contract.plugin"]

_LOGGERS = ("understudy", "pykka")
_SHOWN = 5  # letters or records named in a failure: enough to see the pattern


def pytest_addoption(parser: pytest.Parser) -> None:
    """Announce the options of this plugin."""
    parser.addini(
        "understudy_strict",
        "whether persistent actors may not use a plain tell in a step that persists",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marks of this plugin."""
    config.addinivalue_line(
        "markers", "expects_dead_letters: the test leaves dead letters on purpose"
    )
    config.addinivalue_line(
        "markers", "expects_failures: actors of the test raise and log on purpose"
    )
    config.addinivalue_line(
        "markers", "strict_sends: a plain tell in a step that persists fails the test"
    )


class _Errors(logging.Handler):
    """Keeps the records of exceptions that actors' loggers report."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until the test advances it."""
    from understudy.testing._clock import ManualClock

    return ManualClock()


@pytest.fixture
def system(clock: ManualClock, request: pytest.FixtureRequest) -> Iterator[ActorSystem]:
    """An in-memory `ActorSystem` on the manual clock; checked and stopped after the test."""
    import pykka

    from understudy.actors import ActorFailed, DeadLetter
    from understudy.supervision import ActorSystem
    from understudy.testing._settle import settle
    from understudy.testing._strict import StrictSends

    before = set(pykka.ActorRegistry.get_all())
    errors = _Errors()
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(errors)
    letters: list[DeadLetter] = []
    failures: list[ActorFailed] = []
    lock = threading.Lock()

    def keep(event: Any) -> None:
        with lock:
            if isinstance(event, DeadLetter):
                letters.append(event)
            else:
                failures.append(event)

    made = ActorSystem(request.node.name[:40].strip("[]") or "test", clock=clock)
    subscription = made.events.subscribe(keep, DeadLetter, ActorFailed)
    complaints = []
    strict = StrictSends(made)
    wanted = request.config.getini("understudy_strict")
    wanted = wanted or request.node.get_closest_marker("strict_sends") is not None
    watching = contextlib.ExitStack()
    if wanted:
        watching.enter_context(strict.watching())
    try:
        yield made
        settle(made)
    finally:
        watching.close()
        subscription.cancel()
        made.stop()
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(errors)
        left = [ref for ref in pykka.ActorRegistry.get_all() if ref not in before]
        for ref in left:
            ref.stop(block=False)
    if left:
        complaints.append(f"it left actors running: {left}")
    if letters and request.node.get_closest_marker("expects_dead_letters") is None:
        complaints.append(f"it left {len(letters)} dead letters: {letters[:_SHOWN]}")
    if request.node.get_closest_marker("expects_failures") is None:
        if failures:
            complaints.append(f"{len(failures)} failures of actors: {failures[:_SHOWN]}")
        if errors.records:
            said = [record.getMessage() for record in errors.records[:_SHOWN]]
            complaints.append(f"{len(errors.records)} errors were logged: {said}")
    complaints.extend(map(str, strict.found))
    if complaints:
        pytest.fail("; ".join(complaints), pytrace=False)


@pytest.fixture
def probe(system: ActorSystem) -> TestProbe:
    """A `TestProbe` in `system`."""
    from understudy.testing._probe import TestProbe

    return TestProbe(system)
