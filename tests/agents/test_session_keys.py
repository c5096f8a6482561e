"""A session key is read strictly and written so that it reads back the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.agents._errors import InvalidSessionKey
from understudy.agents._key import MAX_KEY_BYTES, MAX_PART, SessionKey


def test_a_plain_key_reads_as_its_three_parts() -> None:
    assert SessionKey.parse("ada:echo:t1") == SessionKey("ada", "echo", "t1")
    assert str(SessionKey("ada", "echo", "t1")) == "ada:echo:t1"


def test_a_key_passes_through_parse_as_it_is() -> None:
    key = SessionKey("ada", "echo", "t1")
    assert SessionKey.parse(key) is key


def test_parts_that_could_be_misread_are_escaped() -> None:
    key = SessionKey("a:b", "x/y", "50% ü")
    assert str(key) == "a%3Ab:x%2Fy:50%25%20%C3%BC"
    assert SessionKey.parse(str(key)) == key


parts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=10).filter(
    lambda part: part not in (".", "..")
)


@given(user=parts, agent=parts, thread=parts)
def test_every_key_reads_back_as_itself(user: str, agent: str, thread: str) -> None:
    key = SessionKey(user, agent, thread)
    assert SessionKey.parse(str(key)) == key
    assert str(key).isascii()


@given(st.text())
def test_any_text_is_a_key_or_a_clear_error(text: str) -> None:
    try:
        key = SessionKey.parse(text)
    except InvalidSessionKey as error:
        assert "user:agent:thread" in str(error)
    else:
        assert SessionKey.parse(str(key)) == key


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "1 part instead of 3"),
        ("ada", "1 part instead of 3"),
        ("ada:echo", "2 parts instead of 3"),
        ("ada:echo:t1:x", "4 parts instead of 3"),
        ("ada::t1", "agent is empty"),
        (":echo:t1", "user is empty"),
        ("ada:echo:", "thread is empty"),
        ("ada:echo:%", "not followed by two hex digits"),
        ("ada:echo:%zz", "not followed by two hex digits"),
        ("ada:echo:%ff", "not UTF-8"),
        ("ada:echo:a\nb", "control character"),
        ("ada:echo:%00", "control character"),
        ("ada:..:t", "agent is '..'"),
        ("ada:echo:\ud800", "lone surrogate"),
        (None, "NoneType, not text"),
        (7, "int, not text"),
    ],
)
def test_a_wrong_key_says_what_is_wrong(text: Any, reason: str) -> None:
    with pytest.raises(InvalidSessionKey, match=reason) as caught:
        SessionKey.parse(text)
    assert caught.value.code == "bad_session_key"


def test_a_part_that_is_no_text_is_named() -> None:
    with pytest.raises(InvalidSessionKey, match="thread is int, not text"):
        SessionKey("ada", "echo", 1)  # type: ignore[arg-type]


def test_a_part_has_a_greatest_length() -> None:
    SessionKey("u", "a", "t" * MAX_PART)
    with pytest.raises(InvalidSessionKey, match=f"limit is {MAX_PART}"):
        SessionKey("u", "a", "t" * (MAX_PART + 1))


def test_an_escaped_key_has_a_greatest_size() -> None:
    with pytest.raises(InvalidSessionKey, match=f"limit is {MAX_KEY_BYTES}"):
        SessionKey("ü" * 60, "ü", "t")


def test_the_streams_of_a_session_carry_its_key() -> None:
    key = SessionKey("a b", "echo", "t1")
    assert key.events_stream == "session:a%20b:echo:t1"
    assert key.frames_stream == "frames:a%20b:echo:t1"
