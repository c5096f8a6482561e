"""What clients may send, and what they are told about everything else."""

from __future__ import annotations

import pytest

from understudy.gateway import GatewayError, Limits
from understudy.gateway._frames import (
    Ack,
    Cancel,
    UserMessage,
    check_identifier,
    encode_frame,
    encode_json,
    read_frame,
    read_message,
)

LIMITS = Limits(frame=2000)


def refused(raw: str | bytes) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        read_frame(raw, LIMITS)
    return caught.value


def test_a_user_message_is_read_whole() -> None:
    frame = read_frame(
        '{"type":"user_message","text":"häßlich","message_id":"m1","data":{"k":[1]}}', LIMITS
    )
    assert frame == UserMessage("häßlich", "m1", {"k": [1]})


def test_an_ack_and_a_cancel_are_read() -> None:
    assert read_frame('{"type":"ack","seq":7}', LIMITS) == Ack(7)
    assert read_frame('{"type":"cancel"}', LIMITS) == Cancel()


def test_fields_of_a_later_protocol_are_let_through() -> None:
    assert read_frame('{"type":"ack","seq":7,"later":true}', LIMITS) == Ack(7)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "malformed"),
        ("{", "malformed"),
        ("not json", "malformed"),
        ("[]", "malformed"),
        ("null", "malformed"),
        ('"user_message"', "malformed"),
        ("1e999", "malformed"),
        ("[" * 1900, "malformed"),
        (b"\xff\xfe{}", "malformed"),
        ('{"type":"user_message","text":"\\ud800"}', "malformed"),
        ("{}", "unknown_type"),
        ('{"type":null}', "unknown_type"),
        ('{"type":["ack"]}', "unknown_type"),
        ('{"type":"dance"}', "unknown_type"),
        ('{"type":"token","value":"forged"}', "unknown_type"),
        ('{"type":"user_message"}', "bad_frame"),
        ('{"type":"user_message","text":5}', "bad_frame"),
        ('{"type":"user_message","text":null}', "bad_frame"),
        ('{"type":"user_message","text":"x","message_id":5}', "bad_frame"),
        ('{"type":"user_message","text":"x","data":"y"}', "bad_frame"),
        ('{"type":"ack"}', "bad_frame"),
        ('{"type":"ack","seq":"7"}', "bad_frame"),
        ('{"type":"ack","seq":1.5}', "bad_frame"),
        ('{"type":"ack","seq":true}', "bad_frame"),
        ('{"type":"ack","seq":-1}', "bad_seq"),
        ('{"type":"ack","seq":9223372036854775808}', "bad_seq"),
        ('{"type":"user_message","text":"' + "x" * 2000 + '"}', "frame_too_large"),
        ('{"type":"user_message","text":"' + "ß" * 1000 + '"}', "frame_too_large"),
    ],
)
def test_bad_input_is_refused_with_a_code_and_leaves_the_connection_up(
    raw: str | bytes, code: str
) -> None:
    problem = refused(raw)
    assert problem.code == code
    assert problem.close is None
    assert problem.retryable is False
    frame = problem.frame()
    assert frame["type"] == "error"
    assert frame["message"]
    assert "seq" not in frame


def test_the_refusal_of_an_unknown_type_names_it_and_the_known_ones() -> None:
    message = refused('{"type":"dance","message_id":"m9"}').frame()
    assert "'dance'" in message["message"]
    assert "user_message, ack, cancel" in message["message"]
    assert message["message_id"] == "m9"


def test_the_refusal_of_a_wrong_field_names_the_field_and_shows_a_right_frame() -> None:
    message = refused('{"type":"ack","seq":"seven"}').message
    assert "$.seq" in message
    assert '{"type": "ack", "seq": 7}' in message


def test_a_very_long_type_is_not_echoed_whole() -> None:
    assert len(refused('{"type":"' + "x" * 1900 + '"}').message) < 300


def test_a_posted_message_needs_no_type_and_is_checked_the_same() -> None:
    assert read_message(b'{"text":"hello"}', LIMITS) == UserMessage("hello")
    with pytest.raises(GatewayError) as caught:
        read_message(b'{"message_id":"m1"}', LIMITS)
    assert caught.value.code == "bad_frame"
    assert "`text`" in caught.value.message
    assert caught.value.extra == {"message_id": "m1"}


@pytest.mark.parametrize("name", ["", "x" * 200, "a\nb", "\x00", "ß" * 65])
def test_a_client_name_that_could_not_be_a_key_is_refused(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        check_identifier("client", name, LIMITS)
    assert caught.value.code == "bad_client"


def test_what_json_does_not_know_is_shown_by_its_repr() -> None:
    assert encode_json({"a": object}) == b'{"a":"<class \'object\'>"}'
    assert encode_frame({"type": "token", "value": "ß"}) == '{"type":"token","value":"ß"}'


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"frame": 0}, "frame"),
        ({"buffer": -1}, "buffer"),
        ({"page": 1.5}, "page"),
        ({"stall": -1.0}, "stall"),
    ],
)
def test_limits_that_let_nothing_through_are_refused_by_name(options: dict, word: str) -> None:
    with pytest.raises(ValueError, match=rf"Limits\.{word} is"):
        Limits(**options)
