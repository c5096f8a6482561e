"""What a store holds, told as bytes, so that two stores can be compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from understudy.storage._protocols import Ends, ListOptions, StreamEnd
from understudy.storage.adapters._lmdb import LmdbAdapter
from understudy.storage.adapters._lmdb_tables import KINDS as TABLES
from understudy.storage.adapters._lmdb_tables import Tables
from understudy.storage.adapters._values import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from understudy.storage._protocols import Storage

    Describe = Callable[[Storage], Iterator[tuple[bytes, bytes]]]

#: Key of a target, with the migration's name behind it, that tells how far the migration is.
MARK = "understudy.migration:"


def tables(store: Storage) -> Tables:
    """What an LMDB store keeps beside its events."""
    if not isinstance(store, LmdbAdapter):
        raise TypeError(f"{store.name} is no LMDB store")
    return Tables(store.journal)


def tells_ends(store: Storage) -> bool:
    """Whether a store can tell of its streams without events."""
    return isinstance(store, LmdbAdapter) or isinstance(store.journal, Ends)


def ends(store: Storage) -> list[StreamEnd]:
    """The streams of a store that hold no event; none where it cannot tell."""
    if isinstance(store, LmdbAdapter):
        return Tables(store.journal).ends()
    return list(store.journal.ends()) if isinstance(store.journal, Ends) else []


class Checksum:
    """Count and checksum of things in any order: the sum of their hashes."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, name: bytes, data: bytes) -> None:
        digest = hashlib.blake2b(len(name).to_bytes(4) + name + data, digest_size=16).digest()
        self._sum = (self._sum + int.from_bytes(digest)) % 2**128
        self.count += 1

    @property
    def text(self) -> str:
        return f"{self._sum:032x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checksum) and (self.count, self._sum) == (
            other.count,
            other._sum,
        )

    __hash__ = None  # type: ignore[assignment] # it changes

    def __str__(self) -> str:
        return f"{self.count} with checksum {self.text[:12]}"


def _sorted(value: Any) -> Any:
    """The value with its maps in one order, so that equal values have equal bytes."""
    if isinstance(value, dict):
        pairs = [(pack(_sorted(key)), _sorted(item)) for key, item in value.items()]
        return sorted(pairs, key=lambda pair: pair[0])
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    return value


def _bytes(*values: Any) -> bytes:
    return pack([_sorted(value) for value in values])


def _described_sessions(store: Storage) -> Iterator[tuple[bytes, bytes]]:
    for session_id in store.list_sessions(ListOptions(sort="id")):
        session = store.get_session(session_id)
        if session is not None:
            yield (
                session_id.encode(),
                _bytes(session.data, session.active_agent, session.created_at, session.updated_at),
            )


def _described_keys(store: Storage) -> Iterator[tuple[bytes, bytes]]:
    for item in store.scan():
        if not item.key.startswith(MARK):
            # Not the time to live: what is left of it is measured by two clocks.
            yield item.key.encode(), _bytes(item.value, item.expires_at is None)


def _described_events(store: Storage) -> Iterator[tuple[bytes, bytes]]:
    for r in store.journal.read_all():
        yield (
            _bytes(r.stream, r.seq),
            _bytes(
                r.id, r.type, r.version, r.timestamp, r.payload, r.metadata, r.priority, r.topics
            ),
        )


def _described_snapshots(store: Storage) -> Iterator[tuple[bytes, bytes]]:
    for snapshot in store.snapshots.snapshots():
        yield _bytes(snapshot.stream, snapshot.seq), _bytes(snapshot.state, snapshot.metadata)


def _described_effects(store: Storage) -> Iterator[tuple[bytes, bytes]]:
    for effect in store.outbox.list():
        status = "pending" if effect.status == "executing" else effect.status
        yield (
            _bytes(effect.channel, effect.dedupe_key),
            _bytes(effect.payload, effect.stream, status, effect.result),
        )


def _described_streams(store: Storage) -> Iterator[tuple[bytes, bytes]]:
    for end in ends(store):
        yield end.stream.encode(), _bytes(end.last_seq, end.deleted, end.tombstone)


def _described_table(kind: str) -> Describe:
    def described(store: Storage) -> Iterator[tuple[bytes, bytes]]:
        for name, data in tables(store).rows(kind):
            told = _bytes(data)
            # A parked record's name holds a position, which a copy gives anew.
            yield (told if kind == "parked" else name), told

    return described


#: Tells everything of one kind in a store, as name and bytes.
DESCRIBED: dict[str, Describe] = {
    "sessions": _described_sessions,
    "keys": _described_keys,
    "events": _described_events,
    "streams": _described_streams,
    "snapshots": _described_snapshots,
    "effects": _described_effects,
    **{kind: _described_table(kind) for kind in TABLES},
}
