"""What a store must offer: four small protocols, one for each kind of thing that is kept.

A store is chosen at run time and handed in; nothing inherits from these classes.
`understudy.storage.contract` holds the tests that turn a class of the right shape into
a store one may rely on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from understudy.storage._outbox import Effect
    from understudy.storage._record import AppendResult, NewEvent, Record, Snapshot
    from understudy.storage._write import NewEffect


SessionSort = Literal["updated_at", "created_at", "id"]


@dataclass(frozen=True)
class SessionRecord:
    """A saved session: its data as last saved, and when.

    Attributes:
        id: the session's name, unique in the store.
        data: what `StorageAdapter.save_session` was given, as plain data (tuples come
            back as lists).
        active_agent: the agent that has the word; None if nobody has.
        created_at: when the session was first saved, aware UTC.
        updated_at: when it was last saved, aware UTC.
    """

    id: str
    data: Any
    active_agent: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class ListOptions:
    """Which sessions `StorageAdapter.list_sessions` names, in which order.

    Attributes:
        active_agent: only sessions of this agent; if None, of any.
        updated_since: only sessions saved at this time or later; if None, since ever.
        updated_until: only sessions saved before this time; if None, until now.
        sort: the field to sort by; "updated_at" if absent. Equal values are ordered by id.
        reverse: greatest (for a time: newest) first. Ascending if absent.
        limit: at most this many ids; if None, all. 0 is an empty page.
        offset: how many ids of the sorted list to pass over; 0 if absent.
    """

    active_agent: str | None = None
    updated_since: datetime | None = None
    updated_until: datetime | None = None
    sort: SessionSort = "updated_at"
    reverse: bool = False
    limit: int | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        if self.sort not in ("updated_at", "created_at", "id"):
            raise ValueError(
                f"ListOptions.sort is {self.sort!r}: use 'updated_at', 'created_at' or 'id'"
            )
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"ListOptions.limit is {self.limit}: use 0 or more, or None for all")
        if self.offset < 0:
            raise ValueError(f"ListOptions.offset is {self.offset}: use 0 or more")


@dataclass(frozen=True)
class StorageStats:
    """How much a store holds, at one moment.

    Attributes:
        name: the adapter's name.
        persistent: whether what is stored outlives the process.
        sessions: saved sessions.
        keys: keys whose time has not run out.
        events: events that can still be read.
        streams: streams with at least one event that can be read.
        snapshots: saved snapshots.
        effects: outbox rows, whatever their status.
        size_bytes: bytes on disk, or None where the store cannot tell.
        details: what only this adapter knows, for people and dashboards.
    """

    name: str
    persistent: bool
    sessions: int
    keys: int
    events: int = 0
    streams: int = 0
    snapshots: int = 0
    effects: int = 0
    size_bytes: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredValue:
    """One key of a store with its value; `expires_at` (aware UTC) is None if it never expires."""

    key: str
    value: Any
    expires_at: datetime | None = None


@runtime_checkable
class StorageAdapter(Protocol):
    """Sessions and keys, kept by whatever database one likes.

    Every method may be called from any thread, blocks until the store has answered, and
    raises `StorageError` when the store cannot do it (closed, out of reach, value that
    cannot be stored). What a method had acknowledged before is not touched by that.
    Values are plain data: None, bool, int, float, str, bytes, lists, dicts and aware
    datetimes, nested. What is read is a copy.
    """

    @property
    def name(self) -> str:
        """A short name for people, as "sqlite"."""
        ...

    def initialize(self) -> None:
        """Open the store and make its tables if they are missing. Again: nothing happens."""
        ...

    def close(self) -> None:
        """Let go of files and connections. Again: nothing happens. Nothing saved is lost."""
        ...

    def save_session(
        self,
        session_id: str,
        data: Any,
        *,
        active_agent: str | None = None,
        created_at: datetime | None = None,
        updated_at: datetime | None = None,
    ) -> None:
        """Save the whole session; the last save wins.

        Args:
            session_id: the session's name.
            data: plain data.
            active_agent: the agent that has the word; nobody if absent.
            created_at: kept from the first save if absent; now if there was none.
            updated_at: now, by the adapter's clock, if absent.
        """
        ...

    def get_session(self, session_id: str) -> SessionRecord | None:
        """The session as last saved, or None."""
        ...

    def delete_session(self, session_id: str) -> bool:
        """Forget a session. True if there was one."""
        ...

    def list_sessions(self, options: ListOptions | None = None) -> list[str]:
        """The ids that `options` asks for; all, oldest save first, if absent."""
        ...

    def set(self, key: str, value: Any, ttl: float | timedelta | None = None) -> None:
        """Store a value under a key, in place of what was there.

        Args:
            key: any text but the empty one.
            value: plain data; None is a value too.
            ttl: seconds until the key is gone, by the adapter's clock; for ever if absent.
        """
        ...

    def get(self, key: str) -> Any:
        """The value, or None if there is no such key or its time has run out."""
        ...

    def delete(self, key: str) -> bool:
        """Forget a key. True if it was there and its time had not run out."""
        ...

    def has(self, key: str) -> bool:
        """Whether the key is there and its time has not run out."""
        ...

    def clear(self) -> None:
        """Forget everything in this store: sessions, keys, events, snapshots, effects."""
        ...

    def get_stats(self) -> StorageStats:
        """How much is stored now."""
        ...


@runtime_checkable
class Scannable(Protocol):
    """A store whose keys can be listed, which copying it to another one needs."""

    def scan(self, prefix: str = "") -> Iterator[StoredValue]:
        """Every living key that begins with `prefix`, sorted by key."""
        ...


@runtime_checkable
class JournalStore(Protocol):
    """Streams of events: append-only, numbered from 1 in each stream, dense.

    The same names and meanings as `Journal`, the default and the fastest of them. Every
    method may be called from any thread.
    """

    def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected_seq: int | None = None,
        epoch: int | None = None,
    ) -> AppendResult:
        """Add events to the end of a stream, all or none, safe when this returns.

        If the expected place is taken by the same event ids, this is a repeat: nothing is
        written and the result is that of the first time.

        Args:
            stream: the stream's name; made by its first event.
            events: one or more.
            expected_seq: the seq of the last event the caller knows; 0 for "no stream
                yet"; any if None.
            epoch: the writer's incarnation; not checked if None.

        Raises:
            WrongExpectedSeq: somebody else wrote in between; nothing is written.
            StaleEpoch: a later incarnation has written.
            DuplicateEvent: some of the events, not all, are there already.
            StreamTombstoned: the stream was deleted for ever.
        """
        ...

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        until_seq: int | None = None,
        types: Iterable[str] | None = None,
        topics: Iterable[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        priority: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Record]:
        """The events of one stream, in order of seq.

        Args:
            stream: an unknown one has no events.
            after: only events with a greater seq.
            until_seq: only events up to and including this seq; to the end if None.
            types: only these types; any if None.
            topics: only events with at least one of these topics; any if None.
            since: only events at this time or later (aware).
            until: only events before this time (aware).
            priority: "critical" or "normal"; any if None.
            limit: at most this many; all if None.
            reverse: newest first.
        """
        ...

    def read_all(
        self,
        *,
        after: int = 0,
        types: Iterable[str] | None = None,
        topics: Iterable[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        priority: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Record]:
        """The events of all streams in order of position; `after` is a position."""
        ...

    def last_seq(self, stream: str) -> int:
        """The highest seq the stream ever had, 0 if none; deleting does not lower it."""
        ...

    def last_position(self) -> int:
        """The position of the last event written, 0 if none."""
        ...

    def streams(self) -> list[str]:
        """The names of the streams with at least one event that can be read, sorted."""
        ...

    def truncate(self, stream: str, before_seq: int) -> int:
        """Drop the events with a seq below `before_seq`; returns how many."""
        ...

    def delete(self, stream: str, *, tombstone: bool = False) -> int:
        """Drop all events of a stream, and its snapshots; returns how many events.

        The stream may be written again, also with `expected_seq=0`, and numbering goes on
        where it was, unless `tombstone` closed it for ever.

        Raises:
            StreamTombstoned: it was closed for ever, and `tombstone` is not given.
        """
        ...

    def restore(self, records: Iterable[Record]) -> int:
        """Take over events of another store with their seq, id and time; returns how many.

        An event that is here already, with the same seq and id, is passed over, so that a
        restore that was cut short can be run again. A stream may begin above seq 1.

        Raises:
            WrongExpectedSeq: an event neither follows its stream here nor is in it.
        """
        ...


@dataclass(frozen=True)
class StreamEnd:
    """Where a stream stands that has no event to be read.

    Attributes:
        stream: its name.
        last_seq: the highest seq it ever had; the next event gets the one above.
        deleted: whether it was deleted, and may be written as if it had never been.
        tombstone: whether it was closed for ever.
    """

    stream: str
    last_seq: int
    deleted: bool = False
    tombstone: bool = False


@runtime_checkable
class Ends(Protocol):
    """A journal that tells of its streams without events, which a copy must not forget."""

    def ends(self) -> Iterator[StreamEnd]:
        """Every stream that was written or closed and holds no event, by name."""
        ...


@runtime_checkable
class SnapshotStore(Protocol):
    """Saved states of streams. Losing one costs time, never truth: events are the truth."""

    def save_snapshot(
        self, stream: str, seq: int, state: Any, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Save the state after event `seq`, and plain data beside it; overwrites the same seq."""
        ...

    def load_snapshot(self, stream: str, max_seq: int | None = None) -> Snapshot | None:
        """The snapshot with the highest seq, at or below `max_seq` if given; or None."""
        ...

    def delete_snapshots(
        self, stream: str, *, min_seq: int | None = None, max_seq: int | None = None
    ) -> int:
        """Drop the snapshots from `min_seq` to `max_seq`, both inclusive; returns how many."""
        ...

    def snapshots(self) -> Iterator[Snapshot]:
        """Every snapshot, by stream and seq."""
        ...


