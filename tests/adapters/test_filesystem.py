"""The filesystem store keeps the contract, and what is its own."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from understudy.storage._errors import CorruptRecord, StorageError
from understudy.storage._record import NewEvent
from understudy.storage._write import NewEffect
from understudy.storage.adapters import FileSystemAdapter, StoreFailed, StoreInUse
from understudy.storage.adapters._files import file_name
from understudy.storage.contract import ContractClock, StorageContract


class TestFileSystem(StorageContract):
    def create_adapter(self, tmp_path, clock):
        return FileSystemAdapter(tmp_path / "store", clock=clock)


@pytest.fixture
def clock():
    return ContractClock()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder, clock):
    with FileSystemAdapter(folder, clock=clock) as store:
        yield store


def events(count, start=1):
    return [NewEvent("counted", {"n": n}) for n in range(start, start + count)]


def read(store, stream="s"):
    return [record.payload["n"] for record in store.journal.read(stream)]


def the_file(folder, stream="s"):
    return folder / "events" / "active" / f"{file_name(stream)}.jsonl"


# --- the files can be read ------------------------------------------------------------------


def test_events_are_json_lines_that_people_can_read(store, folder):
    payload = {"text": "grüß Gott", "raw": b"\x00"}
    store.journal.append("ada:echo:t1", [NewEvent("message", payload, topics=["x"], version=2)])
    (line,) = the_file(folder, "ada:echo:t1").read_text().splitlines()
    fields = json.loads(line)
    assert fields["stream"] == "ada:echo:t1"
    assert (fields["seq"], fields["position"], fields["version"]) == (1, 1, 2)
    assert fields["time"] == "2026-01-01T00:00:00.000000Z"
    assert fields["payload"]["text"] == "grüß Gott"
    assert fields["topics"] == ["x"]
    assert "grüß Gott" in line
    assert "metadata" not in fields


def test_sessions_and_keys_are_files_that_people_can_read(store, folder):
    store.save_session("ada:echo:t1", {"turns": 3}, active_agent="echo")
    store.set("colour", "red", ttl=10)
    session = json.loads((folder / "sessions" / "ada%3aecho%3at1.json").read_text())
    assert session == {
        "id": "ada:echo:t1",
        "active_agent": "echo",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "updated_at": "2026-01-01T00:00:00.000000Z",
        "data": {"turns": 3},
    }
    key = json.loads((folder / "keys" / "colour.json").read_text())
    assert key["value"] == "red"
    assert key["expires_at"] == "2026-01-01T00:00:10.000000Z"


def test_the_retention_stands_in_the_metadata(folder, clock):
    with FileSystemAdapter(folder, retention=timedelta(hours=6), clock=clock):
        metadata = json.loads((folder / "events" / "metadata.json").read_text())
    assert metadata["settings"] == {"retention_seconds": 21600.0, "archive_days": 30.0}


def test_file_names_are_different_for_names_that_file_systems_confuse():
    names = ["a", "A", "a.", ".a", "..", "a/b", "a:b", "ä", "x" * 300, "x" * 301, "%41", "con~"]
    made = {file_name(name) for name in names}
    assert len(made) == len(names)
    assert all(len(name.encode()) < 230 and not name.startswith(".") for name in made)


# --- retention and archive ------------------------------------------------------------------


def test_cleanup_moves_what_is_older_to_the_archive_of_its_day(folder, clock):
    with FileSystemAdapter(folder, retention=timedelta(hours=1), clock=clock) as store:
        store.journal.append("s", events(2))
        clock.advance(86_400)
        store.journal.append("s", events(2, 3))
        store.journal.append("t", events(1))
        clock.advance(3600)
        store.journal.append("s", events(1, 5))
        clock.advance(1)
        result = store.cleanup()
        assert result.archived == 5
        assert read(store) == [5]
        assert store.journal.last_seq("t") == 1
        assert store.archive.days() == ["2026-01-01", "2026-01-02"]
        archived = [(r.stream, r.seq) for r in store.archive.read()]
        assert archived == [("s", 1), ("s", 2), ("s", 3), ("s", 4), ("t", 1)]
        assert [r.seq for r in store.archive.read(day="2026-01-01")] == [1, 2]
        assert [r.seq for r in store.archive.read(stream="t")] == [1]
        assert store.journal.append("s", events(1, 6), expected_seq=5).first_seq == 6
    with FileSystemAdapter(folder, clock=clock) as store:
        assert read(store) == [5, 6]


def test_cleanup_without_a_retention_keeps_all_events(store, clock):
    store.journal.append("s", events(2))
    clock.advance(86_400 * 400)
    assert store.cleanup().archived == 0
    assert store.cleanup(timedelta(days=1)).archived == 2


def test_an_archive_is_removed_when_its_time_is_over(folder, clock):
    with FileSystemAdapter(
        folder, retention=timedelta(hours=1), keep_archive=timedelta(days=30), clock=clock
    ) as store:
        store.journal.append("s", events(2))
        clock.advance(86_400)
        assert store.cleanup().archived == 2
        clock.advance(86_400 * 29)
        assert store.cleanup().purged_days == ()
        clock.advance(86_400)
        assert store.cleanup().purged_days == ("2026-01-01",)
        assert list(store.archive.read()) == []


def test_a_cleanup_that_was_cut_short_archives_each_event_once(store, clock, monkeypatch):
    store.journal.append("s", events(3))
    clock.advance(7200)
    moment = datetime.fromtimestamp(clock() - 3600, UTC)

    def crash(*_):
        raise RuntimeError("the process died here")

    with monkeypatch.context() as patch:
        patch.setattr(store.journal, "truncate", crash)
        with pytest.raises(RuntimeError):
            store.archive.move(moment)
    assert read(store) == [1, 2, 3]
    assert store.archive.move(moment) == 3
    assert [r.seq for r in store.archive.read()] == [1, 2, 3]
    assert read(store) == []


@pytest.mark.parametrize("wrong", [timedelta(minutes=59), timedelta(days=31)])
def test_a_retention_beyond_an_hour_to_thirty_days_is_refused(folder, wrong):
    with pytest.raises(ValueError, match="use 1 hour to 30 days"):
        FileSystemAdapter(folder, retention=wrong)


# --- crashes --------------------------------------------------------------------------------


def test_a_batch_that_was_half_written_is_gone_and_the_rest_is_there(folder, clock, caplog):
    with FileSystemAdapter(folder, clock=clock) as store:
        store.journal.append("s", events(2))
        size = the_file(folder).stat().st_size
        store.journal.append("s", events(3, 3))
    whole = the_file(folder).read_bytes()
    for cut in range(size, len(whole)):
        the_file(folder).write_bytes(whole[:cut])
        with (
            caplog.at_level(logging.ERROR),
            FileSystemAdapter(folder, clock=clock) as store,
        ):
            assert read(store) == [1, 2], cut
            assert the_file(folder).stat().st_size == size
    with FileSystemAdapter(folder, clock=clock) as store:
        assert store.journal.append("s", events(1, 3), expected_seq=2).first_seq == 3
        assert read(store) == [1, 2, 3]


def test_a_batch_whose_middle_did_not_reach_the_disk_is_gone(folder, clock, caplog):
    with FileSystemAdapter(folder, clock=clock) as store:
        store.journal.append("s", events(1))
        size = the_file(folder).stat().st_size
        store.journal.append("s", events(4, 2))
    data = bytearray(the_file(folder).read_bytes())
    lines = bytes(data[size:]).splitlines(keepends=True)
    lines[1] = b"\0" * (len(lines[1]) - 1) + b"\n"
    the_file(folder).write_bytes(bytes(data[:size]) + b"".join(lines[:-1]))
    with caplog.at_level(logging.WARNING), FileSystemAdapter(folder, clock=clock) as store:
        assert read(store) == [1]
    assert "never acknowledged" in caplog.text


def test_a_damaged_event_in_the_middle_is_named_and_nothing_is_cut(folder, clock):
    with FileSystemAdapter(folder, clock=clock) as store:
        for number in range(1, 5):
            store.journal.append("s", events(1, number))
    data = the_file(folder).read_bytes()
    the_file(folder).write_bytes(data.replace(b'"n":2', b'"n":7'))
    with pytest.raises(CorruptRecord, match="checksum"):
        FileSystemAdapter(folder, clock=clock).initialize()
    assert the_file(folder).stat().st_size == len(data)
    the_file(folder).write_bytes(data)
    with FileSystemAdapter(folder, clock=clock) as store:
        assert read(store) == [1, 2, 3, 4]


def test_an_event_damaged_while_the_store_is_open_is_named(store, folder):
    store.journal.append("s", events(3))
    data = the_file(folder).read_bytes()
    the_file(folder).write_bytes(data.replace(b'"n":2', b'"n":7'))
    with pytest.raises(CorruptRecord) as error:
        read(store)
    assert (error.value.stream, error.value.seq) == ("s", 2)


def test_a_missing_event_is_named(folder, clock):
    with FileSystemAdapter(folder, clock=clock) as store:
        for number in range(1, 4):
            store.journal.append("s", events(1, number))
    lines = the_file(folder).read_bytes().splitlines(keepends=True)
    the_file(folder).write_bytes(lines[0] + lines[2])
    with pytest.raises(CorruptRecord, match="seq 3 follows seq 1"):
        FileSystemAdapter(folder, clock=clock).initialize()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "not whole"),
        (b'{"a":1,"crc":"00000000"}', "checksum"),
        (b'{"a":1,"crc":"xyz"}', "not whole"),
    ],
)
def test_a_line_that_is_no_event_is_named(folder, clock, line, reason):
    with FileSystemAdapter(folder, clock=clock) as store:
        store.journal.append("s", events(1))
        store.journal.append("s", events(1, 2))
    first, second = the_file(folder).read_bytes().splitlines(keepends=True)
    the_file(folder).write_bytes(first + line + b"\n" + second)
    with pytest.raises(CorruptRecord, match=reason):
        FileSystemAdapter(folder, clock=clock).initialize()


def test_truncation_that_was_cut_short_stays_a_truncation(folder, clock, monkeypatch):
    with FileSystemAdapter(folder, clock=clock) as store:
        store.journal.append("s", events(5))
        before = the_file(folder).read_bytes()
        store.journal.truncate("s", 4)
    # The process died after the metadata was written and before the file was.
    the_file(folder).write_bytes(before)
    with FileSystemAdapter(folder, clock=clock) as store:
        assert read(store) == [4, 5]
        assert store.journal.append("s", events(1, 6)).first_seq == 6
        store.journal.truncate("s", 99)
    the_file(folder).write_bytes(before)
    with FileSystemAdapter(folder, clock=clock) as store:
        assert read(store) == []
        assert store.journal.last_seq("s") == 6
        assert store.journal.append("s", events(1, 7)).first_seq == 7


def test_the_outbox_is_read_back_without_its_half_written_end(folder, clock):
    with FileSystemAdapter(folder, clock=clock) as store:
        first, second = store.outbox.add([NewEffect("m", n, dedupe_key=str(n)) for n in (1, 2)])
        store.outbox.claim(first, 10)
        store.outbox.complete(first)
    path = folder / "outbox.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    with FileSystemAdapter(folder, clock=clock) as store:
        assert [(e.id, e.status) for e in store.outbox.list()] == [
            (first, "completed"),
            (second, "pending"),
        ]
    assert len(path.read_bytes().splitlines()) == 2
    path.write_bytes(b"junk\n" + whole)
    with pytest.raises(StoreFailed, match="line 1"):
        FileSystemAdapter(folder, clock=clock).initialize()


@pytest.mark.parametrize(
    "name", ["sessions/x.json", "keys/x.json", "snapshots/s/000000000001.json"]
)
def test_a_damaged_file_is_named(folder, clock, name):
    with FileSystemAdapter(folder, clock=clock) as store:
        store.save_session("x", 1)
        store.set("x", 1)
        store.snapshots.save_snapshot("s", 1, 1)
    (folder / name).write_text("{")
    with pytest.raises(StoreFailed, match=name.rpartition("/")[2]):
        FileSystemAdapter(folder, clock=clock).initialize()
    (folder / name).write_text("[]")
    with pytest.raises(StoreFailed):
        FileSystemAdapter(folder, clock=clock).initialize()


def test_damaged_metadata_is_named(folder, clock):
    with FileSystemAdapter(folder, clock=clock) as store:
        store.journal.append("s", events(1))
    (folder / "events" / "metadata.json").write_text("{}")
    with pytest.raises(StoreFailed, match=r"metadata\.json cannot be read"):
        FileSystemAdapter(folder, clock=clock).initialize()


def test_two_events_at_one_position_are_named(folder, clock):
    with FileSystemAdapter(folder, clock=clock) as store:
        store.journal.append("s", events(1))
    copy = the_file(folder).read_bytes()
    with FileSystemAdapter(folder, clock=clock) as store:
        store.clear()
        store.journal.append("t", events(1))
    the_file(folder).write_bytes(copy)
    with pytest.raises(CorruptRecord, match="two events have this position"):
        FileSystemAdapter(folder, clock=clock).initialize()


# --- the disk -------------------------------------------------------------------------------


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_and_the_store_goes_on_when_there_is_room(
    store, folder, monkeypatch
):
    store.journal.append("s", events(2))
    size = the_file(folder).stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr("understudy.storage.adapters._file_journal.os.fsync", full)
        with pytest.raises(StoreFailed, match="No space left"):
            store.journal.append("s", events(2, 3))
    assert read(store) == [1, 2]
    assert store.journal.append("s", events(1, 3)).first_seq == 3
    assert read(store) == [1, 2, 3]
    lines = the_file(folder).read_bytes()
    assert lines.count(b"\n") == 3
    assert len(lines) > size


def test_a_full_disk_leaves_sessions_keys_and_effects_as_they_were(store, monkeypatch):
    store.save_session("s", "before")
    store.set("k", "before")
    with monkeypatch.context() as patch:
        patch.setattr("understudy.storage.adapters._files.os.fsync", full)
        patch.setattr("understudy.storage.adapters._file_outbox.os.fsync", full)
        for write in (
            lambda: store.save_session("s", "after"),
            lambda: store.set("k", "after"),
            lambda: store.outbox.add([NewEffect("m", 1, dedupe_key="1")]),
            lambda: store.snapshots.save_snapshot("s", 1, 1),
        ):
            with pytest.raises(StoreFailed):
                write()
    assert store.get_session("s").data == "before"
    assert store.get("k") == "before"
    assert store.outbox.list() == []
    assert store.snapshots.load_snapshot("s") is None
    assert store.outbox.add([NewEffect("m", 1, dedupe_key="1")]) == [1]


def test_a_second_store_on_the_folder_is_refused_here_and_in_another_process(store, folder):
    with pytest.raises(StoreInUse, match="is in use"):
        FileSystemAdapter(folder).initialize()
    script = (
        "from understudy.storage.adapters import FileSystemAdapter, StoreInUse\n"
        f"try: FileSystemAdapter({str(folder)!r}).initialize()\n"
        "except StoreInUse as error: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "refused"
    store.close()
    with FileSystemAdapter(folder) as again:
        again.set("k", 1)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        FileSystemAdapter(tmp_path / "file" / "store").initialize()


def test_more_streams_than_open_files_are_written(folder, clock, monkeypatch):
    monkeypatch.setattr("understudy.storage.adapters._file_journal.OPEN_FILES", 3)
    with FileSystemAdapter(folder, clock=clock) as store:
        for turn in range(2):
            for number in range(8):
                store.journal.append(f"s{number}", events(1, turn + 1))
        assert len(store.journal._files) == 3
        assert all(read(store, f"s{n}") == [1, 2] for n in range(8))


def test_events_restored_in_any_mixture_are_all_there(folder, clock):
    with FileSystemAdapter(folder / "a", clock=clock) as source:
        for number in range(40):
            source.journal.append(f"s{number % 3}", events(1, number))
        records = list(source.journal.read_all())
    with FileSystemAdapter(folder / "b", clock=clock) as target:
        assert target.journal.restore(records) == 40
        assert [r.payload for r in target.journal.read_all()] == [r.payload for r in records]
    with FileSystemAdapter(folder / "b", clock=clock) as target:
        assert [r.payload for r in target.journal.read_all()] == [r.payload for r in records]
        assert target.journal.restore(records) == 0
