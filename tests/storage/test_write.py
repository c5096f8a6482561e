"""State beside events in one transaction: outbox, key-value rows, ledger, cursors."""

from __future__ import annotations

import threading

import pytest

from tests.storage.conftest import TIMEOUT, events, there
from understudy.storage import (
    Append,
    BadEvent,
    Cursor,
    Delete,
    EffectUpdate,
    Journal,
    LedgerWrite,
    NewEffect,
    Put,
    StaleEpoch,
    StorageError,
    UnknownEffect,
    Write,
    WrongExpectedSeq,
)


@pytest.fixture
def journal(path, clock):
    with Journal.open(path, clock=clock) as journal:
        yield journal


def everything(expected: int | None = None, key: str = "k") -> Write:
    return Write(
        appends=[Append("a", events(2), expected), Append("b", events(1))],
        effects=[NewEffect("web", {"url": "u"}, key, "a")],
        puts=[Put("bucket", key, {"v": 1})],
        deletes=[Delete("bucket", "old")],
        cursors=[Cursor("reader", 3)],
        ledger=[LedgerWrite("scope", key, "done", {"answer": 42})],
    )


def test_all_parts_of_a_write_become_true_together(journal):
    journal.state.put("bucket", "old", 1)
    result = journal.write(everything())
    assert [(a.stream, a.first_seq, a.last_seq) for a in result.appends] == [
        ("a", 1, 2),
        ("b", 1, 1),
    ]
    assert result.position == 3
    [effect] = journal.outbox.list()
    assert result.effects == (effect.id,)
    assert (effect.channel, effect.payload, effect.stream) == ("web", {"url": "u"}, "a")
    assert effect.status == "pending"
    assert journal.state.get("bucket", "k") == {"v": 1}
    assert journal.state.get("bucket", "old") is None
    assert journal.cursors.get("reader") == 3
    assert journal.ledger.get("scope", "k").result == {"answer": 42}


def test_a_refused_append_refuses_the_whole_write(journal):
    journal.append("a", events(1))
    with pytest.raises(WrongExpectedSeq):
        journal.write(everything(expected=0))
    assert journal.last_position() == 1
    assert journal.outbox.list() == []
    assert journal.state.get("bucket", "k") is None
    assert journal.ledger.get("scope", "k") is None
    assert journal.cursors.get("reader") == 0


def test_a_refused_write_does_not_hurt_those_in_the_same_commit(journal):
    futures = [journal.submit_write(everything(0, f"k{n}")) for n in range(10)]
    outcomes = [future.exception(TIMEOUT) for future in futures]
    assert outcomes.count(None) == 1
    assert len(journal.outbox.list()) == 1
    assert journal.last_seq("a") == 2
    assert journal.last_seq("b") == 1
    assert journal.verify().ok


def test_a_second_append_of_one_write_sees_the_first(journal):
    result = journal.write(Write(appends=[Append("s", events(2), 0), Append("s", events(1), 2)]))
    assert result.appends[1].last_seq == 3
    with pytest.raises(WrongExpectedSeq):
        journal.write(Write(appends=[Append("s", events(1), 3), Append("s", events(1), 3)]))
    assert journal.last_seq("s") == 3


def test_a_value_that_is_no_plain_data_is_refused_before_anything_happens(journal):
    for write in (
        Write(appends=[Append("s", events(1))], puts=[Put("b", "k", object())]),
        Write(appends=[Append("s", events(1))], effects=[NewEffect("c", object(), "k")]),
        Write(appends=[Append("s", events(1))], ledger=[LedgerWrite("s", "k", "done", object())]),
        Write(
            appends=[Append("s", events(1))],
            effect_updates=[EffectUpdate(1, "completed", result=object())],
        ),
        Write(appends=[Append("s", events(1))], puts=[Put("b", "x" * 500, 1)]),
        Write(appends=[Append("s", events(1))], puts=[Put("b\0", "x", 1)]),
        Write(appends=[Append("s", events(1))], deletes=[Delete("b", 7)]),  # type: ignore[arg-type]  # no text
        Write(appends=[Append("s", events(1))], effects=[NewEffect("", 1, "k")]),
        Write(appends=[Append("s", events(1))], effects=[NewEffect("c", 1, "")]),
    ):
        with pytest.raises(BadEvent):
            journal.write(write)
    assert journal.last_position() == 0


