"""Projections: a view that is folded from the events of all streams, and can be rebuilt."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.actors._actor import Actor
from understudy.actors._errors import ActorDeadError
from understudy.actors._persistent import NotPersistable
from understudy.actors._recovery import BATCH, RecoveryFailed, decode_state, encode_state
from understudy.storage._typed import EventRegistry, registry
from understudy.storage._write import Put, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors._journal_handle import JournalHandle
    from understudy.storage import Record

#: Bucket of the journal's state with a row for each projection: its position and its state.
BUCKET = "projections"


@dataclasses.dataclass(frozen=True, slots=True)
class _CatchUp:
    """There may be new events."""


class Projection(Actor):
    """A named fold over the journal, kept beside it and always catching up.

    Its state and its place in the journal are saved in one transaction, so each event is folded
    exactly once, whatever crashes. Start it in a system, ``system.spawn(Totals)``; ask it for its
    state by ``ref.proxy().current()``.

    Example::

        class Totals(us.Projection):
            projection_id = "totals"
            types = ("account.deposited",)

            def initial(self):
                return {}

            def fold(self, state, event, record):
                state[record.stream] = state.get(record.stream, 0) + event.amount
                return state
    """

    projection_id: ClassVar[str]
    """Its name in the journal; one living projection has it."""

    types: ClassVar[tuple[str, ...] | None] = None
    """Names of the events it takes; None for all."""

    event_registry: ClassVar[EventRegistry] = registry
    """What the names mean."""

    _us_unhook: Callable[[], object] | None = None
    _us_signalled = False
    _us_state: Any = None
    _us_position = 0

    def initial(self) -> Any:
        """The state before the first event. Runs on the actor's thread."""
        raise NotImplementedError(f"{type(self).__qualname__} needs initial(self)")

    def fold(self, state: Any, event: Any, record: Record) -> Any:
        """The state after `event`; plain data, or an object registered with `us.event`.

        `state` may be changed and returned. Runs on the actor's thread. If it raises, the
        projection fails at that event, and nothing of the batch is saved.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} needs fold(self, state, event, record)"
        )

    def on_start(self) -> None:
        """Catch up with the journal, then follow it. A subclass calls this one."""
        journal = self._us_journal()
        row = journal.state.get(BUCKET, self.projection_id)
        if row is None:
            self._us_position, self._us_state = 0, self.initial()
        else:
            self._us_position = row["position"]
            self._us_state = decode_state(self.event_registry, row["state"])
        self._us_unhook = journal.on_commit(self._us_committed)
        self._us_catch_up()

    def on_stop(self) -> None:
        """Follow no longer. A subclass calls this one."""
        if self._us_unhook is not None:
            self._us_unhook()

    def on_receive(self, message: Any) -> Any:
        """Catch up when woken. A subclass passes what is not its own to this one."""
        if not isinstance(message, _CatchUp):
            raise TypeError(f"{type(self).__qualname__} takes no messages, not {message!r}")
        self._us_signalled = False
        self._us_catch_up()

    def current(self) -> Any:
        """The state with every event that is in the journal now."""
        self._us_catch_up()
        return self._us_state

    def position(self) -> int:
        """Position of the journal up to which events are folded in."""
        return self._us_position

    def rebuild(self) -> Any:
        """Begin anew with the first event of the journal; gives the state."""
        self._us_position, self._us_state = 0, self.initial()
        self._us_catch_up(save=True)
        return self._us_state

    def _us_catch_up(self, *, save: bool = False) -> None:
        journal = self._us_journal()
        while True:
            batch = list(journal.read_all(after=self._us_position, types=self.types, limit=BATCH))
            for record in batch:
                try:
                    for event in self.event_registry.decode(
                        record.type, record.version, record.payload
                    ):
                        self._us_state = self.fold(self._us_state, event, record)
                except Exception as error:
                    name = f"projection {self.projection_id}"
                    raise RecoveryFailed(name, record.position, record.type, error) from error
                self._us_position = record.position
            if batch or save:
                save = False
                state = encode_state(self.event_registry, self._us_state)
                row = {"position": self._us_position, "state": state}
                journal.write(Write(puts=[Put(BUCKET, self.projection_id, row)]))
            if len(batch) < BATCH:
                return

    def _us_committed(self, info: Any) -> None:
        if info.streams and not self._us_signalled:
            self._us_signalled = True
            try:
                self.actor_ref.tell(_CatchUp())
            except ActorDeadError:
                self.on_stop()

    def _us_journal(self) -> JournalHandle:
        journal: JournalHandle | None = getattr(self.actor_ref._us_rt, "journal", None)
        if journal is None:
            raise NotPersistable(type(self), "there is no journal here; spawn it in an ActorSystem")
        return journal
