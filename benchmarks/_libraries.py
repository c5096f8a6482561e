"""The libraries that take part: what each needs, whether it is here, how to get it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlparse

if TYPE_CHECKING:
    from collections.abc import Iterable

import os

POSTGRES_URL = "UNDERSTUDY_BENCH_POSTGRES"
REDIS_URL = "UNDERSTUDY_BENCH_REDIS"
DEFAULT_POSTGRES = "postgresql://postgres@127.0.0.1:5432/test"
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True)
class Library:
    """A library, or a variant of ours, beside which scenarios are run.

    Args:
        name: as given to `--peers`.
        title: as printed in reports.
        modules: what must be importable.
        program: what must be on the path.
        service: environment variable and default of a URL that must answer.
        install: the command that brings it here.
        ours: whether it is a form of this project; never left out by `--peers`.
        processes: whether it spreads over processes of its own, so that pinning all of them to
            one core would measure the pinning.
        start: seconds it may take to start, granted on top of a measurement's limit; a library
            that has any is left out of a quick run unless asked for by name.
    """

    name: str
    title: str
    modules: tuple[str, ...] = ()
    program: str = ""
    service: tuple[str, str] | None = None
    install: str = ""
    ours: bool = False
    processes: bool = False
    start: float = 0.0

    def missing(self) -> str | None:
        """Why it cannot take part, or None when it can."""
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"{module} is not installed"
        if self.program and shutil.which(self.program) is None:
            return f"no {self.program} on the path"
        if self.service is not None:
            url = os.environ.get(self.service[0], self.service[1])
            parts = urlparse(url)
            where = (parts.hostname or "127.0.0.1", parts.port or 0)
            try:
                socket.create_connection(where, timeout=0.5).close()
            except OSError as error:
                return f"nothing answers at {where[0]}:{where[1]} ({error}); set {self.service[0]}"
        return None


def service_url(variable: str, default: str) -> str:
    """The URL of a service under test: from the environment, else the default."""
    return os.environ.get(variable, default)


# Why a library that is here takes no part in a quick run.
SLOW = "it needs longer to start than a quick run has; --peers names it to have it all the same"

LIBRARIES: dict[str, Library] = {
    item.name: item
    for item in (
        Library("understudy", "Understudy", ours=True),
        Library("standalone", "Understudy, standalone actors", ours=True),
        Library("pipelined", "Understudy, pipelined durability", ours=True),
        Library("relaxed", "Understudy, relaxed durability", ours=True),
        Library("synchronous", "Understudy, journal without actors", ours=True),
        Library("raw", "one file, one fdatasync a batch", ours=True),
        Library("pykka", "Pykka", ("pykka",), install="pip install pykka"),
        Library("asyncio", "asyncio queues"),
        Library("uvloop", "asyncio queues on uvloop", ("uvloop",), install="pip install uvloop"),
        Library("thespian", "Thespian", ("thespian",), install="pip install thespian"),
        Library("xoscar", "xoscar", ("xoscar",), install="pip install xoscar"),
        Library("ray", "Ray", ("ray",), install="pip install ray", processes=True, start=60.0),
        Library("otp", "Erlang/OTP", program="escript", install="apt-get install erlang-base"),
        Library("sqlite", "SQLite, WAL, synchronous=FULL", ("sqlite3",)),
        Library("eventsourcing", "eventsourcing (SQLite)", ("eventsourcing",),
                install="pip install eventsourcing"),
        Library(
            "eventsourcing-app",
            "eventsourcing Application (SQLite)",
            ("eventsourcing",),
            install="pip install eventsourcing",
        ),
        Library("rocksdict", "RocksDB", ("rocksdict",), install="pip install rocksdict"),
        Library("postgres", "PostgreSQL", ("psycopg",), service=(POSTGRES_URL, DEFAULT_POSTGRES),
                install="pip install 'psycopg[binary]' and start PostgreSQL"),
        Library("redis", "Redis Streams, appendfsync always", ("redis",),
                service=(REDIS_URL, DEFAULT_REDIS),
                install="pip install redis and start Redis"),
        Library("file", "JSON Lines, one fsync a batch"),
    )
}  # fmt: skip


class UnknownPeer(LookupError):
    """A name given to --peers is no library known here."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(f"no peer is called {name!r}; known are: {', '.join(self.known)}")


def title(name: str) -> str:
    """How a library is called in reports."""
    return LIBRARIES[name].title if name in LIBRARIES else name


def is_ours(name: str) -> bool:
    """Whether a name is a form of this project, or a variant unknown to the table."""
    return name not in LIBRARIES or LIBRARIES[name].ours


def availability(names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Split names into those that can take part and those that cannot, with the reason."""
    here: list[str] = []
    absent: dict[str, str] = {}
    for name in dict.fromkeys(names):
        library = LIBRARIES.get(name)
        reason = library.missing() if library else None
        if reason is None:
            here.append(name)
        else:
            absent[name] = reason
    return here, absent
