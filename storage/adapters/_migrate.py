"""Copying everything from one store to another, whatever the two are."""

from __future__ import annotations

import hashlib
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.storage._errors import StorageError
from understudy.storage._protocols import ListOptions
from understudy.storage._record import Record, Shredded
from understudy.storage._write import NewEffect
from understudy.storage.adapters._values import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from understudy.storage._outbox import Effect
    from understudy.storage._protocols import Storage

#: What is copied, in this order.
KINDS = ("sessions", "keys", "events", "snapshots", "effects")

#: Things copied between two saves of how far the copying has come.
PAGE = 1000

_MARK = "understudy.migration:"


class MigrationRefused(StorageError):
    """Two stores are not copied, because something would be lost or mixed up.

    Attributes:
        reason: what, and what to do.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"nothing more was copied: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.reason,))


class MigrationIncomplete(StorageError):
    """After the copying, the two stores do not hold the same.

    Attributes:
        differences: what differs, by kind.
    """

    def __init__(self, differences: dict[str, str]) -> None:
        self.differences = differences
        told = "; ".join(f"{kind}: {text}" for kind, text in differences.items())
        super().__init__(
            f"the copy differs from its source ({told}); stop whatever writes to either, "
            "and run the migration again"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.differences,))


@dataclass(frozen=True)
class MigrationProgress:
    """How far a migration has come with one kind of thing."""

    kind: str
    done: int
    total: int


@dataclass
class MigrationReport:
    """What a migration did.

    Attributes:
        copied: things written, by kind; those of an earlier run that was cut short are not
            counted again.
        resumed: whether it went on with an earlier run.
        checksums: count and checksum of each kind, the same in both stores; empty where
            the copy was not verified.
        left_behind: what the source holds and no other kind of store can take, by name.
        seconds: how long it took.
    """

    copied: dict[str, int] = field(default_factory=dict)
    resumed: bool = False
    checksums: dict[str, tuple[int, str]] = field(default_factory=dict)
    left_behind: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def migrate(
    source: Storage,
    target: Storage,
    *,
    name: str = "",
    merge: bool = False,
    verify: bool = True,
    on_progress: Callable[[MigrationProgress], object] | None = None,
    clock: Callable[[], float] = time.time,
) -> MigrationReport:
    """Copy sessions, keys, events, snapshots and effects; the source is only read.

    Sessions keep their times, keys what is left of their time to live, events their stream,
    seq, id and time, effects their dedupe key and status. Positions are given anew, in the
    same order. Effects that were executing are pending in the copy. Nobody should write to
    the source meanwhile: what is written may be missing, and is found by the verification.

    A migration that was cut short goes on where it was when it is called again.

    Args:
        source: where from, open.
        target: where to, open.
        name: tells migrations into the same target apart, if there are several.
        merge: whether the target may hold something already. What is in both is taken
            from the source; a stream that goes another way there is an error.
        verify: whether to compare counts and checksums at the end.
        on_progress: called with a `MigrationProgress` now and then, on this thread.
        clock: seconds since 1970; must be that of the stores.

    Raises:
        MigrationRefused: the target is not empty, or the source holds events whose
            encryption key is not there.
        MigrationIncomplete: the two differ at the end.
    """
    return _Migration(source, target, name, clock, on_progress).run(merge=merge, verify=verify)


class _Migration:
    def __init__(
        self,
        source: Storage,
        target: Storage,
        name: str,
        clock: Callable[[], float],
        on_progress: Callable[[MigrationProgress], object] | None,
    ) -> None:
        self.source = source
        self.target = target
        self.mark = _MARK + (name or source.name)
        self.clock = clock
        self.on_progress = on_progress
        self.report = MigrationReport()

    def run(self, *, merge: bool, verify: bool) -> MigrationReport:
        started = time.monotonic()
        state: dict[str, Any] | None = self.target.get(self.mark)
        if state is None:
            if not merge:
                self._check_empty()
            state = {"kind": KINDS[0], "after": None}
            self.target.set(self.mark, state)
        else:
            self.report.resumed = True
        copy: dict[str, Callable[[Any], int]] = {
            "sessions": self._sessions,
            "keys": self._keys,
            "events": self._events,
            "snapshots": self._snapshots,
            "effects": self._effects,
        }
        for kind in KINDS[KINDS.index(state["kind"]) :]:
            after = state["after"] if kind == state["kind"] else None
            self.report.copied[kind] = copy[kind](after)
        self.report.left_behind = _left_behind(self.source)
        if verify:
            self._verify(merge=merge)
        self.target.delete(self.mark)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _check_empty(self) -> None:
        stats = self.target.get_stats()
        held = {kind: count for kind in KINDS if (count := getattr(stats, kind))}
        if held:
            told = ", ".join(f"{count} {kind}" for kind, count in held.items())
            raise MigrationRefused(f"the target holds {told}; name an empty one, or allow merging")

    def _save(self, kind: str, after: Any) -> None:
        self.target.set(self.mark, {"kind": kind, "after": after})

    def _tell(self, kind: str, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(MigrationProgress(kind, done, max(done, total)))

    def _sessions(self, after: str | None) -> int:
        ids = self.source.list_sessions(ListOptions(sort="id"))
        wanted = [i for i in ids if after is None or i > after]
        done = 0
        self._tell("sessions", 0, len(wanted))
        for session_id in wanted:
            session = self.source.get_session(session_id)
            if session is not None:
                self.target.save_session(
                    session.id,
                    session.data,
                    active_agent=session.active_agent,
                    created_at=session.created_at,
                    updated_at=session.updated_at,
                )
                done += 1
            # A session may be large: a mark for each costs little beside it.
            self._save("sessions", session_id)
            self._tell("sessions", done, len(wanted))
        return done

    def _keys(self, after: str | None) -> int:
        total = self.source.get_stats().keys
        done = 0
        for item in self.source.scan():
            if item.key.startswith(_MARK) or (after is not None and item.key <= after):
                continue
            ttl = None
            if item.expires_at is not None:
                ttl = item.expires_at.timestamp() - self.clock()
                if ttl <= 0:
                    continue
            self.target.set(item.key, item.value, ttl)
            done += 1
            if done % PAGE == 0:
                self._save("keys", item.key)
                self._tell("keys", done, total)
        self._tell("keys", done, total)
        return done

    def _events(self, after: int | None) -> int:
        journal = self.source.journal
        total = self.source.get_stats().events
        done = 0
        for page in _pages(journal.read_all(after=after or 0)):
            done += self.target.journal.restore([_readable(record) for record in page])
            self._save("events", page[-1].position)
            self._tell("events", done, total)
        self._tell("events", done, total)
        return done

    def _snapshots(self, _: None) -> int:
        total = self.source.get_stats().snapshots
        done = 0
        for snapshot in self.source.snapshots.snapshots():
            self._keep_numbering(snapshot.stream, snapshot.timestamp)
            self.target.snapshots.save_snapshot(
                snapshot.stream, snapshot.seq, snapshot.state, snapshot.metadata
            )
            done += 1
            self._tell("snapshots", done, total)
        return done

    def _keep_numbering(self, stream: str, when: datetime) -> None:
        """A stream with a snapshot and no events any more goes on with the next seq."""
        last = self.source.journal.last_seq(stream)
        if last > 0 and self.target.journal.last_seq(stream) == 0:
            placeholder = Record.of(
                position=1,
                stream=stream,
                seq=last,
                type="understudy.placeholder",
                timestamp=when,
                id="placeholder",
            )
            self.target.journal.restore([placeholder])
            self.target.journal.truncate(stream, last + 1)

    def _effects(self, after: int | None) -> int:
        effects = self.source.outbox.list()
        done = 0
        for effect in effects:
            if after is not None and effect.id <= after:
                continue
            self._effect(effect)
            done += 1
            if done % PAGE == 0:
                self._save("effects", effect.id)
            self._tell("effects", done, len(effects))
        return done

    def _effect(self, effect: Effect) -> None:
        outbox = self.target.outbox
        over = effect.status in ("completed", "failed")
        (number,) = outbox.add(
            [
                NewEffect(
                    effect.channel,
                    effect.payload,
                    effect.dedupe_key,
                    stream=effect.stream,
                    not_before=None if over else effect.next_at,
                )
            ]
        )
        if not over:
            return
        there = outbox.get(number)
        if there is None or there.status != "pending":
            return  # from an earlier run
        outbox.claim(number, 60.0)
        if effect.status == "completed":
            outbox.complete(number, effect.result)
        else:
            outbox.fail(number, effect.error or "")

    def _verify(self, *, merge: bool) -> None:
        differences = {}
        for kind, describe in _DESCRIBED.items():
            mine, theirs = describe(self.source), describe(self.target)
            wanted = _Checksum()
            found = _Checksum()
            names: set[bytes] = set()
            for name, data in mine:
                wanted.add(name, data)
                if merge:
                    names.add(name)
            for name, data in theirs:
                if not merge or name in names:
                    found.add(name, data)
            self._tell(f"verify {kind}", found.count, wanted.count)
            if wanted != found:
                differences[kind] = f"{wanted} in the source, {found} in the copy"
            self.report.checksums[kind] = (found.count, found.text)
        if differences:
            raise MigrationIncomplete(differences)


def _pages(records: Iterable[Record]) -> Iterator[list[Record]]:
    iterator = iter(records)
    while page := list(itertools.islice(iterator, PAGE)):
        yield page


def _readable(record: Record) -> Record:
    if isinstance(record.payload, Shredded):
        raise MigrationRefused(
            f"event {record.seq} of stream {record.stream!r} is encrypted with key "
            f"{record.payload.key_id!r}, which is not there; open the source with its keys and "
            "call understudy.storage.migrate(), or delete the stream"
        )
    return record


class _Checksum:
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
        return isinstance(other, _Checksum) and (self.count, self._sum) == (
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
        if not item.key.startswith(_MARK):
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


_DESCRIBED: dict[str, Callable[[Storage], Iterator[tuple[bytes, bytes]]]] = {
    "sessions": _described_sessions,
    "keys": _described_keys,
    "events": _described_events,
    "snapshots": _described_snapshots,
    "effects": _described_effects,
}


def _left_behind(source: Storage) -> dict[str, int]:
    """What only the LMDB journal keeps, and no other store can take."""
    from understudy.storage.adapters._lmdb import KEYS, LmdbAdapter
    from understudy.storage.adapters._lmdb_sessions import BUCKETS

    if not isinstance(source, LmdbAdapter):
        return {}
    journal = source.journal
    found = {"cursors": len(journal.cursors.list())}
    for bucket in journal.state.buckets():
        if bucket != KEYS and bucket not in BUCKETS:
            found[f"state of {bucket}"] = sum(1 for _ in journal.state.scan(bucket))
    return {name: count for name, count in found.items() if count}
