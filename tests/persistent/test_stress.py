"""Deposits from all sides while actors and the journal fall: what was acknowledged is there, once."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import understudy as us
from tests.persistent.conftest import Account, SnapshotAccount

SECONDS = float(os.environ.get("UNDERSTUDY_STRESS_SECONDS", "2"))
NAMES = [f"account:{number}" for number in range(10)]


@pytest.mark.conformance(132)
@pytest.mark.stress
@pytest.mark.slow
def test_what_was_acknowledged_is_in_the_history_and_the_state_is_its_fold(
    open_system: Callable[..., us.ActorSystem], tmp_path: Path
) -> None:
    system = open_system(data_dir=tmp_path / "data")
    classes = {name: (Account, SnapshotAccount)[n % 2] for n, name in enumerate(NAMES)}
    refs = {
        name: system.spawn(cls, persistence_id=name, restart=us.Restart.PERMANENT)
        for name, cls in classes.items()
    }
    acknowledged: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    lock = threading.Lock()
    end = time.monotonic() + SECONDS

    def talk(seed: int) -> None:
        mine = random.Random(seed)
        while time.monotonic() < end:
            name = mine.choice(NAMES)
            try:
                account = refs[name].proxy()
                futures = [account.deposit(1) for _ in range(mine.randrange(1, 10))]
                if mine.random() < 0.01:
                    account.deposit_then_fail(1000)
            except us.ActorDeadError:  # over its budget: its history stands
                continue
            for future in futures:
                try:
                    future.get(timeout=20)
                except us.UnderstudyError:
                    with lock:
                        refused[name] += 1
                else:
                    with lock:
                        acknowledged[name] += 1

    talkers = [threading.Thread(target=talk, args=(seed,)) for seed in range(6)]
    for talker in talkers:
        talker.start()
    journal = system.lookup("/storage/journal")
    assert journal is not None
    while time.monotonic() < end:
        journal.tell("nonsense")
        threading.Event().wait(2)  # a pause between two falls, not a wait for anything
    for talker in talkers:
        talker.join(60)
        assert not talker.is_alive()
    assert acknowledged
    for name in NAMES:
        records = list(system.journal.read(name))
        assert [r.seq for r in records] == list(range(1, len(records) + 1))
        assert {r.payload["amount"] for r in records} <= {1}
        # an ask that was refused may have been journaled; one that was answered was
        assert acknowledged[name] <= len(records) <= acknowledged[name] + refused[name]
        if refs[name].is_alive():
            assert refs[name].proxy().get().get(timeout=30) == len(records)
        was = us.replay(classes[name], system.journal, name)
        assert was.balance == len(records)
