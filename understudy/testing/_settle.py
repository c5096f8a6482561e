"""Waiting for quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.supervision import ActorSystem


def settle(system: ActorSystem, timeout: float = 5.0) -> None:
    """Wait until all mailboxes of the system are empty and all its actors idle.

    Called from the test's thread, never from inside an actor. A timer that is still to
    come does not count as work; with a `ManualClock` it comes when the test says so.

    Args:
        system: the system to wait for.
        timeout: seconds of real time, since what it bounds is the machine's work;
            5.0 if absent.

    Raises:
        AssertionError: somebody was still busy then; the message says who, with what,
            and with how many messages waiting.

    """
    busy = system.runtime.wait_quiet(timeout)
    if not busy:
        return
    running = {line.ref: line for line in system.runtime.running()}
    lines = []
    for ref in busy:
        line = running.get(ref)
        doing = "waits for a thread" if line is None else f"handles {line.message!r}"
        lines.append(f"  {ref.path or ref}: {doing}")
    msg = f"{system.name} did not settle within {timeout} s; busy:\n" + "\n".join(lines)
    raise AssertionError(msg)
