"""The Librarian's catalogue: SQLite's FTS5 with BM25, cached in one file.

SQLite is in the standard library, needs no service, ranks by BM25 with a weight
per column and stems English words. The file is built once per corpus, under a
name that changes with the corpus, and written beside its final place first, so
that a crash while building leaves nothing half-made behind.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from examples.librarian.corpus import Corpus, CorpusError, Passage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from examples.librarian.query import Query

# Raised when the columns or the way of cutting change: an older file is rebuilt.
LAYOUT = 4

# BM25 weights of title, names, section and body. A word in the title says what a
# passage is about; in the body it may be in passing. Chosen by trying the
# questions of tests/examples/test_librarian_retrieval.py.
WEIGHTS = (6.0, 3.0, 2.0, 1.0)

# How many passages BM25 hands to the second look, which weighs coverage.
CANDIDATES = 60

# Words that mean the same in a question and in the documents.
_SAME = (
    ("delete", "remove"),
    ("folder", "directory"),
    ("create", "make"),
    ("dict", "dictionary"),
    ("int", "integer"),
    ("argument", "parameter"),
    ("length", "len"),
    ("concatenate", "join"),
)
_MEANS = {word: group for group in _SAME for word in group}

# Modules that most questions are about, and large ones whose words are everyday
# words but which are seldom meant unless named.
_EVERYDAY = frozenset(
    {"asyncio", "builtins", "collections", "csv", "datetime", "functools", "itertools", "json"}
    | {"math", "os", "os.path", "pathlib", "random", "re", "shutil", "sqlite3", "subprocess"}
    | {"sys", "tempfile", "threading", "time", "typing", "contextlib", "dataclasses", "enum"}
)
_SELDOM = frozenset(
    {"bdb", "cgi", "cgitb", "distutils", "email", "ftplib", "imaplib", "mailbox", "nntplib"}
    | {"pdb", "poplib", "pydoc", "smtpd", "telnetlib", "tkinter", "turtle", "wsgiref", "xml"}
    | {"xmlrpc", "zipimport"}
)

_FIELDS = ("id", "kind", "document", "ordinal", "title", "section", "location", "body")
# What people call things, where the documents say otherwise. Used only for words
# that the corpus does not hold: in a book about walruses a walrus stays one.
_ALSO_CALLED = {
    "walrus": ("assignment", "expression"),
    "gil": ("global", "interpreter", "lock"),
    "regex": ("regular", "expression"),
    "regexp": ("regular", "expression"),
    "fstring": ("formatted", "string", "literal"),
    "ternary": ("conditional", "expression"),
    "dunder": ("special", "method"),
    "multithreading": ("threading",),
    "hashmap": ("dictionary",),
}

_COLUMNS = ", ".join(f"passage.{field}" for field in _FIELDS)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found, with how well it fits.

    `coverage` is the share, from 0 to 1, of the question's words that the passage
    holds, rare words counting more. `score` orders the hits, higher is better.
    """

    passage: Passage
    score: float
    coverage: float


