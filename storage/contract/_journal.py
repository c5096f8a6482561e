"""The tests of a journal store: order, ranges, filters, repeats, fences, deletion, restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from understudy.storage._errors import (
    BadEvent,
    DuplicateEvent,
    StaleEpoch,
    StorageError,
    StreamTombstoned,
    WrongExpectedSeq,
)
from understudy.storage._protocols import JournalStore
from understudy.storage._record import NewEvent, Record
from understudy.storage.contract._base import ContractBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from understudy.storage.contract._base import ContractClock

THREADS, BATCHES = 6, 8


def numbered(count: int, start: int = 1) -> list[NewEvent]:
    """Events whose payload is the seq they should get."""
    return [NewEvent("counted", {"n": n}) for n in range(start, start + count)]


def numbers(records: Iterable[Record]) -> list[int]:
    """The payload numbers of events made by `numbered`."""
    return [record.payload["n"] for record in records]


def told(record: Record) -> tuple[Any, ...]:
    """What an event says, its global position left out."""
    return (
        record.stream,
        record.seq,
        record.type,
        record.version,
        record.timestamp,
        record.id,
        record.payload,
        record.metadata,
        record.priority,
        tuple(record.topics),
    )


class JournalContract(ContractBase):
    """Needs the store's `journal`, a `JournalStore`."""

    @pytest.fixture
    def journal(self, adapter: Any) -> JournalStore:
        """The journal of the store under test."""
        journal: JournalStore = adapter.journal
        return journal

    @pytest.fixture
    def ten(self, journal: JournalStore) -> JournalStore:
        """A journal with a stream "s" of ten events, and two others around it."""
        journal.append("before", numbered(3))
        journal.append("s", numbered(5))
        journal.append("beside", numbered(3))
        journal.append("s", numbered(5, 6))
        return journal

    # --- appending ----------------------------------------------------------------------

    def test_the_journal_has_the_shape_of_a_journal_store(self, journal: JournalStore) -> None:
        assert isinstance(journal, JournalStore)

    def test_seqs_are_dense_in_a_stream_and_positions_are_dense_over_all(
        self, journal: JournalStore
    ) -> None:
        first = journal.append("a", numbered(2))
        other = journal.append("b", numbered(1))
        second = journal.append("a", numbered(3, 3))
        assert (first.first_seq, first.last_seq, first.position) == (1, 2, 2)
        assert (other.first_seq, other.last_seq, other.position) == (1, 1, 3)
        assert (second.first_seq, second.last_seq, second.position) == (3, 5, 6)
        assert [(r.stream, r.seq) for r in journal.read_all()] == [
            ("a", 1), ("a", 2), ("b", 1), ("a", 3), ("a", 4), ("a", 5),
        ]  # fmt: skip
        assert [r.position for r in journal.read_all()] == [1, 2, 3, 4, 5, 6]
        assert journal.last_position() == 6

    def test_an_event_comes_back_with_all_its_fields(
        self, journal: JournalStore, clock: ContractClock
    ) -> None:
        payload = {"text": "naïve 🎭", "bytes": b"\x00", "when": datetime(2026, 1, 2, tzinfo=UTC)}
        journal.append(
            "s",
            [
                NewEvent(
                    "step.failed",
                    payload,
                    id="e-1",
                    metadata={"trace": "t"},
                    priority="critical",
                    topics=("alpha", "beta"),
                    version=3,
                )
            ],
        )
        (record,) = journal.read("s")
        assert (record.type, record.version, record.id) == ("step.failed", 3, "e-1")
        assert record.payload == payload
        assert record.metadata == {"trace": "t"}
        assert record.priority == "critical"
        assert tuple(record.topics) == ("alpha", "beta")
        assert record.timestamp == datetime.fromtimestamp(clock(), UTC)

    def test_an_event_without_an_id_gets_one(self, journal: JournalStore) -> None:
        journal.append("s", numbered(3))
        assert len({record.id for record in journal.read("s")}) == 3

    def test_expected_seq_zero_means_no_stream_yet(self, journal: JournalStore) -> None:
        journal.append("s", numbered(1), expected_seq=0)
        with pytest.raises(WrongExpectedSeq) as error:
            journal.append("s", numbered(1), expected_seq=0)
        assert (error.value.stream, error.value.expected, error.value.actual) == ("s", 0, 1)

    def test_a_wrong_expectation_writes_nothing(self, ten: JournalStore) -> None:
        with pytest.raises(WrongExpectedSeq):
            ten.append("s", numbered(2), expected_seq=9)
        with pytest.raises(WrongExpectedSeq):
            ten.append("s", numbered(2), expected_seq=11)
        assert ten.last_seq("s") == 10
        assert ten.append("s", numbered(1, 11), expected_seq=10).last_seq == 11

    def test_an_empty_batch_is_refused(self, journal: JournalStore) -> None:
        with pytest.raises((ValueError, StorageError)):
            journal.append("s", [])

    def test_a_batch_with_an_event_that_cannot_be_stored_is_refused_whole(
        self, journal: JournalStore
    ) -> None:
        with pytest.raises(BadEvent) as error:
            journal.append("s", [NewEvent("a", 1), NewEvent("b", object()), NewEvent("c", 3)])
        assert (error.value.stream, error.value.index) == ("s", 1)
        assert journal.last_seq("s") == 0
        assert journal.streams() == []
        assert journal.append("s", [NewEvent("a", 1)]).last_seq == 1

    @pytest.mark.parametrize(
        "event",
        [
            NewEvent("", 1),
            NewEvent(7, 1),  # type: ignore[arg-type] # the point
            NewEvent("a", 1, priority="high"),  # type: ignore[arg-type] # the point
            NewEvent("a", 1, topics="one text"),
            NewEvent("a", 1, version=0),
            NewEvent("a", {"n": 2**70}),
            NewEvent("a", 1, metadata={"x": object()}),
        ],
    )
    def test_an_event_that_makes_no_sense_is_refused_and_named(
        self, journal: JournalStore, event: NewEvent
    ) -> None:
        with pytest.raises(BadEvent) as error:
            journal.append("s", [NewEvent("good", 1), event])
        assert (error.value.stream, error.value.index) == ("s", 1)
        assert journal.last_seq("s") == 0

    def test_a_batch_with_the_same_id_twice_is_refused(self, journal: JournalStore) -> None:
        with pytest.raises(StorageError):
            journal.append("s", [NewEvent("a", 1, id="i"), NewEvent("b", 2, id="i")])
        assert journal.last_seq("s") == 0

    def test_an_empty_name_of_a_stream_is_refused(self, journal: JournalStore) -> None:
        with pytest.raises((ValueError, StorageError)):
            journal.append("", [NewEvent("a", 1)])

    def test_a_limit_below_nothing_is_refused(self, ten: JournalStore) -> None:
        with pytest.raises(ValueError, match="limit"):
            list(ten.read("s", limit=-1))

    # --- repeats ------------------------------------------------------------------------

    def test_a_repeat_of_known_ids_succeeds_without_a_write(self, journal: JournalStore) -> None:
        batch = [NewEvent("a", 1, id="i1"), NewEvent("b", 2, id="i2")]
        first = journal.append("s", batch, expected_seq=0)
        journal.append("s", [NewEvent("c", 3, id="i3")])
        again = journal.append("s", batch)
        same_place = journal.append("s", batch, expected_seq=0)
        for repeat in (again, same_place):
            assert (repeat.first_seq, repeat.last_seq, repeat.position) == (
                first.first_seq,
                first.last_seq,
                first.position,
            )
        assert journal.last_seq("s") == 3

    def test_a_batch_that_agrees_only_in_part_is_refused(self, journal: JournalStore) -> None:
        journal.append("s", [NewEvent("a", 1, id="i1"), NewEvent("b", 2, id="i2")])
        with pytest.raises(DuplicateEvent):
            journal.append("s", [NewEvent("b", 2, id="i2"), NewEvent("c", 3, id="i3")])
        assert journal.last_seq("s") == 2

    def test_a_repeat_at_another_place_than_expected_is_refused(
        self, journal: JournalStore
    ) -> None:
        journal.append("s", [NewEvent("a", 1, id="i1"), NewEvent("b", 2, id="i2")])
        with pytest.raises(StorageError):
            journal.append("s", [NewEvent("b", 2, id="i2")], expected_seq=2)
        assert journal.last_seq("s") == 2

    def test_ids_are_unique_in_a_stream_not_over_all(self, journal: JournalStore) -> None:
        journal.append("a", [NewEvent("x", 1, id="same")])
        journal.append("b", [NewEvent("x", 1, id="same")])
        assert (journal.last_seq("a"), journal.last_seq("b")) == (1, 1)

    def test_ids_are_known_after_a_restart(
        self, journal: JournalStore, restart: Callable[[], Any]
    ) -> None:
        batch = [NewEvent("a", 1, id="i1")]
        journal.append("s", batch)
        again: JournalStore = restart().journal
        assert again.append("s", batch).last_seq == 1
        assert again.last_seq("s") == 1

    # --- fences -------------------------------------------------------------------------

    def test_a_writer_of_an_earlier_epoch_is_refused(
        self, journal: JournalStore, restart: Callable[[], Any]
    ) -> None:
        journal.append("s", numbered(1), epoch=2)
        with pytest.raises(StaleEpoch) as error:
            journal.append("s", numbered(1, 2), epoch=1)
        assert (error.value.epoch, error.value.current) == (1, 2)
        journal.append("s", numbered(1, 2), epoch=2)
        journal.append("s", numbered(1, 3))
        again: JournalStore = restart().journal
        with pytest.raises(StaleEpoch):
            again.append("s", numbered(1, 4), epoch=1)
        assert again.last_seq("s") == 3

    # --- reading a stream ---------------------------------------------------------------

    def test_a_stream_is_read_whole_and_in_order(self, ten: JournalStore) -> None:
        records = list(ten.read("s"))
        assert numbers(records) == list(range(1, 11))
        assert [record.seq for record in records] == list(range(1, 11))

    def test_an_unknown_stream_has_no_events(self, ten: JournalStore) -> None:
        assert list(ten.read("nobody")) == []
        assert ten.last_seq("nobody") == 0

    @pytest.mark.parametrize(
        ("bounds", "expected"),
        [
            ({"after": 7}, [8, 9, 10]),
            ({"until_seq": 3}, [1, 2, 3]),
            ({"limit": 2}, [1, 2]),
            ({"after": 3, "until_seq": 6}, [4, 5, 6]),
            ({"after": 3, "until_seq": 9, "limit": 2}, [4, 5]),
            ({"after": 4, "until_seq": 5}, [5]),
            ({"limit": 1}, [1]),
            ({"limit": 0}, []),
            ({"after": 6, "until_seq": 5}, []),
            ({"after": 10}, []),
            ({"after": 99}, []),
            ({"until_seq": 99, "after": 8}, [9, 10]),
            ({"reverse": True}, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
            ({"reverse": True, "limit": 2}, [10, 9]),
            ({"reverse": True, "after": 3, "until_seq": 6}, [6, 5, 4]),
        ],
    )
    def test_bounds_and_limits_cut_a_stream(
        self, ten: JournalStore, bounds: dict[str, Any], expected: list[int]
    ) -> None:
        assert numbers(ten.read("s", **bounds)) == expected

    def test_a_long_stream_is_read_across_its_pages(self, journal: JournalStore) -> None:
        for start in range(1, 2501, 500):
            journal.append("long", numbered(500, start))
        assert numbers(journal.read("long")) == list(range(1, 2501))
        assert numbers(journal.read("long", reverse=True)) == list(range(2500, 0, -1))
        assert numbers(journal.read("long", after=1200, limit=1100)) == list(range(1201, 2301))

    def test_readers_filter_by_type_topic_and_priority(self, journal: JournalStore) -> None:
        journal.append(
            "s",
            [
                NewEvent("a", 1, topics=["x"]),
                NewEvent("b", 2, topics=["y"], priority="critical"),
                NewEvent("a", 3, topics=["x", "y"], priority="critical"),
                NewEvent("c", 4),
            ],
        )
        journal.append("t", [NewEvent("a", 5, topics=["y"])])

        def payloads(records: Iterable[Record]) -> list[int]:
            return [record.payload for record in records]

        assert payloads(journal.read("s", types=["a"])) == [1, 3]
        assert payloads(journal.read("s", types=["a", "c"], limit=2)) == [1, 3]
        assert payloads(journal.read("s", types=["a", "c"], reverse=True, limit=2)) == [4, 3]
        assert payloads(journal.read("s", types="a")) == [1, 3]
        assert payloads(journal.read("s", types=[])) == []
        assert payloads(journal.read("s", topics=["y"])) == [2, 3]
        assert payloads(journal.read("s", topics=["y"], limit=1)) == [2]
        assert payloads(journal.read("s", priority="critical")) == [2, 3]
        assert payloads(journal.read("s", priority="critical", types=["a"])) == [3]
        assert payloads(journal.read_all(types=["a"])) == [1, 3, 5]
        assert payloads(journal.read_all(topics=["y"], after=2)) == [3, 5]
        assert payloads(journal.read_all(topics=["y"], reverse=True, limit=1)) == [5]

    def test_readers_filter_by_time(self, journal: JournalStore, clock: ContractClock) -> None:
        start = datetime.fromtimestamp(clock(), UTC)
        for number in range(1, 6):
            journal.append("s", numbered(1, number))
            clock.advance(60)
        minute = timedelta(minutes=1)
        assert numbers(journal.read("s", since=start + 2 * minute)) == [3, 4, 5]
        assert numbers(journal.read("s", until=start + 2 * minute)) == [1, 2]
        window = numbers(journal.read_all(since=start + minute, until=start + 3 * minute))
        assert window == [2, 3]
        with pytest.raises(ValueError, match="time zone"):
            list(journal.read("s", since=datetime(2026, 1, 1)))  # noqa: DTZ001 - the point

    def test_readers_filter_by_time_between_batches(
        self, journal: JournalStore, clock: ContractClock
    ) -> None:
        start = datetime.fromtimestamp(clock(), UTC)
        for first in (1, 4, 7):
            journal.append("s", numbered(3, first))
            clock.advance(60)
        second = start + timedelta(minutes=1)
        third = start + timedelta(minutes=2)
        for read in (journal.read_all, lambda **options: journal.read("s", **options)):
            assert numbers(read(until=second)) == [1, 2, 3]
            assert numbers(read(since=second)) == [4, 5, 6, 7, 8, 9]
            assert numbers(read(since=second, until=third)) == [4, 5, 6]
            assert numbers(read(until=third, reverse=True)) == [6, 5, 4, 3, 2, 1]
            assert numbers(read(since=second, reverse=True, limit=4)) == [9, 8, 7, 6]

    def test_a_reader_that_has_begun_is_not_disturbed_by_writers(self, ten: JournalStore) -> None:
        reader = iter(ten.read("s"))
        first = next(reader)
        ten.append("s", numbered(3, 11))
        assert numbers([first, *reader])[:10] == list(range(1, 11))

    # --- reading everything -------------------------------------------------------------

    def test_all_streams_are_read_in_the_order_of_writing(self, ten: JournalStore) -> None:
        positions = [record.position for record in ten.read_all()]
        assert positions == list(range(1, 17))
        assert [r.position for r in ten.read_all(after=14)] == [15, 16]
        assert [r.position for r in ten.read_all(limit=2)] == [1, 2]
        assert [r.position for r in ten.read_all(reverse=True, limit=2)] == [16, 15]

    def test_streams_are_listed_by_name(self, ten: JournalStore) -> None:
        assert ten.streams() == ["before", "beside", "s"]

    # --- deleting -----------------------------------------------------------------------

    def test_truncated_events_are_not_read_and_the_highest_seq_stays(
        self, ten: JournalStore, restart: Callable[[], Any]
    ) -> None:
        assert ten.truncate("s", 4) == 3
        assert numbers(ten.read("s")) == [4, 5, 6, 7, 8, 9, 10]
        assert ten.truncate("s", 4) == 0
        assert ten.last_seq("s") == 10
        ten.truncate("s", 99)
        assert list(ten.read("s")) == []
        assert ten.last_seq("s") == 10
        assert ten.streams() == ["before", "beside"]
        again: JournalStore = restart().journal
        assert again.last_seq("s") == 10
        assert again.append("s", numbered(1, 11), expected_seq=10).first_seq == 11
        assert numbers(again.read("s")) == [11]

    def test_a_deleted_stream_may_be_written_again_and_numbering_goes_on(
        self, ten: JournalStore
    ) -> None:
        assert ten.delete("s") == 10
        assert list(ten.read("s")) == []
        assert [r.stream for r in ten.read_all()] == ["before"] * 3 + ["beside"] * 3
        assert ten.append("s", numbered(1, 11)).first_seq == 11
        assert numbers(ten.read("s")) == [11]

    def test_a_deleted_stream_may_be_begun_anew_also_after_a_restart(
        self, ten: JournalStore, restart: Callable[[], Any]
    ) -> None:
        ten.delete("s")
        again: JournalStore = restart().journal
        assert again.append("s", numbered(1, 11), expected_seq=0).first_seq == 11
        with pytest.raises(WrongExpectedSeq):
            again.append("s", numbered(1, 12), expected_seq=0)
        again.truncate("beside", 99)
        with pytest.raises(WrongExpectedSeq):
            again.append("beside", numbered(1, 4), expected_seq=0)

    def test_a_deleted_stream_has_no_snapshots(self, ten: JournalStore, adapter: Any) -> None:
        snapshots = getattr(adapter, "snapshots", None)
        if snapshots is None:
            pytest.skip("this store has no snapshots")
        snapshots.save_snapshot("s", 10, "state")
        snapshots.save_snapshot("beside", 3, "state")
        ten.delete("s")
        assert snapshots.load_snapshot("s") is None
        assert snapshots.load_snapshot("beside") is not None

    def test_a_tombstone_closes_a_stream_for_ever(
        self, ten: JournalStore, restart: Callable[[], Any]
    ) -> None:
        ten.delete("s", tombstone=True)
        with pytest.raises(StreamTombstoned):
            ten.append("s", numbered(1))
        with pytest.raises(StreamTombstoned):
            ten.delete("s")
        assert ten.delete("s", tombstone=True) == 0
        again: JournalStore = restart().journal
        with pytest.raises(StreamTombstoned):
            again.append("s", numbered(1))
        assert again.last_seq("s") == 10

    def test_deleting_an_unknown_stream_deletes_nothing(self, ten: JournalStore) -> None:
        assert ten.delete("nobody") == 0
        assert ten.truncate("nobody", 5) == 0
        assert len(list(ten.read_all())) == 16

    # --- restart, restore ---------------------------------------------------------------

    def test_events_survive_a_restart(self, ten: JournalStore, restart: Callable[[], Any]) -> None:
        before = [(r.position, told(r)) for r in ten.read_all()]
        again: JournalStore = restart().journal
        assert [(r.position, told(r)) for r in again.read_all()] == before
        assert again.append("s", numbered(1, 11)).position == 17

    def test_restored_events_keep_seq_id_and_time(
        self, journal: JournalStore, clock: ContractClock
    ) -> None:
        then = datetime.fromtimestamp(clock() - 1000, UTC)
        records = [
            Record.of(
                position=50 + n,
                stream="old",
                seq=40 + n,
                type="t",
                timestamp=then + timedelta(seconds=n),
                id=f"id-{n}",
                payload={"n": n},
                metadata={"m": n},
                priority="critical",
                topics=("x",),
                version=2,
            )
            for n in range(1, 6)
        ]
        assert journal.restore(records[:3]) == 3
        assert journal.restore(records) == 2
        assert [told(r) for r in journal.read("old")] == [told(r) for r in records]
        assert journal.append("old", numbered(1, 6), expected_seq=45).first_seq == 46

    def test_a_restore_into_a_stream_that_was_closed_for_ever_is_refused(
        self, ten: JournalStore, clock: ContractClock
    ) -> None:
        ten.delete("s", tombstone=True)
        now = datetime.fromtimestamp(clock(), UTC)
        record = Record.of(position=1, stream="s", seq=11, type="a", timestamp=now, id="i")
        with pytest.raises(StreamTombstoned):
            ten.restore([record])

    def test_a_restore_passes_over_what_was_dropped_here(self, ten: JournalStore) -> None:
        records = list(ten.read("s"))
        ten.truncate("s", 5)
        assert ten.restore(records) == 0
        assert [r.seq for r in ten.read("s")] == [5, 6, 7, 8, 9, 10]

    def test_a_restore_that_contradicts_what_is_there_is_refused(
        self, journal: JournalStore, clock: ContractClock
    ) -> None:
        journal.append("s", [NewEvent("a", 1, id="mine")])

        def other(seq: int) -> Record:
            now = datetime.fromtimestamp(clock(), UTC)
            return Record.of(position=1, stream="s", seq=seq, type="a", timestamp=now, id="other")

        with pytest.raises(WrongExpectedSeq):
            journal.restore([other(1)])
        with pytest.raises(WrongExpectedSeq):
            journal.restore([other(3)])
        assert journal.last_seq("s") == 1

    # --- concurrency --------------------------------------------------------------------

    def test_many_writers_at_once_leave_no_gap_and_no_torn_batch(
        self, journal: JournalStore
    ) -> None:
        def write(thread: int) -> None:
            for batch in range(BATCHES):
                mark = [thread, batch]
                journal.append("shared", [NewEvent("e", [*mark, n]) for n in range(3)])
                journal.append(f"own-{thread}", [NewEvent("e", mark)], expected_seq=batch)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(write, range(THREADS)))
        shared = list(journal.read("shared"))
        assert [r.seq for r in shared] == list(range(1, THREADS * BATCHES * 3 + 1))
        for start in range(0, len(shared), 3):
            batch = [r.payload for r in shared[start : start + 3]]
            assert [payload[:2] for payload in batch] == [batch[0][:2]] * 3
            assert [payload[2] for payload in batch] == [0, 1, 2]
        positions = [r.position for r in journal.read_all()]
        assert positions == list(range(1, THREADS * BATCHES * 4 + 1))

    def test_of_writers_with_the_same_expectation_one_wins(self, journal: JournalStore) -> None:
        def write(thread: int) -> bool:
            try:
                journal.append("s", [NewEvent("won", thread)], expected_seq=0)
            except WrongExpectedSeq:
                return False
            return True

        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(write, range(THREADS))) == 1
        assert journal.last_seq("s") == 1
