"""The kernel suite: messages, lives, memory and blocking, beside other libraries."""

from __future__ import annotations

from understudy.benchmarks.peers import actors, coroutines, otp, queues, ray, thespian, xoscar
from understudy.benchmarks.suites import _kernel

__all__ = ["_kernel", "actors", "coroutines", "otp", "queues", "ray", "thespian", "xoscar"]
