"""The book of a session: after any step a reader of the journal knows what the writer knew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from understudy.agents._feed import Feed
from understudy.agents._key import SessionKey
from understudy.agents._log import OPEN_TURNS, Piece, SessionLog, Step
from understudy.agents._message import Message
from understudy.storage import Journal, WrongExpectedSeq

KEY = SessionKey("ada", "echo", "t1")
HISTORY = 3


@pytest.fixture
def journal() -> Iterator[Journal]:
    made = Journal.in_memory()
    yield made
    made.close()


def new_log(journal: Journal) -> SessionLog:
    log = SessionLog(KEY, journal, lambda: 1000.0, history=HISTORY)
    log.recover()
    return log


def message(name: str, **data: Any) -> Message:
    return Message(f"text of {name}", name, data, 1000.0)


def write(journal: Journal, step: Step | None) -> list[dict[str, Any]]:
    assert step is not None
    journal.write(step.write)
    return step.frames


pieces = st.lists(
    st.one_of(
        st.builds(Piece, text=st.text(max_size=5)),
        st.builds(Piece, data=st.dictionaries(st.sampled_from("ab"), st.integers(0, 9))),
        st.builds(
            lambda key: Piece(effect=("mail", {"key": key}, key)), st.sampled_from(["k1", "k2"])
        ),
    ),
    max_size=4,
)


class Book(RuleBasedStateMachine):
    """Writes what sessions write, in any order, and reads it back by a log that just began."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal.in_memory()
        self.log = new_log(self.journal)
        self.frames: list[dict[str, Any]] = []
        self.count = 0

    def teardown(self) -> None:
        self.journal.close()

    def _write(self, step: Step | None) -> None:
        if step is not None:
            self.frames += write(self.journal, step)

    @rule()
    def accept(self) -> None:
        self.count += 1
        self._write(self.log.accept(message(f"m{self.count}", n=self.count)))

    @precondition(lambda self: self.log.current)
    @rule(given=pieces)
    def send(self, given: list[Piece]) -> None:
        assert self.log.current is not None
        self._write(self.log.send(self.log.current, given))

    @precondition(lambda self: self.log.current)
    @rule(given=pieces, error=st.booleans())
    def close(self, given: list[Piece], error: bool) -> None:
        assert self.log.current is not None
        failure = ("failed", "it failed", False) if error else None
        self._write(self.log.close(self.log.current, given, error=failure))

    @precondition(lambda self: len(self.log.open) > 1)
    @rule()
    def cancel_one_that_waits(self) -> None:
        turn = list(self.log.open.values())[-1]
        self._write(self.log.close(turn, error=("cancelled", "no", True)))

    @precondition(lambda self: self.log.current)
    @rule(resume=st.booleans(), failed=st.booleans())
    def again(self, resume: bool, failed: bool) -> None:
        assert self.log.current is not None
        self._write(self.log.again(self.log.current, resume=resume, failed=failed))

    @rule()
    def crash(self) -> None:
        self.log = new_log(self.journal)

    @invariant()
    def a_reader_knows_what_the_writer_knew(self) -> None:
        read = new_log(self.journal)
        assert (read.events, read.frames) == (self.log.events, self.log.frames)
        assert list(read.open) == list(self.log.open)
        for name, turn in self.log.open.items():
            other = read.open[name]
            assert other.message == turn.message
            assert (other.attempt, other.failures, other.first, other.seq) == (
                turn.attempt,
                turn.failures,
                turn.first,
                turn.seq,
            )
            assert "".join(other.text) == "".join(turn.text)
            assert (other.data, other.pieces) == (turn.data, turn.pieces)
        assert list(read.exchanges) == list(self.log.exchanges)

    @invariant()
    def the_frames_in_the_journal_are_those_that_were_shown(self) -> None:
        stored = Feed(KEY, self.journal).read(0)
        assert stored == self.frames
        assert [f["seq"] for f in stored] == list(range(1, len(stored) + 1))

    @invariant()
    def only_the_first_turn_has_begun(self) -> None:
        attempts = [turn.attempt for turn in self.log.open.values()]
        assert all(attempts[:1])
        assert not any(attempts[1:])

    @invariant()
    def the_ledger_names_the_frames_of_every_turn_that_ended(self) -> None:
        feed = Feed(KEY, self.journal)
        for number in range(1, self.count + 1):
            name = f"m{number}"
            row = self.log.lookup(name)
            if name in self.log.open:
                assert row is None
                continue
            assert row is not None
            frames = feed.read_turn(name, row["first"], row["last"])
            assert frames[-1]["type"] in ("message", "error")
            assert frames[-1]["message_id"] == name
            if frames[-1]["type"] == "message":
                text = ""
                for frame in frames:
                    text = "" if frame["type"] == "retry" else text + frame.get("value", "")
                assert frames[-1]["message"] == text


Book.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestBook = pytest.mark.slow(Book.TestCase)


def test_one_step_is_one_transaction_of_events_frames_effects_and_rows(journal: Journal) -> None:
    log = new_log(journal)
    write(journal, log.accept(message("m1")))
    turn = log.current
    assert turn is not None
    given = [Piece(text="a"), Piece(effect=("mail", 1, "k")), Piece(text="b")]
    commits: list[Any] = []
    journal.on_commit(commits.append)
    write(journal, log.close(turn, given))
    assert len(commits) == 1
    assert set(commits[0].streams) == {KEY.events_stream, KEY.frames_stream}
    assert commits[0].channels == ("mail",)
    assert list(journal.state.scan(OPEN_TURNS)) == []


def test_a_second_writer_of_the_same_session_is_refused(journal: Journal) -> None:
    first, second = new_log(journal), new_log(journal)
    write(journal, first.accept(message("m1")))
    with pytest.raises(WrongExpectedSeq):
        write(journal, second.accept(message("m2")))


def test_history_at_hand_is_bounded_and_leaves_out_turns_without_an_answer(
    journal: Journal,
) -> None:
    log = new_log(journal)
    for number in range(6):
        write(journal, log.accept(message(f"m{number}")))
        turn = log.current
        assert turn is not None
        failure = ("failed", "no", False) if number == 4 else None
        write(journal, log.close(turn, [Piece(text=f"a{number}")], error=failure))
    expected = [("m2", "a2"), ("m3", "a3"), ("m5", "a5")]
    for each in (log, new_log(journal)):
        assert [(e.message_id, e.answer) for e in each.exchanges] == expected


def test_nothing_to_say_is_no_step(journal: Journal) -> None:
    log = new_log(journal)
    write(journal, log.accept(message("m1")))
    turn = log.current
    assert turn is not None
    assert log.send(turn, []) is None
    assert log.send(turn, [Piece(text="")]) is None
