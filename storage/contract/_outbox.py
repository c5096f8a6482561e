"""The tests of an outbox store: an effect is in one pair of hands at a time, and over once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from understudy.storage._errors import StaleEpoch, StorageError
from understudy.storage._protocols import OutboxStore
from understudy.storage._write import NewEffect
from understudy.storage.contract._base import ContractBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.storage.contract._base import ContractClock

THREADS = 6


def mail(number: int, **rest: Any) -> NewEffect:
    """An effect of the channel "mail"."""
    return NewEffect("mail", {"number": number}, dedupe_key=f"mail-{number}", **rest)


class OutboxContract(ContractBase):
    """Needs the store's `outbox`, an `OutboxStore`."""

    @pytest.fixture
    def outbox(self, adapter: Any) -> OutboxStore:
        """The outbox of the store under test."""
        outbox: OutboxStore = adapter.outbox
        return outbox

    def test_the_store_has_the_shape_of_an_outbox_store(self, outbox: OutboxStore) -> None:
        assert isinstance(outbox, OutboxStore)

    def test_a_new_effect_is_pending(self, outbox: OutboxStore) -> None:
        (number,) = outbox.add([mail(1, stream="s")])
        effect = outbox.get(number)
        assert effect is not None
        assert (effect.id, effect.channel, effect.dedupe_key) == (number, "mail", "mail-1")
        assert effect.payload == {"number": 1}
        assert (effect.stream, effect.status, effect.attempts) == ("s", "pending", 0)
        assert [e.id for e in outbox.pending("mail")] == [number]
        assert outbox.pending("other") == []

    def test_the_same_dedupe_key_makes_one_effect_per_channel(self, outbox: OutboxStore) -> None:
        first, same = outbox.add([mail(1), mail(1)])
        (later,) = outbox.add([mail(1)])
        (other,) = outbox.add([NewEffect("sms", {}, dedupe_key="mail-1")])
        assert first == same == later
        assert other != first
        outbox.claim(first, 10)
        outbox.complete(first)
        assert outbox.add([mail(1)]) == [first]
        assert outbox.pending("mail") == []

    def test_pending_effects_come_oldest_first_and_at_most_the_limit(
        self, outbox: OutboxStore
    ) -> None:
        ids = outbox.add([mail(n) for n in range(12)])
        assert [e.id for e in outbox.pending("mail")] == ids
        assert [e.id for e in outbox.pending("mail", 5)] == ids[:5]

    def test_an_effect_waits_for_its_time(self, outbox: OutboxStore, clock: ContractClock) -> None:
        (number,) = outbox.add([mail(1, not_before=clock() + 60)])
        assert outbox.pending("mail") == []
        assert outbox.claim(number, 10) is None
        clock.advance(60)
        assert [e.id for e in outbox.pending("mail")] == [number]
        assert outbox.claim(number, 10) is not None

    def test_a_claimed_effect_is_nobody_elses_until_its_lease_runs_out(
        self, outbox: OutboxStore, clock: ContractClock
    ) -> None:
        (number,) = outbox.add([mail(1)])
        claimed = outbox.claim(number, 30)
        assert claimed is not None
        assert (claimed.status, claimed.attempts) == ("executing", 1)
        assert outbox.claim(number, 30) is None
        assert outbox.pending("mail") == []
        clock.advance(30)
        assert [e.id for e in outbox.pending("mail")] == [number]
        again = outbox.claim(number, 30)
        assert again is not None
        assert again.attempts == 2

    def test_a_lease_that_is_over_from_the_start_is_refused(self, outbox: OutboxStore) -> None:
        (number,) = outbox.add([mail(1)])
        with pytest.raises(ValueError, match="lease"):
            outbox.claim(number, 0)

    def test_an_earlier_epoch_gets_nothing(self, outbox: OutboxStore, clock: ContractClock) -> None:
        (number,) = outbox.add([mail(1)])
        outbox.claim(number, 30, epoch=5)
        clock.advance(60)
        assert outbox.claim(number, 30, epoch=4) is None

    def test_a_failure_after_the_completion_changes_nothing(self, outbox: OutboxStore) -> None:
        (number,) = outbox.add([mail(1)])
        outbox.claim(number, 30)
        outbox.complete(number, "done")
        outbox.fail(number, "late")
        effect = outbox.get(number)
        assert effect is not None
        assert (effect.status, effect.result) == ("completed", "done")

    def test_a_completed_effect_is_over(self, outbox: OutboxStore, clock: ContractClock) -> None:
        (number,) = outbox.add([mail(1)])
        outbox.claim(number, 30)
        outbox.complete(number, {"receipt": 7})
        outbox.complete(number)
        clock.advance(1_000_000)
        effect = outbox.get(number)
        assert effect is not None
        assert (effect.status, effect.result) == ("completed", {"receipt": 7})
        assert outbox.pending("mail") == []
        assert outbox.claim(number, 30) is None

    def test_a_failure_that_may_be_tried_again_waits_for_its_time(
        self, outbox: OutboxStore, clock: ContractClock
    ) -> None:
        (number,) = outbox.add([mail(1)])
        outbox.claim(number, 30)
        outbox.fail(number, "busy", retry_at=clock() + 5)
        effect = outbox.get(number)
        assert effect is not None
        assert (effect.status, effect.error) == ("pending", "busy")
        assert outbox.pending("mail") == []
        clock.advance(5)
        assert [e.id for e in outbox.pending("mail")] == [number]

    def test_a_failure_for_good_is_over(self, outbox: OutboxStore, clock: ContractClock) -> None:
        (number,) = outbox.add([mail(1)])
        outbox.claim(number, 30)
        outbox.fail(number, "no such address")
        clock.advance(1_000_000)
        effect = outbox.get(number)
        assert effect is not None
        assert (effect.status, effect.error) == ("failed", "no such address")
        assert outbox.pending("mail") == []
        assert outbox.claim(number, 30) is None

    def test_a_later_epoch_takes_an_effect_over_and_the_earlier_one_is_refused(
        self, outbox: OutboxStore
    ) -> None:
        (number,) = outbox.add([mail(1)])
        assert outbox.claim(number, 30, epoch=1) is not None
        assert outbox.claim(number, 30, epoch=1) is None
        taken = outbox.claim(number, 30, epoch=2)
        assert taken is not None
        assert taken.epoch == 2
        with pytest.raises(StaleEpoch):
            outbox.complete(number, epoch=1)
        with pytest.raises(StaleEpoch):
            outbox.fail(number, "late", epoch=1)
        outbox.complete(number, epoch=2)
        effect = outbox.get(number)
        assert effect is not None
        assert effect.status == "completed"

    def test_an_effect_that_does_not_exist_is_an_error_or_none(self, outbox: OutboxStore) -> None:
        assert outbox.get(999_999) is None
        with pytest.raises(StorageError):
            outbox.claim(999_999, 30)
        with pytest.raises(StorageError):
            outbox.complete(999_999)
        with pytest.raises(StorageError):
            outbox.fail(999_999, "why")

    def test_effects_are_listed_by_stream_channel_and_status(self, outbox: OutboxStore) -> None:
        ids = outbox.add([mail(1, stream="a"), mail(2, stream="b"), mail(3, stream="a")])
        (other,) = outbox.add([NewEffect("sms", {}, dedupe_key="k", stream="a")])
        outbox.claim(ids[0], 30)
        outbox.complete(ids[0])
        assert [e.id for e in outbox.list()] == [*ids, other]
        assert [e.id for e in outbox.list(stream="a")] == [ids[0], ids[2], other]
        assert [e.id for e in outbox.list(channel="sms")] == [other]
        assert [e.id for e in outbox.list(status="completed")] == [ids[0]]
        assert [e.id for e in outbox.list(stream="a", status="pending", limit=1)] == [ids[2]]

    def test_a_batch_with_a_payload_that_cannot_be_stored_is_refused_whole(
        self, outbox: OutboxStore
    ) -> None:
        with pytest.raises(StorageError):
            outbox.add([mail(1), NewEffect("mail", object(), dedupe_key="bad")])
        assert outbox.list() == []

    def test_effects_survive_a_restart(
        self, outbox: OutboxStore, restart: Callable[[], Any]
    ) -> None:
        first, second = outbox.add([mail(1), mail(2)])
        outbox.claim(first, 30)
        outbox.complete(first, "done")
        again: OutboxStore = restart().outbox
        assert [(e.id, e.status) for e in again.list()] == [
            (first, "completed"),
            (second, "pending"),
        ]
        assert again.add([mail(2)]) == [second]

    def test_of_many_claimers_at_once_one_gets_each_effect(self, outbox: OutboxStore) -> None:
        ids = outbox.add([mail(n) for n in range(10)])

        def claim(_: int) -> list[int]:
            return [number for number in ids if outbox.claim(number, 30) is not None]

        with ThreadPoolExecutor(THREADS) as pool:
            won = [number for part in pool.map(claim, range(THREADS)) for number in part]
        assert sorted(won) == ids
