"""Rare turns: what happens when memory, slots, locks or timing are against the journal."""

from __future__ import annotations

import logging
import os
import pickle
import resource
import threading
from typing import Any

import lmdb
import pytest

from tests.storage.conftest import TIMEOUT, Collector, events, seqs, there
from tests.storage.test_copies import tamper
from tests.storage.test_opening import run
from understudy.storage import (
    Append,
    CorruptRecord,
    Journal,
    JournalClosed,
    JournalForked,
    JournalLocked,
    JournalReadOnly,
    NewEvent,
    Put,
    SchemaMismatch,
    StorageError,
    StorageFull,
    StorageUnavailable,
    UnknownEffect,
    UnknownKey,
    Write,
    WrongExpectedSeq,
    _environment,
    _journal,
    _schema,
    _writer,
)
from understudy.storage._environment import Environment
from understudy.storage._writer import Work


def test_heads_beyond_what_memory_holds_are_read_from_disk(path, monkeypatch):
    monkeypatch.setattr(_writer, "HEADS_IN_MEMORY", 2)
    with Journal.open(path, "relaxed") as journal:
        for n in range(10):
            journal.append(f"s{n}", events(n + 1), epoch=n)
        journal.checkpoint()
        assert len(journal._core.catalog.heads) == 2
        for n in range(10):
            assert journal.last_seq(f"s{n}") == n + 1
            assert len(list(journal.read(f"s{n}"))) == n + 1
            assert journal.append(f"s{n}", events(1), n + 1, n).last_seq == n + 2
        assert journal.streams() == sorted(f"s{n}" for n in range(10))


def test_a_control_that_raises_is_answered(journal):
    writer = journal._core.own_writer()
    with pytest.raises(ZeroDivisionError):
        writer.control(lambda: 1 / 0).result(TIMEOUT)
    with pytest.raises(StorageUnavailable):
        writer.control(lambda: (_ for _ in ()).throw(lmdb.Error("x"))).result(TIMEOUT)
    assert journal.append("s", events(1)).last_seq == 1


def test_an_index_that_cannot_be_written_at_close_costs_nothing(path, monkeypatch, caplog):
    journal = Journal.open(path)
    journal.append("s", events(3))
    monkeypatch.setattr(
        journal._core.environment, "sync", lambda: (_ for _ in ()).throw(lmdb.Error("full"))
    )
    with caplog.at_level(logging.WARNING, "understudy.storage"):
        journal.close()
    assert "without its index" in caplog.text
    with Journal.open(path) as journal:
        assert seqs(journal.read("s")) == [1, 2, 3]


def test_what_was_queued_behind_the_end_is_answered(path):
    journal = Journal.open(path)
    writer = journal._core.own_writer()
    journal.close()
    late = Work(lambda *_: None)
    writer._queue.put(late)
    writer._refuse_late()
    assert isinstance(late.future.exception(0), JournalClosed)
    with pytest.raises(JournalClosed):
        writer.control(lambda: None)
    with pytest.raises(JournalClosed):
        writer.submit(late)


@pytest.mark.parametrize("call", ["submit", "control"])
def test_a_submit_that_races_the_end_is_answered(path, monkeypatch, call):
    journal = Journal.open(path)
    writer = journal._core.own_writer()
    original = writer._queue

    class Races:
        def put(self, item):
            if item is not None:
                writer._queue = original
                journal.close()
            original.put(item)

    monkeypatch.setattr(writer, "_queue", Races())
    future = (
        writer.submit(Work(lambda *_: None)) if call == "submit" else writer.control(lambda: None)
    )
    assert isinstance(future.exception(TIMEOUT), JournalClosed)


