"""The pool: many actors on few threads.

Work is handed out in slots, as Go hands out its processors. A slot is the right to run actors;
under the GIL one slot holds a whole core's worth of Python, and more would only fight over it. So
there is one, until its holder blocks:

- a future about to block its worker gives the slot away at once (`lend`);
- a monitor, asleep while nothing runs, takes the slot of a worker that stands still while others
  wait, and multiplies the slots while work waits and no handler computes, so that handlers which
  block in short pieces do not queue up behind each other. Slots nobody uses are given up again;
  when the CPU is busy there is one.

A handler computes if its thread ran, or was ready to run and was not let (the operating system
keeps account), for half of the time. On a loaded machine a computing handler gets a small share of
the CPU; by that share alone it would look like a blocked one, and a pool that grew by it would
have its threads fight for the GIL.

A worker without a slot finishes the handler it is in and parks. Parked workers wait on a lock of
their own, not on the run queue: a shared condition would wake them all into the GIL.
"""

from __future__ import annotations

import logging
import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

from understudy.actors._dispatcher import CALL_AT, THROUGHPUT, Dispatcher
from understudy.actors._errors import Forked
from understudy.actors._strand import LOOKS, Strand, Unwind, local, yield_cpu
from understudy.actors._work import serve_ready

if TYPE_CHECKING:
    from understudy.actors._runtime import Runtime

__all__ = ["Pool", "Worker"]

logger = logging.getLogger("understudy")

TICK = 0.010
"""Seconds between two looks of the monitor."""
QUICK_TICK = 0.001
"""The same when it was called, and while work waits for handlers that block."""
NEAREST_APART, LONGEST_APART = 2 * QUICK_TICK, 0.160
"""Seconds between two calls for the monitor: more and more while it finds nothing blocked."""
BACK_OFF = 2
"""By how much the monitor waits longer after each look at which nothing was blocked."""
GROWTH = 16
"""By how much the slots are multiplied: a hundred blocked handlers are two looks."""
PROMPT_SECONDS = 0.002
"""A monitor that comes late by less had no need to take the GIL from anybody: what stands still
then is blocked, and not waiting for the GIL."""
BUSY_SHARE = 0.9
"""Above this share of one CPU, used by the process, the CPU is busy."""
IDLE_SHARE = 0.6
"""Below this share of one CPU, used by the process, the CPU may be idle."""
STILL_SECONDS = 2 * TICK
"""A handler that does not compute for so long is blocked, though others compute: it is not merely
waiting for the GIL, whose turns are 5 ms."""
LONG_SECONDS = 5 * TICK
"""A handler that computes for so long gives the others a chance, by one thread more."""
EXTRA = 4
"""How many such threads there may be."""
FEW = 8
"""If of so many handlers that stand still one computes, that is no reason to wait."""
MANY = 64
"""With more workers than this their accounts are not read: so many are blocked."""
QUIET_TICKS = 5
"""Ticks without work after which the monitor goes to sleep."""
IDLE_SECONDS = 30.0
"""How long a parked worker waits for work before its thread ends."""


class Worker(Strand):
    """A thread of the pool, and what it is doing."""

    __slots__ = (
        "computes",
        "gone",
        "native_id",
        "number",
        "on_cell",
        "ran",
        "same_for",
        "seen",
        "since",
        "slot",
        "wake",
    )

    def __init__(self, pool: Pool, number: int) -> None:
        super().__init__(pool.runtime)
        self.pool = pool
        self.own = True
        self.number = number
        self.slot = True
        self.gone = False
        self.wake = threading.Lock()
        self.wake.acquire()  # locked means parked; releasing it wakes the worker
        self.seen: Any = None
        self.native_id = threading.get_native_id()
        self.ran: float | None = 0.0
        self.same_for = 0.0
        self.on_cell = 0.0
        self.computes = False
        self.since = time.monotonic()


