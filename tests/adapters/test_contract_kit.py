"""The contract kit as its users meet it: three lines test a store, and a fault is found."""

from __future__ import annotations

import contextlib
import textwrap

import pytest

import understudy.storage.adapters
import understudy.storage.contract.plugin  # noqa: F401 - see below
from understudy.storage.contract import ContractBase, ContractClock

# What is imported first in a run of pytest inside of this one is forgotten with it, and would be there
# twice afterwards: so drivers and stores are imported here.
with contextlib.suppress(ImportError):
    import psycopg  # noqa: F401
with contextlib.suppress(ImportError):
    import redis  # noqa: F401

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.slow


@pytest.fixture
def run_tests(pytester, tmp_path, monkeypatch):
    """Runs a test file as a user would, and returns pytest's output."""

    def run_tests(text, *arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        pytester.makepyfile(test_store=textwrap.dedent(text))
        result = pytester.runpytest_inprocess(
            "-q", "-rA", "--tb=short", "--color=no", "-p", "no:cacheprovider",
            "-o", "asyncio_default_fixture_loop_scope=function",
            "--basetemp", str(tmp_path / "base"), *arguments,
        )  # fmt: skip
        return "\n".join(result.outlines)

    return run_tests


def test_a_store_is_tested_by_eighteen_tests_with_three_lines(run_tests):
    output = run_tests(
        """
        from understudy.storage.adapters import SQLiteAdapter
        from understudy.storage.contract import AdapterContract

        class TestMyStore(AdapterContract):
            def create_adapter(self, tmp_path, clock):
                return SQLiteAdapter(tmp_path / "store", clock=clock)
        """
    )
    assert "18 passed" in output


FAULTS = {
    "forgets the time to live": (
        "def set(self, key, value, ttl=None): super().set(key, value)",
        "test_a_key_is_gone_when_its_time_has_run_out",
    ),
    "keeps nothing": (
        "def initialize(self): super().initialize(); self.clear()",
        "test_everything_survives_a_restart",
    ),
    "lists in no order": (
        (
            "def list_sessions(self, options=None):\n"
            "                return sorted(super().list_sessions(options))"
        ),
        "test_sessions_are_listed_in_the_order_of_their_last_save",
    ),
    "swallows what it cannot store": (
        (
            "def set(self, key, value, ttl=None):\n"
            "                try: super().set(key, value, ttl)\n"
            "                except StorageError: pass"
        ),
        "test_an_operation_that_fails_raises_and_leaves_what_was_there",
    ),
    "clears only half": (
        (
            "def clear(self):\n"
            "                for name in self.list_sessions(): self.delete_session(name)"
        ),
        "test_clear_forgets_everything_and_the_store_goes_on",
    ),
    "takes None for absent": (
        "def has(self, key): return self.get(key) is not None",
        "test_has_tells_an_absent_key_from_a_key_whose_value_is_none",
    ),
}


def test_faults_of_stores_are_found_by_the_tests_that_name_them(run_tests):
    text = (
        "from understudy.storage import StorageError\n"
        "from understudy.storage.adapters import SQLiteAdapter\n"
        "from understudy.storage.contract import AdapterContract\n"
    )
    for number, (code, _) in enumerate(FAULTS.values()):
        text += f"""
class Faulty{number}(SQLiteAdapter):
            {code}

class TestFaulty{number}(AdapterContract):
    def create_adapter(self, tmp_path, clock):
        return Faulty{number}(tmp_path / "store", clock=clock)
"""
    output = run_tests(text)
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    for number, (fault, (_, test)) in enumerate(FAULTS.items()):
        assert any(f"::TestFaulty{number}::{test}" in line for line in failed), fault


def test_a_failing_assertion_shows_its_values(run_tests):
    output = run_tests(
        """
        from understudy.storage.adapters import SQLiteAdapter
        from understudy.storage.contract import AdapterContract

        class Faulty(SQLiteAdapter):
            def get(self, key): return "purple"

        class TestFaulty(AdapterContract):
            def create_adapter(self, tmp_path, clock):
                return Faulty(tmp_path / "store", clock=clock)
        """,
        "-k",
        "replaces_its_value",
    )
    assert "'purple' == 'blue'" in output


def test_a_journal_that_leaves_gaps_is_found(run_tests):
    output = run_tests(
        """
        from understudy.storage.adapters import MemoryAdapter
        from understudy.storage.contract import JournalContract

        class TestFaulty(JournalContract):
            def create_adapter(self, tmp_path, clock):
                store = MemoryAdapter(clock=clock)
                append = store.journal.append
                def skipping(stream, events, **options):
                    store.journal._position += 1
                    return append(stream, events, **options)
                store.journal.append = skipping
                return store

            def restart_adapter(self, adapter, tmp_path, clock):
                adapter.close()
                adapter.initialize()
                return adapter
        """,
        "-k",
        "dense",
    )
    assert "1 failed" in output


def test_a_server_that_is_not_there_is_a_reason_to_skip_that_is_told(run_tests):
    pytest.importorskip("psycopg")
    pytest.importorskip("redis")
    output = run_tests(
        """
        from understudy.storage.contract.plugin import *

        def test_postgres(understudy_postgres): pass
        def test_redis(understudy_redis): pass
        """,
        UNDERSTUDY_TEST_POSTGRES="postgresql://127.0.0.1:1/nowhere",
        UNDERSTUDY_TEST_REDIS="redis://127.0.0.1:1/0",
    )
    assert "2 skipped" in output
    assert "no PostgreSQL server to test with (set UNDERSTUDY_TEST_POSTGRES to a URL)" in output
    assert "no Redis server to test with at redis://127.0.0.1:1/0" in output


def test_a_suite_without_a_store_says_what_to_define():
    with pytest.raises(NotImplementedError, match="must define create_adapter"):
        ContractBase().create_adapter(None, ContractClock())  # type: ignore[arg-type]  # unused