def test_a_control_behind_a_panic_is_answered(path, monkeypatch, caplog):
    journal = Journal.open(path)
    writer = journal._core.own_writer()
    held, entered = threading.Event(), threading.Event()
    writer.control(lambda: (entered.set(), held.wait(TIMEOUT)))
    assert entered.wait(TIMEOUT)
    monkeypatch.setattr(
        writer, "_transact", lambda works: (_ for _ in ()).throw(lmdb.PanicError("panic"))
    )
    write = journal.submit("s", events(1))
    behind = writer.control(lambda: None)
    held.set()
    assert isinstance(write.exception(TIMEOUT), StorageUnavailable)
    assert isinstance(behind.exception(TIMEOUT), JournalClosed)
    journal.close()


def test_a_refused_batch_among_others_frees_its_ids_within_the_commit(journal):
    writer = journal._core.own_writer()
    held, entered = threading.Event(), threading.Event()
    writer.control(lambda: (entered.set(), held.wait(TIMEOUT)))
    assert entered.wait(TIMEOUT)
    refused = journal.submit_write(
        Write([Append("s", [NewEvent("x", id="one")]), Append("t", events(1), 9)])
    )
    fine = journal.submit("s", [NewEvent("x", id="one")])
    held.set()
    assert isinstance(refused.exception(TIMEOUT), WrongExpectedSeq)
    assert not fine.result(TIMEOUT).duplicate
    assert journal.last_seq("s") == 1


def test_what_a_refused_write_had_staged_leaves_no_trace_in_the_commit_it_shared(path):
    with Journal.open(path) as journal:
        journal.append("s", [NewEvent("x", {"n": 0}, id="zero")])
        writer = journal._core.own_writer()
        held, entered = threading.Event(), threading.Event()
        writer.control(lambda: (entered.set(), held.wait(TIMEOUT)))
        assert entered.wait(TIMEOUT)
        refused = journal.submit_write(
            Write(
                [
                    Append("s", [NewEvent("x", {"n": "refused"}, id="one")]),
                    Append("t", events(1), 9),
                ]
            )
        )
        fine = journal.submit("s", [NewEvent("x", {"n": "fine"}, id="one")])
        other = journal.submit("u", events(2))
        held.set()
        assert isinstance(refused.exception(TIMEOUT), WrongExpectedSeq)
        result = fine.result(TIMEOUT)
        assert (result.duplicate, result.first_seq, result.position) == (False, 2, 2)
        assert other.result(TIMEOUT).position == 4
    with Journal.open(path) as journal:
        assert [(r.position, r.stream, r.seq, r.payload["n"]) for r in journal.read_all()] == [
            (1, "s", 1, 0),
            (2, "s", 2, "fine"),
            (3, "u", 1, 0),
            (4, "u", 2, 1),
        ]
        assert journal.append("s", [NewEvent("x", {"n": "again"}, id="one")]).duplicate


def test_closing_makes_safe_and_answers_what_changed_no_stream(path, monkeypatch):
    monkeypatch.setattr(_writer, "GRACE_SECONDS", TIMEOUT)
    journal = Journal.open(path, "pipelined")
    put = journal.submit_write(Write(puts=[Put("scope", "key", 1)]))
    journal.close()
    assert put.done()
    with Journal.open(path) as journal:
        assert journal.state.get("scope", "key") == 1


def test_pipelined_with_a_control_and_a_failure_between(path, monkeypatch):
    monkeypatch.setattr(_writer, "GRACE_SECONDS", TIMEOUT)
    journal = Journal.open(path, "pipelined")
    first = journal.submit("s", events(1))
    journal.sync()
    assert first.done()
    second = journal.submit("s", events(1))
    journal.close()
    assert second.result(0).last_seq == 2


