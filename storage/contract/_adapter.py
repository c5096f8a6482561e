"""The eighteen tests of a storage adapter, and the details beyond them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from understudy.storage._errors import StorageError
from understudy.storage._protocols import ListOptions, StorageAdapter
from understudy.storage.contract._base import ContractBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.storage.contract._base import ContractClock

#: How many threads the concurrency tests use, and how many operations each of them does.
THREADS, OPERATIONS = 8, 12


class AdapterContract(ContractBase):
    """Sessions 6, keys 5, stats 1, clear 1, errors 2, restart 1, concurrency 2: eighteen tests."""

    # --- sessions -----------------------------------------------------------------------

    def test_saving_a_session_again_replaces_its_data(self, adapter: StorageAdapter) -> None:
        adapter.save_session("ada:echo:t1", {"turns": 1, "draft": True})
        adapter.save_session("ada:echo:t1", {"turns": 2})
        session = adapter.get_session("ada:echo:t1")
        assert session is not None
        assert session.data == {"turns": 2}

    def test_a_saved_session_is_retrieved_with_its_fields(
        self, adapter: StorageAdapter, clock: ContractClock
    ) -> None:
        data = {"messages": [{"role": "user", "text": "grüß Gott"}], "score": 0.5, "raw": b"\x00"}
        adapter.save_session("ada:echo:t1", data, active_agent="echo")
        session = adapter.get_session("ada:echo:t1")
        assert session is not None
        assert session.id == "ada:echo:t1"
        assert session.data == data
        assert session.active_agent == "echo"
        assert session.created_at == datetime.fromtimestamp(clock(), UTC)
        assert session.updated_at == session.created_at

    def test_a_deleted_session_is_gone(self, adapter: StorageAdapter) -> None:
        adapter.save_session("s1", {})
        assert adapter.delete_session("s1") is True
        assert adapter.get_session("s1") is None
        assert adapter.list_sessions() == []

    def test_sessions_are_listed_in_the_order_of_their_last_save(
        self, adapter: StorageAdapter, clock: ContractClock
    ) -> None:
        for name in ("s1", "s2", "s3", "s1"):
            adapter.save_session(name, {})
            clock.advance(1)
        assert adapter.list_sessions() == ["s2", "s3", "s1"]
        assert adapter.list_sessions(ListOptions(reverse=True)) == ["s1", "s3", "s2"]

    def test_pages_of_sessions_join_to_the_whole_list(self, adapter: StorageAdapter) -> None:
        names = [f"s{n:02}" for n in range(10)]
        for name in reversed(names):
            adapter.save_session(name, {})
        pages = [
            adapter.list_sessions(ListOptions(sort="id", limit=4, offset=start))
            for start in (0, 4, 8, 12)
        ]
        assert pages == [names[:4], names[4:8], names[8:], []]
        assert adapter.list_sessions(ListOptions(limit=0)) == []

    def test_sessions_are_filtered_by_agent_and_by_time(
        self, adapter: StorageAdapter, clock: ContractClock
    ) -> None:
        for number in range(6):
            agent = "echo" if number % 2 else "clerk"
            adapter.save_session(f"s{number}", {}, active_agent=agent)
            clock.advance(60)
        start = datetime.fromtimestamp(clock() - 6 * 60, UTC)
        second, fifth = start + timedelta(minutes=1), start + timedelta(minutes=4)
        assert adapter.list_sessions(ListOptions(active_agent="echo")) == ["s1", "s3", "s5"]
        window = ListOptions(updated_since=second, updated_until=fifth)
        assert adapter.list_sessions(window) == ["s1", "s2", "s3"]
        both = ListOptions(active_agent="clerk", updated_since=second)
        assert adapter.list_sessions(both) == ["s2", "s4"]

    # --- keys ---------------------------------------------------------------------------

    def test_setting_a_key_again_replaces_its_value(self, adapter: StorageAdapter) -> None:
        adapter.set("colour", "red")
        adapter.set("colour", "blue")
        assert adapter.get("colour") == "blue"

    def test_a_value_is_read_as_it_was_set(self, adapter: StorageAdapter) -> None:
        value = {
            "none": None,
            "yes": True,
            "whole": -(2**63),
            "real": 1.5,
            "text": "naïve 🎭",
            "bytes": b"\x00\xff",
            "list": [1, [2, {}]],
            "when": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
            7: "a key that is no text",
        }
        adapter.set("value", value)
        assert adapter.get("value") == value

    def test_a_deleted_key_is_gone(self, adapter: StorageAdapter) -> None:
        adapter.set("k", 1)
        assert adapter.delete("k") is True
        assert adapter.get("k") is None
        assert adapter.delete("k") is False

    def test_has_tells_an_absent_key_from_a_key_whose_value_is_none(
        self, adapter: StorageAdapter
    ) -> None:
        adapter.set("nothing", None)
        assert adapter.has("nothing") is True
        assert adapter.get("nothing") is None
        assert adapter.has("absent") is False

    def test_a_key_is_gone_when_its_time_has_run_out(
        self, adapter: StorageAdapter, clock: ContractClock
    ) -> None:
        adapter.set("short", 1, ttl=10)
        adapter.set("long", 2, ttl=timedelta(minutes=1))
        clock.advance(9.999)
        assert adapter.get("short") == 1
        clock.advance(0.001)
        assert adapter.get("short") is None
        assert adapter.has("short") is False
        assert adapter.delete("short") is False
        assert adapter.get("long") == 2

    # --- stats, clear -------------------------------------------------------------------

    def test_stats_count_what_is_stored(
        self, adapter: StorageAdapter, clock: ContractClock
    ) -> None:
        adapter.save_session("s1", {})
        adapter.save_session("s2", {})
        adapter.set("k1", 1)
        adapter.set("k2", 2, ttl=1)
        clock.advance(2)
        stats = adapter.get_stats()
        assert stats.name == adapter.name
        assert (stats.sessions, stats.keys) == (2, 1)

    def test_clear_forgets_everything_and_the_store_goes_on(self, adapter: StorageAdapter) -> None:
        adapter.save_session("s1", {})
        adapter.set("k", 1)
        adapter.clear()
        assert adapter.get_session("s1") is None
        assert adapter.list_sessions() == []
        assert adapter.has("k") is False
        adapter.set("k", 2)
        assert adapter.get("k") == 2

    # --- errors -------------------------------------------------------------------------

    def test_what_was_never_stored_is_none_or_false_and_no_error(
        self, adapter: StorageAdapter
    ) -> None:
        assert adapter.get_session("nobody") is None
        assert adapter.delete_session("nobody") is False
        assert adapter.get("nothing") is None
        assert adapter.delete("nothing") is False
        assert adapter.has("nothing") is False

    def test_an_operation_that_fails_raises_and_leaves_what_was_there(
        self, adapter: StorageAdapter
    ) -> None:
        adapter.set("k", "before")
        adapter.save_session("s1", "before")
        with pytest.raises(StorageError):
            adapter.set("k", object())
        with pytest.raises(StorageError):
            adapter.save_session("s1", {"deep": [object()]})
        session = adapter.get_session("s1")
        assert session is not None
        assert session.data == "before"
        assert adapter.get("k") == "before"
        adapter.close()
        with pytest.raises(StorageError):
            adapter.get("k")
        with pytest.raises(StorageError):
            adapter.save_session("s1", "after")
        adapter.initialize()

    # --- restart ------------------------------------------------------------------------

    def test_everything_survives_a_restart(
        self, adapter: StorageAdapter, restart: Callable[[], StorageAdapter], clock: ContractClock
    ) -> None:
        adapter.save_session("s1", {"turns": 3}, active_agent="echo")
        adapter.set("kept", [1, 2])
        adapter.set("short", 1, ttl=10)
        adapter.set("long", 1, ttl=100)
        before = adapter.get_session("s1")
        again = restart()
        assert again.get_session("s1") == before
        assert again.list_sessions(ListOptions(active_agent="echo")) == ["s1"]
        assert again.get("kept") == [1, 2]
        clock.advance(50)
        assert (again.has("short"), again.has("long")) == (False, True)

    # --- concurrency --------------------------------------------------------------------

    def test_many_readers_at_once_all_read_the_truth(self, adapter: StorageAdapter) -> None:
        for number in range(20):
            adapter.save_session(f"s{number}", {"number": number, "text": "x" * 2000})
            adapter.set(f"k{number}", number)

        def read(thread: int) -> int:
            wrong = 0
            for step in range(OPERATIONS):
                number = (thread * 7 + step) % 20
                session = adapter.get_session(f"s{number}")
                wrong += session is None or session.data["number"] != number
                wrong += adapter.get(f"k{number}") != number
                wrong += len(adapter.list_sessions()) != 20
            return wrong

        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(read, range(THREADS))) == 0

    def test_many_writers_at_once_lose_nothing(self, adapter: StorageAdapter) -> None:
        def write(thread: int) -> None:
            for step in range(OPERATIONS):
                adapter.save_session(f"s{thread}-{step}", {"thread": thread, "step": step})
                adapter.set(f"k{thread}-{step}", [thread, step])
                adapter.set("shared", [thread, step])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(write, range(THREADS)))
        assert len(adapter.list_sessions()) == THREADS * OPERATIONS
        for thread in range(THREADS):
            for step in range(OPERATIONS):
                session = adapter.get_session(f"s{thread}-{step}")
                assert session is not None
                assert session.data == {"thread": thread, "step": step}
                assert adapter.get(f"k{thread}-{step}") == [thread, step]
        assert adapter.get("shared")[1] == OPERATIONS - 1


class AdapterDetailsContract(ContractBase):
    """What the eighteen leave open: times, sorting, names, values, life cycle, listing of keys."""

    def test_the_adapter_has_the_shape_of_a_storage_adapter(self, adapter: Any) -> None:
        assert isinstance(adapter, StorageAdapter)
        assert isinstance(adapter.name, str)
        assert adapter.name

    def test_initialize_and_close_may_be_called_twice(self, adapter: StorageAdapter) -> None:
        adapter.initialize()
        adapter.set("k", 1)
        adapter.close()
        adapter.close()
        adapter.initialize()
        assert adapter.get("k") == 1

    def test_a_with_block_opens_and_closes_the_store(self, adapter: Any) -> None:
        adapter.close()
        with adapter as opened:
            opened.set("k", 1)
        with pytest.raises(StorageError):
            adapter.get("k")
        adapter.initialize()
        assert adapter.get("k") == 1

    def test_created_at_is_kept_and_updated_at_moves(
        self, adapter: StorageAdapter, clock: ContractClock
    ) -> None:
        adapter.save_session("s1", 1)
        clock.advance(5)
        adapter.save_session("s1", 2)
        session = adapter.get_session("s1")
        assert session is not None
        assert session.updated_at - session.created_at == timedelta(seconds=5)

    def test_given_times_are_taken_over(self, adapter: StorageAdapter) -> None:
        created = datetime(2020, 1, 1, tzinfo=UTC)
        updated = datetime(2021, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
        adapter.save_session("s1", 1)
        adapter.save_session("s1", 1, created_at=created, updated_at=updated)
        session = adapter.get_session("s1")
        assert session is not None
        assert (session.created_at, session.updated_at) == (created, updated)

    def test_a_time_without_a_zone_is_refused(self, adapter: StorageAdapter) -> None:
        with pytest.raises(ValueError, match="time zone"):
            adapter.save_session("s1", 1, updated_at=datetime(2020, 1, 1))  # noqa: DTZ001 - the point

    def test_an_agent_that_left_is_no_longer_found(self, adapter: StorageAdapter) -> None:
        adapter.save_session("s1", 1, active_agent="echo")
        adapter.save_session("s1", 1)
        assert adapter.list_sessions(ListOptions(active_agent="echo")) == []

    def test_sessions_are_sorted_by_creation_too(
        self, adapter: StorageAdapter, clock: ContractClock
    ) -> None:
        for name in ("s1", "s2", "s1"):
            adapter.save_session(name, {})
            clock.advance(1)
        assert adapter.list_sessions(ListOptions(sort="created_at")) == ["s1", "s2"]
        newest = ListOptions(sort="created_at", reverse=True, limit=1)
        assert adapter.list_sessions(newest) == ["s2"]

    @pytest.mark.parametrize(
        "name", ["a/b\\c", "ada:echo:t1", "sp ace", "ünïcode ☃", "..", "%41", "Aa", "aA", "x" * 300]
    )
    def test_any_text_is_a_name(self, adapter: StorageAdapter, name: str) -> None:
        adapter.save_session(name, "session")
        adapter.set(name, "value")
        session = adapter.get_session(name)
        assert session is not None
        assert session.data == "session"
        assert adapter.get(name) == "value"
        assert adapter.list_sessions() == [name]
        assert adapter.get_session(name.swapcase() + "?") is None

    def test_an_empty_name_is_refused(self, adapter: StorageAdapter) -> None:
        with pytest.raises(ValueError, match="session_id"):
            adapter.save_session("", 1)
        with pytest.raises(ValueError, match="key"):
            adapter.set("", 1)

    def test_names_that_differ_in_case_are_different(self, adapter: StorageAdapter) -> None:
        adapter.set("Key", 1)
        adapter.set("key", 2)
        assert (adapter.get("Key"), adapter.get("key")) == (1, 2)

    def test_setting_without_a_time_to_live_takes_the_old_one_away(
        self, adapter: StorageAdapter, clock: ContractClock
    ) -> None:
        adapter.set("k", 1, ttl=5)
        adapter.set("k", 2)
        clock.advance(10)
        assert adapter.get("k") == 2

    def test_a_time_to_live_that_is_over_from_the_start_is_refused(
        self, adapter: StorageAdapter
    ) -> None:
        with pytest.raises(ValueError, match="ttl"):
            adapter.set("k", 1, ttl=0)

    def test_what_is_read_is_a_copy(self, adapter: StorageAdapter) -> None:
        value = {"list": [1]}
        adapter.set("k", value)
        value["list"].append(2)
        adapter.get("k")["list"].append(3)
        assert adapter.get("k") == {"list": [1]}

    def test_a_session_of_ten_megabytes_comes_back(self, adapter: StorageAdapter) -> None:
        data = {"chunks": [bytes([n]) * 100_000 for n in range(100)]}
        adapter.save_session("large", data)
        session = adapter.get_session("large")
        assert session is not None
        assert session.data == data

    def test_scan_lists_the_living_keys_of_a_prefix_in_order(
        self, adapter: Any, clock: ContractClock
    ) -> None:
        for key in ("b/2", "b/10", "a/1", "b", "c"):
            adapter.set(key, key)
        adapter.set("b/gone", 1, ttl=1)
        adapter.set("b/later", 1, ttl=100)
        clock.advance(1)
        found = list(adapter.scan("b/"))
        assert [(item.key, item.value) for item in found] == [
            ("b/10", "b/10"),
            ("b/2", "b/2"),
            ("b/later", 1),
        ]
        expiry = datetime.fromtimestamp(clock() + 99, UTC)
        assert [item.expires_at for item in found] == [None, None, expiry]
        assert len(list(adapter.scan())) == 6
