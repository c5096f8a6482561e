"""A persistent actor's state is the fold of its history, and nothing un-journaled is seen outside."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import understudy as us
import understudy.testing
from tests.persistent.conftest import WAIT, Account, Deposited, SnapshotAccount
from understudy.storage import CommitFuture, Write


def spawn(system: us.ActorSystem, cls: Any = Account, pid: str = "account:ada") -> Any:
    return system.spawn(cls, persistence_id=pid)


class HeldJournal:
    """Holds commits back: what is submitted waits until it is let go."""

    def __init__(self, system: us.ActorSystem) -> None:
        self._handle = system.journal
        self._held: list[tuple[Any, Any]] = []
        self.arrived = threading.Semaphore(0)
        for name in ("submit", "submit_write"):
            vars(system.journal)[name] = functools.partial(
                self._submit, getattr(system.journal, name)
            )

    def _submit(self, real: Any, *args: Any, **options: Any) -> Any:
        future: Any = CommitFuture()
        self._held.append((functools.partial(real, *args, **options), future))
        self.arrived.release()
        return future

    def wait(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=WAIT)

    def _open(self) -> None:
        for name in ("submit", "submit_write"):
            del vars(self._handle)[name]

    def let_go(self) -> None:
        self._open()
        for submit, future in self._held:
            try:
                future.set_result(submit().result())
            except us.UnderstudyError as error:
                future.set_exception(error)

    def fail(self, error: BaseException) -> None:
        self._open()
        for _, future in self._held:
            future.set_exception(error)


def test_an_event_is_applied_and_in_the_journal_when_the_reply_comes(
    system: us.ActorSystem,
) -> None:
    account = spawn(system).proxy()
    assert account.deposit(5).get(timeout=WAIT) == 5
    (record,) = system.journal.read("account:ada")
    assert (record.type, record.version, record.payload) == (
        "tests.account.deposited",
        1,
        {"amount": 5},
    )


def test_state_comes_back_in_a_new_process_life(
    open_system: Callable[..., us.ActorSystem], tmp_path: Path
) -> None:
    first = open_system(data_dir=tmp_path / "data")
    account = spawn(first).proxy()
    for n in range(1, 11):
        account.deposit(n).get(timeout=WAIT)
    first.stop()
    second = open_system(data_dir=tmp_path / "data")
    assert spawn(second).proxy().get().get(timeout=WAIT) == 55


@pytest.mark.conformance(132)
def test_a_restart_replays_exactly_the_acknowledged_events(system: us.ActorSystem) -> None:
    ref = spawn(system)
    account = ref.proxy()
    for _ in range(3):
        account.deposit(1).get(timeout=WAIT)
    with pytest.raises(RuntimeError, match="after persist"):
        account.deposit_then_fail(100).get(timeout=WAIT)
    assert account.get().get(timeout=WAIT) == 3
    assert ref.is_alive()
    assert system.journal.last_seq("account:ada") == 3


def test_a_refused_command_changes_nothing_and_does_not_restart(system: us.ActorSystem) -> None:
    ref = spawn(system)
    incarnation = ref._us_incarnation
    with pytest.raises(ValueError, match="must be positive"):
        ref.proxy().deposit(0).get(timeout=WAIT)
    assert ref._us_incarnation == incarnation
    assert system.journal.last_seq("account:ada") == 0


def test_replies_wait_for_safety_while_the_actor_goes_on(system: us.ActorSystem) -> None:
    account = spawn(system).proxy()
    held = HeldJournal(system)
    futures = [account.deposit(1) for _ in range(5)]
    question = account.get()
    held.wait(5)  # the fifth was handled although the first is not safe
    assert not any(f._us_done for f in [*futures, question])
    held.let_go()
    assert [f.get(timeout=WAIT) for f in futures] == [1, 2, 3, 4, 5]
    assert question.get(timeout=WAIT) == 5


@pytest.mark.conformance(133)
def test_a_failed_append_fails_the_incarnation_and_nobody_saw_its_state(
    system: us.ActorSystem,
) -> None:
    ref = spawn(system)
    account = ref.proxy()
    account.deposit(1).get(timeout=WAIT)
    held = HeldJournal(system)
    deposit, question = account.deposit(10), account.get()
    held.wait()
    held.fail(us.StorageError("the disk is gone"))
    with pytest.raises(us.StorageError, match="the disk is gone"):
        deposit.get(timeout=WAIT)
    with pytest.raises(us.UnderstudyError):
        question.get(timeout=WAIT)
    assert account.get().get(timeout=WAIT) == 1
    assert system.journal.last_seq("account:ada") == 1


def test_sends_and_deferred_calls_wait_for_safety_in_order(system: us.ActorSystem) -> None:
    seen: list[str] = []
    done = threading.Event()

    class Listener(us.Actor):
        def on_receive(self, message: Any) -> None:
            seen.append(message)

    class Careful(Account):
        def go(self, listener: Any) -> None:
            self.persist(Deposited(1))
            self.send(listener, "sent")
            self.then(self.later)
            seen.append("handled")

        def later(self) -> None:
            seen.append(f"then on {self.balance}")
            done.set()

    listener = system.spawn(Listener)
    ref = spawn(system, Careful)
    held = HeldJournal(system)
    reply = ref.proxy().go(listener)
    held.wait()
    assert seen == ["handled"]
    held.let_go()
    reply.get(timeout=WAIT)
    assert done.wait(WAIT)
    listener.ask("asked", timeout=WAIT)
    assert sorted(seen[1:]) == ["asked", "sent", "then on 1"]


def test_a_send_of_a_failing_step_never_leaves(system: us.ActorSystem) -> None:
    seen: list[str] = []

    class Listener(us.Actor):
        def on_receive(self, message: Any) -> None:
            seen.append(message)

    class Failing(Account):
        def go(self, listener: Any) -> None:
            self.send(listener, "never")
            self.effect("mail", {"never": True})
            self.persist(Deposited(1))
            raise RuntimeError("no")

    listener = system.spawn(Listener)
    ref = spawn(system, Failing)
    with pytest.raises(RuntimeError):
        ref.proxy().go(listener).get(timeout=WAIT)
    ref.proxy().get().get(timeout=WAIT)
    listener.ask("barrier", timeout=WAIT)
    assert seen == ["barrier"]
    assert system.journal.outbox.list() == []


def test_effects_stand_in_the_same_transaction_and_a_dedupe_key_makes_one(
    system: us.ActorSystem,
) -> None:
    class Mailing(Account):
        def go(self) -> str:
            self.persist(Deposited(1))
            self.effect("mail", {"n": self.balance}, dedupe_key="only-once")
            return self.effect("mail", {"n": self.balance})

    account = spawn(system, Mailing).proxy()
    assert account.go().get(timeout=WAIT) == "account:ada:1:1"
    assert account.go().get(timeout=WAIT) == "account:ada:2:1"
    effects = system.journal.outbox.list(stream="account:ada")
    assert [e.dedupe_key for e in effects] == ["only-once", "account:ada:1:1", "account:ada:2:1"]
    assert {e.status for e in effects} == {"pending"}


def test_several_events_of_one_message_are_one_transaction(system: us.ActorSystem) -> None:
    class Batch(Account):
        def go(self) -> int:
            self.persist(Deposited(1), Deposited(2), metadata={"by": "ada"})
            self.persist(Deposited(3))
            return self.last_seq

    commits: list[Any] = []
    cancel = system.journal.on_commit(commits.append)
    assert spawn(system, Batch).proxy().go().get(timeout=WAIT) == 3
    cancel()
    assert len(commits) == 1
    records = list(system.journal.read("account:ada"))
    assert [r.payload["amount"] for r in records] == [1, 2, 3]
    assert [r.metadata for r in records] == [{"by": "ada"}, {"by": "ada"}, None]


def test_an_error_in_apply_fails_the_step_even_where_the_handler_hides_it(
    system: us.ActorSystem,
) -> None:
    class Fragile(Account):
        def apply(self, event: Any) -> None:
            self.balance += event.amount
            if event.amount == 13:
                raise RuntimeError("cannot apply 13")

        def hide(self) -> str:
            try:
                self.persist(Deposited(13))
            except RuntimeError:
                return "hidden"
            return "?"

    account = spawn(system, Fragile).proxy()
    account.deposit(1).get(timeout=WAIT)
    with pytest.raises(RuntimeError, match="cannot apply 13"):
        account.hide().get(timeout=WAIT)
    assert account.get().get(timeout=WAIT) == 1
    assert system.journal.last_seq("account:ada") == 1


def test_an_event_without_a_name_is_refused_before_it_is_applied(system: us.ActorSystem) -> None:
    class Careless(Account):
        def go(self) -> None:
            self.persist(object())

    account = spawn(system, Careless).proxy()
    with pytest.raises(us.UnregisteredEvent):
        account.go().get(timeout=WAIT)
    assert account.get().get(timeout=WAIT) == 0


def test_two_living_actors_cannot_write_one_history(system: us.ActorSystem) -> None:
    first = spawn(system)
    with pytest.raises(us.StartFailed) as caught:
        spawn(system)
    assert isinstance(caught.value.cause, us.PersistenceIdInUse)
    assert caught.value.cause.owner == first
    first.stop()
    assert spawn(system).proxy().get().get(timeout=WAIT) == 0


def test_an_incarnation_that_was_replaced_may_not_persist(system: us.ActorSystem) -> None:
    old: list[Any] = []

    class Leaks(Account):
        def leak(self) -> None:
            old.append(self)

    ref = spawn(system, Leaks)
    ref.proxy().leak().get(timeout=WAIT)
    with pytest.raises(RuntimeError):
        ref.proxy().deposit_then_fail(1).get(timeout=WAIT)
    ref.proxy().get().get(timeout=WAIT)
    with pytest.raises(us.UnderstudyError, match="replaced"):
        old[0].persist(Deposited(1))
    assert system.journal.last_seq("account:ada") == 0


def test_the_journal_refuses_an_old_epoch(system: us.ActorSystem) -> None:
    spawn(system).proxy().deposit(1).get(timeout=WAIT)
    with pytest.raises(us.StaleEpoch):
        system.journal.append("account:ada", [us.NewEvent("late")], epoch=1)


def test_a_persistent_actor_needs_a_history_and_a_journal(system: us.ActorSystem) -> None:
    with pytest.raises(us.StartFailed, match="persistence_id="):
        system.spawn(Account)


def test_an_actor_says_whether_it_recovers_and_may_persist_once_it_has(
    open_system: Callable[..., us.ActorSystem], system: us.ActorSystem
) -> None:
    class Tells(Account):
        def __init__(self) -> None:
            super().__init__()
            self.while_applying: list[bool] = []

        def apply(self, event: Any) -> None:
            super().apply(event)
            self.while_applying.append(self.recovering)

        def on_recovered(self) -> None:
            if self.last_seq == 0:
                self.persist(Deposited(100))

        def told(self) -> list[bool]:
            return self.while_applying

    ref = spawn(system, Tells)
    assert ref.proxy().deposit(1).get(timeout=WAIT) == 101
    assert ref.proxy().told().get(timeout=WAIT) == [False, False]
    ref.stop()
    again = spawn(system, Tells).proxy()
    assert again.told().get(timeout=WAIT) == [True, True]
    assert again.get().get(timeout=WAIT) == 101


def test_apply_may_not_write(system: us.ActorSystem) -> None:
    class Wrong(Account):
        def apply(self, event: Any) -> None:
            if self.recovering:
                self.persist(event)

    ref = spawn(system, Wrong)
    ref.proxy().deposit(1).get(timeout=WAIT)
    ref.stop()
    with pytest.raises(us.StartFailed, match="apply\\(\\) only changes the state"):
        spawn(system, Wrong)


def test_a_history_of_many_batches_replays_in_full(system: us.ActorSystem) -> None:
    for _ in range(3):
        system.journal.append(
            "account:ada",
            [us.NewEvent("tests.account.deposited", {"amount": 1}) for _ in range(1000)],
        )
    assert spawn(system).proxy().get().get(timeout=WAIT) == 3000


def test_snapshots_are_saved_in_the_background_and_shorten_recovery(
    system: us.ActorSystem,
) -> None:
    ref = spawn(system, SnapshotAccount)
    for _ in range(25):
        ref.proxy().deposit(1).get(timeout=WAIT)
    ref.stop()
    system.journal.write(Write())
    snapshot = system.journal.load_snapshot("account:ada")
    assert snapshot.seq == 20
    system.journal.truncate("account:ada", 15)
    again = spawn(system, SnapshotAccount).proxy()
    assert again.get().get(timeout=WAIT) == 25
    assert again.position().get(timeout=WAIT) == 25


def test_a_snapshot_that_cannot_be_read_falls_back_to_the_one_before_and_says_so(
    system: us.ActorSystem, caplog: pytest.LogCaptureFixture
) -> None:
    ref = spawn(system, SnapshotAccount)
    for _ in range(25):
        ref.proxy().deposit(1).get(timeout=WAIT)
    ref.stop()
    system.journal.save_snapshot("account:ada", 22, {"nonsense": True})
    again = spawn(system, SnapshotAccount)
    assert again.proxy().get().get(timeout=WAIT) == 25
    assert "snapshot 22 of account:ada cannot be read" in caplog.text


def test_without_a_readable_snapshot_the_full_history_is_replayed(system: us.ActorSystem) -> None:
    ref = spawn(system, SnapshotAccount)
    for _ in range(5):
        ref.proxy().deposit(1).get(timeout=WAIT)
    ref.stop()
    system.journal.save_snapshot("account:ada", 3, None)
    assert spawn(system, SnapshotAccount).proxy().get().get(timeout=WAIT) == 5


def test_truncated_events_without_a_snapshot_stop_recovery(system: us.ActorSystem) -> None:
    ref = spawn(system)
    for _ in range(5):
        ref.proxy().deposit(1).get(timeout=WAIT)
    ref.stop()
    system.journal.truncate("account:ada", 3)
    with pytest.raises(us.StartFailed) as caught:
        spawn(system)
    assert isinstance(caught.value.cause, us.RecoveryFailed)
    assert "goes on at 3 where 1 should come" in str(caught.value.cause)


@pytest.mark.conformance(134)
def test_an_event_that_cannot_be_applied_stops_recovery_and_names_itself(
    system: us.ActorSystem,
) -> None:
    system.journal.append(
        "account:ada",
        [
            us.NewEvent("tests.account.deposited", {"amount": 1}),
            us.NewEvent("tests.account.deposited", {"amount": "many"}),
        ],
    )
    with pytest.raises(us.StartFailed) as caught:
        spawn(system)
    cause = caught.value.cause
    assert isinstance(cause, us.RecoveryFailed)
    assert (cause.persistence_id, cause.seq, cause.event_type) == (
        "account:ada",
        2,
        "tests.account.deposited",
    )


@pytest.mark.conformance(135)
def test_messages_that_come_during_recovery_wait_in_order(system: us.ActorSystem) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Account):
        def apply(self, event: Any) -> None:
            if self.recovering:
                entered.set()
                assert go_on.wait(WAIT)
            super().apply(event)

    ref = spawn(system, Slow)
    ref.proxy().deposit(1).get(timeout=WAIT)
    with pytest.raises(RuntimeError):
        ref.proxy().deposit_then_fail(50).get(timeout=WAIT)
    assert entered.wait(WAIT)
    futures = [ref.proxy().deposit(n) for n in (1, 2, 3)]
    go_on.set()
    assert [f.get(timeout=WAIT) for f in futures] == [2, 4, 7]


def test_a_hundred_actors_recover_side_by_side(system: us.ActorSystem) -> None:
    for n in range(100):
        system.journal.append(
            f"account:{n}", [us.NewEvent("tests.account.deposited", {"amount": n})]
        )
    refs = [spawn(system, pid=f"account:{n}") for n in range(100)]
    assert [r.proxy().get().get(timeout=WAIT) for r in refs] == list(range(100))


@pytest.mark.conformance(134)
def test_a_recovery_that_fails_at_a_restart_ends_the_actor_without_a_hot_loop(
    system: us.ActorSystem,
) -> None:
    starts: list[int] = []

    class Counts(Account):
        def __init__(self) -> None:
            super().__init__()
            starts.append(1)

    ended: queue.Queue[us.ActorStopped] = queue.Queue()
    ref = spawn(system, Counts)
    ref.proxy().deposit(1).get(timeout=WAIT)
    system.events.subscribe(
        lambda event: ended.put(event) if event.ref == ref else None, us.ActorStopped
    )
    system.journal.append("account:ada", [us.NewEvent("tests.account.deposited", {"amount": []})])
    with pytest.raises(RuntimeError):
        ref.proxy().deposit_then_fail(1).get(timeout=WAIT)
    cause = ended.get(timeout=WAIT).reason.cause
    assert isinstance(cause, us.RecoveryFailed)
    assert cause.seq == 2
    assert not ref.is_alive()
    assert len(starts) == 2


@pytest.mark.conformance(134)
@pytest.mark.parametrize("strategy", [us.OneForOne, us.OneForAll])
def test_a_supervisor_goes_on_without_the_child_whose_history_cannot_be_read(
    system: us.ActorSystem, strategy: type[us.OneForOne | us.OneForAll]
) -> None:
    down = threading.Event()

    class Bank(us.Supervisor):
        def children(self) -> list[us.ChildSpec]:
            return [
                us.ChildSpec("ada", Account, persistence_id="account:ada"),
                us.ChildSpec("bob", Account, persistence_id="account:bob"),
            ]

    Bank.strategy = strategy(intensity=1, period=60.0)
    admin = system.spawn(Bank, name="bank").proxy()
    ada = system.lookup("/user/bank/ada")
    assert ada is not None
    ada.proxy().deposit(1).get(timeout=WAIT)
    system.events.subscribe(lambda event: down.set() if event.ref == ada else None, us.ActorStopped)
    system.journal.append("account:ada", [us.NewEvent("tests.account.deposited", {"amount": []})])
    with pytest.raises(RuntimeError):
        ada.proxy().deposit_then_fail(1).get(timeout=WAIT)
    assert down.wait(WAIT)
    states = {c.id: c.state for c in admin.which_children().get(timeout=WAIT)}
    assert states["ada"] is us.ChildState.STOPPED
    understudy.testing.settle(system, timeout=WAIT)
    bob = system.lookup("/user/bank/bob")
    assert bob is not None
    assert bob.proxy().deposit(2).get(timeout=WAIT) == 2


@pytest.mark.conformance(137)
def test_a_restart_that_overtakes_a_replay_applies_no_event_twice(system: us.ActorSystem) -> None:
    entered, go_on = threading.Event(), threading.Event()
    instances: list[Any] = []

    class Slow(Account):
        def __init__(self) -> None:
            super().__init__()
            instances.append(self)

        def apply(self, event: Any) -> None:
            if self.recovering and len(instances) == 2:
                entered.set()
                assert go_on.wait(WAIT)
            super().apply(event)

    ref = spawn(system, Slow)
    for _ in range(3):
        ref.proxy().deposit(1).get(timeout=WAIT)
    with pytest.raises(RuntimeError):
        ref.proxy().deposit_then_fail(50).get(timeout=WAIT)
    assert entered.wait(WAIT)
    # the replay hangs: it is fenced, as the failure detector does it, and a new one begins
    ref._us_fence()
    ref._us_begin()
    assert ref.proxy().get().get(timeout=WAIT) == 3
    go_on.set()
    assert ref.proxy().deposit(1).get(timeout=WAIT) == 4
    assert len(instances) == 3
    assert system.journal.last_seq("account:ada") == 4


@pytest.mark.conformance(138)
def test_recoveries_at_the_same_time_are_bounded(
    open_system: Callable[..., us.ActorSystem], data_dir: Path | None
) -> None:
    config = us.Config(persistence=us.PersistenceConfig(concurrent_recoveries=3))
    system = open_system(config=config, data_dir=data_dir)
    lock = threading.Lock()
    now, most = 0, 0

    class Counts(Account):
        def apply(self, event: Any) -> None:
            nonlocal now, most
            if self.recovering:
                with lock:
                    now += 1
                    most = max(most, now)
                barrier.wait()
                with lock:
                    now -= 1
            super().apply(event)

    barrier = threading.Barrier(3, timeout=WAIT)
    for n in range(12):
        system.journal.append(
            f"account:{n}", [us.NewEvent("tests.account.deposited", {"amount": 1})]
        )
    threads = [
        threading.Thread(target=spawn, args=(system, Counts, f"account:{n}")) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert most == 3


def test_what_a_subclass_forgot_is_named(system: us.ActorSystem) -> None:
    class NoApply(us.PersistentActor):
        def go(self) -> None:
            self.persist(Deposited(1))

    class NoSnapshot(Account):
        snapshot_every = 5

    with pytest.raises(NotImplementedError, match="NoApply needs apply"):
        spawn(system, NoApply).proxy().go().get(timeout=WAIT)
    with pytest.raises(us.StartFailed, match="snapshot_every needs snapshot"):
        spawn(system, NoSnapshot, "account:bob")


def test_a_deferred_call_with_nothing_to_wait_for_runs_as_the_next_turn(
    system: us.ActorSystem,
) -> None:
    class Defers(Account):
        def go(self) -> None:
            self.then(self.later)

        def later(self) -> None:
            self.balance = 99

    account = spawn(system, Defers).proxy()
    account.go().get(timeout=WAIT)
    assert account.get().get(timeout=WAIT) == 99


def test_coroutine_handlers_persist_as_well(system: us.ActorSystem) -> None:
    import asyncio

    class Async(Account):
        async def slow_deposit(self, amount: int) -> int:
            await asyncio.sleep(0)
            self.persist(Deposited(amount))
            await asyncio.sleep(0)
            return self.balance

        async def on_receive(self, message: Any) -> Any:
            return await self.slow_deposit(message)

    ref = spawn(system, Async)
    assert ref.proxy().slow_deposit(2).get(timeout=WAIT) == 2
    assert ref.ask(3, timeout=WAIT) == 5
    assert system.journal.last_seq("account:ada") == 2


def test_many_actors_share_commits_and_each_reply_is_safe(system: us.ActorSystem) -> None:
    refs = [spawn(system, pid=f"account:{n}") for n in range(50)]
    futures = [(n, ref.proxy().deposit(1)) for _ in range(20) for n, ref in enumerate(refs)]
    for _, future in futures:
        future.get(timeout=WAIT)
    assert {system.journal.last_seq(f"account:{n}") for n in range(50)} == {20}
