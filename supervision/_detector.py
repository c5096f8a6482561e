"""The failure detector's judgement, free of threads and clocks: looks go in, findings come out.

Liveness is read from stamps, never asked for through a mailbox: an actor that is not inside a
handler is alive by definition and is not looked at, so a million idle actors cost nothing. What is
inside a handler is one of:

- *busy*: the CPU clock of its thread moves, or its coroutine takes steps. Reported when it has
  been one message for longer than the timeout; recovered only past a hard limit.
- *waiting*: nothing moves, but a lease covers it (`context.heartbeat(lease=)`, the deadline of
  the message, the class's own lease), or it waits for the answer of another actor, which is then
  the one to be judged.
- *frozen*: nothing has moved for the whole timeout, and no lease.

When the detector itself comes late, it learns nothing about others from the silence: every
window begins anew.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.actors import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Finding", "Judge", "Look", "Verdict"]

STILL = 0.0005
"""Seconds of CPU per sweep below which a thread counts as standing still. A blocked thread uses
none at all; one of a hundred that fight for the interpreter still gets ten times as much."""
TIDY = 20
"""Sweeps after which all that rests is looked through: what has ended is forgotten, what will have
no lease before the next time is looked at again."""
LATE = 2.0
"""A sweep that comes after this many intervals is late: the host stalled, or starves us."""


class Verdict(enum.Enum):
    """What the detector says about an actor."""

    ALIVE = "alive"
    BUSY = "busy"
    WAITING = "waiting"
    FROZEN = "frozen"
    OVERDUE = "overdue"
    """Busy past its hard limit: met like a frozen one."""


@dataclass(slots=True)
class Look:
    """One actor inside a handler, as one sweep sees it.

    Attributes:
        ref: the actor.
        incarnation: its number.
        turn: token of this handler call: another call, another token.
        progress: anything that changes when the handler visibly moves (steps of a coroutine).
        cpu: seconds on the CPU clock of its thread; None where there is no thread or no clock.
        on_thread: whether a thread is inside the handler now (a suspended coroutine has none).
        lease_until: monotonic time until which standing still is legal.
        waiting: whether it waits for the answer of another living actor.
        rule: its heartbeat rule; None for actors that are only reported.
        message: what it handles.
        source: what the look was taken from, for whoever acts on the finding.
        below: actors whose handlers wait under this one on the same stack.
        rests: the suspended call, which may be let rest (see `Judge.resting`); None for what must
            be looked at each time.

    """

    ref: Any
    incarnation: int
    turn: Any
    progress: Any = None
    cpu: float | None = None
    on_thread: bool = True
    lease_until: float | None = None
    waiting: bool = False
    rule: Heartbeat | None = None
    message: Any = None
    source: Any = None
    below: tuple[Any, ...] = ()
    rests: Any = None


@dataclass(slots=True)
class Finding:
    """Something to report or act upon.

    Attributes:
        look: the look it is about.
        verdict: `BUSY`, `FROZEN` or `OVERDUE`.
        seconds: how long it has been in this handler.
        still: for how many of them nothing moved.
        cpu: CPU seconds used in this handler as far as it was seen; None where unknown.
        action: `"restart"`, `"replace"` or `"alert"`.

    """

    look: Look
    verdict: Verdict
    seconds: float
    still: float
    cpu: float | None
    action: str


class _Track:
    """What is remembered about one handler call while it lasts."""

    __slots__ = (
        "cpu", "cpu_first", "progress", "ref", "reported", "seen", "since", "still_since",
        "verdict",
    )  # fmt: skip

    def __init__(self, now: float, look: Look) -> None:
        self.ref = look.ref
        self.verdict = Verdict.ALIVE
        self.since = now
        self.still_since = now
        self.cpu = self.cpu_first = look.cpu
        self.progress = look.progress
        self.reported: set[Verdict] = set()
        self.seen = 0


class Judge:
    """Judges looks, sweep by sweep. Not thread-safe: one detector owns it.

    Args:
        timeout: seconds for actors without a rule of their own.
        interval: seconds between sweeps.

    Attributes:
        resting: suspended calls within a long lease. They need not be given to `sweep`; where they
            are not, each costs a few nanoseconds a sweep.

    """

    def __init__(self, timeout: float = 4.0, interval: float = 0.5) -> None:
        self.timeout = timeout
        self.interval = interval
        self.late_sweeps = 0
        self._alert = Heartbeat(timeout=timeout, on_frozen="alert")
        self._tracks: dict[Any, _Track] = {}
        self._resting: dict[Any, _Track] = {}
        self.resting: set[Any] = set()
        self._by_ref: dict[int, list[_Track]] = {}
        self._last: float | None = None
        self._due = interval
        self._sweep = 0

    @property
    def next_in(self) -> float:
        """Seconds until the next sweep: the interval, or less where a rule asks for more."""
        return self._due

    @property
    def watched(self) -> int:
        """How many handlers are known to run, those within a long lease included."""
        return len(self._tracks) + len(self._resting)

    def running_for(self, ref: Any, now: float) -> float | None:
        """Seconds since the first sweep that saw an actor in its present handler."""
        since = [track.since for track in tuple(self._by_ref.get(id(ref), ()))]
        return now - min(since) if since else None

    def verdict(self, ref: Any) -> Verdict:
        """What the last sweep held of an actor."""
        for track in tuple(self._by_ref.get(id(ref), ())):
            return track.verdict
        return Verdict.ALIVE

    def verdicts(self) -> dict[Any, Verdict]:
        """What the last sweep held of every actor that was inside a handler."""
        tracks = [*self._tracks.values(), *self._resting.values()]
        return {track.ref: track.verdict for track in tracks}

    def sweep(self, now: float, looks: Iterable[Look]) -> list[Finding]:
        """Judge everything that is inside a handler at `now` (monotonic seconds)."""
        last, self._last = self._last, now
        late = last is not None and now - last > self._due * LATE
        if late:
            # While we were away, so may everybody have been: nobody is suspected for it.
            self.late_sweeps += 1
            assert last is not None
            away = now - last
            for tracks in (self._tracks, self._resting):
                for track in tracks.values():
                    track.since += away
                    track.still_since += away
        self._sweep += 1
        findings: list[Finding] = []
        due = self.interval
        for look in looks:
            rule = look.rule
            if rule is not None and rule.interval is not None and rule.interval < due:
                due = rule.interval
            key = (id(look.ref), look.incarnation, look.turn)
            known = self._tracks.get(key)
            if known is None:
                known = self._resting.pop(key, None)
                if known is None:
                    known = _Track(now, look)
                    known.seen = self._sweep
                    self._tracks[key] = known
                    self._by_ref.setdefault(id(look.ref), []).append(known)
                    continue
                self._tracks[key] = known
            known.seen = self._sweep
            finding = self._judge(now, look, known)
            if finding is not None:
                findings.append(finding)
            elif known.verdict is Verdict.WAITING and self._rests(now, look, known):
                self._resting[key] = self._tracks.pop(key)
        self._due = due
        for key in [key for key, track in self._tracks.items() if track.seen != self._sweep]:
            self._forget(self._tracks.pop(key))
        if self._sweep % TIDY == 0:
            self._tidy(now)
        return findings

    def wake(self, call: Any) -> None:
        """Look at a call again from the next sweep on: it has beaten, its lease may be another."""
        self.resting.discard(call)

    def _rests(self, now: float, look: Look, track: _Track) -> bool:
        """Let a call rest that stands still by leave; whether it does.

        Looks begin again a timeout before the lease ends, so that what stands still by then is
        known for certain.
        """
        if look.rests is None:
            return False
        rule = look.rule or self._alert
        until = look.lease_until or 0.0
        if rule.lease is not None:
            until = max(until, track.since + rule.lease)
        until -= rule.timeout
        if until <= now + TIDY * self.interval or not look.rests.rest(until, look.progress):
            return False
        self.resting.add(look.rests)
        return True

    def _tidy(self, now: float) -> None:
        soon = now + TIDY * self.interval
        self.resting = {call for call in self.resting if not call.over and call.quiet_until > soon}
        for key in [key for key in self._resting if key[2] not in self.resting]:
            # Those woken are found again by the next sweep, if they have not ended.
            if key[2].over:
                self._forget(self._resting.pop(key))

    def _forget(self, track: _Track) -> None:
        of_ref = self._by_ref[id(track.ref)]
        of_ref.remove(track)
        if not of_ref:
            del self._by_ref[id(track.ref)]

    def _judge(self, now: float, look: Look, track: _Track) -> Finding | None:
        moved = look.progress != track.progress
        if look.cpu is not None:
            moved = moved or track.cpu is None or look.cpu - track.cpu > STILL
        track.cpu = look.cpu
        track.progress = look.progress
        if track.cpu_first is None:
            track.cpu_first = look.cpu
        if moved:
            track.still_since = now
        rule = look.rule or self._alert
        verdict = judge(
            in_handler=now - track.since,
            still=now - track.still_since,
            rule=rule,
            leased=look.lease_until is not None and now < look.lease_until,
            within_lease=rule.lease is not None and now - track.since < rule.lease,
            waiting=look.waiting,
        )
        track.verdict = verdict
        if verdict in (Verdict.ALIVE, Verdict.WAITING):
            # Moving again: a later standstill of the same handler is news.
            track.reported.discard(Verdict.FROZEN)
            return None
        if verdict in track.reported:
            return None
        track.reported.add(verdict)
        action = "alert"
        if verdict is not Verdict.BUSY and look.rule is not None:
            action = rule.on_frozen
            if look.on_thread and look.cpu is None:
                # Without a CPU clock computing and standing still look the same.
                action = "alert"
        used = None
        if look.cpu is not None and track.cpu_first is not None:
            used = look.cpu - track.cpu_first
        return Finding(look, verdict, now - track.since, now - track.still_since, used, action)


def judge(
    *,
    in_handler: float,
    still: float,
    rule: Heartbeat,
    leased: bool = False,
    within_lease: bool = False,
    waiting: bool = False,
) -> Verdict:
    """The decision table, for an actor that is inside a handler.

    Args:
        in_handler: seconds in this handler.
        still: seconds since anything moved.
        rule: the heartbeat rule that holds.
        leased: whether a lease taken for this handler still runs.
        within_lease: whether the rule's own lease still runs.
        waiting: whether it waits for another actor's answer.

    """
    if leased or within_lease:
        return Verdict.WAITING
    if rule.hard_limit is not None and in_handler >= rule.hard_limit and not waiting:
        return Verdict.OVERDUE
    if in_handler < rule.timeout:
        return Verdict.ALIVE
    if waiting:
        return Verdict.WAITING
    if still >= rule.timeout:
        return Verdict.FROZEN
    if still < rule.timeout / 2:
        return Verdict.BUSY
    # It moved not long ago: neither computing nor silent long enough to say.
    return Verdict.ALIVE
