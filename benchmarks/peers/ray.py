"""Ray actors: a process each, so that every message crosses between processes."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from understudy.benchmarks.suites import _kernel as kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.benchmarks._bench import Bench

PEER = "ray"
# A message costs a hundred times what it costs the others; the figures are per item all the same.
LESS = 50


class Echo:
    """Answers with what it was asked."""

    def echo(self, message: Any) -> Any:
        """The message itself."""
        return message


@contextlib.contextmanager
def _cluster(bench: Bench) -> Iterator[tuple[Any, Any]]:
    """Ray, and the class as a remote one; a local cluster is started once in a process.

    Its processes run in groups of their own, out of the runner's reach: they are ended here.
    """
    ray: Any = importlib.import_module("ray")
    if not ray.is_initialized():
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
    try:
        yield ray, ray.remote(Echo)
    finally:
        if not bench.warming:
            ray.shutdown()


@kernel.TELL.on(PEER)
def tell(bench: Bench) -> None:
    """Calls whose results nobody waits for but the last."""
    with _cluster(bench) as (ray, remote):
        ref = remote.remote()
        ray.get(ref.echo.remote("ready"))
        count = max(1, bench.size // LESS)
        with bench.measure(items=count):
            for _ in range(count - 1):
                ref.echo.remote("ping")
            ray.get(ref.echo.remote("ping"))


@kernel.ASK.on(PEER)
def ask(bench: Bench) -> None:
    """One call after the other."""
    with _cluster(bench) as (ray, remote):
        ref = remote.remote()
        bench.check(ray.get(ref.echo.remote("ping")) == "ping", "a call did not return its answer")
        count = max(1, bench.size // LESS)
        with bench.measure(items=count):
            for _ in range(count):
                ray.get(ref.echo.remote("ping"))
        bench.timed(lambda: ray.get(ref.echo.remote("ping")), count)


@kernel.PIPELINED.on(PEER)
def pipelined(bench: Bench) -> None:
    """A thousand calls, then their results."""
    with _cluster(bench) as (ray, remote):
        ref = remote.remote()
        ray.get(ref.echo.remote("ready"))
        batches = max(1, bench.size // 1_000 // LESS)
        with bench.measure(items=batches * 1_000):
            for _ in range(batches):
                ray.get([ref.echo.remote("ping") for _ in range(1_000)])


@kernel.CREATE.on(PEER)
def create(bench: Bench) -> None:
    """A few actors, one after the other, each ready to answer: an interpreter is started for it."""
    with _cluster(bench) as (ray, remote):
        count = max(1, min(10, bench.size // 2_000))
        refs = []
        with bench.measure(items=count):
            for _ in range(count):
                refs.append(remote.remote())
                ray.get(refs[-1].echo.remote("ready"))
