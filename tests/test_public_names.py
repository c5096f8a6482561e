"""The public face: `__all__` is true, and each name has one home."""

from __future__ import annotations

import doctest
import importlib
import pathlib
import pkgutil
import subprocess
import sys
from collections import Counter

import pytest

import understudy

ROOMS = (
    "understudy.storage",
    "understudy.actors",
    "understudy.supervision",
    "understudy.agents",
    "understudy.observability",
    "understudy.gateway",
    "understudy.benchmarks",
    "understudy.testing",
)

CONTRACT = """
Actor ActorBusy ActorDeadError ActorFailed ActorFrozen ActorProxy ActorRef ActorRegistry
ActorRestarted ActorStarted ActorStopped ActorSystem Agent AlreadyPresent AlreadyStarted AskCycle
AutoShutdown Backoff ChildCounts ChildInfo ChildNotFound ChildRestarting ChildRunning ChildSpec
ChildState Config DeadLetter Directive DispatcherStarved DynamicSupervisor EffectHandler Exit
Failed Future Heartbeat Ignore InvalidChildSpec Journal Mailbox MailboxFull NewEvent OneForAll
OneForOne PersistentActor Props Restart RestForOne RestartLimit SessionHost SessionKey Shutdown
StartFailed Supervisor Terminated ThreadingActor ThreadingFuture Timeout UnderstudyError
WrongExpectedSeq event gateway get_all intercept testing traversable upcaster
""".split()


def modules() -> list[str]:
    return [
        m.name
        for m in pkgutil.walk_packages(understudy.__path__, "understudy.")
        if not m.name.endswith("__main__")
    ]


@pytest.mark.parametrize("name", CONTRACT)
def test_a_name_of_the_public_contract_is_importable_from_the_facade(name: str) -> None:
    assert getattr(understudy, name) is not None


@pytest.mark.parametrize("room", ["understudy", *ROOMS])
def test_what_a_room_lists_is_there_once(room: str) -> None:
    module = importlib.import_module(room)
    names = list(module.__all__)
    assert len(names) == len(set(names))
    assert not [n for n in names if not hasattr(module, n)]
    assert module.__doc__


def test_each_public_name_has_one_home() -> None:
    homes = Counter(n for room in ROOMS for n in importlib.import_module(room).__all__)
    assert not [n for n, count in homes.items() if count > 1]


def test_every_public_class_and_function_has_a_docstring() -> None:
    bare = []
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            thing = getattr(module, name)
            home = getattr(thing, "__module__", "") or ""
            if callable(thing) and home.startswith("understudy") and not thing.__doc__:
                bare.append(f"{room}.{name}")
    assert not bare


def test_the_reference_is_made_from_the_docstrings_as_they_are() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "docs/reference/make.py", "--check"], cwd=root, timeout=60, check=False
    )
    assert done.returncode == 0, "run: python docs/reference/make.py"


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_the_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0
