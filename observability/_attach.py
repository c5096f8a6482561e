"""Putting a system under observation, once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from understudy.observability._metrics import Metrics

if TYPE_CHECKING:
    from understudy.supervision import ActorSystem

_LOCK = threading.Lock()


def attach(system: ActorSystem) -> Metrics:
    """The metrics of `system`, made at the first call; the same object at every later one.

    `ActorSystem(metrics=True)` calls this, and so does a gateway, whose `/metrics` shows them; they
    are `system.metrics` from then on, and end with the system. The observation costs nothing until
    somebody looks: see `Metrics`.
    """
    with _LOCK:
        found = system.metrics
        if not isinstance(found, Metrics):
            found = system.metrics = Metrics(system)
        return found
