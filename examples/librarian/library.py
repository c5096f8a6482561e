"""The Librarian's trade, without any actor: from a message and its history to a reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from examples.librarian import wording
from examples.librarian.conversation import (
    AboutSource,
    Ask,
    Exchange,
    NoSuchSource,
    Recall,
    SmallTalk,
    understand,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.librarian.corpus import Passage
    from examples.librarian.index import Hit, Index
    from examples.librarian.query import Query

# A passage answers when it holds at least this share of the question's words,
# rare words counting more. Below it the honest answer is that nothing was found.
ENOUGH = 0.5

# The share at which the documents of the earlier answer answer a follow-up too.
NEAR_ENOUGH = 0.75

_WORDS = {1: "first", 2: "second", 3: "third", 4: "fourth"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What to say, and what to say it from.

    `text` is worded from the passages alone. `data` goes into the final frame:
    `found`, the numbered `sources`, those of them that the text cites (`cited`), and
    what the next follow-up needs (`query`, `about`, `told`). `passages` are those a
    language model may word an answer from, each with its number in `sources`; empty
    where there is nothing to word.
    """

    text: str
    data: dict[str, Any]
    passages: Sequence[tuple[int, Passage]] = field(default=())


class Library:
    """Answers questions over one index. Thread-safe; the same input gives the same reply."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def reply(self, text: str, history: Sequence[Exchange]) -> Reply:
        """Return the reply to a message, given the exchanges before it, oldest first."""
        match understand(text, history):
            case SmallTalk(greeting=greeting):
                return _plain(self._greeting() if greeting else "You are welcome. What else?")
            case Recall() as recall:
                return _plain(_recalled(recall))
            case NoSuchSource(number=number, available=available):
                count = f"{available} source" + ("" if available == 1 else "s")
                return _plain(
                    f"My last answer had {count}, so there is no number {number}. "
                    "Ask for one of those, or ask something new."
                )
            case AboutSource() as about:
                return self._about(about)
            case Ask() as ask:
                return self._ask(ask)

    def _ask(self, ask: Ask) -> Reply:
        query, hits = ask.query, self._near(ask)
        if not hits and ask.earlier is not None:
            query = ask.query.joined(ask.earlier)
            hits = [
                hit
                for hit in self.index.search(query)
                if hit.coverage >= ENOUGH
                and self.index.coverage(ask.earlier, hit.passage) >= ENOUGH
                and self.index.coverage(ask.query, hit.passage) >= ENOUGH
            ]
        elif not hits:
            hits = [hit for hit in self.index.search(query) if hit.coverage >= ENOUGH]
        if not hits:
            return self._nothing(query)
        text, used = wording.answer(hits, query)
        return Reply(
            text,
            {
                "found": True,
                "sources": _sources(used, query),
                "cited": list(range(1, len(used) + 1)),
                "query": _as_data(query),
                "about": 1,
                "told": [used[0].id] if _short(used[0]) else [],
            },
            list(enumerate(used, 1)),
        )

    def _near(self, ask: Ask) -> list[Hit]:
        """Look for a follow-up's words in the documents that the earlier answer came from."""
        passages = (self.index.passage(str(source["id"])) for source in ask.near)
        documents = dict.fromkeys(p.document for p in passages if p is not None)
        if not documents:
            return []
        hits = self.index.search(ask.query, documents=list(documents))
        return [hit for hit in hits if hit.coverage >= NEAR_ENOUGH]

    def _about(self, about: AboutSource) -> Reply:
        source = about.sources[about.number - 1]
        passage = self.index.passage(str(source["id"]))
        sources = [dict(s) for s in about.sources]
        name = _WORDS.get(about.number, f"number {about.number}")
        if passage is None:
            return _plain(
                f"The {name} source was “{source['title']}” ({source['location']}), "
                "but it is no longer among the documents."
            )
        if about.query:
            hits = self.index.search(about.query, documents=[passage.document])
            told = [hit.passage for hit in hits if hit.coverage >= ENOUGH][:2]
            if not told:
                said = _listed(about.query.terms)
                text = f"The {name} source, “{passage.title}”, says nothing about {said}."
                return Reply(text, _about_data(about.number, sources, found=False))
        else:
            told = self._untold(passage, frozenset() if about.again else about.told)
        if not told:
            text = (
                f"That was all of “{passage.title}” [{about.number}]. "
                f"You find it at {passage.location}."
            )
            if about.number < len(sources):
                following = sources[about.number]["title"]
                text += f" The next source is “{following}” [{about.number + 1}]."
            return Reply(text, _about_data(about.number, sources))
        head = f"**{told[0].title}**, {told[0].location}:"
        text = f"{head}\n\n{wording.in_full(told, about.number)}"
        data = _about_data(about.number, sources, told)
        return Reply(text, data, [(about.number, p) for p in told])

    def _untold(self, passage: Passage, told: frozenset[str]) -> list[Passage]:
        """Return what to tell next of a source: itself, then what follows it."""
        fresh = [p for p in (passage, *self.index.following(passage, 20)) if p.id not in told]
        return fresh[: 2 if fresh and _short(fresh[0]) else 1]

    def _nothing(self, query: Query) -> Reply:
        if not query:
            return _plain(
                "I did not find a word in that which I could look up. "
                "Name a module, a function, a statement or a subject.",
                found=False,
            )
        return _plain(
            f"I found nothing about {_listed(query.terms)} in {self.index.corpus_name}. "
            "I only say what these documents say, so I would rather not guess. "
            "Other words for it may help.",
            found=False,
        )

    def _greeting(self) -> str:
        count = f"{self.index.document_count:,} documents"
        return (
            f"Good day. I look things up in {self.index.corpus_name}: {count}, "
            f"{self.index.passage_count:,} passages. What would you like to know?"
        )


def _plain(text: str, *, found: bool | None = None) -> Reply:
    data: dict[str, Any] = {"sources": []}
    if found is not None:
        data["found"] = found
    return Reply(text, data)


def _about_data(
    number: int,
    sources: Sequence[dict[str, Any]],
    told: Sequence[Passage] = (),
    *,
    found: bool = True,
) -> dict[str, Any]:
    """The sources keep their numbers, so that the next follow-up means the same ones."""
    return {
        "found": found,
        "sources": list(sources),
        "cited": [number],
        "about": number,
        "told": [passage.id for passage in told],
    }


def _recalled(recall: Recall) -> str:
    asked = [f"“{question}”" for question in recall.questions]
    if not asked:
        return "This is the first thing you ask me in this conversation."
    if recall.first is True:
        return f"Your first question here was {asked[0]}."
    if recall.first is False:
        return f"Before this you asked {asked[-1]}."
    return "So far you asked:\n\n" + "\n".join(f"- {question}" for question in asked[-10:])


def _sources(passages: Sequence[Passage], query: Query) -> list[dict[str, Any]]:
    return [
        {
            "n": number,
            "id": passage.id,
            "kind": passage.kind,
            "title": passage.title,
            "section": passage.section,
            "location": passage.location,
            "excerpt": wording.excerpt(passage, query),
        }
        for number, passage in enumerate(passages, 1)
    ]


def _as_data(query: Query) -> dict[str, list[str]]:
    return {
        "terms": list(query.terms),
        "phrases": list(query.phrases),
        "names": sorted(query.names),
    }


def _listed(terms: Sequence[str]) -> str:
    quoted = [f"“{term}”" for term in terms[:5]]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]


def _short(passage: Passage) -> bool:
    return len(passage.body) < 300