def test_an_empty_write_is_safe_at_once(journal):
    assert journal.write(Write()).position == 0


# --- outbox ---------------------------------------------------------------------


def test_a_dedupe_key_makes_one_effect_per_channel(journal):
    [one] = journal.outbox.add([NewEffect("web", 1, "k")])
    assert journal.outbox.add([NewEffect("web", 2, "k"), NewEffect("mail", 3, "k")]) == [
        one,
        one + 1,
    ]
    assert [e.payload for e in journal.outbox.list()] == [1, 3]


def test_an_effect_is_claimed_once_and_completed(journal):
    [one] = journal.outbox.add([NewEffect("web", 1, "k")])
    assert [e.id for e in journal.outbox.pending("web")] == [one]
    claimed = journal.outbox.claim(one, lease=30, epoch=2)
    assert (claimed.status, claimed.attempts, claimed.epoch) == ("executing", 1, 2)
    assert journal.outbox.claim(one) is None
    assert journal.outbox.pending("web") == []
    journal.outbox.complete(one, {"ok": True}, epoch=2)
    done = journal.outbox.get(one)
    assert (done.status, done.result, done.lease_until) == ("completed", {"ok": True}, None)
    assert journal.outbox.claim(one) is None
    journal.outbox.fail(one, "too late")
    assert journal.outbox.get(one).status == "completed"
    assert journal.outbox.counts() == {"pending": 0, "executing": 0, "completed": 1, "failed": 0}


def test_a_failed_try_comes_back_at_its_time(journal, clock):
    [one] = journal.outbox.add([NewEffect("web", 1, "k")])
    journal.outbox.claim(one)
    journal.outbox.fail(one, "timeout", retry_at=clock() + 60)
    assert journal.outbox.pending("web") == []
    assert journal.outbox.next_due("web") == clock() + 60
    assert journal.outbox.claim(one) is None
    clock.advance(60)
    [again] = journal.outbox.pending("web")
    assert (again.attempts, again.error, again.status) == (1, "timeout", "pending")
    journal.outbox.claim(one)
    journal.outbox.fail(one, "for good")
    assert journal.outbox.get(one).status == "failed"
    assert journal.outbox.next_due("web") is None
    journal.outbox.retry(one)
    assert [e.id for e in journal.outbox.pending("web")] == [one]


def test_a_lease_that_ran_out_gives_the_effect_to_the_next(journal, clock):
    [one] = journal.outbox.add([NewEffect("web", 1, "k")])
    journal.outbox.claim(one, lease=30, epoch=1)
    clock.advance(30)
    assert [e.id for e in journal.outbox.pending("web")] == [one]
    assert journal.outbox.claim(one, lease=30, epoch=1).attempts == 2


def test_a_newer_incarnation_takes_over_and_fences_the_older(journal):
    [one] = journal.outbox.add([NewEffect("web", 1, "k", "a")])
    journal.outbox.claim(one, lease=30, epoch=1)
    assert journal.outbox.claim(one, lease=30, epoch=2).epoch == 2
    assert journal.outbox.claim(one, lease=30, epoch=1) is None
    with pytest.raises(StaleEpoch):
        journal.outbox.complete(one, epoch=1)
    with pytest.raises(StaleEpoch):
        journal.write(
            Write(
                appends=[Append("a", events(1))],
                effect_updates=[EffectUpdate(one, "completed", epoch=1)],
            )
        )
    assert journal.last_seq("a") == 0
    journal.write(
        Write(
            appends=[Append("a", events(1))],
            effect_updates=[EffectUpdate(one, "completed", epoch=2, result=1)],
        )
    )
    assert journal.outbox.get(one).status == "completed"


