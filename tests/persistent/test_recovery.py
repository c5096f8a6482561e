"""What a recovery does where the store is silent, or its stream was deleted."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import understudy as us
from tests.persistent.conftest import WAIT, Account, SnapshotAccount
from understudy.actors._recovery import decode_state, encode_state, recover
from understudy.storage import EventRegistry, registry
from understudy.testing import ManualClock


def deposits(*amounts: Any) -> list[us.NewEvent]:
    return [us.NewEvent("tests.account.deposited", {"amount": amount}) for amount in amounts]


class Store:
    """The journal of a system, which can be made slow or silent in its reads."""

    def __init__(self, system: us.ActorSystem) -> None:
        self.reads = 0
        self.before: Callable[[int], object] = lambda n: None
        real = system.journal.read

        def read(*args: Any, **options: Any) -> Any:
            self.reads += 1
            self.before(self.reads)
            return real(*args, **options)

        vars(system.journal)["read"] = read


class Attempt:
    """A spawn on a thread of its own."""

    def __init__(self, system: us.ActorSystem, cls: Any = Account) -> None:
        self._outcome: queue.Queue[Any] = queue.Queue()

        def run() -> None:
            try:
                self._outcome.put(system.spawn(cls, persistence_id="account:ada"))
            except us.StartFailed as error:
                self._outcome.put(error)

        threading.Thread(target=run, daemon=True).start()

    def outcome(self) -> Any:
        return self._outcome.get(timeout=WAIT)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def small(open_system: Callable[..., us.ActorSystem], clock: ManualClock) -> us.ActorSystem:
    """A system that reads two events at a time."""
    config = us.Config(
        persistence=us.PersistenceConfig(replay_batch=2),
        detector=us.DetectorConfig(enabled=False),
    )
    system = open_system(clock=clock, config=config)
    system.journal.append("account:ada", deposits(1, 2, 3, 4, 5))
    return system


@pytest.mark.conformance(136)
def test_a_store_that_goes_silent_in_a_replay_fails_the_recovery(
    small: us.ActorSystem, clock: ManualClock
) -> None:
    silent, speak = threading.Event(), threading.Event()
    store = Store(small)

    def go_silent(n: int) -> None:
        if n == 2:
            silent.set()
            assert speak.wait(WAIT)

    store.before = go_silent
    attempt = Attempt(small)
    assert silent.wait(WAIT)
    clock.advance(30.0)
    error = attempt.outcome()
    speak.set()
    assert isinstance(error, us.StartFailed)
    failed = error.cause
    assert isinstance(failed, us.RecoveryFailed)
    assert (failed.persistence_id, failed.seq, failed.event_type) == ("account:ada", 2, None)
    assert isinstance(failed.cause, us.StoreSilent)
    assert failed.cause.timeout == 30.0
    assert "after seq 2" in str(failed)
    assert not failed.us_permanent
    # the store speaks again: so does the actor
    assert Attempt(small).outcome().proxy().get().get(timeout=WAIT) == 15


@pytest.mark.conformance(136)
def test_a_replay_may_take_longer_than_a_silence(small: us.ActorSystem, clock: ManualClock) -> None:
    store = Store(small)
    store.before = lambda n: clock.advance(25.0)
    began = clock.monotonic()
    assert Attempt(small).outcome().proxy().get().get(timeout=WAIT) == 15
    assert store.reads == 3
    assert clock.monotonic() - began == 75.0


@pytest.mark.conformance(136)
def test_a_recovery_that_met_silence_at_a_restart_is_tried_again(
    small: us.ActorSystem, clock: ManualClock
) -> None:
    ref = Attempt(small).outcome()
    silent, speak = threading.Event(), threading.Event()
    store = Store(small)

    def go_silent(n: int) -> None:
        if n == 1:
            silent.set()
            assert speak.wait(WAIT)

    store.before = go_silent
    with pytest.raises(RuntimeError):
        ref.proxy().deposit_then_fail(50).get(timeout=WAIT)
    assert silent.wait(WAIT)
    asked = ref.proxy().get()
    clock.advance(30.0)
    assert asked.get(timeout=WAIT) == 15
    speak.set()


def test_an_error_of_the_store_is_the_cause_of_the_failed_start(small: us.ActorSystem) -> None:
    store = Store(small)

    def fail(n: int) -> None:
        raise OSError("the disk is gone")

    store.before = fail
    error = Attempt(small).outcome()
    assert isinstance(error.cause, OSError)


def test_the_thread_beside_a_recovery_ends_with_it(small: us.ActorSystem) -> None:
    threads: list[threading.Thread] = []
    store = Store(small)
    store.before = lambda n: threads.append(threading.current_thread())
    Attempt(small).outcome()
    assert len(set(threads)) == 1
    threads[0].join(WAIT)
    assert not threads[0].is_alive()


def test_a_history_deleted_and_written_again_begins_after_the_deletion(
    system: us.ActorSystem,
) -> None:
    journal = system.journal
    journal.append("account:ada", deposits(1, 2, 3))
    journal.delete("account:ada")
    journal.append("account:ada", deposits(10, 20))
    ref: Any = system.spawn(Account, persistence_id="account:ada")
    assert ref.proxy().get().get(timeout=WAIT) == 30
    assert ref.proxy().position().get(timeout=WAIT) == 5
    assert ref.proxy().deposit(1).get(timeout=WAIT) == 31
    assert journal.last_seq("account:ada") == 6
    recovered = us.replay(Account, journal, "account:ada")._us_recovered
    assert recovered is not None
    assert (recovered.last_seq, recovered.snapshot_seq, recovered.events) == (6, 0, 3)


def test_a_history_that_was_deleted_begins_empty_and_its_numbers_go_on(
    system: us.ActorSystem,
) -> None:
    system.journal.append("account:ada", deposits(1, 2, 3))
    system.journal.delete("account:ada")
    ref: Any = system.spawn(Account, persistence_id="account:ada")
    assert ref.proxy().get().get(timeout=WAIT) == 0
    assert ref.proxy().deposit(7).get(timeout=WAIT) == 7
    assert system.journal.last_seq("account:ada") == 4
    with pytest.raises(RuntimeError):
        ref.proxy().deposit_then_fail(1).get(timeout=WAIT)
    assert ref.proxy().get().get(timeout=WAIT) == 7


def test_a_snapshot_of_the_time_before_a_deletion_is_passed_over(system: us.ActorSystem) -> None:
    journal = system.journal
    journal.append("account:ada", deposits(1, 2, 3))
    journal.delete("account:ada")
    journal.save_snapshot("account:ada", 3, 6)
    journal.append("account:ada", deposits(10))
    account = us.replay(SnapshotAccount, journal, "account:ada")
    assert account.balance == 10


def test_events_truncated_after_a_deletion_are_missed(system: us.ActorSystem) -> None:
    journal = system.journal
    journal.append("account:ada", deposits(1, 2, 3))
    journal.delete("account:ada")
    journal.append("account:ada", deposits(10, 20))
    journal.truncate("account:ada", 5)
    with pytest.raises(us.RecoveryFailed) as caught:
        us.replay(Account, journal, "account:ada")
    missing = caught.value.cause
    assert isinstance(missing, us.MissingEvents)
    assert (missing.expected, missing.found) == (4, 5)


def test_a_history_deleted_and_written_again_can_be_forked(system: us.ActorSystem) -> None:
    journal = system.journal
    journal.append("account:ada", deposits(1, 2, 3))
    journal.delete("account:ada")
    journal.append("account:ada", deposits(10, 20))
    assert us.fork(journal, "account:ada", "account:eve") == 2
    assert us.replay(Account, journal, "account:eve").balance == 30


# --- what a history may look like ---------------------------------------------------------------


class Counter:
    """Something a history is folded into."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def apply(self, event: Any) -> None:
        self.seen.append(event.amount)

    def restore(self, state: Any) -> None:
        self.seen = list(state)