def test_slots_for_readers_that_ran_out_are_looked_for(journal, monkeypatch):
    environment = journal._core.environment
    engine = environment._env
    outcomes = [lmdb.ReadersFullError("full"), lmdb.MapResizedError("grown"), None]
    freed = [1, 0]
    resized = []

    class Engine:
        def begin(self):
            outcome = outcomes.pop(0)
            if outcome is not None:
                raise outcome
            return engine.begin()

        def reader_check(self):
            return freed.pop(0)

        def set_mapsize(self, size):
            resized.append(size)

    monkeypatch.setattr(environment, "_env", Engine())
    environment.leave(environment.enter())
    assert resized == [0]
    outcomes.append(lmdb.ReadersFullError("full"))
    with pytest.raises(StorageError, match="read transactions are open"):
        environment.enter()
    monkeypatch.setattr(environment, "_env", engine)
    with environment.exclusive():
        pass


def test_exclusive_waits_for_exclusive(journal):
    environment = journal._core.environment
    entered, inside = threading.Event(), []

    def second():
        entered.set()
        with environment.exclusive():
            inside.append("second")

    with environment.exclusive():
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(TIMEOUT)
        inside.append("first")
    thread.join(TIMEOUT)
    assert inside == ["first", "second"]


def test_a_map_is_made_as_large_as_memory_allows(path, monkeypatch):
    original = lmdb.open
    asked = []

    def limited(where: str, *, map_size: int, **kwargs: Any) -> lmdb.Environment:
        asked.append(map_size)
        if map_size > 1 << 30:
            raise lmdb.MemoryError("no")
        return original(where, map_size=map_size, **kwargs)

    monkeypatch.setattr(lmdb, "open", limited)
    with Journal.open(path) as journal:
        assert journal.stats().map_size == 1 << 30
        journal.append("s", events(1))
    monkeypatch.setattr(
        lmdb, "open", lambda *a, **k: (_ for _ in ()).throw(lmdb.MemoryError("none"))
    )
    with pytest.raises(StorageUnavailable, match="address space"):
        Journal.in_memory()
    with pytest.raises(StorageUnavailable, match="address space"):
        Journal.open(path)
    monkeypatch.setattr(
        lmdb,
        "open",
        lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "denied")),
    )
    with pytest.raises(StorageUnavailable, match="denied"):
        Journal.open(path)
    monkeypatch.setattr(lmdb, "open", lambda *a, **k: (_ for _ in ()).throw(lmdb.Error("x")))
    with pytest.raises(StorageUnavailable):
        Journal.open(path.with_name("fresh"))
    monkeypatch.setattr(lmdb, "open", original)
    with Journal.open(path) as journal:
        assert journal.last_seq("s") == 1


def test_a_write_cut_short_is_a_full_disk_where_the_disk_is_full(journal, monkeypatch):
    environment = journal._core.environment
    error = lmdb.Error("mdb_txn_commit: Input/output error")
    assert isinstance(environment.translate(error), StorageUnavailable)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    assert isinstance(environment.translate(error), StorageFull)
    monkeypatch.undo()

    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    assert isinstance(environment.translate(error), StorageFull)
    monkeypatch.setattr(os, "statvfs", lambda _: (_ for _ in ()).throw(OSError("gone")))
    assert isinstance(environment.translate(error), StorageUnavailable)


def test_what_a_fork_does_to_its_copy(path, monkeypatch):
    journal = Journal.open(path)
    journal.append("s", events(1))
    subscription = journal.subscribe(lambda r: None)
    environment = journal._core.environment
    monkeypatch.setattr(_environment, "_environments", {environment})
    _environment._after_fork_in_child()
    for call in (
        lambda: journal.append("s", events(1)),
        lambda: list(journal.read("s")),
        journal.verify,
    ):
        with pytest.raises(JournalForked):
            call()
    subscription.cancel()
    _journal._release(journal._core, journal._feed, True)
    environment.forked = False
    journal.close()
    with Journal.open(path) as journal:
        assert journal.last_seq("s") == 1
    forked = Environment(str(path.with_name("other")))
    forked.forked = True
    forked.close()
    forked._env.close()
    forked._unlock()


