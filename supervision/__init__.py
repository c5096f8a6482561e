"""Supervision: specs, strategies, supervisors, the system, the failure detector, health."""

from understudy.supervision._control_socket import (
    ControlError,
    ControlSocket,
    NoRunningSystem,
    control_request,
)
from understudy.supervision._detector import Verdict
from understudy.supervision._dynamic import DynamicSupervisor
from understudy.supervision._errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    FrozenActor,
    InvalidChildSpec,
    InvalidStrategy,
    InvalidTree,
    MaxChildren,
    RestartsExhausted,
    SystemFailed,
)
from understudy.supervision._health import (
    CheckResult,
    HealthRegistry,
    HealthReport,
    HealthStatus,
)
from understudy.supervision._poison import PoisonGuard, PoisonMessage
from understudy.supervision._pulse import Pulse
from understudy.supervision._reports import Offender, SupervisorReport
from understudy.supervision._spec import (
    AutoShutdown,
    ChildCounts,
    ChildInfo,
    ChildSpec,
    ChildState,
    Shutdown,
)
from understudy.supervision._stats import SystemStats
from understudy.supervision._strategies import Backoff, OneForAll, OneForOne, RestForOne, Strategy
from understudy.supervision._supervisor import Supervisor
from understudy.supervision._system import ActorSystem
from understudy.supervision._toml import load_tree
from understudy.supervision._tree import TreeNode, tree_data

__all__ = [
    "ActorSystem",
    "AlreadyPresent",
    "AlreadyStarted",
    "AutoShutdown",
    "Backoff",
    "CheckResult",
    "ChildCounts",
    "ChildInfo",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "ChildState",
    "ControlError",
    "ControlSocket",
    "DynamicSupervisor",
    "FrozenActor",
    "HealthRegistry",
    "HealthReport",
    "HealthStatus",
    "InvalidChildSpec",
    "InvalidStrategy",
    "InvalidTree",
    "MaxChildren",
    "NoRunningSystem",
    "Offender",
    "OneForAll",
    "OneForOne",
    "PoisonGuard",
    "PoisonMessage",
    "Pulse",
    "RestForOne",
    "RestartsExhausted",
    "Shutdown",
    "Strategy",
    "Supervisor",
    "SupervisorReport",
    "SystemFailed",
    "SystemStats",
    "TreeNode",
    "Verdict",
    "control_request",
    "load_tree",
    "tree_data",
]
