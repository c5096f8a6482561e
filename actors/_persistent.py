"""Actors whose state is the fold of their history in the journal."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, ClassVar

from pykka.messages import ProxyCall

from understudy.actors._actor import Actor
from understudy.actors._config import Config
from understudy.actors._errors import ActorDeadError, Fenced
from understudy.actors._gate import Gate
from understudy.actors._handle import FAIL
from understudy.actors._recovery import Recovered, RecoveryFailed, encode_state, recover
from understudy.actors._silence import Patience, StoreSilent, at_once
from understudy.storage._errors import UnderstudyError
from understudy.storage._typed import EventRegistry, registry
from understudy.storage._write import Append, NewEffect, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from understudy.actors._journal_handle import JournalHandle, Writer
    from understudy.actors._ref import ActorRef
    from understudy.storage import NewEvent
    from understudy.storage._future import CommitFuture

log = logging.getLogger("understudy.actors")


class NotPersistable(UnderstudyError):
    """A persistent actor was used where it has no journal, no name, or no right to write.

    Attributes:
        actor: The actor's class.
        reason: What is missing.
    """

    def __init__(self, actor: type, reason: str) -> None:
        self.actor = actor
        self.reason = reason
        super().__init__(f"{actor.__qualname__}: {reason}")


class _Step:
    """What one message made its actor want; nothing of it is outside before the step ends."""

    __slots__ = ("calls", "dirty", "effects", "error", "events")

    def __init__(self) -> None:
        self.events: list[NewEvent] = []
        # Few steps have any of these; what is not made is not collected either.
        self.effects: list[NewEffect] | None = None
        self.calls: list[Callable[[], object]] | None = None
        self.dirty = False  # apply() has been entered
        self.error: BaseException | None = None  # out of apply(): the state is not to be trusted


class PersistentActor(Actor):
    """An actor that survives crashes: its state is what `apply` makes of the events it persisted.

    `persist(event)` applies the event at once and journals it when the handler ends, all events of
    one message in one transaction. The actor goes on with its next message meanwhile; its replies
    leave when the events before them are safe, in order. What else must wait for safety goes
    through `send`, `effect` and `then`; a plain ``ref.tell`` in the same step leaves at once.

    If a handler raises after `persist`, nothing of the step is journaled and the actor restarts by
    replay, also for an ask. If the append fails, the actor fails: nobody outside saw the state.

    Start it with a name for its history,
    ``system.spawn(Account, persistence_id="account:ada")``.
    At every start it replays: the newest snapshot it can read, then the events after it; messages
    that come meanwhile wait in order. One living actor writes a history at a time.

    Example::

        class Account(us.PersistentActor):
            def __init__(self):
                super().__init__()
                self.balance = 0

            def apply(self, event):
                self.balance += event.amount

            def deposit(self, amount):
                self.persist(Deposited(amount))
                return self.balance
    """

    snapshot_every: ClassVar[int | None] = None
    """Save `snapshot()` in the background every so many events; None for never."""

    event_registry: ClassVar[EventRegistry] = registry
    """What the names of stored events mean; that of `us.event`, unless a class has its own."""

    _us_persistence_id: str | None = None
    _us_journal: JournalHandle | None = None
    _us_writer: Writer | None = None
    _us_step: _Step | None = None
    _us_gate: Gate | None = None
    _us_broken: BaseException | None = None
    _us_recovering = False
    _us_recovered: Recovered | None = None
    _us_own_incarnation = 0
    _us_seq = 0
    _us_snapshot_seq = 0

    # -- what a subclass gives ---------------------------------------------------------------

    def apply(self, event: Any) -> None:
        """Change the state by `event`, and do nothing else: it runs live and in every replay.

        It runs on the actor's thread. If it raises live, the step fails and the actor restarts by
        replay; if it raises in a replay, recovery stops with `RecoveryFailed`.
        """
        raise NotImplementedError(f"{type(self).__qualname__} needs apply(self, event)")

    def snapshot(self) -> Any:
        """The state, as plain data or as an object registered with `us.event`.

        It runs on the actor's thread, between two messages. Later changes to the returned object
        must not matter: return a copy of what is edited in place.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has snapshot_every and needs snapshot(self)"
        )

    def restore(self, state: Any) -> None:
        """Take what `snapshot` gave. It runs on the actor's thread, before the replay of the rest.

        If it raises, the snapshot before is tried, then the full history.
        """
        raise NotImplementedError(f"{type(self).__qualname__} needs restore(self, state)")

    def on_recovered(self) -> None:
        """Called after the replay and before `on_start` and the first message; may persist.

        It runs on the actor's thread. If it raises, the start has failed.
        """

    # -- what a subclass uses ----------------------------------------------------------------

    @property
    def persistence_id(self) -> str:
        """The name of its history: the journal's stream."""
        if self._us_persistence_id is None:
            raise NotPersistable(
                type(self),
                "it has no history; start it with "
                f'system.spawn({type(self).__name__}, persistence_id="…")',
            )
        return self._us_persistence_id

    @property
    def recovering(self) -> bool:
        """Whether `apply` is being called for what is in the journal already."""
        return self._us_recovering

    @property
    def last_seq(self) -> int:
        """Seq of the last event applied, including those that are not safe yet."""
        return self._us_seq

    def persist(self, *events: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Apply `events` now, and journal them with the rest of this step when the handler ends.

        Args:
            events: Objects of classes registered with `us.event`, or `us.NewEvent`.
            metadata: Plain data beside each of them; optional, and if absent there is none.

        Raises:
            UnregisteredEvent: A class has no name on disk; nothing was applied.
            EventEncodeError: A value has no form on disk; nothing was applied.
            Fenced: This incarnation has been replaced.
        """
        self._us_may_write("persist")
        new = [self.event_registry.encode(event, metadata=metadata) for event in events]
        step, alone = self._us_open_step()
        step.dirty = True
        try:
            for event, encoded in zip(events, new, strict=True):
                self.apply(event)
                self._us_seq += 1
                step.events.append(encoded)
        except BaseException as error:
            step.error = error  # also where the handler catches it
            raise
        if alone:
            self._us_submit(step)

    def send(self, ref: ActorRef[Any], message: Any) -> None:
        """``ref.tell(message)`` once the events persisted are safe, never if they are not."""
        self._us_may_write("send")
        self._us_when_safe(lambda: _tell(ref, message))

    def then(self, call: Callable[[], object]) -> None:
        """Run `call()` as a turn of this actor once the events persisted so far are safe.

        It is lost in a crash, as a message is; what must happen is an effect.
        """
        self._us_may_write("then")
        ref, incarnation = self.actor_ref, self._us_own_incarnation

        def run() -> None:
            if ref._us_incarnation == incarnation:
                _tell(ref, ProxyCall(attr_path=("_us_run",), args=(call,), kwargs={}))

        self._us_when_safe(run)

    def effect(self, channel: str, payload: Any, *, dedupe_key: str | None = None) -> str:
        """Have the handler of `channel` do something outside, recorded with this step's events.

        Args:
            channel: The name of the handler.
            payload: Plain data for it.
            dedupe_key: Unique within the channel: a second effect with the same key is not made.
                Optional, and if absent it is made of the history's name, seq and the place in the
                step.

        Returns:
            The dedupe key.
        """
        self._us_may_write("effect")
        step, alone = self._us_open_step()
        if step.effects is None:
            step.effects = []
        if dedupe_key is None:
            dedupe_key = f"{self.persistence_id}:{self._us_seq}:{len(step.effects)}"
        step.effects.append(NewEffect(channel, payload, dedupe_key, self.persistence_id))
        if alone:
            self._us_submit(step)
        return dedupe_key

    # -- the kernel's hooks --------------------------------------------------------------------

    def _us_recover(self) -> None:
        runtime = self.actor_ref._us_rt
        journal = getattr(runtime, "journal", None)
        if journal is None:
            raise NotPersistable(type(self), "there is no journal here; spawn it in an ActorSystem")
        if self.snapshot_every is not None and (
            type(self).snapshot is PersistentActor.snapshot
            or type(self).restore is PersistentActor.restore
        ):
            raise NotPersistable(type(self), "snapshot_every needs snapshot() and restore()")
        self._us_journal = journal
        self._us_own_incarnation = self.actor_ref._us_incarnation
        settings = (runtime.config or Config()).persistence
        patience = Patience(
            runtime.clock,
            settings.silence_timeout,
            runtime.spawn_thread,
            f"{runtime.name}-recovery",
        )
        try:
            with journal.recovery_slot(settings.concurrent_recoveries):
                recovered = self._us_replay(journal, patience, settings.replay_batch)
        except StoreSilent as error:
            raise RecoveryFailed(self.persistence_id, 0, None, error) from error
        finally:
            patience.close()
        self._us_recovered = recovered
        self._us_seq = recovered.last_seq
        self._us_snapshot_seq = recovered.snapshot_seq
        self.on_recovered()

    def _us_replay(self, journal: JournalHandle, patience: Patience, batch: int) -> Recovered:
        name = self.persistence_id
        if not journal.attached:
            patience.ask("to be opened again", journal.current)
        self._us_writer = journal.claim(
            name, self.actor_ref, wait=lambda last: patience.ask("the last write", last.wait)
        )
        # Of a stream that never was there is nothing to wait for: it costs no thread.
        ask = patience.ask if journal.last_seq(name) else at_once
        self._us_recovering = True
        try:
            return recover(self, name, journal, self.event_registry, batch=batch, ask=ask)
        finally:
            self._us_recovering = False

    def _us_step_begin(self) -> None:
        self._us_step = _Step()

    def _us_step_end(self, ok: bool, exc: BaseException | None) -> Any:
        del exc
        step, self._us_step = self._us_step, None
        assert step is not None  # the kernel begins before it ends
        if not ok:
            if step.dirty or self._us_broken is not None:
                return FAIL
        elif self._us_broken is not None:
            raise self._us_broken  # nothing un-journaled is seen outside
        elif step.error is not None:
            raise step.error
        elif step.events or step.effects or step.calls:
            self._us_submit(step)
        gate = self._us_gate
        return gate if gate is not None and not gate.passed else None

    def _us_run(self, call: Callable[[], object]) -> None:
        call()

    # -- inside --------------------------------------------------------------------------------

    def _us_may_write(self, what: str) -> None:
        if self._us_recovering:
            raise NotPersistable(type(self), f"{what}() in apply(): apply() only changes the state")
        if self._us_writer is None:
            raise NotPersistable(type(self), f"{what}() on an instance that is not running")
        if self._us_writer.revoked or self._us_fenced():
            raise Fenced(self.actor_ref, self._us_own_incarnation, what)

    def _us_open_step(self) -> tuple[_Step, bool]:
        """The step of the message being handled; one of its own between messages (`on_start`)."""
        step = self._us_step
        if step is not None:
            return step, False
        return _Step(), True

    def _us_when_safe(self, call: Callable[[], object]) -> None:
        step, alone = self._us_open_step()
        if step.calls is None:
            step.calls = []
        step.calls.append(call)
        if alone:
            self._us_submit(step)

    def _us_submit(self, step: _Step) -> None:
        assert self._us_journal is not None
        assert self._us_writer is not None
        if not (step.events or step.effects):
            # Only calls: they wait for the events of earlier steps, if some are not safe yet.
            gate = self._us_gate
            if gate is None:
                gate = Gate()
                gate.settle(None)
            for call in step.calls or ():
                gate.add_done_callback(_if_safe(call))
            return
        gate = self._us_gate = _Settling(self)
        for call in step.calls or ():
            gate.add_done_callback(_if_safe(call))
        expected, epoch = self._us_seq - len(step.events), self._us_writer.epoch
        if step.effects is None:  # the common case, and the cheaper way
            commit = self._us_journal.submit(
                self.persistence_id, step.events, expected_seq=expected, epoch=epoch
            )
        else:
            appends = (Append(self.persistence_id, step.events, expected, epoch),)
            write = Write(appends=appends if step.events else (), effects=step.effects)
            commit = self._us_journal.submit_write(write)
        self._us_writer.last = commit
        commit.add_done_callback(gate)
        every = self.snapshot_every
        if every is not None and self._us_seq - self._us_snapshot_seq >= every:
            self._us_save_snapshot(gate)

    def _us_save_snapshot(self, gate: Gate) -> None:
        seq = self._us_snapshot_seq = self._us_seq
        journal, persistence_id = self._us_journal, self.persistence_id
        assert journal is not None
        state = encode_state(self.event_registry, self.snapshot())

        def save(error: BaseException | None) -> None:
            if error is None:
                saved = journal.submit_snapshot(persistence_id, seq, state)
                saved.add_done_callback(lambda done: _report_snapshot(done, persistence_id, seq))

        gate.add_done_callback(save)


class _Settling(Gate):
    """A gate that opens, or tells its actor of the failure, as a write ends.

    It is called on the journal's thread.
    """

    __slots__ = ("actor",)

    def __init__(self, actor: PersistentActor) -> None:
        super().__init__()
        self.actor = actor

    def __call__(self, commit: CommitFuture[Any]) -> None:
        error = commit.exception()
        if error is None:
            self.settle(None)
            return
        actor = self.actor
        # Later writes fail because of the first one; everybody is told the first cause.
        if actor._us_broken is None:
            actor._us_broken = error
        self.settle(actor._us_broken)
        actor.actor_ref._us_fail(
            actor._us_broken, incarnation=actor._us_own_incarnation, phase="append"
        )


def _if_safe(call: Callable[[], object]) -> Callable[[BaseException | None], None]:
    def passed(error: BaseException | None) -> None:
        if error is None:
            call()

    return passed


def _tell(ref: ActorRef[Any], message: Any) -> None:
    # a receiver that is gone has made its dead letter already
    with contextlib.suppress(ActorDeadError):
        ref.tell(message)


def _report_snapshot(saved: CommitFuture[Any], persistence_id: str, seq: int) -> None:
    error = saved.exception()
    if error is not None:
        log.warning("snapshot %s of %s was not saved: %r", seq, persistence_id, error)
