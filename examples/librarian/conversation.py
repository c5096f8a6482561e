"""What a message means in the light of what was said before it.

A session's memory is its journaled history, and nothing else: an agent that was
killed and came back has the same answer to "and the second one?".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from examples.librarian.query import Query, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Exchange(Protocol):
    """An earlier question with its answer, as `turn.history` gives them."""

    @property
    def text(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to be looked up.

    `query` is what was asked. Where the question leans on the one before it ("and
    with several items?"), `near` are that answer's sources, to be looked through
    first; `earlier`, where it says "it" or "they", is the question before: alone,
    the words of such a question mean nothing ("are they slow?").
    """

    query: Query
    near: Sequence[Mapping[str, Any]] = ()
    earlier: Query | None = None


@dataclass(frozen=True, slots=True)
class AboutSource:
    """Tell more about source `number` of an earlier answer.

    `query` narrows it down, `told` are the passages told in full so far, and
    `again` says that the source was named outright: tell it even if told before.
    """

    number: int
    sources: Sequence[Mapping[str, Any]]
    query: Query
    told: frozenset[str]
    again: bool


@dataclass(frozen=True, slots=True)
class NoSuchSource:
    """A source was asked for that the earlier answer did not have."""

    number: int
    available: int


@dataclass(frozen=True, slots=True)
class Recall:
    """What did I ask? `first` or last, or all when None."""

    questions: Sequence[str]
    first: bool | None


@dataclass(frozen=True, slots=True)
class SmallTalk:
    """A greeting or thanks: nothing to look up."""

    greeting: bool


Meaning = Ask | AboutSource | NoSuchSource | Recall | SmallTalk

# "other" is told by what was told last, "next" likewise.
_ORDINALS = {"last": -1, "other": 2, "next": 0}
for _n, _names in enumerate(
    (
        ("first", "1st", "one"),
        ("second", "2nd", "two"),
        ("third", "3rd", "three"),
        ("fourth", "4th", "four"),
        ("fifth", "5th", "five"),
        ("sixth", "6th", "six"),
        ("seventh", "7th", "seven"),
        ("eighth", "8th", "eight"),
        ("ninth", "9th", "nine"),
        ("tenth", "10th", "ten"),
    ),
    1,
):
    _ORDINALS.update(dict.fromkeys(_names, _n))
_THING = r"(?:one|source|passage|result|document|reference|link|footnote|entry|hit|card)s?"
_BY_ORDINAL = re.compile(
    r"\b(first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth"
    r"|1st|2nd|3rd|[4-9]th|10th|last|other|next)"
    rf"(?:\s+{_THING}\b|\s*[?.!]*\s*$)",
    re.IGNORECASE,
)
_BY_NUMBER = re.compile(
    rf"(?:\[(\d{{1,2}})\]|\b(?:{_THING}|number|no\.?|nr\.?)\s*"
    r"#?(\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten)\b|#(\d{1,2})\b)",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"^\s*(?:(?:and|ok|okay|please|yes|then|can you|could you|so)[, ]+)*"
    r"(?:tell me (?:some )?more|(?:some |say )?more|go on|continue|carry on|what else|"
    r"anything else|and then|elaborate|more (?:details?|please)|in more detail|"
    r"give me more|explain (?:that|it|this)(?: further| more)?|why|how so)\b"
    r"(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_RECALL = re.compile(
    r"\bwhat (?:did|have|had) (?:i|we) (?:just )?(?:ask|asked|say|said|talk|discuss)"
    r"|\bwhat was my (?:\w+ )?question|\bmy (?:first|last|previous|earlier) question"
    r"|\bwhat (?:did|have) we (?:talk|discuss)",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"^\s*(hi|hello|hey|good (morning|evening|afternoon))( there| librarian)?\s*[!.]*\s*$",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"^\s*(thanks|thank you|thx|cheers|great|nice|cool|perfect|ok|okay)"
    r"(,? (a lot|very much|so much|thanks|thank you))?\s*[!.]*\s*$",
    re.IGNORECASE,
)
_LEANS = re.compile(
    r"^\s*(and|but|or|also|what about|how about|so)\b"
    r"|\b(it|its|that|this|they|them|their|these|those|there)\b",
    re.IGNORECASE,
)
_POINTS = re.compile(r"\b(it|its|they|them|their)\b", re.IGNORECASE)


def understand(text: str, history: Sequence[Exchange]) -> Meaning:
    """Return what the message asks for, given the exchanges before it, oldest first."""
    if _RECALL.search(text):
        asked = [exchange.text for exchange in history]
        first = True if re.search(r"\bfirst\b", text, re.IGNORECASE) else None
        if first is None and re.search(
            r"\b(last|previous|just|was my question)\b", text, re.IGNORECASE
        ):
            first = False
        return Recall(asked, first)
    if _GREETING.match(text):
        return SmallTalk(greeting=True)
    last = next((e for e in reversed(history) if e.data.get("sources")), None)
    query = parse(text)
    if last is not None:
        meaning = _about_source(text, last, history)
        if meaning is not None:
            return meaning
    if _THANKS.match(text):
        return SmallTalk(greeting=False)
    if last is not None:
        leans = _LEANS.search(text)
        if leans is not None and len(query.terms) <= 4 and not _names_code(text):
            # A bare word of a follow-up ("items") is no name of a function.
            bare = replace(query, names=frozenset())
            earlier = _earlier_query(last) if _POINTS.search(text) else None
            return Ask(bare, last.data["sources"], earlier)
    return Ask(query)


def _about_source(
    text: str, last: Exchange, history: Sequence[Exchange]
) -> AboutSource | NoSuchSource | None:
    sources = last.data["sources"]
    current = int(last.data.get("about") or 1)
    number: int | None = None
    again = True
    rest = text
    if match := _BY_NUMBER.search(text):
        word = next(group for group in match.groups() if group).lower()
        number = int(word) if word.isdigit() else _ORDINALS[word]
        rest = text[: match.start()] + " " + text[match.end() :]
    elif match := _BY_ORDINAL.search(text):
        number = _ORDINALS[match.group(1).lower()]
        if number == -1:
            number = len(sources)
        elif number == 0:
            number = current + 1
        elif match.group(1).lower() == "other":
            number = 1 if current == 2 else 2
        rest = text[: match.start()] + " " + text[match.end() :]
    elif match := _MORE.match(text):
        if parse(match.group("rest")):
            return None  # "tell me more about decorators" is a question of its own
        number, again, rest = current, False, ""
    if number is None:
        return None
    if not 1 <= number <= len(sources):
        return NoSuchSource(number, len(sources))
    told = frozenset(i for e in history for i in e.data.get("told", ()))
    return AboutSource(number, sources, _narrowing(rest), told, again)


def _narrowing(rest: str) -> Query:
    """What is left of a message besides naming the source: "what does … say about threads"."""
    dropped = re.compile(
        rf"\b({_THING}|say|says|said|more|further|details?|number)\b", re.IGNORECASE
    )
    return parse(dropped.sub(" ", rest))


def _earlier_query(exchange: Exchange) -> Query:
    asked = exchange.data.get("query") or {}
    if asked.get("terms"):
        return Query(
            tuple(asked["terms"]),
            tuple(asked.get("phrases", ())),
            frozenset(asked.get("names", ())),
        )
    return parse(exchange.text)


def _names_code(text: str) -> bool:
    return re.search(r"`|\w\(\)|\w\.\w|\w_\w", text) is not None