@pytest.fixture
def journal() -> Iterator[us.Journal]:
    with us.Journal.in_memory() as journal:
        journal.append("account:ada", deposits(1, 2, 3))
        yield journal


def test_the_newest_events_may_not_be_missing_behind_a_snapshot(journal: us.Journal) -> None:
    journal.save_snapshot("account:ada", 1, [1])
    journal.truncate("account:ada", 4)
    with pytest.raises(us.RecoveryFailed) as caught:
        recover(Counter(), "account:ada", journal, registry)
    missing = caught.value.cause
    assert isinstance(missing, us.MissingEvents)
    assert (missing.persistence_id, missing.expected, missing.found) == ("account:ada", 2, 4)
    assert caught.value.seq == 3
    assert caught.value.us_permanent


def test_a_history_truncated_whole_goes_on_with_its_numbers(journal: us.Journal) -> None:
    journal.truncate("account:ada", 4)
    target = Counter()
    recovered = recover(target, "account:ada", journal, registry)
    assert (target.seen, recovered.last_seq, recovered.events) == ([], 3, 0)


class Damaged:
    """A journal whose snapshots raise."""

    def __init__(self, journal: us.Journal, error: Exception) -> None:
        self._journal = journal
        self._error = error
        self.asked: list[int | None] = []

    def load_snapshot(self, stream: str, max_seq: int | None = None) -> Any:
        self.asked.append(max_seq)
        if len(self.asked) == 1:
            raise self._error
        return self._journal.load_snapshot(stream, max_seq=max_seq)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def test_a_damaged_snapshot_is_passed_over_and_named(journal: us.Journal) -> None:
    journal.save_snapshot("account:ada", 1, [100])
    damaged = Damaged(journal, us.CorruptRecord("account:ada", 2, 7, "its checksum does not fit"))
    target = Counter()
    recovered = recover(target, "account:ada", damaged, registry)  # type: ignore[arg-type]
    assert damaged.asked == [None, 1]
    assert target.seen == [100, 2, 3]
    assert recovered.snapshot_seq == 1
    [(seq, reason)] = recovered.skipped_snapshots
    assert seq == 2
    assert "checksum" in reason


@pytest.mark.parametrize(
    "error",
    [us.StorageFull("here", "no room"), us.CorruptRecord(None, None, 7, "nobody knows where")],
    ids=["no damage", "damage nowhere"],
)
def test_an_error_that_is_no_damage_of_one_snapshot_stops_the_recovery(
    journal: us.Journal, error: Exception
) -> None:
    with pytest.raises(type(error)):
        recover(Counter(), "account:ada", Damaged(journal, error), registry)  # type: ignore[arg-type]


def test_a_state_that_its_upcasters_split_is_no_state() -> None:
    events = EventRegistry()

    @events.event("tests.split.state", version=2)
    @dataclasses.dataclass(frozen=True)
    class State:
        n: int

    events.upcaster("tests.split.state", from_version=1)(lambda data: [data, data])
    stored = encode_state(events, State(1))
    assert decode_state(events, stored) == State(1)
    [(name, version, payload)] = stored.values()
    older = dict.fromkeys(stored, [name, version - 1, payload])
    with pytest.raises(us.EventDecodeError, match="became 2"):
        decode_state(events, older)
