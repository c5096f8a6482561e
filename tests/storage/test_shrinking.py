"""Compacting the file of a closed journal: it becomes small, or it stays as it was."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.storage.conftest import events, seqs, there
from understudy.storage import (
    CorruptRecord,
    Journal,
    JournalLocked,
    NewEffect,
    NewEvent,
    StorageFull,
    StorageUnavailable,
    _shrink,
)


@pytest.fixture
def swollen(path):
    """A closed journal that has freed most of what was in it."""
    with Journal.open(path, "relaxed", segment_events=500) as journal:
        for n in range(60):
            journal.append("gone", [NewEvent("big", bytes(1000))] * 50)
            journal.append("kept", events(2, start=2 * n))
        journal.delete("gone")
        journal.compact()
        journal.save_snapshot("kept", 100, {"n": 100})
        journal.state.put("b", "k", 1)
        journal.outbox.add([NewEffect("web", 1, "key")])
    return path


def content(journal):
    return (
        [(r.position, r.stream, r.seq, r.id, r.payload) for r in journal.read_all()],
        there(journal.load_snapshot("kept")).state,
        journal.state.get("b", "k"),
        [effect.dedupe_key for effect in journal.outbox.list()],
        journal.last_seq("gone"),
        journal.last_position(),
    )


def size(path: pathlib.Path) -> int:
    return (path / "data.mdb").stat().st_size


def test_the_file_becomes_as_small_as_what_is_in_it(swollen):
    with Journal.open(swollen) as journal:
        before = content(journal)
    report = Journal.compact_file(swollen)
    assert report.before_bytes > 2_000_000
    assert report.after_bytes == size(swollen) < report.before_bytes / 4
    assert not (swollen / _shrink.FRESH).exists()
    with Journal.open(swollen) as journal:
        assert content(journal) == before
        assert journal.append("kept", events(1)).first_seq == 121
        assert journal.append("gone", events(1)).first_seq == 3001
        assert journal.verify().ok


def test_who_has_it_open_in_this_process_is_not_disturbed(swollen):
    for readonly in (False, True):
        with Journal.open(swollen, readonly=readonly) as journal:
            with pytest.raises(JournalLocked, match="this process"):
                Journal.compact_file(swollen)
            assert len(seqs(journal.read("kept"))) == 120


@pytest.mark.parametrize(
    ("readonly", "who"), [(False, "another process"), (True, "a reader in another process")]
)
def test_who_has_it_open_in_another_process_is_not_disturbed(swollen, readonly, who):
    program = (
        "import sys\n"
        "from understudy.storage import Journal\n"
        f"with Journal.open(sys.argv[1], readonly={readonly}) as journal:\n"
        "    print(journal.last_position(), flush=True)\n"
        "    sys.stdin.read()\n"
        "    print(len(list(journal.read('kept'))), flush=True)\n"
    )
    before = size(swollen)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(swollen)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "3120"
        with pytest.raises(JournalLocked, match=who):
            Journal.compact_file(swollen)
        output, _ = other.communicate("", timeout=30)
        assert output.strip() == "120"
    assert size(swollen) == before
    assert Journal.compact_file(swollen).after_bytes < before


@pytest.mark.parametrize("step", ["copy", "verified", "replace", "flush_directory"])
def test_cut_short_at_any_step_a_complete_journal_is_there(swollen, monkeypatch, step):
    class Cut(BaseException):
        """Stands for the kill."""

    def cut(*_args, **_kwargs):
        raise Cut

    with Journal.open(swollen) as journal:
        before = content(journal)
    with monkeypatch.context() as patch:
        # What a killed process would not have done either.
        patch.setattr(shutil, "rmtree", lambda *_args, **_kwargs: None)
        if step == "replace":
            patch.setattr(pathlib.Path, "replace", cut)
        else:
            patch.setattr(_shrink, "_copy" if step == "copy" else step, cut)
        with pytest.raises(Cut):
            Journal.compact_file(swollen)
    assert (swollen / _shrink.FRESH).exists()
    with Journal.open(swollen) as journal:
        assert content(journal) == before
        assert journal.verify().ok
    Journal.compact_file(swollen)
    assert not (swollen / _shrink.FRESH).exists()
    with Journal.open(swollen) as journal:
        assert content(journal) == before


def test_without_room_for_the_copy_it_stays_as_it_was(swollen, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, os.strerror(28))

    before = size(swollen)
    with monkeypatch.context() as patch:
        patch.setattr(_shrink, "_copy", full)
        with pytest.raises(StorageFull):
            Journal.compact_file(swollen)
        patch.setattr(_shrink, "_entries", lambda env: {b"x": id(env)})
        patch.undo()
        patch.setattr(_shrink, "_entries", lambda env: {b"x": id(env)})
        with pytest.raises(StorageUnavailable, match="lacks rows"):
            Journal.compact_file(swollen)
    assert size(swollen) == before
    with Journal.open(swollen) as journal:
        assert journal.verify().ok


def test_a_damaged_journal_stays_as_it_was(path):
    with Journal.open(path) as journal:
        journal.append("s", [NewEvent("x", "MARKED"), *events(3)])
    data = bytearray((path / "data.mdb").read_bytes())
    data[data.index(b"MARKED")] ^= 1
    (path / "data.mdb").write_bytes(data)
    with pytest.raises(CorruptRecord):
        Journal.compact_file(path)
    assert (path / "data.mdb").read_bytes() == bytes(data)


def test_what_is_no_journal_is_refused(tmp_path):
    with pytest.raises(StorageUnavailable, match="no journal"):
        Journal.compact_file(tmp_path / "nowhere")
    (tmp_path / "data.mdb").write_bytes(b"nonsense" * 2000)
    with pytest.raises(StorageUnavailable):
        Journal.compact_file(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == b"nonsense" * 2000
