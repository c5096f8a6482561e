"""Actors without a system, as in Pykka: one process-wide runtime, and no second chance."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pykka

from understudy.actors._cell import DEAD, OPEN
from understudy.actors._errors import Ignore
from understudy.actors._exit import ORDERED, Exit, Failed
from understudy.actors._runtime import Runtime

if TYPE_CHECKING:
    from understudy.actors._guardian import Failure
    from understudy.actors._ref import ActorRef

__all__ = ["default_runtime", "find_standalone", "start", "unstarted"]

logger = logging.getLogger("pykka")

_lock = threading.Lock()
_runtime: Runtime | None = None


def default_runtime() -> Runtime:
    """The runtime of all standalone actors of this process; a forked child gets its own."""
    global _runtime  # noqa: PLW0603 - there is one for all of the process
    runtime = _runtime
    if runtime is None or runtime.forked:
        with _lock:
            if _runtime is None or _runtime.forked:
                _runtime = Runtime()
            runtime = _runtime
    return runtime


def start(cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorRef[Any]:
    """Start a standalone actor."""
    runtime = default_runtime()
    cell = runtime.make_cell(cls, args, kwargs, path=None, parent=None, guardian=STANDALONE)
    cell._us_make()
    pykka.ActorRegistry.register(cell)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("Starting %s", cell)
    if not getattr(cls, "use_daemon_thread", False):
        _keeper.add()
    if cls.on_start is pykka.Actor.on_start and not hasattr(cls, "_us_recover"):
        runtime.open(cell)
    else:
        runtime.enter(cell, None)
    return cell


def unstarted(cls: type[Any]) -> ActorRef[Any]:
    """The cell of an actor that was made by calling its class."""
    return default_runtime().make_cell(cls, (), {}, path=None, parent=None, guardian=STANDALONE)


def find_standalone(path: str) -> ActorRef[Any] | None:
    """The standalone actor with this path."""
    if not path.startswith("/standalone/"):
        return None
    urn = f"urn:uuid:{path.rsplit('/', 1)[1]}"
    return pykka.ActorRegistry.get_by_urn(urn)  # type: ignore[return-value]  # ours, by its path


class _Standalone:
    """The guardian of standalone actors: what fails is over, and Pykka's order of things holds."""

    __slots__ = ()

    def child_started(self, ref: Any, incarnation: int) -> None:
        """Nothing to do."""

    def child_start_failed(self, ref: Any, incarnation: int, cause: BaseException) -> None:
        """Log it; the actor is dead."""
        del incarnation
        if isinstance(cause, Ignore):
            self._leave(ref)
            ref._us_close(Exit.NORMAL)
            return
        self._log(ref, cause)
        self._leave(ref)
        ref._us_close(Failed(cause))

    def child_leaving(self, ref: Any, failure: Failure | None) -> None:
        """Before the hooks of the end: off the registry, and dead to senders."""
        if failure is not None:
            self._log(ref, failure.cause)
        self._leave(ref)
        if failure is None and logger.isEnabledFor(logging.DEBUG):
            logger.debug("Stopped %s", ref)

    def child_failed(self, ref: Any, incarnation: int, failure: Failure) -> None:
        """It is over, unless it was only Ctrl-C in the asker's thread."""
        del incarnation
        if failure.phase == "interrupt":
            ref._us_resume()
        else:
            ref._us_close(Failed(failure.cause))

    def child_ended(self, ref: Any, incarnation: int, reason: Exit) -> None:
        """It is over."""
        del incarnation
        ref._us_close(reason)

    def child_closed(self, ref: Any, reason: Exit) -> None:
        """Nothing is left."""
        del reason
        if ref in _registered():
            pykka.ActorRegistry.unregister(ref)
        if not getattr(ref.actor_class, "use_daemon_thread", False):
            _keeper.remove()

    def fatal(self, ref: Any, error: BaseException) -> None:
        """`SystemExit` and the like: this actor stops, and all others are told to."""
        logger.debug("%r in %s. Stopping all actors.", error, ref)
        ref._us_phase = OPEN
        ref._us_halt(ORDERED)
        for other in reversed(pykka.ActorRegistry.get_all()):
            if other is not ref:
                other.stop(block=False)

    def _leave(self, ref: Any) -> None:
        if ref._us_gate is DEAD:
            return
        pykka.ActorRegistry.unregister(ref)
        ref._us_gate = DEAD
        ref._us_inline = False
        extra = ref._us_extra
        if extra is not None and extra.event is not None:
            extra.event.set()

    def _log(self, ref: Any, cause: BaseException) -> None:
        logger.error(
            "Unhandled exception in %s:", ref, exc_info=(type(cause), cause, cause.__traceback__)
        )


def _registered() -> list[Any]:
    return pykka.ActorRegistry._actor_refs


STANDALONE = _Standalone()


class _Keeper:
    """Keeps the process alive while non-daemon standalone actors are, as their threads do in Pykka.

    One waiting thread for all of them.
    """

    def __init__(self) -> None:
        self._count = 0
        self._condition = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None

    def add(self) -> None:
        with self._condition:
            self._count += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._wait, name="understudy-standalone", daemon=False
                )
                self._thread.start()

    def remove(self) -> None:
        with self._condition:
            self._count -= 1
            if self._count == 0:
                self._condition.notify()

    def _wait(self) -> None:
        with self._condition:
            while self._count > 0:
                self._condition.wait()
            self._thread = None


_keeper = _Keeper()
