"""Where the Librarian's documents come from, cut into passages.

Two sources: what every CPython carries (the language reference in
`pydoc_data.topics`, and the docstrings of the standard library), or a folder of
text and Markdown files. Python sources are parsed, never imported: some modules
of the standard library do things when imported (`antigravity` opens a browser).
Only modules written in C, which have no source to parse, are imported, and only
those named in `C_MODULES`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import sysconfig
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from examples.librarian.cutting import chunks, sections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUFFIXES = (".txt", ".md", ".markdown", ".rst")

# Parsing these is harmless but answers nobody's question.
SKIPPED_MODULES = frozenset(
    {"antigravity", "ensurepip", "idlelib", "lib2to3", "ntpath", "nturl2path", "pydoc_data"}
    | {"test", "this", "turtledemo"}
)
# Where one finds what these modules hold.
KNOWN_AS = {"posixpath": "os.path", "posix": "os"}
SKIPPED_FOLDERS = frozenset({"__pycache__", "test", "tests", "idle_test", "_vendor", "_bundled"})

# Written in C: no source to parse. Importing them runs no Python code with effects.
C_MODULES = (
    *("builtins", "array", "atexit", "binascii", "cmath", "errno", "faulthandler", "fcntl", "gc"),
    *("grp", "itertools", "marshal", "math", "mmap", "posix", "pwd", "pyexpat", "resource"),
    "select",
    *("sys", "syslog", "termios", "time", "unicodedata", "zlib", "_asyncio", "_bisect"),
    *("_collections", "_contextvars", "_csv", "_datetime", "_decimal", "_functools", "_heapq"),
    *("_io", "_json", "_operator", "_pickle", "_queue", "_random", "_signal", "_socket"),
    *("_sqlite3", "_ssl", "_statistics", "_string", "_struct", "_thread", "_weakref"),
)


class CorpusError(Exception):
    """The documents cannot be read; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, small enough to be quoted whole.

    `document` names what it was cut from, `title` and `section` head it, and
    `location` is where a person would look it up. `ordinal` counts the passages
    of one document, so that the next one can be found.
    """

    kind: str  # "reference", "library" or "file"
    document: str
    ordinal: int
    title: str
    section: str
    location: str
    body: str

    @property
    def id(self) -> str:
        """A name that stays the same when the index is built anew from the same text."""
        name = f"{self.kind}\0{self.document}\0{self.ordinal}"
        return blake2b(name.encode(), digest_size=8).hexdigest()


class Corpus(Protocol):
    """A set of documents: what it is called, what it looks like now, and its passages."""

    name: str

    def fingerprint(self) -> str:
        """Return a text that changes when the documents change; cheap, no file is read."""
        ...

    def passages(self, progress: Callable[[int, int, str], None]) -> Iterator[Passage]:
        """Yield the passages, calling `progress(done, total, what)` between documents."""
        ...


# --- what ships inside CPython ----------------------------------------------------


class PythonCorpus:
    """The language reference and the standard library's docstrings of the running Python."""

    def __init__(self) -> None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.name = f"the Python {version} documentation"

    def fingerprint(self) -> str:
        """Return the version: the documents of an installed Python do not change."""
        return f"python-{sys.version}"

    def passages(self, progress: Callable[[int, int, str], None]) -> Iterator[Passage]:
        """Yield the language reference first, then the library, module by module."""
        modules = list(_stdlib_sources())
        total = 1 + len(modules) + len(C_MODULES)
        progress(0, total, "the language reference")
        yield from _topics()
        # Told once: heapq and _heapq both exist, a property has a getter and a setter.
        seen = set[str]()
        sources = [(name, _parsed(name, path)) for name, path in modules]
        sources += [(name, _imported(name)) for name in C_MODULES]
        for done, (module, found) in enumerate(sources, 1):
            progress(done, total, module)
            for passage in found:
                if passage.id not in seen:
                    seen.add(passage.id)
                    yield passage
        progress(total, total, "")


def _topics() -> Iterator[Passage]:
    from pydoc_data.topics import topics

    # Topics repeat one another's sections ("context-managers" is part of
    # "specialnames"): a section is told once, by the shortest topic that has it.
    told = set[str]()
    for topic in sorted(topics, key=lambda name: (len(topics[name]), name)):
        ordinal = 0
        first_title = ""
        for heading, _, body in sections(topics[topic]):
            first_title = first_title or heading or topic
            for _, text in chunks(body):
                if text in told:
                    continue
                told.add(text)
                yield Passage(
                    kind="reference",
                    document=topic,
                    ordinal=ordinal,
                    title=_plain(heading or first_title),
                    section=_plain(first_title),
                    location=f"Python language reference, help({topic!r})",
                    body=text,
                )
                ordinal += 1


def _stdlib_sources() -> Iterator[tuple[str, Path]]:
    root = Path(sysconfig.get_path("stdlib"))
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_") or name in SKIPPED_MODULES:
            continue
        single = root / f"{name}.py"
        if single.is_file():
            yield name, single
        elif (root / name / "__init__.py").is_file():
            yield from _package_sources(name, root / name)


