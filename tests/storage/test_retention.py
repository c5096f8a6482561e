"""Retention and archives: old events go, what somebody still needs stays, all can be read back."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from tests.storage.conftest import events, seqs, there
from understudy.storage import (
    CorruptRecord,
    EffectUpdate,
    Journal,
    NewEffect,
    NewEvent,
    RetentionPolicy,
    StorageError,
    StorageFull,
    Write,
)

DAY = 86400.0


@pytest.fixture
def week(path, clock):
    """Seven days, a hundred events each, over five streams."""
    journal = Journal.open(path, "relaxed", clock=clock, segment_events=60, checkpoint_events=35)
    for day in range(7):
        for n in range(50):
            journal.append(
                f"s{n % 5}",
                [NewEvent(f"day{day}", n, topics=("x",) if n == 7 else ()), NewEvent("y", n)],
            )
            clock.advance(DAY / 50)
    yield journal
    journal.close()


def snapshot_all(journal):
    for stream in journal.streams():
        journal.save_snapshot(stream, journal.last_seq(stream), {})


def test_old_events_are_archived_by_date_and_dropped(week, clock):
    snapshot_all(week)
    report = week.retain(max_age=2.5 * DAY)
    assert report.dropped_events == 450
    assert report.dropped_segments >= 6
    assert report.kept_events == 0
    assert len(list(week.read_all())) == 250
    assert [r.position for r in week.read_all()] == list(range(451, 701))
    for n in range(5):
        assert seqs(week.read(f"s{n}")) == list(range(week.first_seq(f"s{n}"), 141))
    archives = week.archives()
    assert [r.position for a in archives for r in a.read_all()] == list(range(1, 451))
    assert {a.path.parent.name for a in archives} == {
        (dt.date(2023, 11, 14) + dt.timedelta(days=n)).isoformat() for n in range(6)
    } & {a.date.isoformat() for a in archives}
    assert sum(a.events for a in archives) == 450
    assert week.verify().ok
    assert week.retain(max_age=2.5 * DAY).dropped_events == 0


def test_archives_are_searched_and_read_like_a_journal(week):
    snapshot_all(week)
    week.retain(max_age=0)
    archives = week.archives()
    middle = archives[3]
    assert week.archives(type="day3")[0].types[0] == "day2" or week.archives(type="day3")
    assert all("s1" in a.streams for a in week.archives(stream="s1"))
    assert week.archives(stream="nobody") == []
    assert week.archives(since=middle.last_time + dt.timedelta(seconds=1))[0].first_position > 0
    assert all(a.first_time < middle.first_time for a in week.archives(until=middle.first_time))
    everything = [r for a in archives for r in a.read("s1")]
    assert seqs(everything) == list(range(1, 141))
    low, high = middle.streams["s1"]
    assert seqs(middle.read("s1")) == list(range(low, high + 1))
    assert seqs(middle.read("s1", after=low, until_seq=high - 1, limit=2)) == [low + 1, low + 2]
    assert seqs(middle.read("s1", reverse=True, limit=2)) == [high, high - 1]
    assert list(middle.read("nobody")) == []
    assert all(r.type == "y" for r in middle.read_all(types="y"))
    assert [r.payload for a in archives for r in a.read_all(topics="x")] == [7] * 7
    first = next(archives[0].read_all())
    assert (first.payload, first.type, first.stream, first.priority) == (0, "day0", "s0", "normal")
    assert len(first.id) == 36
    since = middle.first_time + (middle.last_time - middle.first_time) / 2
    assert all(r.timestamp >= since for r in middle.read_all(since=since))
    assert [r.position for r in middle.read_all(after=middle.last_position - 1)] == [
        middle.last_position
    ]
    assert middle.size_bytes > 0


def test_what_has_no_snapshot_stays_and_the_report_says_why(week):
    week.save_snapshot("s0", week.last_seq("s0"), {})
    week.save_snapshot("s1", 50, {})
    report = week.retain(max_age=DAY)
    assert report.kept_because["s2"] == "it has no snapshot to replay from"
    assert "seq 50" in report.kept_because["s1"]
    assert "s0" not in report.kept_because
    assert report.kept_events > 0
    assert week.first_seq("s0") > 100
    assert week.first_seq("s1") == 51
    assert week.first_seq("s2") == 1
    for n in range(5):
        stream = f"s{n}"
        assert seqs(week.read(stream)) == list(range(week.first_seq(stream), 141))
    assert week.verify().ok


def test_forced_retention_drops_what_is_needed_too(week):
    report = week.retain(max_events=100, force=True, archive=False)
    assert report.dropped_events == 600
    assert report.archives == ()
    assert week.archives() == []
    assert len(list(week.read_all())) == 100
    assert week.last_seq("s0") == 140
    assert week.append("s0", events(1), expected_seq=140).first_seq == 141


def test_streams_with_unfinished_effects_are_spared(week):
    snapshot_all(week)
    [effect] = week.outbox.add([NewEffect("web", 1, "k", "s3")])
    report = week.retain(max_age=0)
    assert report.kept_because == {"s3": "it has unfinished effects"}
    assert seqs(week.read("s3")) == list(range(1, 141))
    assert list(week.read("s4")) == []
    week.outbox.complete(effect)
    assert week.retain(max_age=0).dropped_events == 140


def test_the_slowest_durable_subscription_is_waited_for(week):
    snapshot_all(week)
    subscription = week.durable("slow")
    subscription.ack(subscription.fetch(200)[-1])
    week.durable("other stream", "s2").ack(list(week.read("s2"))[-1])
    report = week.retain(max_age=0)
    assert report.dropped_events == 200
    assert "position 200" in report.kept_because["slow"]
    assert "other stream" not in report.kept_because
    assert subscription.fetch(1)[0].position == 201
    subscription.remove()
    assert week.retain(max_age=0).dropped_events == 500


def test_a_damaged_snapshot_lets_no_event_go(path, clock):
    with Journal.open(path, clock=clock) as journal:
        journal.append("s", events(10))
        journal.save_snapshot("s", 4, {"at": 4})
        journal.save_snapshot("s", 8, {"at": 8})

        def damage(txn):
            db = journal._core.database("snapshots")
            cursor = txn.cursor(db)
            assert cursor.last()
            key, row = cursor.item()
            txn.put(key, row[:-1] + bytes((row[-1] ^ 1,)), db=db)

        journal._core.call(damage).result()
        clock.advance(60)
        report = journal.retain(max_age=0)
        assert "snapshot of seq 4" in report.kept_because["s"]
        assert seqs(journal.read("s"))[-6:] == [5, 6, 7, 8, 9, 10]
        assert there(journal.load_snapshot("s")).seq == 4


def test_the_one_event_a_subscription_has_not_seen_stays(week):
    snapshot_all(week)
    subscription = week.durable("slow")
    subscription.ack(subscription.fetch(699)[-1])
    report = week.retain(max_age=0)
    assert "position 699" in report.kept_because["slow"]
    assert [record.position for record in subscription.fetch()] == [700]


@pytest.mark.parametrize("reopen", [False, True])
def test_bounds_of_count_and_size(week, reopen, path, clock):
    week.retain(max_events=333, force=True)
    assert [r.position for r in week.read_all()] == list(range(368, 701))
    size = sum(segment.size for segment in week._core.catalog.view.segments)
    if reopen:
        week.close()
        week = Journal.open(path, clock=clock)
    week.retain(max_bytes=size // 2, force=True)
    left = len(list(week.read_all()))
    assert 100 < left < 200
    assert week.verify().ok
    week.retain(max_events=10, max_age=365 * DAY, force=True)
    assert len(list(week.read_all())) == 10
    week.close()


def test_everything_may_go_and_numbers_go_on(path, clock):
    with Journal.open(path, clock=clock, segment_events=10) as journal:
        for _ in range(5):
            journal.append("s", events(10))
        clock.advance(10)
        assert journal.retain(max_age=0, force=True).dropped_events == 50
        assert list(journal.read_all()) == []
        assert journal.retain(max_age=0, force=True).dropped_events == 0
        assert journal.append("s", events(1)).position == 51
    with Journal.open(path, clock=clock) as journal:
        assert seqs(journal.read("s")) == [51]
        assert [r.position for r in journal.read_all()] == [51]
        assert journal.verify().ok


def test_a_limit_by_retain_of_one_stream(week):
    report = week.retain(max_events=10, stream="s1")
    assert report.dropped_events == 130
    assert seqs(week.read("s1")) == list(range(131, 141))
    week.append("s1", events(2))
    assert seqs(week.read("s1")) == list(range(133, 143))
    week.retain(max_age=1.5 * DAY, stream="s2")
    assert 0 < len(list(week.read("s2"))) < 40
    assert week.retain(max_age=1.0, stream="nobody").dropped_events == 0


@pytest.mark.parametrize("arguments", [{"max_age": -1}, {"max_events": -1}, {"max_bytes": -5}])
def test_a_senseless_bound_is_refused(journal, arguments):
    with pytest.raises(ValueError):
        journal.retain(**arguments)


def test_without_bounds_nothing_goes(week):
    assert week.retain().dropped_events == 0


def test_an_archive_can_be_made_without_dropping(week, tmp_path):
    archive = week.archive(path=tmp_path / "elsewhere")
    assert archive.events == 700
    assert len(list(week.read_all())) == 700
    [found] = week.archives(path=tmp_path / "elsewhere")
    assert [r.position for r in found.read_all()] == list(range(1, 701))
    week.truncate("s0", 200)
    moment = next(week.read("s1", after=100)).timestamp
    partial = week.archive(before=moment, path=tmp_path / "partial")
    assert "s0" not in partial.streams
    assert partial.last_time < moment
    assert week.archive(before=dt.datetime.fromtimestamp(0, dt.UTC)) is None


def test_archives_are_purged_after_their_time(week, clock):
    snapshot_all(week)
    week.retain(max_age=0)
    total = len(week.archives())
    clock.advance(27 * DAY)
    assert week.purge_archives(max_age=30 * DAY) in range(1, total)
    assert week.archives()[0].last_time.timestamp() >= clock() - 30 * DAY
    clock.advance(10 * DAY)
    week.purge_archives()
    assert week.archives() == []
    assert list(week._archive_directory(True).iterdir()) == []


def test_a_damaged_archive_says_so_and_a_foreign_file_too(week):
    snapshot_all(week)
    week.retain(max_age=0)
    archive = week.archives()[0]
    data = bytearray(archive.path.read_bytes())
    data[-10] ^= 1
    archive.path.write_bytes(data)
    with pytest.raises(CorruptRecord, match="archive"):
        list(archive.read_all())
    (archive.path.parent / "foreign.archive").write_bytes(b"something else")
    with pytest.raises(StorageError, match="no archive"):
        week.archives()


def test_archives_go_where_they_are_told_also_from_memory(memory, tmp_path):
    memory.append("s", events(5))
    memory.retain(max_events=0, archive=tmp_path, force=True)
    [archive] = memory.archives(path=tmp_path)
    assert seqs(archive.read("s")) == [1, 2, 3, 4, 5]
    memory.append("s", events(1))
    assert memory.retain(max_events=0, force=True).archives == ()


def test_the_file_stays_flat_under_churn(path):
    with Journal.open(path, "relaxed", segment_events=2000) as journal:
        sizes = []
        for _ in range(8):
            for _ in range(20):
                journal.submit("s", [NewEvent("x", "y" * 200)] * 100)
            journal.sync()
            journal.retain(max_events=4000, force=True, archive=False)
            sizes.append(path.joinpath("data.mdb").stat().st_size)
        assert sizes[-1] <= 1.2 * sizes[3]


def test_a_reader_in_the_middle_of_a_stream_goes_on_behind_what_was_dropped(week):
    snapshot_all(week)
    records = week.read("s1")
    first = [next(records).seq for _ in range(3)]
    week.retain(max_age=3 * DAY)
    rest = seqs(records)
    assert first == [1, 2, 3]
    assert rest[-1] == 140
    assert rest == sorted(set(rest))


def test_a_policy_does_everything_that_is_due(week, clock):
    snapshot_all(week)
    week.delete("s4")
    [old] = week.outbox.add([NewEffect("web", 1, "k")])
    week.outbox.complete(old)
    week.state.put("b", "short", 1, ttl=10)
    week.ledger.begin("s", "k", ttl=10)
    report = week.keep(RetentionPolicy(max_age=3 * DAY))
    assert report.dropped_events > 300
    assert week.outbox.get(old) is not None
    clock.advance(31 * DAY)
    week.keep(RetentionPolicy(max_events=50, archive=False))
    assert len(list(week.read_all())) <= 50
    assert week.outbox.get(old) is None
    assert week.stats().keys == 0
    assert week.archives() == []
    assert week.verify().ok


def test_many_finished_effects_are_forgotten_page_by_page(journal, clock):
    journal.outbox.add([NewEffect("web", n, f"k{n}") for n in range(1200)])
    for effect in journal.outbox.list():
        journal.submit_write(Write(effect_updates=(EffectUpdate(effect.id, "completed"),)))
    [open_] = journal.outbox.add([NewEffect("web", 0, "open")])
    journal.sync()
    before = journal.stats().commits
    assert journal.outbox.purge(time.time() + 60) == 1200
    assert journal.stats().commits == before + 2
    assert [effect.id for effect in journal.outbox.list()] == [open_]


def test_a_policy_may_keep_archives_and_effects_for_ever_elsewhere(week, clock, tmp_path):
    snapshot_all(week)
    [old] = week.outbox.add([NewEffect("web", 1, "k")])
    week.outbox.complete(old)
    policy = RetentionPolicy(
        max_bytes=0, archive=str(tmp_path / "there"), purge_archives=None, purge_effects=None
    )
    clock.advance(100 * DAY)
    assert week.keep(policy).dropped_events == 700
    assert week.outbox.get(old) is not None
    assert sum(a.events for a in week.archives(path=tmp_path / "there")) == 700


@pytest.mark.parametrize("arguments", [{"max_age": 3599}, {"max_age": 31 * DAY}, {"interval": 0}])
def test_a_policy_outside_an_hour_and_thirty_days_is_refused(arguments):
    with pytest.raises(ValueError):
        RetentionPolicy(**arguments)


def test_a_drop_that_fails_leaves_everything_as_it_was(week, monkeypatch):
    import lmdb

    environment = week._core.environment
    begin = environment.begin

    class Fails:
        def __init__(self):
            self._txn = begin()

        def commit(self):
            raise lmdb.Error("mdb_txn_commit: No space left on device")

        def __getattr__(self, name):
            return getattr(self._txn, name)

    week.checkpoint()
    for arguments in ({"max_events": 300}, {"max_events": 690}):
        failing = iter([Fails])
        monkeypatch.setattr(environment, "begin", lambda: next(failing, begin)())
        with pytest.raises(StorageFull):
            week.retain(**arguments, force=True, archive=False)
        monkeypatch.setattr(environment, "begin", begin)
        assert [r.position for r in week.read_all()] == list(range(1, 701))
        assert seqs(week.read("s1")) == list(range(1, 141))
        assert week.verify().ok
    assert week.retain(max_events=300, force=True, archive=False).dropped_events == 400


def test_a_damaged_row_stops_retention_and_goes_with_its_segment_when_forced(path, clock):
    journal = Journal.open(path, clock=clock, segment_events=10)
    for n in range(6):
        journal.append("s", [NewEvent("x", f"payload-number-{n}-{k}") for k in range(5)])
    journal.save_snapshot("s", 30, {})
    journal.close()
    data = (path / "data.mdb").read_bytes().replace(b"payload-number-1-2", b"payload-number-X-2")
    (path / "data.mdb").write_bytes(data)
    with Journal.open(path, clock=clock) as journal:
        with pytest.raises(CorruptRecord):
            journal.retain(max_events=5)
        report = journal.retain(max_events=5, force=True)
        assert report.dropped_events == 20
        assert journal.verify().ok
        assert seqs(journal.read("s")) == [26, 27, 28, 29, 30]
