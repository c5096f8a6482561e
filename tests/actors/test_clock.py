"""The machine's clock, and the handles of both."""

from __future__ import annotations

import functools
import queue
import threading
import time
from typing import Any

import understudy.actors as us

WAIT = 5.0


def test_calls_come_in_the_order_of_their_times():
    clock = us.SystemClock()
    called: queue.SimpleQueue[Any] = queue.SimpleQueue()
    now = clock.monotonic() + 1.0  # not before a busy machine has ordered all three
    for delay in (0.02, 0.0, 0.01):
        clock.call_at(now + delay, functools.partial(called.put, delay))
    assert [called.get(timeout=WAIT) for _ in range(3)] == [0.0, 0.01, 0.02]
    clock.close()


def test_a_cancelled_call_is_not_made():
    clock = us.SystemClock()
    called: queue.SimpleQueue[Any] = queue.SimpleQueue()
    soon = clock.monotonic() + 1.0  # not before a busy machine has come to the cancelling
    handle = clock.call_at(soon, lambda: called.put("cancelled"))
    clock.call_at(soon + 0.01, lambda: called.put("kept"))
    assert handle.cancel()
    assert not handle.cancel()
    assert handle.cancelled
    assert called.get(timeout=WAIT) == "kept"
    clock.close()


def test_a_call_that_raises_is_logged_and_the_next_is_made(caplog):
    clock = us.SystemClock()
    called = threading.Event()
    clock.call_at(clock.monotonic(), lambda: 1 / 0)
    clock.call_at(clock.monotonic() + 0.01, called.set)
    assert called.wait(WAIT)
    assert "timed call failed" in caplog.text
    clock.close()


def test_many_cancelled_calls_do_not_pile_up():
    clock = us.SystemClock()
    far = clock.monotonic() + 3600
    for _ in range(1000):
        clock.call_at(far, int).cancel()
    assert len(clock._heap) < 200
    clock.close()


def test_a_closed_clock_ends_its_thread_and_calls_nobody():
    clock = us.SystemClock()
    clock.call_at(clock.monotonic() + 3600, int)
    thread = clock._thread
    clock.close()
    assert thread is not None
    thread.join(WAIT)
    assert not thread.is_alive()
    assert clock.call_at(clock.monotonic(), int) is not None
    assert abs(clock.time() - time.time()) < WAIT
