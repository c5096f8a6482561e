"""The connection to a Redis server: scripts, names of keys, errors."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from understudy.storage.adapters._errors import MissingDriver, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class RedisServer:
    """One server and one prefix; every method may be called from any thread."""

    def __init__(self, url: str, prefix: str, timeout: float) -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingDriver("redis", "redis", "redis") from error
        self._errors = redis.RedisError
        self.prefix = "{" + prefix + "}"
        try:
            # Any: redis-py annotates answers as bytes or str; without decoding they are bytes.
            self.client: Any = redis.Redis.from_url(
                url, socket_connect_timeout=timeout, socket_timeout=max(timeout, 30.0)
            )
        except ValueError as error:
            raise StoreFailed("redis", str(error)) from error

    @contextlib.contextmanager
    def asked(self) -> Iterator[Any]:
        """The client; what the server or the connection refuses is a `StoreFailed`."""
        try:
            yield self.client
        except self._errors as error:
            raise StoreFailed("redis", str(error) or type(error).__name__) from error

    def key(self, *parts: str) -> str:
        """The full name of a key."""
        return ":".join((self.prefix, *parts))

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script, which the server remembers after the first time."""
        with self.asked() as client:
            return client.register_script(script)(
                keys=[self.key("position")], args=[self.prefix, *arguments]
            )

    def clear(self) -> None:
        """Delete all keys of this store."""
        with self.asked() as client:
            page: list[bytes] = []
            for key in client.scan_iter(match=f"{self.prefix}:*", count=1000):
                page.append(key)
                if len(page) == 1000:
                    client.unlink(*page)
                    page = []
            if page:
                client.unlink(*page)

    def values(self, key: str, fields: Sequence[str | bytes]) -> list[bytes | None]:
        """The values of some fields of a hash, None where there is none."""
        if not fields:
            return []
        with self.asked() as client:
            return list(client.hmget(key, list(fields)))
