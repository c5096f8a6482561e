"""Erlang/OTP beside ours: the same measures as an escript, run where `escript` is on the path."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.benchmarks.suites import _kernel as kernel
from understudy.benchmarks.suites import _supervision as supervision

if TYPE_CHECKING:
    from understudy.benchmarks._bench import Bench
    from understudy.benchmarks._scenario import Scenario

PROGRAM = Path(__file__).with_name("otp.escript")
LIMIT = 120


def measure(bench: Bench, name: str) -> None:
    """Run one measure; the virtual machine inherits the cores this process is pinned to."""
    if bench.warming:
        return  # it warms up by itself
    found = subprocess.run(
        ["escript", str(PROGRAM), name, str(bench.size)],
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    if found.returncode:
        raise RuntimeError(f"escript ended with {found.returncode}: {found.stdout}{found.stderr}")
    answer = json.loads(found.stdout.splitlines()[-1])
    samples = answer.pop("samples")
    bench.external(**answer)
    bench.latencies(ns / 1e9 for ns in samples)


def _bind(scenario: Scenario, name: str) -> None:
    @scenario.on("otp")
    def body(bench: Bench) -> None:
        measure(bench, name)


for _scenario, _name in (
    (kernel.TELL, "tell"),
    (kernel.ASK, "ask"),
    (kernel.RING, "ring"),
    (kernel.PING_PONG, "ping_pong"),
    (kernel.CREATE, "create"),
    (kernel.IDLE, "idle"),
    (kernel.STOP, "stop"),
    (supervision.CRASH, "crash"),
    (supervision.STORM, "storm"),
    (supervision.GROUP, "group"),
    (supervision.ESCALATION, "escalation"),
):
    _bind(_scenario, _name)