def test_a_stream_whose_index_skips_a_row_has_a_gap(path):
    from understudy.storage._catalog import pack, unpack

    with Journal.open(path) as journal:
        for _ in range(5):
            journal.append("s", events(2))

        def skip(txn, core, segment):
            for key, row in list(txn.cursor(segment.index)):
                if key[:1] == b"S":
                    gaps = unpack(row)
                    gaps[4:8] = [gaps[4] + gaps[6], gaps[5] + gaps[7]]
                    txn.put(key, pack(gaps), db=segment.index)

        tamper(journal, skip)
        for reverse in (False, True):
            with pytest.raises(CorruptRecord, match="gap") as caught:
                list(journal.read("s", reverse=reverse))
            assert caught.value.stream == "s"
            assert caught.value.seq in (5, 6)


def test_a_stream_whose_last_rows_are_not_in_the_index_has_a_gap(path):
    with Journal.open(path) as journal:
        journal.append("s", events(2))
        journal.append("t", events(2))

        def forget(txn, core, segment):
            for key in [k for k, _ in txn.cursor(segment.index) if k.startswith(b"St")]:
                txn.delete(key, db=segment.index)

        tamper(journal, forget)
        with pytest.raises(CorruptRecord, match="gap"):
            list(journal.read("t"))


def test_a_reader_of_this_process_follows_a_writer_of_another(path, tmp_path):
    Journal.open(path).close()
    reader = Journal.open(path, readonly=True)
    collect = Collector(6)
    reader.subscribe(collect)
    mine = Collector(6)
    reader.subscribe(mine, stream="s")
    code = """
        import sys
        from understudy.storage import Journal, NewEvent
        with Journal.open(sys.argv[1]) as journal:
            journal.append("s", [NewEvent("x")] * 3)
    """
    run(code, path)
    assert reader.last_position() == 3
    run(code, path)
    assert [r.position for r in collect.wait()] == [1, 2, 3, 4, 5, 6]
    assert seqs(mine.wait()) == [1, 2, 3, 4, 5, 6]
    assert reader.streams() == ["s"]
    assert there(reader.record_at(5)).seq == 5
    assert reader.verify().ok
    assert reader.stats().total_events == 6
    assert there(reader.archive(path=tmp_path / "a")).events == 6
    assert reader.durability == "sync"
    with pytest.raises(JournalReadOnly):
        reader.cursors.set("x", 1)
    reader.close()


def test_migrating_an_open_journal_is_refused_and_a_failing_step_undone(path):
    with Journal.open(path), pytest.raises(JournalLocked):
        Journal.migrate(path, to=0)

    def fail(environment, txn):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Journal.migrate(path, 2, [_schema.Migration(2, fail, fail)])
    with pytest.raises(SchemaMismatch):
        Journal.migrate(path, 7)
    Journal.open(path).close()


def test_a_journal_that_cannot_close_at_exit_does_not_keep_the_others_open(
    path, monkeypatch, caplog
):
    class Bad:
        path = "bad"

        def close(self):
            raise RuntimeError("no")

    journal = Journal.open(path)
    with caplog.at_level(logging.CRITICAL, "understudy.storage"):
        journal_set = _Weak([Bad(), journal])
        monkeypatch.setattr(_journal, "_open_journals", journal_set)
        _journal._close_all()
    assert journal.closed


class _Weak(list):
    def discard(self, item):
        self.remove(item)


def test_all_errors_survive_pickling():
    for error in (
        CorruptRecord("s", 1, 2, "why"),
        JournalLocked("/p", "process 7"),
        JournalForked("/p", 1, 2),
        JournalReadOnly("/p"),
        StorageFull("/p", "why"),
        StorageUnavailable("/p", "why"),
        SchemaMismatch("/p", 1, 2),
        UnknownKey("k"),
        UnknownEffect(3),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_the_directory_lock_names_its_owner(path):
    with Journal.open(path):
        # Record locks belong to the process, so that only another one meets them.
        assert (path / "journal.lock").read_text().strip() == str(os.getpid())
