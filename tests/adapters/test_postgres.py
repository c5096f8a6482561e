"""The PostgreSQL store keeps the contract over a real connection, and what is its own."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from understudy.storage import NewEvent, StorageError
from understudy.storage.adapters import MissingDriver, PostgresAdapter, StoreFailed
from understudy.storage.contract import StorageContract

pytestmark = pytest.mark.postgres


class TestPostgres(StorageContract):
    @pytest.fixture(autouse=True)
    def server(self, understudy_postgres):
        self.url, self.schema = understudy_postgres

    def create_adapter(self, tmp_path, clock):
        return PostgresAdapter(self.url, schema=self.schema, clock=clock)


@pytest.fixture
def make(understudy_postgres):
    url, schema = understudy_postgres
    opened = []

    def make():
        store = PostgresAdapter(url, schema=schema)
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
    with pytest.raises(StorageError):
        two.journal.append("s", [NewEvent("a", 2)], expected_seq=0)


def test_tables_made_at_the_same_time_are_made_once(understudy_postgres):
    url, schema = understudy_postgres
    stores = [PostgresAdapter(url, schema=schema) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(PostgresAdapter.initialize, stores))
    stores[0].set("k", 1)
    assert [store.get("k") for store in stores] == [1] * 6
    for store in stores:
        store.close()


def test_writers_of_two_stores_leave_no_gap(make):
    stores = [make(), make()]

    def write(number):
        store = stores[number % 2]
        for n in range(20):
            store.journal.append("shared", [NewEvent("a", [number, n])])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    records = list(stores[0].journal.read_all())
    assert [r.position for r in records] == list(range(1, 81))
    assert [r.seq for r in records] == list(range(1, 81))


def test_a_connection_that_was_cut_is_an_error_once_and_is_made_anew(make):
    store, other = make(), make()
    store.set("k", 1)
    with store._db().reading() as tx:
        pid = tx.execute("SELECT pg_backend_pid()").fetchone()[0]
    with other._db().reading() as tx:
        tx.execute("SELECT pg_terminate_backend(?)", (pid,))
    with pytest.raises(StoreFailed):
        store.get("k")
    assert store.get("k") == 1


def test_a_connection_that_is_cut_in_a_transaction_keeps_nothing_of_it(make):
    store, other = make(), make()
    with pytest.raises(StoreFailed), store._db().writing() as tx:
        pid = tx.execute("SELECT pg_backend_pid()").fetchone()[0]
        tx.execute("INSERT INTO us_keys (key, value) VALUES ('k', '\\xc0')")
        with other._db().reading() as killer:
            killer.execute("SELECT pg_terminate_backend(?)", (pid,))
        tx.execute("INSERT INTO us_keys (key, value) VALUES ('l', '\\xc0')")
    assert store.has("k") is False


def test_no_connection_is_left_open_by_many_threads(make, understudy_postgres):
    store = make()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.set(f"k{n}", n), range(40)))
    store.close()
    other = make()
    with other._db().reading() as tx:
        count = tx.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'understudy' "
            "AND query LIKE ?",
            (f"%{understudy_postgres[1]}%",),
        ).fetchone()[0]
    assert count <= 1


@pytest.mark.parametrize(
    "url", ["postgresql://127.0.0.1:1/nowhere", "postgresql://127.0.0.1/no_such_database_here"]
)
def test_a_server_or_database_that_is_not_there_is_an_error(understudy_postgres, url):
    with pytest.raises(StoreFailed):
        PostgresAdapter(url, connect_timeout=1).initialize()


def test_a_url_that_libpq_does_not_take_is_an_error(understudy_postgres):
    with pytest.raises(StoreFailed):
        PostgresAdapter("postgresql://host:port/db").initialize()


def test_a_schema_is_a_plain_name():
    with pytest.raises(ValueError, match="small letters"):
        PostgresAdapter("", schema='x"; DROP TABLE y')


def test_a_missing_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDriver, match=r"pip install 'understudy\[postgres\]'"):
        PostgresAdapter("").initialize()
    with pytest.raises(ImportError):
        PostgresAdapter("").initialize()


def test_stats_name_the_server(make):
    stats = make().get_stats()
    assert stats.details["postgresql"]
    assert stats.size_bytes > 0
