"""What a worker of the pool does all day: serve the actors that are ready.

Every message of a plain actor goes through this loop, so it stands here in full, and does nothing
that the base of a stack does not need. Whatever else there is to run (other kinds of actors, an
actor that has something odd about it) is left to `Cell._us_run`.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any

from understudy.actors import _handle
from understudy.actors._cell import CLOSED, IDLE, NEAR, PLAIN, YIELD
from understudy.actors._strand import INLINE_DEPTH

if TYPE_CHECKING:
    from understudy.actors._pool import Pool, Worker

__all__ = ["serve_ready"]

SPECIAL = _handle.SPECIAL


def serve_ready(pool: Pool, worker: Worker) -> bool:
    """Serve ready actors for as long as there are any and the worker has its slot.

    Returns:
        Whether an actor has filled the worker's context, which is now the actor's.
    """
    ready = pool.ready
    context = worker.context
    runtime = pool.runtime
    throughput = pool.throughput
    while worker.slot and pool.free >= 0:
        try:
            cell: Any = ready.popleft()
        except IndexError:
            return False
        if not cell._us_fast or cell._us_odd:
            cell._us_run(worker)
            if context:
                cell._us_keep_context(context)
                return True
            continue
        lock = cell._us_lock
        verdict = IDLE
        try:
            # The claim: see `Cell._us_run`.
            cell._us_owner = owner = cell._us_owner or worker
            if owner is not worker:
                continue
            worker.current = cell
            if worker.runtime is not runtime:
                worker.adopt(runtime)
            queue = cell._us_queue
            left = throughput
            receive: Any = None
            while True:
                if cell._us_odd:
                    verdict = cell._us_attend(worker, lock)
                    if verdict:
                        break
                    if not cell._us_fast:
                        verdict = YIELD
                        break
                    receive = None
                if receive is None:
                    receive = cell._us_actor.on_receive
                count = len(queue)
                if count > NEAR:
                    verdict = cell._us_serve_batch(worker, lock, receive, left)
                    left -= min(count, left)
                    if verdict or not left:
                        verdict = verdict or YIELD
                        break
                    continue
                if not count:
                    verdict = IDLE
                    break
                message = queue.pop(0)
                worker.envelope = message
                worker.turns = worker.number = worker.turns + 1
                try:
                    if type(message) is not tuple:
                        result = receive(message)
                        if result is not None and result.__class__ is CoroutineType:
                            _handle.drive(cell, worker, lock, result, message)
                    elif message[0].__class__ in SPECIAL:
                        _handle.open_envelope(cell, worker, lock, message, receive)
                    elif message[1] is None:
                        result = receive(message[0])
                        if result is not None and result.__class__ is CoroutineType:
                            _handle.drive(cell, worker, lock, result, message)
                    elif message[1]._us_done is None:  # else whoever asked gave up
                        if message[6] is not None:
                            worker.room = 0
                        result = receive(message[0])
                        worker.room = INLINE_DEPTH
                        if (
                            result.__class__ in PLAIN
                            and cell._us_extra is None
                            and cell._us_lock is lock
                        ):
                            message[1]._us_resolve(result)
                        else:
                            _handle.finish(cell, worker, lock, result, message[1], message)
                except BaseException as error:
                    worker.room = INLINE_DEPTH
                    _handle.raised(cell, worker, lock, error, message)
                if cell._us_lock is not lock:
                    break
                if not queue and not cell._us_odd:
                    verdict = IDLE
                    break
                left -= 1
                if not left:
                    verdict = YIELD
                    break
            worker.current = worker.envelope = None
            if cell._us_lock is not lock:
                cell._us_lost(worker)
            elif verdict is IDLE:
                cell._us_idle = True
                cell._us_owner = None
                if queue or (cell._us_odd and cell._us_phase != CLOSED):
                    cell._us_idle = False
                    cell._us_home.submit(cell)
            else:
                cell._us_let_go(worker, lock, verdict)
        except BaseException:
            worker.room = INLINE_DEPTH
            worker.current = worker.envelope = None
            cell._us_repair(worker, lock)
            raise
        if context:
            cell._us_keep_context(context)
            return True
    return False
