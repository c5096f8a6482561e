"""The Redis store keeps the contract over a real connection, and what is its own."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from understudy.storage import NewEvent, WrongExpectedSeq
from understudy.storage._protocols import ListOptions, SessionSort
from understudy.storage.adapters import MissingDriver, RedisAdapter, StoreFailed
from understudy.storage.contract import ContractClock, StorageContract

pytestmark = pytest.mark.redis


class TestRedis(StorageContract):
    @pytest.fixture(autouse=True)
    def server(self, understudy_redis):
        self.url, self.prefix = understudy_redis

    def create_adapter(self, tmp_path, clock):
        return RedisAdapter(self.url, prefix=self.prefix, clock=clock)


@pytest.fixture
def clock():
    return ContractClock()


@pytest.fixture
def make(understudy_redis, clock):
    url, prefix = understudy_redis
    opened = []

    def make():
        store = RedisAdapter(url, prefix=prefix, clock=clock)
        store.initialize()
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


def test_two_stores_share_what_is_stored(make):
    one, two = make(), make()
    one.save_session("s", {"n": 1})
    assert two.get_session("s").data == {"n": 1}
    one.journal.append("s", [NewEvent("a", 1)], expected_seq=0)
    with pytest.raises(WrongExpectedSeq):
        two.journal.append("s", [NewEvent("a", 2)], expected_seq=0)


def test_writers_of_two_stores_leave_no_gap(make):
    stores = [make(), make()]

    def write(number):
        for n in range(20):
            stores[number % 2].journal.append("shared", [NewEvent("a", [number, n])])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    records = list(stores[0].journal.read_all())
    assert [r.position for r in records] == list(range(1, 81))


def test_all_keys_lie_under_the_prefix_and_on_one_node_of_a_cluster(make, understudy_redis):
    url, prefix = understudy_redis
    store = make()
    store.save_session("s", 1, active_agent="a")
    store.set("k", 1, ttl=5)
    store.journal.append("s", [NewEvent("a", 1)])
    store.snapshots.save_snapshot("s", 1, 1)
    with store._server().asked() as client:
        mine = [key.decode() for key in client.scan_iter(match=f"*{prefix}*", count=1000)]
    assert len(mine) > 8
    assert all(key.startswith("{" + prefix + "}:") for key in mine)
    store.clear()
    with store._server().asked() as client:
        assert not list(client.scan_iter(match=f"*{prefix}*", count=1000))


def test_the_server_frees_a_key_some_time_after_it_ran_out(make):
    store = make()
    store.set("k", 1, ttl=5)
    with store._server().asked() as client:
        left = client.pttl(store._server().key("key", "k"))
    assert 60_000 < left <= 65_000


def test_expired_keys_are_removed_by_the_next_write(make, clock):
    store = make()
    for number in range(5):
        store.set(f"k{number}", 1, ttl=10)
    clock.advance(10)
    store.set("new", 1)
    with store._server().asked() as client:
        assert client.zcard(store._server().key("keys")) == 1


def test_long_streams_are_dropped_piece_by_piece(make, monkeypatch):
    monkeypatch.setattr("understudy.storage.adapters._redis_journal.DROP_PAGE", 10)
    store = make()
    store.journal.append("s", [NewEvent("a", n) for n in range(95)])
    assert store.journal.truncate("s", 51) == 50
    assert [r.seq for r in store.journal.read("s")] == list(range(51, 96))
    assert store.journal.delete("s") == 45


def test_sessions_of_an_agent_are_sorted_by_any_field(make, clock):
    store = make()
    for name in ("c", "a", "b"):
        store.save_session(name, 1, active_agent="echo")
        clock.advance(1)
    store.save_session("x", 1, active_agent="other")
    orders: dict[SessionSort, str] = {"id": "abc", "created_at": "cab", "updated_at": "cab"}
    for sort, expected in orders.items():
        options = ListOptions(active_agent="echo", sort=sort)
        assert store.list_sessions(options) == list(expected)


def test_a_server_that_is_not_there_is_an_error():
    with pytest.raises(StoreFailed):
        RedisAdapter("redis://127.0.0.1:1/0", connect_timeout=1).initialize()


def test_a_url_that_is_none_is_an_error():
    with pytest.raises(StoreFailed):
        RedisAdapter("mailto:ada@example.org").initialize()


def test_a_refusal_of_the_server_is_an_error_and_the_store_goes_on(make):
    store = make()
    with store._server().asked() as client:
        client.set(store._server().key("key", "k"), "")
        client.hset(store._server().key("key", "h"), "a", 1)
    with pytest.raises(StoreFailed, match="WRONGTYPE"):
        store.get("h")
    store.set("k", 1)
    assert store.get("k") == 1


def test_a_prefix_is_a_plain_name():
    with pytest.raises(ValueError, match="prefix is"):
        RedisAdapter(prefix="a*")


def test_a_missing_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingDriver, match=r"pip install 'understudy\[redis\]'"):
        RedisAdapter().initialize()


def test_stats_tell_whether_the_server_writes_to_disk(make):
    details = make().get_stats().details
    assert isinstance(details["appendonly"], bool)
    assert details["redis"]
