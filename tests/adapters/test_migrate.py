"""Everything moves from any store to any other, once, and can be taken up again."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from understudy.storage._errors import StorageError, StreamTombstoned
from understudy.storage._protocols import Storage
from understudy.storage._record import NewEvent, Record, Shredded
from understudy.storage._write import NewEffect
from understudy.storage.adapters import (
    FileSystemAdapter,
    LmdbAdapter,
    MemoryAdapter,
    PostgresAdapter,
    RedisAdapter,
    SQLiteAdapter,
)
from understudy.storage.adapters._migrate import (
    MigrationIncomplete,
    MigrationProgress,
    MigrationRefused,
    migrate,
)
from understudy.storage.contract import ContractClock


@pytest.fixture
def clock():
    return ContractClock()


def fill(store, clock):
    for number in range(7):
        store.save_session(f"s{number}", {"n": number, "x": b"\x00"}, active_agent="echo")
        clock.advance(1)
    store.set("kept", {"b": 1, "a": [2, None]})
    store.set("timed", 1, ttl=1000)
    for number in range(5):
        store.journal.append(
            f"stream-{number % 2}",
            [
                NewEvent("a", {"n": number}, topics=["x"], metadata={"m": 1}),
                NewEvent("b", [number], priority="critical", version=2, id=f"id-{number}"),
            ],
        )
        clock.advance(1)
    store.journal.truncate("stream-0", 3)
    store.journal.append("emptied", [NewEvent("a", n) for n in range(4)])
    store.journal.truncate("emptied", 99)
    store.journal.append("deleted", [NewEvent("a", 1), NewEvent("a", 2)])
    store.journal.delete("deleted")
    store.journal.append("closed", [NewEvent("a", 1)])
    store.journal.delete("closed", tombstone=True)
    store.journal.delete("never was", tombstone=True)
    store.snapshots.save_snapshot("stream-0", 4, {"state": [1, 2]}, {"made by": "test"})
    store.snapshots.save_snapshot("emptied", 4, "all there is")
    waiting, done, failed, running = store.outbox.add(
        [NewEffect("mail", {"n": n}, dedupe_key=f"k{n}", stream="stream-1") for n in range(4)]
    )
    assert waiting < done
    store.outbox.claim(done, 10)
    store.outbox.complete(done, {"receipt": 1})
    store.outbox.claim(failed, 10)
    store.outbox.fail(failed, "no")
    store.outbox.claim(running, 10)


def events(store):
    return [
        (r.stream, r.seq, r.type, r.version, r.timestamp, r.id, r.payload, r.metadata, r.priority)
        for r in store.journal.read_all()
    ]


def check_copied(source, target):
    assert target.list_sessions() == source.list_sessions()
    assert target.get_session("s3") == source.get_session("s3")
    assert [(i.key, i.value, i.expires_at) for i in target.scan()] == [
        (i.key, i.value, i.expires_at) for i in source.scan()
    ]
    assert events(target) == events(source)
    snapshot = target.snapshots.load_snapshot("stream-0")
    assert (snapshot.state, snapshot.metadata) == ({"state": [1, 2]}, {"made by": "test"})
    assert [(e.dedupe_key, e.status, e.result, e.error) for e in target.outbox.list()] == [
        ("k0", "pending", None, None),
        ("k1", "completed", {"receipt": 1}, None),
        ("k2", "failed", None, "no"),
        ("k3", "pending", None, None),
    ]


@pytest.fixture
def stores(tmp_path, clock, request):
    """Makes an open store of each kind that has one; all are closed at the end."""
    opened = []

    def make(kind, name):
        store: Storage
        if kind == "memory":
            store = MemoryAdapter(clock=clock)
        elif kind == "sqlite":
            store = SQLiteAdapter(tmp_path / f"{name}.db", clock=clock)
        elif kind == "file":
            store = FileSystemAdapter(tmp_path / name, clock=clock)
        elif kind == "lmdb":
            store = LmdbAdapter(tmp_path / name, clock=clock)
        elif kind == "postgres":
            url, schema = request.getfixturevalue("understudy_postgres")
            store = PostgresAdapter(url, schema=schema, clock=clock)
        else:
            url, prefix = request.getfixturevalue("understudy_redis")
            store = RedisAdapter(url, prefix=prefix, clock=clock)
        store.initialize()
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


KINDS = ("memory", "sqlite", "file", "lmdb", "postgres", "redis")
PAIRS = [
    pytest.param(
        a, b, marks=[getattr(pytest.mark, kind) for kind in {a, b} & {"postgres", "redis"}]
    )
    for a, b in itertools.permutations(KINDS, 2)
]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_everything_moves_between_any_two_stores(stores, clock, before, after):
    source, target = stores(before, "source"), stores(after, "target")
    fill(source, clock)
    report = migrate(source, target, clock=clock)
    check_copied(source, target)
    assert report.copied == {
        "sessions": 7,
        "keys": 2,
        "events": 8,
        "streams": 4,
        "snapshots": 2,
        "effects": 4,
    }
    assert [count for count, _ in report.checksums.values()] == [7, 2, 8, 4, 2, 4]
    assert report.resumed is False


def test_numbering_goes_on_in_the_copy_also_where_only_a_snapshot_is_left(stores, clock):
    source, target = stores("sqlite", "source"), stores("memory", "target")
    fill(source, clock)
    migrate(source, target, clock=clock)
    assert target.journal.append("stream-0", [NewEvent("c", 1)], expected_seq=6).first_seq == 7
    assert list(target.journal.read("emptied")) == []
    assert target.journal.append("emptied", [NewEvent("c", 1)], expected_seq=4).first_seq == 5
    assert target.journal.append("deleted", [NewEvent("c", 1)], expected_seq=0).first_seq == 3


@pytest.mark.parametrize(("before", "after"), [("lmdb", "file"), ("file", "lmdb")])
def test_a_stream_that_was_closed_for_ever_is_closed_in_the_copy(stores, clock, before, after):
    source, target = stores(before, "source"), stores(after, "target")
    fill(source, clock)
    migrate(source, target, clock=clock)
    for stream, last in (("closed", 1), ("never was", 0)):
        assert target.journal.last_seq(stream) == last
        with pytest.raises(StreamTombstoned):
            target.journal.append(stream, [NewEvent("c", 1)])


class Broken(Exception):
    """The moment at which a migration is cut short."""


@pytest.mark.parametrize("moment", range(0, 24, 3))
def test_a_migration_that_was_cut_short_goes_on_where_it_was(stores, clock, moment):
    source, target = stores("memory", "source"), stores("sqlite", "target")
    fill(source, clock)
    seen = itertools.count()

    def cut(progress):
        if next(seen) == moment:
            raise Broken

    with pytest.raises(Broken):
        migrate(source, target, clock=clock, on_progress=cut)
    report = migrate(source, target, clock=clock)
    assert report.resumed is True
    check_copied(source, target)
    assert not list(target.scan("understudy."))


def test_more_than_a_page_of_keys_and_events_moves(stores, clock):
    source, target = stores("memory", "source"), stores("sqlite", "target")
    for number in range(2100):
        source.set(f"k{number:05}", number)
    source.journal.append("long", [NewEvent("n", n) for n in range(2100)])
    source.outbox.add([NewEffect("mail", n, dedupe_key=str(n)) for n in range(1100)])
    told: list[MigrationProgress] = []
    report = migrate(source, target, clock=clock, on_progress=told.append)
    assert report.copied["keys"] == report.copied["events"] == 2100
    assert MigrationProgress("events", 1000, 2100) in told
    assert MigrationProgress("events", 2100, 2100) in told
    assert MigrationProgress("verify events", 2100, 2100) in told


def test_a_target_that_holds_something_is_refused(stores, clock):
    source, target = stores("memory", "source"), stores("memory", "target")
    fill(source, clock)
    target.set("mine", 1)
    with pytest.raises(MigrationRefused, match="the target holds 1 keys"):
        migrate(source, target, clock=clock)
    assert target.list_sessions() == []


def test_a_target_that_holds_something_is_merged_where_that_is_allowed(stores, clock):
    source, target = stores("memory", "source"), stores("memory", "target")
    fill(source, clock)
    target.set("mine", 1)
    target.set("kept", "of the target")
    target.journal.append("own", [NewEvent("a", 1)])
    migrate(source, target, clock=clock, merge=True)
    assert target.get("mine") == 1
    assert target.get("kept") == source.get("kept")
    assert target.journal.last_seq("own") == 1
    assert target.journal.last_seq("stream-1") == source.journal.last_seq("stream-1")


def test_a_stream_that_goes_another_way_in_the_target_is_refused(stores, clock):
    source, target = stores("memory", "source"), stores("memory", "target")
    source.journal.append("s", [NewEvent("a", 1)])
    target.journal.append("s", [NewEvent("b", 2)])
    with pytest.raises(StorageError):
        migrate(source, target, clock=clock, merge=True)


def test_a_copy_that_differs_is_reported(stores, clock):
    source, target = stores("memory", "source"), stores("memory", "target")
    fill(source, clock)

    def meddle(progress):
        if progress.kind == "effects":
            target.set("kept", "changed")
            source.journal.append("late", [NewEvent("a", 1)])

    with pytest.raises(MigrationIncomplete) as error:
        migrate(source, target, clock=clock, on_progress=meddle)
    assert set(error.value.differences) == {"keys", "events"}
    assert "2 with checksum" in error.value.differences["keys"]


def test_without_verification_nothing_is_compared(stores, clock):
    source, target = stores("memory", "source"), stores("memory", "target")
    fill(source, clock)
    assert migrate(source, target, clock=clock, verify=False).checksums == {}


def test_keys_whose_time_runs_out_are_not_copied(stores, clock):
    source, target = stores("memory", "source"), stores("memory", "target")
    source.set("a", 1, ttl=5)
    source.set("b", 1, ttl=50)
    clock.advance(10)
    migrate(source, target, clock=clock)
    assert [item.key for item in target.scan()] == ["b"]
    clock.advance(40)
    assert target.has("b") is False


def test_events_whose_key_is_gone_are_not_passed_off_as_data(stores, clock, monkeypatch):
    source, target = stores("memory", "source"), stores("memory", "target")
    shredded = Record.of(
        position=1,
        stream="s",
        seq=1,
        type="t",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        id="i",
        payload=Shredded("ada"),
    )
    monkeypatch.setattr(source.journal, "read_all", lambda **_: iter([shredded]))
    with pytest.raises(MigrationRefused, match="encrypted with key 'ada'"):
        migrate(source, target, clock=clock)


def test_what_only_the_lmdb_journal_keeps_is_named(stores, clock):
    source, target = stores("lmdb", "source"), stores("memory", "target")
    fill(source, clock)
    fill_tables(source.journal, clock)
    report = migrate(source, target, clock=clock)
    assert report.left_behind == {
        "state of profiles": 2,
        "state of projections": 2,
        "ledger": 3,
        "cursors": 1,
        "limits": 1,
        "subscriptions": 3,
        "parked": 1,
    }


def fill_tables(journal, clock):
    """What only an LMDB journal keeps, some of it behind events that are gone."""
    now = clock()
    journal.state.put("profiles", "ada", {"name": "Ada", "since": datetime(2026, 1, 1, tzinfo=UTC)})
    journal.state.put("profiles", "short", 1, expires_at=now + 100)
    journal.state.put("projections", "totals", {"position": 9, "state": {"n": 3}})
    journal.state.put("projections", "new", {"position": 0, "state": None})
    journal.ledger.begin("orders", "done", ttl=500)
    journal.ledger.finish("orders", "done", {"number": 17})
    journal.ledger.begin("orders", "failed", ttl=None)
    journal.ledger.fail("orders", "failed", "sold out")
    journal.ledger.begin("orders", "in flight", ttl=500)
    journal.cursors.set("reader", 3)
    journal.limit("stream-1", max_age=5000, max_count=100)
    reader = journal.durable("reader", types=["b"], max_attempts=1)
    first, second, *_ = reader.fetch()
    reader.ack(first)
    reader.nack(second, "cannot")
    journal.durable("of one stream", "stream-1").ack(
        next(journal.read("stream-1", after=1, until_seq=2))
    )
    journal.durable("at the start")


def check_tables(source, target, clock):
    assert dict(target.state.scan("profiles")) == dict(source.state.scan("profiles"))
    short = source.state.expires_at("profiles", "short")
    assert short and target.state.expires_at("profiles", "short") == short
    done = target.ledger.get("orders", "done")
    assert done == source.ledger.get("orders", "done")
    assert done.result == {"number": 17}
    assert target.ledger.get("orders", "failed").result == "sold out"
    assert target.ledger.begin("orders", "failed").claimed is False
    again = target.ledger.begin("orders", "in flight")
    assert (again.claimed, again.attempts) == (True, 2)
    assert target.cursors.list() == {"reader": 3}
    for name, stream, types in (
        ("reader", None, ["b"]),
        ("of one stream", "stream-1", None),
        ("at the start", None, None),
    ):
        mine, theirs = (j.durable(name, stream, types) for j in (source, target))
        assert [(r.stream, r.seq) for r in theirs.fetch()] == [
            (r.stream, r.seq) for r in mine.fetch()
        ]
        assert [(p.record.id, p.attempts, p.error) for p in theirs.parked()] == [
            (p.record.id, p.attempts, p.error) for p in mine.parked()
        ]
    folded = source.record_at(9)
    assert target.record_at(target.state.get("projections", "totals")["position"]).id == folded.id
    assert target.state.get("projections", "new")["position"] == 0
    clock.advance(200)
    assert target.state.get("profiles", "short") is None
    clock.advance(400)
    assert target.ledger.get("orders", "done") is None
    assert target.state.purge_expired() == 2  # these two
    assert target.ledger.get("orders", "failed").status == "failed"


TABLES = {
    "state": 4,
    "ledger": 3,
    "cursors": 1,
    "limits": 1,
    "subscriptions": 3,
    "parked": 1,
}


def test_from_lmdb_to_lmdb_everything_beside_the_events_moves_too(stores, clock):
    source, target = stores("lmdb", "source"), stores("lmdb", "target")
    fill(source, clock)
    fill_tables(source.journal, clock)
    report = migrate(source, target, clock=clock)
    check_copied(source, target)
    assert {kind: report.copied[kind] for kind in TABLES} == TABLES
    assert {kind: report.checksums[kind][0] for kind in TABLES} == TABLES
    assert report.left_behind == {}
    (note,) = report.notes
    assert note.startswith("1 cursors hold the numbers they held; the copy gives positions anew")
    check_tables(source.journal, target.journal, clock)


@pytest.mark.parametrize("moment", range(0, 40, 4))
def test_a_migration_of_everything_that_was_cut_short_goes_on(stores, clock, moment):
    source, target = stores("lmdb", "source"), stores("lmdb", "target")
    fill(source, clock)
    fill_tables(source.journal, clock)
    seen = itertools.count()

    def cut(progress):
        if next(seen) == moment:
            raise Broken

    with pytest.raises(Broken):
        migrate(source, target, clock=clock, on_progress=cut)
    assert migrate(source, target, clock=clock).resumed is True
    check_copied(source, target)
    check_tables(source.journal, target.journal, clock)


def test_where_no_position_changes_cursors_need_no_note(stores, clock):
    source, target = stores("lmdb", "source"), stores("lmdb", "target")
    source.journal.append("s", [NewEvent("a", 1), NewEvent("a", 2)])
    source.journal.cursors.set("reader", 2)
    assert migrate(source, target, clock=clock).notes == []


def test_parked_records_that_are_gone_are_named(stores, clock):
    source, target = stores("lmdb", "source"), stores("lmdb", "target")
    source.journal.append("s", [NewEvent("a", 1), NewEvent("a", 2)])
    reader = source.journal.durable("reader", max_attempts=1)
    reader.nack(reader.fetch(1)[0], "no")
    source.journal.truncate("s", 2)
    report = migrate(source, target, clock=clock)
    assert report.copied["parked"] == 0
    assert report.left_behind == {"parked records that retention has taken": 1}


def test_a_changed_row_beside_the_events_is_found(stores, clock):
    source, target = stores("lmdb", "source"), stores("lmdb", "target")
    fill_source = source.journal
    fill(source, clock)
    fill_tables(fill_source, clock)

    def meddle(progress):
        if progress.kind == "parked":
            target.journal.cursors.set("reader", 4)
            target.journal.ledger.release("orders", "done")

    with pytest.raises(MigrationIncomplete) as error:
        migrate(source, target, clock=clock, on_progress=meddle)
    assert set(error.value.differences) == {"cursors", "ledger"}


def test_a_target_with_rows_beside_the_events_is_refused(stores, clock):
    source, target = stores("lmdb", "source"), stores("lmdb", "target")
    target.journal.cursors.set("reader", 4)
    target.journal.delete("never was", tombstone=True)
    with pytest.raises(MigrationRefused, match="1 streams without events, 1 cursors"):
        migrate(source, target, clock=clock)
