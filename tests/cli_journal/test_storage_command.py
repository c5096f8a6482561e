"""`understudy storage` moves everything from one store to another, and counts it."""

from __future__ import annotations

import pytest

from understudy.storage import Journal, NewEvent, StorageError
from understudy.storage.adapters._migrate import MigrationRefused
from understudy.storage.adapters._url import open_storage


@pytest.fixture
def old(tmp_path):
    url = f"sqlite://{tmp_path}/old.db"
    with open_storage(url) as store:
        store.save_session("ada:echo:t1", {"turns": 2}, active_agent="echo")
        store.set("colour", "red")
        store.journal.append("s", [NewEvent("a", n) for n in range(5)])
    return url


def test_migrate_copies_everything_and_compares(run_storage, old, tmp_path):
    url = f"file://{tmp_path}/new"
    report = run_storage.json("migrate", "--from", old, "--to", url)
    assert report["copied"] == {
        "sessions": 1,
        "keys": 1,
        "events": 5,
        "streams": 0,
        "snapshots": 0,
        "effects": 0,
    }
    assert report["checksums"]["events"]["count"] == 5
    assert report["verified"] is True
    assert report["resumed"] is False
    with open_storage(url) as store:
        assert store.get("colour") == "red"
        assert store.journal.last_seq("s") == 5


def test_migrate_prints_a_table(run_storage, old, tmp_path):
    text = run_storage("migrate", "--from", old, "--to", f"lmdb://{tmp_path}/new", "--no-verify")
    assert "events\t5\tnot compared" in text
    assert "copied everything in" in text


def test_migrate_reads_a_journal_beside_the_system_that_writes_it(run_storage, tmp_path):
    with Journal.open(tmp_path / "data" / "journal") as journal:
        journal.append("s", [NewEvent("a", 1)])
        journal.cursors.set("reader", 1)
        text = run_storage(
            "migrate", "--from", f"lmdb://{tmp_path}/data", "--to", f"sqlite://{tmp_path}/x.db"
        )
    assert "events\t1\t1" in text
    assert "left behind: 1 cursors" in text
    assert "copied all that the target can hold in" in text
    assert "everything" not in text


def test_migrate_into_a_store_that_holds_something_is_refused_unless_told(
    run_storage, old, tmp_path
):
    url = f"sqlite://{tmp_path}/new.db"
    with open_storage(url) as store:
        store.set("mine", 1)
    with pytest.raises(MigrationRefused, match="the target holds"):
        run_storage("migrate", "--from", old, "--to", url)
    run_storage("migrate", "--from", old, "--to", url, "--merge")
    with open_storage(url) as store:
        assert (store.get("mine"), store.get("colour")) == (1, "red")


def test_migrate_from_a_store_that_is_not_there_makes_nothing(run_storage, tmp_path):
    with pytest.raises(StorageError, match="there is nothing at"):
        run_storage(
            "migrate", "--from", f"sqlite://{tmp_path}/no.db", "--to", f"file://{tmp_path}/new"
        )
    assert list(tmp_path.iterdir()) == []


def test_migrate_from_a_store_to_itself_is_refused(run_storage, old):
    with pytest.raises(MigrationRefused, match="the same store"):
        run_storage("migrate", "--from", old, "--to", old)


def test_stats_count_what_a_store_holds(run_storage, old):
    data = run_storage.json("stats", old)
    assert (data["sessions"], data["keys"], data["events"], data["streams"]) == (1, 1, 5, 1)
    assert data["details"]["synchronous"] == "normal"
    lines = dict(line.split(None, 1) for line in run_storage("stats", old).splitlines())
    assert lines["name"] == "sqlite"
    assert lines["events"] == "5"


def test_stats_of_a_journal_are_read_beside_its_system(run_storage, tmp_path):
    with Journal.open(tmp_path / "data" / "journal") as journal:
        journal.append("s", [NewEvent("a", 1)])
        assert run_storage.json("stats", f"lmdb://{tmp_path}/data")["events"] == 1
        url = f"lmdb://{tmp_path}/data?durability=sync"
        assert run_storage.json("stats", url)["events"] == 1


def test_the_help_shows_urls(run_storage):
    assert "postgresql://" in run_storage("migrate", "--help")
    assert "lmdb:///path" in run_storage("--help")
