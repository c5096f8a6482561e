"""The demo's checks notice what is wrong: a checker that never objects proves nothing."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from typing import Any

import pytest

from examples.librarian.demo_client import Client
from examples.librarian.demo_receiver import Book
from tests.examples.librarian_process import ROOT

GOOD: list[dict[str, Any]] = [
    {"type": "token", "value": "one ", "seq": 1},
    {"type": "token", "value": "two", "seq": 2},
    {
        "type": "message",
        "message": "one two",
        "message_id": "m",
        "data": {"sources": [{"n": 1}]},
        "seq": 3,
    },
]


def checked(frames, expected=""):
    client = Client("ws://nowhere", "demo", "t", [("q", expected)], lambda _client, _frame: None)
    for frame in frames:
        client._take(frame, "m", expected)
    return client


def test_a_good_answer_is_good():
    client = checked(GOOD)
    assert client.check.wrong == 0
    assert (client.check.answers, client.check.tokens, client.check.frames) == (1, 2, 3)
    assert client.received == GOOD
    assert not client.mid_answer


@pytest.mark.parametrize(
    ("frames", "expected", "wrong"),
    [
        ([GOOD[0], GOOD[0], *GOOD[1:]], "", {"repeated": 1}),
        ([GOOD[0], GOOD[2]], "", {"lost": 1, "torn": 1}),
        ([GOOD[1], GOOD[0], GOOD[2]], "", {"lost": 1, "repeated": 1, "torn": 1}),
        ([GOOD[0], {**GOOD[1], "value": "2"}, GOOD[2]], "", {"torn": 1}),
        ([*GOOD[:2], {**GOOD[2], "data": {}}], "", {"unsourced": 1}),
        (GOOD, "three", {"forgotten": 1}),
        (
            [{"type": "error", "code": "x", "message": "y", "retryable": False, "seq": 1}],
            "",
            {"failed": 1},
        ),
        ([{"type": "error", "code": "bad_cursor", "message": "y"}], "", {"failed": 1}),
    ],
)
def test_what_is_wrong_is_counted(frames, expected, wrong):
    check = checked(frames, expected).check
    assert {name: getattr(check, name) for name in wrong} == wrong
    assert check.wrong == sum(wrong.values())
    assert len(check.notes) >= 1


def test_an_answer_begun_anew_drops_what_came_before():
    again = [
        {"type": "token", "value": "half", "seq": 1},
        {"type": "retry", "attempt": 2, "seq": 2},
        *({**frame, "seq": frame["seq"] + 2} for frame in GOOD),
    ]
    client = checked(again)
    assert client.check.wrong == 0
    assert client.check.retries == 1


def body(message_id, question="q"):
    return json.dumps({"session": "s", "message_id": message_id, "question": question}).encode()


def test_the_receiver_applies_a_key_once_and_counts_what_came_again():
    book = Book()
    book.deliver("k1", body("m1"))
    book.deliver("k1", body("m1"))
    book.deliver("k2", body("m2"))
    assert book.report() == {
        "deliveries": 3,
        "keys": 2,
        "redelivered": 1,
        "messages": 2,
        "applied_twice": 0,
        "changed_bodies": 0,
    }


def test_the_receiver_notices_one_message_under_two_keys_and_a_body_that_changed():
    book = Book()
    book.deliver("k1", body("m1"))
    book.deliver("k2", body("m1"))
    book.deliver("k2", body("m1", "another"))
    report = book.report()
    assert (report["applied_twice"], report["changed_bodies"]) == (1, 1)


def test_the_receiver_is_a_process_that_counts_over_http():
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "librarian" / "demo_receiver.py")],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(2):
            connection.request("POST", "/", body("m1"), {"Idempotency-Key": "k"})
            assert json.load(connection.getresponse()) == {"ok": True}
        connection.request("GET", "/report")
        assert json.load(connection.getresponse())["deliveries"] == 2
        connection.close()
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
