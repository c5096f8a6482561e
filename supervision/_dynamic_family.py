"""The family of a `DynamicSupervisor`, of `system.spawn()` and of a plain actor's children.

One child has nothing to do with another here, and there may be a hundred thousand: a child is an
entry in a dictionary, name to reference, and gets a record of its own only when there is something
to remember about it (an option that is not the default, a failure, a stop on order).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from understudy.actors import Directive, Exit, Future, Ignore, Restart
from understudy.supervision._await import await_shared, wait_here
from understudy.supervision._errors import (
    AlreadyStarted,
    ChildNotFound,
    InvalidChildSpec,
    InvalidStrategy,
    MaxChildren,
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
from understudy.supervision._spec import (
    SHUTDOWN_SECONDS,
    ChildCounts,
    ChildInfo,
    ChildSpec,
    Shutdown,
    check_class,
    is_supervisor,
    name_problem,
)
from understudy.supervision._static_family import child_path, start_failed
from understudy.supervision._strategies import OneForOne

if TYPE_CHECKING:
    from collections.abc import Mapping

    from understudy.actors import ActorRef
    from understudy.actors._clock import Handle
    from understudy.supervision._realm import Realm
    from understudy.supervision._strategies import Strategy

__all__ = ["DynamicFamily"]


class _Token:
    """Holds a name while its child starts."""

    __slots__ = ()


_TOKEN = _Token()
_TRANSIENT = Restart.TRANSIENT


class DynamicFamily(Family):
    """Children on demand, one_for_one, forgotten when they end."""

    def __init__(
        self,
        realm: Realm,
        owner: ActorRef[Any],
        strategy: Strategy,
        decider: Mapping[type[BaseException], Directive] | None = None,
        *,
        max_children: int | None = None,
        shutdown: float | Shutdown = SHUTDOWN_SECONDS,
    ) -> None:
        if not isinstance(strategy, OneForOne):
            raise InvalidStrategy("strategy", strategy, "OneForOne, where children come and go")
        if max_children is not None and (
            not isinstance(max_children, int) or isinstance(max_children, bool) or max_children < 0
        ):
            raise InvalidStrategy("max_children", max_children, "a whole number, or None")
        super().__init__(realm, owner, strategy, decider)
        self.max_children = max_children
        self.state = RUNNING
        self._was_up = True
        self._shutdown = shutdown
        self._children: dict[str, Any] = {}  # name -> ref; a _Token while it starts
        self._records: dict[ActorRef[Any], Child] = {}
        self._numbers = itertools.count(1)
        self._prefix = child_path(owner, "")
        self._stopping_all = False
        self._deadline: Handle | None = None

    # --- start ----------------------------------------------------------------------------------

    def spawn(
        self,
        cls: type[Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        name: str | None = None,
        restart: Restart = Restart.TRANSIENT,
        shutdown: float | Shutdown | None = None,
        **options: Any,
    ) -> ActorRef[Any] | None:
        """Start a child and return its reference once its `on_start` has returned.

        None where it raised `Ignore`: it is not run, and that is no failure.

        Runs `__init__` on the calling thread. A supervisor counts as started when its children
        run; the calling thread waits for that.

        Raises:
            InvalidChildSpec: a name or option that cannot be used.
            AlreadyStarted: a living child has this name.
            MaxChildren: the family is full.
            StartFailed: `__init__` or `on_start` raised.
            SystemStopped, ActorDeadError: the family is stopping.

        """
        if options:
            check_class(cls, options.get("persistence_id"))
        if not isinstance(cls, type) or "_us_worker" not in cls.__dict__:
            check_class(cls)
            if is_supervisor(cls):
                started = self.start_child(cls, args, kwargs, name, restart, shutdown, **options)
                up: ActorRef[Any] | None = wait_here(started)
                return up
            cls._us_worker = True  # asking each time costs more than the rest of a spawn
        children = self._children
        if (
            name is None
            and restart is _TRANSIENT
            and shutdown is None
            and self.max_children is None
            and self.state is RUNNING
        ):
            # The common case, spelled out: `_reserve` without what it need not look at.
            name = f"{cls.__name__}-{next(self._numbers)}"
            if children.setdefault(name, _TOKEN) is not _TOKEN:
                name = self._reserve(cls, None, restart, shutdown)
        else:
            name = self._reserve(cls, name, restart, shutdown)
        ref: ActorRef[Any]
        try:
            if options:
                ref = self.realm.runtime.spawn_cell(
                    cls,
                    args,
                    kwargs,
                    path=self._prefix + name,
                    parent=self.owner,
                    guardian=self,
                    **options,
                )
            else:
                ref = self.realm.runtime.spawn_plain(
                    cls, args, kwargs, self._prefix + name, self.owner, self
                )
        except BaseException as error:
            self._not_spawned(name, error)
            return None
        if (
            restart is not _TRANSIENT
            or shutdown is not None
            or self.state is not RUNNING
            or not ref.is_alive()
        ):
            return self._entered(ref, name, restart, shutdown)
        children[name] = ref
        return ref

    async def spawn_async(
        self,
        cls: type[Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        name: str | None = None,
        restart: Restart = Restart.TRANSIENT,
        shutdown: float | Shutdown | None = None,
        **options: Any,
    ) -> ActorRef[Any] | None:
        """`spawn` without blocking the event loop."""
        check_class(cls, options.get("persistence_id"))
        if is_supervisor(cls):
            started = self.start_child(cls, args, kwargs, name, restart, shutdown, **options)
            ref: ActorRef[Any] | None = await await_shared(started)
            return ref
        name = self._reserve(cls, name, restart, shutdown)
        try:
            ref, start = self.realm.runtime.spawn_begin(
                cls,
                args,
                kwargs,
                path=self._prefix + name,
                parent=self.owner,
                guardian=self,
                **options,
            )
            if start is not None:
                await await_shared(start)
        except BaseException as error:
            self._not_spawned(name, error)
            return None
        assert ref is not None
        return self._entered(ref, name, restart, shutdown)

    def _not_spawned(self, name: str, error: BaseException) -> None:
        """Free the name; None after `Ignore`, else the error for whoever spawns."""
        self._children.pop(name, None)
        if isinstance(error, Ignore):
            return
        if isinstance(error, Exception):
            raise start_failed(name, error) from error
        raise error

    def _entered(
        self,
        ref: ActorRef[Any],
        name: str,
        restart: Restart,
        shutdown: float | Shutdown | None,
    ) -> ActorRef[Any]:
        self._children[name] = ref
        if restart is not _TRANSIENT or shutdown is not None or not ref.is_alive():
            self._post(self._spawned, ref, name, restart, shutdown)
        elif self.state is not RUNNING:
            self._post(self._late, ref)
            raise self.realm.refusal(self.owner)
        return ref

    def start_child(
        self,
        cls: type[Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        name: str | None = None,
        restart: Restart = Restart.TRANSIENT,
        shutdown: float | Shutdown | None = None,
        **options: Any,
    ) -> Future[Any]:
        """Start a child without waiting; the future gives its ref, or None after `Ignore`.

        `__init__` and `on_start` both run on the child's own dispatcher.
        """
        future: Future[Any] = Future()
        try:
            check_class(cls, options.get("persistence_id"))
            name = self._reserve(cls, name, restart, shutdown)
        except Exception as error:
            future.set_exception((type(error), error, error.__traceback__))
            return future
        try:
            ref = self.realm.runtime.make_cell(
                cls,
                args,
                kwargs,
                path=self._prefix + name,
                parent=self.owner,
                guardian=self,
                **options,
            )
        except Exception as error:
            self._children.pop(name, None)
            failed = start_failed(name, error)
            future.set_exception((type(failed), failed, failed.__traceback__))
            return future
        self._post(self._start, ref, name, restart, shutdown, future)
        return future

    def _reserve(
        self,
        cls: type[Any],
        name: str | None,
        restart: Restart,
        shutdown: float | Shutdown | None,
    ) -> str:
        """Take a name, atomically; everything that can be refused is refused here."""
        if self.state is not RUNNING:
            raise self.realm.refusal(self.owner)
        children = self._children
        if restart is not Restart.TRANSIENT or shutdown is not None:
            ChildSpec(name or "child", cls, restart=restart, shutdown=shutdown)
        if self.max_children is not None and len(children) >= self.max_children:
            raise MaxChildren(self.owner.path, self.max_children)
        token: Any = _Token()
        if name is None:
            while True:
                name = f"{cls.__name__}-{next(self._numbers)}"
                if children.setdefault(name, token) is token:
                    break
        else:
            wrong = name_problem(name)
            if wrong:
                raise InvalidChildSpec("name", name, wrong)
            there = children.setdefault(name, token)
            if there is not token:
                raise AlreadyStarted(name, None if type(there) is _Token else there)
        if self.max_children is not None and len(children) > self.max_children:
            children.pop(name, None)
            raise MaxChildren(self.owner.path, self.max_children)
        return name

    def _start(
        self,
        ref: ActorRef[Any],
        name: str,
        restart: Restart,
        shutdown: float | Shutdown | None,
        future: Future[Any],
    ) -> None:
        child = self._record(ref, name, restart, shutdown)
        child.starter = future
        if self.state is not RUNNING:
            self._set_error(future, self.realm.refusal(self.owner))
            child.starter = None
            self._forget(child, Exit.SHUTDOWN)
            return
        self._children[name] = ref
        child.state = STARTING
        self._run(child)

    def _spawned(
        self,
        ref: ActorRef[Any],
        name: str,
        restart: Restart,
        shutdown: float | Shutdown | None,
    ) -> None:
        """Remember options that are not the default."""
        if not ref.is_alive():
            # It ended before its name was entered.
            if self._children.get(name) is ref:
                del self._children[name]
            return
        if ref not in self._records:
            child = self._record(ref, name, restart, shutdown)
            child.live = True
            child.state = RUNNING
        if self.state is not RUNNING:
            self._late(ref)

    def _late(self, ref: ActorRef[Any]) -> None:
        """It started while the family began to stop: it goes as well, on its own."""
        child = self._find(ref)
        if child is not None and child.on_down is None:
            if self.state is STOPPED:
                self._forget(child, Exit.SHUTDOWN)
            elif child.live:
                self._halt(child, self._stopped_one)

    def _record(
        self,
        ref: ActorRef[Any],
        name: str,
        restart: Restart = Restart.TRANSIENT,
        shutdown: float | Shutdown | None = None,
    ) -> Child:
        if shutdown is None:
            shutdown = Shutdown.INFINITY if is_supervisor(ref.actor_class) else self._shutdown
        child = Child(name, Restart(restart), shutdown)
        child.ref = ref
        child.incarnation = ref.incarnation
        self._records[ref] = child
        return child

    # --- what children report -------------------------------------------------------------------

    def _find(self, ref: ActorRef[Any]) -> Child | None:
        child = self._records.get(ref)
        if child is None:
            name = ref.path[len(self._prefix) :]
            known = self._children.get(name)
            if known is not ref and type(known) is not _Token:
                return None
            # `known` is the token of a spawn that has not entered the ref yet: it is this one.
            child = self._record(ref, name)
            child.live = True
            child.state = RUNNING
        return child

    def _forget_ref(self, ref: ActorRef[Any]) -> None:
        child = self._records.pop(ref, None)
        name = ref.path[len(self._prefix) :] if child is None else child.id
        if self._children.get(name) is ref:
            del self._children[name]

    def _members(self) -> list[Child]:
        found = []
        for ref in self.child_refs():
            child = self._find(ref)
            if child is not None:
                found.append(child)
        return found

    def _up(self, child: Child) -> None:
        if child.state is RESTARTING:
            self._restarted(child)
        child.state = RUNNING
        child.up_at = self.realm.clock.monotonic()
        self._set(child.starter, child.ref)
        child.starter = None

    def _unstarted(self, child: Child, cause: BaseException) -> None:
        child.live = False
        starter, child.starter = child.starter, None
        if isinstance(cause, Ignore):
            self._forget(child, Exit.NORMAL)
            self._set(starter, None)
        elif self.state is not RUNNING:
            self._set_error(starter, self.realm.refusal(self.owner))
            self._forget(child, exit_reason(cause))
        elif child.state is RESTARTING:
            self._fail(child, exit_reason(cause), "restart_error", starting=True)
        else:
            reason = exit_reason(cause)
            self._report("start_error", child, reason, "stop")
            self._forget(child, reason)
            self._set_error(starter, start_failed(child.id, cause))

    def _fallen(self, child: Child, reason: Exit, directive: Directive, *, free: bool) -> None:
        if self.state is not RUNNING:
            self._put_down(child, reason)
        elif directive is Directive.ESCALATE:
            self._report("child_terminated", child, reason, "escalate")
            cause = child.last_failure
            assert cause is not None
            self._give_up(cause)
        elif directive is Directive.STOP or not self._wants_restart(child, reason):
            if reason.abnormal:
                self._report("child_terminated", child, reason, "stop")
            self._forget(child, reason)
        else:
            self._fail(child, reason, "child_terminated", free=free)

    def _fail(
        self,
        child: Child,
        reason: Exit,
        context: Any,
        *,
        starting: bool = False,
        free: bool = False,
    ) -> None:
        """The child is down and should run: restart it, or stop it, or give up."""
        endless = starting and self.strategy.intensity is None and self.strategy.backoff is None
        if not free and (endless or not self._afford(child)):
            error = self._exhausted(child)
            if self._budget is None:
                self._report(context, child, exit_reason(error), "stop")
                self._forget(child, exit_reason(error))
            else:
                self._report(context, child, reason, "give_up")
                self._give_up(error)
            return
        delay = 0.0 if free else self._delay(child)
        self._report(context, child, reason, "backoff" if delay else "restart", delay)
        child.state = RESTARTING
        if delay:
            child.timer = self.realm.clock.call_at(
                self.realm.clock.monotonic() + delay, lambda: self._post(self._wake, child)
            )
        else:
            self._begin_again(child)

    def _wake(self, child: Child) -> None:
        if child.timer is not None:
            child.timer = None
            self._begin_again(child)

    def _begin_again(self, child: Child) -> None:
        self._run(child)

    def _ordered_out(self, child: Child) -> None:
        self._put_down(child, Exit.SHUTDOWN)

    def _put_down(self, child: Child, reason: Exit) -> None:
        if child.starter is not None:
            self._set_error(child.starter, start_failed(child.id, child.last_failure))
            child.starter = None
        self._forget(child, reason)

    def _forget(self, child: Child, reason: Exit) -> None:
        name = child.id
        ref = child.ref
        self._close(child, reason)
        # A name that stands for a newer child stays; a token was this child's own.
        if self._children.get(name) is ref or type(self._children.get(name)) is _Token:
            del self._children[name]
        if self.state is STOPPING:
            self._check_stopped()

    # --- end ------------------------------------------------------------------------------------

    def _ended(self, ref: ActorRef[Any], incarnation: int, reason: Exit) -> None:
        if (
            ref not in self._records
            and not reason.abnormal
            and (self.state is STOPPING or reason.ordered or reason is Exit.NORMAL)
        ):
            # The ordinary end of an ordinary child: nothing was remembered, nothing is judged.
            name = ref.path[len(self._prefix) :]
            if self._children.get(name) is ref:
                del self._children[name]
            ref._us_close(Exit.SHUTDOWN if reason.ordered else reason)
            if self.state is STOPPING:
                self._check_stopped()
            return
        super()._ended(ref, incarnation, reason)

    def _stop_children(self) -> None:
        """Halt all side by side; those with the family's own limit share one timer."""
        shared: list[ActorRef[Any]] = []
        brutal = self._shutdown is Shutdown.BRUTAL
        families = self.realm.families
        self._stopping_all = True
        for name, ref in list(self._children.items()):
            if type(ref) is _Token:
                # Being spawned: entered again when it is up, and then taken by `_late`.
                self._children.pop(name, None)
                continue
            child = self._records.get(ref)
            if ref in families or brutal or (child is None and is_supervisor(ref.actor_class)):
                child = self._find(ref)
            elif child is None or (child.state is RUNNING and child.shutdown == self._shutdown):
                if close_idle(ref):
                    del self._children[name]
                    self._records.pop(ref, None)
                    continue
                if child is not None:
                    child.state = STOPPING
                    child.on_down = self._stopped_one
                shared.append(ref)
                ref._us_halt(Exit.SHUTDOWN)
                continue
            assert child is not None
            if not child.live:
                self._put_down(child, Exit.SHUTDOWN)
            elif child.on_down is None or child.state is not STOPPING:
                self._halt(child, self._stopped_one)
        if shared and self._children and not isinstance(self._shutdown, Shutdown):
            due = self.realm.clock.monotonic() + self._shutdown
            self._deadline = self.realm.clock.call_at(
                due, lambda: self._post(self._all_overdue, shared)
            )
        self._stopping_all = False
        self._check_stopped()

    def _all_overdue(self, refs: list[ActorRef[Any]]) -> None:
        for ref in refs:
            name = ref.path[len(self._prefix) :]
            if self._children.get(name) is not ref:
                continue
            child = self._find(ref)
            if child is not None and child.live:
                child.state = STOPPING
                self._report("shutdown_error", child, Exit.KILLED, "none")
                child.on_down = self._stopped_one
                self._kill(child)

    def _stopped_one(self, child: Child, reason: Exit) -> None:
        self._put_down(child, reason if reason.abnormal else Exit.SHUTDOWN)

    def _check_stopped(self) -> None:
        if self._children or self._stopping_all or self.state is not STOPPING:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._all_stopped()

    # --- administration -------------------------------------------------------------------------

    def terminate_child(self, which: str | ActorRef[Any]) -> Future[None]:
        """Stop a child, by name or reference, within its limit; it is forgotten."""
        future: Future[None] = Future()
        self._post(self._terminate, future, which)
        return future

    def _terminate(self, future: Future[None], which: Any) -> None:
        ref = self._children.get(which) if isinstance(which, str) else which
        child = None if ref is None or type(ref) is _Token else self._find(ref)
        if child is None:
            self._set_error(future, ChildNotFound(which))
            return
        child.terminators.append(future)
        if not child.live:
            self._put_down(child, Exit.SHUTDOWN)
        elif child.on_down is None or child.state is not STOPPING:
            self._halt(child, self._stopped_one)

    def which_children(self) -> list[ChildInfo]:
        """The children, latest first."""
        infos = []
        for name, ref in reversed(list(self._children.items())):
            if type(ref) is _Token:
                infos.append(ChildInfo(name, None, STARTING, Restart.TRANSIENT))
                continue
            child = self._records.get(ref)
            cls = ref.actor_class
            kind = "supervisor" if is_supervisor(cls) else "worker"
            if child is None:
                state = STOPPING if self.state is STOPPING else RUNNING
                infos.append(ChildInfo(name, ref, state, Restart.TRANSIENT, kind, cls))
                continue
            infos.append(
                ChildInfo(
                    name,
                    ref,
                    child.state,
                    child.restart,
                    kind,
                    cls,
                    child.restarts,
                    last_failure=child.last_words,
                )
            )
        return infos

    def count_children(self) -> ChildCounts:
        """How many children there are, by kind."""
        infos = self.which_children()
        supervisors = sum(info.type == "supervisor" for info in infos)
        active = sum(info.state in (RUNNING, STOPPING) for info in infos)
        return ChildCounts(len(infos), active, supervisors, len(infos) - supervisors)

    def child_refs(self) -> list[ActorRef[Any]]:
        """References of the children that have one, in start order."""
        return [ref for ref in list(self._children.values()) if type(ref) is not _Token]


def close_idle(ref: Any) -> bool:
    """Close a child that does nothing and has nothing to clean up; whether it was one.

    Stopping ten thousand idle actors by way of their control lanes costs ten times as much.
    """
    closed: bool = ref._us_close_idle(Exit.SHUTDOWN)
    return closed
