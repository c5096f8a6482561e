"""Fixtures of the kernel's tests."""

from __future__ import annotations

import logging
import threading

import pykka
import pytest

from understudy.actors import Exit, Runtime
from understudy.testing import ManualClock

WAIT = 5.0
"""Seconds a fact may take to come true before the test fails."""


@pytest.fixture
def standalone():
    """Standalone actors may be started; those left over are stopped."""
    yield
    pykka.ActorRegistry.stop_all(timeout=WAIT)
    assert pykka.ActorRegistry.get_all() == []


class Guardian:
    """A guardian that records what it is told and does what `decide` says."""

    def __init__(self):
        self.told = []
        self.on = {}
        self.changed = threading.Condition()

    def _note(self, what, ref, *facts):
        with self.changed:
            self.told.append((what, *facts))
            self.changed.notify_all()
        action = self.on.get(what)
        if action is not None:
            action(ref, *facts)

    def wait_for(self, what, count=1):
        with self.changed:
            found = self.changed.wait_for(
                lambda: sum(1 for entry in self.told if entry[0] == what) >= count, WAIT
            )
        assert found, f"{what} was not told {count} times: {self.told}"
        return [entry for entry in self.told if entry[0] == what]

    def child_started(self, ref, incarnation):
        self._note("started", ref, incarnation)

    def child_start_failed(self, ref, incarnation, cause):
        self._note("start_failed", ref, incarnation, cause)

    def child_failed(self, ref, incarnation, failure):
        self._note("failed", ref, incarnation, failure)

    def child_ended(self, ref, incarnation, reason):
        self._note("ended", ref, incarnation, reason)

    def child_closed(self, ref, reason):
        self._note("closed", ref, reason)

    def fatal(self, ref, error):
        self._note("fatal", ref, error)


class Room:
    """A runtime with a guardian, and a short way to make actors in it."""

    def __init__(self, **options):
        self.runtime = Runtime("room", system=object(), **options)
        self.guardian = Guardian()
        self.guardian.on["ended"] = lambda ref, incarnation, reason: ref._us_close(reason)
        self.guardian.on["failed"] = lambda ref, incarnation, failure: ref._us_begin()
        self.count = 0
        self.letters = []
        self._back = threading.Condition()
        came_back = self.runtime.came_back

        def back(strand):
            came_back(strand)
            with self._back:
                self._back.notify_all()

        setattr(self.runtime, "came_back", back)  # noqa: B010 - a method is not assigned to

    def until_no_zombies(self):
        """Until every thread has left the handler it was in when its actor was replaced."""
        with self._back:
            assert self._back.wait_for(lambda: not self.runtime.zombies, WAIT)

    def spawn(self, cls, *args, **options):
        self.count += 1
        path = options.pop("path", f"/room/{self.count}")
        return self.runtime.spawn_cell(
            cls, args, {}, path=path, parent=None, guardian=self.guardian, **options
        )

    def make(self, cls, *args, **options):
        self.count += 1
        return self.runtime.make_cell(
            cls,
            args,
            {},
            path=f"/room/{self.count}",
            parent=None,
            guardian=self.guardian,
            **options,
        )

    def close(self):
        for cell in self.runtime.cells():
            cell._us_close(Exit.SHUTDOWN)
        self.runtime.close()


@pytest.fixture
def make_room():
    """Makes rooms that are closed after the test."""
    rooms = []

    def make(**options):
        rooms.append(Room(**options))
        return rooms[-1]

    yield make
    for room in rooms:
        room.close()


@pytest.fixture
def room(make_room):
    """A runtime with a recording guardian: failed actors begin again, ended ones are closed."""
    return make_room()


@pytest.fixture
def clock():
    """Time that is moved by hand."""
    return ManualClock()


@pytest.fixture
def timed_room(make_room, clock):
    """A room on the manual clock."""
    return make_room(clock=clock)


@pytest.fixture
def quiet_log(caplog):
    """Expected errors are logged: keep them off the terminal, and at hand."""
    caplog.set_level(logging.DEBUG, logger="pykka")
    return caplog
