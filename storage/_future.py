"""The promise of a commit."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from understudy.storage._errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

log = logging.getLogger("understudy.storage")

_lock_makers = threading.Lock()

#: Idents of the writers' threads, which must not wait for what they alone can do.
writer_threads: set[int] = set()


def _after_fork_in_child() -> None:
    global _lock_makers  # noqa: PLW0603 - another thread of the parent may have held it
    _lock_makers = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


class CommitFuture(Generic[T]):
    """Answers when a write is safe at the journal's durability level, or why it is not.

    Cheaper than `concurrent.futures.Future` (no condition, no lock until somebody waits), with
    the part of its interface that a commit needs. Thread-safe.
    """

    # Correct under the interpreter lock, by order of stores: the writer stores the outcome, then
    # _done, then looks for a lock and callbacks; a waiter stores its lock or callback, then looks
    # at _done. Whoever comes second sees the other.
    __slots__ = ("_callbacks", "_done", "_error", "_lock", "_value")

    #: Set by the journal: exceptions out of callbacks are counted here.
    callback_errors = 0

    def __init__(self) -> None:
        self._done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._lock: threading.Lock | None = None
        self._callbacks: list[Callable[[CommitFuture[T]], object]] | None = None

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._done

    @property
    def awaited(self) -> bool:
        """Whether a thread or a callback waits for it."""
        return self._lock is not None or bool(self._callbacks)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the outcome is known, at most `timeout` seconds; False when it is not."""
        if self._done:
            return True
        if threading.get_ident() in writer_threads:
            raise StorageError(
                "a callback on the journal's writer thread waits for a commit that only this "
                "thread can make; submit without waiting there, or hand the work to another thread"
            )
        with _lock_makers:
            if self._lock is None:
                lock = threading.Lock()
                lock.acquire()  # taken means: not done yet
                self._lock = lock
            lock = self._lock
        if self._done:
            return True
        if lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            lock.release()  # the next waiter passes too
        return self._done

    def result(self, timeout: float | None = None) -> T:
        """What the write became.

        Args:
            timeout: seconds to wait. Optional, and if absent until it is known.

        Raises:
            TimeoutError: not known in time; the write goes on.
            StorageError: the write was refused or failed; nothing of it was stored.
        """
        if not (self._done or self.wait(timeout)):
            raise TimeoutError(f"commit not safe after {timeout} s; the write goes on")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set together with _done

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Why the write failed, or None; waits as `result` does."""
        if not (self._done or self.wait(timeout)):
            raise TimeoutError(f"commit not safe after {timeout} s; the write goes on")
        return self._error

    def add_done_callback(self, callback: Callable[[CommitFuture[T]], object]) -> None:
        """Call `callback(self)` once the outcome is known; at once where it is known already.

        Runs on the journal's writer thread (or on the caller's, if already known) and must not
        block: every other writer waits meanwhile. What it raises is logged and counted.
        """
        if self._callbacks is None:
            with _lock_makers:
                if self._callbacks is None:
                    self._callbacks = []
        self._callbacks.append(callback)
        if self._done:
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        callbacks = self._callbacks
        while callbacks:
            try:
                callback = callbacks.pop(0)
            except IndexError:  # the other thread took it
                return
            try:
                callback(self)
            except Exception:
                CommitFuture.callback_errors += 1
                log.exception("callback of a commit raised; the commit stands, the journal goes on")

    def _finish(self, value: T | None, error: BaseException | None) -> None:
        self._value = value
        self._error = error
        self._done = True
        if self._lock is not None:
            self._lock.release()
        if self._callbacks is not None:
            self._run_callbacks()

    def set_result(self, value: T) -> None:
        """For the side that makes the promise."""
        self._finish(value, None)

    def set_exception(self, error: BaseException) -> None:
        """For the side that makes the promise."""
        self._finish(None, error)


def finished(value: Any) -> CommitFuture[Any]:
    """A promise already kept."""
    future: CommitFuture[Any] = CommitFuture()
    future.set_result(value)
    return future
