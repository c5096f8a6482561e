"""The handle stays while the journal behind it is closed and opened again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from understudy.actors._gate import Gate
from understudy.actors._journal_handle import JournalHandle, PersistenceIdInUse
from understudy.storage import JournalClosed, NewEvent, Write
from understudy.storage._journal import Journal

WAIT = 10.0


class Owner:
    """Stands for a ref."""

    def __init__(self) -> None:
        self.alive = True

    def is_alive(self) -> bool:
        return self.alive


@pytest.fixture
def journal() -> Iterator[Journal]:
    made = Journal.in_memory()
    yield made
    made.close()


@pytest.fixture
def handle(journal: Journal) -> Iterator[JournalHandle]:
    made = JournalHandle()
    made.attach(journal)
    yield made
    made.close()


def test_the_handle_has_the_methods_of_the_journal(handle: JournalHandle) -> None:
    handle.append("s", [NewEvent("a", 1)])
    assert [r.payload for r in handle.read("s")] == [1]
    handle.state.put("b", "k", 1)
    assert handle.state.get("b", "k") == 1
    assert handle.last_seq("s") == 1


def test_writes_wait_while_there_is_no_journal_and_follow_in_order(
    handle: JournalHandle, journal: Journal
) -> None:
    handle.detach()
    assert not handle.attached
    futures = [handle.submit("s", [NewEvent("n", n)]) for n in range(5)]
    assert not any(f.done() for f in futures)
    handle.attach(journal)
    assert [f.result(WAIT).last_seq for f in futures] == [1, 2, 3, 4, 5]
    assert [r.payload for r in handle.read("s")] == [0, 1, 2, 3, 4]


def test_a_write_that_waited_and_is_refused_says_so(
    handle: JournalHandle, journal: Journal
) -> None:
    handle.detach()
    wrong = handle.submit("s", [NewEvent("n")], expected_seq=7)
    bad = handle.submit("s", [NewEvent("n", object())])
    handle.attach(journal)
    assert type(wrong.exception(WAIT)).__name__ == "WrongExpectedSeq"
    assert type(bad.exception(WAIT)).__name__ == "BadEvent"


def test_reads_wait_while_there_is_no_journal(handle: JournalHandle, journal: Journal) -> None:
    handle.detach()
    found: list[int] = []
    reader = threading.Thread(target=lambda: found.append(handle.last_seq("s")))
    reader.start()
    handle.attach(journal)
    reader.join(WAIT)
    assert found == [0]


def test_waiting_has_a_limit_where_one_is_given(handle: JournalHandle) -> None:
    handle.detach()
    with pytest.raises(JournalClosed, match="not back within 0.01 s"):
        handle.current(timeout=0.01)


def test_commit_hooks_stay_when_the_journal_is_opened_again(handle: JournalHandle) -> None:
    seen: list[Any] = []
    cancel = handle.on_commit(lambda info: seen.append(info.streams))
    handle.append("one", [NewEvent("a")])
    handle.detach()
    second = Journal.in_memory()
    handle.attach(second)
    handle.append("two", [NewEvent("a")])
    cancel()
    handle.append("three", [NewEvent("a")])
    assert seen == [("one",), ("two",)]


def test_closing_ends_whoever_waits_and_whoever_comes_later(handle: JournalHandle) -> None:
    handle.detach()
    waiting = handle.submit_write(Write())
    handle.close()
    handle.close()
    with pytest.raises(JournalClosed, match="the system has stopped"):
        waiting.result(WAIT)
    with pytest.raises(JournalClosed):
        handle.submit_write(Write()).result(WAIT)
    with pytest.raises(JournalClosed):
        handle.read("s")


def test_a_journal_that_closed_itself_is_reported_and_writes_wait_for_the_next(
    handle: JournalHandle, journal: Journal
) -> None:
    lost: list[BaseException] = []
    handle.on_lost = lost.append
    journal.close()
    waiting = [handle.submit("s", [NewEvent("n", n)]) for n in range(2)]
    assert [type(error) for error in lost] == [JournalClosed]
    assert handle.detach() is journal
    second = Journal.in_memory()
    handle.attach(second)
    assert [f.result(WAIT).last_seq for f in waiting] == [1, 2]


def test_a_history_has_one_living_writer(handle: JournalHandle) -> None:
    first, second = Owner(), Owner()
    claimed = handle.claim("account:ada", first)
    with pytest.raises(PersistenceIdInUse, match="'account:ada' belongs to .* which is alive"):
        handle.claim("account:ada", second)
    first.alive = False
    newer = handle.claim("account:ada", second)
    assert claimed.revoked
    assert newer.epoch > claimed.epoch


def test_the_next_incarnation_waits_for_what_the_last_one_wrote(handle: JournalHandle) -> None:
    owner = Owner()
    writer = handle.claim("account:ada", owner)
    writer.last = handle.submit("account:ada", [NewEvent("n")], epoch=writer.epoch)
    handle.claim("account:ada", owner)
    assert writer.last.done()
    assert handle.last_seq("account:ada") == 1


def test_writers_of_dead_actors_are_forgotten(handle: JournalHandle) -> None:
    for n in range(1000):
        owner = Owner()
        handle.claim(f"a:{n}", owner)
        owner.alive = False
    handle.claim("last", Owner())
    assert len(handle._writers) < 10


def test_epochs_grow_over_openings(tmp_path: Any) -> None:
    epochs = []
    for _ in range(2):
        handle = JournalHandle()
        handle.attach(Journal.open(tmp_path / "j"))
        epochs.append(handle.claim("a", Owner()).epoch)
        handle.close()
    assert epochs[0] < epochs[1]


def test_nobody_overtakes_at_a_gate_that_opens() -> None:
    gate = Gate()
    order: list[str] = []

    def first(error: BaseException | None) -> None:
        gate.add_done_callback(lambda error: order.append("came while it opened"))
        order.append("waited first")

    gate.add_done_callback(first)
    gate.add_done_callback(lambda error: order.append("waited second"))
    assert not gate.passed
    gate.settle(None)
    assert gate.passed
    gate.add_done_callback(lambda error: order.append("came later"))
    assert order == ["waited first", "waited second", "came while it opened", "came later"]


def test_a_broken_gate_tells_everybody_why(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    seen: list[Any] = []

    def careless(error: BaseException | None) -> None:
        raise RuntimeError("careless")

    gate.add_done_callback(careless)
    gate.add_done_callback(seen.append)
    error = ValueError("no")
    gate.settle(error)
    gate.add_done_callback(seen.append)
    assert seen == [error, error]
    assert "careless" in caplog.text


def test_a_background_snapshot_never_waits_for_a_journal_that_is_being_reopened(
    handle: JournalHandle, journal: Journal
) -> None:
    handle.append("s", [NewEvent("n")])
    handle.detach()
    saved = handle.submit_snapshot("s", 1, {"n": 1})
    assert not saved.done()
    handle.attach(journal)
    saved.result(WAIT)
    snapshot = handle.load_snapshot("s")
    assert snapshot is not None
    assert snapshot.state == {"n": 1}


def test_a_handle_that_was_closed_serves_again_once_a_journal_is_attached(
    handle: JournalHandle,
) -> None:
    handle.close()
    handle.attach(Journal.in_memory())
    assert handle.last_seq("s") == 0
