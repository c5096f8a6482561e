"""Documents become passages: Python's own, and those of a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples.librarian.corpus import (
    CorpusError,
    FolderCorpus,
    PythonCorpus,
)
from examples.librarian.cutting import chunks, sections

ROOT = Path(__file__).resolve().parents[2]


def read(corpus):
    return list(corpus.passages(lambda _done, _total, _what: None))


@pytest.fixture(scope="module")
def python_passages():
    return read(PythonCorpus())


def test_sections_of_markdown_and_underlined_text_know_their_heading_and_line():
    text = "before\n\n# One\nfirst\n\nTwo\n---\nsecond\n```\n# no heading\n```\n"
    assert [(heading, line, body.strip()) for heading, line, body in sections(text)] == [
        ("", 1, "before"),
        ("One", 4, "first"),
        ("Two", 8, "second\n```\n# no heading\n```"),
    ]


def test_chunks_lose_no_line_and_keep_an_example_with_its_introduction():
    paragraphs = [f"Paragraph {n}. " + "word " * 60 for n in range(9)]
    text = "\n\n".join([*paragraphs, "For example:", "    code()\n    more()"])
    pieces = list(chunks(text, limit=700))
    assert len(pieces) > 3
    told = "\n".join(piece for _, piece in pieces)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    assert [line for line in told.splitlines() if line.strip()] == lines
    assert "For example:\n\n    code()\n    more()" in pieces[-1][1]
    for at, piece in pieces:
        assert text.splitlines()[at].rstrip() == piece.splitlines()[0]


def test_the_corpus_of_python_holds_its_reference_and_its_library(python_passages):
    by_document = {(p.kind, p.document): p for p in reversed(python_passages)}
    assert by_document["reference", "with"].title == "The with statement"
    cached = by_document["library", "functools.lru_cache"]
    assert cached.location.startswith("Lib/functools.py:")
    assert cached.body.startswith("lru_cache(maxsize=128, typed=False)")
    # written in C, so imported and not parsed
    assert "Insert key with a value of default" in by_document["library", "dict.setdefault"].body
    assert ("library", "collections.deque") in by_document
    assert len(python_passages) > 4000


def test_passages_have_ids_of_their_own(python_passages):
    assert len({p.id for p in python_passages}) == len(python_passages)


def test_no_section_of_the_reference_is_told_twice(python_passages):
    bodies = [p.body for p in python_passages if p.kind == "reference"]
    assert len(set(bodies)) == len(bodies)


def test_reading_the_library_imports_no_module_that_does_things_when_imported():
    code = (
        "import sys\n"
        "from examples.librarian.corpus import PythonCorpus\n"
        "count = sum(1 for _ in PythonCorpus().passages(lambda *_: None))\n"
        "done = {'antigravity', 'this', 'idlelib', 'turtle', 'tkinter'} & set(sys.modules)\n"
        "print(count > 1000, sorted(done))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.strip() == "True []"


def test_a_folder_gives_its_text_and_markdown_files_with_line_numbers(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "guide.md").write_text(
        "# Pumps\n\nThe pump needs oil.\n\n## Valves\n\nOpen slowly.\n"
    )
    (tmp_path / "note.txt").write_text("Call Ada.")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "secret.md").write_text("no")
    found = read(FolderCorpus(tmp_path))
    assert [(p.title, p.section, p.location, p.body) for p in found] == [
        ("Pumps", "Pumps", "deep/guide.md:3", "The pump needs oil."),
        ("Valves", "Pumps", "deep/guide.md:7", "Open slowly."),
        ("note", "note", "note.txt:1", "Call Ada."),
    ]


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path):
    (tmp_path / "odd.txt").write_bytes(b"before \xff\xfe after")
    (passage,) = read(FolderCorpus(tmp_path))
    assert passage.body.startswith("before ")
    assert passage.body.endswith(" after")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path / "nowhere", "there is no such folder; give the path of a folder"),
        (
            lambda path: path,
            "no document in this folder; it needs at least one file ending in .txt, .md",
        ),
    ],
)
def test_a_missing_or_empty_folder_is_refused_with_what_to_do(tmp_path, make, said):
    with pytest.raises(CorpusError, match="^--docs ") as raised:
        FolderCorpus(make(tmp_path))
    assert said in str(raised.value)


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    file = tmp_path / "a.md"
    file.write_text("x")
    with pytest.raises(CorpusError, match="this is a file; give the folder that holds it"):
        FolderCorpus(file)


def test_the_fingerprint_of_a_folder_changes_with_its_files(tmp_path):
    file = tmp_path / "a.md"
    file.write_text("one")
    first = FolderCorpus(tmp_path).fingerprint()
    assert FolderCorpus(tmp_path).fingerprint() == first
    file.write_text("another")
    assert FolderCorpus(tmp_path).fingerprint() != first
