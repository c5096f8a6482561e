"""Backups, exports, restores, and what a look at everything finds."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
import threading
from typing import Any

import pytest

from tests.storage.conftest import (
    TIMEOUT,
    events,
    leave_the_index_behind,
    numbered,
    seqs,
    there,
)
from understudy.storage import (
    BadEvent,
    CorruptRecord,
    Journal,
    NewEffect,
    NewEvent,
    StorageUnavailable,
    WrongExpectedSeq,
    _frame,
)


@pytest.fixture
def filled(journal):
    for n in range(40):
        journal.append(
            f"s{n % 3}",
            [NewEvent(f"t{n % 2}", {"n": n}, f"id-{n}", {"m": n}, topics=("a",)), *events(2)],
        )
    journal.save_snapshot("s0", 5, {"state": 5})
    journal.state.put("b", "k", 1)
    journal.outbox.add([NewEffect("web", 1, "k")])
    return journal


# --- backup ---------------------------------------------------------------------


def test_a_backup_is_a_journal_with_everything_in_it(filled, tmp_path):
    report = filled.backup(tmp_path / "copy")
    assert report.position == 120
    assert report.verified.ok
    assert report.verified.events == 120
    assert report.size_bytes == (tmp_path / "copy" / "data.mdb").stat().st_size
    assert [p.name for p in (tmp_path / "copy").iterdir()] == ["data.mdb"]
    filled.append("s0", events(1))
    with Journal.open(tmp_path / "copy") as copy:
        assert list(copy.read_all()) == list(filled.read_all(limit=120))
        assert there(copy.load_snapshot("s0")).state == {"state": 5}
        assert copy.state.get("b", "k") == 1
        assert copy.outbox.list()[0].payload == 1
        assert copy.append("s0", events(1), expected_seq=42).position == 121


def test_a_backup_under_write_is_consistent(path, tmp_path):
    with Journal.open(path, "relaxed", checkpoint_events=500, segment_events=1500) as journal:
        stop = threading.Event()

        def write(number):
            while not stop.is_set():
                journal.append(f"s{number}", events(5))

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        try:
            for n in range(4):
                report = journal.backup(tmp_path / f"copy{n}")
                assert there(report.verified).ok
        finally:
            stop.set()
            for thread in threads:
                thread.join(TIMEOUT)
        with Journal.open(tmp_path / "copy3") as copy:
            assert all(copy.last_seq(s) % 5 == 0 for s in copy.streams())


def test_a_backup_needs_a_new_directory_with_a_parent(filled, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("x")
    with pytest.raises(StorageUnavailable, match="not empty"):
        filled.backup(tmp_path / "taken")
    with pytest.raises(StorageUnavailable, match="the copy failed"):
        filled.backup(tmp_path / "no" / "parent")
    (tmp_path / "empty").mkdir()
    assert filled.backup(tmp_path / "empty", verify=False).verified is None
    assert not list(tmp_path.glob("*.partial"))


def test_a_backup_of_a_damaged_journal_is_refused(path, tmp_path):
    damage(path, b"MARK", count=1)
    with Journal.open(path) as journal:
        with pytest.raises(CorruptRecord) as caught:
            journal.backup(tmp_path / "copy")
        assert caught.value.stream == "s"
    assert not (tmp_path / "copy").exists()
    assert not list(tmp_path.glob("*.partial"))


# --- damage ---------------------------------------------------------------------


def damage(path, mark: bytes, count: int, before: int = 300) -> None:
    """A journal in which one byte of some event's payload is not what was written."""
    with Journal.open(path) as journal:
        journal.append("s", events(before))
        journal.append("s", [*events(3), NewEvent("x", mark), *events(3)])
        journal.append("t", events(5))
        journal.append("s", events(5))
    data = bytearray((path / "data.mdb").read_bytes())
    at = data.index(mark)
    for _ in range(count):
        data[at] ^= 0x01
        at = data.find(mark, at + 1)
        if at < 0:
            break
    (path / "data.mdb").write_bytes(data)


