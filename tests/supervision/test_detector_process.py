"""A whole process that is stopped by a signal and goes on: nobody is restarted for it.

A process of its own and real seconds, since what must stand still is everything: no clock moved by
hand can show that the detector's own lateness is seen for what it is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

STALL = 10 if "UNDERSTUDY_STRESS_SECONDS" in os.environ else 4
"""Seconds; in both the detector would find everybody frozen if it took the silence for theirs."""
PROGRAM = """
import sys, threading
import understudy as us

class Slow(us.Actor):
    heartbeat = us.Heartbeat(timeout=2.0)
    def on_receive(self, message):
        if message == "wait":
            threading.Event().wait(1.0)
        return self.context.incarnation

with us.ActorSystem("stopped") as system:
    refs = [system.spawn(Slow) for _ in range(20)]
    for ref in refs:
        ref.tell("wait")
    print("ready", flush=True)
    sys.stdin.readline()
    print(sorted({ref.ask("who", timeout=60) for ref in refs}), system.stats().restarts, flush=True)
"""


@pytest.mark.conformance(127)
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this platform has no SIGSTOP")
def test_stopping_and_continuing_the_process_restarts_nobody() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        # The length of the stall is what is tested.
        stall = f"kill -STOP {child.pid}; sleep {STALL}; kill -CONT {child.pid}"
        subprocess.run(["/bin/sh", "-c", stall], check=True, timeout=60)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "[1] 0\n"
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait(10)
        child.stdin.close()
        child.stdout.close()
