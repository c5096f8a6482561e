"""A store on a Redis server, for several servers that share their sessions."""

from __future__ import annotations

import re
import struct
import time
from typing import TYPE_CHECKING, Any, Self

from understudy.storage._protocols import ListOptions, SessionRecord, StorageStats, StoredValue
from understudy.storage.adapters import _redis_scripts as scripts
from understudy.storage.adapters._errors import StoreClosed
from understudy.storage.adapters._redis_journal import RedisJournal
from understudy.storage.adapters._redis_outbox import RedisOutbox
from understudy.storage.adapters._redis_server import RedisServer
from understudy.storage.adapters._redis_snapshots import RedisSnapshots
from understudy.storage.adapters._rules import PAGE
from understudy.storage.adapters._sessions import SessionRow, select_sessions
from understudy.storage.adapters._values import (
    check_name,
    from_micros,
    micros,
    pack,
    seconds_to_micros,
    ttl_to_micros,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

_PREFIX = re.compile(r"[A-Za-z0-9_.:-]+")
_EXPIRY = struct.Struct(">Q")  # in front of each value: microseconds since 1970, 0 for never

#: Seconds after which the server frees a key that nobody may read any more. It waits this
#: long because its clock is not the adapter's.
GRACE = 60.0


class RedisAdapter:
    """Sessions, keys, events, snapshots and effects on a Redis server.

    Several processes, also on several machines, may use the same server and prefix:
    expected seq, epochs and claims hold between them.

    What is lost at a crash of the server is what the server is set to lose: nothing with
    `appendonly yes` and `appendfsync always`, up to a second with `everysec`, everything
    since its last dump with `appendonly no`. `get_stats().details` says which it is.

    Attributes:
        journal: the streams of events.
        snapshots: the saved states.
        outbox: the effects to be carried out.
    """

    name = "redis"
    persistent = True

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        prefix: str = "understudy",
        connect_timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name the server; `initialize()` connects.

        Args:
            url: as redis-py takes it: redis://, rediss:// or unix://.
            prefix: in front of all keys, so that stores can share a server.
            connect_timeout: seconds to wait for the server.
            clock: seconds since 1970; the system's if absent.
        """
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"prefix is {prefix!r}: use letters, digits, '_', '.', ':' and '-'")
        self._url = url
        self.prefix = prefix
        self._connect_timeout = connect_timeout
        self._clock = clock
        self._open: RedisServer | None = None
        self.journal = RedisJournal(self._server, clock)
        self.snapshots = RedisSnapshots(self._server, clock)
        self.outbox = RedisOutbox(self._server, clock)

    def _server(self) -> RedisServer:
        server = self._open
        if server is None:
            raise StoreClosed(self.name)
        return server

    def _now(self) -> int:
        return seconds_to_micros(self._clock())

    def initialize(self) -> None:
        """Connect. Again: nothing happens."""
        if self._open is not None:
            return
        server = RedisServer(self._url, self.prefix, self._connect_timeout)
        with server.asked() as client:
            client.ping()
        self._open = server

    def close(self) -> None:
        """Let go of the connections. Again: nothing happens. Nothing saved is lost."""
        server, self._open = self._open, None
        if server is not None:
            server.client.close()

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save_session(
        self,
        session_id: str,
        data: Any,
        *,
        active_agent: str | None = None,
        created_at: datetime | None = None,
        updated_at: datetime | None = None,
    ) -> None:
        """Save the whole session; the last save wins. See `StorageAdapter.save_session`."""
        check_name(session_id, "session_id")
        packed = pack(data)
        now = self._now()
        created = now if created_at is None else micros(created_at, "created_at")
        updated = now if updated_at is None else micros(updated_at, "updated_at")
        self._server().run(
            scripts.SAVE_SESSION,
            session_id,
            packed,
            active_agent or "",
            created,
            updated,
            0 if created_at is None else 1,
        )

    def get_session(self, session_id: str) -> SessionRecord | None:
        """The session as last saved, or None."""
        server = self._server()
        data, agent, created, updated = server.values(
            server.key("session", session_id), ["data", "agent", "created", "updated"]
        )
        if data is None or agent is None or created is None or updated is None:
            return None
        name = agent.decode() or None
        return SessionRow(session_id, data, name, int(created), int(updated)).record()

    def delete_session(self, session_id: str) -> bool:
        """Forget a session. True if there was one."""
        return bool(self._server().run(scripts.DELETE_SESSION, session_id))

    def list_sessions(self, options: ListOptions | None = None) -> list[str]:
        """The ids that `options` asks for; all, oldest save first, if absent."""
        options = options or ListOptions()
        server = self._server()
        agent = options.active_agent
        index = (
            server.key("sessions", "updated")
            if agent is None
            else server.key("sessions", "agent", agent)
        )
        low: Any = "-inf"
        high: Any = "+inf"
        if options.updated_since is not None:
            low = micros(options.updated_since, "updated_since")
        if options.updated_until is not None:
            high = f"({micros(options.updated_until, 'updated_until')}"
        with server.asked() as client:
            if options.sort == "updated_at":
                # The server sorts and cuts; -1 is its word for "all".
                limit = -1 if options.limit is None else options.limit
                start, stop = (high, low) if options.reverse else (low, high)
                found = client.zrange(
                    index,
                    start,
                    stop,
                    desc=options.reverse,
                    byscore=True,
                    offset=options.offset,
                    num=limit,
                )
                return [member.decode() for member in found]
            names = client.zrangebyscore(index, low, high)
            created: list[Any] = [0] * len(names)
            if options.sort == "created_at" and names:
                created = client.zmscore(server.key("sessions", "created"), names)
        rows = [
            SessionRow(name.decode(), b"", agent, int(when or 0), 0)
            for name, when in zip(names, created, strict=True)
        ]
        sort = ListOptions(
            sort=options.sort, reverse=options.reverse, limit=options.limit, offset=options.offset
        )
        return select_sessions(rows, sort)

    def set(self, key: str, value: Any, ttl: float | timedelta | None = None) -> None:
        """Store a value under a key, for `ttl` seconds. See `StorageAdapter.set`."""
        check_name(key, "key")
        packed = pack(value)
        now = self._now()
        life = None if ttl is None else ttl_to_micros(ttl)
        expires = 0 if life is None else now + life
        self._server().run(
            scripts.SET_KEY,
            key,
            _EXPIRY.pack(expires) + packed,
            expires or "inf",
            0 if life is None else life // 1000 + int(GRACE * 1000),
            now,
        )

    def _living(self, stored: bytes | None) -> bool:
        if not stored:
            return False
        (expires,) = _EXPIRY.unpack_from(stored)
        return bool(expires == 0 or expires > self._now())

    def get(self, key: str) -> Any:
        """The value, or None if there is no such key or its time has run out."""
        server = self._server()
        with server.asked() as client:
            stored: Any = client.get(server.key("key", key))
        return unpack(stored[_EXPIRY.size :]) if self._living(stored) else None

    def has(self, key: str) -> bool:
        """Whether the key is there and its time has not run out."""
        server = self._server()
        with server.asked() as client:
            stored: Any = client.getrange(server.key("key", key), 0, _EXPIRY.size - 1)
        return self._living(stored)

    def delete(self, key: str) -> bool:
        """Forget a key. True if it was there and its time had not run out."""
        return bool(self._server().run(scripts.DELETE_KEY, key, self._now()))

    def scan(self, prefix: str = "") -> Iterator[StoredValue]:
        """Every living key that begins with `prefix`, sorted by key."""
        server = self._server()
        with server.asked() as client:
            members = client.zrangebyscore(server.key("keys"), f"({self._now()}", "+inf")
        keys = sorted(key for key in (m.decode() for m in members) if key.startswith(prefix))
        for start in range(0, len(keys), PAGE):
            page = keys[start : start + PAGE]
            with server.asked() as client:
                values: Any = client.mget([server.key("key", key) for key in page])
            for key, stored in zip(page, values, strict=True):
                if self._living(stored):
                    (expires,) = _EXPIRY.unpack_from(stored)
                    when = from_micros(expires) if expires else None
                    yield StoredValue(key, unpack(stored[_EXPIRY.size :]), when)

    def clear(self) -> None:
        """Forget everything under this prefix."""
        self._server().clear()

    def get_stats(self) -> StorageStats:
        """How much is stored now."""
        server = self._server()
        with server.asked() as client:
            sessions: Any = client.zcard(server.key("sessions", "updated"))
            keys: Any = client.zcount(server.key("keys"), f"({self._now()}", "+inf")
            events: Any = client.zcard(server.key("order"))
            streams: Any = client.scard(server.key("streams"))
            effects: Any = client.hlen(server.key("effects"))
            info: Any = client.info()
        return StorageStats(
            name=self.name,
            persistent=self.persistent,
            sessions=sessions,
            keys=keys,
            events=events,
            streams=streams,
            snapshots=self.snapshots.count(),
            effects=effects,
            size_bytes=None,
            details={
                "prefix": self.prefix,
                "redis": info.get("redis_version"),
                "appendonly": bool(info.get("aof_enabled")),
                "used_memory": info.get("used_memory"),
            },
        )
