"""The pytest plugin: fixtures `clock`, `system` and `probe` for tests of actors.

It is loaded by itself where understudy is installed. A test that uses `system` fails
when it

- leaves actors running: a second system it did not stop, or a standalone actor;
- leaves dead letters it did not announce with `@pytest.mark.expects_dead_letters`;
- had an actor fail, or an error logged, and did not announce it with
  `@pytest.mark.expects_failures`.
"""

from __future__ import annotations

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


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marks of this plugin."""
    config.addinivalue_line(
        "markers", "expects_dead_letters: the test leaves dead letters on purpose"
    )
    config.addinivalue_line(
        "markers", "expects_failures: actors of the test raise and log on purpose"
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
    try:
        yield made
        settle(made)
    finally:
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
    if complaints:
        pytest.fail("; ".join(complaints), pytrace=False)


@pytest.fixture
def probe(system: ActorSystem) -> TestProbe:
    """A `TestProbe` in `system`."""
    from understudy.testing._probe import TestProbe

    return TestProbe(system)
