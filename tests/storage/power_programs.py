"""The two programs of the power-loss harness: one writes and is recorded, one looks at images.

record DIRECTORY DURABILITY ACKS: write from three threads; each line in ACKS was acknowledged.
check IMAGES...: open each image as a journal; one JSON line each.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
from typing import cast

from understudy.storage import Append, Durability, Journal, NewEvent, Put, StorageError, Write


def record(path: str, durability: str, acks: str) -> None:
    early = durability == "early"
    level = cast("Durability", "pipelined" if early else durability)
    journal = Journal.open(path, level, checkpoint_events=40, segment_events=150)
    if early:
        # acknowledges before the meta page is safe, and writes nothing down beside it
        journal._core.own_writer().durability = "relaxed"
    out = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(number: int) -> None:
        stream = f"s{number}"
        last = 0
        for batch in range(45):
            size = batch % 4 + 1
            events = [NewEvent(f"t{n % 2}", {"n": last + n + 1, "pad": "x" * (97 * batch % 2500)},
                               id=f"{stream}-{last + n + 1}") for n in range(size)]  # fmt: skip
            if number == 2:
                journal.write(
                    Write([Append(stream, events, last)], puts=[Put("b", "k", last + size)])
                )
            else:
                # Two under way at once, so that commits follow one another.
                futures = [
                    journal.submit(stream, [event], last + n) for n, event in enumerate(events)
                ]
                for future in futures:
                    future.result()
            last += size
            os.write(out, f"{stream} {last}\n".encode())
            if number == 0 and batch % 10 == 9:
                journal.delete(f"gone{batch}")
                journal.append(f"gone{batch}", [NewEvent("x", "y" * 3000)])
                journal.truncate(f"gone{batch}", 2)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(out)
    journal.close()


def look(image: pathlib.Path) -> dict:
    directory = pathlib.Path(tempfile.mkdtemp(dir=image.parent))
    try:
        shutil.copyfile(image, directory / "data.mdb")
        with Journal.open(directory) as journal:
            report = journal.verify()
            streams = {}
            for number in range(3):
                records = list(journal.read(f"s{number}"))
                assert [r.seq for r in records] == list(range(1, len(records) + 1))
                assert [r.payload["n"] for r in records] == list(range(1, len(records) + 1))
                streams[f"s{number}"] = len(records)
            assert journal.state.get("b", "k", 0) == streams["s2"]
            journal.append("after", [NewEvent("x")])
            return {"streams": streams, "problems": [str(p) for p in report.problems]}
    except (StorageError, AssertionError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(*sys.argv[2:])
    else:
        for name in sys.argv[2:]:
            sys.stdout.write(json.dumps(look(pathlib.Path(name))) + "\n")
            sys.stdout.flush()
