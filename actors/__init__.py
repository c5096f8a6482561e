"""Actors: the kernel, and the actors that keep a journal."""

from __future__ import annotations

from pykka import traversable

from understudy.actors._actor import Actor, ThreadingActor
from understudy.actors._clock import Clock, SystemClock
from understudy.actors._config import (
    Config,
    DetectorConfig,
    DispatcherConfig,
    EffectsConfig,
    GatewayConfig,
    JournalConfig,
    PersistenceConfig,
    RetentionConfig,
    SessionsConfig,
)
from understudy.actors._context import Context, MessageInfo
from understudy.actors._envelope import Talk
from understudy.actors._errors import (
    ActorDeadError,
    AskCycle,
    BlockingAsk,
    ConfigError,
    DeathPact,
    Fenced,
    Forked,
    Ignore,
    InvalidMailbox,
    LoopStuck,
    MailboxFull,
    StartFailed,
    SystemStopped,
    Timeout,
    UnknownDispatcher,
)
from understudy.actors._event_stream import EventStream, Subscription
from understudy.actors._events import (
    ActorBusy,
    ActorEvent,
    ActorFailed,
    ActorFrozen,
    ActorRestarted,
    ActorStarted,
    ActorStopped,
    DeadLetter,
    DispatcherStarved,
    Terminated,
)
from understudy.actors._exit import Exit, Failed, RestartLimit
from understudy.actors._future import Future, ThreadingFuture, get_all
from understudy.actors._guardian import Directive, Failure, Family, Guardian, Restart
from understudy.actors._handle import FAIL
from understudy.actors._heartbeat import Heartbeat, Stamp
from understudy.actors._intercept import Interceptor, intercept
from understudy.actors._journal_actor import JournalActor
from understudy.actors._journal_handle import JournalHandle, PersistenceIdInUse
from understudy.actors._mailbox import Mailbox, MailboxStatistics
from understudy.actors._messages import Msg
from understudy.actors._persistent import NotPersistable, PersistentActor
from understudy.actors._projection import Projection
from understudy.actors._props import Props
from understudy.actors._proxy import ActorProxy, CallableProxy
from understudy.actors._recovery import MissingEvents, Recovered, RecoveryFailed
from understudy.actors._ref import ActorRef
from understudy.actors._registry import ActorRegistry
from understudy.actors._running import Running
from understudy.actors._runtime import Runtime, RuntimeStatistics, Starving, on_new_runtime
from understudy.actors._silence import StoreSilent
from understudy.actors._strand import Unwind
from understudy.actors._time_travel import fork, replay
from understudy.actors._timers import Timer

__all__ = [
    "FAIL",
    "Actor",
    "ActorBusy",
    "ActorDeadError",
    "ActorEvent",
    "ActorFailed",
    "ActorFrozen",
    "ActorProxy",
    "ActorRef",
    "ActorRegistry",
    "ActorRestarted",
    "ActorStarted",
    "ActorStopped",
    "AskCycle",
    "BlockingAsk",
    "CallableProxy",
    "Clock",
    "Config",
    "ConfigError",
    "Context",
    "DeadLetter",
    "DeathPact",
    "DetectorConfig",
    "Directive",
    "DispatcherConfig",
    "DispatcherStarved",
    "EffectsConfig",
    "EventStream",
    "Exit",
    "Failed",
    "Failure",
    "Family",
    "Fenced",
    "Forked",
    "Future",
    "GatewayConfig",
    "Guardian",
    "Heartbeat",
    "Ignore",
    "Interceptor",
    "InvalidMailbox",
    "JournalActor",
    "JournalConfig",
    "JournalHandle",
    "LoopStuck",
    "Mailbox",
    "MailboxFull",
    "MailboxStatistics",
    "MessageInfo",
    "MissingEvents",
    "Msg",
    "NotPersistable",
    "PersistenceConfig",
    "PersistenceIdInUse",
    "PersistentActor",
    "Projection",
    "Props",
    "Recovered",
    "RecoveryFailed",
    "Restart",
    "RestartLimit",
    "RetentionConfig",
    "Running",
    "Runtime",
    "RuntimeStatistics",
    "SessionsConfig",
    "Stamp",
    "StartFailed",
    "Starving",
    "StoreSilent",
    "Subscription",
    "SystemClock",
    "SystemStopped",
    "Talk",
    "Terminated",
    "ThreadingActor",
    "ThreadingFuture",
    "Timeout",
    "Timer",
    "UnknownDispatcher",
    "Unwind",
    "fork",
    "get_all",
    "intercept",
    "on_new_runtime",
    "replay",
    "traversable",
]
