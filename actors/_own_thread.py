"""The dispatcher for thread-bound or long-blocking code: a thread for each actor."""

from __future__ import annotations

import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any

from understudy.actors._dispatcher import Dispatcher
from understudy.actors._errors import Forked
from understudy.actors._strand import Strand, Unwind, local

if TYPE_CHECKING:
    from understudy.actors._runtime import Runtime

__all__ = ["OwnThread", "ThreadPerActor"]


class OwnThread(Dispatcher):
    """The thread of one actor: started with its first message, ended when the actor is closed."""

    def __init__(self, family: ThreadPerActor, name: str, *, daemon: bool) -> None:
        super().__init__(family.runtime, family.name)
        self._family = family
        self._thread_name = name
        self._daemon = daemon
        self._wake = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._started = False
        self.strand: Strand | None = None

    def look_after(self) -> None:
        """Wake the thread; start it if it is the first time."""
        if self.runtime.forked:
            raise Forked(self.runtime.name)
        if not self._started:
            with self._lock:
                start, self._started = not self._started, True
            if start:
                self.runtime.spawn_thread(self._work, self._thread_name, daemon=self._daemon)
        self._wake.release()

    def _work(self) -> None:
        strand = self.strand = Strand(self.runtime)
        strand.own = True
        strand.context = Context()
        local.strand = strand
        self._family.add(self)
        try:
            strand.context.run(self._serve, strand)
        except Unwind:  # its handler had just ended, and its actor has another thread
            pass
        finally:
            self._family.discard(self)
            local.strand = None
            self.runtime.retire(strand)

    def _serve(self, strand: Strand) -> None:
        from understudy.actors._cell import CLOSED

        cell: Any = None
        while True:
            self._wake.acquire()
            if self.ready:
                cell = self.ready.popleft()
            owner_lock = cell._us_lock
            cell._us_run(strand)
            if cell._us_phase == CLOSED and not cell._us_queue:
                return  # what is sent from now on starts a thread of its own, to be accounted for
            if cell._us_lock is not owner_lock:  # fenced: another thread serves it now
                return

    def finish(self) -> None:
        """The actor is closed: let an idle thread look, and end."""
        if self._started:
            self._wake.release()

    def replace(self) -> OwnThread:
        """A fresh thread for the actor, whose old one does not come back."""
        return OwnThread(self._family, self._thread_name, daemon=self._daemon)


class ThreadPerActor:
    """The dispatcher "thread": makes an `OwnThread` for each of its actors."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self.runtime = runtime
        self.name = name
        self._threads: set[OwnThread] = set()
        self._lock = threading.Lock()
        self._number = 0

    def for_actor(self, cls: type[Any], *, daemon: bool) -> OwnThread:
        """A thread for one new actor."""
        with self._lock:
            number, self._number = self._number, self._number + 1
        return OwnThread(self, f"{cls.__name__}-{number}", daemon=daemon)

    def add(self, thread: OwnThread) -> None:
        """A thread has started."""
        with self._lock:
            self._threads.add(thread)

    def discard(self, thread: OwnThread) -> None:
        """A thread has ended."""
        with self._lock:
            self._threads.discard(thread)

    def strands(self) -> list[Strand]:
        """The strands of all threads."""
        with self._lock:
            return [thread.strand for thread in self._threads if thread.strand is not None]

    def statistics(self) -> dict[str, Any]:
        """Numbers for reports."""
        strands = self.strands()
        return {
            "kind": "thread",
            "threads": len(strands),
            "running": sum(1 for strand in strands if strand.current is not None),
            "queued": 0,
        }

    def close(self) -> None:
        """Nothing to do: a thread ends with its actor."""
