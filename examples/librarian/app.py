"""The Librarian's application: what `understudy serve` needs, plus a page and a crash button.

`understudy serve examples.librarian.app:app` runs it; `python examples/librarian` does
the same with `--docs` and friends. Settings come from the environment:

| variable | meaning | default |
|---|---|---|
| `LIBRARIAN_DOCS` | folder of text or Markdown to answer from | Python's own documentation |
| `LIBRARIAN_PACE` | seconds between two pieces of an answer | 0.02 |
| `LIBRARIAN_WEBHOOK` | address each answer is reported to | none |
| `OPENAI_BASE_URL`, `OPENAI_API_KEY`, `OPENAI_MODEL` | a model that words the answers | none |
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import understudy as us
from examples.librarian.agent import Librarian, Settings, WordedLibrarian
from examples.librarian.corpus import Corpus, FolderCorpus, PythonCorpus
from examples.librarian.index import Index, open_index
from examples.librarian.library import Library
from examples.librarian.model import Model
from examples.librarian.page import page_routes
from examples.librarian.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.applications import Starlette

AGENT = "librarian"


class BadSetting(us.UnderstudyError):
    """A setting of the Librarian cannot be used.

    Attributes:
        name: The variable.
        value: What it holds.
    """

    def __init__(self, name: str, value: str, reason: str) -> None:
        super().__init__(f"{name}={value!r}: {reason}")
        self.name = name
        self.value = value


def app(config: us.Config) -> Starlette:
    """Return the application served: sessions of the agent `librarian`, and its page at `/`.

    Raises:
        CorpusError: `LIBRARIAN_DOCS` names no folder of documents.
        BadSetting: One of the variables cannot be used.
    """
    settings = settings_from(os.environ)
    index = prepare(corpus_from(os.environ), config.data_dir)
    system = us.ActorSystem(AGENT, config=config, data_dir=config.data_dir)
    kind = Librarian if settings.model is None else WordedLibrarian
    host = us.SessionHost(
        system,
        agents={AGENT: us.Props(kind, Library(index), settings)},
        effects={"webhook": Webhook},
    )
    return us.gateway.app(host, routes=page_routes(host, index, settings))


def corpus_from(environ: Mapping[str, str]) -> Corpus:
    """Return the documents the environment names.

    Raises:
        CorpusError: There are none.
    """
    folder = environ.get("LIBRARIAN_DOCS")
    return FolderCorpus(folder) if folder else PythonCorpus()


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Return the settings the environment names.

    Raises:
        BadSetting: One of them cannot be used.
    """
    pace = environ.get("LIBRARIAN_PACE") or "0.02"
    try:
        seconds = float(pace)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10:
        raise BadSetting("LIBRARIAN_PACE", pace, "give seconds from 0 to 10, such as 0.02")
    webhook = environ.get("LIBRARIAN_WEBHOOK") or None
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise BadSetting("LIBRARIAN_WEBHOOK", webhook, "give an address such as http://host/path")
    try:
        model = Model.from_environment(environ)
    except ValueError as error:
        raise BadSetting("OPENAI_BASE_URL", environ["OPENAI_BASE_URL"], str(error)) from error
    return Settings(pace=seconds, webhook=webhook, model=model)


def prepare(corpus: Corpus, data_dir: Path | str | None) -> Index:
    """Return the index of the corpus, kept in the data directory; progress goes to a terminal."""
    if data_dir is None:
        folder = Path(tempfile.gettempdir()) / f"understudy-librarian-{os.getuid()}"
    else:
        folder = Path(data_dir) / "librarian"
    if not sys.stderr.isatty():
        return open_index(corpus, folder)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(f"reading {corpus.name}", total=None)

        def progress(done: int, total: int, _what: str) -> None:
            shown.update(task, completed=done, total=total)

        return open_index(corpus, folder, progress)
