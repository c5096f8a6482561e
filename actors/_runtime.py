"""The runtime: what the actors of one system share.

Threads, time and randomness are taken from here and nowhere else, so that another runtime can
supply them: one thread, a clock moved by hand, a seeded order.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pykka

from understudy.actors._cell import OPEN, Cell
from understudy.actors._class_info import class_info
from understudy.actors._clock import SystemClock
from understudy.actors._dispatcher import THROUGHPUT
from understudy.actors._errors import (
    ActorDeadError,
    BlockingAsk,
    Forked,
    Ignore,
    SystemStopped,
    Timeout,
    UnknownDispatcher,
)
from understudy.actors._event_loop import EventLoop
from understudy.actors._event_stream import EventStream
from understudy.actors._events import ActorStarted, DeadLetter
from understudy.actors._exit import Exit, Failed
from understudy.actors._future import Future
from understudy.actors._marks import Marks
from understudy.actors._own_thread import ThreadPerActor
from understudy.actors._pool import Pool
from understudy.actors._ref import ActorRef
from understudy.actors._running import Running, running_of
from understudy.actors._strand import (
    Strand,
    current_cell,
    local,
    strands,
    throw_unwind,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from understudy.actors._clock import Clock
    from understudy.actors._guardian import Family
    from understudy.actors._intercept import Interceptor
    from understudy.actors._mailbox import Mailbox

__all__ = ["Runtime", "RuntimeStatistics", "Starving", "on_new_runtime", "resolve_ref"]

logger = logging.getLogger("understudy")

_new: Any = object.__new__
_NO_START = pykka.Actor.on_start
_runtimes: weakref.WeakSet[Runtime] = weakref.WeakSet()
_listeners: list[Callable[[Runtime], object]] = []


def on_new_runtime(listener: Callable[[Runtime], object]) -> None:
    """Have `listener(runtime)` called for every runtime that is made, and those there are."""
    _listeners.append(listener)
    for runtime in list(_runtimes):
        listener(runtime)


@dataclass(frozen=True, slots=True)
class RuntimeStatistics:
    """What a runtime has counted since its start, and what it has now.

    refused: what replaced incarnations tried. zombie_threads: threads still stuck in a handler
    whose actor was taken from them.
    """

    messages: int
    actors: int
    dead_letters: int
    refused: int
    zombie_threads: int
    threads: int
    events: int
    dispatchers: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None


@dataclass(frozen=True, slots=True)
class Starving:
    """A dispatcher with work waiting and no thread to take it up, `since` a monotonic time."""

    dispatcher: str
    waiting: int
    threads: int
    since: float


class Runtime:
    """Threads, time, randomness, dispatchers, paths and events of one system.

    Args:
        name: of the system; part of thread names, and of refs that were serialised.
        clock: where time comes from. Optional, and if absent: the machine's.
        seed: of `random`. Optional, and if absent: unpredictable.
        ask_timeout: seconds an ask waits where it says nothing itself. Optional, and if absent:
            as long as it takes.
        system: the `ActorSystem`, for `context.system`.
        max_threads: the most threads the default pool may have.
        throughput: messages one actor of it may handle before the others get a turn.
        dispatchers: more dispatchers by name: a dict of keyword arguments of a `Pool` each.
    """

    def __init__(
        self,
        name: str = "standalone",
        *,
        clock: Clock | None = None,
        seed: int | None = None,
        ask_timeout: float | None = None,
        system: Any = None,
        config: Any = None,
        max_threads: int = 1024,
        throughput: int = THROUGHPUT,
        dispatchers: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.random = random.Random(seed)
        self.config = config
        if config is not None:
            ask_timeout = config.ask_timeout if ask_timeout is None else ask_timeout
            max_threads = config.dispatcher.max_threads
            throughput = config.dispatcher.throughput
            dispatchers = {**config.dispatchers, **(dispatchers or {})}
        threads = config.dispatcher.threads if config is not None else 1
        self.system = system
        self.journal: Any = None
        self.realm: Any = None
        self.lock = threading.RLock()
        self.stream = EventStream()
        self.paths: dict[str, ActorRef[Any]] = {}
        self.families: dict[Any, Family] = {}
        self.interceptors: tuple[Interceptor, ...] = ()
        self.plain = True
        self.ask_timeout = ask_timeout
        self.inline = ask_timeout is None
        self.closed = False
        self.forked = False
        self.process = os.getpid()
        self.dead_letters = 0
        self.refusals = 0
        self.zombies: set[Strand] = set()
        self.turns: set[Any] = set()
        self.woken: list[Any] = []
        self.marks = Marks(self)
        self.spawn_child: Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any] = _no_family
        self.children_of: Callable[[Any], Sequence[Any]] = _no_children
        self._counted = 0
        self._hooks = 0
        self._count_lock = threading.RLock()  # a strand's finalizer may come at any point
        self._dispatcher_lock = threading.Lock()
        self.dispatchers: dict[str, Any] = {
            "pool": Pool(
                self, "pool", threads=threads, max_threads=max_threads, throughput=throughput
            ),
            "thread": ThreadPerActor(self, "thread"),
            "asyncio": EventLoop(self, "asyncio"),
        }
        self._pool = self.dispatchers["pool"]
        for key, options in (dispatchers or {}).items():
            self.add_dispatcher(key, **options)
        _runtimes.add(self)
        for listener in _listeners:
            listener(self)

    # --- threads, dispatchers ----------------------------------------------------------------

    def spawn_thread(
        self, target: Callable[[], object], name: str, *, daemon: bool = True, wait: bool = True
    ) -> threading.Thread:
        """Start a thread: the only place where this system makes one.

        `wait=False` returns before it runs. That is for many at once: who waits for each to come
        up gives the CPU away each time, and on a busy machine that takes ten times as long. Only
        for a caller that no exception is ever thrown at: until the new thread runs, CPython counts
        it under its maker's ident, and it would be hit instead.
        """
        thread = threading.Thread(target=target, name=name, daemon=daemon)
        if not wait:
            thread._started = _Unawaited()  # type: ignore[attr-defined]  # what start() waits for
        thread.start()
        return thread

    def add_dispatcher(self, name: str, kind: str = "pool", **options: Any) -> Any:
        """Add a dispatcher under a name of its own: a "pool", a "thread" or an "asyncio" one."""
        makers: dict[str, Any] = {"pool": Pool, "thread": ThreadPerActor, "asyncio": EventLoop}
        if kind not in makers:
            raise UnknownDispatcher(kind, makers)
        with self._dispatcher_lock:
            dispatcher = self.dispatchers[name] = makers[kind](self, name, **options)
        return dispatcher

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run coroutine actors on `loop`, which runs on this thread, instead of one of our own.

        To be called before the first of them is spawned; later calls change nothing.
        """
        with self._dispatcher_lock:
            present = self.dispatchers["asyncio"]
            if present.loop is None:
                self.dispatchers["asyncio"] = EventLoop(self, "asyncio", loop)

    def loop_dispatcher(self) -> EventLoop:
        """The dispatcher that runs coroutines."""
        dispatcher: EventLoop = self.dispatchers["asyncio"]
        return dispatcher

    def dispatcher_for(self, cls: type[Any], home: str) -> Any:
        """What is to run a new actor of this class."""
        dispatcher = self.dispatchers.get(home)
        if dispatcher is None:
            raise UnknownDispatcher(home, self.dispatchers)
        if dispatcher.__class__ is ThreadPerActor:
            daemon = self.system is not None or bool(getattr(cls, "use_daemon_thread", False))
            return dispatcher.for_actor(cls, daemon=daemon)
        return dispatcher

    def intercept(self, *interceptors: Interceptor) -> None:
        """Put interceptors around all messages of this system. Before the first spawn."""
        self.interceptors = (*self.interceptors, *interceptors)
        self.plain = False
        for cell in self.cells():
            cell._us_inline = False
            cell._us_fast = False
            cell._us_odd = True

    # --- making actors -----------------------------------------------------------------------

    def make_cell(
        self,
        cls: type[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        path: str | None,
        parent: Any,
        guardian: Any,
        dispatcher: str | None = None,
        mailbox: Mailbox | None = None,
        persistence_id: str | None = None,
        heartbeat: Any = None,
        ask_failures: str | None = None,
    ) -> ActorRef[Any]:
        """Make a cell without an incarnation: its mail waits until `_us_begin`.

        Raises:
            UnknownDispatcher: there is none of that name.
            Forked: this is a child of the process the system lives in.
        """
        if self.forked:
            raise Forked(self.name)
        info = cls.__dict__.get("_us_info")
        if info is None:
            info = class_info(cls)
        home = dispatcher or info.home
        where = self.dispatchers.get(home)
        if where.__class__ is not Pool:
            where = self.dispatcher_for(cls, home)
        cell: ActorRef[Any] = ActorRef(cls, args, kwargs, self, info, where, guardian, parent, path)
        if mailbox is None:
            mailbox = info.mailbox
        if mailbox is not None or persistence_id or heartbeat or ask_failures:
            self._equip(cell, mailbox, persistence_id, heartbeat, ask_failures)
        if path is not None:
            self.paths[path] = cell
        return cell

    def _equip(
        self,
        cell: Any,
        mailbox: Mailbox | None,
        persistence_id: str | None,
        heartbeat: Any,
        ask_failures: str | None,
    ) -> None:
        from understudy.actors._mailbox import Lane
        from understudy.actors._mailbox import Mailbox as Spec

        extra = cell._us_more()
        extra.persistence_id = persistence_id
        extra.heartbeat = heartbeat
        extra.ask_failures = ask_failures
        if mailbox is not None:
            if not isinstance(mailbox, Spec):
                msg = f"mailbox={mailbox!r} is not possible: give a Mailbox(...)"
                raise TypeError(msg)
            if mailbox.limited:
                cell._us_gate = extra.mailbox = Lane(mailbox, self.clock)
                cell._us_fast = False
                cell._us_inline = False

    def spawn_cell(
        self,
        cls: type[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        path: str | None,
        parent: Any,
        guardian: Any,
        **options: Any,
    ) -> ActorRef[Any]:
        """Make a cell and start its first incarnation: `__init__` here, `on_start` waited for.

        The guardian is told nothing of a start that fails; the cell is then closed. Options are
        those of `make_cell`.

        Raises:
            BaseException: what `__init__` or `on_start` raised, `Ignore` included.
        """
        cell, started = self.spawn_begin(
            cls, args, kwargs, path=path, parent=parent, guardian=guardian, **options
        )
        if started is None:
            return cell
        if started._us_done is None:
            try:
                started._us_wait(None, on_loop=True)
            except BlockingAsk:
                cell._us_halt(Exit.KILLED)
                raise
        started.get()
        return cell

    def spawn_plain(
        self,
        cls: type[Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        path: str,
        parent: Any,
        guardian: Any,
    ) -> ActorRef[Any]:
        """`spawn_cell` without options; spelled out for the common kind of class."""
        info = cls.__dict__.get("_us_info")
        if info is None or not info.simple or cls.on_start is not _NO_START:
            return self.spawn_cell(
                cls, args, dict(kwargs), path=path, parent=parent, guardian=guardian
            )
        if self.closed or self.forked:
            self.check_fork()
            raise SystemStopped(self.name)
        cell: Any = _new(ActorRef)
        cell._us_furnish(cls, args, kwargs, self, info, self._pool, guardian, parent, path)
        self.paths[path] = cell
        try:
            actor: Any = _new(cls)
            actor._actor_ref = cell
            if kwargs:
                actor.__init__(*args, **kwargs)
            elif args:
                actor.__init__(*args)
            else:
                actor.__init__()
            if cell._us_actor is not actor:
                cell._us_forgotten()
        except BaseException as error:
            self.abort(cell, error)
            raise
        cell._us_incarnation = 1
        cell._us_phase = OPEN
        if cell._us_extra is None and cell._us_control is None:
            cell._us_odd = False
        if self.stream.active:
            self.stream.publish(ActorStarted(cell, 1))
        cell._us_idle = True
        if cell._us_queue or cell._us_control:
            cell._us_idle = False
            cell._us_home.submit(cell)
        return cell  # type: ignore[no-any-return]

    def spawn_begin(
        self, cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any
    ) -> tuple[ActorRef[Any], Future[None] | None]:
        """`spawn_cell` without waiting: the future, None if it is not needed, is the start."""
        if self.closed:
            raise SystemStopped(self.name)
        cell = self.make_cell(cls, args, kwargs, **options)
        try:
            actor = cell._us_make()
        except BaseException as error:
            self.abort(cell, error)
            raise
        if cls.on_start is _NO_START and not hasattr(actor, "_us_recover"):
            self.open(cell)
            return cell, None
        started: Future[None] = Future()
        started._us_callee = cell
        cell._us_guardian = _Starting(cell._us_guardian, started)
        self.enter(cell, started)
        return cell, started

    def open(self, cell: Any) -> None:
        """Open the mailbox of a first incarnation that has nothing to start."""
        cell._us_incarnation = 1
        cell._us_phase = OPEN
        if cell._us_extra is None and cell._us_control is None:
            cell._us_odd = False
        if self.stream.active:
            self.stream.publish(ActorStarted(cell, 1))
        cell._us_idle = True
        if cell._us_queue or cell._us_control:
            cell._us_idle = False
            cell._us_home.submit(cell)

    def enter(self, cell: Any, started: Future[None] | None) -> None:
        """Run the start hooks of a first incarnation, here if that is allowed."""
        cell._us_control = [("_us_do_enter",), *(cell._us_control or ())]
        cell._us_odd = True
        if started is not None:
            dispatcher = cell._us_home
            strand = local.strand
            if dispatcher.inline:
                cell._us_serve(started)
            elif strand is not None and strand.loop is not None and strand.loop is dispatcher.loop:
                cell._us_run(strand, started)
            if started._us_done is not None:
                return
        cell._us_home.submit(cell)

    def abort(self, cell: Any, error: BaseException) -> None:
        """Close a cell whose first start failed, without telling its guardian."""
        cell._us_guardian = _SILENT
        cell._us_close(Exit.NORMAL if isinstance(error, Ignore) else Failed(error))

    def unregister(self, cell: Any) -> None:
        """Forget the path of a closed cell."""
        path = cell._us_path
        if path is not None and self.paths.get(path) is cell:
            del self.paths[path]

    def lookup(self, path: str) -> ActorRef[Any] | None:
        """The actor that lives at a path, in constant time; None if none does."""
        return self.paths.get(path)

    def cells(self) -> list[ActorRef[Any]]:
        """All actors with a path that are alive now."""
        while True:
            try:
                return list(self.paths.values())
            except RuntimeError:  # changed while it was copied
                continue

    # --- deadlines ---------------------------------------------------------------------------

    def deadline(self, timeout: float | None) -> float | None:
        """When an ask sent here and now with `timeout` is over: never after its caller's."""
        strand = local.strand
        inherited: float | None = None
        if strand is not None and strand.current is not None:
            envelope = strand.envelope
            if type(envelope) is tuple:
                inherited = envelope[6]
        if timeout is None:
            return inherited
        mine = self.clock.monotonic() + timeout
        return mine if inherited is None or mine < inherited else inherited

    def remaining(self, envelope: Any) -> float | None:
        """Seconds until the deadline of a message, None if it has none."""
        if type(envelope) is not tuple or envelope[6] is None:
            return None
        left: float = envelope[6] - self.clock.monotonic()
        return max(0.0, left)

    def expire_at(
        self, deadline: float, future: Future[Any], cell: Any, timeout: float | None
    ) -> None:
        """Give up on an awaited answer at its deadline."""

        def expire() -> None:
            future._us_fail(Timeout(f"{cell} did not answer within {timeout} seconds"))

        handle = self.clock.call_at(deadline, expire)
        future._us_subscribe(lambda _: handle.cancel())

    # --- accounts ----------------------------------------------------------------------------

    def dead_letter(self, letter: DeadLetter) -> None:
        """Count and publish a message that reached nobody."""
        if isinstance(letter.message, DeadLetter):
            return  # a dead letter about a dead letter would have no end
        with self._count_lock:
            self.dead_letters += 1
        if self.stream.active:
            self.stream.publish(letter)

    def refuse(self, what: str) -> None:
        """Count something a replaced incarnation tried."""
        del what
        with self._count_lock:
            self.refusals += 1

    def count_hook(self) -> None:
        """One of the turns was no message."""
        with self._count_lock:
            self._hooks += 1

    def count_turns(self, turns: int) -> None:
        """Add handler calls to the account."""
        if turns:
            with self._count_lock:
                self._counted += turns

    @property
    def messages(self) -> int:
        """How many messages were handled; hooks and stop requests do not count."""
        total = self._counted - self._hooks
        for strand in strands():
            if strand.runtime is self:
                total += strand.turns - strand.base_turns
        return total

    def stats(self) -> RuntimeStatistics:
        """Numbers for reports."""
        dispatchers = {
            name: dispatcher.statistics() for name, dispatcher in list(self.dispatchers.items())
        }
        return RuntimeStatistics(
            messages=self.messages,
            actors=len(self.paths),
            dead_letters=self.dead_letters,
            refused=self.refusals,
            zombie_threads=len(self.zombies),
            threads=sum(numbers["threads"] for numbers in dispatchers.values()),
            events=self.stream.published,
            dispatchers=dispatchers,
        )

    # --- fencing -----------------------------------------------------------------------------

    def fenced(self, strand: Strand) -> None:
        """An actor was taken from this strand: write its thread off, until it comes back."""
        strand.zombie = True
        with self._count_lock:
            self.zombies.add(strand)
        if strand.pool is not None:
            strand.pool.lend(strand)
        elif strand.loop is not None:
            for dispatcher in list(self.dispatchers.values()):
                if isinstance(dispatcher, EventLoop) and dispatcher.leave_stuck(strand):
                    break

    def came_back(self, strand: Strand) -> None:
        """A strand has left a handler it no longer owned."""
        if strand.zombie:
            with self._count_lock:
                strand.zombie = False
                self.zombies.discard(strand)
                if strand.own:  # what was to unwind that handler must not hit the next one
                    throw_unwind()

    def unwind(self, strand: Strand) -> None:
        """Raise `Unwind` where a thread runs a handler of an incarnation that was replaced.

        It comes at the next instruction of Python code there. A thread that has come back
        meanwhile, or is not the system's own, is left alone.
        """
        with self._count_lock:
            if strand.zombie and strand.own and strand.loop is None:
                throw_unwind(strand.thread_id)

    def retire(self, strand: Strand) -> None:
        """A thread of ours has ended."""
        self.came_back(strand)
        self.count_turns(strand.turns - strand.base_turns)
        strand.base_turns = strand.turns
        strand.runtime = None

    # --- looked at from outside --------------------------------------------------------------

    def running(self, resting: AbstractSet[Any] = frozenset()) -> list[Running]:
        """What is inside a handler now, on threads and suspended: what a detector looks at.

        Without the suspended calls that are `resting`; those of them that beat are put into
        `woken`.
        """
        return running_of(self, resting)

    def starving(self) -> list[Starving]:
        """Dispatchers that cannot keep up because they may have no more threads."""
        found = []
        for name, dispatcher in list(self.dispatchers.items()):
            since = getattr(dispatcher, "starved_since", None)
            if since is not None:
                threads = dispatcher.statistics()["threads"]
                found.append(Starving(name, len(dispatcher.ready), threads, since))
        return found

    def inside(self) -> bool:
        """Whether the calling code runs inside an actor of this runtime."""
        cell = current_cell()
        return cell is not None and cell._us_rt is self

    def busy(self) -> list[ActorRef[Any]]:
        """The actors that are not idle with an empty mailbox."""
        return [cell for cell in self.cells() if cell._us_busy()]

    def wait_quiet(self, timeout: float = 5.0) -> list[ActorRef[Any]]:
        """Wait until no actor has anything to do; returns those that still had after `timeout`.

        The timeout is of the machine's time, since what it bounds is the machine's work.
        """
        end = time.monotonic() + timeout
        pause = 0.0001
        while True:
            busy = self.busy()
            if not busy and not any(
                len(getattr(dispatcher, "ready", ())) for dispatcher in self.dispatchers.values()
            ):
                before = self.messages
                if not self.busy() and self.messages == before:
                    return []
            if time.monotonic() >= end:
                return self.busy()
            time.sleep(pause)
            pause = min(pause * 2, 0.005)

    def check_fork(self) -> None:
        """Raise `Forked` in a child of the process the system lives in."""
        if self.forked:
            raise Forked(self.name)

    def close(self) -> None:
        """End the threads. The actors should be closed."""
        self.closed = True
        for dispatcher in self.dispatchers.values():
            dispatcher.close()


class _Unawaited(threading.Event):
    """Set as any other, and nobody waits for it."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once."""
        del timeout
        return True


class _Starting:
    """The guardian of a first incarnation while it starts: whoever spawned it is told."""

    __slots__ = ("_guardian", "_started")

    def __init__(self, guardian: Any, started: Future[None]) -> None:
        self._guardian = guardian
        self._started = started

    def child_started(self, ref: Any, incarnation: int) -> None:
        del incarnation
        ref._us_guardian = self._guardian
        self._started._us_resolve(None)

    def child_start_failed(self, ref: Any, incarnation: int, cause: BaseException) -> None:
        del incarnation
        ref._us_rt.abort(ref, cause)
        self._started._us_fail(cause)

    def child_failed(self, ref: Any, incarnation: int, failure: Any) -> None:
        self.child_start_failed(ref, incarnation, failure.cause)

    def child_ended(self, ref: Any, incarnation: int, reason: Exit) -> None:
        del incarnation
        ref._us_guardian = self._guardian
        ref._us_close(reason)
        self._started._us_fail(ActorDeadError(f"{ref} was stopped while it started", ref=ref))

    def child_closed(self, ref: Any, reason: Exit) -> None:
        ref._us_guardian = self._guardian
        self._guardian.child_closed(ref, reason)
        self._started._us_fail(ActorDeadError(f"{ref} was closed while it started", ref=ref))

    def fatal(self, ref: Any, error: BaseException) -> None:
        ref._us_rt.abort(ref, error)
        self._started._us_fail(error)


class _Silent:
    """The guardian of a cell nobody guards any more."""

    __slots__ = ()

    def child_closed(self, ref: Any, reason: Exit) -> None:
        """Nobody wants to know."""


_SILENT = _Silent()


def _no_family(parent: Any, cls: Any, args: Any, kwargs: Any) -> Any:
    del cls, args, kwargs
    msg = f"{parent} cannot have children here: understudy.supervision is not imported"
    raise RuntimeError(msg)


def _no_children(parent: Any) -> Sequence[Any]:
    del parent
    return ()


def resolve_ref(system: str, path: str) -> ActorRef[Any]:
    """The ref at a path of the system that reads it: how refs come back from their bytes."""
    for runtime in list(_runtimes):
        if runtime.name == system and not runtime.forked:
            found = runtime.lookup(path)
            if found is not None:
                return found
    from understudy.actors._standalone import find_standalone

    found = find_standalone(path)
    if found is not None:
        return found
    raise ActorDeadError(f"No actor at {path!r} in a system {system!r} of this process")


def _after_fork() -> None:
    for runtime in list(_runtimes):
        runtime.forked = True
        runtime.inline = False
        for cell in [*runtime.paths.values(), *pykka.ActorRegistry.get_all()]:
            if isinstance(cell, Cell) and cell._us_rt is runtime:
                cell._us_gate = FORKED
                cell._us_inline = False
    local.strand = None


class _ForkedGate:
    """The gate of a cell in a forked child: whoever comes is told why nobody answers."""

    spec = None

    def put(self, queue: Any, item: Any, *, exempt: bool = False) -> Any:
        """Refuse."""
        del queue, item, exempt
        raise Forked("of the parent process")


FORKED = _ForkedGate()

os.register_at_fork(after_in_child=_after_fork)
