"""Replies: worded from passages, honest when nothing is found, with follow-ups understood."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from examples.librarian import wording
from examples.librarian.corpus import FolderCorpus
from examples.librarian.index import open_index
from examples.librarian.library import Library
from examples.librarian.query import parse


@dataclass
class Said:
    text: str
    answer: str
    data: dict[str, Any]


@dataclass
class Talk:
    """A conversation with a library, remembered as a session's history would."""

    library: Library
    history: list[Said] = field(default_factory=list)

    def ask(self, text):
        reply = self.library.reply(text, tuple(self.history))
        self.history.append(Said(text, reply.text, reply.data))
        return reply


@pytest.fixture
def talk(library):
    return Talk(library)


def flat(text):
    return " ".join(text.split())


def test_an_answer_is_worded_from_the_passage_and_names_it(talk):
    reply = talk.ask("How does functools.lru_cache work?")
    assert reply.text.startswith("`functools.lru_cache(maxsize=128, typed=False)`")
    assert "Least-recently-used cache decorator." in reply.text
    assert "[1]" in reply.text
    source = reply.data["sources"][0]
    assert (source["n"], source["title"]) == (1, "functools.lru_cache")
    assert source["location"].startswith("Lib/functools.py:")
    assert reply.data["found"] is True


def test_every_sentence_of_an_answer_stands_in_its_source(talk, python_index):
    reply = talk.ask("What is a context manager?")
    first = python_index.passage(reply.data["sources"][0]["id"])
    plain = flat(first.body.replace('"', "").replace("*", ""))
    told = reply.text.split("See also:")[0].split("```")[0].replace("[1]", "")
    for sentence in wording.sentences(flat(told)):
        assert flat(sentence.replace("`", "").replace("_", "")) in plain.replace("_", "")


def test_each_number_in_an_answer_is_one_of_its_sources(talk):
    import re

    for question in ("What does the with statement do?", "What does zip do?", "What is heapq?"):
        reply = talk.ask(question)
        cited = {int(n) for n in re.findall(r"\[(\d)\]", reply.text.replace("[k]", ""))}
        numbers = [source["n"] for source in reply.data["sources"]]
        assert numbers == list(range(1, len(numbers) + 1))
        assert cited - {0} == set(numbers)


def test_the_same_question_gets_the_same_words(library):
    first = library.reply("What is a generator?", ())
    assert library.reply("What is a generator?", ()) == first


def test_pieces_joined_are_the_text(talk):
    text = talk.ask("What does zip do?").text
    pieces = list(wording.pieces(text))
    assert "".join(pieces) == text
    assert len(pieces) > 30


def test_an_example_is_shown_as_code(talk):
    assert "```\n>>> list(zip('abcdefg', range(3), range(4)))" in talk.ask("What does zip do?").text


def test_nothing_found_is_said(talk):
    reply = talk.ask("Who won the football world cup in 1998?")
    assert reply.data == {"found": False, "sources": []}
    assert "I found nothing about “won”, “football”, “world”, “cup” and “1998”" in reply.text
    assert not reply.passages


def test_a_message_without_a_word_to_look_up_says_so(talk):
    assert "could look up" in talk.ask("???").text


def test_the_second_one_is_the_second_source_of_the_earlier_answer(talk):
    second = talk.ask("What does the with statement do?").data["sources"][1]
    reply = talk.ask("and the second one?")
    assert reply.text.startswith(f"**{second['title']}**")
    assert "With more than one item" in reply.text
    assert reply.text.rstrip().endswith("[2]")
    assert reply.data["about"] == 2


@pytest.mark.parametrize(
    "follow_up",
    [
        "tell me more about the first source",
        "Tell me more about source 1",
        "[1]",
        "the first one please",
        "source one?",
    ],
)
def test_a_source_can_be_named_in_several_ways(talk, follow_up):
    talk.ask("What is a context manager?")
    assert talk.ask(follow_up).data["about"] == 1


def test_follow_ups_after_a_follow_up_keep_the_numbers(talk):
    sources = talk.ask("What does zip do?").data["sources"]
    talk.ask("the second one")
    assert talk.ask("and the third one?").data["sources"] == sources
    assert talk.ask("the last one").data["about"] == len(sources)
    assert talk.ask("the first one").data["about"] == 1
    assert talk.ask("and the next one").data["about"] == 2