class Index:
    """The passages of one corpus, ready to be searched from any thread.

    Made by `open_index`. Each thread gets its own read-only connection.
    """

    def __init__(self, path: Path, corpus_name: str) -> None:
        self.path = path
        self.corpus_name = corpus_name
        self._local = threading.local()
        row = self._connection().execute("SELECT count(*), count(DISTINCT document) FROM passage")
        self.passage_count, self.document_count = row.fetchone()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(f"file:{self.path}?mode=ro&immutable=1", uri=True)
            self._local.connection = connection
        return connection

    def passage(self, passage_id: str) -> Passage | None:
        """Return the passage of that id, or None when the corpus no longer has it."""
        rows = self._connection().execute(
            f"SELECT {_COLUMNS} FROM passage WHERE id = ?", (passage_id,)
        )
        return next((_passage(row) for row in rows), None)

    def titles(self, limit: int) -> list[str]:
        """Return some titles, spread over the documents: what a reader may ask about."""
        rows = self._connection().execute(
            "SELECT title FROM passage WHERE ordinal = 0 AND length(title) BETWEEN 3 AND 60 "
            "GROUP BY title ORDER BY id LIMIT ?",
            (limit,),
        )
        return [row[0] for row in rows]

    def following(self, passage: Passage, limit: int = 1) -> list[Passage]:
        """Return the passages that come after this one in its document."""
        rows = self._connection().execute(
            f"SELECT {_COLUMNS} FROM passage WHERE kind = ? AND document = ? AND ordinal > ? "
            "ORDER BY ordinal LIMIT ?",
            (passage.kind, passage.document, passage.ordinal, limit),
        )
        return [_passage(row) for row in rows]

    def frequency(self, term: str) -> int:
        """Return how many passages hold this word in any of its forms."""
        row = self._connection().execute(
            "SELECT count(*) FROM search WHERE search MATCH ?", (_meant(term),)
        )
        count: int = row.fetchone()[0]
        return count

    def search(
        self, query: Query, limit: int = 5, documents: Collection[str] | None = None
    ) -> list[Hit]:
        """Return the passages that fit best, at most two of one document, best first.

        BM25 over all words chooses the candidates; the order among them is BM25
        times the share of the question's words a passage holds, so that one rare
        word repeated does not beat a passage about the whole question.
        `documents` looks in those only.
        """
        query = self._in_our_words(query)
        terms = query.terms
        if not terms:
            return []
        connection = self._connection()
        within = ""
        if documents is not None:
            within = f"AND passage.document IN ({','.join('?' * len(documents))}) "
        parts = [_meant(term) for term in (*terms, *query.hints)]
        parts += [_quoted(phrase) for phrase in query.phrases]
        rows = connection.execute(
            f"SELECT search.rowid, bm25(search, ?, ?, ?, ?), {_COLUMNS} "
            "FROM search JOIN passage ON passage.rowid = search.rowid "
            f"WHERE search MATCH ? {within}"
            "ORDER BY bm25(search, ?, ?, ?, ?) LIMIT ?",
            (*WEIGHTS, " OR ".join(parts), *(documents or ()), *WEIGHTS, CANDIDATES),
        ).fetchall()
        if not rows:
            return []
        weights = self._weights(terms)
        held = self._held(terms, [row[0] for row in rows])
        total = sum(weights.values())
        hits = list[Hit]()
        spoken = [phrase for phrase in query.phrases if " " in phrase]
        for rowid, bm25, *columns in rows:
            passage = _passage(columns)
            coverage = sum(weights[t] for t in terms if rowid in held[t]) / total
            score = -bm25 * (0.25 + coverage) ** 2 * _title_boost(passage, query)
            if any(phrase in passage.body.lower() for phrase in spoken):
                score *= 1.4
            hits.append(Hit(passage, score, coverage))
        hits.sort(key=lambda hit: -hit.score)
        self._beginning_first(hits)
        return list(_varied(hits, limit, 2 if documents is None else limit))

    def _beginning_first(self, hits: list[Hit]) -> None:
        """Where a built-in is the answer, what it is comes before its particulars."""
        best = hits[0]
        if best.passage.section != "builtins" or best.passage.ordinal == 0:
            return
        rows = self._connection().execute(
            f"SELECT {_COLUMNS} FROM passage WHERE kind = ? AND document = ? AND ordinal = 0",
            (best.passage.kind, best.passage.document),
        )
        for beginning in map(_passage, rows):
            hits[:] = [hit for hit in hits if hit.passage != beginning]
            hits.insert(0, replace(best, passage=beginning))

    def coverage(self, query: Query, passage: Passage) -> float:
        """Return the share of the query's words that this passage holds, as `Hit.coverage`."""
        terms = self._in_our_words(query).terms
        rows = self._connection().execute("SELECT rowid FROM passage WHERE id = ?", (passage.id,))
        rowids = [row[0] for row in rows]
        if not terms or not rowids:
            return 0.0
        weights = self._weights(terms)
        held = self._held(terms, rowids)
        return sum(weights[t] for t in terms if held[t]) / sum(weights.values())

    def _in_our_words(self, query: Query) -> Query:
        """Put the documents' own words for those that they do not hold."""
        terms = dict[str, None]()
        phrases = list(query.phrases)
        for term in query.terms:
            other = _ALSO_CALLED.get(term)
            if other is not None and self.frequency(term) == 0:
                terms.update(dict.fromkeys(other))
                phrases.append(" ".join(other))
            else:
                terms[term] = None
        return replace(query, terms=tuple(terms), phrases=tuple(phrases))

    def _weights(self, terms: Sequence[str]) -> dict[str, float]:
        """Rare words weigh more; a word no passage holds weighs as much as the rarest."""
        from math import log

        n = self.passage_count
        return {term: log(1 + n / (1 + self.frequency(term))) for term in terms}

    def _held(self, terms: Sequence[str], rowids: Sequence[int]) -> dict[str, set[int]]:
        marks = ",".join("?" * len(rowids))
        sql = f"SELECT rowid FROM search WHERE search MATCH ? AND rowid IN ({marks})"
        connection = self._connection()
        return {
            term: {row[0] for row in connection.execute(sql, (_meant(term), *rowids))}
            for term in terms
        }


