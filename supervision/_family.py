"""What static and dynamic supervisors share: the queue of events, halting, judging, reporting.

A family is the guardian of one actor's children. It is a state machine, not an actor: whoever
brings an event (a failing strand, a timer, an admin call) puts it into the family's queue and, if
nobody else is at it, works the queue off at once on its own thread. So a restart costs no message
round trip, nobody ever waits for a family, and no lock is held while a cell is told what to do:
cells may call back from inside, and two families can never wait for each other.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from understudy.actors import ActorRestarted, Directive, Exit, Failure, Future, Restart
from understudy.supervision._errors import RestartsExhausted
from understudy.supervision._reports import Offender, SupervisorReport, emit, wanted
from understudy.supervision._spec import ChildState, Shutdown, is_supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from understudy.actors import ActorRef
    from understudy.actors._clock import Handle
    from understudy.supervision._budget import Budget
    from understudy.supervision._realm import Realm
    from understudy.supervision._reports import Action, Context
    from understudy.supervision._spec import ChildInfo, ChildSpec
    from understudy.supervision._strategies import Strategy

__all__ = ["Child", "Family"]

logger = logging.getLogger("understudy.supervision")

RUNNING, STARTING = ChildState.RUNNING, ChildState.STARTING
RESTARTING, STOPPING, STOPPED = ChildState.RESTARTING, ChildState.STOPPING, ChildState.STOPPED


class Child:
    """What a family remembers of one child beyond its reference."""

    __slots__ = (
        "budget",
        "failures",
        "halts",
        "id",
        "incarnation",
        "lane",
        "last_failure",
        "last_words",
        "live",
        "on_down",
        "ref",
        "restart",
        "restarts",
        "settling",
        "shutdown",
        "spec",
        "starter",
        "state",
        "terminators",
        "timer",
        "up_at",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the spec's word
        restart: Restart,
        shutdown: float | Shutdown,
        spec: ChildSpec | None = None,
    ) -> None:
        self.id = id
        self.spec = spec
        self.restart = restart
        self.shutdown = shutdown
        self.ref: ActorRef[Any] | None = None
        self.state = STOPPED
        # An incarnation runs or is on its way: it will report started, failed or ended.
        self.live = False
        self.incarnation = 0  # the one whose news counts
        # It failed, and its own children are being stopped before it is judged.
        self.settling = False
        self.restarts = 0
        self.failures = 0  # in a row, for the backoff
        self.up_at = 0.0
        self.budget: Budget | None = None
        # An exception keeps the frames it came through, and with them the whole old instance: it
        # is held until the next incarnation runs, its text for good.
        self.last_failure: BaseException | None = None
        self.last_words: str | None = None
        self.timer: Handle | None = None
        self.lane: Any = None
        self.halts = 0  # which halt is under way: what belongs to an earlier one comes late
        self.on_down: Callable[[Child, Exit], None] | None = None
        self.starter: Future[Any] | None = None
        self.terminators: list[Future[Any]] = []

    def failed(self, cause: BaseException) -> None:
        """Remember why it failed."""
        self.last_failure = cause
        self.last_words = short(cause)

    def cancel_timer(self) -> None:
        """Let no timer of this child ring any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Family:
    """The children of one actor, and everything that is decided about them."""

    def __init__(
        self,
        realm: Realm,
        owner: ActorRef[Any],
        strategy: Strategy,
        decider: Mapping[type[BaseException], Directive] | None = None,
    ) -> None:
        self.realm = realm
        self.owner = owner
        self.strategy = strategy
        self.state = STARTING
        self._decider = decider or {}
        self._budget = strategy.new_budget() if strategy.budget == "supervisor" else None
        self._inbox: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._claim = threading.Lock()
        self._later: deque[Callable[[], object]] = deque()
        self._when_up: list[Callable[[BaseException | None], None]] = []
        self._when_stopped: list[Callable[[], None]] = []
        self._start_error: BaseException | None = None
        self._was_up = False  # all first children have run

    # --- the queue ------------------------------------------------------------------------------

    def _post(self, fn: Callable[..., None], *args: Any) -> None:
        """Take an event in; work the queue off unless somebody is at it."""
        inbox = self._inbox
        inbox.append((fn, args))
        while inbox and self._claim.acquire(False):
            try:
                while inbox:
                    fn, args = inbox.popleft()
                    try:
                        fn(*args)
                    except Exception:
                        logger.exception("%s: error in its supervision", self.owner)
            finally:
                self._claim.release()
            # Futures are settled with no claim held: their callbacks are users' code and may
            # wait for this very family.
            later = self._later
            while later:
                try:
                    settle = later.popleft()
                except IndexError:  # another thread was quicker
                    break
                settle()

    def _set(self, future: Future[Any] | None, value: Any = None) -> None:
        if future is not None:
            self._later.append(partial(future.set, value))

    def _set_error(self, future: Future[Any] | None, error: BaseException) -> None:
        if future is not None:
            self._later.append(
                partial(future.set_exception, (type(error), error, error.__traceback__))
            )

    def look(self, fn: Callable[[], Any]) -> Future[Any]:
        """What `fn()` sees between two events, when no decision is half made."""
        future: Future[Any] = Future()
        self._post(self._look, future, fn)
        return future

    def _look(self, future: Future[Any], fn: Callable[[], Any]) -> None:
        self._set(future, fn())

    # --- the guardian's side: called by cells ---------------------------------------------------

    def child_started(self, ref: ActorRef[Any], incarnation: int) -> None:
        """An incarnation's `on_start` returned."""
        self._post(self._started, ref, incarnation)

    def child_start_failed(
        self, ref: ActorRef[Any], incarnation: int, cause: BaseException
    ) -> None:
        """`__init__` or `on_start` raised; `cause` may be `Ignore`."""
        self._post(self._start_failed, ref, incarnation, cause)

    def child_failed(self, ref: ActorRef[Any], incarnation: int, failure: Failure) -> None:
        """A handler raised; the cell waits for a decision."""
        self._post(self._failed, ref, incarnation, failure)

    def child_hung(
        self, ref: ActorRef[Any], incarnation: int, failure: Failure, *, free: bool
    ) -> None:
        """The detector took the cell away from a handler that hangs; `free` costs no budget."""
        self._post(self._hung, ref, incarnation, failure, free)

    def child_ended(self, ref: ActorRef[Any], incarnation: int, reason: Exit) -> None:
        """An incarnation ended without failing."""
        self._post(self._ended, ref, incarnation, reason)

    def child_closed(self, ref: ActorRef[Any], reason: Exit) -> None:
        """A cell closed for good. Families close their cells themselves: nothing is left to do."""

    def fatal(self, ref: ActorRef[Any], error: BaseException) -> None:
        """`SystemExit` or `KeyboardInterrupt` came out of a handler: the whole system ends."""
        self.realm.fatal(ref, error)

    # --- to be told by the two kinds ------------------------------------------------------------

    def _find(self, ref: ActorRef[Any]) -> Child | None:
        raise NotImplementedError

    def child_refs(self) -> list[ActorRef[Any]]:
        """References of the children that have one, in start order."""
        raise NotImplementedError

    def which_children(self) -> list[ChildInfo]:
        """The children, latest first."""
        raise NotImplementedError

    def _up(self, child: Child) -> None:
        """The child runs (a supervisor: its children too)."""
        raise NotImplementedError

    def _unstarted(self, child: Child, cause: BaseException) -> None:
        """A start (the first, an admin's, a restart's) failed; the child is down."""
        raise NotImplementedError

    def _fallen(self, child: Child, reason: Exit, directive: Directive, *, free: bool) -> None:
        """The child ended by itself, by failure or in peace; it is down, its cell suspended."""
        raise NotImplementedError

    def _ordered_out(self, child: Child) -> None:
        """Somebody outside told the child to stop, and it has."""
        raise NotImplementedError

    def _stop_children(self) -> None:
        """Stop everything; call `_all_stopped` when it is done."""
        raise NotImplementedError

    def _members(self) -> list[Child]:
        """Every child, as records, in start order."""
        raise NotImplementedError

    # --- events ---------------------------------------------------------------------------------

    def _current(self, ref: ActorRef[Any], incarnation: int) -> Child | None:
        """The record of a child, unless the event comes from an incarnation that was replaced."""
        child = self._find(ref)
        if child is None or not child.live or incarnation < child.incarnation:
            return None
        return child

    def _run(self, child: Child) -> None:
        """Have the cell run its next incarnation."""
        ref = child.ref
        assert ref is not None
        child.live = True
        child.incarnation = ref.incarnation + 1
        ref._us_begin()

    def _restarted(self, child: Child) -> None:
        """Tell that a new incarnation is ready."""
        child.restarts += 1
        self.realm.restarts += 1
        stream = self.realm.runtime.stream
        if stream.active:
            stream.publish(
                ActorRestarted(child.ref, child.incarnation, child.last_failure, child.restarts)
            )
        child.last_failure = None

    def _started(self, ref: ActorRef[Any], incarnation: int) -> None:
        child = self._current(ref, incarnation)
        if child is None or child.state is STOPPING:
            return
        # One that has rolled back already is no family of the realm any more.
        below = self.realm.families.get(ref) or getattr(ref._us_actor, "_us_family", None)
        if below is not None:
            # A supervisor is up when its children are.
            below.when_up(lambda error: self._post(self._family_up, ref, incarnation, error))
            return
        if is_supervisor(ref.actor_class) and not hasattr(ref._us_actor, "_us_family"):
            cls = ref.actor_class.__name__
            error = TypeError(f"{cls}.on_start() must call super().on_start(): it starts children")
            self._family_up(ref, incarnation, error)
            return
        self._up(child)

    def _family_up(self, ref: ActorRef[Any], incarnation: int, error: BaseException | None) -> None:
        child = self._current(ref, incarnation)
        if child is None or child.state not in (STARTING, RESTARTING):
            return
        if error is None:
            self._up(child)
            return
        # Its family rolled back; the actor itself still runs and must end before it is judged.
        child.on_down = lambda child, _reason: self._unstarted(child, error)
        ref._us_halt(Exit.Failed(error), False)

    def _start_failed(self, ref: ActorRef[Any], incarnation: int, cause: BaseException) -> None:
        child = self._current(ref, incarnation)
        if child is None:
            return
        child.live = False
        self.realm.families.pop(ref, None)
        if child.state is STOPPING:
            self._down(child, Exit.Failed(cause))
            return
        child.failed(cause)
        again = child.state is RESTARTING and child.starter is None
        if again and getattr(cause, "us_permanent", False):
            # The next start would fail for the same reason: none is tried.
            self._fallen(child, exit_reason(cause), Directive.STOP, free=False)
        else:
            self._unstarted(child, cause)

    def _hung(self, ref: ActorRef[Any], incarnation: int, failure: Failure, free: bool) -> None:
        self._failed(ref, incarnation, failure, free=free)

    def _failed(
        self, ref: ActorRef[Any], incarnation: int, failure: Failure, *, free: bool = False
    ) -> None:
        child = self._current(ref, incarnation)
        if child is None:
            return
        self.realm.failures += 1
        cause = failure.cause
        if child.on_down is not None:
            # It was told to stop and failed on the way.
            self._report("shutdown_error", child, Exit.Failed(cause), "none")
            child.live = False
            self._after_children(child, lambda: self._down(child, Exit.Failed(cause)))
            return
        child.failed(cause)
        directive = self._directive(cause)
        reason = exit_reason(cause)
        if directive is Directive.RESUME and failure.phase == "receive":
            self._report("child_terminated", child, reason, "resume")
            ref._us_resume()
            return
        child.live = False
        child.state = RESTARTING
        # Ctrl-C in an inline ask, or carried along by somebody else's freeze: not its fault.
        free = free or failure.phase == "interrupt"
        self._after_children(child, lambda: self._fallen(child, reason, directive, free=free))

    def _after_children(self, child: Child, then: Callable[[], None]) -> None:
        """Stop what the child has started below itself, then go on."""
        assert child.ref is not None
        below = self.realm.families.get(child.ref)
        if below is None:
            then()
            return
        child.settling = True
        below.halt_children(Exit.SHUTDOWN, lambda: self._post(self._settled, child, then))

    def _settled(self, child: Child, then: Callable[[], None]) -> None:
        if child.settling:
            child.settling = False
            then()

    def _ended(self, ref: ActorRef[Any], incarnation: int, reason: Exit) -> None:
        child = self._current(ref, incarnation)
        if child is None:
            return
        child.live = False
        if child.on_down is not None:
            self._down(child, reason)
        elif reason.ordered:
            self._ordered_out(child)
        else:
            child.state = RESTARTING
            self._fallen(child, reason, Directive.RESTART, free=False)

    # --- judging --------------------------------------------------------------------------------

    def _directive(self, cause: BaseException) -> Directive:
        for kind in type(cause).__mro__:
            directive = self._decider.get(kind)
            if directive is not None:
                return directive
        return Directive.RESTART

    def _wants_restart(self, child: Child, reason: Exit) -> bool:
        if child.restart is Restart.PERMANENT:
            return True
        return child.restart is Restart.TRANSIENT and reason.abnormal

    def _afford(self, child: Child) -> bool:
        """Spend one restart; whether the budget that counts for this child allowed it."""
        budget = self._budget
        if budget is None:
            budget = child.budget
            if budget is None:
                budget = child.budget = self.strategy.new_budget()
        return budget.spend(self.realm.clock.monotonic())

    def _delay(self, child: Child) -> float:
        """Seconds the backoff asks for before this restart; counts the failure."""
        backoff = self.strategy.backoff
        if backoff is None:
            return 0.0
        if child.up_at and self.realm.clock.monotonic() - child.up_at >= backoff.stable:
            child.failures = 0
        delay = backoff.delay(child.failures, self.realm.random)
        child.failures += 1
        return delay

    def _exhausted(self, child: Child) -> RestartsExhausted:
        s = self.strategy
        cause = root_cause(child.last_failure)
        return RestartsExhausted(self.owner.path, child.id, cause, s.intensity, s.period)

    def _report(
        self, context: Context, child: Child, reason: Exit, action: Action, delay: float = 0.0
    ) -> None:
        if wanted(self.realm.runtime, context, reason, action):
            path = None if child.ref is None else child.ref.path
            offender = Offender(child.id, path, child.restart.value, child.incarnation)
            emit(
                self.realm.runtime,
                SupervisorReport(self.owner.path, context, reason, offender, action, delay),
            )

    # --- halting --------------------------------------------------------------------------------

    def _halt(self, child: Child, on_down: Callable[[Child, Exit], None]) -> None:
        """End the running incarnation within the child's limit; `on_down` once it is over."""
        assert child.ref is not None
        child.state = STOPPING
        child.on_down = on_down
        child.halts += 1
        halt = child.halts
        limit = child.shutdown
        if limit is Shutdown.BRUTAL:
            self._kill(child)
            return
        if not isinstance(limit, Shutdown):
            due = self.realm.clock.monotonic() + limit
            child.timer = self.realm.clock.call_at(
                due, lambda: self._post(self._overdue, child, halt)
            )
        below = self.realm.families.get(child.ref)
        if below is None:
            child.ref._us_halt(Exit.SHUTDOWN)
        else:
            below.halt_children(Exit.SHUTDOWN, lambda: self._post(self._halt_self, child, halt))

    def _halt_self(self, child: Child, halt: int) -> None:
        # Late where the child was killed meanwhile: its next incarnation must not be hit.
        if (
            child.halts == halt
            and child.on_down is not None
            and child.live
            and child.ref is not None
        ):
            child.ref._us_halt(Exit.SHUTDOWN)

    def _overdue(self, child: Child, halt: int) -> None:
        if child.halts == halt and child.on_down is not None:
            self._report("shutdown_error", child, Exit.KILLED, "none")
            self._kill(child)

    def _kill(self, child: Child) -> None:
        assert child.ref is not None
        below = self.realm.families.pop(child.ref, None)
        if below is not None:
            below.kill()
        child.ref._us_fence()
        child.live = False
        self._down(child, Exit.KILLED)

    def _down(self, child: Child, reason: Exit) -> None:
        child.cancel_timer()
        child.settling = False
        on_down, child.on_down = child.on_down, None
        if on_down is not None:
            on_down(child, reason)

    def _close(self, child: Child, reason: Exit) -> None:
        """The child's cell ends for good; who waits for its end is told."""
        child.cancel_timer()
        child.settling = False
        child.state = STOPPED
        child.last_failure = None
        ref, child.ref = child.ref, None
        if ref is not None:
            below = self.realm.families.pop(ref, None)
            if below is not None:
                below.kill()
            self._forget_ref(ref)
            ref._us_close(reason)
        for future in child.terminators:
            self._set(future)
        child.terminators.clear()

    def _forget_ref(self, ref: ActorRef[Any]) -> None:
        raise NotImplementedError

    # --- start and end of the whole family ------------------------------------------------------

    def when_up(self, call: Callable[[BaseException | None], None]) -> None:
        """Call with None once all first children run, or with the error that prevented it."""
        self._post(self._add_when_up, call)

    def _add_when_up(self, call: Callable[[BaseException | None], None]) -> None:
        if self.state is STARTING and self._start_error is None:
            self._when_up.append(call)
        elif self._was_up:
            # Where it has stopped since, that is news of its own.
            call(None)
        else:
            call(self._start_error or self.realm.refusal(self.owner))

    def _announce_up(self, error: BaseException | None) -> None:
        self._was_up = self._was_up or error is None
        calls, self._when_up = self._when_up, []
        for call in calls:
            call(error)

    def halt_children(self, reason: Exit, done: Callable[[], None]) -> None:
        """Stop all children in their order and within their limits, then call `done`, once.

        Never blocks; `done` is called on whichever thread saw the last child go.
        """
        self._post(self._halt_children, reason, done)

    def _halt_children(self, _reason: Exit, done: Callable[[], None]) -> None:
        if self.state is STOPPED:
            done()
            return
        self._when_stopped.append(done)
        if self.state is not STOPPING:
            self._begin_stopping()

    def _begin_stopping(self) -> None:
        self.state = STOPPING
        if self._start_error is None:
            self._start_error = self.realm.refusal(self.owner)
        self._stop_children()

    def _all_stopped(self) -> None:
        self.state = STOPPED
        families = self.realm.families
        if families.get(self.owner) is self:
            del families[self.owner]
        self._announce_up(self._start_error)
        calls, self._when_stopped = self._when_stopped, []
        for call in calls:
            call()

    def kill(self) -> None:
        """Fence and close every child at once, and their children: nothing is waited for."""
        self._post(self._kill_all)

    def _kill_all(self) -> None:
        if self.state is STOPPED:
            return
        self.state = STOPPING
        for child in reversed(self._members()):
            child.on_down = None
            child.lane = None
            if child.live and child.ref is not None:
                self._kill(child)
            self._set_error(child.starter, self.realm.refusal(self.owner))
            child.starter = None
            self._close(child, Exit.KILLED)
        self._all_stopped()

    def _give_up(self, error: BaseException) -> None:
        """Stop all children, then let the owner fail with this error."""
        if self.state in (STOPPING, STOPPED):
            return
        owner = self.owner
        if self.state is STARTING:
            # Not up yet: whoever starts this family learns of it and ends the owner.
            self._start_error = error
        else:
            self._when_stopped.append(lambda: owner._us_fail(error))
        emit(
            self.realm.runtime,
            SupervisorReport(owner.path, "shutdown", exit_reason(error), None, "give_up"),
        )
        self._begin_stopping()


def exit_reason(cause: BaseException) -> Exit:
    """The exit reason a failure stands for."""
    if isinstance(cause, RestartsExhausted):
        return Exit.RestartLimit(cause.cause)
    return Exit.Failed(cause)


def root_cause(cause: BaseException | None) -> BaseException | None:
    """The failure below a chain of supervisors that gave up because of each other."""
    while isinstance(cause, RestartsExhausted) and cause.cause is not None:
        cause = cause.cause
    return cause


def short(value: Any, width: int = 200) -> str:
    """What something looks like, in so many characters at most, whatever its `repr` does."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return text if len(text) <= width else text[: width - 1] + "…"