def _package_sources(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if SKIPPED_FOLDERS.intersection(parts):
            continue
        if name == "encodings" and parts != ("__init__",):
            continue  # a hundred code pages, all alike
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if any(part.startswith("_") for part in parts):
            continue
        yield ".".join((name, *parts)), path


def _parsed(module: str, path: Path) -> Iterator[Passage]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return  # files that are meant to be broken, or may not be read: nothing to say
    module = KNOWN_AS.get(module, module)
    yield from _from_node(tree, module, module, path)


def _from_node(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
    name: str,
    module: str,
    path: Path,
) -> Iterator[Passage]:
    doc = ast.get_docstring(node)
    if doc is not None:
        line = 1 if isinstance(node, ast.Module) else node.lineno
        signature = ""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            signature = f"{node.name}({_arguments(node)})"
        yield from _docstring(name, module, f"{_place(path)}:{line}", doc, signature)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            not child.name.startswith("_")
        ):
            yield from _from_node(child, f"{name}.{child.name}", module, path)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    text = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    return text if len(text) <= 120 else text[:117] + "..."


def _place(path: Path) -> str:
    root = Path(sysconfig.get_path("stdlib"))
    return f"Lib/{path.relative_to(root).as_posix()}"


def _docstring(
    name: str, module: str, location: str, doc: str, signature: str
) -> Iterator[Passage]:
    doc = inspect.cleandoc(doc).strip()
    if len(doc) < 12 or doc.lower().startswith(("internal", "helper", "test ")):
        return
    ordinal = 0
    for heading, _, body in sections(doc):
        for _, text in chunks(body):
            yield Passage(
                kind="library",
                document=name,
                ordinal=ordinal,
                title=name,
                section=_plain(heading) if heading else module,
                location=location,
                body=f"{signature}\n\n{text}" if signature and ordinal == 0 else text,
            )
            ordinal += 1


def _imported(module: str) -> Iterator[Passage]:
    try:
        found = importlib.import_module(module)
    except ImportError:
        return  # built without it, or another platform: then it needs no documentation
    if not module.startswith("_") and module not in KNOWN_AS:
        yield from _docstring(module, module, f"help({module!r})", found.__doc__ or "", "")
    for name, value in sorted(vars(found).items()):
        if name.startswith("_") or inspect.ismodule(value):
            continue
        home = getattr(value, "__module__", None) or module
        if module == "builtins":
            home = module  # open says that it is io's; one finds it here
        if not isinstance(home, str) or home not in {module, module.lstrip("_"), "io", "builtins"}:
            continue
        home = KNOWN_AS.get(home, home.lstrip("_"))
        full = name if home == "builtins" else f"{home}.{name}"
        if not callable(value) or (inspect.isclass(value) and issubclass(value, Warning)):
            continue
        doc = inspect.getdoc(value) or ""
        yield from _docstring(full, home, f"help({full!r})", doc, "")
        if not inspect.isclass(value) or issubclass(value, BaseException):
            continue
        for method, function in sorted(vars(value).items()):
            if method.startswith("_") or not callable(function):
                continue
            place = f"help('{full}.{method}')"
            text = getattr(function, "__doc__", None) or ""
            yield from _docstring(f"{full}.{method}", home, place, text, "")


def _plain(heading: str) -> str:
    return heading.replace('"', "").replace("`", "").replace("*", "").strip()


# --- a folder of one's own ----------------------------------------------------------


class FolderCorpus:
    """The text and Markdown files below a folder.

    Raises:
        CorpusError: the folder is missing, is no folder, cannot be read, or holds
            no file with one of the accepted endings.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self.name = self.folder.name or str(self.folder)
        if not self.folder.exists():
            raise CorpusError(
                f"--docs {folder}: there is no such folder; "
                "give the path of a folder of text or Markdown files"
            )
        if not self.folder.is_dir():
            raise CorpusError(f"--docs {folder}: this is a file; give the folder that holds it")
        try:
            self._files = sorted(
                path
                for path in self.folder.rglob("*")
                if path.suffix.lower() in SUFFIXES
                and path.is_file()
                and not any(part.startswith(".") for part in path.relative_to(self.folder).parts)
            )
        except OSError as error:
            raise CorpusError(f"--docs {folder}: the folder cannot be read: {error}") from error
        if not self._files:
            raise CorpusError(
                f"--docs {folder}: no document in this folder; "
                f"it needs at least one file ending in {', '.join(SUFFIXES)}"
            )

    def fingerprint(self) -> str:
        """Return a digest of the files' names, sizes and times."""
        digest = blake2b(str(self.folder).encode(), digest_size=16)
        for path in self._files:
            stat = path.stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return f"folder-{digest.hexdigest()}"

    def passages(self, progress: Callable[[int, int, str], None]) -> Iterator[Passage]:
        """Yield the passages of every file; bytes that are no UTF-8 are replaced."""
        for done, path in enumerate(self._files):
            name = path.relative_to(self.folder).as_posix()
            progress(done, len(self._files), name)
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            yield from _file_passages(name, path.stem, text)
        progress(len(self._files), len(self._files), "")


def _file_passages(name: str, stem: str, text: str) -> Iterator[Passage]:
    ordinal = 0
    first_title = ""
    for heading, line, body in sections(text):
        first_title = first_title or heading or stem
        for offset, piece in chunks(body):
            yield Passage(
                kind="file",
                document=name,
                ordinal=ordinal,
                title=_plain(heading or first_title),
                section=_plain(first_title),
                location=f"{name}:{line + offset}",
                body=piece,
            )
            ordinal += 1