def test_a_damaged_byte_is_named_by_stream_seq_and_position(path):
    damage(path, b"MARKED-PAYLOAD", count=9)
    with Journal.open(path, readonly=True) as journal:
        for read in (
            lambda: list(journal.read("s")),
            lambda: list(journal.read("s", after=290)),
            lambda: list(journal.read("s", reverse=True)),
            lambda: list(journal.read_all()),
            lambda: list(journal.read_all(types="x")),
        ):
            with pytest.raises(CorruptRecord) as caught:
                read()
            error = caught.value
            assert (error.stream, error.seq, error.position) == ("s", 304, 304)
            assert "304" in str(error)
        assert seqs(journal.read("s", until_seq=300)) == list(range(1, 301))
        assert seqs(journal.read("t")) == [1, 2, 3, 4, 5]
        assert seqs(journal.read("s", after=307)) == [308, 309, 310, 311, 312]
        report = journal.verify()
        assert not report.ok
        assert [(p.stream, p.seq, p.position) for p in report.problems] == [("s", 304, 304)]


def test_a_damaged_single_event_is_named_too(path):
    with Journal.open(path) as journal:
        for n in range(5):
            journal.append("s", [NewEvent("x", f"payload-{n}")])
    data = (path / "data.mdb").read_bytes().replace(b"payload-3", b"payload-X")
    (path / "data.mdb").write_bytes(data)
    with Journal.open(path) as journal, pytest.raises(CorruptRecord) as caught:
        list(journal.read("s"))
    assert (caught.value.stream, caught.value.seq, caught.value.position) == ("s", 4, 4)


def test_every_byte_of_a_row_is_guarded():
    from understudy.storage._catalog import pack

    batch = [NewEvent("x", {"n": n, "s": "y" * 20}, metadata={"m": 1}) for n in range(3)]
    [piece], _ = _frame.encode_batch("stream", batch, _frame.PlainCodec().pack, None)
    row = _frame.build_row(1_700_000_000_000_000, pack("stream"), 10, 0, piece.tail)
    assert len(_frame.read_row(5, row).events) == 3
    for at in range(len(row)):
        for flip in (0x01, 0x80, 0xFF):
            spoiled = bytearray(row)
            spoiled[at] ^= flip
            with pytest.raises(CorruptRecord) as caught:
                _frame.read_row(5, bytes(spoiled))
            assert 5 <= caught.value.position <= 7
    for length in range(len(row)):
        with pytest.raises(CorruptRecord):
            _frame.read_row(5, row[:length])


def test_a_row_with_a_sound_checksum_that_is_no_row_is_refused():
    import zlib

    body = b"\x81\xa1a\x01"
    with pytest.raises(CorruptRecord, match="not a row"):
        _frame.read_row(1, zlib.crc32(body).to_bytes(4, "big") + body)


def tamper(journal, change):
    """Do something to the databases that the journal would never do."""
    core = journal._core
    journal.checkpoint()
    core.call(lambda txn: change(txn, core, core.catalog.segments[0])).result(TIMEOUT)


def test_a_missing_row_is_a_gap_that_is_named(path):
    from understudy.storage._catalog import key_of

    with Journal.open(path) as journal:
        for n in range(6):
            journal.append("st"[n % 2], events(2))
        tamper(journal, lambda txn, core, segment: txn.delete(key_of(5), db=segment.log))
        with pytest.raises(CorruptRecord) as caught:
            list(journal.read_all())
        assert caught.value.position == 5
        with pytest.raises(CorruptRecord) as caught:
            list(journal.read("s"))
        assert (caught.value.stream, caught.value.seq, caught.value.position) == ("s", 3, 5)
        with pytest.raises(CorruptRecord):
            list(journal.read("s", reverse=True))
        with pytest.raises(CorruptRecord):
            list(journal.read_all(types="happened"))
        found = journal.verify().problems
        assert (None, None, 5) in [(p.stream, p.seq, p.position) for p in found]
        assert ("s", 3, 9) in [(p.stream, p.seq, p.position) for p in found]


def test_a_missing_last_row_is_noticed(path):
    from understudy.storage._catalog import key_of

    with Journal.open(path) as journal:
        journal.append("s", events(2))
        journal.append("s", events(2))
        tamper(journal, lambda txn, core, segment: txn.delete(key_of(3), db=segment.log))
        with pytest.raises(CorruptRecord):
            list(journal.read_all())
        reasons = [p.reason for p in journal.verify().problems]
        assert any("missing" in reason for reason in reasons)
        tamper(journal, lambda txn, core, segment: txn.delete(key_of(1), db=segment.log))
        with pytest.raises(CorruptRecord):
            list(journal.read_all())


