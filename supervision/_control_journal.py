"""What a running system does to its journal when its owner's command asks on the control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.storage import StorageError
from understudy.storage._transfer import lines as export_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from understudy.supervision._system import ActorSystem

#: The bounds of a prune and what each may be.
_PRUNE: dict[str, tuple[type, ...]] = {
    "max_age": (int, float),
    "max_events": (int,),
    "max_bytes": (int,),
    "stream": (str,),
    "archive": (bool, str),
    "force": (bool,),
}


class StreamInUse(StorageError):
    """A stream is the history of a living actor, so nobody else may write it.

    Attributes:
        stream: the stream.
        owner: the path of the actor.
    """

    def __init__(self, stream: str, owner: str) -> None:
        self.stream = stream
        self.owner = owner
        super().__init__(
            f"stream {stream!r} is the history of {owner}, which is alive: stop that actor, or "
            "the system, and import again"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.stream, self.owner))


def journal_ops(system: ActorSystem) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    """The operations, by their word. They run on the thread of the control socket."""
    journal = system.journal

    def prune(request: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {name: request[name] for name in _PRUNE if request.get(name) is not None}
        for name, value in wanted.items():
            if type(value) not in _PRUNE[name]:
                raise StorageError(f"journal.prune: {name} is {value!r}, which it cannot be")
        if not wanted.keys() & {"max_age", "max_events", "max_bytes"}:
            raise StorageError("journal.prune: give max_age, max_events or max_bytes")
        report = journal.retain(**wanted)
        return {
            "dropped_events": report.dropped_events,
            "dropped_segments": report.dropped_segments,
            "archives": [str(one.path) for one in report.archives],
            "kept_events": report.kept_events,
            "kept_because": report.kept_because,
        }

    def import_(request: Mapping[str, Any]) -> dict[str, Any]:
        lines = request.get("lines")
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise StorageError("journal.import: lines is a list of the lines of an export")
        records = list(export_lines(lines))
        for stream in sorted({record.stream for record in records}):
            owner = journal.owner(stream)
            if owner is not None:
                raise StreamInUse(stream, str(owner.path))
        return {"new": journal.restore(records)}

    return {"journal.prune": prune, "journal.import": import_}
