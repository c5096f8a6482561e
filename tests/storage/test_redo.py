"""Small commits written down beside themselves: put back where a power cut undid them."""

from __future__ import annotations

import pathlib
import shutil

import lmdb
import pytest

from tests.storage.conftest import events, numbered, seqs, there
from understudy.storage import (
    Append,
    Journal,
    NewEvent,
    Put,
    StorageError,
    Write,
    WrongExpectedSeq,
    _redo,
)
from understudy.storage._environment import Environment

PAGE = 4096
META = slice(32, 152)


class Cut:
    """Takes the disk away right after a commit: its meta page was never written."""

    def __init__(self, journal: Journal, path: pathlib.Path, tmp_path: pathlib.Path) -> None:
        self.journal = journal
        self.path = path / "data.mdb"
        self.directory = tmp_path / "after"

    def disk(self, write) -> pathlib.Path:
        """The directory as it is found after the cut, with what `write` has done acknowledged."""
        meta = self.path.read_bytes()[: 2 * PAGE]
        write()
        after = bytearray(self.path.read_bytes())
        for page in (0, PAGE):
            here = slice(page + META.start, page + META.stop)
            after[here] = meta[here]
        self.directory.mkdir()
        (self.directory / "data.mdb").write_bytes(after)
        return self.directory

    def opened(self, write) -> Journal:
        """The journal in it."""
        return Journal.open(self.disk(write))


@pytest.fixture
def cut(journal, path, tmp_path):
    journal.append("s", events(3))
    journal.append("s", events(1, start=3))
    return Cut(journal, path, tmp_path)


def flushes(journal: Journal, monkeypatch) -> list[int]:
    """Grows by one with each flush beside those of commits."""
    found: list[int] = []
    environment = journal._core.environment
    sync = environment.sync
    monkeypatch.setattr(environment, "sync", lambda: (found.append(1), sync()))
    return found


@pytest.mark.parametrize("count", [1, 10])
def test_a_small_commit_is_put_back_where_its_meta_page_is_lost(cut, count):
    with cut.opened(lambda: cut.journal.append("s", events(count, start=4))) as journal:
        assert [r.payload["n"] for r in journal.read("s")] == list(range(4 + count))
        assert journal.last_position() == 4 + count
        assert journal.verify().ok
        journal.append("s", events(1), expected_seq=4 + count)
    with Journal.open(cut.directory) as journal:
        assert journal.last_seq("s") == 5 + count


def test_several_streams_and_given_ids_of_one_commit_are_put_back(cut):
    def write() -> None:
        cut.journal.write(
            Write(appends=[Append("s", numbered("a", 1, 2)), Append("t", numbered("b", 1), 0)])
        )

    with cut.opened(write) as journal:
        assert seqs(journal.read("t")) == [1]
        assert journal.last_seq("s") == 6
        assert journal.append("s", numbered("a", 1, 2)).duplicate
        with pytest.raises(WrongExpectedSeq):
            journal.append("t", events(1), expected_seq=0)


def test_a_commit_is_put_back_once(cut):
    with cut.opened(lambda: cut.journal.append("s", events(1))):
        pass
    for durability in ("sync", "pipelined", "relaxed"):
        with Journal.open(cut.directory, durability) as journal:
            assert journal.last_seq("s") == 5
            assert journal.last_position() == 5


def test_a_commit_under_way_at_the_cut_does_not_turn_up_at_a_later_opening(cut):
    directory = cut.disk(lambda: cut.journal.append("s", events(1, start=4)))
    redo = _redo.Redo(str(directory / "data.mdb"), PAGE)
    last = max(redo.noted(), key=lambda one: one.transaction)
    key, value = last.rows[-1]
    after = (int.from_bytes(key, "big") + 1).to_bytes(8, "big")
    assert redo.note(last.transaction + 1, last.database, [(after, value)])
    environment = Environment(str(directory))  # nothing but the putting back: no commit follows
    assert environment.info()["last_txnid"] == last.transaction
    assert redo.noted() == []
    environment.close()
    redo.close()
    with Journal.open(directory) as journal:
        assert journal.last_position() == 5