def test_an_index_that_leads_astray_is_noticed(path):
    with Journal.open(path) as journal:
        journal.append("s", events(2))
        journal.append("t", events(2))

        def swap(txn, core, segment):
            rows = {key: row for key, row in txn.cursor(segment.index) if key[:1] == b"S"}
            (one, first), (two, second) = sorted(rows.items())
            txn.put(one, second, db=segment.index)
            txn.put(two, first, db=segment.index)

        tamper(journal, swap)
        with pytest.raises(CorruptRecord, match="index"):
            list(journal.read("s"))
        with pytest.raises(CorruptRecord, match="index"):
            list(journal.read("s", reverse=True))
        assert len(journal.verify().problems) == 2

        def forget(txn, core, segment):
            for key in [key for key, _ in txn.cursor(segment.index) if key[:1] == b"T"]:
                txn.delete(key, db=segment.index)

        tamper(journal, forget)
        assert any("type" in p.reason for p in journal.verify().problems)


def test_a_seq_that_occurs_twice_and_a_time_that_falls_are_noticed(path):
    from understudy.storage._catalog import key_of, pack

    with Journal.open(path) as journal:
        journal.append("s", events(2))
        journal.append("s", events(2))

        def repeat(txn, core, segment):
            [piece], _ = _frame.encode_batch("s", events(2), _frame.PlainCodec().pack, None)
            row = _frame.build_row(2**40, pack("s"), 1, 0, piece.tail)
            txn.put(key_of(3), row, db=segment.log)

        tamper(journal, repeat)
        reasons = [p.reason for p in journal.verify().problems]
        assert "its seq occurs twice" in reasons
        assert "its time lies before its neighbour's" in reasons


def test_a_head_that_does_not_know_its_stream_is_noticed(path):
    with Journal.open(path) as journal:
        journal.append("s", events(3))
        journal.append("t", events(3))
        journal.checkpoint()
        journal._core.catalog.heads["s"].last = 1
        journal._core.catalog.heads["t"].visible = 9
        reasons = {p.stream: p.reason for p in journal.verify().problems}
        assert "head" in reasons["s"]
        assert "end" in reasons["t"]
        journal._core.catalog.heads["s"].last = 3
        journal._core.catalog.heads["t"].visible = 3


# --- JSON Lines -----------------------------------------------------------------

MOMENT = dt.datetime(2024, 2, 29, 12, 0, tzinfo=dt.UTC)
AWKWARD: list[Any] = [
    None, True, 1.5, math.inf, "ä\n😀", b"\0\xff", [1, [2]], {"a": {"b": b"c"}}, {1: 2, "x": MOMENT},
    MOMENT, {"$bytes": "not really"}, {"$map": []}, {"$dict": {"$dict": 1}}, {"$x": 1, "y": 2}, {},
]  # fmt: skip


def test_an_export_reads_back_as_it_was(filled, path, tmp_path):
    for value in AWKWARD:
        filled.append("awkward", [NewEvent("x", value, metadata={"v": value})])
    count = filled.export(tmp_path / "all.jsonl")
    assert count == 120 + len(AWKWARD)
    first = json.loads((tmp_path / "all.jsonl").read_text().splitlines()[0])
    assert first["stream"] == "s0"
    assert first["payload"] == {"n": 0}
    with Journal.in_memory() as copy:
        assert copy.import_(tmp_path / "all.jsonl") == count
        assert list(copy.read_all()) == list(filled.read_all())
        assert [r.payload for r in copy.read("awkward")] == AWKWARD
        assert copy.verify().ok
        assert copy.import_(tmp_path / "all.jsonl") == 0
        assert copy.append("s0", events(1), expected_seq=42).first_seq == 43


def test_an_export_of_a_stream_and_a_filter(filled):
    out = io.StringIO()
    assert filled.export(out, "s1", types="t1", limit=5) == 5
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {(line["stream"], line["type"]) for line in lines} == {("s1", "t1")}
    out = io.StringIO()
    assert filled.export(out, after=100) == 20