def test_what_a_dead_process_was_executing_is_pending_at_the_next_opening(path, clock):
    with Journal.open(path, clock=clock) as journal:
        ids = journal.outbox.add([NewEffect("web", n, f"k{n}") for n in range(3)])
        journal.outbox.claim(ids[0], lease=3600)
        journal.outbox.claim(ids[1], lease=3600)
        journal.outbox.complete(ids[1])
    with Journal.open(path, clock=clock) as journal:
        assert [e.id for e in journal.outbox.pending("web")] == [ids[0], ids[2]]
        assert there(journal.outbox.get(ids[0])).attempts == 1
        assert journal.outbox.counts()["pending"] == 2


def test_effects_wait_for_their_time_and_are_handed_out_in_order(journal, clock):
    journal.outbox.add(
        [
            NewEffect("web", "late", "1", not_before=clock() + 50),
            NewEffect("web", "now", "2"),
            NewEffect("web", "soon", "3", not_before=clock() + 10),
            NewEffect("webhook", "other", "4"),
        ]
    )
    assert [e.payload for e in journal.outbox.pending("web")] == ["now"]
    clock.advance(50)
    assert [e.payload for e in journal.outbox.pending("web")] == ["now", "soon", "late"]
    assert [e.payload for e in journal.outbox.pending("web", limit=2)] == ["now", "soon"]


def test_effects_are_listed_by_stream_channel_and_status(journal):
    journal.outbox.add(
        [NewEffect("web", n, f"k{n}", "a" if n % 2 else "b") for n in range(6)]
        + [NewEffect("mail", 9, "k9", "a")]
    )
    outbox = journal.outbox
    outbox.claim(2)
    assert [e.payload for e in outbox.list(stream="a")] == [1, 3, 5, 9]
    assert [e.payload for e in outbox.list(stream="a", channel="mail")] == [9]
    assert [e.payload for e in outbox.list(status="executing")] == [1]
    assert [e.payload for e in outbox.list(limit=2)] == [0, 1]
    assert [e.payload for e in outbox.list(after=5)] == [5, 9]
    assert [e.payload for e in outbox.list(stream="a", after=4, limit=1)] == [5]
    assert outbox.list(stream="nobody") == []


def test_finished_effects_are_purged_with_their_keys_and_numbers_go_on(journal, clock):
    outbox = journal.outbox
    one, two = outbox.add([NewEffect("web", 1, "k1", "a"), NewEffect("web", 2, "k2", "a")])
    outbox.complete(one)
    clock.advance(100)
    assert outbox.purge(clock() - 50) == 1
    assert outbox.get(one) is None
    assert [e.id for e in outbox.list(stream="a")] == [two]
    assert outbox.add([NewEffect("web", 1, "k1")]) == [two + 1]
    assert outbox.counts() == {"pending": 2, "executing": 0, "completed": 0, "failed": 0}


def test_an_unknown_effect_is_named(journal):
    for call in (
        lambda: journal.outbox.claim(99),
        lambda: journal.outbox.complete(99),
        lambda: journal.outbox.fail(99, "x"),
        lambda: journal.outbox.retry(99),
        lambda: journal.write(Write(effect_updates=[EffectUpdate(99, "completed")])),
    ):
        with pytest.raises(UnknownEffect, match="99") as caught:
            call()
        assert caught.value.id == 99
    assert journal.outbox.get(99) is None
    with pytest.raises(ValueError, match="lease"):
        journal.outbox.claim(99, lease=0)


# --- key-value rows -------------------------------------------------------------


def test_rows_are_set_read_and_removed(journal):
    state = journal.state
    assert state.get("b", "k") is None
    assert state.get("b", "k", "default") == "default"
    state.put("b", "k", [1, {"x": None}])
    assert state.get("b", "k") == [1, {"x": None}]
    state.put("b", "k", None)
    assert state.get("b", "k", "default") is None
    assert state.delete("b", "k")
    assert not state.delete("b", "k")


