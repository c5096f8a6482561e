"""Runs measurements in child processes, round by round, and survives whatever they do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from understudy.benchmarks import _machine
from understudy.benchmarks._libraries import LIBRARIES, SLOW, availability, is_ours
from understudy.benchmarks._nursery import Nursery
from understudy.benchmarks._nursery import possible as _nursery_possible
from understudy.benchmarks._paths import shortened
from understudy.benchmarks._results import Measurement, Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from understudy.benchmarks._scenario import Scenario

# Left to a child that is past its limit for saying where it hangs.
GRACE = 2.0
# What `--quick` promises is two minutes, the report included. Nothing in it needs more than a few
# seconds even on a busy machine, so that a library that hangs is found out early.
QUICK_SECONDS = 95.0
QUICK_LIMIT = 20.0
# A library cut off so often in a quick run is not tried again in it.
PATIENCE = 2


@dataclass(frozen=True)
class Options:
    """How a run is to be done.

    Args:
        quick: small sizes and few rounds.
        rounds: how often each measurement is taken; optional, 2 in a quick run and 3 in a full
            one if absent (a scenario may ask for fewer).
        peers: libraries beside ours; optional, all that are installed if absent.
        pin: cores that pinned scenarios run on; optional, the first one if absent, and an empty
            tuple pins nothing.
        limit: seconds for one measurement; optional, the scenario's own limit if absent, and no
            more than `QUICK_LIMIT` in a quick run.
        budget: messages a Savina benchmark may need; optional, 4,000 quick and 20,000 full.
        profile: write a profile of each scenario into `out`.
        out: directory for profiles and results.
        directory: parent of scratch directories, on the disk to be measured; optional, the
            system's temporary directory if absent.
    """

    quick: bool = False
    rounds: int | None = None
    peers: tuple[str, ...] | None = None
    pin: tuple[int, ...] | None = None
    limit: float | None = None
    budget: int | None = None
    profile: bool = False
    out: Path | None = None
    directory: Path | None = None

    @property
    def turns(self) -> int:
        """How many rounds."""
        return self.rounds if self.rounds is not None else (2 if self.quick else 3)

    @property
    def messages(self) -> int:
        """The budget of one Savina benchmark."""
        return self.budget if self.budget is not None else (4_000 if self.quick else 20_000)

    @property
    def seconds(self) -> float | None:
        """When a run stops taking further rounds; None where it takes all that were asked for."""
        return QUICK_SECONDS if self.quick and self.rounds is None else None

    def limit_of(self, scenario: Scenario) -> float:
        """Seconds that one measurement of a scenario may take."""
        if self.limit is not None:
            return self.limit
        return min(scenario.limit, QUICK_LIMIT) if self.quick else scenario.limit


@dataclass(frozen=True)
class Step:
    """One measurement to take."""

    scenario: Scenario
    peer: str
    round: int
    size: int
    point: int | None = None


class Watcher(Protocol):
    """Who is told how the run goes on: a progress bar, plain lines, a test."""

    def began(self, results: Results, steps: Sequence[Step]) -> None:
        """The run begins."""

    def taking(self, step: Step) -> None:
        """A measurement begins."""

    def took(self, step: Step, measurement: Measurement) -> None:
        """A measurement is done, or failed."""

    def finished(self, results: Results) -> None:
        """The run is over, interrupted or not."""


def plan(scenarios: Iterable[Scenario], options: Options) -> tuple[list[Step], dict[str, str]]:
    """Decide which measurements to take, in which order, and which libraries are absent.

    Rounds are interleaved: in each round every library takes its turn at a scenario before the
    next scenario, and the order of the libraries turns by one from round to round, so that
    neither a slow minute of the machine nor a place in the row always meets the same one.
    """
    scenarios = list(scenarios)
    wanted = {p for s in scenarios for p in s.bodies if _asked_for(p, options)}
    here, absent = availability(sorted(wanted))
    if options.peers is not None:
        absent |= availability(options.peers)[1]
    elif options.quick:
        slow = {name: SLOW for name in here if (known := LIBRARIES.get(name)) and known.start}
        here, absent = [name for name in here if name not in slow], absent | slow
    steps: list[Step] = []
    for turn in range(options.turns):
        for item in scenarios:
            if turn >= _rounds(item, options):
                continue
            peers = [p for p in item.bodies if p in here]
            shift = turn % len(peers) if peers else 0
            for peer in peers[shift:] + peers[:shift]:
                steps += _steps(item, peer, turn, options)
    return steps, absent


def _asked_for(peer: str, options: Options) -> bool:
    known = LIBRARIES.get(peer)
    return (
        options.peers is None
        or known is None
        or known.ours
        or peer.partition("-")[0] in options.peers
    )


def _rounds(item: Scenario, options: Options) -> int:
    if options.rounds is not None:
        return options.turns
    wanted = item.quick_rounds if options.quick and item.quick_rounds else item.rounds
    return options.turns if wanted is None else min(wanted, options.turns)


def _steps(item: Scenario, peer: str, turn: int, options: Options) -> list[Step]:
    if not item.points:
        return [Step(item, peer, turn, item.size_for(peer, quick=options.quick))]
    points = item.points[: item.quick_points] if options.quick else item.points
    return [Step(item, peer, turn, point, point) for point in points]


def take(step: Step, options: Options, nursery: Nursery | None = None) -> Measurement:
    """Take one measurement in a child process; whatever the child does, this returns.

    Args:
        step: which.
        options: how.
        nursery: what to fork the child from; optional, a fresh interpreter if absent.
    """
    library = LIBRARIES.get(step.peer)
    limit = options.limit_of(step.scenario) + (library.start if library else 0.0)
    order: dict[str, Any] = {
        "scenario": step.scenario.name,
        "origin": step.scenario.origin,
        "peer": step.peer,
        "size": step.size,
        "budget": options.messages,
        "limit": limit,
    }
    if step.scenario.pinned and not (library and library.processes):
        order["pin"] = list(cores(options))
    if options.directory is not None:
        order["directory"] = str(options.directory)
    begun = time.perf_counter()
    if nursery is None:
        answer, errors, status = _child(_command(step, order, options), limit)
    else:
        answer, errors, status = nursery.run(order, limit + GRACE)
    measurement = Measurement(step.scenario.name, step.peer, step.round, step.point)
    if status is None:
        measurement.cut_off = True
        where = _hanging_at(errors)
        measurement.cause = f"no result within {limit:g} s" + (f", in {where}" if where else "")
        measurement.figures["process"] = time.perf_counter() - begun
        return measurement
    figures = _parse(answer)
    if figures is None:
        measurement.cause = shortened(_death(status, errors))
    elif "cause" in figures:
        measurement.cause = shortened(figures["cause"])
        measurement.figures = {"trace": shortened(figures.get("trace", ""))}
    else:
        measurement.value = figures.pop("value")
        measurement.figures = figures
    measurement.figures["process"] = time.perf_counter() - begun
    if nursery is not None and nursery.used is not None:
        measurement.figures["process_cpu"] = nursery.used
    return measurement


def cores(options: Options) -> tuple[int, ...]:
    """The cores of pinned scenarios; none means they are not pinned."""
    if options.pin is not None:
        return options.pin
    return tuple(_machine.cores()[:1])


def _command(step: Step, order: dict[str, Any], options: Options) -> list[str]:
    child = [sys.executable, "-m", "understudy.benchmarks.worker"]
    if not options.profile or options.out is None or step.round:
        return [*child, json.dumps(order)]
    stem = f"{step.scenario.name}-{step.peer}".replace("/", "-")
    folder = options.out / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    sampler = shutil.which("py-spy") or shutil.which(
        "py-spy", path=str(Path(sys.executable).parent)
    )
    if sampler:
        flame = folder / f"{stem}.svg"
        record = [sampler, "record", "--rate", "500", "--threads", "-o", str(flame), "--"]
        return [*record, *child, json.dumps(order)]
    order["profile"] = str(folder / f"{stem}.txt")
    return [*child, json.dumps(order)]


def _child(command: list[str], limit: float) -> tuple[str, str, int | None]:
    """Run a command in a session of its own; status None when it had to be cut off."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            out, err = child.communicate(timeout=limit + GRACE)
            return out, err, child.returncode
        except subprocess.TimeoutExpired:
            _kill(child)
            out, err = child.communicate()
            return out, err, None
        finally:
            _kill(child)  # what it left behind, also when Ctrl-C came


