"""Room ahead of the end of the data file: commits overwrite blocks in place of growing it."""

from __future__ import annotations

import os

import lmdb
import pytest

from tests.storage.conftest import events, seqs
from understudy.storage import Journal, _room

PAGE = 4096


def size(path) -> int:
    return int((path / "data.mdb").stat().st_size)


def used(path) -> int:
    """Bytes up to the last page in use, as the engine knows it."""
    with lmdb.open(str(path), readonly=True, lock=False, max_dbs=1) as env:
        return int((env.info()["last_pgno"] + 1) * env.stat()["psize"])


@pytest.mark.parametrize("durability", ["sync", "pipelined"])
def test_small_commits_seldom_grow_the_file(path, durability):
    sizes = []
    with Journal.open(path, durability) as journal:
        for n in range(300):
            journal.append("s", events(10, start=n))
            journal.sync()  # behind it the turn of the append is over
            sizes.append(size(path))
            assert journal.stats().size_bytes + _room.LEAST <= sizes[-1]
        grown = journal.stats().size_bytes
    assert grown > 20 * PAGE
    assert len(set(sizes)) < grown / PAGE / 8


@pytest.mark.parametrize("durability", ["sync", "pipelined", "relaxed"])
def test_a_closed_file_ends_with_its_last_page(path, durability):
    with Journal.open(path, durability) as journal:
        for n in range(50):
            journal.append("s", events(10, start=n))
    assert size(path) == used(path)


def test_a_journal_that_does_not_wait_for_the_disk_keeps_no_room(path):
    with Journal.open(path, "relaxed") as journal:
        for n in range(50):
            journal.append("s", events(10, start=n))
        journal.sync()
        assert size(path) == journal.stats().size_bytes


def test_what_a_crash_left_behind_the_last_page_does_not_matter(path):
    with Journal.open(path) as journal:
        journal.append("s", events(20))
    with (path / "data.mdb").open("ab") as file:
        file.write(os.urandom(37 * PAGE + 100))
    with Journal.open(path, readonly=True) as journal:
        assert seqs(journal.read("s")) == list(range(1, 21))
    with Journal.open(path) as journal:
        for n in range(200):
            journal.append("s", events(10, start=n))
        assert journal.verify().ok
        assert seqs(journal.read("s")) == list(range(1, 2021))
    with Journal.open(path) as journal:
        assert journal.verify().ok
        assert journal.last_seq("s") == 2020


def test_room_is_given_back_beside_a_reader(path):
    with Journal.open(path) as journal:
        journal.append("s", events(20))
        journal.sync()
        before = size(path)
        with journal._core.environment.reading() as txn:
            journal._core.own_writer().control(journal._core.environment.give_back_room).result()
            assert size(path) < before
            assert txn.stat(journal._core.catalog.segments[0].log)["entries"] == 1
        journal.append("s", events(20))
        journal.sync()
        assert size(path) >= before
        assert seqs(journal.read("s")) == list(range(1, 41))


@pytest.fixture
def room(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4 * PAGE)
    room = _room.Room(str(path), PAGE)
    yield room, path
    room.close()


def test_room_grows_with_the_file_within_limits(room):
    room, path = room
    room.keep(3)
    assert path.stat().st_size == 4 * PAGE + _room.LEAST + _room.SMALLEST
    assert path.read_bytes() == b"x" * 4 * PAGE + bytes(_room.LEAST + _room.SMALLEST)
    with path.open("ab") as file:
        file.truncate(1000 * _room.LARGEST)
    room.give_back(8 * _room.LARGEST // PAGE - 17)
    room.keep(8 * _room.LARGEST // PAGE - 1)
    assert path.stat().st_size == 9 * _room.LARGEST + _room.LEAST


def test_large_commits_grow_the_file_themselves(room):
    room, path = room
    room.keep(3)
    page = 3 + _room.BULK // PAGE + 1
    with path.open("r+b") as file:
        file.truncate((page + 1) * PAGE)
    room.keep(page)
    assert path.stat().st_size == (page + 1) * PAGE


def test_a_disk_that_is_nearly_full_is_left_alone(room, monkeypatch):
    room, path = room
    monkeypatch.setattr(_room, "SPARE", 1 << 62)
    room.keep(3)
    assert path.stat().st_size == 4 * PAGE
