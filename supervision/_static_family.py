"""The family of a `Supervisor`: specified children in an order, under one of three strategies.

Ordered work is done in lanes. A lane is a to-do list worked off one step at a time: first halt
what must go, in reverse start order, then (after the backoff) start what must come, in start
order. Group strategies and the first start use the main lane; under one_for_one each restart has a
lane of its own, so that a slow sibling holds nobody up.
"""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING, Any

from understudy.actors import Directive, Exit, Future, Ignore, Restart, StartFailed
from understudy.supervision._errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    InvalidChildSpec,
    InvalidStrategy,
)
from understudy.supervision._family import (
    RESTARTING,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    Child,
    Family,
    exit_reason,
)
from understudy.supervision._spec import AutoShutdown, ChildCounts, ChildInfo, ChildSpec
from understudy.supervision._strategies import OneForAll, OneForOne

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from understudy.actors import ActorRef
    from understudy.actors._clock import Handle
    from understudy.supervision._realm import Realm
    from understudy.supervision._strategies import Strategy

__all__ = ["StaticFamily", "check_children"]


class Lane:
    """Children to halt, then children to start, one at a time."""

    __slots__ = ("busy", "down", "first", "timer", "up", "wake_at")

    def __init__(self, *, first: bool = False) -> None:
        self.down: list[Child] = []  # in start order: the last is halted first
        self.up: list[Child] = []  # in start order: the first is started first
        self.busy: Child | None = None
        self.timer: Handle | None = None
        self.wake_at = 0.0
        self.first = first

    def cancel(self) -> None:
        """Forget everything that was to be done."""
        self.down.clear()
        self.up.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def check_children(
    specs: Iterable[Any], auto_shutdown: AutoShutdown = AutoShutdown.NEVER
) -> list[ChildSpec]:
    """The specs of one supervisor, checked together.

    Raises:
        InvalidChildSpec: something is no spec, an id comes twice, or a child is significant where
            the supervisor never shuts down by itself.

    """
    checked: list[ChildSpec] = []
    problems: list[InvalidChildSpec] = []
    seen: set[str] = set()
    for spec in specs:
        if not isinstance(spec, ChildSpec):
            problems.append(InvalidChildSpec("children", spec, "ChildSpec objects"))
            continue
        if spec.id in seen:
            problems.append(InvalidChildSpec("id", spec.id, "an id no sibling has"))
        seen.add(spec.id)
        if spec.significant and auto_shutdown is AutoShutdown.NEVER:
            problems.append(
                InvalidChildSpec(
                    "significant", True, f"False for {spec.id!r} while auto_shutdown is NEVER"
                )
            )
        checked.append(spec)
    InvalidChildSpec.raise_any(problems)
    return checked


