"""What the journal raises: one tree, each naming the offender, the state and the next step."""

from __future__ import annotations

from typing import Any


class UnderstudyError(Exception):
    """Root of every error this package raises on purpose."""


class StorageError(UnderstudyError):
    """Root of the errors of the storage room."""


class BadEvent(StorageError):
    """An event or a value cannot be stored as it is; nothing of the whole write was stored.

    Attributes:
        index: place of the offender in its batch, from 0, or None where there is no batch.
        stream: the stream it was meant for, or None.
        reason: what is wrong with it.
    """

    def __init__(self, reason: str, *, stream: str | None = None, index: int | None = None) -> None:
        self.reason = reason
        self.stream = stream
        self.index = index
        where = "" if index is None else f"event {index} of the batch "
        to = "" if stream is None else f"for stream {stream!r} "
        subject = (where + to) or "value "
        super().__init__(
            f"{subject}cannot be stored: {reason}; nothing of this write was stored, "
            "mend it and write again"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_bad_event, (self.reason, self.stream, self.index))


def _rebuild_bad_event(reason: str, stream: str | None, index: int | None) -> BadEvent:
    return BadEvent(reason, stream=stream, index=index)


class WrongExpectedSeq(StorageError):
    """The stream is not where the writer thought it was; nothing was written.

    Attributes:
        stream: the stream.
        expected: the last seq the writer expected (0: no stream yet).
        actual: the last seq the stream has.
    """

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        self.stream = stream
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"stream {stream!r} is at seq {actual}, not at {expected} as expected; "
            f"nothing was written, read on from {min(expected, actual)} and decide again"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.stream, self.expected, self.actual))


class DuplicateEvent(WrongExpectedSeq):
    """A batch repeats ids the stream already has, but only in part; nothing was written.

    Attributes:
        stream: the stream.
        id: the first id that is already there.
        seq: where it stands.
        expected: the seq before it, where the batch could only have stood.
        actual: the last seq the stream has.
    """

    def __init__(self, stream: str, id: str, seq: int, actual: int) -> None:  # noqa: A002 - the field's name
        self.stream = stream
        self.id = id
        self.seq = seq
        self.expected = seq - 1
        self.actual = actual
        StorageError.__init__(
            self,
            f"event id {id!r} already stands in stream {stream!r} at seq {seq}, and the rest of "
            "the batch does not repeat what follows it; nothing was written, "
            "give new events new ids",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.stream, self.id, self.seq, self.actual))


class StaleEpoch(StorageError):
    """A writer that has been replaced tried to append; nothing was written.

    Attributes:
        stream: the stream.
        epoch: the epoch the writer presented.
        current: the highest epoch the stream has seen.
    """

    def __init__(self, stream: str, epoch: int, current: int) -> None:
        self.stream = stream
        self.epoch = epoch
        self.current = current
        super().__init__(
            f"epoch {epoch} may no longer write to stream {stream!r}: epoch {current} has taken "
            "over; nothing was written, this writer should stop"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.stream, self.epoch, self.current))


class StreamTombstoned(StorageError):
    """The stream was deleted for ever; nothing was written.

    Attributes:
        stream: the stream.
        last_seq: the highest seq it ever had.
    """

    def __init__(self, stream: str, last_seq: int) -> None:
        self.stream = stream
        self.last_seq = last_seq
        super().__init__(
            f"stream {stream!r} was deleted for ever at seq {last_seq}; write to another stream"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.stream, self.last_seq))


class CorruptRecord(StorageError):
    """What is on disk is not what was written there.

    Attributes:
        stream: the stream of the damaged record, or None where even that is unreadable.
        seq: its seq, or None.
        position: its global position, or the first position of the damaged stretch.
        reason: what does not fit.
    """

    def __init__(self, stream: str | None, seq: int | None, position: int, reason: str) -> None:
        self.stream = stream
        self.seq = seq
        self.position = position
        self.reason = reason
        super().__init__(
            f"record at position {position} (stream {stream!r}, seq {seq}) is damaged: {reason}; "
            "run verify() for the whole extent and restore from a backup"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.stream, self.seq, self.position, self.reason))


class JournalClosed(StorageError):
    """The journal was closed, by its owner or because its writer could not go on.

    Attributes:
        path: where the journal lives.
    """

    def __init__(self, path: str, cause: str = "") -> None:
        self.path = path
        self.cause = cause
        why = f" ({cause})" if cause else ""
        super().__init__(f"journal {path!r} is closed{why}; open it again to go on")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.cause))


class JournalLocked(StorageError):
    """Another journal object writes to this directory already.

    Attributes:
        path: the directory.
        owner: who holds it, as far as that is known.
    """

    def __init__(self, path: str, owner: str) -> None:
        self.path = path
        self.owner = owner
        super().__init__(
            f"journal {path!r} is already open for writing by {owner}; "
            "close it there, share that object, or open here with readonly=True"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.owner))


class JournalForked(StorageError):
    """A journal opened before a fork was used in the child.

    Attributes:
        path: the directory.
        opened_by: process id that opened it.
        used_by: process id that used it.
    """

    def __init__(self, path: str, opened_by: int, used_by: int) -> None:
        self.path = path
        self.opened_by = opened_by
        self.used_by = used_by
        super().__init__(
            f"journal {path!r} was opened by process {opened_by} and may not be used by its fork "
            f"{used_by}; open it after the fork, or start children with spawn"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.opened_by, self.used_by))


class JournalReadOnly(StorageError):
    """A write was asked of a journal opened with readonly=True.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"journal {path!r} is open read-only; open it without readonly to write")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path,))


class StorageFull(StorageError):
    """The disk, or the map, has no room; nothing of this write was stored or acknowledged.

    Attributes:
        path: the directory.
        reason: what the system said.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"no room left for journal {path!r}: {reason}; nothing of this write was stored, "
            "free some space and write again, the journal goes on by itself"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.reason))


class StorageUnavailable(StorageError):
    """The directory cannot be used: missing, not writable, removed, or not a journal.

    Attributes:
        path: the directory.
        reason: what the system said.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"journal {path!r} cannot be used: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.reason))


class SchemaMismatch(StorageError):
    """The journal on disk has a layout this version does not read.

    Attributes:
        path: the directory.
        found: schema number on disk.
        supported: schema number of this version.
    """

    def __init__(self, path: str, found: int, supported: int) -> None:
        self.path = path
        self.found = found
        self.supported = supported
        super().__init__(
            f"journal {path!r} has schema {found}, this version reads {supported}; "
            "migrate it, or use the version that wrote it"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.found, self.supported))


class UnknownKey(StorageError):
    """A stream is to be encrypted with a key that the key ring does not hold.

    Attributes:
        key_id: the key.
    """

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"no encryption key {key_id!r}; give the journal a key ring that holds it")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.key_id,))