@pytest.mark.parametrize("durability", ["sync", "pipelined"])
def test_a_small_commit_needs_no_flush_of_its_meta_page(path, monkeypatch, durability):
    with Journal.open(path, durability) as journal:
        journal.append("s", events(1))
        found = flushes(journal, monkeypatch)
        for n in range(20):
            journal.append("s", events(1 + n % 10, start=n))
        assert found == []


@pytest.mark.parametrize(
    "write",
    [
        lambda journal: journal.append("s", [NewEvent("large", bytes(5000))]),
        lambda journal: journal.append("s", events(2000)),
        lambda journal: journal.write(Write([Append("s", events(1))], puts=[Put("b", "k", 1)])),
        lambda journal: journal.state.put("b", "k", 1),
        lambda journal: journal.save_snapshot("s", 1, {"n": 1}),
        lambda journal: journal.truncate("s", 2),
    ],
    ids=["large", "many", "with state", "state", "snapshot", "truncate"],
)
def test_what_cannot_be_written_down_flushes_its_meta_page(journal, monkeypatch, write):
    journal.append("s", events(3))
    found = flushes(journal, monkeypatch)
    write(journal)
    assert found


def test_a_refused_write_does_not_come_back(journal, path, tmp_path, monkeypatch):
    journal.append("s", events(3))
    environment = journal._core.environment
    begin = environment.begin

    class Failing:
        """A transaction whose commit the disk refuses."""

        def __init__(self, txn) -> None:
            self.txn = txn
            self.abort, self.cursor, self.id = txn.abort, txn.cursor, txn.id

        def commit(self) -> None:
            assert environment._redo.after(environment.info()["last_txnid"])
            raise lmdb.Error("No space left on device")

    monkeypatch.setattr(environment, "begin", lambda: Failing(begin()))
    with pytest.raises(StorageError):
        journal.append("s", events(1))
    last = environment.info()["last_txnid"]
    assert environment._redo.after(last) is None
    shutil.copytree(path, tmp_path / "after", ignore=shutil.ignore_patterns("*.lock", "lock.mdb"))
    monkeypatch.undo()
    with Journal.open(tmp_path / "after") as after:
        assert after.last_seq("s") == 3
    assert journal.append("s", events(1)).last_seq == 4


def test_a_closed_journal_holds_nothing_written_down(path):
    with Journal.open(path) as journal:
        journal.append("s", events(1))
        journal.append("s", events(1))
        assert there(journal._core.environment._redo).noted()
    data = (path / "data.mdb").read_bytes()
    assert data[512:PAGE] == bytes(PAGE - 512)
    assert data[PAGE + 512 : 2 * PAGE] == bytes(PAGE - 512)


def test_compacting_after_a_power_cut_keeps_the_last_commit(cut):
    directory = cut.disk(lambda: cut.journal.append("s", events(1)))
    Journal.compact_file(directory)
    with Journal.open(directory) as journal:
        assert journal.last_seq("s") == 5


@pytest.fixture
def redo(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * PAGE))
    redo = _redo.Redo(str(path), PAGE)
    yield redo, path
    redo.close()


def test_two_commits_are_remembered_and_the_engine_s_bytes_left_alone(redo):
    redo, path = redo
    for number in range(1, 6):
        assert redo.note(number, "log.1", [(b"key", b"value %d" % number)])
    assert sorted(one.transaction for one in redo.noted()) == [4, 5]
    found = redo.after(4)
    assert found is not None
    assert found.rows == [(b"key", b"value 5")]
    assert redo.after(5) is None
    data = path.read_bytes()
    assert len(data) == 2 * PAGE
    assert data[:512] == data[PAGE : PAGE + 512] == bytes(512)
    redo.cancel(5)
    assert redo.after(4) is None
    assert redo.after(3) is not None


@pytest.mark.parametrize("at", [0, 4, 8, 20, 30])
def test_what_was_torn_does_not_count(redo, at):
    redo, path = redo
    assert redo.note(7, "log.1", [(b"key", b"a value of some length")])
    data = bytearray(path.read_bytes())
    data[PAGE + 512 + at] ^= 1
    path.write_bytes(data)
    assert redo.noted() == []


def test_what_does_not_fit_is_not_noted(redo):
    redo, path = redo
    assert not redo.note(1, "log.1", [(b"key", bytes(PAGE - 512))])
    assert not redo.note(1, "log.1", [(b"key", b"")] * 1000)
    assert path.read_bytes() == bytes(2 * PAGE)
