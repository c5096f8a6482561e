"""The cell: an actor's mailbox, its owner and its life, all in the object users know as its ref.

Who may run an actor. `_us_owner` is the claim: the strand that stands there owns the actor and
serves its mailbox; it is taken by one statement that no thread switch can part. A sender appends
and, if it finds `_us_idle` set, clears it and submits the cell to its dispatcher. The owner, when
it finds nothing more to do, sets `_us_idle`, lets go, and *looks once more*; so a message is never
left lying, and a submission too many is harmless, because its claim fails or finds an empty
mailbox. That is also why an asker may claim and serve the actor on its own thread.

This holds because attribute loads and stores are sequentially consistent, and because CPython
switches threads and delivers signals only at calls and backward jumps; both the GIL gives. A build
without it needs a lock for the claim, and a barrier between the append and the look at `_us_idle`.

`_us_odd` stands for everything that is not the plain next message: death, the control lane,
suspension, an own context. The owner tests this one flag between two messages. It clears the flag
first and looks second, so that what is posted in between is seen.

Fencing: taking an actor from a strand that does not come back means changing the cell's lock
(`_us_lock`, a mere token, None at first) and clearing the owner. The old owner compares the token
it saw with the cell's after every call of user code.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import pykka

from understudy.actors import _handle
from understudy.actors._dispatcher import CALL_AT
from understudy.actors._envelope import seal
from understudy.actors._strand import cell_var, local, strand_here

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from understudy.actors._class_info import ClassInfo
    from understudy.actors._dispatcher import Dispatcher
    from understudy.actors._future import Future
    from understudy.actors._runtime import Runtime
    from understudy.actors._strand import Strand

__all__ = ["Cell", "Extra"]

NEW, STARTING, OPEN, HALTING, SUSPENDED, CLOSED = range(6)
"""The phases of a cell. HALTING: its children and its on_stop are under way."""

GO, IDLE, PARK, YIELD = range(4)
"""What an owner does next: serve, leave an empty mailbox, leave it waiting, come back later."""

DEAD: Final = object()
"""The gate of a dead cell: senders see it and are told."""

BATCH = 1024
"""Messages taken off a long mailbox at once. Bounded, since a batch keeps what it has handled."""

NEAR = 8
"""An asker serves its callee itself if no more than this waits there: else a worker is quicker."""

PLAIN: Final = frozenset(
    {type(None), int, str, bool, float, list, dict, bytes, tuple, set, frozenset}
)
"""Results that are surely neither futures nor coroutines, so that no further look is needed."""

SPECIAL = _handle.SPECIAL
_running_loop = asyncio._get_running_loop


class Extra:
    """What few actors need: made when first needed, so that an idle actor stays small."""

    __slots__ = (
        "ask_failures",
        "beats",
        "behaviours",
        "context",
        "entered",
        "event",
        "gates",
        "halt_hooks",
        "halting",
        "heartbeat",
        "interceptors",
        "lease_until",
        "mailbox",
        "persistence_id",
        "stash",
        "stashed",
        "timers",
        "turns",
        "urn",
        "watchers",
        "watching",
    )

    def __init__(self) -> None:
        self.turns: list[Any] = []
        self.context: Context | None = None
        self.entered: Context | None = None
        self.watchers: dict[Any, object] | None = None
        self.watching: dict[Any, object] | None = None
        self.stash: list[Any] | None = None
        self.stashed = False
        self.timers: set[Any] | None = None
        self.behaviours: list[Callable[[Any], Any]] | None = None
        self.interceptors: tuple[Any, ...] | None = None
        self.halting: Any = None
        self.halt_hooks = True
        self.urn: str | None = None
        self.event: threading.Event | None = None
        self.mailbox: Any = None
        self.persistence_id: str | None = None
        self.heartbeat: Any = None
        self.ask_failures: str | None = None
        self.lease_until: float | None = None
        self.gates: list[Any] | None = None
        self.beats = 0


class Cell(pykka.ActorRef[Any]):
    """The working half of `ActorRef`."""

    __slots__ = (
        "_us_actor",
        "_us_args",
        "_us_batch",
        "_us_below",
        "_us_below_envelope",
        "_us_control",
        "_us_extra",
        "_us_fast",
        "_us_gate",
        "_us_guardian",
        "_us_high",
        "_us_home",
        "_us_idle",
        "_us_incarnation",
        "_us_info",
        "_us_inline",
        "_us_inlined",
        "_us_lock",
        "_us_odd",
        "_us_owner",
        "_us_parent",
        "_us_path",
        "_us_phase",
        "_us_queue",
        "_us_rt",
        "_us_stoppers",
        "actor_class",
    )

    _us_actor: Any
    _us_args: tuple[tuple[Any, ...], Mapping[str, Any]] | None
    _us_batch: Any
    _us_below: Cell | None
    _us_below_envelope: Any
    _us_control: list[tuple[Any, ...]] | None
    _us_extra: Extra | None
    _us_fast: bool
    _us_gate: Any
    _us_guardian: Any
    _us_high: int
    _us_home: Dispatcher
    _us_idle: bool
    _us_incarnation: int
    _us_info: ClassInfo
    _us_inline: bool
    _us_lock: Any
    _us_odd: bool
    _us_owner: Strand | None
    _us_parent: Cell | None
    _us_path: str | None
    _us_phase: int
    _us_queue: list[Any]
    _us_rt: Runtime
    _us_inlined: bool
    _us_stoppers: list[Future[bool]] | None

    def __init__(self, *facts: Any) -> None:
        self._us_furnish(*facts)

    def _us_furnish(
        self,
        cls: type[Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        runtime: Runtime,
        info: ClassInfo,
        dispatcher: Any,
        guardian: Any,
        parent: Cell | None,
        path: str | None,
    ) -> None:
        self.actor_class = cls
        self._us_actor = None
        self._us_args = (args, kwargs) if args or kwargs else None
        self._us_batch = None
        self._us_below = None
        self._us_below_envelope = None
        self._us_control = None
        self._us_extra = None
        self._us_fast = fast = info.plain and dispatcher.fast and runtime.plain
        self._us_gate = None
        self._us_guardian = guardian
        self._us_high = 0
        self._us_home = dispatcher
        self._us_idle = False
        self._us_incarnation = 0
        self._us_info = info
        self._us_inline = fast and dispatcher.inline and runtime.inline and info.inline is not False
        self._us_lock = None
        self._us_odd = True
        self._us_owner = None
        self._us_parent = parent
        self._us_path = path
        self._us_phase = NEW
        self._us_queue = []
        self._us_rt = runtime
        self._us_inlined = False
        self._us_stoppers = None

    def _us_more(self) -> Extra:
        extra = self._us_extra
        if extra is None:
            with self._us_rt.lock:
                extra = self._us_extra
                if extra is None:
                    extra = self._us_extra = Extra()
        return extra

    # --- sending -----------------------------------------------------------------------------

    def tell(self, message: Any) -> None:
        """Send a message without waiting for any answer.

        Never blocks, unless the actor's mailbox is bounded and its overflow policy is "block".
        The message is delivered at most once, after all that this sender sent here before.

        Raises:
            ActorDeadError: the actor is dead; the message comes back as its `message`.
            MailboxFull: the mailbox is bounded and full, and rejects or timed out.
        """
        if self._us_gate is not None:
            self._us_tell_gated(message)
            return
        strand = local.strand
        if strand is None:
            if isinstance(message, tuple):
                message = (message, None, None, None, 0, None, None)
        elif strand.loop is not None:
            message = self._us_seal(message, None, None)
        else:
            sender = strand.current
            if sender is not None:
                cause = strand.envelope
                if type(cause) is not tuple:
                    message = (message, None, sender, strand, strand.number, None, None)
                elif cause[5] is not None or cause[3] is None:
                    message = (message, None, sender, strand, strand.number, cause[5], None)
                else:
                    message = seal(message, None, sender, strand, strand.number)
            elif isinstance(message, tuple):
                message = (message, None, None, None, 0, None, None)
        self._us_queue.append(message)
        if self._us_idle:
            self._us_idle = False
            home = self._us_home
            ready = home.ready
            ready.append(self)
            if home.free > 0 or (home.dozing and len(ready) >= CALL_AT):
                home.look_after()

    def _us_put(self, item: Any) -> None:
        """Append an item to the user lane as it is, past capacity and policy."""
        gate = self._us_gate
        if gate is not None and gate is not DEAD:
            gate.put(self._us_queue, item, exempt=True)
        else:
            self._us_queue.append(item)
        if self._us_idle:
            self._us_idle = False
            self._us_home.submit(self)

    def _us_seal(self, message: Any, reply: Any, deadline: float | None) -> Any:
        """Envelope a message, from wherever this is called."""
        strand = local.strand
        if strand is not None:
            sender = strand.current
            turn = strand.number
            if strand.loop is not None:
                if sender is None:
                    sender = cell_var.get(None)
                elif (here := sender._us_turn_here()) is not None:
                    turn = here.number
            if sender is not None:
                envelope = seal(message, reply, sender, strand, turn)
                return envelope if deadline is None else (*envelope[:6], deadline)
        if reply is None and deadline is None and not isinstance(message, tuple):
            return message
        return (message, reply, None, None, 0, None, deadline)

    def _us_put_back(self, items: list[Any]) -> None:
        """Put items at the front of the user lane, in their order. The claim is held."""
        mailbox = self._us_extra.mailbox if self._us_extra is not None else None
        if mailbox is not None:
            mailbox.put_back(self._us_queue, items)
        else:
            self._us_queue[0:0] = items

    def _us_unstash(self, items: list[Any]) -> None:
        """Put items before all that waits, called by the actor's own handler."""
        batch = self._us_batch
        if batch is not None:  # the rest of the batch at work is still before the queue
            items = [*items, *batch]
        self._us_put_back(items)

    def _us_asked_inline(self, strand: Strand) -> bool:
        """Whether the message at work is an inline ask, whose caller waits for a return."""
        return self._us_owner is strand and self._us_inlined

    def _us_post(self, *operation: Any) -> None:
        """Put an operation into the control lane, which is served before all messages."""
        fresh: list[tuple[Any, ...]] = []
        # One line without a call: no other thread comes between its load and its store.
        self._us_control = control = fresh if self._us_control is None else self._us_control
        control.append(operation)
        self._us_odd = True
        owner = self._us_owner
        if owner is None or owner is not local.strand:
            self._us_idle = False
            self._us_home.submit(self)

    # --- running -----------------------------------------------------------------------------

    def _us_run(self, strand: Strand, until: Future[Any] | None = None) -> None:
        """Claim the actor and serve its mailbox on this strand, or return at once.

        This serves actors of any kind on any strand; the workers of a pool have a loop of their
        own for plain ones (`_work`).

        Args:
            strand: the one of this thread.
            until: return as soon as this future is done (an asker serving its callee).
        """
        if self._us_owner is not None:
            return
        lock = self._us_lock
        below = strand.current
        envelope = strand.envelope
        number = strand.number
        room = strand.room
        verdict = IDLE
        try:
            # The claim. One line without a call: no other thread can come between its load and its
            # store. (So it is under the GIL; a build without it needs a lock here.)
            self._us_owner = owner = self._us_owner or strand
            if owner is not strand:
                return
            if below is not None:
                self._us_below = below
                self._us_below_envelope = envelope
            strand.current = self
            if strand.runtime is not self._us_rt:
                strand.adopt(self._us_rt)
            verdict = self._us_serve_all(strand, lock, until)
            strand.current = below
            strand.envelope = envelope
            strand.number = number
            if self._us_lock is lock:
                if below is not None:
                    self._us_below = None
                if verdict is IDLE:
                    self._us_idle = True
                    self._us_owner = None
                    if self._us_queue or (self._us_odd and self._us_phase != CLOSED):
                        self._us_idle = False
                        self._us_home.submit(self)
                else:
                    self._us_let_go(strand, lock, verdict)
            else:
                self._us_lost(strand)
        except BaseException:
            # Ctrl-C, maybe between two lines of our own.
            strand.current = below
            strand.envelope = envelope
            strand.number = number
            strand.room = room
            self._us_repair(strand, lock)
            raise

    def _us_repair(self, strand: Strand, lock: Any) -> None:
        """An exception came between two lines of our own: let go, have somebody look once more."""
        if self._us_owner is not strand:
            self._us_home.submit(self)
            return
        if self._us_lock is lock and self._us_batch is not None:
            batch, self._us_batch = self._us_batch, None
            self._us_queue[0:0] = list(batch)
        self._us_let_go(strand, lock, YIELD)

    def _us_let_go(self, strand: Strand, lock: Any, verdict: int) -> None:
        if self._us_lock is not lock:
            self._us_lost(strand)
            return
        self._us_below = None
        self._us_owner = None
        if verdict == YIELD or self._us_control or self._us_phase == CLOSED:
            self._us_home.submit(self)

    def _us_lost(self, strand: Strand) -> None:
        """This strand was fenced; or the cell was, just before it claimed it."""
        if self._us_owner is strand:
            self._us_owner = None
            self._us_home.submit(self)
        self._us_rt.came_back(strand)

    def _us_serve_batch(self, strand: Strand, lock: Any, receive: Any, most: int) -> int:
        """Serve a long mailbox: a batch at a time is cut off, and what is left of it put back."""
        batch = self._us_cut(most)
        for message in batch:
            strand.envelope = message
            strand.turns = strand.number = strand.turns + 1
            try:
                if type(message) is not tuple:
                    result = receive(message)
                    if result is not None and result.__class__ is CoroutineType:
                        _handle.drive(self, strand, lock, result, message)
                elif (
                    message[1] is not None
                    and message[6] is None
                    and message[0].__class__ not in SPECIAL
                    and message[1]._us_done is None
                ):
                    result = receive(message[0])
                    if (
                        result.__class__ in PLAIN
                        and self._us_extra is None
                        and self._us_lock is lock
                    ):
                        message[1]._us_resolve(result)
                    else:
                        _handle.finish(self, strand, lock, result, message[1], message)
                else:
                    _handle.open_envelope(self, strand, lock, message, receive)
            except BaseException as error:
                _handle.raised(self, strand, lock, error, message)
            if self._us_odd or self._us_lock is not lock:
                break
        if self._us_lock is not lock:
            return YIELD
        self._us_put_rest(batch)
        return GO

    def _us_cut(self, most: int) -> Iterator[Any]:
        """Cut a batch off a long mailbox: to take messages off one by one would move all others."""
        queue = self._us_queue
        count = len(queue)
        self._us_high = max(self._us_high, count)
        count = min(count, most, BATCH)
        self._us_batch = batch = iter(queue[:count])
        del queue[:count]
        return batch

    def _us_put_rest(self, batch: Iterator[Any]) -> None:
        """Put back what is left of a batch."""
        self._us_batch = None
        rest = list(batch)
        if rest:
            self._us_queue[0:0] = rest

    def _us_serve_all(self, strand: Strand, lock: Any, until: Future[Any] | None) -> int:
        """Serve any kind of actor, looking at each message as if it were the first."""
        queue = self._us_queue
        left = self._us_home.throughput
        while True:
            if self._us_odd:
                verdict = self._us_attend(strand, lock)
                if verdict:
                    return verdict
            extra = self._us_extra
            mailbox = extra.mailbox if extra is not None else None
            batch = None
            count = len(queue)
            items: Iterable[Any]
            if mailbox is not None:
                message = mailbox.take(queue)
                if message is mailbox:
                    return IDLE
                items = (message,)
            elif not count:
                return IDLE
            elif count > NEAR:
                items = batch = self._us_cut(left)
            else:
                self._us_high = max(self._us_high, count)
                items = (queue.pop(0),)
            for message in items:
                self._us_serve_one(strand, lock, message)
                left -= 1
                if self._us_odd or self._us_lock is not lock:
                    break
                if until is not None and until._us_done is not None:
                    break
            if self._us_lock is not lock:
                return YIELD
            if batch is not None:
                self._us_put_rest(batch)
            if until is not None and until._us_done is not None and not self._us_odd:
                return YIELD if queue else IDLE
            if not left:
                return YIELD

    def _us_serve_one(self, strand: Strand, lock: Any, message: Any) -> None:
        strand.envelope = message
        strand.turns = strand.number = strand.turns + 1
        extra = self._us_extra
        context = extra.context if extra is not None else None
        try:
            if context is None:
                _handle.handle(self, strand, lock, message)
            else:
                assert extra is not None
                extra.entered = context
                try:
                    context.run(_handle.handle, self, strand, lock, message)
                finally:
                    extra.entered = None
        except BaseException as error:
            _handle.raised(self, strand, lock, error, message)

    def _us_attend(self, strand: Strand, lock: Any) -> int:
        """Look after what is not the plain next message. The claim is held."""
        while True:
            if self._us_lock is not lock:
                return YIELD
            self._us_odd = False  # first clear, then look: a later post sets it again
            if self._us_phase == CLOSED:
                self._us_odd = True
                self._us_drain()
                return IDLE
            if self._us_control:
                operation = self._us_control.pop(0)
                getattr(self, operation[0])(strand, lock, *operation[1:])
                continue
            extra = self._us_extra
            if extra is not None:
                if extra.turns:
                    if extra.halting is not None or not self._us_info.reentrant:
                        self._us_odd = True
                        return PARK
                elif extra.halting is not None and self._us_phase == OPEN:
                    self._us_do_halt(strand, lock, extra.halting, extra.halt_hooks)
                    continue
            if self._us_phase != OPEN:
                self._us_odd = True
                return PARK
            if strand.hurry:
                strand.hurry = False
                return YIELD
            return GO

    if TYPE_CHECKING:  # given by the classes above this one

        def _us_tell_gated(self, message: Any) -> None: ...

        def _us_drain(self) -> None: ...

        def _us_do_halt(self, strand: Strand, lock: Any, reason: Any, run_hooks: bool) -> None: ...

    # --- serving a callee from the asker's thread --------------------------------------------

    def _us_serve(self, future: Future[Any]) -> None:
        """Run this actor on the calling thread until `future` is done, if that is allowed now."""
        if (
            self._us_owner is not None
            or len(self._us_queue) > NEAR
            or not self._us_inline_allowed()
        ):
            return
        strand = strand_here()
        room = strand.room
        if not room:
            return
        strand.room = room - 1
        context = strand.spare
        strand.spare = None
        if context is None:
            context = Context()
        try:
            if strand.loop is None:
                context.run(self._us_run, strand, future)
        finally:
            strand.room = room
            if not context:
                strand.spare = context
            else:
                self._us_keep_context(context)

    def _us_inline_allowed(self) -> bool:
        info = self._us_info
        return info.inline is not False and self._us_rt.inline and self._us_home.inline

    def _us_keep_context(self, context: Context) -> None:
        """Make `context`, which this actor's code has filled, the actor's own."""
        extra = self._us_more()
        if extra.context is None:
            extra.context = context
            self._us_inline = False
            self._us_fast = False

    # --- looked at from outside --------------------------------------------------------------

    def _us_mail(self) -> int:
        """How many items wait in the user lane, marks included."""
        batch = self._us_batch
        return len(self._us_queue) + (batch.__length_hint__() if batch is not None else 0)

    def _us_waiting(self, which: int) -> Any:
        """The message that is served next (0), or that came last (-1), of those that wait."""
        batch = self._us_batch
        ahead: list[Any] = []
        if batch is not None:
            _, (items,), *at = batch.__reduce__()  # the list, and how far it has come
            ahead = items[at[0] :] if at else []
        for item in (self._us_queue or ahead)[-1:] if which else (ahead or self._us_queue)[:1]:
            return item[0] if type(item) is tuple else item
        return None

    def _us_markable(self) -> bool:
        """Whether marks may be put into the mailbox: it is alive, and of the default kind."""
        return self._us_gate is None and self._us_phase != CLOSED

    def _us_suspended(self) -> bool:
        """Whether it is between two incarnations, or stands still for its guardian's word."""
        return self._us_phase == SUSPENDED

    def _us_holder(self) -> Any:
        """The strand that runs this actor now, or the suspended turn that keeps it busy."""
        extra = self._us_extra
        if extra is not None and extra.turns and not self._us_info.reentrant:
            return extra.turns[0]
        owner = self._us_owner
        if owner is not None and owner.turn is not None and owner.turn.cell is self:
            return owner.turn
        return owner

    def _us_turn_here(self) -> Any:
        """The coroutine turn of this actor that is being stepped on this thread now."""
        strand = local.strand
        turn = strand.turn if strand is not None else None
        return turn if turn is not None and turn.cell is self else None

    def _us_on_loop(self, loop: Any) -> bool:
        """Whether this actor needs the event loop `loop` to run."""
        return self._us_home.loop is loop
