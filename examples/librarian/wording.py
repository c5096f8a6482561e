"""An answer worded from passages: their own sentences, chosen and put in order.

Nothing here invents: every sentence of an answer stands in the documents, with
the number of its source behind it. The same question over the same passages
always gives the same text, which is what lets an answer cut off by a crash go
on exactly where it stopped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from examples.librarian.corpus import Passage
    from examples.librarian.index import Hit
    from examples.librarian.query import Query

CODE_LINES = 14
SENTENCES = 4
SOURCES = 4
FURTHER_CHARS = 240

# A further source is worth naming when it fits at least this much as well as the best.
RELEVANT = 0.12

_SENTENCE_END = re.compile(
    r"(?<=[.!?:])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!cf\.)\s+(?=[A-Z\"`*(“_])"
)
_DOUBLE_QUOTED = re.compile(r'"([^"\s]|[^"\s][^"\n]{0,38}[^"\s])"')
_SINGLE_STARS = re.compile(r"(?<![*\w])\*([\w .-]+?)\*(?![*\w])")
# A call, or a name that no word of prose looks like.
_NAME = re.compile(
    r"(?<![\w.])(\.?[A-Za-z_][\w.]*\(\)|\.?__\w+__|[A-Za-z]\w*_\w*[A-Za-z0-9])(?!\w)"
)
_PROSE_WORDS = frozenset(
    "an are be been by can it may must of same that the this to was will".split()  # noqa: SIM905  - easier to read than a list
)
_TABLE = re.compile(r"^\s*([=-]{4,}\s*)+$")
_PROGRAM = re.compile(
    r"(with|for|while|if|try|def|class|async|await|import|from|return|raise|del|assert|@\w+)\b"
    r"|[\w.\[\]]+ = |[\w.]+\("
)
_APART = ("see also", "note:", "warning:", "new in version", "**pep ", "see:", "http")
_LIST_ITEM = re.compile(r"^(?:[-*•]|\(?\d{1,2}[.)]|\[\d+\])\s+")
_SIGNATURE = re.compile(r"^[A-Za-z_][\w.]*\([^\n]*\)(\s*->.*|\s*--.*)?$")


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, an item of a list, or code."""

    text: str
    code: bool = False


def blocks(body: str, *, quotes_are_code: bool = False) -> list[Block]:
    """Cut a passage into paragraphs and code.

    Code is what is indented more than the text, begins with `>>>`, stands in a
    fence, or is grammar (`::=`). Lines of a paragraph are joined.
    `quotes_are_code`: the language reference writes code in double quotes.
    """
    found = list[Block]()
    for raw in _raw_blocks(body):
        lines = raw.splitlines()
        first = lines[0].strip()
        if first.startswith(("```", "~~~")):
            found.append(Block("\n".join(lines[1:-1] if len(lines) > 1 else lines), code=True))
        elif _is_code(lines):
            text = _dedent(lines)
            before = found[-1].text if found and found[-1].code else ""
            if before and not _SIGNATURE.match(before) and ("::=" in before) == ("::=" in text):
                found[-1] = Block(f"{found[-1].text}\n\n{text}", code=True)
            else:
                found.append(Block(text, code=True))
        else:
            text = " ".join(" ".join(lines).split())
            found.append(Block(_inline(text, quotes_are_code=quotes_are_code)))
    return found


def _raw_blocks(body: str) -> Iterator[str]:
    current = list[str]()
    fenced = False
    for line in body.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            if fenced and current:
                yield "\n".join(current)
                current = []
            current.append(line)
            if not fenced:
                yield "\n".join(current)
                current = []
        elif line.strip() or fenced:
            if not fenced and current and _LIST_ITEM.match(line.strip()):
                yield "\n".join(current)
                current = []
            current.append(line)
        elif current:
            yield "\n".join(current)
            current = []
    if current:
        yield "\n".join(current)


def _is_code(lines: Sequence[str]) -> bool:
    first = lines[0].strip()
    if first.startswith((">>>", "$ ", "+--", "| ")) or any("::=" in line for line in lines):
        return True
    if any(_TABLE.match(line) for line in lines):
        return True
    if _LIST_ITEM.match(first):
        return False
    if len(lines) == 1 and _SIGNATURE.match(first):
        return True
    if not all(line.startswith(("   ", "\t")) for line in lines):
        return False
    if _PROGRAM.match(first):
        return True
    # Prose may be indented too (a note, the second paragraph of an item): it has
    # the small words that no program has.
    words = re.findall(r"[A-Za-z']+", " ".join(line.partition("#")[0] for line in lines))
    small = sum(word.lower() in _PROSE_WORDS for word in words)
    label = len(lines) == 1 and first.endswith(":") and " " not in first
    return not label and small < 0.12 * len(words)


def _dedent(lines: Sequence[str]) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)


def _inline(text: str, *, quotes_are_code: bool) -> str:
    if quotes_are_code:
        text = _DOUBLE_QUOTED.sub(r"`\1`", text)
    else:
        text = re.sub(r"``([^`]+)``", r"`\1`", text)
    parts = text.split("`")  # the odd ones are code already
    parts[::2] = (_NAME.sub(r"`\1`", _SINGLE_STARS.sub(r"_\1_", part)) for part in parts[::2])
    return "`".join(parts).strip()


