"""The events of a session, as its history gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt

    from understudy.storage import Record


class SessionEvent(Mapping[str, Any]):
    """One event of a session: ``event.type``, ``event.seq``, and its fields as items.

    Types: `user_message`, `token`, `data`, `message`, `error` and `retry`. As a mapping it is the
    event's JSON form: seq, type, timestamp (ISO 8601), and the fields of its payload.

    Attributes:
        record: The journal's record, with position, id, version and metadata.
    """

    __slots__ = ("_fields", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self._fields: dict[str, Any] = {
            "seq": record.seq,
            "type": record.type,
            "timestamp": record.timestamp.isoformat(),
            **record.payload,
        }

    @property
    def seq(self) -> int:
        """Its number in the session, dense from 1. (Clients count frames, not events.)"""
        return self.record.seq

    @property
    def type(self) -> str:
        """What happened."""
        return self.record.type

    @property
    def timestamp(self) -> dt.datetime:
        """When it was written, in UTC."""
        return self.record.timestamp

    @property
    def payload(self) -> dict[str, Any]:
        """Its fields."""
        payload: dict[str, Any] = self.record.payload
        return payload

    @property
    def priority(self) -> str:
        """`critical`, or `normal` (tokens)."""
        return self.record.priority

    def to_dict(self) -> dict[str, Any]:
        """Its JSON form."""
        return dict(self._fields)

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<SessionEvent {self.seq} {self.type} {self.payload!r}>"
