"""The test kit: a manual clock, settling, probes, recorders, and pytest fixtures.

Everything here waits on facts; nothing sleeps. The fixtures come with the package:
`system`, `clock` and `probe` (see `understudy.testing.plugin`).
"""

from understudy.testing._clock import ManualClock
from understudy.testing._probe import Received, TestProbe
from understudy.testing._recorder import EventRecorder
from understudy.testing._settle import settle
from understudy.testing._strict import EarlyTell, StrictSends

__all__ = [
    "EarlyTell",
    "EventRecorder",
    "ManualClock",
    "Received",
    "StrictSends",
    "TestProbe",
    "settle",
]