class Pool(Dispatcher):
    """A dispatcher that runs actors on a few threads."""

    inline = True
    fast = True

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        *,
        threads: int = 1,
        max_threads: int = 1024,
        throughput: int = THROUGHPUT,
    ) -> None:
        super().__init__(runtime, name, throughput)
        self.base_slots = threads
        self.max_threads = max_threads
        self.free = threads
        self.slots = threads
        self._lock = threading.Lock()
        self._parked: list[Worker] = []
        self._workers: set[Worker] = set()
        self._count = 0
        self._closed = False
        self._monitor_awake = False
        self._monitor_gate: Any = None
        self._monitor_ident: int | None = None
        self.starved_since: float | None = None

    def look_after(self) -> None:
        """Give a free slot to a worker; if there is none, have the monitor look at once."""
        if self.free > 0:
            self._hand_out()
        elif self.dozing and len(self.ready) >= CALL_AT:
            self._call_monitor()

    def _hand_out(self) -> None:
        """Give a free slot to a worker."""
        if self.runtime.forked:
            raise Forked(self.runtime.name)
        new = False
        with self._lock:
            if self.free <= 0 or len(self.ready) <= self._count:  # so many threads are coming up
                return
            if self._parked:
                worker: Worker | None = self._parked.pop()
                assert worker is not None
                worker.slot = True
            elif len(self._workers) + self._count < self.max_threads:
                worker = None
                new = True
                self._count += 1
            else:
                return
            self.free -= 1
        if worker is not None:
            worker.wake.release()
        elif new:
            self._start_worker()
        if not self._monitor_awake:
            self._wake_monitor()

    def _start_worker(self) -> None:
        try:
            # Only the monitor does not wait: until a new thread runs, CPython counts it under the
            # ident of the one that made it, and an exception thrown at that one would hit it.
            # Nobody throws any at the monitor.
            self.runtime.spawn_thread(
                self._work,
                f"{self.runtime.name}-{self.name}",
                wait=threading.get_ident() != self._monitor_ident,
            )
        except RuntimeError:  # no more threads, or the interpreter is ending
            with self._lock:
                self._count -= 1
                self.free += 1
            logger.exception("Pool %r cannot start a thread", self.name)

    # --- a worker's life ---------------------------------------------------------------------

    def _work(self) -> None:
        try:
            worker = Worker(self, self._count)
        except BaseException:
            with self._lock:
                self._count -= 1
                self.free += 1
            raise
        local.strand = worker
        with self._lock:
            self._count -= 1
            self._workers.add(worker)
        try:
            while not worker.gone:
                # Actors run in an empty context. One that filled it gets it for its own, and
                # the worker goes on with a fresh one.
                worker.context = Context()
                try:
                    worker.context.run(self._serve, worker)
                except Unwind:  # meant for a handler that had just ended
                    self.runtime.came_back(worker)
        finally:
            local.strand = None
            with self._lock:
                self._workers.discard(worker)
            self.runtime.retire(worker)

    def _serve(self, worker: Worker) -> None:
        ready = self.ready
        while not serve_ready(self, worker):
            if not worker.slot or self.free < 0:
                if not self._reclaim(worker):
                    return
                continue
            # The next message is often an answer away: let who works on it have the CPU,
            # before two threads are put to sleep and woken for it.
            for _ in range(LOOKS):
                yield_cpu()
                if ready:
                    break
            else:
                if not self._park(worker):
                    return

    def _park(self, worker: Worker) -> bool:
        """Give the slot back and wait for one. False: the thread has been idle and ends."""
        with self._lock:
            if worker.slot:
                worker.slot = False
                self.free += 1
            if self.ready and self.free > 0:  # it came in just now: look once more
                self.free -= 1
                worker.slot = True
                return True
            if self._closed:
                worker.gone = True
                return False
            self._parked.append(worker)
        if worker.wake.acquire(timeout=IDLE_SECONDS):
            return not worker.gone
        with self._lock:
            if worker in self._parked:
                self._parked.remove(worker)
                worker.gone = True
                return False
        worker.wake.acquire()  # somebody has taken it off the list: the wake is on its way
        return not worker.gone

    def _reclaim(self, worker: Worker) -> bool:
        """Get a slot again after it was taken or lent, or park. Also gives up one too many."""
        with self._lock:
            if worker.slot and self.free < 0:
                worker.slot = False
                self.free += 1
            elif not worker.slot and self.free > 0:
                worker.slot = True
                self.free -= 1
                return True
            elif worker.slot:
                return True
        return self._park(worker)

    def lend(self, worker: Strand) -> None:
        """The worker is about to block: its slot goes to somebody who can use it."""
        if not isinstance(worker, Worker) or not worker.slot:
            return
        with self._lock:
            worker.slot = False
            self.free += 1
        if self.ready:
            self._hand_out()

    # --- the monitor -------------------------------------------------------------------------

    def _wake_monitor(self) -> None:
        with self._lock:
            if self._monitor_awake or self._closed:
                return
            self._monitor_awake = True
            gate = self._monitor_gate
            if gate is None:
                gate = self._monitor_gate = threading.Lock()
                gate.acquire()
                start = True
            else:
                start = False
        if start:
            self.runtime.spawn_thread(self._monitor, f"{self.runtime.name}-{self.name}-monitor")
        else:
            gate.release()

    def _call_monitor(self) -> None:
        """Work has come that nobody takes up: the monitor is to look at once."""
        with self._lock:
            if not self.dozing:
                return
            self.dozing = False
        self._monitor_gate.release()

    def _doze(self, seconds: float) -> bool:
        """Wait; True if somebody called."""
        gate = self._monitor_gate
        self.dozing = True
        if len(self.ready) < CALL_AT and gate.acquire(timeout=seconds):
            return True
        with self._lock:
            called, self.dozing = not self.dozing, False
        if called:
            gate.acquire()  # it was released just now, or is about to be
        return called or len(self.ready) >= CALL_AT

    def _monitor(self) -> None:
        self._monitor_ident = threading.get_ident()
        quiet = 0
        wait = QUICK_TICK * 2
        called_at = 0.0
        apart = NEAREST_APART
        grown = False
        last = time.monotonic()
        cpu = time.process_time()
        while not self._closed:
            called = False
            if self.ready:
                time.sleep(wait)
            else:
                undisturbed = min(called_at + apart - last, wait)
                if undisturbed > 0:
                    time.sleep(undisturbed)
                if undisturbed < wait and self._doze(wait - max(undisturbed, 0.0)):
                    called = True
                    called_at = time.monotonic()
                    apart = min(apart * BACK_OFF, LONGEST_APART)
            now = time.monotonic()
            used = time.process_time()
            elapsed = now - last
            share = (used - cpu) / elapsed if elapsed > 0 else 1.0
            late = elapsed > wait * 3 + 0.005
            prompt = elapsed - wait < PROMPT_SECONDS
            last, cpu = now, used
            waiting = len(self.ready)
            if called:  # what runs now is seen for the first time
                quiet = 0
                wait = QUICK_TICK
                self._look(elapsed)
                continue
            if not waiting:
                self.starved_since = None
                if self.slots > self.base_slots:
                    unused = self.slots if share > BUSY_SHARE else max(self.free, 0)
                    self._set_slots(max(self.base_slots, self.slots - unused))
                quiet = quiet + 1 if self.free >= self.slots else 0
                wait = TICK
                if quiet >= QUIET_TICKS:
                    if not self._sleep():
                        return
                    quiet = 0
                    wait = QUICK_TICK * 2
                    apart = NEAREST_APART
                    last = time.monotonic()
                    cpu = time.process_time()
                continue
            quiet = 0
            stuck = self._look(elapsed)
            wait = QUICK_TICK if share < IDLE_SHARE else min(wait * BACK_OFF, TICK)
            if late:  # the host stalled, or the GIL did: what we see is our own lateness
                continue
            computing = [worker for worker in stuck if worker.computes]
            holders = sum(1 for worker in stuck if worker.slot and not worker.computes)
            if (
                (share < IDLE_SHARE or prompt)
                and len(computing) * FEW <= len(stuck)
                and holders * 2 >= self.slots
            ):
                wait = QUICK_TICK
                apart = NEAREST_APART
                if self.free <= 0:
                    more = min(self.slots * GROWTH, self.slots + waiting, self.max_threads)
                    self._set_slots(more)
                    grown = True
            elif share > BUSY_SHARE and self.slots > self.base_slots and not grown:
                self._set_slots(self.base_slots)
            else:
                grown = False
            extra = sum(1 for worker in computing if not worker.slot)
            for worker in stuck:
                if not worker.slot:
                    continue
                if not worker.computes:
                    if not computing or worker.same_for >= STILL_SECONDS:
                        self.lend(worker)
                elif worker.same_for >= LONG_SECONDS and extra < EXTRA:
                    extra += 1
                    self.lend(worker)
            if self.ready and self.free > 0:
                self._hand_out()
            if self.starved_since is None and len(self._workers) >= self.max_threads:
                self.starved_since = now

    def _look(self, elapsed: float) -> list[Worker]:
        """The workers that are in the same handler as at the last look; notes which compute."""
        stuck = []
        workers = tuple(self._workers)
        now = time.monotonic()
        for worker in workers:
            cell = worker.current
            if cell is None:
                worker.seen = None
                continue
            mark = (worker.turns, id(cell))
            if mark == worker.seen:
                worker.same_for += elapsed
                stuck.append(worker)
            else:
                if worker.seen is None or worker.seen[1] != mark[1]:
                    worker.on_cell = 0.0
                else:
                    worker.on_cell += worker.same_for + elapsed
                    if worker.on_cell >= TICK:
                        # For a whole tick while others wait: let them have a turn.
                        worker.hurry = True
                        cell._us_odd = True
                worker.seen = mark
                worker.same_for = 0.0
                worker.computes = False
                if worker.turns == 1 and now - worker.since >= QUICK_TICK:
                    worker.same_for = now - worker.since  # it has been there since it was made
                    stuck.append(worker)
                else:
                    worker.ran = _ran(worker.native_id) if len(workers) <= MANY else None
        if len(stuck) <= MANY:
            for worker in stuck:
                ran = _ran(worker.native_id)
                if worker.ran is not None and ran is not None:
                    worker.computes = ran - worker.ran > worker.same_for / 2
        return stuck

    def _set_slots(self, slots: int) -> None:
        with self._lock:
            self.free += slots - self.slots
            self.slots = slots
        for _ in range(min(self.free, len(self.ready))):
            self._hand_out()

    def _sleep(self) -> bool:
        with self._lock:
            if self.ready or self.free < self.slots:
                return True
            self._monitor_awake = False
            gate = self._monitor_gate
        gate.acquire()
        return not self._closed

    # --- looked at from outside --------------------------------------------------------------

    def strands(self) -> list[Worker]:
        """The workers."""
        with self._lock:
            return list(self._workers)

    def statistics(self) -> dict[str, Any]:
        """Numbers for reports."""
        with self._lock:
            workers = list(self._workers)
            parked = len(self._parked)
        return {
            "kind": "pool",
            "threads": len(workers),
            "parked": parked,
            "running": sum(1 for worker in workers if worker.current is not None),
            "slots": self.slots,
            "max_threads": self.max_threads,
            "throughput": self.throughput,
            "queued": len(self.ready),
        }

    def close(self) -> None:
        """End the threads as they become idle."""
        with self._lock:
            self._closed = True
            parked, self._parked = self._parked, []
            for worker in parked:
                worker.gone = True
            gate = self._monitor_gate if not self._monitor_awake else None
            self._monitor_awake = True
        for worker in parked:
            worker.wake.release()
        if gate is not None:
            gate.release()


def _ran(native_id: int) -> float | None:
    """Seconds a thread ran, or was ready to run and was not let; None if that is not to be had."""
    try:
        with open(f"/proc/self/task/{native_id}/schedstat", "rb", buffering=0) as file:  # noqa: PTH123 - a thousand times a second
            ran, delayed, _ = file.read(100).split()
    except (OSError, ValueError):
        return None
    return (int(ran) + int(delayed)) * 1e-9