def _kill(child: subprocess.Popen[str]) -> None:
    """Kill a child and all it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _parse(answer: str) -> dict[str, Any] | None:
    for line in reversed(answer.splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return None


def _hanging_at(errors: str) -> str:
    """The frame of the main thread that says most: the innermost one outside the library.

    faulthandler prints the threads, each innermost frame first; the main thread stands last.
    """
    main = re.split(r"^(?:Current )?[Tt]hread 0x.*$", errors, flags=re.MULTILINE)[-1]
    frames = re.findall(r'File "([^"]+)", line (\d+) in (\S+)', main)
    for path, line, function in frames:
        if f"{os.sep}lib{os.sep}python" not in path and not path.startswith("<"):
            return f"{function} ({Path(path).name}:{line})"
    return ""


def _death(status: int, errors: str) -> str:
    last = next((line for line in reversed(errors.splitlines()) if line.strip()), "")
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}" + (f": {last}" if last else "")
    return f"ended with status {status}" + (f": {last}" if last else " and no answer")


def run(
    scenarios: Iterable[Scenario],
    options: Options,
    watcher: Watcher,
    *,
    path: str | Path | None = None,
    command: str = "",
) -> Results:
    """Take all measurements and return the results.

    Args:
        scenarios: what to measure.
        options: how.
        watcher: who is told.
        path: a results file, written anew after each measurement; optional.
        command: the command line, kept in the results; optional.

    Ctrl-C ends the run: the child is killed, the results so far are saved and returned with
    `run["interrupted"]` true. A child that crashes, hangs or answers wrongly costs its own
    measurement only, and is not tried again in later rounds. A quick run without a number of
    rounds of its own begins no further one after `QUICK_SECONDS`; `run["left_out"]` says how many
    measurements that left out.
    """
    scenarios = list(scenarios)
    steps, absent = plan(scenarios, options)
    results = Results(
        run={
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "command": command,
            "quick": options.quick,
            "rounds": options.turns,
            "budget": options.messages,
            "pin": list(cores(options)),
            "versions": _machine.versions(),
            "revision": _machine.revision(),
            "interrupted": False,
        },
        machine=_machine.describe(options.directory or Path()),
        scenarios={s.name: _describe(s) for s in scenarios},
        absent=absent,
    )
    begun = time.perf_counter()
    stack = contextlib.ExitStack()
    failed: dict[tuple[str, str, int | None], Measurement] = {}
    hung: dict[str, list[str]] = defaultdict(list)
    watcher.began(results, steps)
    try:
        nursery = stack.enter_context(_nursery(scenarios, options))
        for done, step in enumerate(steps):
            late = options.seconds is not None and time.perf_counter() - begun > options.seconds
            if late and step.round:
                results.run["left_out"] = len(steps) - done  # all of later rounds, as it is
                break
            watcher.taking(step)
            before = failed.get((step.scenario.name, step.peer, step.point))
            if before is not None:
                watcher.took(step, before)
                continue
            if options.quick and len(hung[step.peer]) >= PATIENCE and not is_ours(step.peer):
                measurement = _left_out(step, hung[step.peer])
            else:
                measurement = take(step, options, nursery)
                if measurement.cut_off:
                    hung[step.peer].append(step.scenario.name)
            if measurement.cause is not None:
                failed[step.scenario.name, step.peer, step.point] = measurement
            results.add(measurement)
            if path is not None:
                results.save(path)
            watcher.took(step, measurement)
    except KeyboardInterrupt:
        results.run["interrupted"] = True
    stack.close()
    results.run["seconds"] = round(time.perf_counter() - begun, 1)
    results.machine["load_after"] = _machine.load()
    results.machine["noise_after"] = _machine.noise()
    if path is not None:
        results.save(path)
    watcher.finished(results)
    return results


def _left_out(step: Step, hung: list[str]) -> Measurement:
    cause = f"not tried: cut off {len(hung)} times before, in {' and '.join(hung)}"
    return Measurement(step.scenario.name, step.peer, step.round, step.point, cause=cause)


def _nursery(
    scenarios: list[Scenario], options: Options
) -> contextlib.AbstractContextManager[Nursery | None]:
    """What children are forked from; a profiler needs to start them itself."""
    if options.profile or not _nursery_possible():
        return contextlib.nullcontext()
    return Nursery(list(dict.fromkeys(s.origin for s in scenarios)))


def _describe(item: Scenario) -> dict[str, Any]:
    return {
        "title": item.title,
        "unit": item.unit,
        "metric": item.metric.value,
        "suite": item.suite,
        "pinned": item.pinned,
        "doc": item.doc,
        "peers": list(item.bodies),
    }
