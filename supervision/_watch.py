"""The `watch` branch: the failure detector at work, and health as an actor."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from understudy.actors import (
    Actor,
    ActorBusy,
    ActorFailed,
    ActorFrozen,
    DispatcherStarved,
    Failure,
)
from understudy.supervision._detector import Judge, Verdict
from understudy.supervision._errors import FrozenActor
from understudy.supervision._family import Family
from understudy.supervision._looks import gather, stack_of
from understudy.supervision._pulse import Pulse
from understudy.supervision._spec import ChildSpec
from understudy.supervision._supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.actors import ActorRef, Heartbeat
    from understudy.supervision._detector import Finding
    from understudy.supervision._health import HealthReport
    from understudy.supervision._system import ActorSystem

__all__ = ["Watch", "Watcher"]

logger = logging.getLogger("understudy.supervision")

_SWEEP = object()
MAIL = 10
"""Sweeps after which mail is looked for behind calls that rest, too."""


class Watcher:
    """What the failure detector knows and does. It outlives restarts of the actor that drives it.

    Attributes:
        judge: the judgement, with its memory.
        frozen: how many actors were found frozen (or past their hard limit).
        sweeps: how often it has looked.
        busy: how many were found busy for too long.
        suspects: paths of the actors that are frozen and were not replaced.

    """

    def __init__(self, system: ActorSystem) -> None:
        settings = system.config.detector
        self._runtime = system.runtime
        self._stream = system.runtime.stream
        self._clock = system.clock
        self.judge = Judge(settings.timeout, settings.sweep)
        self.frozen = 0
        self.busy = 0
        self.sweeps = 0
        self.suspects: dict[Any, str] = {}
        self.swept_at = self._clock.monotonic()
        self._starved: set[str] = set()
        self._pulses: dict[str, Pulse] = {}
        self._lock = threading.Lock()

    def running_for(self, ref: ActorRef[Any]) -> float | None:
        """Seconds an actor has been in its handler, None where it is not in one for long."""
        return self.judge.running_for(ref, self._clock.monotonic())

    def verdict(self, ref: ActorRef[Any]) -> Verdict:
        """What the detector holds of an actor now, judged by the last sweep."""
        return self.judge.verdict(ref)

    def add_pulse(
        self,
        name: str,
        ping: Callable[[], Any],
        on_silent: Callable[[Pulse, float], object],
        heartbeat: Heartbeat,
    ) -> Pulse:
        """Watch something that runs elsewhere: another process, another machine.

        Args:
            name: what it is called in logs; replaces a pulse of the same name.
            ping: asks it for a sign of life, without blocking: returns a future, or True if it
                is known to live. It is not asked while it was heard of within the interval.
            on_silent: called once, on the detector's thread, when it has been silent for the
                heartbeat's timeout, with the pulse and the seconds.
            heartbeat: timeout and interval.

        Returns:
            The pulse: call its `beat()` for every natural sign of life, `cancel()` at the end.

        """
        pulse = Pulse(name, ping, on_silent, heartbeat, self._clock, self._pulses)
        self._pulses[name] = pulse
        return pulse

    def sweep(self) -> float:
        """Look at everything that runs; seconds until the next look."""
        with self._lock:
            now = self._clock.monotonic()
            self.swept_at = now
            self.sweeps += 1
            late_before = self.judge.late_sweeps
            woken = self._runtime.woken
            while woken:
                self.judge.wake(woken.pop())
            findings = self.judge.sweep(now, gather(self._runtime, self.judge.resting))
            # Behind calls that rest mail has time: there its age is known to within MAIL sweeps.
            rest = self.judge.resting if self.sweeps % MAIL else frozenset[Any]()
            self._runtime.marks.sweep(now, rest)
            late = self.judge.late_sweeps != late_before
            if late:
                logger.info("The failure detector came late and suspects nobody")
            for ref in [r for r in self.suspects if self.judge.verdict(r) is not Verdict.FROZEN]:
                del self.suspects[ref]
            for finding in findings:
                try:
                    self._act(finding)
                except Exception:
                    logger.exception("The failure detector could not treat %s", finding.look.ref)
            self._look_for_starvation(now)
            for pulse in list(self._pulses.values()):
                pulse.look(now, late=late)
            return self.judge.next_in

    # --- what is done about a finding -----------------------------------------------------------

    def _act(self, finding: Finding) -> None:
        look = finding.look
        ref = look.ref
        if finding.verdict is Verdict.BUSY:
            self.busy += 1
            logger.warning("%s has been busy with one message for %.1f s", ref, finding.seconds)
            if self._stream.active:
                self._stream.publish(
                    ActorBusy(ref, look.incarnation, finding.seconds, look.message, finding.cpu)
                )
            return
        self.frozen += 1
        stack = stack_of(look)
        logger.error(
            "%s is %s: %.1f s in one message, action %s\n%s",
            ref,
            "frozen" if finding.verdict is Verdict.FROZEN else "past its hard limit",
            finding.seconds,
            finding.action,
            stack,
        )
        if self._stream.active:
            self._stream.publish(
                ActorFrozen(
                    ref, look.incarnation, finding.seconds, look.message, stack, finding.action
                )
            )
        if finding.action == "alert":
            self.suspects[ref] = ref.path
            return
        self._recover(finding, stack)

    def _recover(self, finding: Finding, stack: str | None) -> None:
        look = finding.look
        ref = look.ref
        carried = look.below
        if not ref._us_fence(look.turn):
            return  # the handler has just ended after all
        for cell in carried:
            cell._us_fence()
        error = FrozenActor(ref.path, finding.seconds, look.message, ref.mailbox_depth(), stack)
        if self._stream.active:
            self._stream.publish(
                ActorFailed(ref, look.incarnation, error, look.message, "frozen", stack)
            )
        free = finding.action == "replace"
        _replace(ref, look.incarnation, Failure(error, look.message, "frozen", stack), free=free)
        for cell in carried:
            # Their turns lay under the frozen one on the same stack: not their fault.
            _replace(cell, cell.incarnation, Failure(error, None, "interrupt", None), free=True)
        if look.source.own:
            # It unwinds a loop of Python code. A thread that waits inside C does not see it before
            # it comes back; until then it counts as a zombie.
            self._runtime.unwind(look.source.strand)

    def _look_for_starvation(self, now: float) -> None:
        starved = set()
        for entry in self._runtime.starving():
            starved.add(entry.dispatcher)
            if entry.dispatcher in self._starved:
                continue
            waiting, threads = entry.waiting, entry.threads
            logger.warning(
                "dispatcher %s is starved: %d actors wait, all of its %d threads are taken",
                entry.dispatcher,
                waiting,
                threads,
            )
            if self._stream.active:
                seconds = now - entry.since
                self._stream.publish(DispatcherStarved(entry.dispatcher, waiting, threads, seconds))
        self._starved = starved


def _replace(ref: Any, incarnation: int, failure: Failure, *, free: bool) -> None:
    guardian = ref._us_guardian
    if isinstance(guardian, Family):
        guardian.child_hung(ref, incarnation, failure, free=free)
    else:
        guardian.child_failed(ref, incarnation, failure)


class Watch(Supervisor):
    """The failure detector and health, each restarted alone."""

    def __init__(self, system: ActorSystem) -> None:
        super().__init__()
        self._us_system = system

    def children(self) -> list[ChildSpec]:
        """Detector and health."""
        system = self._us_system
        specs = [ChildSpec("health", Health, args=(system,))]
        if system.config.detector.enabled:
            specs.insert(0, ChildSpec("detector", Detector, args=(system,)))
        return specs


class Detector(Actor):
    """Sweeps at an interval, on a thread of its own, so that no busy pool can delay it."""

    dispatcher = "thread"

    def __init__(self, system: ActorSystem) -> None:
        super().__init__()
        realm = system.realm
        if realm.watcher is None:
            realm.watcher = Watcher(system)
        self._us_watcher: Watcher = realm.watcher

    def on_start(self) -> None:
        """Begin."""
        self.context.schedule_once(self._us_watcher.judge.next_in, _SWEEP)

    def on_receive(self, message: Any) -> Any:
        """One sweep; the next is set only when it is done, so that sweeps never pile up.

        Any other message is answered with the number of sweeps so far.
        """
        if message is _SWEEP:
            self.context.schedule_once(self._us_watcher.sweep(), _SWEEP)
        return self._us_watcher.sweeps


class Health(Actor):
    """Answers any message with the health report; `system.health` is the registry behind it."""

    def __init__(self, system: ActorSystem) -> None:
        super().__init__()
        self._us_registry = system.health

    def on_receive(self, message: Any) -> HealthReport:
        """The report, now. It may take as long as the slowest check is allowed to."""
        del message
        return self._us_registry.report()
