"""Opening: who may, who may not, and what the directory has to be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import weakref
from typing import Any

import lmdb
import pytest

from tests.storage.conftest import TIMEOUT, Collector, events, leave_the_index_behind, seqs
from understudy.storage import (
    Journal,
    JournalClosed,
    JournalForked,
    JournalLocked,
    JournalReadOnly,
    NewEvent,
    SchemaMismatch,
    StorageUnavailable,
    _schema,
)


def run(code: str, *arguments: object, timeout: float = 60, **options: Any) -> str:
    """Run a program in a process of its own; its output."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_second_opener_in_this_process_is_refused(journal, path):
    with pytest.raises(JournalLocked) as caught:
        Journal.open(path)
    assert caught.value.path == str(path)
    assert caught.value.owner == "this process"
    with pytest.raises(JournalLocked):
        Journal.open(path / ".." / path.name)
    journal.append("s", events(1))


def test_a_second_opener_in_another_process_is_refused_and_told_who_has_it(journal, path):
    out = run(
        """
        import sys
        from understudy.storage import Journal, JournalLocked
        try:
            Journal.open(sys.argv[1])
        except JournalLocked as error:
            print(error.owner, "|", error)
        """,
        path,
    )
    assert out.startswith(f"process {os.getpid()} |")
    assert "readonly=True" in out
    journal.append("s", events(1))


def test_a_forked_child_that_outlives_its_parent_does_not_keep_the_directory(path):
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                """
                import os, signal, sys
                from understudy.storage import Journal, NewEvent
                journal = Journal.open(sys.argv[1])
                journal.append("s", [NewEvent("x")])
                if os.fork() == 0:
                    os.kill(os.getppid(), signal.SIGKILL)
                    os.read(int(sys.argv[2]), 1)
                    os._exit(0)
                signal.pause()
                """
            ),
            str(path),
            str(read_end),
        ],
        pass_fds=[read_end],
    )
    assert process.wait(TIMEOUT) < 0
    with Journal.open(path) as journal:
        assert journal.last_seq("s") == 1
    os.write(write_end, b"x")
    os.close(read_end)
    os.close(write_end)


def test_a_fork_may_not_use_its_parents_journal_and_does_not_hurt_it(path):
    out = run(
        """
        import os, sys
        from understudy.storage import Journal, JournalForked, NewEvent
        journal = Journal.open(sys.argv[1])
        journal.append("s", [NewEvent("x")])
        subscription = journal.subscribe(lambda r: None)
        child = os.fork()
        if child == 0:
            for call in (
                lambda: journal.append("s", [NewEvent("x")]),
                lambda: list(journal.read("s")),
                lambda: journal.last_seq("s"),
                lambda: journal.backup(sys.argv[1] + ".copy"),
                journal.verify,
                lambda: journal.state.get("a", "b"),
            ):
                try:
                    call()
                except JournalForked as error:
                    assert str(error.opened_by) in str(error)
                    print("refused", flush=True)
            subscription.cancel()
            journal.close()
            try:
                Journal.open(sys.argv[1])
            except Exception as error:
                print(type(error).__name__, flush=True)
            other = Journal.open(sys.argv[1] + ".child")
            print(other.append("c", [NewEvent("x")]).last_seq, flush=True)
            sys.exit(0)
        os.waitpid(child, 0)
        print(journal.append("s", [NewEvent("x")]).last_seq)
        """,
        path,
    )
    assert out.split() == ["refused"] * 6 + ["JournalLocked", "1", "2"]


def test_a_reader_in_the_same_process_reads_beside_the_writer(journal, path):
    journal.append("s", events(3))
    with Journal.open(path, readonly=True) as reader:
        assert reader.readonly
        assert "read-only" in repr(reader)
        assert seqs(reader.read("s")) == [1, 2, 3]
        collect = Collector(4)
        reader.subscribe(collect, stream="s")
        journal.append("s", events(1))
        assert reader.last_seq("s") == 4
        collect.wait()
        for call in (
            lambda: reader.append("s", events(1)),
            lambda: reader.save_snapshot("s", 1, 1),
            lambda: reader.truncate("s", 1),
            reader.compact,
            reader.sync,
        ):
            with pytest.raises(JournalReadOnly, match="readonly"):
                call()
    journal.append("s", events(1))