def open_index(
    corpus: Corpus, folder: Path, progress: Callable[[int, int, str], None] | None = None
) -> Index:
    """Return the index of a corpus, built now unless `folder` holds it already.

    `progress(done, total, what)` is called while building. Files of other states
    of this corpus are removed once the new one stands.

    Raises:
        CorpusError: no passage in the documents, or this SQLite has no FTS5.
        OSError: the folder cannot be written.
    """
    from hashlib import blake2b

    mark = blake2b(f"{LAYOUT}|{corpus.fingerprint()}".encode(), digest_size=8).hexdigest()
    path = folder / f"passages-{mark}.sqlite3"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        building = folder / f"building-{os.getpid()}-{mark}.sqlite3"
        try:
            _build(corpus, building, progress or (lambda _done, _total, _what: None))
            os.replace(building, path)
        finally:
            building.unlink(missing_ok=True)
        for other in folder.glob("passages-*.sqlite3"):
            if other != path:
                with contextlib.suppress(OSError):  # another server may still read it
                    other.unlink()
    return Index(path, corpus.name)


def _build(corpus: Corpus, path: Path, progress: Callable[[int, int, str], None]) -> None:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE passage (id TEXT UNIQUE, kind TEXT, document TEXT, ordinal INTEGER,"
            " title TEXT, section TEXT, location TEXT, body TEXT);"
        )
        try:
            connection.execute(
                "CREATE VIRTUAL TABLE search USING fts5("
                "title, names, section, body, content='', tokenize='porter unicode61')"
            )
        except sqlite3.OperationalError as error:
            raise CorpusError(
                f"this Python's SQLite {sqlite3.sqlite_version} has no FTS5 ({error}); "
                "use a Python whose sqlite3 module was built with it"
            ) from error
        count = 0
        for p in corpus.passages(progress):
            row = (p.id, p.kind, p.document, p.ordinal, p.title, p.section, p.location, p.body)
            cursor = connection.execute("INSERT INTO passage VALUES (?,?,?,?,?,?,?,?)", row)
            connection.execute(
                "INSERT INTO search (rowid, title, names, section, body) VALUES (?,?,?,?,?)",
                (cursor.lastrowid, p.title, _names(p), p.section, p.body),
            )
            count += 1
        if count == 0:
            raise CorpusError(f"{corpus.name}: the documents hold no text; add some and try again")
        connection.execute("CREATE INDEX passage_document ON passage (kind, document, ordinal)")
        connection.execute("INSERT INTO search (search) VALUES ('optimize')")
        connection.commit()
    finally:
        connection.close()
    # Readable at once after a power cut too: the name appears only after the bytes.
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _names(passage: Passage) -> str:
    """What else a passage's subject is called: `OrderedDict` is also `Ordered Dict`."""
    words = passage.document.replace("_", " ").replace(".", " ").replace("-", " ")
    split = _CAMEL.sub(" ", words)
    return words if split == words else f"{words} {split}"


def _title_boost(passage: Passage, query: Query) -> float:
    """A passage whose subject the question names outright comes first, its beginning most."""
    title = passage.title.lower()
    document = passage.document.lower()
    top = document.partition(".")[0]
    last = title.rpartition(".")[2]
    usual = passage.section in _EVERYDAY
    outright = title in query.names or document in query.names
    in_parts = "." in title and set(title.split(".")) <= set(query.terms)
    by_last = last in query.names and title.count(".") == 1 and (usual or not query.concept)
    builtin = passage.section == "builtins" and title in query.terms
    named = outright or in_parts or by_last or builtin
    boost = 1.0
    if outright or in_parts:
        boost = 3.0
    elif by_last or builtin:
        boost = 1.8
    elif any(phrase in title for phrase in query.phrases):
        boost = 2.2
    elif passage.kind == "reference" and any(term.rstrip("s") in title for term in query.terms):
        boost = 1.6
    if passage.ordinal == 0:
        boost *= 1.6 if named else 1.25
    if passage.kind == "reference":
        # A chapter tells more than a docstring, above all of what something is.
        boost *= 2.0 if query.concept else 1.3
    elif passage.kind == "library" and top not in query.terms:
        if usual:
            boost *= 1.4
        elif top in _SELDOM:
            boost *= 0.6
    return boost


def _varied(hits: Sequence[Hit], limit: int, per_document: int) -> Iterator[Hit]:
    count = dict[tuple[str, str], int]()
    for hit in hits:
        key = (hit.passage.kind, hit.passage.document)
        count[key] = count.get(key, 0) + 1
        if count[key] <= per_document:
            yield hit
            limit -= 1
            if limit == 0:
                return


def _meant(term: str) -> str:
    """Return the search for a word or one that means the same."""
    return "(" + " OR ".join(_quoted(word) for word in _MEANS.get(term, (term,))) + ")"


def _quoted(term: str) -> str:
    """Quote a term for FTS5: inside quotes nothing is an operator, and words make a phrase."""
    return '"' + term.replace('"', '""') + '"'


def _passage(row: Sequence[object]) -> Passage:
    _id, kind, document, ordinal, title, section, location, body = row
    assert isinstance(ordinal, int)
    return Passage(
        str(kind), str(document), ordinal, str(title), str(section), str(location), str(body)
    )