def test_more_goes_on_where_the_telling_stopped_and_ends_honestly(talk):
    talk.ask("What is the heapq module?")
    told: list[str] = []
    for _ in range(30):
        reply = talk.ask("tell me more")
        if "That was all of" in reply.text:
            break
        assert not set(reply.data["told"]) & set(told)
        told += reply.data["told"]
    else:
        pytest.fail("there was always more")
    assert len(told) > 1


def test_a_number_the_answer_did_not_have_is_said(talk):
    talk.ask("what is a lambda")
    assert "so there is no number 9" in talk.ask("and the ninth one?").text


def test_a_source_can_be_asked_about_something(talk):
    talk.ask("What does the with statement do?")
    assert "nothing about “bananas”" in talk.ask("what does source 1 say about bananas?").text
    found = talk.ask("what does source 1 say about exceptions?")
    assert found.data["found"] is True
    assert "exception" in found.text


def test_a_question_that_leans_on_the_one_before_is_answered_from_its_sources(talk):
    talk.ask("What does the with statement do?")
    reply = talk.ask("And with several items?")
    assert all(source["title"].lower().find("with") >= 0 for source in reply.data["sources"])
    assert "exception" in talk.ask("how does it handle exceptions?").text


def test_it_alone_does_not_send_the_search_astray(talk):
    talk.ask("What is argparse?")
    assert talk.ask("does it bake bananas?").data["found"] is False


def test_a_new_subject_is_a_new_question(talk):
    talk.ask("What does the with statement do?")
    assert (
        talk.ask("What does functools.wraps do?").data["sources"][0]["title"] == "functools.wraps"
    )
    assert (
        talk.ask("tell me more about decorators").data["sources"][0]["title"]
        == "Function definitions"
    )
    assert talk.ask("what is the first argument of map?").data.get("about") == 1


def test_earlier_questions_are_remembered(talk):
    assert "first thing you ask" in talk.ask("What did I ask you?").text
    talk.ask("What does zip do?")
    talk.ask("what is a lambda")
    assert (
        talk.ask("What was my first question?").text
        == "Your first question here was “What did I ask you?”."
    )
    assert "“what is a lambda”" in talk.ask("what did we talk about?").text


def test_courtesies_are_returned(talk):
    assert "What would you like to know?" in talk.ask("hello").text
    assert "welcome" in talk.ask("Thank you!").text


def test_a_source_that_is_gone_is_named_all_the_same(tmp_path, library):
    talk = Talk(library)
    talk.ask("What does zip do?")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Pumps\n\nThe pump needs oil.")
    talk.library = Library(open_index(FolderCorpus(tmp_path / "docs"), tmp_path / "kept"))
    reply = talk.ask("and the first one?")
    assert "“zip” (help('zip')), but it is no longer among the documents" in reply.text


def test_a_folder_of_notes_is_answered_from_with_file_and_line(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "pumps.md").write_text(
        "# Pumps\n\nEvery pump needs oil once a week. Never run it dry.\n\n## Alarms\n\nThe red lamp means overheating.\n"
    )
    library = Library(open_index(FolderCorpus(tmp_path / "docs"), tmp_path / "kept"))
    reply = library.reply("How often does a pump need oil?", ())
    assert "Every pump needs oil once a week." in reply.text
    assert reply.data["sources"][0]["location"] == "pumps.md:3"
    assert (
        library.reply("What does the red lamp mean?", ()).data["sources"][0]["location"]
        == "pumps.md:7"
    )


def test_the_reference_s_quotes_become_code_and_lists_stay_lists():
    found = wording.blocks(
        'The "with" statement:\n\n   with A() as a:\n       pass\n\n* one\n* two\n',
        quotes_are_code=True,
    )
    assert [(block.text, block.code) for block in found] == [
        ("The `with` statement:", False),
        ("with A() as a:\n    pass", True),
        ("* one", False),
        ("* two", False),
    ]


def test_an_excerpt_is_short_and_plain(python_index):
    hit = python_index.search(parse("What is a context manager?"))[0]
    text = wording.excerpt(hit.passage, parse("What is a context manager?"), 80)
    assert len(text) <= 82
    assert "`" not in text
