"""The journal: an embedded event store on LMDB, usable alone."""

from understudy.storage._archive import Archive
from understudy.storage._backup import BackupReport
from understudy.storage._codec_errors import (
    CodecError,
    DuplicateEventName,
    DuplicateUpcaster,
    EventDecodeError,
    EventEncodeError,
    UnregisteredEvent,
)
from understudy.storage._cursors import Cursors
from understudy.storage._durable import DurableSubscription, Parked
from understudy.storage._errors import (
    BadEvent,
    CorruptRecord,
    DuplicateEvent,
    JournalClosed,
    JournalForked,
    JournalLocked,
    JournalReadOnly,
    SchemaMismatch,
    StaleEpoch,
    StorageError,
    StorageFull,
    StorageUnavailable,
    StreamTombstoned,
    UnderstudyError,
    UnknownKey,
    WrongExpectedSeq,
)
from understudy.storage._feed import LiveSubscription
from understudy.storage._frame import Codec
from understudy.storage._future import CommitFuture
from understudy.storage._journal import Journal
from understudy.storage._ledger import Ledger, LedgerRow
from understudy.storage._outbox import Effect, Outbox
from understudy.storage._record import (
    AppendResult,
    NewEvent,
    Priority,
    Record,
    Shredded,
    Snapshot,
)
from understudy.storage._retention import RetentionPolicy, RetentionReport
from understudy.storage._schema import Migration
from understudy.storage._seal import KeyRing
from understudy.storage._shrink import CompactReport
from understudy.storage._state import State
from understudy.storage._stats import JournalStats
from understudy.storage._tables import UnknownEffect
from understudy.storage._typed import (
    EventRegistry,
    EventType,
    UnknownEvent,
    event,
    registry,
    upcaster,
)
from understudy.storage._verify import Problem, VerifyReport
from understudy.storage._write import (
    Append,
    Cursor,
    Delete,
    EffectStatus,
    EffectUpdate,
    LedgerStatus,
    LedgerWrite,
    NewEffect,
    Put,
    Write,
    WriteResult,
)
from understudy.storage._writer import CommitInfo, Durability

__all__ = [
    "Append",
    "AppendResult",
    "Archive",
    "BackupReport",
    "BadEvent",
    "Codec",
    "CodecError",
    "CommitFuture",
    "CommitInfo",
    "CompactReport",
    "CorruptRecord",
    "Cursor",
    "Cursors",
    "Delete",
    "DuplicateEvent",
    "DuplicateEventName",
    "DuplicateUpcaster",
    "Durability",
    "DurableSubscription",
    "Effect",
    "EffectStatus",
    "EffectUpdate",
    "EventDecodeError",
    "EventEncodeError",
    "EventRegistry",
    "EventType",
    "Journal",
    "JournalClosed",
    "JournalForked",
    "JournalLocked",
    "JournalReadOnly",
    "JournalStats",
    "KeyRing",
    "Ledger",
    "LedgerRow",
    "LedgerStatus",
    "LedgerWrite",
    "LiveSubscription",
    "Migration",
    "NewEffect",
    "NewEvent",
    "Outbox",
    "Parked",
    "Priority",
    "Problem",
    "Put",
    "Record",
    "RetentionPolicy",
    "RetentionReport",
    "SchemaMismatch",
    "Shredded",
    "Snapshot",
    "StaleEpoch",
    "State",
    "StorageError",
    "StorageFull",
    "StorageUnavailable",
    "StreamTombstoned",
    "UnderstudyError",
    "UnknownEffect",
    "UnknownEvent",
    "UnknownKey",
    "UnregisteredEvent",
    "VerifyReport",
    "Write",
    "WriteResult",
    "WrongExpectedSeq",
    "event",
    "registry",
    "upcaster",
]
