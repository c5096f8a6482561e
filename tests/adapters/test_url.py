"""A store is chosen by its URL, and memory takes its place only where that is allowed."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import Any

import pytest

from understudy.storage._errors import StorageError
from understudy.storage._protocols import Storage
from understudy.storage.adapters import (
    BadStorageUrl,
    FileSystemAdapter,
    LmdbAdapter,
    MemoryAdapter,
    PostgresAdapter,
    RedisAdapter,
    SQLiteAdapter,
)
from understudy.storage.adapters._url import SessionsWillNotPersist, open_storage, redacted
from understudy.storage.adapters._url import make_storage as typed_make_storage


def make_storage(url: str) -> Any:
    """The store, whose own attributes the tests look at."""
    return typed_make_storage(url)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("lmdb:///tmp/x", LmdbAdapter),
        ("lmdb:data/journal", LmdbAdapter),
        ("sqlite:///tmp/x.db", SQLiteAdapter),
        ("file:///tmp/x", FileSystemAdapter),
        ("memory://", MemoryAdapter),
        ("memory:", MemoryAdapter),
        ("postgresql://ada@host:5432/db", PostgresAdapter),
        ("postgres://host/db?schema=mine&sslmode=require", PostgresAdapter),
        ("redis://host:6379/0", RedisAdapter),
        ("rediss://:secret@host/1?prefix=mine", RedisAdapter),
        ("unix:///run/redis.sock", RedisAdapter),
    ],
)
def test_each_kind_of_url_makes_its_store(url, kind):
    assert type(make_storage(url)) is kind


def test_paths_are_absolute_behind_three_slashes_and_relative_behind_a_colon():
    assert str(make_storage("lmdb:///a/b%20c").path) == "/a/b c"
    assert str(make_storage("sqlite:data/x.db").path) == "data/x.db"


def test_settings_stand_behind_the_question_mark():
    assert make_storage("lmdb:x?durability=pipelined").durability == "pipelined"
    assert make_storage("lmdb:x?readonly=true").readonly is True
    assert make_storage("sqlite:x?synchronous=full").synchronous == "full"
    files = make_storage("file:x?retention_hours=24&archive_days=7")
    assert files.retention == timedelta(days=1)
    assert files.keep_archive == timedelta(days=7)
    assert make_storage("postgresql://h/db?schema=mine").schema == "mine"
    assert make_storage("redis://h?prefix=mine").prefix == "mine"


def test_settings_of_the_driver_are_handed_on_and_ours_are_not():
    postgres = make_storage("postgresql://h/db?schema=mine&sslmode=require&connect_timeout=3")
    assert postgres._url == "postgresql://h/db?sslmode=require&connect_timeout=3"
    assert make_storage("postgresql://?schema=mine")._url == "postgresql://"
    assert make_storage("redis://h/2?prefix=p&health_check_interval=5")._url == (
        "redis://h/2?health_check_interval=5"
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mongodb://host/db", "unknown kind 'mongodb'"),
        ("/var/lib/data", "it has no kind"),
        ("", "it has no kind"),
        ("lmdb://data/journal", "stands where a host would; write lmdb:data/journal"),
        ("sqlite:", "it has no path"),
        ("file:///", "it has no path"),
        ("memory://x", "memory has no path"),
        ("lmdb:x?durabilty=sync", "unknown setting 'durabilty'"),
        ("lmdb:x?durability=maybe", "durability is 'maybe'"),
        ("sqlite:x?synchronous=off", "synchronous is 'off'"),
        ("file:x?retention_hours=soon", "retention_hours is 'soon'"),
        ("file:x?retention_hours=0.1", "retention is"),
        ("postgresql://h/db?schema=Drop Table", "schema is"),
        ("redis://h?prefix=a*b", "prefix is"),
    ],
)
def test_a_wrong_url_is_refused_with_the_reason_and_the_known_kinds(url, reason):
    with pytest.raises(BadStorageUrl) as error:
        make_storage(url)
    assert reason in str(error.value)
    assert "postgresql://host/database" in str(error.value)


def test_an_opened_store_is_ready(tmp_path):
    store = open_storage(f"sqlite://{tmp_path}/x.db")
    store.set("k", 1)
    assert store.get("k") == 1
    assert isinstance(store, Storage)
    store.close()


def test_a_store_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        open_storage(f"sqlite://{tmp_path}/file/x.db")


def test_memory_takes_its_place_with_a_warning_only_where_that_is_allowed(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(SessionsWillNotPersist, match="sessions will not persist") as caught:
        store = open_storage(f"sqlite://{tmp_path}/file/x.db", fallback=True)
    assert caught[0].filename == __file__
    assert isinstance(store, MemoryAdapter)
    store.set("k", 1)
    assert store.get("k") == 1


def test_a_wrong_url_is_no_reason_to_fall_back():
    with pytest.raises(BadStorageUrl):
        open_storage("mongodb://host/db", fallback=True)


def test_a_store_that_opens_does_not_warn(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_storage(f"file://{tmp_path}/x", fallback=True).close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:secret@host/db", "postgresql://ada:…@host/db"),
        ("postgresql://host/db?user=a&password=secret", "postgresql://host/db?user=a&password=…"),
        ("redis://:secret@host/1", "redis://:…@host/1"),
        ("lmdb:///a/b", "lmdb:///a/b"),
        ("redis://ada@host", "redis://ada@host"),
    ],
)
def test_passwords_are_not_shown(url, shown):
    assert redacted(url) == shown


def test_the_error_of_a_wrong_url_does_not_show_its_password():
    with pytest.raises(BadStorageUrl) as error:
        make_storage("postgresql://ada:secret@host/db?schema=Nope!")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["sqlite://{}/x.db", "file://{}/x", "lmdb://{}/x"])
def test_a_store_that_must_exist_is_not_made(tmp_path, url):
    with pytest.raises(StorageError, match="there is nothing at"):
        open_storage(url.format(tmp_path), must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_the_data_directory_of_a_system_stands_for_its_journal(tmp_path):
    open_storage(f"lmdb://{tmp_path}/data/journal").close()
    assert make_storage(f"lmdb://{tmp_path}/data").path == tmp_path / "data" / "journal"
