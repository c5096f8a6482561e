"""The victim of the crash harness: writes from several threads and says what was acknowledged.

Run as a program: directory, durability, round. Every line it prints was acknowledged before.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import cast

from understudy.storage import (
    Append,
    Cursor,
    Durability,
    Journal,
    NewEffect,
    NewEvent,
    Put,
    Write,
)

WRITERS = 6


def write(journal: Journal, name: str, round_: int, number: int) -> None:
    stream = f"stream-{number}"
    count = journal.last_seq(stream)
    batch = 0
    while True:
        batch += 1
        size = batch % 7 + 1
        label = f"{round_}.{batch}"
        events = [
            NewEvent("step", {"label": label, "size": size, "n": n, "pad": "x" * (batch % 400)})
            for n in range(size)
        ]
        last = count + size
        if number % 2:
            journal.append(stream, events, expected_seq=count)
        else:
            journal.write(
                Write(
                    appends=[Append(stream, events, count)],
                    effects=[NewEffect("out", {"last": last}, f"{stream}:{last}", stream)],
                    puts=[Put("last", stream, last)],
                    cursors=[Cursor(stream, last)],
                )
            )
        count = last
        os.write(1, f"{number} {last}\n".encode())


def main() -> None:
    path, durability, round_ = sys.argv[1:4]
    level = cast("Durability", durability)
    journal = Journal.open(path, level, checkpoint_events=2000, segment_events=5000)
    threads = [
        threading.Thread(target=write, args=(journal, path, int(round_), number))
        for number in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
