"""Stores on disk lose nothing that was acknowledged when their process is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys

import pytest

from understudy.storage.adapters import open_storage

pytestmark = pytest.mark.slow

KILLS, THREADS, BATCH = 3, 3, 3

WRITER = """
import sys, threading
from understudy.storage import NewEvent
from understudy.storage.adapters import open_storage

store = open_storage(sys.argv[1])
run = sys.argv[2]
said = threading.Lock()

def write(thread):
    number = 0
    while True:
        number += 1
        marks = [f"{run}-{thread}-{number}-{n}" for n in range(3)]
        store.journal.append(f"s{number % 4}", [NewEvent("e", m, id=m) for m in marks])
        store.set(f"last-{thread}", number)
        store.save_session(f"session-{thread}", {"number": number})
        with said:
            print(thread, number, flush=True)

for thread in range(3):
    threading.Thread(target=write, args=(thread,), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("url", ["file:{}/store", "sqlite:{}/store.db", "lmdb:{}/journal"])
def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path, url):
    url = url.format(tmp_path)
    chance = random.Random(url)
    acknowledged: list[tuple[int, int, int]] = []
    for run in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(run)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 60)):
            words = process.stdout.readline().split()
            acknowledged.append((run, int(words[0]), int(words[1])))
        process.send_signal(signal.SIGKILL)
        # What was said before the kill and not yet read counts as well; a last line may be cut.
        for line in process.stdout.read().splitlines():
            if len(words := line.split()) == 2:
                acknowledged.append((run, int(words[0]), int(words[1])))
        assert process.wait(timeout=60) == -signal.SIGKILL
        process.stdout.close()

        with open_storage(url) as store:
            found = {}
            for stream in store.journal.streams():
                records = list(store.journal.read(stream))
                assert [r.seq for r in records] == list(range(1, len(records) + 1))
                assert len(records) % BATCH == 0
                for start in range(0, len(records), BATCH):
                    marks = [r.payload for r in records[start : start + BATCH]]
                    base = marks[0].rpartition("-")[0]
                    assert marks == [f"{base}-{n}" for n in range(BATCH)]
                    found[base] = stream
            for each in acknowledged:
                assert "-".join(map(str, each)) in found
            for thread in range(THREADS):
                mine = [n for r, t, n in acknowledged if (r, t) == (run, thread)]
                if mine:
                    assert store.get(f"last-{thread}") >= max(mine)
                    session = store.get_session(f"session-{thread}")
                    assert session is not None
                    assert session.data["number"] >= max(mine)