class StaticFamily(Family):
    """Children in start order, restarted one, all, or the rest."""

    def __init__(
        self,
        realm: Realm,
        owner: ActorRef[Any],
        strategy: Strategy,
        decider: Mapping[type[BaseException], Directive] | None = None,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    ) -> None:
        super().__init__(realm, owner, strategy, decider)
        if not isinstance(auto_shutdown, AutoShutdown):
            expected = ", ".join(str(member) for member in AutoShutdown)
            raise InvalidStrategy("auto_shutdown", auto_shutdown, expected)
        self.auto_shutdown = auto_shutdown
        self._children: dict[str, Child] = {}
        self._by_ref: dict[ActorRef[Any], Child] = {}
        self._order: dict[str, float] = {}
        self._next_order = itertools.count(1)
        self._main = Lane(first=True)
        self._group = not isinstance(strategy, OneForOne)
        self._to_stop: list[Child] = []
        self._spared: str | None = None

    # --- start ----------------------------------------------------------------------------------

    def begin(self, specs: Sequence[ChildSpec]) -> None:
        """Start the children in order; `when_up` tells when that is done."""
        self._post(self._begin_all, specs)

    def _begin_all(self, specs: Sequence[ChildSpec]) -> None:
        for spec in specs:
            self._add(spec)
        self._main.up.extend(self._children.values())
        self._advance(self._main)

    def _add(self, spec: ChildSpec, before: str | None = None) -> Child:
        child = Child(spec.id, spec.restart, spec.shutdown, spec)
        if before is None:
            self._order[spec.id] = next(self._next_order)
            self._children[spec.id] = child
            return child
        # Just before another child: half-way to its older neighbour.
        at = self._order[before]
        older = max((o for o in self._order.values() if o < at), default=at - 1)
        self._order[spec.id] = (older + at) / 2
        self._children[spec.id] = child
        ids = sorted(self._children, key=self._order.__getitem__)
        self._children = {id_: self._children[id_] for id_ in ids}
        return child

    def _place(self, child: Child) -> float:
        return self._order[child.id]

    # --- lanes ----------------------------------------------------------------------------------

    def _advance(self, lane: Lane) -> None:
        while lane.busy is None and self.state not in (STOPPING, STOPPED):
            if lane.down:
                child = lane.down.pop()
                if child.live and child.state is not STOPPING:
                    lane.busy = child
                    self._halt(child, self._lane_down)
            elif not lane.up:
                if lane.first:
                    lane.first = False
                    if self.state is STARTING:
                        self.state = RUNNING
                        self._announce_up(None)
                return
            elif lane.wake_at > self.realm.clock.monotonic():
                if lane.timer is None:
                    lane.timer = self.realm.clock.call_at(
                        lane.wake_at, lambda: self._post(self._wake, lane)
                    )
                return
            else:
                child = lane.up.pop(0)
                if child.settling:
                    # It has failed as well, and its own children are still stopping: the lane
                    # waits for its judgement, which plans anew.
                    lane.busy = child
                    child.lane = lane
                else:
                    self._start(child, lane)

    def _wake(self, lane: Lane) -> None:
        if lane.timer is not None:
            lane.timer = None
            lane.wake_at = 0.0
            self._advance(lane)

    def _start(self, child: Child, lane: Lane) -> None:
        lane.busy = child
        child.lane = lane
        child.state = RESTARTING if child.ref is not None else STARTING
        if child.ref is None:
            spec = child.spec
            assert spec is not None
            try:
                ref = self.realm.runtime.make_cell(
                    spec.cls,
                    spec.args,
                    spec.kwargs,
                    path=child_path(self.owner, spec.id),
                    parent=self.owner,
                    guardian=self,
                    dispatcher=spec.dispatcher,
                    mailbox=spec.mailbox,
                    persistence_id=spec.persistence_id,
                    heartbeat=spec.heartbeat,
                    ask_failures=spec.ask_failures,
                )
            except Exception as error:
                child.failed(error)
                self._unstarted(child, error)
                return
            child.ref = ref
            self._by_ref[ref] = child
        self._run(child)

    def _leave_lane(self, child: Child) -> None:
        """The lane need not wait for this child any more."""
        lane, child.lane = child.lane, None
        if lane is not None and lane.busy is child:
            lane.busy = None
            self._advance(lane)

    def _detach(self, child: Child) -> None:
        """Take the child out of its lane, which is not worked off any further."""
        lane, child.lane = child.lane, None
        if lane is not None and lane.busy is child:
            lane.busy = None

    def _lane_down(self, child: Child, reason: Exit) -> None:
        """A sibling that a group restart takes along has ended."""
        self._report("shutdown", child, reason, "none")
        child.state = RESTARTING
        if child.restart is Restart.TEMPORARY:
            self._drop(child, reason)
        lane = self._main
        if lane.busy is child:
            lane.busy = None
        self._advance(lane)

    # --- what children report -------------------------------------------------------------------

    def _find(self, ref: ActorRef[Any]) -> Child | None:
        return self._by_ref.get(ref)

    def _forget_ref(self, ref: ActorRef[Any]) -> None:
        self._by_ref.pop(ref, None)

    def _members(self) -> list[Child]:
        return list(self._children.values())

    def _up(self, child: Child) -> None:
        if child.state is RESTARTING:
            self._restarted(child)
        child.restarts = max(child.restarts, 0)
        child.last_failure = None
        child.state = RUNNING
        child.up_at = self.realm.clock.monotonic()
        self._set(child.starter, child.ref)
        child.starter = None
        self._leave_lane(child)

    def _unstarted(self, child: Child, cause: BaseException) -> None:
        child.live = False
        lane = child.lane
        starter, child.starter = child.starter, None
        if isinstance(cause, Ignore):
            self._close(child, Exit.NORMAL)
            if child.restart is Restart.TEMPORARY:
                self._drop(child, Exit.NORMAL)
            self._set(starter, None)
            self._leave_lane(child)
            return
        reason = exit_reason(cause)
        if self.state in (STOPPING, STOPPED):
            self._set_error(starter, self.realm.refusal(self.owner))
            return  # its turn to be closed comes
        if starter is not None:
            fresh = child.restarts < 0
            self._report("start_error", child, reason, "stop")
            self._close(child, reason)
            if fresh:
                self._drop(child, reason)
            self._set_error(starter, start_failed(child.id, cause))
            self._leave_lane(child)
            return
        if self.state is STARTING and lane is not None and lane.first and not child.restarts:
            self._report("start_error", child, reason, "roll_back")
            self._start_error = start_failed(child.id, cause)
            self._close(child, reason)
            self._detach(child)
            self._begin_stopping()
            return
        self._detach(child)
        child.state = RESTARTING
        self._fail(child, reason, "restart_error", starting=True)

    def _fallen(self, child: Child, reason: Exit, directive: Directive, *, free: bool) -> None:
        if self.state in (STOPPING, STOPPED):
            return  # its turn to be closed comes
        if directive is Directive.ESCALATE:
            self._report("child_terminated", child, reason, "escalate")
            cause = child.last_failure
            assert cause is not None
            self._detach(child)
            self._give_up(cause)
        elif directive is Directive.STOP or not self._wants_restart(child, reason):
            self._report("child_terminated", child, reason, "stop")
            self._finish(child, reason)
        else:
            self._fail(child, reason, "child_terminated", free=free)

    def _finish(self, child: Child, reason: Exit) -> None:
        """A child ended by itself and stays down."""
        self._tell_starter(child)
        self._close(child, reason)
        if child.restart is Restart.TEMPORARY:
            self._drop(child, reason)
        self._leave_lane(child)
        spec = child.spec
        if spec is None or not spec.significant or self.state is STOPPING:
            return
        if self.auto_shutdown is AutoShutdown.ALL_SIGNIFICANT and any(
            other.state is not STOPPED
            for other in self._children.values()
            if other is not child and other.spec is not None and other.spec.significant
        ):
            return
        self._shut_down_owner()

    def _shut_down_owner(self) -> None:
        owner = self.owner
        self._when_stopped.append(lambda: owner._us_halt(Exit.SHUTDOWN))
        self._begin_stopping()

    def _fail(
        self,
        child: Child,
        reason: Exit,
        context: Any,
        *,
        starting: bool = False,
        free: bool = False,
    ) -> None:
        """The child is down and should run: restart it, its group, or give up."""
        endless = starting and self.strategy.intensity is None and self.strategy.backoff is None
        if not free and (endless or not self._afford(child)):
            error = self._exhausted(child)
            if self._budget is None:
                # Its own budget: it stops alone.
                self._report(context, child, exit_reason(error), "stop")
                self._finish(child, exit_reason(error))
            else:
                self._report(context, child, reason, "give_up")
                self._detach(child)
                self._give_up(error)
            return
        delay = 0.0 if free else self._delay(child)
        self._report(context, child, reason, "backoff" if delay else "restart", delay)
        child.state = RESTARTING
        if not self._group:
            if child.lane is not None:
                self._leave_lane(child)
            lane = child.lane = Lane()
            lane.up.append(child)
            lane.wake_at = self._wake_time(lane, delay)
            self._advance(lane)
            return
        # It may have failed on its way up: the lane must not wait for it.
        self._detach(child)
        lane = self._main
        self._plan_group(child, lane)
        lane.wake_at = self._wake_time(lane, delay)
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        self._advance(lane)

    def _wake_time(self, lane: Lane, delay: float) -> float:
        return max(lane.wake_at, self.realm.clock.monotonic() + delay) if delay else lane.wake_at

    def _plan_group(self, failed: Child, lane: Lane) -> None:
        everyone = isinstance(self.strategy, OneForAll)
        first = self._place(failed)
        for child in self._children.values():
            if not everyone and self._place(child) < first:
                continue
            if child.live and child.state is not STOPPING and child not in lane.down:
                # Also what is on its way up already: it goes down with the others.
                bisect.insort(lane.down, child, key=self._place)
            # A child being stopped on somebody's order stays down; a stopped one comes back with
            # its group, as in OTP.
            ordered_down = child.state is STOPPING and child is not lane.busy
            comes_back = child.restart is not Restart.TEMPORARY and not ordered_down
            if comes_back and child not in lane.up:
                bisect.insort(lane.up, child, key=self._place)

    def _ordered_out(self, child: Child) -> None:
        self._report("shutdown", child, Exit.SHUTDOWN, "none")
        self._put_down(child, Exit.SHUTDOWN)

    def _tell_starter(self, child: Child) -> None:
        """Who asked for a start learns that there will be none."""
        starter, child.starter = child.starter, None
        if starter is not None:
            self._set_error(starter, start_failed(child.id, child.last_failure))

    def _put_down(self, child: Child, reason: Exit) -> None:
        """The child is down on somebody's order."""
        self._tell_starter(child)
        self._close(child, reason)
        if child.restart is Restart.TEMPORARY:
            self._drop(child, reason)
        self._leave_lane(child)

    def _drop(self, child: Child, reason: Exit) -> None:
        """Forget the spec as well."""
        self._close(child, reason)
        if self._children.get(child.id) is child:
            del self._children[child.id]
            del self._order[child.id]
        for lane in (self._main, child.lane):
            if lane is not None and child in lane.up:
                lane.up.remove(child)

    # --- end ------------------------------------------------------------------------------------

    def _stop_children(self) -> None:
        self._main.cancel()
        self._to_stop = list(self._children.values())
        for child in self._to_stop:
            if child.lane is not None:
                child.lane.cancel()
                child.lane = None
        self._stop_next()

    def hurry(self, keep: str) -> None:
        """While stopping: fence and close what is left, but for the child `keep`."""
        self._post(self._hurry, keep)

    def _hurry(self, keep: str) -> None:
        if self.state is not STOPPING:
            return
        self._spared = keep
        for child in self.stopping():
            if child.id != keep and child.live:
                self._report("shutdown_error", child, Exit.KILLED, "none")
                self._kill(child)

    def stopping(self) -> list[Child]:
        """The children being stopped now."""
        return [child for child in self._children.values() if child.state is STOPPING]

    def _stop_next(self) -> None:
        while self._to_stop:
            child = self._to_stop.pop()
            if child.live:
                if self._spared not in (None, child.id):
                    child.on_down = self._stopped_one
                    self._kill(child)
                    return
                if child.on_down is not None and child.state is STOPPING:
                    child.on_down = self._stopped_one  # somebody's order is under way: join it
                else:
                    self._halt(child, self._stopped_one)
                return
            self._tell_starter(child)
            self._close(child, Exit.SHUTDOWN)
        self._all_stopped()

    def _stopped_one(self, child: Child, reason: Exit) -> None:
        self._report("shutdown", child, reason, "none")
        self._tell_starter(child)
        self._close(child, reason if reason.abnormal else Exit.SHUTDOWN)
        self._stop_next()

    # --- administration -------------------------------------------------------------------------

    def start_child(self, spec: ChildSpec, before: str | None = None) -> Future[Any]:
        """Add a child at the end (or before another) and start it; the future gives its ref."""
        return self._ask(self._start_child, spec, before)

    def terminate_child(self, id: str) -> Future[None]:  # noqa: A002 - OTP's word
        """Stop a child within its limit; its spec stays, unless it is temporary."""
        return self._ask(self._terminate_child, id)

    def restart_child(self, id: str) -> Future[Any]:  # noqa: A002
        """Start a stopped child again; the future gives its new ref."""
        return self._ask(self._restart_child, id)

    def delete_child(self, id: str) -> Future[None]:  # noqa: A002
        """Forget the spec of a stopped child."""
        return self._ask(self._delete_child, id)

    def which_children(self) -> list[ChildInfo]:
        """The children in reverse start order."""
        infos = []
        for child in reversed(list(self._children.values())):
            spec = child.spec
            assert spec is not None
            infos.append(
                ChildInfo(
                    child.id,
                    child.ref,
                    child.state,
                    child.restart,
                    spec.type,
                    spec.cls,
                    max(child.restarts, 0),
                    spec.significant,
                    child.last_words,
                )
            )
        return infos

    def count_children(self) -> ChildCounts:
        """How many children there are, by kind."""
        children = list(self._children.values())
        supervisors = sum(c.spec is not None and c.spec.type == "supervisor" for c in children)
        active = sum(c.live and c.state is not RESTARTING for c in children)
        return ChildCounts(len(children), active, supervisors, len(children) - supervisors)

    def child_refs(self) -> list[ActorRef[Any]]:
        """References of the children that have one, in start order."""
        return [child.ref for child in list(self._children.values()) if child.ref is not None]

    def _ask(self, fn: Any, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._post(self._answer, future, fn, args)
        return future

    def _answer(self, future: Future[Any], fn: Any, args: tuple[Any, ...]) -> None:
        try:
            if self.state in (STOPPING, STOPPED) and fn != self._terminate_child:
                raise self.realm.refusal(self.owner)
            fn(future, *args)
        except Exception as error:
            self._set_error(future, error)

    def _get(self, id: str) -> Child:  # noqa: A002
        child = self._children.get(id)
        if child is None:
            raise ChildNotFound(id)
        return child

    def _start_child(self, future: Future[Any], spec: ChildSpec, before: str | None) -> None:
        [spec] = check_children([spec], self.auto_shutdown)
        present = self._children.get(spec.id)
        if present is not None:
            if present.ref is None:
                raise AlreadyPresent(spec.id)
            raise AlreadyStarted(spec.id, present.ref)
        if before is not None:
            self._get(before)
        child = self._add(spec, before)
        child.restarts = -1  # never been up: a failing start drops the spec
        child.starter = future
        child.state = STARTING
        self._queue_start(child)

    def _queue_start(self, child: Child) -> None:
        lane = self._main if self._group else Lane()
        bisect.insort(lane.up, child, key=self._place)
        self._advance(lane)

    def _terminate_child(self, future: Future[None], id: str) -> None:  # noqa: A002
        child = self._get(id)
        if child.state is STOPPED:
            self._set(future)
            return
        child.terminators.append(future)
        if child.live:
            if child.on_down is None or child.state is not STOPPING:
                self._halt(child, self._put_down)
            elif child.on_down == self._lane_down:
                # A group restart is stopping it: it goes down, and stays there.
                child.on_down = self._put_down
                self._main.up = [c for c in self._main.up if c is not child]
                child.lane = self._main
            return
        # Between two incarnations: it just does not come back.
        lane = child.lane
        for other in (self._main, lane):
            if other is not None and child in other.up:
                other.up.remove(child)
        if lane is not None and lane is not self._main:
            lane.cancel()
        self._put_down(child, Exit.SHUTDOWN)
        self._advance(self._main)

    def _restart_child(self, future: Future[Any], id: str) -> None:  # noqa: A002
        child = self._get(id)
        if child.state is RESTARTING:
            raise ChildRestarting(id)
        if child.state is not STOPPED:
            raise ChildRunning(id)
        child.starter = future
        child.state = STARTING
        child.failures = 0
        self._queue_start(child)

    def _delete_child(self, future: Future[None], id: str) -> None:  # noqa: A002
        child = self._get(id)
        if child.state is RESTARTING:
            raise ChildRestarting(id)
        if child.state is not STOPPED:
            raise ChildRunning(id)
        self._drop(child, Exit.SHUTDOWN)
        self._set(future)


def child_path(owner: ActorRef[Any], name: str) -> str:
    """The path of a child."""
    return f"{owner.path.rstrip('/')}/{name}"


def start_failed(id: str, cause: BaseException | None) -> StartFailed:  # noqa: A002
    """The error for whoever asked for a start."""
    if isinstance(cause, StartFailed) and cause.id == id:
        return cause
    error = StartFailed(id, cause)
    error.__cause__ = cause
    return error
