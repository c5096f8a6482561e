"""Choosing a store by its URL."""

from __future__ import annotations

import re
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from understudy.storage._errors import StorageError
from understudy.storage.adapters._errors import BadStorageUrl, StoreFailed
from understudy.storage.adapters._filesystem import FileSystemAdapter
from understudy.storage.adapters._lmdb import LmdbAdapter
from understudy.storage.adapters._memory import MemoryAdapter
from understudy.storage.adapters._postgres import PostgresAdapter
from understudy.storage.adapters._redis import RedisAdapter
from understudy.storage.adapters._sqlite import SQLiteAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from understudy.storage._protocols import Storage

    Build = Callable[[SplitResult, Mapping[str, str], Callable[[], float]], Storage]


class SessionsWillNotPersist(UserWarning):
    """The store that was asked for could not be opened, and memory took its place."""


def open_storage(
    url: str,
    *,
    fallback: bool = False,
    must_exist: bool = False,
    clock: Callable[[], float] = time.time,
) -> Storage:
    """The store that a URL names, open and ready.

    `lmdb:///path` or `lmdb:path` (a journal, or the data directory of a system), `sqlite:///path`, `file:///path`,
    `postgresql://user@host:5432/database`, `redis://host:6379/0`, `memory://`. Three slashes
    begin an absolute path; a path right behind the colon is relative to the working
    directory. Settings of the store stand behind a question mark: `lmdb:data?durability=pipelined`,
    `sqlite:db?synchronous=full`, `file:log?retention_hours=24`,
    `postgresql://host/db?schema=mine`, `redis://host?prefix=mine`.

    Args:
        url: the store.
        fallback: whether memory may take its place if it cannot be opened. Then a
            `SessionsWillNotPersist` warning says so and why, and whatever is stored ends
            with the process. If absent, the error is raised.
        must_exist: whether a file or folder that is not there is an error; if absent it is
            made, empty.
        clock: seconds since 1970; the system's if absent.

    Raises:
        BadStorageUrl: the URL names no store that is known; also with `fallback`.
        StorageError: the store cannot be opened.
    """
    store = make_storage(url, clock=clock)
    path: Path | None = getattr(store, "path", None)
    try:
        if must_exist and path is not None and not path.exists():
            raise StoreFailed(store.name, f"there is nothing at {path}")
        store.initialize()
    except StorageError as error:
        if not fallback:
            raise
        warnings.warn(
            f"sessions will not persist: {redacted(url)} cannot be opened ({error}); "
            "everything is kept in memory and ends with this process",
            SessionsWillNotPersist,
            stacklevel=2,
        )
        store = MemoryAdapter(clock=clock)
        store.initialize()
    return store


def make_storage(url: str, *, clock: Callable[[], float] = time.time) -> Storage:
    """The store that a URL names, not yet opened. See `open_storage`."""
    parts = urlsplit(url)
    build = _STORES.get(parts.scheme)
    if build is None:
        reason = f"unknown kind {parts.scheme!r}" if parts.scheme else "it has no kind"
        raise BadStorageUrl(redacted(url), reason)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    try:
        return build(parts, options, clock)
    except ValueError as error:
        if isinstance(error, BadStorageUrl):
            raise
        raise BadStorageUrl(redacted(url), str(error)) from error


def redacted(url: str) -> str:
    """The URL with dots for its password, fit for logs and errors."""
    parts = urlsplit(url)
    query = re.sub(r"(?i)\b(password|sslpassword)=[^&]*", r"\1=…", parts.query)
    netloc = parts.netloc
    if "@" in netloc:
        login, _, host = netloc.rpartition("@")
        user, colon, _ = login.partition(":")
        netloc = f"{user}:…@{host}" if colon else netloc
    if (netloc, query) == (parts.netloc, parts.query):
        return url
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def _path(parts: SplitResult) -> str:
    if parts.netloc:
        raise ValueError(
            f"{parts.netloc!r} stands where a host would; write {parts.scheme}:{parts.netloc}"
            f"{parts.path} for a relative path, {parts.scheme}:///{parts.netloc}{parts.path} "
            "for an absolute one"
        )
    path = unquote(parts.path)
    if not path or path == "/":
        raise ValueError("it has no path")
    return path


def _only(options: Mapping[str, str], *known: str) -> None:
    for name in options:
        if name not in known:
            accepted = ", ".join(known) if known else "none"
            raise ValueError(f"unknown setting {name!r} (known: {accepted})")


def _number(options: Mapping[str, str], name: str) -> float | None:
    if name not in options:
        return None
    try:
        return float(options[name])
    except ValueError:
        raise ValueError(f"{name} is {options[name]!r}: use a number") from None


def _lmdb(parts: SplitResult, options: Mapping[str, str], clock: Callable[[], float]) -> Storage:
    _only(options, "durability", "readonly")
    chosen: dict[str, Any] = {}
    if "durability" in options:
        chosen["durability"] = options["durability"]
    if "readonly" in options:
        chosen["readonly"] = options["readonly"].lower() in ("1", "true", "yes", "")
    path = Path(_path(parts))
    if (path / "journal" / "data.mdb").is_file():
        path /= "journal"  # the data directory of a system
    return LmdbAdapter(path, clock=clock, **chosen)


def _sqlite(parts: SplitResult, options: Mapping[str, str], clock: Callable[[], float]) -> Storage:
    _only(options, "synchronous")
    chosen: dict[str, Any] = dict(options)
    return SQLiteAdapter(_path(parts), clock=clock, **chosen)


def _file(parts: SplitResult, options: Mapping[str, str], clock: Callable[[], float]) -> Storage:
    _only(options, "retention_hours", "archive_days")
    hours, days = _number(options, "retention_hours"), _number(options, "archive_days")
    chosen: dict[str, Any] = {}
    if hours is not None:
        chosen["retention"] = timedelta(hours=hours)
    if days is not None:
        chosen["keep_archive"] = timedelta(days=days)
    return FileSystemAdapter(_path(parts), clock=clock, **chosen)


def _postgres(
    parts: SplitResult, options: Mapping[str, str], clock: Callable[[], float]
) -> Storage:
    # All other settings are libpq's.
    kept = "&".join(p for p in parts.query.split("&") if p and not p.startswith("schema="))
    url = urlunsplit(("postgresql", parts.netloc, parts.path, kept, ""))
    if not parts.netloc and not parts.path:
        url = "postgresql://" + (f"?{kept}" if kept else "")
    chosen: dict[str, Any] = {"schema": options["schema"]} if "schema" in options else {}
    return PostgresAdapter(url, clock=clock, **chosen)


def _redis(parts: SplitResult, options: Mapping[str, str], clock: Callable[[], float]) -> Storage:
    # All other settings are redis-py's.
    kept = "&".join(p for p in parts.query.split("&") if p and not p.startswith("prefix="))
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, kept, ""))
    chosen: dict[str, Any] = {"prefix": options["prefix"]} if "prefix" in options else {}
    return RedisAdapter(url, clock=clock, **chosen)


def _memory(parts: SplitResult, options: Mapping[str, str], clock: Callable[[], float]) -> Storage:
    _only(options)
    if parts.netloc or parts.path.strip("/"):
        raise ValueError("memory has no path: write memory://")
    return MemoryAdapter(clock=clock)


_STORES: dict[str, Build] = {
    "file": _file,
    "lmdb": _lmdb,
    "memory": _memory,
    "postgres": _postgres,
    "postgresql": _postgres,
    "redis": _redis,
    "rediss": _redis,
    "sqlite": _sqlite,
    "unix": _redis,
}
