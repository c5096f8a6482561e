"""The pytest plugin of the contract kit: fixtures for stores that live on a server.

A server is found by `UNDERSTUDY_TEST_POSTGRES` or `UNDERSTUDY_TEST_REDIS` (a URL), else at
the standard port of this machine. Where there is none, the tests that ask for it are
skipped and say so.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds to wait for a server to accept a connection.
CONNECT_TIMEOUT = 2


def _own_name() -> str:
    return f"understudy_test_{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def understudy_postgres_url() -> str:
    """The URL of a PostgreSQL server to test with; skips where there is none."""
    psycopg = pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    given = os.environ.get("UNDERSTUDY_TEST_POSTGRES")
    candidates = (given,) if given else ("postgresql://127.0.0.1:5432", "postgresql://")
    errors = []
    for url in candidates:
        try:
            psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT).close()
        except psycopg.Error as error:
            errors.append(f"{url}: {str(error).strip().splitlines()[-1]}")
        else:
            return url
    pytest.skip(
        "no PostgreSQL server to test with (set UNDERSTUDY_TEST_POSTGRES to a URL): "
        + "; ".join(errors)
    )


@pytest.fixture
def understudy_postgres(understudy_postgres_url: str) -> Iterator[tuple[str, str]]:
    """A server's URL and the name of a schema of this test alone, dropped after it."""
    import psycopg

    schema = _own_name()
    yield understudy_postgres_url, schema
    with psycopg.connect(
        understudy_postgres_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT
    ) as connection:
        connection.execute("SET client_min_messages TO warning")
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


@pytest.fixture(scope="session")
def understudy_redis_url() -> str:
    """The URL of a Redis server to test with; skips where there is none."""
    redis = pytest.importorskip("redis", reason="the package redis is not installed")
    url = os.environ.get("UNDERSTUDY_TEST_REDIS", "redis://127.0.0.1:6379/0")
    client = redis.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT)
    try:
        client.ping()
    except redis.RedisError as error:
        pytest.skip(
            f"no Redis server to test with at {url} (set UNDERSTUDY_TEST_REDIS to a URL): {error}"
        )
    finally:
        client.close()
    return url


@pytest.fixture
def understudy_redis(understudy_redis_url: str) -> Iterator[tuple[str, str]]:
    """A server's URL and a key prefix of this test alone, its keys deleted after it."""
    import redis

    prefix = _own_name()
    yield understudy_redis_url, prefix
    with redis.Redis.from_url(understudy_redis_url) as client:
        left = list(client.scan_iter(match=f"*{prefix}*", count=1000))
        if left:
            client.delete(*left)
