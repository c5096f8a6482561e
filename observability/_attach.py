"""Putting a system under observation, once."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from understudy.observability._metrics import Metrics

if TYPE_CHECKING:
    from understudy.supervision import ActorSystem

_ATTACHED: weakref.WeakKeyDictionary[ActorSystem, Metrics] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def attach(system: ActorSystem) -> Metrics:
    """The metrics of `system`, made at the first call; the same object at every later one.

    `ActorSystem(metrics=True)` calls this, and so does a gateway, whose `/metrics` shows them. The
    observation costs nothing until somebody looks: see `Metrics`.
    """
    with _LOCK:
        found = _ATTACHED.get(system)
        if found is None:
            found = Metrics(system)
            _ATTACHED[system] = found
        return found
