"""`ActorSystem`: the root of the tree, and the door to it."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import pykka

from understudy.actors import (
    ActorDeadError,
    DeadLetter,
    Exit,
    Future,
    Props,
    Restart,
    StartFailed,
    SystemClock,
    SystemStopped,
    Timeout,
)
from understudy.actors._journal_handle import JournalHandle
from understudy.actors._runtime import Runtime
from understudy.supervision._await import await_shared, wait_here
from understudy.supervision._checks import register_checks
from understudy.supervision._control import control_socket
from understudy.supervision._dynamic_family import DynamicFamily
from understudy.supervision._errors import InvalidChildSpec, SystemFailed
from understudy.supervision._health import HealthRegistry
from understudy.supervision._realm import Realm, install
from understudy.supervision._root import Root, RootGuardian
from understudy.supervision._settings import read_config
from understudy.supervision._spec import ChildSpec
from understudy.supervision._stats import SystemStats, collect
from understudy.supervision._tree import TreeNode, build_tree

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from understudy.actors import ActorRef, Clock, Config

__all__ = ["ActorSystem"]

logger = logging.getLogger("understudy.supervision")

_TRANSIENT = Restart.TRANSIENT

A = TypeVar("A")


class ActorSystem:
    """A tree of supervised actors with a journal, in this process.

    ```python
    with us.ActorSystem("demo") as system:
        ref = system.spawn(Greeter, "Hello", name="greeter")  # /user/greeter
        ref.tell("Ada")
    ```

    Making the object starts the system; leaving the `with` block (or `async with`), or `stop()`,
    stops it in order: what `spawn` and `mount` started first, then sessions and effects, the
    journal last. Until then the system keeps the process alive. Several systems may live in one
    process; they share nothing. All methods are thread-safe.

    Args:
        name: what it is called in logs, metrics and tools.
        config: a `Config`, a path of a TOML file, or a mapping with the same keys; optional, and
            if absent the defaults with the environment's `UNDERSTUDY_*` settings hold.
        data_dir: folder of the journal and the control socket, made where it is missing; optional,
            and if absent everything is kept in memory and is gone with the system.
        clock: time for everything that waits; optional, and if absent the real one.
        metrics: whether to count and time for `/metrics`.

    Raises:
        StartFailed: a part of the system could not start, e.g. because another process holds the
            journal; `cause` says why. Nothing is left running.
        ConfigError: a setting that cannot be used.

    Attributes:
        name: as given.
        config: the settings that hold.
        data_dir: as given, a `Path`; None where all is in memory.
        clock: time in this system.
        events: the event stream: `subscribe(ref_or_callable, *types)`.
        journal: the journal; the same object before and after a restart of its writer.
        health: the registry of health checks.
        metrics: what the metrics hook made, None without metrics.
        control: the control socket, None without a `data_dir`.
        terminated: a future that is resolved when the system has stopped: with None after an
            ordered stop, with `SystemFailed` where its root gave up.
        interrupted_by: the `SystemExit`, `KeyboardInterrupt` or the like that came out of a
            handler and began the ordered stop; None where there was none.

    """

    metrics_hook: ClassVar[Callable[[ActorSystem], Any] | None] = None
    """Makes `system.metrics` where metrics are wanted. The room of observability sets it."""

    def __init__(
        self,
        name: str,
        *,
        config: Config | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        metrics: Any = False,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidChildSpec("name", name, "a text of one character or more")
        self.name = name
        self.config = read_config(config)
        self.data_dir = None if data_dir is None else Path(data_dir)
        self.runtime = Runtime(
            name,
            config=self.config,
            clock=clock,
            ask_timeout=self.config.ask_timeout,
            system=self,
        )
        self.clock: Clock = self.runtime.clock
        self.events = self.runtime.stream
        self.terminated: Future[None] = Future()
        self.journal: JournalHandle = JournalHandle()
        self.runtime.journal = self.journal
        self.health = HealthRegistry(self.clock, self.runtime.spawn_thread)
        self.metrics: Any = None
        self.control: Any = None
        self._started_at = self.clock.monotonic()
        self._failure: BaseException | None = None
        self.interrupted_by: BaseException | None = None
        self._own_clock = clock is None
        self.own_messages = 0
        self._stopping = threading.Lock()
        self._stop_begun = False
        self.realm: Realm = install(self.runtime)
        self.realm.fatal = self._fatal
        self._guardian = RootGuardian(self.realm, self._root_up, self._root_gone)
        self._root_outcome: Future[None] = Future()
        self._root: ActorRef[Any] = self.runtime.make_cell(
            Root,
            (self,),
            {},
            path="/",
            parent=None,
            guardian=self._guardian,
        )
        self._root._us_begin()
        try:
            wait_here(self._root_outcome)
            self._user = self._family("/user")
            self._open_doors(metrics)
            # What the system's own actors handled while they started is not the user's.
            self.own_messages = self.runtime.messages
        except BaseException:
            self.stop()
            raise

    def _open_doors(self, metrics: Any) -> None:
        pykka.ActorRegistry.register(self._root)
        if self.data_dir is not None:
            self.control = control_socket(self, self.data_dir)
            self.control.start()
        register_checks(self)
        hook = type(self).metrics_hook
        if metrics and hook is not None:
            self.metrics = hook(self)

    def __repr__(self) -> str:
        return f"<ActorSystem {self.name!r} {self.state}>"

    # --- actors ---------------------------------------------------------------------------------

    def spawn(
        self,
        cls: type[A] | Props[A],
        /,
        *args: Any,
        name: str | None = None,
        restart: Restart | str = _TRANSIENT,
        dispatcher: str | None = None,
        mailbox: Any = None,
        persistence_id: str | None = None,
        under: str | None = None,
        **kwargs: Any,
    ) -> ActorRef[A]:
        """Start an actor under `/user` and return its ref once its `on_start` has returned.

        `__init__` runs on the calling thread, `on_start` on the actor's dispatcher. The actor is
        restarted alone when it fails, up to 3 times in 5 seconds, then it stops with
        `RestartLimit`; its neighbours do not notice. Crash or end, its name is free afterwards.

        Args:
            cls: the actor class; or `Props`, where the class uses one of the words below itself.
            args: positional arguments of every incarnation.
            name: last part of the path; optional, and if absent one is made.
            restart: when it is started again; optional, and if absent `TRANSIENT`: after a
                failure, not after a normal end.
            dispatcher: `"pool"`, `"thread"`, `"asyncio"` or one from the config; optional, and if
                absent the class decides.
            mailbox: its user lane; optional, and if absent the class decides.
            persistence_id: the stream of a persistent actor.
            under: path of the dynamic supervisor to start it under; optional, and if absent
                `/user`.
            kwargs: keyword arguments of every incarnation.

        Returns:
            The ref; None where `on_start` raised `Ignore`.

        Raises:
            StartFailed: `__init__` or `on_start` raised; `cause` is the exception.
            AlreadyStarted: a living actor has this name; `ref` is it.
            SystemStopped: the system is stopped or stopping.

        """
        family = self._user if under is None else self._family(under)
        if isinstance(cls, Props):
            args = (*cls.args, *args)
            kwargs = {**cls.kwargs, **kwargs}
            cls = cls.cls
        if restart is not _TRANSIENT and not isinstance(restart, Restart):
            restart = ChildSpec("child", cls, restart=restart).restart
        ref: Any
        if dispatcher is None and mailbox is None and persistence_id is None:
            ref = family.spawn(cls, args, kwargs, name, restart)
        else:
            ref = family.spawn(
                cls,
                args,
                kwargs,
                name,
                restart,
                dispatcher=dispatcher,
                mailbox=mailbox,
                persistence_id=persistence_id,
            )
        # None after `Ignore` only: a type that says so would burden every other caller.
        return ref  # type: ignore[no-any-return]

    async def spawn_async(
        self,
        cls: type[A] | Props[A],
        /,
        *args: Any,
        name: str | None = None,
        restart: Restart | str = _TRANSIENT,
        dispatcher: str | None = None,
        mailbox: Any = None,
        persistence_id: str | None = None,
        under: str | None = None,
        **kwargs: Any,
    ) -> ActorRef[A]:
        """`spawn` without blocking the event loop while `on_start` runs.

        Needed where `on_start` is a coroutine and the actor lives on the caller's own loop.
        """
        family = self._user if under is None else self._family(under)
        if isinstance(cls, Props):
            args = (*cls.args, *args)
            kwargs = {**cls.kwargs, **kwargs}
            cls = cls.cls
        if not isinstance(restart, Restart):
            restart = ChildSpec("child", cls, restart=restart).restart
        ref = await family.spawn_async(
            cls,
            args,
            kwargs,
            name,
            restart,
            dispatcher=dispatcher,
            mailbox=mailbox,
            persistence_id=persistence_id,
        )
        return cast("ActorRef[A]", ref)

    def _family(self, path: str) -> DynamicFamily:
        ref = self.lookup(path)
        family = None if ref is None else self.realm.families.get(ref)
        if not isinstance(family, DynamicFamily):
            if self.realm.stopping:
                raise SystemStopped(self.name)
            raise InvalidChildSpec("under", path, "the path of a living DynamicSupervisor")
        return family

    def lookup(self, path: str) -> ActorRef[Any] | None:
        """The living actor with this path, None where there is none."""
        if path == "/":
            return self._root if self._root.is_alive() else None
        found: ActorRef[Any] | None = self.runtime.lookup(path)
        return found

    def tell(self, path: str, message: Any) -> None:
        """Send a message to the actor with this path.

        Raises:
            ActorDeadError: there is none; the message is published as a dead letter too.

        """
        ref = self.lookup(path)
        if ref is None:
            self.runtime.dead_letter(DeadLetter(message, path, None, "unknown path"))
            raise ActorDeadError(f"no living actor at {path}", message=message)
        ref.tell(message)

    def create_actor(self, cls: Any, id: str, *args: Any, **kwargs: Any) -> ActorRef[Any]:  # noqa: A002
        """`spawn(cls, *args, name=id, **kwargs)`, under the name other systems give it."""
        return self.spawn(cls, *args, name=id, **kwargs)

    def dispatch(self, id: str, message: Any) -> None:  # noqa: A002
        """Send a message to what `create_actor` (or `spawn(name=id)`) started.

        Raises:
            ActorDeadError: there is none.

        """
        self.tell(id if id.startswith("/") else f"/user/{id}", message)

    def mount(self, spec: ChildSpec, before: str = "user") -> ActorRef[Any]:
        """Add a branch to the root, and start it; it stops after what stands behind it.

        Args:
            spec: the branch; its id is its path.
            before: the branch it is put before in the order of start; optional, and if absent
                `user`: it is stopped after all that `spawn` started.

        Raises:
            InvalidChildSpec, AlreadyStarted, StartFailed, ChildNotFound: as `start_child`.
            SystemStopped: the system is stopped or stopping.

        """
        family = self._guardian.root_family(self._root)
        if family is None:
            raise SystemStopped(self.name)
        ref: ActorRef[Any] = family.start_child(spec, before).get()
        return ref

    # --- looking --------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """`running`, `stopping` or `stopped`."""
        if self.terminated.done():
            return "stopped"
        return "stopping" if self.realm.stopping else "running"

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return self.clock.monotonic() - self._started_at

    @property
    def root(self) -> ActorRef[Any]:
        """The ref of the root supervisor."""
        return self._root

    def tree(self) -> TreeNode:
        """The supervision tree as it is now: a record; `str()` of it is the text."""
        return build_tree(self, self._root)

    def stats(self) -> SystemStats:
        """Counts since the start: messages, actors, restarts, dead letters, refusals, threads."""
        return collect(self)

    def running_for(self, ref: ActorRef[Any]) -> float | None:
        """Seconds for which an actor has been in its handler, as the detector saw it."""
        return self.realm.running_for(ref)

    # --- end ------------------------------------------------------------------------------------

    def stop(self, timeout: float | None = None) -> None:
        """Stop everything in order and wait until it is over.

        Actors under `/user` stop first, side by side, each within its shutdown limit; then what
        was mounted, sessions, effects, and at last the journal, which makes everything safe that
        was submitted. Idempotent; from several threads at once, all wait for the same stop. Called
        from inside an actor of the system it begins the stop and returns at once.

        Args:
            timeout: seconds for all of it, after which what still runs is fenced and counted as
                killed (the journal is closed properly in any case); optional, and if absent the
                configured `shutdown_timeout`.

        Raises:
            SystemFailed: the system had stopped itself before, because its root gave up.

        """
        if timeout is None:
            timeout = self.config.shutdown_timeout
        self._begin_stop(timeout)
        if not self.runtime.inside():
            wait_here(self.terminated)

    def begin_stop(self, timeout: float | None = None) -> None:
        """Begin what `stop()` does, without waiting; `terminated` tells when it is over."""
        self._begin_stop(self.config.shutdown_timeout if timeout is None else timeout)

    def _begin_stop(self, timeout: float) -> None:
        with self._stopping:
            if self._stop_begun:
                return
            self._stop_begun = True
        self.realm.stopping = True
        family = self._guardian.root_family(self._root)
        if family is None:
            self._root_gone(Exit.SHUTDOWN)
            return
        deadline = self.clock.call_at(
            self.clock.monotonic() + timeout, lambda: family.hurry(keep="storage")
        )
        root = self._root

        def children_gone() -> None:
            deadline.cancel()
            root._us_halt(Exit.SHUTDOWN)

        family.halt_children(Exit.SHUTDOWN, children_gone)

    async def stop_async(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as stop()
        """`stop()` without blocking the event loop."""
        if timeout is None:
            timeout = self.config.shutdown_timeout
        self._begin_stop(timeout)
        await await_shared(self.terminated)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the system has stopped; whether it has within `timeout` seconds.

        Raises:
            SystemFailed: it stopped itself.

        """
        try:
            self.terminated.get(timeout=timeout)
        except Timeout:
            return False
        return True

    def _fatal(self, ref: ActorRef[Any], error: BaseException) -> None:
        """`SystemExit`, `KeyboardInterrupt` and their like came out of a handler."""
        logger.critical("%s raised %r: system %r stops", ref, error, self.name)
        if self.interrupted_by is None:
            self.interrupted_by = error
        self._begin_stop(self.config.shutdown_timeout)

    def _root_up(self, error: BaseException | None) -> None:
        if error is None:
            self._root_outcome.set(None)
            return
        cause = error
        while isinstance(cause, StartFailed) and cause.cause is not None:
            cause = cause.cause
        self._root_outcome.set_exception(StartFailed(self.name, cause))

    def _root_gone(self, reason: Exit) -> None:
        """The tree is down: close what is left and tell who waits. On whichever thread saw it."""
        self.realm.stopping = True
        with self._stopping:
            self._stop_begun = True
        if reason.abnormal and self._failure is None:
            self._failure = reason.cause
        self._root._us_close(reason)
        pykka.ActorRegistry.unregister(self._root)
        # Closing waits for threads, which the thread that saw the end may be one of.
        self.runtime.spawn_thread(self._close_down, f"{self.name}-stop")

    def _close_down(self) -> None:
        try:
            if self.metrics is not None and hasattr(self.metrics, "close"):
                self.metrics.close()
            if self.control is not None:
                self.control.stop()
            self.runtime.close()
            if self._own_clock and isinstance(self.clock, SystemClock):
                close = getattr(self.clock, "close", None)
                if close is not None:
                    close()
        except Exception:
            logger.exception("system %r: error at its end", self.name)
        finally:
            if self._failure is None:
                self.terminated.set(None)
            else:
                self.terminated.set_exception(SystemFailed(self.name, self._failure))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except SystemFailed as failed:
            if error is None:
                raise
            # The block's own error is the news; the system's comes along.
            error.add_note(str(failed))

    async def __aenter__(self) -> Self:
        self.runtime.use_loop(asyncio.get_running_loop())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.stop_async()
        except SystemFailed as failed:
            if error is None:
                raise
            error.add_note(str(failed))
