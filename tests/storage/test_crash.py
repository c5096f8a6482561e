"""kill -9 at random points, with several writers: nothing acknowledged is lost, no half batch.

Three kills per durability; UNDERSTUDY_CRASH_KILLS=20 for as many as a release is held to.
"""

from __future__ import annotations

import os
import pathlib
import random
import subprocess
import sys

import pytest

from tests.storage.crash_writer import WRITERS
from understudy.storage import Journal

KILLS = int(os.environ.get("UNDERSTUDY_CRASH_KILLS", "3"))
VICTIM = pathlib.Path(__file__).with_name("crash_writer.py")


def kill_a_writer(path, durability: str, round_: int, lines: int) -> dict[int, int]:
    """Let a victim acknowledge so many writes, kill it; the last acknowledged seq per stream."""
    process = subprocess.Popen(
        [sys.executable, str(VICTIM), str(path), durability, str(round_)],
        stdout=subprocess.PIPE,
        cwd=VICTIM.parents[2],
    )
    assert process.stdout is not None
    acknowledged: dict[int, int] = {}
    for count, line in enumerate(process.stdout, 1):
        number, last = line.split()
        acknowledged[int(number)] = int(last)
        if count == lines:
            process.kill()
    assert process.wait(60) == -9
    process.stdout.close()
    return acknowledged


def check(path, acknowledged: dict[int, int]) -> int:
    with Journal.open(path) as journal:
        report = journal.verify()
        assert report.ok, report.problems
        assert [r.position for r in journal.read_all()] == list(
            range(1, journal.last_position() + 1)
        )
        for number in range(WRITERS):
            stream = f"stream-{number}"
            records = list(journal.read(stream))
            assert [r.seq for r in records] == list(range(1, len(records) + 1))
            assert len(records) >= acknowledged.get(number, 0), f"{stream} lost events"
            at = 0
            while at < len(records):
                size = records[at].payload["size"]
                batch = records[at : at + size]
                assert [r.payload["n"] for r in batch] == list(range(size)), "half a batch"
                at += size
            if number % 2 == 0:
                assert journal.state.get("last", stream, 0) == len(records)
                assert journal.cursors.get(stream) == len(records)
                effects = journal.outbox.list(stream=stream)
                assert max((e.payload["last"] for e in effects), default=0) == len(records)
        return journal.last_position()


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["sync", "pipelined", "relaxed"])
def test_a_killed_writer_loses_nothing_it_acknowledged(path, durability):
    shuffled = random.Random(f"{durability} {KILLS}")
    positions = 0
    for round_ in range(KILLS):
        acknowledged = kill_a_writer(path, durability, round_, shuffled.randrange(1, 1500))
        position = check(path, acknowledged)
        assert position >= positions
        positions = position
