"""Text cut into sections and passages: reStructuredText, Markdown, docstrings, plain text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# About what a reader takes in at one glance; a passage is also what a language
# model is given, and five of them stay well under 2,000 tokens.
PASSAGE_CHARS = 1000

_UNDERLINE = re.compile(r"^([*=\-~^\"'])\1{2,}$")
_ATX = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")


def sections(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield `(heading, line, body)` for each section of reStructuredText, Markdown or plain text.

    A heading is a line underlined with punctuation, or one that begins with `#`.
    Text before the first heading has an empty one. `line` counts from 1.
    """
    lines = text.splitlines()
    heading, start, body = "", 1, list[str]()
    fenced = False
    i = 0
    while i < len(lines):
        line = lines[i]
        below = lines[i + 1] if i + 1 < len(lines) else ""
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        atx = None if fenced else _ATX.match(line)
        underlined = (
            not fenced
            and line.strip() != ""
            and not line.startswith(" ")
            and _UNDERLINE.match(below.rstrip()) is not None
            and len(below.rstrip()) >= min(len(line.rstrip()), 4)
        )
        if atx is not None or underlined:
            if "".join(body).strip():
                yield heading, start, "\n".join(body)
            heading = atx.group(2) if atx is not None else line.strip()
            i += 1 if atx is not None else 2
            start, body = i + 1, []
            continue
        body.append(line)
        i += 1
    if "".join(body).strip():
        yield heading, start, "\n".join(body)


def chunks(text: str, limit: int = PASSAGE_CHARS) -> Iterator[tuple[int, str]]:
    """Cut a section into passages of about `limit` characters at blank lines.

    Yields `(line offset, text)`. An indented block (an example, a list's second
    paragraph) stays with the paragraph that introduces it, where that fits.
    """
    paragraphs = list[tuple[int, list[str]]]()
    current, first = list[str](), 0
    for number, line in enumerate(text.splitlines()):
        if line.strip():
            if not current:
                first = number
            current.append(line.rstrip())
        elif current:
            paragraphs.append((first, current))
            current = []
    if current:
        paragraphs.append((first, current))

    piece, at, size = list[str](), 0, 0
    for first, lines in paragraphs:
        block = "\n".join(lines)
        belongs = lines[0].startswith((" ", "\t")) and size < limit * 2
        if piece and size + len(block) > limit and not belongs:
            yield at, "\n\n".join(piece)
            piece, size = [], 0
        if not piece:
            at = first
        piece.append(block)
        size += len(block)
        if size > limit * 3:  # a table, a grammar: better cut than endless
            yield at, "\n\n".join(piece)
            piece, size = [], 0
    if piece:
        yield at, "\n\n".join(piece)
