"""Copying everything from one store to another, whatever the two are."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.storage._errors import StorageError
from understudy.storage._protocols import ListOptions
from understudy.storage._record import Record, Shredded
from understudy.storage._write import NewEffect
from understudy.storage.adapters._lmdb import LmdbAdapter
from understudy.storage.adapters._lmdb_tables import KINDS as TABLES
from understudy.storage.adapters._migrate_checksums import (
    DESCRIBED,
    MARK,
    Checksum,
    ends,
    tables,
    tells_ends,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from understudy.storage._outbox import Effect
    from understudy.storage._protocols import Storage
    from understudy.storage.adapters._lmdb_tables import Tables

T = TypeVar("T")

#: What every store holds.
COMMON = ("sessions", "keys", "events", "snapshots", "effects")

#: What is copied, in this order; the last ones only from one LMDB journal to another.
KINDS = ("sessions", "keys", "events", "streams", "snapshots", "effects", *TABLES)

#: Things copied between two saves of how far the copying has come.
PAGE = 1000


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
        left_behind: what the source holds and the target cannot, by name.
        notes: what to look after in the copy, for people.
        seconds: how long it took.
    """

    copied: dict[str, int] = field(default_factory=dict)
    resumed: bool = False
    checksums: dict[str, tuple[int, str]] = field(default_factory=dict)
    left_behind: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
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
    """Copy everything that both stores can hold; the source is only read.

    Sessions keep their times, keys what is left of their time to live, events their stream,
    seq, id and time, effects their dedupe key and status. Streams without events keep their
    numbering, and stay closed if they were. Positions are given anew, in the same order.
    Effects that were executing are pending in the copy. Nobody should write to the source
    meanwhile: what is written may be missing, and is found by the verification.

    From one LMDB journal to another also a program's own state, the idempotency ledger,
    cursors, limits of streams and durable subscriptions with their parked records are copied;
    another target cannot hold them, and the report names how many were left behind. Positions in
    subscriptions and projections are translated; what was in flight in the ledger may be begun
    again.

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
        self.mark = MARK + (name or source.name)
        self.clock = clock
        self.on_progress = on_progress
        self.report = MigrationReport()
        both = isinstance(source, LmdbAdapter) and isinstance(target, LmdbAdapter)
        self._kinds = KINDS if both else tuple(kind for kind in KINDS if kind not in TABLES)

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
            "streams": self._streams,
            "snapshots": self._snapshots,
            "effects": self._effects,
        }
        for kind in self._kinds[self._kinds.index(state["kind"]) :]:
            after = state["after"] if kind == state["kind"] else None
            if kind in TABLES:
                self.report.copied[kind] = self._table(kind, after)
            else:
                self.report.copied[kind] = copy[kind](after)
        self._tell_what_was_left()
        if verify:
            self._verify(merge=merge)
        self.target.delete(self.mark)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _check_empty(self) -> None:
        stats = self.target.get_stats()
        held = {kind: count for kind in COMMON if (count := getattr(stats, kind))}
        held["streams without events"] = len(ends(self.target))
        if "state" in self._kinds:
            held.update({kind: tables(self.target).count(kind) for kind in TABLES})
        held = {kind: count for kind, count in held.items() if count}
        if held:
            told = ", ".join(f"{count} {kind}" for kind, count in held.items())
            raise MigrationRefused(
                f"the target holds {told}; name an empty one, or allow "
                "merging (merge=True, --merge)"
            )

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
            if item.key.startswith(MARK) or (after is not None and item.key <= after):
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
            # A source that cannot tell of its streams without events may have some.
            self._keep_numbering(snapshot.stream, self.source.journal.last_seq(snapshot.stream))
            self.target.snapshots.save_snapshot(
                snapshot.stream, snapshot.seq, snapshot.state, snapshot.metadata
            )
            done += 1
            self._tell("snapshots", done, total)
        return done

    def _streams(self, _: None) -> int:
        there = {end.stream: end for end in ends(self.target)}
        wanted = ends(self.source)
        journal = self.target.journal
        done = 0
        for end in wanted:
            if there.get(end.stream) != end:
                self._keep_numbering(end.stream, end.last_seq)
                if end.deleted or end.tombstone:
                    journal.delete(end.stream, tombstone=end.tombstone)
                done += 1
            self._tell("streams", done, len(wanted))
        return done

    def _keep_numbering(self, stream: str, last: int) -> None:
        """A stream without events goes on with the next seq."""
        if last > 0 and self.target.journal.last_seq(stream) == 0:
            placeholder = Record.of(
                position=1,
                stream=stream,
                seq=last,
                type="understudy.placeholder",
                timestamp=datetime.fromtimestamp(self.clock(), UTC),
                id="placeholder",
            )
            self.target.journal.restore([placeholder])
            self.target.journal.truncate(stream, last + 1)

    def _table(self, kind: str, after: bytes | None) -> int:
        mine, theirs = tables(self.source), tables(self.target)
        total = mine.count(kind)
        done = 0
        for page in _pages(mine.rows(kind, after)):
            theirs.write(kind, page)
            done += len(page)
            self._save(kind, page[-1][0])
            self._tell(kind, done, total)
        self._tell(kind, done, total)
        return done

    def _tell_what_was_left(self) -> None:
        if not isinstance(self.source, LmdbAdapter):
            return
        mine = tables(self.source)
        if "state" not in self._kinds:
            left = {kind: mine.count(kind) for kind in TABLES if kind not in ("state", "parked")}
            left.update({f"state of {name}": count for name, count in mine.states().items()})
            left["parked"] = mine.count("parked") + mine.lost()
        else:
            left = {"parked records that retention has taken": mine.lost()}
            self._tell_of_cursors(mine)
        self.report.left_behind = {name: count for name, count in left.items() if count}

    def _tell_of_cursors(self, mine: Tables) -> None:
        cursors = mine.count("cursors")
        last = mine.journal.last_position()
        if cursors and tables(self.target).same_place(mine.place(last)) != last:
            self.report.notes.append(
                f"{cursors} cursors hold the numbers they held; the copy gives positions anew, so "
                "set those that are positions of the journal, and not seqs of a stream"
            )

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
        for kind in self._kinds:
            if kind == "streams" and not (tells_ends(self.source) and tells_ends(self.target)):
                continue
            describe = DESCRIBED[kind]
            mine, theirs = describe(self.source), describe(self.target)
            wanted = Checksum()
            found = Checksum()
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


def _pages(things: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(things)
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
