"""Power cuts: the writes and flushes of a real writer, and the disks they could have left behind.

A writer is recorded with strace. From the recording, disks are rebuilt: everything flushed before
the cut is there, and of what was written since, any sectors may be there and any may not. Each
disk is opened as a journal.

Sixty disks per durability; UNDERSTUDY_POWER_STATES=500 for as many as a release is held to.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

import pytest

STATES = int(os.environ.get("UNDERSTUDY_POWER_STATES", "60"))
PROGRAMS = pathlib.Path(__file__).with_name("power_programs.py")
ROOT = PROGRAMS.parents[2]
SECTOR = 512
CALLS = "openat,close,pwrite64,pwritev,write,writev,lseek,fdatasync,fsync,rename,ftruncate"


@dataclasses.dataclass
class Write:
    """A write to the data file; `flushed_at` is the moment from which it is on disk for sure."""

    at: int
    offset: int
    data: bytes
    flushed_at: int | None = None


@dataclasses.dataclass
class Recording:
    """What happened, in order; moments are line numbers."""

    writes: list[Write]
    acks: list[tuple[int, str, int]]
    flushes: list[int]
    cuts: list[tuple[int, int]]  # moments at which the file was made shorter, and its length
    begin: int
    end: int

    def acknowledged(self, moment: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for at, stream, last in self.acks:
            if at < moment:
                found[stream] = last
        return found

    def disk(self, moment: int, shuffled: random.Random, share: float) -> bytes:
        image = bytearray()
        for write in self.writes:
            if write.at >= moment:
                break
            safe = write.flushed_at is not None and write.flushed_at < moment
            end = write.offset + len(write.data)
            for start in range(write.offset, end, SECTOR):
                if safe or shuffled.random() < share:
                    stop = min(start + SECTOR - start % SECTOR, end)
                    if len(image) < stop:
                        image.extend(bytes(stop - len(image)))
                    image[start:stop] = write.data[start - write.offset : stop - write.offset]
        for at, length in self.cuts:
            # The writer cuts the room off as the last thing it does, and flushes nothing after it.
            if at < moment and shuffled.random() < share:
                del image[length:]
        return bytes(image)


def unescape(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def parse(lines: list[str], directory: str, acks: str) -> Recording:
    """A recording out of strace's output, with writes begun where they begin, flushes done where
    they end."""
    fds: dict[int, str] = {}
    offsets: dict[int, int] = {}
    dsync: set[int] = set()
    files: dict[str, list[Write]] = {}
    found = Recording([], [], [], [], 0, len(lines))
    flushing: dict[str, tuple[int, int]] = {}
    syncing: dict[str, Write] = {}
    data = f"{directory}/data.mdb"
    for moment, line in enumerate(lines):
        thread, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.startswith("<..."):
            if thread in flushing and ("fdatasync" in rest or "fsync" in rest):
                fd, began = flushing.pop(thread)
                flush(files, fds[fd], began, moment, found)
            if thread in syncing and "pwrite" in rest:
                syncing.pop(thread).flushed_at = moment
            continue
        name, _, arguments = rest.partition("(")
        unfinished = rest.endswith("<unfinished ...>")
        if name == "openat":
            match = re.search(r'"((?:\\x[0-9a-f]{2})*)", (\S+).* = (\d+)$', rest)
            if match:
                fd = int(match[3])
                fds[fd] = unescape(match[1]).decode()
                offsets[fd] = 0
                (dsync.add if "DSYNC" in match[2] else dsync.discard)(fd)
            continue
        if name == "rename":
            old, new = (unescape(text).decode() for text in re.findall(r'"([^"]*)"', rest)[:2])
            if old in files:
                files[new] = files.pop(old)
                fds = {fd: (new if path == old else path) for fd, path in fds.items()}
            if new == data:
                found.begin = moment + 1
            continue
        number = re.match(r"(\d+)", arguments)
        if number is None:
            continue
        fd = int(number[1])
        path = fds.get(fd, "")
        if name == "close":
            fds.pop(fd, None)
        elif name == "lseek":
            if not arguments.startswith(f"{fd}, ") or "SEEK_SET" not in arguments:
                continue
            offsets[fd] = int(arguments.split(", ")[1])
        elif name == "ftruncate" and path == data:
            assert moment > max(write.at for write in files[data])
            found.cuts.append((moment, int(arguments.split(", ")[1].split(")")[0])))
        elif name in ("fdatasync", "fsync") and path.endswith("data.mdb"):
            if unfinished:
                flushing[thread] = (fd, moment)
            else:
                flush(files, path, moment, moment, found)
        elif name in ("write", "writev", "pwrite64", "pwritev"):
            payload = b"".join(
                unescape(text) for text in re.findall(r'"((?:\\x[0-9a-f]{2})+)"', rest)
            )
            if path == acks:
                stream, last = payload.split()
                found.acks.append((moment, stream.decode(), int(last)))
            elif path.endswith("data.mdb"):
                tail = re.sub(r'"[^"]*"', "", arguments)
                if name in ("pwrite64", "pwritev"):
                    at = re.search(r", (\d+)(?:\) += .*| <unfinished.*)$", tail)
                    assert at is not None, tail
                    offset = int(at[1])
                else:
                    offset = offsets[fd]
                    offsets[fd] += len(payload)
                write = Write(moment, offset, payload)
                files.setdefault(path, []).append(write)
                if fd in dsync:
                    if unfinished:
                        syncing[thread] = write
                    else:
                        write.flushed_at = moment
    found.writes = files[data]
    return found


def flush(
    files: dict[str, list[Write]], path: str, began: int, done: int, found: Recording
) -> None:
    for write in files.get(path, ()):
        if write.flushed_at is None and write.at < began:
            write.flushed_at = done
    found.flushes.append(done)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")

    def recorded(durability: str) -> Recording:
        directory = tmp_path_factory.mktemp(durability)
        journal, acks, trace = directory / "journal", directory / "acks", directory / "trace"
        done = subprocess.run(
            ["strace", "-f", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", str(trace)]
            + [sys.executable, str(PROGRAMS), "record", str(journal), durability, str(acks)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=300,
        )
        if "Operation not permitted" in done.stderr or "PTRACE" in done.stderr:
            pytest.skip("strace may not trace here")
        assert done.returncode == 0, done.stderr
        recording = parse(trace.read_text().splitlines(), str(journal), str(acks))
        assert len(recording.acks) == 3 * 45
        # Everything written adds up to the file that is there: the recording is whole.
        whole = recording.disk(recording.end + 1, random.Random(0), 1.0)
        assert whole == (journal / "data.mdb").read_bytes()[: len(whole)]
        return recording

    return recorded


def look_at(disks: list[bytes], directory: pathlib.Path) -> list[dict]:
    """What a fresh process finds on each disk; a process that dies counts against its disk."""
    names = []
    for number, disk in enumerate(disks):
        image = directory / f"{number}.image"
        image.write_bytes(disk)
        names.append(str(image))
    results: list[dict] = []
    while len(results) < len(names):
        done = subprocess.run(
            [sys.executable, str(PROGRAMS), "check", *names[len(results) :]],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=600,
        )
        results += [json.loads(line) for line in done.stdout.splitlines()]
        if len(results) < len(names):
            results.append({"error": f"the process died: {done.returncode} {done.stderr[-300:]}"})
    for name in names:
        os.unlink(name)
    return results


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("durability", ["sync", "pipelined"])
def test_a_power_cut_loses_nothing_acknowledged(record, tmp_path, durability):
    recording = record(durability)
    shuffled = random.Random(f"{durability} {STATES}")
    moments = [shuffled.randrange(recording.begin, recording.end + 1) for _ in range(STATES)]
    # Cuts right before an acknowledgement's neighbour are where early ones would be caught.
    for number in range(0, STATES, 3):
        moments[number] = shuffled.choice(recording.acks)[0] + 1
    for start in range(0, STATES, 50):
        part = moments[start : start + 50]
        disks = [
            recording.disk(m, shuffled, shuffled.choice((0.0, 0.1, 0.5, 0.9, 1.0))) for m in part
        ]
        for moment, found in zip(part, look_at(disks, tmp_path), strict=True):
            assert "error" not in found, (moment, found)
            assert found["problems"] == [], (moment, found)
            for stream, last in recording.acknowledged(moment).items():
                assert found["streams"][stream] >= last, (moment, stream, last, found)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_harness_notices_acknowledgements_that_come_too_early(record, tmp_path):
    recording = record("early")
    shuffled = random.Random(1)
    moments = [at + 1 for at, _, _ in shuffled.sample(recording.acks, 40)]
    disks = [recording.disk(moment, shuffled, 0.0) for moment in moments]
    lost = 0
    for moment, found in zip(moments, look_at(disks, tmp_path), strict=True):
        assert "error" not in found
        lost += any(
            found["streams"][stream] < last
            for stream, last in recording.acknowledged(moment).items()
        )
    assert lost > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_relaxed_has_everything_up_to_a_flush_after_which_nothing_was_written(record, tmp_path):
    recording = record("relaxed")
    shuffled = random.Random(STATES)
    [found] = look_at([recording.disk(recording.end + 1, shuffled, 0.0)], tmp_path)
    assert found["problems"] == []
    assert found["streams"] == recording.acknowledged(recording.end + 1)
