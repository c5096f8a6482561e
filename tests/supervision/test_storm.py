"""A storm over a tree of five levels: afterwards everything is as the specs say, and nothing more.

On real time and real threads, since interleavings are what it looks for. `UNDERSTUDY_STRESS_SECONDS`
makes it longer than the second it takes by default.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import threading
import time
from typing import Any

import pytest

from tests.supervision.test_detector_live import wait_for
from understudy.actors import Actor, ActorDeadError, Heartbeat
from understudy.storage import UnderstudyError
from understudy.supervision import (
    ActorSystem,
    ChildSpec,
    ChildState,
    OneForAll,
    OneForOne,
    RestForOne,
    Supervisor,
)

SECONDS = float(os.environ.get("UNDERSTUDY_STRESS_SECONDS", "1"))
WIDTH, LEAVES = (3, 4) if SECONDS < 5 else (5, 8)
MANY = 1_000_000


class Leaf(Actor):
    heartbeat = Heartbeat(timeout=0.4, on_frozen="restart")

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise RuntimeError("storm")
        if message == "end":
            self.stop()
        elif isinstance(message, threading.Event):
            message.wait(5)
        return self.context.incarnation


class Branch(Supervisor):
    def __init__(self, level: int, seed: int) -> None:
        super().__init__()
        kinds = (OneForOne, OneForAll, RestForOne)
        # Below the top some give up easily, so that failures climb.
        intensity = MANY if level >= 3 else (MANY, 50)[seed % 2]
        self.strategy = kinds[seed % 3](intensity=intensity, period=0.5)
        self.level = level
        self.seed = seed

    def children(self) -> list[ChildSpec]:
        if self.level == 1:
            return [ChildSpec(f"leaf{n}", Leaf, shutdown=0.2) for n in range(LEAVES)]
        return [
            ChildSpec(f"b{n}", Branch, args=(self.level - 1, self.seed + n)) for n in range(WIDTH)
        ]


def branches(system: ActorSystem) -> list[Any]:
    return [node for node in system.tree().walk() if node.cls == "Branch"]


def settled(system: ActorSystem) -> bool:
    nodes = [n for n in system.tree().walk() if n.path.startswith("/user/top")]
    wanted = sum(WIDTH**level for level in range(4)) + WIDTH**3 * LEAVES
    return len(nodes) == wanted and all(n.state == ChildState.RUNNING.value for n in nodes)


class Weather:
    """One thread of chaos."""

    def __init__(self, system: ActorSystem, seed: int, gates: list[threading.Event]) -> None:
        self.system = system
        self.random = random.Random(seed)
        self.gates = gates
        self.actions = 0

    def run(self, until: float) -> None:
        deeds = [self.crash] * 10 + [self.end] * 3 + [self.order] * 4 + [self.add] * 2
        deeds += [self.fell] * 2 + [self.freeze]
        while time.monotonic() < until:
            try:
                self.random.choice(deeds)()
            except (ActorDeadError, UnderstudyError):
                pass  # whom we wanted to hit was gone already: such is a storm
            self.actions += 1

    def path(self, levels: int) -> str:
        return "/user/top" + "".join(f"/b{self.random.randrange(WIDTH)}" for _ in range(levels))

    def leaf(self) -> Any:
        return self.system.lookup(f"{self.path(3)}/leaf{self.random.randrange(LEAVES)}")

    def crash(self) -> None:
        leaf = self.leaf()
        if leaf is not None:
            leaf.tell("crash")

    def end(self) -> None:
        leaf = self.leaf()
        if leaf is not None:
            leaf.tell("end")

    def freeze(self) -> None:
        leaf = self.leaf()
        if leaf is not None and len(self.gates) < 20:
            gate = threading.Event()
            self.gates.append(gate)
            leaf.tell(gate)

    def fell(self) -> None:
        branch = self.system.lookup(self.path(self.random.randrange(1, 4)))
        if branch is not None:
            branch._us_fail(RuntimeError("felled"))

    def order(self) -> None:
        branch = self.system.lookup(self.path(3))
        if branch is None:
            return
        admin, id = branch.proxy(), f"leaf{self.random.randrange(LEAVES)}"
        admin.terminate_child(id).get(timeout=20)
        admin.restart_child(id).get(timeout=20)

    def add(self) -> None:
        branch = self.system.lookup(self.path(3))
        if branch is None:
            return
        admin, id = branch.proxy(), f"extra{self.random.randrange(1000)}"
        admin.start_child(ChildSpec(id, Leaf, restart="temporary", shutdown=0.2)).get(timeout=20)
        admin.terminate_child(id).get(timeout=20)


@pytest.mark.conformance(130)
@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.timeout(SECONDS * 2 + 120)
def test_after_a_storm_there_is_what_the_specs_say_and_nothing_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A captured record keeps its exception, the exception its frames, these the old instance.
    caplog.set_level(logging.CRITICAL, logger="understudy")
    before = set(threading.enumerate())
    gates: list[threading.Event] = []
    system = ActorSystem("storm", config={"detector": {"sweep": 0.1}})
    try:
        top = system.spawn(Branch, 4, 0, name="top", restart="permanent")
        wait_for(lambda: settled(system))
        until = time.monotonic() + SECONDS
        storms = [Weather(system, seed, gates) for seed in range(4)]
        threads = [threading.Thread(target=storm.run, args=(until,)) for storm in storms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS + 60)
            assert not thread.is_alive()
        for gate in gates:
            gate.set()
        assert sum(storm.actions for storm in storms) > 100
        revive(system)
        wait_for(lambda: settled(system))
        assert top.is_alive()
        nodes = [n for n in system.tree().walk() if n.cls == "Leaf"]
        for node in nodes:
            ref = system.lookup(node.path)
            assert ref is not None
            assert ref.ask("who", timeout=20) >= 1
        wait_for(lambda: system.stats().zombie_threads == 0)
        assert len(system.runtime.paths) == len(list(system.tree().walk()))  # no orphan
        gc.collect()
        alive = [o for o in gc.get_objects() if type(o) is Leaf]
        assert len(alive) == len(nodes)  # no double
        del alive
    finally:
        for gate in gates:
            gate.set()
        system.stop()
    wait_for(lambda: not [t for t in set(threading.enumerate()) - before if not t.daemon])
    assert system.runtime.paths == {}
    assert system.realm.families == {}


def revive(system: ActorSystem) -> None:
    """Start what an order had stopped when the storm ended between the two halves of it."""
    for node in system.tree().walk():
        if node.cls == "Leaf" and node.state == "stopped":
            above = system.lookup(node.path.rpartition("/")[0])
            if above is not None:
                try:
                    above.proxy().restart_child(node.name).get(timeout=20)
                except UnderstudyError:
                    pass
