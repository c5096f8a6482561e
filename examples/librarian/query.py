"""From a question in plain English to what to look for."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP_WORDS = _words(
    """
    a about actually after all also am an and any are as at be because been before being both
    but by can could did do does doing done each explain every few find for from further get
    give had has have having he her here hers him his how i if in into is it its itself just
    know let like look make many may me mean means might more most much must my need no nor not
    now of off on once one only or other our out over own please python q same shall she should
    show so some such tell than thank thanks that the their them then there these they thing
    things this those through to too try under up us use used using very want was way we were
    what what's whats when where which while who whom why will with work works would you your
    """
)

# Words of the language that are also everyday English: meant as such when one of
# these follows ("the with statement"), or when written as code.
_LANGUAGE_NOUNS = _words(
    "statement statements keyword keywords clause clauses expression expressions operator "
    "operators loop loops block blocks function method class module decorator"
)

_NAMED_NOUNS = _words(
    "statement statements keyword keywords function method class module decorator"
)

_KEYWORDS = frozenset(keyword.kwlist)

# Empty beside other words, but not alone.
_WEAK_WORDS = _words(
    """
    best between compute create difference differences differ different good handle happen
    happens several useful whole write built builtin mean meaning possible way ways example
    examples kind kinds difficult easy
    """
)

_CONCEPT = re.compile(
    r"\s*(what|explain|describe|define|why|tell me (more )?about|how (do|does|are|is) .* work)\b",
    re.IGNORECASE,
)

# What is written in signs, and what the documents call it in words.
_SYMBOLS = (
    (re.compile(r"\bf-strings?\b", re.IGNORECASE), "fstring"),
    (re.compile(r"(?<![=!<>:])==(?!=)|!="), " value comparisons "),
    (re.compile(r":="), " assignment expression "),
    (re.compile(r"(?<!/)//(?!/)(?=\s|$)"), " floor division "),
    (re.compile(r"(?<!\*)\*\*(?=\s|$|\?)"), " power operator "),
)

_CODE = re.compile(r"`([^`]+)`|'([A-Za-z_][\w.]*)'|\"([A-Za-z_][\w. ]*)\"")
_NAME = re.compile(r"\b[A-Za-z_]\w*(?:\.\w+)+|\b\w+_\w+|\b[A-Za-z_]\w*(?=\(\))|\b__\w+__\b")
_WORD = re.compile(r"\w+(?:\.\w+)*", re.UNICODE)


@dataclass(frozen=True, slots=True)
class Query:
    """What a question asks for.

    `terms` are the words that carry meaning, in the order asked, without repeats.
    `phrases` are neighbours that belong together ("with statement"). `names` are
    what was written as code (`functools.lru_cache`), in lower case. `hints` are words
    too common to be asked for, which still tell one passage from another ("create").
    """

    terms: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    concept: bool = False  # asks what something is, rather than for a function by its name
    hints: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms)

    def joined(self, other: Query) -> Query:
        """Return a query for both: this one's words first."""
        terms = dict.fromkeys((*self.terms, *other.terms))
        phrases = dict.fromkeys((*self.phrases, *other.phrases))
        concept = self.concept or other.concept
        return Query(tuple(terms), tuple(phrases), self.names | other.names, concept, self.hints)


def parse(question: str) -> Query:
    """Return what to look for; falsy when the question has no word that means anything."""
    for written, said in _SYMBOLS:
        question = written.sub(said, question)
    names = set[str]()
    for match in _CODE.finditer(question):
        quoted = next(group for group in match.groups() if group)
        names.add(quoted.strip().rstrip("()").lower())
    names.update(match.group().lower() for match in _NAME.finditer(question))
    code_words = {part for name in names for part in re.split(r"[\W_]+", name) if part}

    words = [word.lower() for word in _WORD.findall(question)]
    words = [part for word in words for part in re.split(r"[._]+", word) if part]
    terms = dict[str, None]()
    phrases = dict[str, None]()
    for i, word in enumerate(words):
        before = words[i - 1] if i else ""
        after = words[i + 1] if i + 1 < len(words) else ""
        named = after in _LANGUAGE_NOUNS and (
            before in {"the", "a", "an"} or (word in _KEYWORDS and word != "is")
        )
        if named and word in _KEYWORDS:
            terms[word] = None
            names.add(word)
            phrases.update(dict.fromkeys((f"{word} {after}", f"{word} statement")))
            phrases[f"{word} clause"] = None
        elif named and after in _NAMED_NOUNS and word not in STOP_WORDS:
            terms[word] = None
            names.add(word)
        elif word in code_words or (word not in STOP_WORDS and len(word) > 1):
            if word in _LANGUAGE_NOUNS and before in names:
                continue  # "the with statement": said by the phrase
            terms[word] = None
            if after and after not in STOP_WORDS:
                # "ordered dict" is OrderedDict, "SHA-256" is sha256.
                phrases.update(dict.fromkeys((f"{word} {after}", f"{word}{after}")))
    hints = tuple(term for term in terms if term in _WEAK_WORDS)
    if len(hints) < len(terms):
        terms = {term: None for term in terms if term not in _WEAK_WORDS}
    # A bare identifier, as "defaultdict" in "what is defaultdict", names its subject too.
    if len(terms) <= 3:
        names.update(terms)
    return Query(
        tuple(terms),
        tuple(phrases),
        frozenset(names),
        _CONCEPT.match(question) is not None,
        hints,
    )
