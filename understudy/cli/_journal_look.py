"""`understudy journal show` and `replay`: single events, histories, and actors as they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli._journal_open import (
    AsJson,
    DataDir,
    Priority,
    Since,
    Topics,
    Types,
    Until,
    chosen_priority,
    known,
    reading,
    times,
)
from understudy.cli._output import EventPrinter, jsonable, local_time, print_facts, print_json
from understudy.storage import UnderstudyError
from understudy.storage._transfer import to_line

if TYPE_CHECKING:
    import datetime as dt

    from understudy.actors import PersistentActor
    from understudy.storage import Journal, Record


class NoActorClass(UnderstudyError):
    """What was to be replayed into is no class of persistent actors.

    Attributes:
        target: what was named.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        super().__init__(
            f"{target!r} is no subclass of PersistentActor; name one as  --actor office:Account"
        )


def show(
    place: Annotated[
        str, typer.Argument(help="A global position, or with SEQ the name of a stream.")
    ],
    seq: Annotated[int | None, typer.Argument(help="The seq in that stream.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print one event in full."""
    with reading(data_dir) as found:
        record = _event(found, place, seq)
        if as_json:
            print(to_line(record))
            return
        data = record.to_dict()
    for name in ("payload", "metadata"):
        data[name] = json.dumps(jsonable(data[name]), ensure_ascii=False, indent=2)
    data["timestamp"] = f"{local_time(record.timestamp)} ({record.timestamp.isoformat()})"
    data["topics"] = ", ".join(record.topics)
    print_facts(data.items())


def _event(journal: Journal, place: str, seq: int | None) -> Record:
    record: Record | None
    if seq is not None:
        records = journal.read(known(journal, place), after=max(seq - 1, 0), until_seq=seq)
        record = next(iter(records), None)
        where = f"no event {seq} in stream {place!r}: it holds {_range(journal, place)}"
    elif place.isdecimal():
        record = journal.record_at(int(place))
        where = f"no event at position {place}: the last is {journal.last_position()}"
    else:
        seqs = _range(journal, known(journal, place))
        raise typer.BadParameter(f"which event of {place!r}? Give its seq: {seqs}")
    if record is None:
        raise typer.BadParameter(where)
    return record


def _range(journal: Journal, stream: str) -> str:
    first, last = journal.first_seq(stream), journal.last_seq(stream)
    return f"{first} to {last}" if first <= last else "no events any more"


def replay(
    stream: Annotated[str | None, typer.Argument(help="Only this stream; all if absent.")] = None,
    after: Annotated[
        int, typer.Option(min=0, help="Begin behind this seq (without a stream: position).")
    ] = 0,
    until_seq: Annotated[
        int | None, typer.Option(help="End with this seq (without a stream: position).")
    ] = None,
    since: Since = None,
    until: Until = None,
    event_types: Types = None,
    topics: Topics = None,
    priority: Priority = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Newest first.")] = False,
    actor: Annotated[
        str | None,
        typer.Option(
            help="Replay into this class of persistent actors, module:Class, and print its state "
            "as it was at --until-seq or --until."
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print the events in the order in which they were written, or an actor as it was.

    With --actor the events of a stream are applied to an actor that is not running and cannot
    persist; what it knows after the last of them is printed. The living actor does not notice.
    """
    begin, end = times(since, until)
    if actor is not None:
        if stream is None:
            raise typer.BadParameter("--actor needs the stream of its history")
        with reading(data_dir) as found:
            last = until_seq if until_seq is not None else end
            _state(found, known(found, stream), actor, last, as_json=as_json)
        return
    wanted: dict[str, Any] = {
        "after": after,
        "types": event_types,
        "topics": topics,
        "since": begin,
        "until": end,
        "priority": chosen_priority(priority),
        "limit": limit,
        "reverse": reverse,
    }
    with reading(data_dir) as found:
        records = (
            found.read_all(until_position=until_seq, **wanted)
            if stream is None
            else found.read(known(found, stream), until_seq=until_seq, **wanted)
        )
        printer = EventPrinter(as_json=as_json, one_stream=stream is not None)
        for record in records:
            printer.print(record)


def _state(
    journal: Journal, stream: str, target: str, until: int | dt.datetime | None, *, as_json: bool
) -> None:
    from understudy.actors import PersistentActor
    from understudy.actors import replay as replay_actor
    from understudy.cli._target import load

    cls = load(target, "replay into")
    if not isinstance(cls, type) or not issubclass(cls, PersistentActor):
        raise NoActorClass(target)
    was = replay_actor(cls, journal, stream, until=until)
    state = _known_to(was)
    if as_json:
        print_json({"stream": stream, "seq": was.last_seq, "state": state})
        return
    pairs = state.items() if isinstance(state, dict) else [("state", state)]
    print_facts([("seq", was.last_seq), *((str(name), repr(value)) for name, value in pairs)])


def _known_to(actor: PersistentActor) -> Any:
    """What the actor would save in a snapshot; without one, its own attributes."""
    from understudy.actors import PersistentActor

    if type(actor).snapshot is not PersistentActor.snapshot:
        return actor.snapshot()
    return {name: value for name, value in vars(actor).items() if not name.startswith("_")}