def sentences(text: str) -> list[str]:
    """Split a paragraph into its sentences."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def _stem(word: str) -> str:
    """Cut common endings, roughly; enough to see that `sorted` is about `sort`."""
    for ending in ("ations", "ation", "ings", "ing", "ers", "er", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _stems(text: str) -> set[str]:
    return {_stem(word) for word in re.findall(r"[a-z0-9]+", text.lower().replace("_", " "))}


def lead(passage: Passage, query: Query, limit: int = SENTENCES) -> tuple[list[str], str]:
    """Return the sentences of a passage that answer best, in their order, and its first code."""
    wanted = {_stem(term) for term in query.terms}
    candidates = list[tuple[float, int, str]]()
    code = ""
    position = 0
    for block in blocks(passage.body, quotes_are_code=passage.kind == "reference"):
        if block.code:
            # A call is shown by `signature`; grammar answers nobody's question.
            shown = _SIGNATURE.match(block.text) is None and "::=" not in block.text
            if not code and shown and block.text.count("\n") < CODE_LINES:
                code = block.text
            continue
        for sentence in sentences(block.text):
            plain = _LIST_ITEM.sub("", sentence)
            if len(plain) < 12 or plain.lower().startswith(_APART):
                continue
            shared = len(wanted & _stems(plain))
            # Documents say what a thing is first; later sentences must earn their place.
            score = shared + (1.5 if position == 0 else 0.0) - 0.08 * position
            if plain.startswith(("Changed in version", "Deprecated", "(")):
                score -= 1.5
            if plain.endswith(":") and position:
                score -= 1.5  # leads to a list that would be missing
            candidates.append((score, position, plain))
            position += 1
    best = sorted(candidates, key=lambda item: (-item[0], item[1]))[:limit]
    return [text for _, _, text in sorted(best, key=lambda item: item[1])], code


def signature(passage: Passage) -> str:
    """Return a function's call as its documentation gives it, or an empty text."""
    first = passage.body.split("\n", 1)[0].strip()
    if passage.kind != "library" or passage.ordinal != 0 or not _SIGNATURE.match(first):
        return ""
    call = re.split(r"\s+--?>?\s", first, maxsplit=1)[0]
    owner, _, _ = passage.title.rpartition(".")
    return call if call.startswith(owner + ".") or not owner else f"{owner}.{call}"


def answer(hits: Sequence[Hit], query: Query) -> tuple[str, list[Passage]]:
    """Word an answer from what was found, best first.

    Returns the text and the passages it quotes: `[n]` in the text is the n-th.
    """
    best = hits[0]
    used = [best.passage]
    parts = [_told(best.passage, 1, query)]
    wanted = {_stem(term) for term in query.terms}
    said = set(lead(best.passage, query)[0])
    further = list[str]()
    for hit in hits[1:]:
        if hit.score < best.score * RELEVANT or len(used) == SOURCES:
            break
        chosen, _ = lead(hit.passage, query, 1)
        if chosen and wanted & _stems(chosen[0]) and chosen[0] not in said:
            said.add(chosen[0])
            used.append(hit.passage)
            said_there = _cut(chosen[0], FURTHER_CHARS)
            further.append(f"- **{hit.passage.title}**: {_cited(said_there, len(used))}")
    if further:
        parts.append("See also:\n\n" + "\n".join(further))
    return "\n\n".join(parts), used


def _told(passage: Passage, number: int, query: Query) -> str:
    chosen, code = lead(passage, query)
    call = signature(passage)
    parts = list[str]()
    text = " ".join(chosen)
    if call:
        parts.append(f"`{call}`" + ("" if text else f" [{number}]"))
    if text:
        parts.append(_cited(text, number))
    if code:
        parts.append(f"```\n{code}\n```")
    if not parts:  # nothing but code in it, and much of it
        parts.append(f"**{passage.title}** [{number}]")
        parts.append("```\n" + "\n".join(passage.body.splitlines()[:CODE_LINES]) + "\n```")
    return "\n\n".join(parts)


def in_full(passages: Iterable[Passage], number: int) -> str:
    """Word whole passages, for somebody who asked for more of one source."""
    parts = list[str]()
    for passage in passages:
        for block in blocks(passage.body, quotes_are_code=passage.kind == "reference"):
            if block.code:
                parts.append(f"```\n{block.text}\n```")
            elif _LIST_ITEM.match(block.text):
                item = _LIST_ITEM.sub("", block.text)
                joined = parts and parts[-1].startswith("- ")
                if joined:
                    parts[-1] += f"\n- {item}"
                else:
                    parts.append(f"- {item}")
            else:
                parts.append(block.text)
    last = next((i for i in reversed(range(len(parts))) if not parts[i].startswith("```")), None)
    if last is None:
        parts.append(f"[{number}]")
    else:
        parts[last] = _cited(parts[last], number)
    return "\n\n".join(parts)


def excerpt(passage: Passage, query: Query, length: int = 220) -> str:
    """Return the sentence or two of a passage that a card shows."""
    chosen, _ = lead(passage, query, 2)
    text = " ".join(chosen) or " ".join(passage.body.split())
    text = re.sub(r"`|\*\*|(?<!\w)_|_(?!\w)", "", text)
    return _cut(text, length)


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return text[:length].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def pieces(text: str, words: int = 2) -> Iterator[str]:
    """Cut a text into what is streamed: a few words each, nothing lost, nothing added."""
    parts = re.findall(r"\s*\S+\s*", text)
    for i in range(0, len(parts), words):
        yield "".join(parts[i : i + words])


def _cited(text: str, number: int) -> str:
    text = text.rstrip()
    if text.endswith(":"):
        text = text[:-1] + "."
    return f"{text} [{number}]"
