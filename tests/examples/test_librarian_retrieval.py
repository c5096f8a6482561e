"""Questions in plain English find the passages that answer them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from examples.librarian.corpus import CorpusError, FolderCorpus
from examples.librarian.index import open_index
from examples.librarian.query import parse

QUESTIONS = {
    "What does the with statement do?": "with",
    "How does functools.lru_cache work?": "functools.lru_cache",
    "What is a deque good for?": "collections.deque",
    "How do I read a CSV file?": "csv",
    "What happens when an exception is raised in a finally block?": "try",
    "What is a generator?": "types",
    "What does the yield expression do?": "yield",
    "How can I parse command line arguments?": "argparse.ArgumentParser",
    "What does zip do?": "zip",
    "How do I sort a list by a key?": "list.sort",
    "How do I make a temporary file?": "tempfile.NamedTemporaryFile",
    "What is a context manager?": "context-managers",
    "How can I copy a directory tree?": "shutil.copytree",
    "What are the truth value testing rules?": "truth",
    "What is operator precedence in Python?": "operator-summary",
    "What is dict.setdefault?": "dict.setdefault",
    "ordered dict": "collections.OrderedDict",
    "What does the for loop's else clause do?": "for",
    "How do I handle heap queues?": "heapq",
    "Explain `__slots__`": "attribute-access",
    "how to open sqlite database": "sqlite3.connect",
    "What is the difference between is and ==?": "comparisons",
    "what is a lambda": "lambda",
    "What does // do?": "binary",
    "How do I open a file and read its lines?": "open",
    "how to reverse a list": "list.reverse",
    "what does os.path.join do": "os.path.join",
    "what does the len function do": "len",
    "how do I list the files in a directory": "os.listdir",
    "how to delete a file": "os.remove",
    "what is the current working directory": "os.getcwd",
    "how to convert a string to an int": "int",
    "what is a dictionary": "dict",
    "random choice": "random.Random.choice",
}


@pytest.mark.parametrize(("question", "document"), QUESTIONS.items())
def test_the_passage_that_answers_is_among_the_first_three(python_index, question, document):
    hits = python_index.search(parse(question))
    assert document in [hit.passage.document for hit in hits[:3]]
    assert hits[0].coverage >= 0.5


@pytest.mark.parametrize(
    "question",
    [
        "Who won the football world cup in 1998?",
        "What is the best recipe for banana bread?",
        "What is the capital of France?",
        "What is the weather like in Paris?",
    ],
)
def test_a_question_the_documents_do_not_answer_covers_too_little(python_index, question):
    assert all(hit.coverage < 0.5 for hit in python_index.search(parse(question)))


def test_words_without_meaning_make_no_query():
    assert not parse("what is it?")
    assert not parse("")
    assert not parse("?!")


def test_words_of_the_language_count_where_they_are_meant():
    assert "with" not in parse("a book with pictures").terms
    assert "with" in parse("the with statement").terms
    assert "if" in parse("what does `if` do").terms
    assert parse("functools.lru_cache()").names >= {"functools.lru_cache"}


def test_nothing_in_a_question_is_read_as_an_operator_of_the_search(python_index):
    for question in (
        '"unbalanced',
        "NEAR(a b",
        "col: x",
        "a* AND b",
        "title:'x' OR 1",
        "^start",
        "-x",
        "deque)",
    ):
        found = python_index.search(parse(question))
        assert isinstance(found, list)
    plain, odd = parse("deque"), parse('"deque)')
    assert plain.terms == odd.terms
    assert python_index.search(odd) == python_index.search(plain) != []


def test_at_most_two_passages_of_one_document_are_among_the_hits(python_index):
    hits = python_index.search(parse("string methods"), limit=5)
    documents = [hit.passage.document for hit in hits]
    assert max(documents.count(name) for name in documents) <= 2


def test_an_index_answers_from_many_threads(python_index):
    def first(question):
        return python_index.search(parse(question))[0].passage.document

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(first, ["What does zip do?", "what is a lambda"] * 20))
    assert found == ["zip", "lambda"] * 20


def test_an_index_is_built_once_and_anew_when_the_documents_change(tmp_path):
    docs, kept = tmp_path / "docs", tmp_path / "kept"
    docs.mkdir()
    (docs / "a.md").write_text("# Pumps\n\nThe pump needs oil every week.\n")
    built = []

    def progress(done, total, what):
        built.append((done, total, what))

    index = open_index(FolderCorpus(docs), kept, progress)
    assert built == [(0, 1, "a.md"), (1, 1, "")]
    built.clear()
    assert open_index(FolderCorpus(docs), kept, progress).path == index.path
    assert built == []
    (docs / "b.md").write_text("# Valves\n\nOpen the valve slowly.\n")
    again = open_index(FolderCorpus(docs), kept, progress)
    assert built[-1] == (2, 2, "")
    assert [hit.passage.location for hit in again.search(parse("valve"))] == ["b.md:3"]
    assert [path.name for path in kept.iterdir()] == [again.path.name]


def test_an_index_that_was_not_finished_leaves_nothing_behind(tmp_path):
    class Broken:
        name = "broken"

        def fingerprint(self):
            return "x"

        def passages(self, progress):
            yield from ()
            raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        open_index(Broken(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_documents_without_a_word_are_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(CorpusError, match="the documents hold no text"):
        open_index(FolderCorpus(tmp_path), tmp_path / "kept")