@runtime_checkable
class OutboxStore(Protocol):
    """Effects to be carried out: at least once each, under a key that tells repeats apart.

    pending → executing → completed, or failed; a failure that may be tried again goes back
    to pending with the time of its next try.
    """

    def add(self, effects: Sequence[NewEffect]) -> list[int]:
        """Add effects, pending; returns their ids.

        An effect whose channel has one with the same dedupe key already is not added again:
        the id is that of the first.
        """
        ...

    def pending(self, channel: str, limit: int = 100) -> list[Effect]:
        """The effects that may be claimed now, oldest first.

        Those that are due, and those whose executor's lease has run out.
        """
        ...

    def claim(self, effect_id: int, /, lease: float, epoch: int | None = None) -> Effect | None:
        """Take an effect for `lease` seconds; None if somebody else has it or it is over.

        A greater `epoch` than the holder's takes it over at once: the holder is a past
        incarnation.

        Raises:
            UnknownEffect: there is no such effect.
        """
        ...

    def complete(self, effect_id: int, /, result: Any = None, epoch: int | None = None) -> None:
        """The effect was carried out.

        Raises:
            UnknownEffect: there is no such effect.
            StaleEpoch: a later incarnation has claimed it since.
        """
        ...

    def fail(
        self,
        effect_id: int,
        error: str,
        /,
        *,
        retry_at: float | None = None,
        epoch: int | None = None,
    ) -> None:
        """The effect was not carried out: for good, or to be tried again at `retry_at`.

        Args:
            effect_id: the effect.
            error: what went wrong, for people.
            retry_at: epoch seconds from which it may be claimed again; never if None.
            epoch: the claimer's incarnation; not checked if None.

        Raises:
            UnknownEffect: there is no such effect.
            StaleEpoch: a later incarnation has claimed it since.
        """
        ...

    def get(self, effect_id: int, /) -> Effect | None:
        """One effect, or None."""
        ...

    def list(
        self,
        *,
        stream: str | None = None,
        channel: str | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[Effect]:
        """The effects of a stream, a channel, a status, or all, oldest first."""
        ...


@runtime_checkable
class Storage(StorageAdapter, Scannable, Protocol):
    """A store for everything: what the stores that come with this package offer.

    As a context manager it is initialized on entering and closed on leaving.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    @property
    def journal(self) -> JournalStore:
        """The streams of events."""
        ...

    @property
    def snapshots(self) -> SnapshotStore:
        """The saved states."""
        ...

    @property
    def outbox(self) -> OutboxStore:
        """The effects to be carried out."""
        ...
