"""The SQLite store keeps the contract, and what is its own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys

import pytest

from understudy.storage import NewEvent, StorageError
from understudy.storage.adapters import SQLiteAdapter, StoreClosed, StoreFailed
from understudy.storage.contract import StorageContract


class TestSQLite(StorageContract):
    def create_adapter(self, tmp_path, clock):
        return SQLiteAdapter(tmp_path / "deep" / "sessions.db", clock=clock)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path):
    with SQLiteAdapter(path) as store:
        yield store


@pytest.mark.parametrize(("synchronous", "number"), [("normal", 1), ("full", 2)])
def test_the_pragmas_are_set_on_every_connection(path, synchronous, number):
    with SQLiteAdapter(path, synchronous=synchronous) as store, store._db().reading() as tx:

        def pragma(name):
            return tx.execute(f"PRAGMA {name}").fetchone()[0]

        assert pragma("journal_mode") == "wal"
        assert pragma("synchronous") == number
        assert pragma("cache_size") == 10_000
        assert pragma("temp_store") == 2
        assert pragma("mmap_size") > 1_000_000_000


def test_another_durability_is_refused(path):
    with pytest.raises(ValueError, match="use 'normal' or 'full'"):
        SQLiteAdapter(path, synchronous="off")  # type: ignore[arg-type]  # the point


def test_a_file_that_is_no_database_is_an_error(path):
    path.write_text("x" * 5000)
    with pytest.raises(StoreFailed, match="not a database"):
        SQLiteAdapter(path).initialize()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed):
        SQLiteAdapter(tmp_path / "file" / "x.db").initialize()


def test_a_directory_in_the_place_of_the_file_is_an_error(path):
    path.mkdir()
    with pytest.raises(StoreFailed, match="unable to open"):
        SQLiteAdapter(path).initialize()


def test_tables_of_a_later_release_are_refused(path):
    with SQLiteAdapter(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE us_meta SET value = 99 WHERE name = 'schema'")
    connection.close()
    with pytest.raises(StorageError, match="schema 99"):
        SQLiteAdapter(path).initialize()


def test_a_store_that_was_never_opened_says_so(path):
    with pytest.raises(StoreClosed, match=r"initialize\(\)"):
        SQLiteAdapter(path).get("k")
    with pytest.raises(StoreClosed):
        list(SQLiteAdapter(path).journal.read("s"))


def test_a_failed_write_keeps_nothing_and_the_store_goes_on(store):
    with pytest.raises(StoreFailed, match="no such table"), store._db().writing() as tx:
        tx.execute("INSERT INTO us_keys (key, value) VALUES ('k', x'c0')")
        tx.execute("INSERT INTO nowhere VALUES (1)")
    assert store.has("k") is False
    store.set("k", 1)
    assert store.get("k") == 1


def test_a_full_database_is_an_error_and_the_store_goes_on_when_there_is_room(path):
    with SQLiteAdapter(path) as store:
        store.set("k", 1)
        # One connection is idle: the next write uses it.
        with store._db().reading() as tx:
            pages = tx.execute("PRAGMA page_count").fetchone()[0]
            tx.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreFailed, match="full"):
            store.set("large", b"x" * 100_000)
        with store._db().reading() as tx:
            tx.execute("PRAGMA max_page_count = 1000000")
        store.set("large", b"x" * 100_000)
        assert store.get("k") == 1


def test_a_second_process_reads_and_writes_beside_the_first(path, store):
    store.journal.append("s", [NewEvent("a", 1, id="1")])
    script = f"""
import json
from understudy.storage import NewEvent, WrongExpectedSeq
from understudy.storage.adapters import SQLiteAdapter
with SQLiteAdapter({str(path)!r}) as store:
    found = [r.payload for r in store.journal.read("s")]
    store.journal.append("s", [NewEvent("a", 2)], expected_seq=1)
    try:
        store.journal.append("s", [NewEvent("a", 3)], expected_seq=1)
    except WrongExpectedSeq as error:
        print(json.dumps([found, error.actual]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [[1], 2]
    assert [r.payload for r in store.journal.read("s")] == [1, 2]


def test_the_size_is_that_of_the_file_and_its_log(store):
    before = store.get_stats().size_bytes
    store.set("large", b"x" * 500_000)
    assert store.get_stats().size_bytes >= before + 500_000


def test_expired_keys_are_removed_by_the_next_write(path):
    now = [1000.0]
    with SQLiteAdapter(path, clock=lambda: now[0]) as store:
        for number in range(5):
            store.set(f"k{number}", number, ttl=10)
        now[0] += 10
        store.set("new", 1)
        with store._db().reading() as tx:
            assert tx.execute("SELECT COUNT(*) FROM us_keys").fetchone()[0] == 1


def test_more_keys_than_a_page_are_scanned(store):
    with store._db().writing() as tx:
        tx.executemany(
            "INSERT INTO us_keys (key, value) VALUES (?, x'01')",
            [(f"k{n:05}",) for n in range(2500)],
        )
    assert [item.key for item in store.scan("k")] == [f"k{n:05}" for n in range(2500)]
