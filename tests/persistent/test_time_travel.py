"""A history at another time, and views folded from all histories."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import understudy as us
from tests.persistent.conftest import WAIT, Account, Deposited, SnapshotAccount
from understudy.storage import Append, Write


def deposit(system: us.ActorSystem, pid: str, *amounts: int, cls: Any = Account) -> Any:
    ref = system.spawn(cls, persistence_id=pid)
    for amount in amounts:
        ref.proxy().deposit(amount).get(timeout=WAIT)
    return ref


def test_the_actor_as_it_was_at_a_seq(system: us.ActorSystem) -> None:
    ref = deposit(system, "account:ada", 1, 2, 3)
    for until, balance in ((0, 0), (1, 1), (2, 3), (3, 6), (None, 6)):
        was = us.replay(Account, system.journal, "account:ada", until=until)
        assert was.balance == balance
    assert was.last_seq == 3
    assert was.persistence_id == "account:ada"
    assert ref.proxy().get().get(timeout=WAIT) == 6


def test_the_actor_as_it_was_at_a_time(system: us.ActorSystem) -> None:
    deposit(system, "account:ada", 1)
    between = list(system.journal.read("account:ada"))[0].timestamp
    deposit(system, "account:bob", 1)
    was = us.replay(Account, system.journal, "account:ada", until=between)
    assert was.balance == 0


def test_a_detached_actor_may_not_persist(system: us.ActorSystem) -> None:
    deposit(system, "account:ada", 1)
    was = us.replay(Account, system.journal, "account:ada")
    with pytest.raises(us.NotPersistable, match="not running"):
        was.deposit(1)
    assert system.journal.last_seq("account:ada") == 1


def test_travel_begins_with_a_snapshot_that_is_old_enough(system: us.ActorSystem) -> None:
    deposit(system, "account:ada", *[1] * 25, cls=SnapshotAccount)
    system.journal.write(Write())
    was = us.replay(SnapshotAccount, system.journal, "account:ada", until=15)
    assert was.balance == 15
    assert was._us_recovered is not None
    assert was._us_recovered.snapshot_seq == 10


def test_a_fork_goes_on_by_itself(system: us.ActorSystem) -> None:
    deposit(system, "account:ada", 1, 2, 3)
    assert us.fork(system.journal, "account:ada", "account:what-if", until=2) == 2
    other = deposit(system, "account:what-if", 100)
    assert other.proxy().get().get(timeout=WAIT) == 103
    assert us.replay(Account, system.journal, "account:ada").balance == 6


def test_a_fork_repeated_is_the_same_fork_and_one_into_another_history_is_refused(
    system: us.ActorSystem,
) -> None:
    deposit(system, "account:ada", 1, 2, 3)
    deposit(system, "account:bob", 9)
    for _ in range(2):
        assert us.fork(system.journal, "account:ada", "account:copy") == 3
    assert system.journal.last_seq("account:copy") == 3
    with pytest.raises(us.WrongExpectedSeq):
        us.fork(system.journal, "account:ada", "account:bob")


def test_a_fork_of_a_truncated_history_is_refused(system: us.ActorSystem) -> None:
    deposit(system, "account:ada", 1, 2, 3)
    system.journal.truncate("account:ada", 2)
    with pytest.raises(us.RecoveryFailed, match="goes on at 2 where 1 should come"):
        us.fork(system.journal, "account:ada", "account:copy")


class Totals(us.Projection):
    projection_id = "totals"
    types = ("tests.account.deposited",)
    folded: list[int] = []

    def initial(self) -> Any:
        return {}

    def fold(self, state: Any, event: Any, record: Any) -> Any:
        if event.amount == 13:
            raise ValueError("unlucky")
        type(self).folded.append(record.position)
        state[record.stream] = state.get(record.stream, 0) + event.amount
        return state


@pytest.fixture
def totals() -> type[Totals]:
    return type("Totals", (Totals,), {"folded": []})


def test_a_projection_folds_all_streams_and_follows(
    system: us.ActorSystem, totals: type[Totals]
) -> None:
    deposit(system, "account:ada", 1, 2)
    view = system.spawn(totals).proxy()
    assert view.current().get(timeout=WAIT) == {"account:ada": 3}
    deposit(system, "account:bob", 5)
    assert view.current().get(timeout=WAIT) == {"account:ada": 3, "account:bob": 5}
    assert view.position().get(timeout=WAIT) == 3


def test_a_projection_goes_on_where_it_was_and_folds_each_event_once(
    system: us.ActorSystem, totals: type[Totals]
) -> None:
    deposit(system, "account:ada", 1, 2)
    ref = system.spawn(totals)
    ref.proxy().current().get(timeout=WAIT)
    ref.stop()
    deposit(system, "account:bob", 5)
    again = system.spawn(totals).proxy()
    assert again.current().get(timeout=WAIT) == {"account:ada": 3, "account:bob": 5}
    assert totals.folded == [1, 2, 3]
    assert again.rebuild().get(timeout=WAIT) == {"account:ada": 3, "account:bob": 5}
    assert totals.folded == [1, 2, 3, 1, 2, 3]


def test_a_projection_is_woken_by_commits(system: us.ActorSystem) -> None:
    folded = threading.Event()

    class Woken(Totals):
        projection_id = "woken"

        def fold(self, state: Any, event: Any, record: Any) -> Any:
            folded.set()
            return state

    system.spawn(Woken)
    assert not folded.is_set()
    system.journal.append("a", [us.NewEvent("tests.account.deposited", {"amount": 1})])
    assert folded.wait(WAIT)


def test_an_event_that_cannot_be_folded_is_named(
    system: us.ActorSystem, totals: type[Totals]
) -> None:
    deposit(system, "account:ada", 13)
    with pytest.raises(us.StartFailed) as caught:
        system.spawn(totals)
    assert "projection totals" in str(caught.value.cause)
    assert "unlucky" in str(caught.value.cause)


def test_the_journal_actor_takes_appends_by_message_and_restarts_under_living_actors(
    system: us.ActorSystem,
) -> None:
    account = deposit(system, "account:ada", 1).proxy()
    journal = system.lookup("/storage/journal")
    assert journal is not None
    result = journal.ask(Append("s", [us.NewEvent("n")]), timeout=WAIT)
    assert result.last_seq == 1
    assert journal.ask(Write(), timeout=WAIT).position == 2
    restarted = threading.Event()
    system.events.subscribe(
        lambda event: restarted.set() if event.ref == journal else None, us.ActorRestarted
    )
    journal.tell("nonsense")
    assert restarted.wait(WAIT)
    assert account.deposit(2).get(timeout=WAIT) == 3
    assert [r.payload["amount"] for r in system.journal.read("account:ada")] == [1, 2]
    assert Deposited(1) == Deposited(1)


def test_a_journal_behind_a_stopped_system_leaves_nobody_waiting(
    system: us.ActorSystem,
) -> None:
    system.stop()
    with pytest.raises(us.JournalClosed):
        system.journal.last_seq("account:ada")
    with pytest.raises(us.JournalClosed):
        system.journal.submit_write(Write()).result(WAIT)


def test_histories_stand_when_the_whole_storage_branch_is_started_again(
    system: us.ActorSystem,
) -> None:
    account = deposit(system, "account:ada", 1).proxy()
    journal = system.lookup("/storage/journal")
    assert journal is not None
    gone = threading.Event()
    system.events.subscribe(lambda e: gone.set() if e.ref == journal else None, us.ActorStopped)
    for _ in range(6):  # over its budget: the branch above it is restarted
        if journal.is_alive():
            journal.tell("nonsense")
    assert gone.wait(WAIT)
    assert account.deposit(2).get(timeout=WAIT) == 3
    assert system.journal.last_seq("account:ada") == 2