def test_rows_expire_and_are_purged(journal, clock):
    state = journal.state
    state.put("b", "short", 1, ttl=10)
    state.put("b", "long", 2, expires_at=clock() + 100)
    state.put("b", "ever", 3)
    state.put("b", "renewed", 4, ttl=5)
    state.put("b", "renewed", 5, ttl=500)
    assert state.expires_at("b", "short") == clock() + 10
    assert state.expires_at("b", "ever") is None
    clock.advance(10)
    assert state.get("b", "short") is None
    assert not state.delete("b", "missing")
    assert [key for key, _ in state.scan("b")] == ["ever", "long", "renewed"]
    assert [key for key, _ in state.scan("b", expired=True)] == ["ever", "long", "renewed", "short"]
    assert journal.stats().keys == 4
    assert state.purge_expired() == 1
    assert state.purge_expired(clock() + 1000) == 2
    assert [key for key, _ in state.scan("b")] == ["ever"]
    state.put("b", "gone", 1, ttl=1)
    clock.advance(2)
    assert not state.delete("b", "gone")


def test_a_scan_pages_through_many_rows_by_prefix(journal):
    journal.write(
        Write(puts=[Put("b", f"{n % 2}:{n:05d}", n) for n in range(4500)] + [Put("bb", "x", 1)])
    )
    assert [v for _, v in journal.state.scan("b", "1:")] == list(range(1, 4500, 2))
    assert len(list(journal.state.scan("b"))) == 4500
    assert [k for k, _ in journal.state.scan("b", after="1:04495")] == ["1:04497", "1:04499"]
    assert list(journal.state.scan("b", "9")) == []
    assert journal.state.buckets() == ["b", "bb"]
    assert journal.state.delete_bucket("b") == 4500
    assert journal.state.buckets() == ["bb"]


def test_more_expired_rows_than_one_transaction_takes_are_purged(journal, clock):
    journal.write(Write(puts=[Put("b", f"{n}", n, clock() + 1) for n in range(2500)]))
    clock.advance(1)
    assert journal.state.purge_expired() == 2500
    assert list(journal.state.scan("b", expired=True)) == []


# --- ledger ---------------------------------------------------------------------


def test_of_concurrent_claims_one_wins_and_the_others_wait_for_its_answer(journal):
    answers = []
    claimed = threading.Semaphore(0)

    def work():
        row = journal.ledger.begin("scope", "key")
        if row.claimed:
            claimed.release()
        else:
            answers.append(journal.ledger.wait("scope", "key", TIMEOUT))

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    assert claimed.acquire(timeout=TIMEOUT)
    journal.ledger.finish("scope", "key", {"answer": 42})
    for thread in threads:
        thread.join(TIMEOUT)
    assert not claimed.acquire(blocking=False)
    assert [(row.status, row.result) for row in answers] == [("done", {"answer": 42})] * 9
    repeat = journal.ledger.begin("scope", "key")
    assert (repeat.claimed, repeat.status, repeat.result) == (False, "done", {"answer": 42})


def test_a_failed_key_answers_with_its_error_and_a_released_one_is_free(journal):
    ledger = journal.ledger
    ledger.begin("s", "k")
    ledger.fail("s", "k", "boom")
    assert ledger.begin("s", "k").status == "failed"
    assert ledger.get("s", "k").result == "boom"
    ledger.begin("s", "k2")
    ledger.release("s", "k2")
    assert ledger.wait("s", "k2", 0) is None
    assert ledger.begin("s", "k2").claimed
    with pytest.raises(TimeoutError):
        ledger.wait("s", "k2", 0)
    assert [row.key for row in ledger.rows("s")] == ["k", "k2"]


def test_a_key_is_forgotten_after_its_time(journal, clock):
    journal.ledger.begin("s", "k", ttl=60)
    journal.ledger.finish("s", "k", 1)
    journal.ledger.begin("s", "ever", ttl=None)
    clock.advance(60)
    assert journal.ledger.get("s", "k") is None
    with pytest.raises(StorageError, match="not in flight"):
        journal.ledger.finish("s", "k", 2)
    assert journal.state.purge_expired() == 1
    assert journal.ledger.begin("s", "k").claimed
    assert not journal.ledger.begin("s", "ever").claimed


