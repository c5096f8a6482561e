"""`python examples/librarian [--docs PATH] [--port PORT] [--data-dir PATH]`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

if not __package__:  # run as a folder: the package is found two levels up
    sys.path[0] = str(Path(__file__).resolve().parents[2])


def main(arguments: list[str] | None = None) -> int:
    """Serve the Librarian until told to stop; the exit code is `understudy serve`'s."""
    parser = argparse.ArgumentParser(
        prog="python examples/librarian",
        description="An agent that answers questions over real documents and survives kill -9.",
        epilog="Without --docs it answers from the documentation that ships inside Python.",
    )
    parser.add_argument("--docs", metavar="PATH", help="folder of text or Markdown files")
    parser.add_argument("--host", help="address to listen on; 127.0.0.1 if absent")
    parser.add_argument("--port", type=int, help="PORT if absent, else 3030")
    parser.add_argument(
        "--data-dir", metavar="PATH", help="UNDERSTUDY_DATA_DIR if absent, else .understudy"
    )
    options = parser.parse_args(arguments)

    from examples.librarian.corpus import CorpusError, FolderCorpus

    if options.docs is not None:
        try:
            FolderCorpus(options.docs)  # refused before anything is started
        except CorpusError as error:
            print(f"librarian: {error}", file=sys.stderr)
            return 2
        os.environ["LIBRARIAN_DOCS"] = options.docs

    from understudy.cli import main as understudy

    sys.argv = ["understudy", "serve", "examples.librarian.app:app"]
    for name in ("host", "port", "data_dir"):
        value = getattr(options, name)
        if value is not None:
            sys.argv += [f"--{name.replace('_', '-')}", str(value)]
    understudy()
    return 0


if __name__ == "__main__":
    sys.exit(main())