@pytest.mark.parametrize(
    "line",
    [
        "not json", "[]", "{}", '{"stream": "s"}', "7",
        '{"stream":"s","seq":1,"type":"t","timestamp":"yesterday","id":"i"}',
        '{"stream":"s","seq":1,"type":"t","timestamp":"2024-01-01T00:00:00","id":"i"}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_event_is_named(memory, line):
    good = (
        '{"stream":"s","seq":1,"type":"t","timestamp":"2024-01-01T00:00:00+00:00","id":"i",'
        '"payload":1}'
    )
    with pytest.raises(BadEvent, match="line 3"):
        memory.import_([good, "\n", line])
    assert memory.last_seq("s") in (0, 1)


def test_restore_keeps_seqs_ids_and_times_of_a_truncated_source(filled, clock):
    filled.truncate("s0", 10)
    records = list(filled.read_all())
    with Journal.in_memory() as copy:
        assert copy.restore(records) == len(records)
        assert seqs(copy.read("s0")) == list(range(10, 43))
        assert [(r.id, r.timestamp, r.seq) for r in copy.read_all()] == [
            (r.id, r.timestamp, r.seq) for r in records
        ]
        assert copy.first_seq("s0") == 10
        assert copy.verify().ok


def test_a_restore_that_was_cut_short_is_repeated(filled):
    records = list(filled.read_all())
    with Journal.in_memory() as copy:
        assert copy.restore(records[:50]) == 50
        assert copy.restore(records) == 70
        assert [r.id for r in copy.read_all()] == [r.id for r in records]
        assert copy.restore(filled.read_all()) == 0


def test_a_restore_survives_reopening_with_seqs_that_begin_late(path, tmp_path):
    with Journal.open(path) as journal:
        journal.append("s", events(10))
        journal.truncate("s", 6)
        target = Journal.open(tmp_path / "copy")
        target.restore(journal.read("s"))
        leave_the_index_behind(target)
        target.close()
    with Journal.open(tmp_path / "copy") as target:
        assert target.first_seq("s") == 6
        assert seqs(target.read("s")) == [6, 7, 8, 9, 10]
        assert seqs(target.read("s", reverse=True)) == [10, 9, 8, 7, 6]
        assert target.verify().ok


def test_a_restore_refuses_what_does_not_fit(memory):
    memory.append("s", numbered("a", 1, 2, 3))
    with Journal.in_memory() as other:
        other.append("s", numbered("b", 1, 2, 3, 4))
        with pytest.raises(WrongExpectedSeq):
            memory.restore(other.read("s"))
        with pytest.raises(WrongExpectedSeq):
            memory.restore(list(other.read("s"))[1:2])
        other.append("s", numbered("b", 5, 6))
        with pytest.raises(WrongExpectedSeq):
            memory.restore(list(other.read("s"))[5:])
    assert memory.last_seq("s") == 3


def test_a_restore_of_one_stream_twice_in_one_go_is_compared(memory):
    with Journal.in_memory() as other:
        other.append("s", numbered("b", 1, 2))
        records = list(other.read("s"))
    assert memory.restore(records + records) == 2


def test_a_large_restore_goes_in_many_transactions(path):
    with Journal.in_memory() as source, Journal.open(path, "relaxed") as target:
        for n in range(120):
            source.append(f"s{n % 4}", events(100))
        assert target.restore(source.read_all()) == 12_000
        assert [r.payload for r in target.read_all()] == [r.payload for r in source.read_all()]


def test_damage_is_told_when_it_is_come_to_and_not_before(path):
    from understudy.storage._catalog import key_of

    with Journal.open(path) as journal:
        for _ in range(40):
            journal.append("s", events(1))

        def spoil(txn, core, segment):
            row = bytearray(txn.get(key_of(22), db=segment.log))
            row[-1] ^= 1
            txn.put(key_of(22), bytes(row), db=segment.log)

        for change in (spoil, lambda txn, core, segment: txn.delete(key_of(22), db=segment.log)):
            tamper(journal, change)
            for read in (journal.read_all, lambda **kw: journal.read("s", **kw)):
                assert seqs(read(limit=21)) == list(range(1, 22))
                assert seqs(read(after=22)) == list(range(23, 41))
                with pytest.raises(CorruptRecord) as caught:
                    list(read())
                assert 22 in (caught.value.seq, caught.value.position)
                with pytest.raises(CorruptRecord):
                    list(read(after=20, limit=2))


def test_a_row_of_nonsense_with_a_sound_checksum_is_named(path):
    import zlib

    from understudy.storage._catalog import key_of

    with Journal.open(path) as journal:
        for _ in range(30):
            journal.append("s", events(1))
        row = zlib.crc32(b"\x01").to_bytes(4, "big") + b"\x01"
        tamper(journal, lambda txn, core, segment: txn.put(key_of(9), row, db=segment.log))
        assert seqs(journal.read_all(limit=8)) == list(range(1, 9))
        with pytest.raises(CorruptRecord, match="not a row of this journal") as caught:
            list(journal.read_all())
        assert caught.value.position == 9