def test_a_reader_outlives_the_writer_and_a_new_writer_takes_over(path):
    writer = Journal.open(path)
    writer.append("s", events(2))
    reader = Journal.open(path, readonly=True)
    writer.close()
    assert seqs(reader.read("s")) == [1, 2]
    with pytest.raises(JournalReadOnly):
        reader.state.put("a", "b", 1)
    writer = Journal.open(path, "pipelined")
    writer.append("s", events(2))
    assert seqs(reader.read("s")) == [1, 2, 3, 4]
    writer.close()
    run(
        """
        import sys
        from understudy.storage import Journal, NewEvent
        with Journal.open(sys.argv[1]) as journal:
            journal.append("s", [NewEvent("x")])
        """,
        path,
    )
    assert reader.last_seq("s") == 5
    reader.close()
    with pytest.raises(JournalClosed):
        reader.read("s")


def test_a_writer_may_open_where_a_reader_was_first(path):
    Journal.open(path).close()
    reader = Journal.open(path, readonly=True)
    writer = Journal.open(path)
    writer.append("s", events(1))
    assert seqs(reader.read("s")) == [1]
    reader.close()
    writer.append("s", events(1))
    writer.close()


def test_a_reader_in_another_process_follows_a_living_writer(path):
    with Journal.open(path, checkpoint_events=40, segment_events=100) as journal:
        journal.append("s", events(5))
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                textwrap.dedent(
                    """
                    import sys, threading
                    from understudy.storage import Journal
                    with Journal.open(sys.argv[1], readonly=True) as journal:
                        got, done = [], threading.Event()
                        def callback(record):
                            got.append(record.position)
                            if record.position == 305:
                                done.set()
                        journal.subscribe(callback)
                        print(len(list(journal.read("s"))), flush=True)
                        sys.stdin.readline()
                        assert done.wait(20)
                        assert got == list(range(1, 306))
                        print(journal.last_seq("s"), journal.stats().segments, flush=True)
                        print(len(list(journal.read_all(types="happened"))), flush=True)
                        sys.stdin.readline()
                        print(journal.first_seq("s"), [r.seq for r in journal.read("s")][:1])
                        print(len(list(journal.read_all())), journal.last_position())
                    """
                ),
                str(path),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "5\n"
        for _ in range(100):
            journal.append("s", events(2))
            journal.append("t", events(1))
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "205 4\n"
        assert process.stdout.readline() == "305\n"
        journal.truncate("s", 200)
        journal.retain(max_events=50, force=True, archive=False)
        journal.append("u", events(1))
        process.stdin.write("go\n")
        process.stdin.close()
        out = process.stdout.read().split("\n")
        assert process.wait(TIMEOUT) == 0
        process.stdout.close()
        assert out[0] == f"{journal.first_seq('s')} [{journal.first_seq('s')}]"
        assert out[1] == f"{len(list(journal.read_all()))} 306"


def test_reading_what_is_not_there_is_refused(path, tmp_path):
    with pytest.raises(StorageUnavailable, match="no journal"):
        Journal.open(path, readonly=True)
    assert not path.exists()
    foreign = tmp_path / "foreign"
    lmdb.open(str(foreign)).close()
    with pytest.raises(StorageUnavailable, match="no journal"):
        Journal.open(foreign, readonly=True)


def test_a_file_that_is_no_environment_is_refused_and_named(path):
    path.mkdir()
    (path / "data.mdb").write_bytes(b"this is something else" * 1000)
    with pytest.raises(StorageUnavailable, match="not a journal"):
        Journal.open(path)
    with pytest.raises(StorageUnavailable):
        Journal.open(path, readonly=True)


def test_a_path_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageUnavailable) as caught:
        Journal.open(tmp_path / "file" / "journal")
    assert "file" in str(caught.value)