def test_a_key_that_was_claimed_anew_is_kept_for_its_new_time(path, clock):
    with Journal.open(path, clock=clock) as journal:
        assert journal.ledger.begin("s", "k", ttl=60).claimed
    with Journal.open(path, clock=clock) as journal:
        assert journal.ledger.begin("s", "k", ttl=600).claimed
        clock.advance(61)
        assert journal.state.purge_expired() == 0
        [row] = journal.ledger.rows("s")
        assert row.attempts == 2
        clock.advance(600)
        assert journal.state.purge_expired() == 1


def test_a_claim_of_a_dead_process_may_be_claimed_again(path):
    with Journal.open(path) as journal:
        assert journal.ledger.begin("s", "k").claimed
        assert not journal.ledger.begin("s", "k").claimed
        journal.ledger.begin("s", "done")
        journal.ledger.finish("s", "done", 1)
    with Journal.open(path) as journal:
        again = journal.ledger.begin("s", "k")
        assert (again.claimed, again.attempts) == (True, 2)
        assert not journal.ledger.begin("s", "done").claimed


def test_a_write_wakes_those_who_wait_for_its_ledger_row(journal):
    journal.ledger.begin("s", "k")
    rows = []
    thread = threading.Thread(target=lambda: rows.append(journal.ledger.wait("s", "k", TIMEOUT)))
    thread.start()
    journal.write(Write(ledger=[LedgerWrite("s", "k", "done", "answer")]))
    thread.join(TIMEOUT)
    assert rows[0].result == "answer"
    assert rows[0].expires_at is None


# --- cursors --------------------------------------------------------------------


def test_cursors_move_and_are_listed(journal):
    cursors = journal.cursors
    assert cursors.get("a:1") == 0
    assert cursors.get("a:1", 7) == 7
    cursors.set("a:1", 5)
    cursors.set("a:2", 6)
    cursors.set("b", 7)
    cursors.set("a:1", 3)
    assert cursors.list("a:") == {"a:1": 3, "a:2": 6}
    assert cursors.list() == {"a:1": 3, "a:2": 6, "b": 7}
    assert cursors.delete("b")
    assert not cursors.delete("b")


def test_everything_survives_reopening(path, clock):
    with Journal.open(path, clock=clock) as journal:
        journal.write(everything())
    with Journal.open(path, clock=clock) as journal:
        assert journal.state.get("bucket", "k") == {"v": 1}
        assert journal.cursors.get("reader") == 3
        assert there(journal.ledger.get("scope", "k")).status == "done"
        assert journal.outbox.list()[0].dedupe_key == "k"
        assert journal.generation == 2


def test_closing_wakes_those_who_wait_for_a_key_in_flight(path):
    from understudy.storage import JournalClosed

    journal = Journal.open(path)
    journal.ledger.begin("s", "k")
    errors = []

    def wait():
        try:
            journal.ledger.wait("s", "k", TIMEOUT)
        except JournalClosed as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    journal.close()
    thread.join(TIMEOUT)
    assert len(errors) == 1


def test_an_older_incarnation_cannot_claim_what_a_newer_one_has_had(journal):
    outbox = journal.outbox
    [id] = outbox.add([NewEffect("mail", 1, "k")])
    assert outbox.claim(id, epoch=2).attempts == 1
    outbox.fail(id, "try again", retry_at=0.0, epoch=2)
    assert outbox.claim(id, epoch=1) is None
    assert outbox.claim(id, epoch=2).attempts == 2


def test_a_newer_incarnation_waits_like_any_other_for_what_is_not_due(journal, clock):
    outbox = journal.outbox
    [id] = outbox.add([NewEffect("mail", 1, "k")])
    outbox.claim(id, epoch=1)
    outbox.fail(id, "later", retry_at=clock.now + 60, epoch=1)
    assert outbox.claim(id, epoch=2) is None
    clock.advance(60)
    assert outbox.claim(id, epoch=2).attempts == 2
