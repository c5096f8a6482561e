"""Lists of an LMDB store come from indexes that are in step with its sessions."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from understudy.storage._errors import JournalReadOnly
from understudy.storage._tables import unpack
from understudy.storage._write import Delete, Write
from understudy.storage.adapters import ListOptions, LmdbAdapter, MemoryAdapter, _lmdb_sessions
from understudy.storage.contract import ContractClock

DAY = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def clock():
    return ContractClock()


@pytest.fixture
def store(tmp_path, clock):
    with LmdbAdapter(tmp_path / "store", durability="relaxed", clock=clock) as store:
        yield store


def every_option():
    for sort in ("updated_at", "created_at", "id"):
        for agent in (None, "echo", "übersetzer", "nobody"):
            for since, until in ((None, None), (5, None), (None, 15), (5, 15), (15, 5)):
                for limit, offset in ((None, 0), (3, 0), (3, 2), (0, 1), (None, 4), (99, 99)):
                    for reverse in (False, True):
                        yield ListOptions(
                            active_agent=agent,
                            updated_since=None if since is None else DAY + timedelta(seconds=since),
                            updated_until=None if until is None else DAY + timedelta(seconds=until),
                            sort=sort,
                            reverse=reverse,
                            limit=limit,
                            offset=offset,
                        )


def change(stores, choices, steps):
    """Saves and deletes, the same in all stores."""
    for step in range(steps):
        session_id = choices.choice(("a", "ab", "b", "ä", "z:1", "z:2", "\U0001f600", "\ufffd"))
        agent = choices.choice((None, "echo", "übersetzer"))
        seconds = choices.randrange(-5, 20)
        made = choices.choice((None, DAY - timedelta(days=choices.randrange(30_000))))
        remove = choices.random() < 0.2
        for store in stores:
            if remove:
                store.delete_session(session_id)
            else:
                store.save_session(
                    session_id,
                    {"step": step},
                    active_agent=agent,
                    created_at=made,
                    updated_at=DAY + timedelta(seconds=seconds),
                )


def compare(store, model):
    for options in every_option():
        assert store.list_sessions(options) == model.list_sessions(options), options
    for session_id in model.list_sessions():
        assert store.get_session(session_id) == model.get_session(session_id)
    assert store.get_stats().sessions == model.get_stats().sessions


@pytest.mark.parametrize("seed", range(3))
def test_lists_are_those_of_a_store_that_looks_at_every_session(store, clock, seed, monkeypatch):
    monkeypatch.setattr(_lmdb_sessions, "PAGE", 3)
    choices = random.Random(seed)
    with MemoryAdapter(clock=clock) as model:
        for _ in range(3):
            change([store, model], choices, 15)
            compare(store, model)


def test_nothing_but_the_wanted_page_is_read(store, monkeypatch):
    for number in range(200):
        store.save_session(f"s{number:03}", number, active_agent=f"agent-{number % 2}")
    read = []

    def counted(row):
        read.append(row)
        return unpack(row)

    monkeypatch.setattr(_lmdb_sessions, "unpack", counted)
    wanted = ListOptions(active_agent="agent-1", reverse=True, limit=5)
    assert store.list_sessions(wanted) == ["s199", "s197", "s195", "s193", "s191"]
    assert len(read) == 5
    monkeypatch.setattr(store._table(), "_rows", None)  # looks at the sessions themselves
    for sort in ("updated_at", "created_at", "id"):
        page = store.list_sessions(ListOptions(sort=sort, limit=2, offset=1))
        assert page == ["s001", "s002"]


def without_index(store):
    state = store.journal.state
    for bucket in _lmdb_sessions.BUCKETS - {"session", "session-data"}:
        deletes = [Delete(bucket, key) for key, _ in state.scan(bucket)]
        store.journal.write(Write(deletes=deletes))


def test_a_store_from_before_the_indexes_gets_them_when_it_is_opened(store, clock):
    choices = random.Random(7)
    with MemoryAdapter(clock=clock) as model:
        change([store, model], choices, 20)
        without_index(store)
        store.close()
        with LmdbAdapter(store.path, readonly=True) as reader:
            assert not reader._table()._indexed()
            compare(reader, model)
            with pytest.raises(JournalReadOnly):
                reader.save_session("new", 1)
        store.initialize()
        assert store._table()._indexed()
        compare(store, model)


def test_agents_whose_digests_are_equal_are_kept_apart(store, monkeypatch):
    monkeypatch.setattr(_lmdb_sessions, "_agent", lambda _: "0" * 16)
    for number in range(20):
        store.save_session(f"s{number:02}", number, active_agent=f"agent-{number % 4}")
    wanted = ListOptions(active_agent="agent-3", reverse=True, limit=3)
    assert store.list_sessions(wanted) == ["s19", "s15", "s11"]


def test_concurrent_saves_of_one_session_leave_one_row_in_each_index(store):
    first = DAY - timedelta(days=1)
    store.save_session("busy", 0, created_at=first)

    def save(number):
        store.save_session("busy", number, active_agent=f"agent-{number}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save, range(200)))
    session = store.get_session("busy")
    assert session.active_agent == f"agent-{session.data}"
    assert session.created_at == first
    state = store.journal.state
    for bucket in ("session-by-update", "session-by-creation", "session-by-agent"):
        assert len(list(state.scan(bucket))) == 1
    assert store.list_sessions(ListOptions(active_agent=session.active_agent)) == ["busy"]
    assert store.delete_session("busy") is True
    assert state.buckets() == ["session-index"]


def test_names_and_agents_may_be_long(store):
    longest = "ä" * 200
    store.save_session(longest, 1, active_agent="x" * 5000)
    assert store.list_sessions(ListOptions(active_agent="x" * 5000)) == [longest]