def test_a_directory_one_may_not_write_to_is_refused(tmp_path):
    out = run(
        """
        import os, sys
        from understudy.storage import Journal, StorageUnavailable
        path = sys.argv[1]
        os.chmod(path, 0o555)
        if os.getuid() == 0:
            os.setgid(65534); os.setuid(65534)
        try:
            Journal.open(path)
        except StorageUnavailable as error:
            print(error)
        """,
        _made(tmp_path / "readonly"),
        cwd="/",
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "Permission denied" in out
    assert "may write to" in out


def _made(path):
    path.mkdir()
    for parent in path.parents:
        if parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    return path


def test_a_directory_removed_while_open_is_noticed_when_it_is_opened_again(path, journal):
    journal.append("s", events(1))
    shutil.rmtree(path)
    # What is open goes on: the files live as long as they are open.
    assert journal.append("s", events(1)).last_seq == 2
    assert seqs(journal.read("s")) == [1, 2]
    with pytest.raises(StorageUnavailable):
        Journal.open(path, readonly=True)
    journal.close()
    with Journal.open(path) as fresh:
        assert fresh.last_seq("s") == 0


def test_a_journal_in_memory_leaves_nothing_and_knows_everything():
    journal = Journal.in_memory()
    assert not os.path.exists(journal.path)
    journal.append("s", events(5))
    assert seqs(journal.read("s")) == [1, 2, 3, 4, 5]
    assert journal.generation == 1
    assert journal.archives() == []
    assert journal.purge_archives() == 0
    with pytest.raises(StorageUnavailable, match="memory"):
        journal.archive()
    journal.close()
    assert journal.closed


def test_two_journals_in_memory_are_two(memory):
    with Journal.in_memory() as other:
        other.append("s", events(1))
        assert memory.last_seq("s") == 0


def test_an_unknown_durability_is_refused(path):
    with pytest.raises(ValueError, match="sync, pipelined, relaxed"):
        Journal.open(path, "fast")  # type: ignore[arg-type]  # no such level


def test_a_journal_nobody_holds_is_closed(path):
    journal = Journal.open(path)
    future = journal.submit("s", events(1))
    thread = journal._core.own_writer()._thread
    gone = weakref.ref(journal)
    del journal
    assert gone() is None
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert future.result(0).last_seq == 1
    with Journal.open(path) as again:
        assert again.last_seq("s") == 1


def test_a_journal_closed_in_a_callback_of_its_own_closes(path):
    journal = Journal.open(path)
    closed = threading.Event()
    journal.submit("s", events(1)).add_done_callback(lambda _: (journal.close(), closed.set()))
    assert closed.wait(TIMEOUT)
    _wait_for_lock(path)


def _wait_for_lock(path):
    """Open once the closer's thread has let go; it takes no time worth a sleep."""
    for thread in threading.enumerate():
        if thread.name.startswith("understudy-journal"):
            thread.join(TIMEOUT)
    with Journal.open(path) as again:
        assert again.last_seq("s") == 1


def test_an_interpreter_that_ends_closes_its_journals(path):
    out = run(
        """
        import sys, threading
        from understudy.storage import Journal, NewEvent
        journal = Journal.open(sys.argv[1], "relaxed")
        journal.subscribe(lambda r: None)
        futures = [journal.submit("s", [NewEvent("x")]) for _ in range(2000)]
        print("end")
        """,
        path,
        timeout=30,
    )
    assert out == "end\n"
    with Journal.open(path) as journal:
        assert journal.last_seq("s") == 2000
        assert journal.stats().tail_events == 0


def test_little_address_space_is_enough(path):
    out = run(
        """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        from understudy.storage import Journal, NewEvent
        with Journal.open(sys.argv[1]) as journal:
            journal.append("s", [NewEvent("x")])
            print(journal.stats().map_size < 1 << 32)
        """,
        path,
    )
    assert out == "True\n"


def test_an_index_left_behind_is_rebuilt_from_the_log(path):
    code = """
        import os, sys
        from understudy.storage import Journal, NewEvent
        journal = Journal.open(sys.argv[1], "relaxed", checkpoint_events=100, segment_events=300)
        for n in range(1000):
            journal.append(f"s{n % 7}", [NewEvent(f"t{n % 3}", n, id=f"id-{n}", topics=("a",))], epoch=n)
        os._exit(0)
    """
    run(code, path)
    with Journal.open(path, checkpoint_events=100, segment_events=300) as journal:
        assert [r.payload for r in journal.read_all()] == list(range(1000))
        assert [r.payload for r in journal.read("s3")] == list(range(3, 1000, 7))
        assert [r.payload for r in journal.read_all(types="t1", topics="a")] == list(
            range(1, 1000, 3)
        )
        assert journal.stats().tail_events > 0
        assert journal.append("s5", [NewEvent("t0", 999, id="id-999")]).duplicate
        assert journal.verify().ok


# --- schema ---------------------------------------------------------------------


def test_a_newer_schema_is_refused_with_both_numbers(path):
    with Journal.open(path) as journal:
        journal._core.call(
            lambda txn: txn.put(b"schema", b"\x63", db=journal._core.database("meta"))
        ).result()
    for readonly in (False, True):
        with pytest.raises(SchemaMismatch) as caught:
            Journal.open(path, readonly=readonly)
        assert (caught.value.found, caught.value.supported) == (99, _schema.SCHEMA)
    assert "99" in str(caught.value)


def test_migrations_go_up_in_order_and_down_again_within_the_opening(path):
    taken = []

    def step(number):
        def up(environment, txn):
            taken.append(("up", number))
            txn.put(b"step-%d" % number, b"x", db=environment.databases["meta"])

        def down(environment, txn):
            taken.append(("down", number))
            txn.delete(b"step-%d" % number, db=environment.databases["meta"])

        return _schema.Migration(number, up, down)

    with Journal.open(path) as journal:
        journal.append("s", events(1))
    base = _schema.SCHEMA
    steps = [step(base + 1), step(base + 2)]
    with Journal.open(path, migrations=steps) as journal:
        assert taken == [("up", base + 1), ("up", base + 2)]
        assert journal.stats().schema == base + 2
        assert journal.last_seq("s") == 1
    with pytest.raises(SchemaMismatch):
        Journal.open(path)
    assert Journal.migrate(path, to=base, migrations=steps) == 2
    assert taken[2:] == [("down", base + 2), ("down", base + 1)]
    with Journal.open(path) as journal:
        assert journal.append("s", events(1)).last_seq == 2


def test_a_migration_that_fails_changes_nothing(path):
    Journal.open(path).close()

    def fail(environment, txn):
        txn.put(b"half", b"x", db=environment.databases["meta"])
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Journal.open(path, migrations=[_schema.Migration(_schema.SCHEMA + 1, fail, fail)])
    with Journal.open(path) as journal, journal._core.environment.reading() as txn:
        assert txn.get(b"half", db=journal._core.database("meta")) is None
        assert journal.stats().schema == _schema.SCHEMA


def test_forked_is_its_own_error():
    error = JournalForked("/p", 1, 2)
    assert (error.opened_by, error.used_by) == (1, 2)
    assert "spawn" in str(error)


@pytest.mark.conformance(139)
def test_a_torn_row_at_the_end_is_named_at_opening_or_reading(path):
    from understudy.storage import CorruptRecord

    journal = Journal.open(path)
    journal.append("s", [NewEvent("x", "first")])
    journal.append("s", [NewEvent("x", "TORN-PAYLOAD")])
    leave_the_index_behind(journal)  # the tail will be read again
    journal.close()
    data = (path / "data.mdb").read_bytes().replace(b"TORN-PAYLOAD", b"TORN-P\0\0\0\0\0\0")
    (path / "data.mdb").write_bytes(data)
    with pytest.raises(CorruptRecord) as caught:
        Journal.open(path)
    assert (caught.value.stream, caught.value.seq, caught.value.position) == ("s", 2, 2)
    with pytest.raises(CorruptRecord):
        Journal.open(path, readonly=True)


@pytest.mark.conformance(140)
def test_a_long_replay_holds_no_more_than_a_batch(path):
    with Journal.open(path, "relaxed") as journal:
        for _ in range(60):
            journal.submit("s", [NewEvent("x", "y" * 1000)] * 1000)
        journal.sync()
    out = run(
        """
        import resource, sys
        from understudy.storage import Journal
        with Journal.open(sys.argv[1]) as journal:
            next(journal.read("s"))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            import tracemalloc
            tracemalloc.start()
            total = sum(len(r.payload) for r in journal.read("s"))
            print(total, tracemalloc.get_traced_memory()[1] < 12_000_000)
        """,
        path,
    )
    assert out == "60000000 True\n"


def test_a_fresh_journal_has_its_name_for_good_before_it_is_used(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    flushed = []
    fsync = os.fsync

    def note(fd):
        flushed.append((os.fstat(fd).st_ino, (path / "data.mdb").exists()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    Journal.open(path).close()
    assert flushed == [(path.stat().st_ino, True), (tmp_path.stat().st_ino, True)]
    Journal.open(path).close()
    assert len(flushed) == 2  # it has it already
