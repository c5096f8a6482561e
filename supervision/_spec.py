"""Child specs: what a supervisor must know to start, judge and stop a child."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pykka

from understudy.actors import Heartbeat, Mailbox, Props, Restart
from understudy.supervision._errors import InvalidChildSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from understudy.actors import ActorRef

__all__ = ["AutoShutdown", "ChildCounts", "ChildInfo", "ChildSpec", "ChildState", "Shutdown"]

SHUTDOWN_SECONDS = 5.0
"""What a worker is given to clean up, as in OTP."""


class Shutdown(enum.Enum):
    """How long a child may take to stop, where seconds do not say it."""

    BRUTAL = "brutal"
    """Not at all: fenced at once, `on_stop` is not called, the reason is `KILLED`."""
    INFINITY = "infinity"
    """As long as it takes. The default of supervisors, whose children have limits themselves."""


class AutoShutdown(enum.Enum):
    """When a supervisor ends because children marked `significant` have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class ChildState(enum.Enum):
    """Where a child is in its life, as its supervisor sees it."""

    RUNNING = "running"
    STARTING = "starting"
    RESTARTING = "restarting"
    """Between two incarnations; waiting for a backoff included."""
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, init=False)
class ChildSpec:
    """Everything a supervisor knows about a child before it runs.

    Args:
        id: name of the child among its siblings, and the last part of its path.
        cls: the actor class (or `Props`, which brings its arguments along).
        args: positional arguments of every incarnation; optional, and if absent there are none.
        kwargs: keyword arguments of every incarnation; optional, and if absent there are none.
        restart: when an ended child is started again; optional, and if absent it is `PERMANENT`.
        shutdown: seconds it may take to stop before it is fenced and counted as killed, or
            `Shutdown.BRUTAL` or `Shutdown.INFINITY`; optional, and if absent it is 5.0 for a
            worker and `INFINITY` for a supervisor.
        significant: whether its end may end the supervisor (see `Supervisor.auto_shutdown`);
            optional, and if absent it is False. Not for permanent children, which never end.
        heartbeat: how a hang is found and met; optional, and if absent the class decides.
        ask_failures: `"reply"` or `"supervise"`, who learns of an exception in an ask; optional,
            and if absent the class decides.
        dispatcher: where it runs; optional, and if absent the class decides.
        mailbox: its user lane; optional, and if absent the class decides.
        persistence_id: the stream of a persistent actor; optional, and if absent the actor decides.

    Raises:
        InvalidChildSpec: a field cannot be used, is missing or unknown. The spec is checked as a
            whole; `error.problems` has one error per field.

    """

    id: str
    cls: type[Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    restart: Restart
    shutdown: float | Shutdown
    significant: bool
    heartbeat: Heartbeat | None
    ask_failures: str | None
    dispatcher: str | None
    mailbox: Mailbox | None
    persistence_id: str | None

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - OTP's word for it
        cls: Any = None,
        args: Any = (),
        kwargs: Any = None,
        restart: Restart | str = Restart.PERMANENT,
        shutdown: float | Shutdown | str | None = None,
        significant: bool = False,
        heartbeat: Heartbeat | None = None,
        ask_failures: str | None = None,
        dispatcher: str | None = None,
        mailbox: Mailbox | None = None,
        persistence_id: str | None = None,
        **unknown: Any,
    ) -> None:
        if isinstance(cls, Props):
            args = (*cls.args, *args)
            kwargs = {**cls.kwargs, **(kwargs or {})}
            cls = cls.cls
        if isinstance(restart, str):
            restart = _member(Restart, restart)
        if isinstance(shutdown, str):
            shutdown = _member(Shutdown, shutdown)
        elif isinstance(shutdown, int) and not isinstance(shutdown, bool):
            shutdown = float(shutdown)
        values: dict[str, Any] = {
            "id": id,
            "cls": cls,
            "args": tuple(args) if isinstance(args, (tuple, list)) else args,
            "kwargs": {} if kwargs is None else kwargs,
            "restart": restart,
            "shutdown": _default_shutdown(cls) if shutdown is None else shutdown,
            "significant": significant,
            "heartbeat": heartbeat,
            "ask_failures": ask_failures,
            "dispatcher": dispatcher,
            "mailbox": mailbox,
            "persistence_id": persistence_id,
        }
        InvalidChildSpec.raise_any(_problems(values, unknown))
        values["kwargs"] = dict(values["kwargs"])
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def type(self) -> str:
        """`"supervisor"` or `"worker"`, as counted by `count_children()`."""
        return "supervisor" if is_supervisor(self.cls) else "worker"

    def __hash__(self) -> int:
        return hash((self.id, self.cls))


def is_supervisor(cls: Any) -> bool:
    """Whether an actor class is a supervisor."""
    return getattr(cls, "_us_supervisor", False) is True


def _default_shutdown(cls: Any) -> float | Shutdown:
    return Shutdown.INFINITY if is_supervisor(cls) else SHUTDOWN_SECONDS


def _member(kind: type[enum.Enum], value: str) -> Any:
    """The member with this value or name; the value itself, to be refused, where there is none."""
    for member in kind:
        if value.lower() in (str(member.value).lower(), member.name.lower()):
            return member
    return value


def _names(kind: type[enum.Enum]) -> str:
    return ", ".join(f"{kind.__name__}.{member.name}" for member in kind)


def name_problem(name: Any) -> str | None:
    """What a child's name must be, where it is not that; None where it is fine."""
    if isinstance(name, str) and name and "/" not in name:
        return None
    return 'a text of one character or more, without "/"'


def check_class(cls: Any, persistence_id: str | None = None) -> None:
    """Refuse what is no actor class, and a history for an actor that keeps none.

    Raises:
        InvalidChildSpec: with the field and what would do.

    """
    if not _is_actor_class(cls):
        raise InvalidChildSpec("cls", cls, "an Actor class")
    if persistence_id is not None and not _keeps_history(cls):
        raise InvalidChildSpec("persistence_id", persistence_id, _no_history(cls))


def _is_actor_class(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, pykka.Actor)


def _keeps_history(cls: type[Any]) -> bool:
    return hasattr(cls, "_us_recover")


def _no_history(cls: type[Any]) -> str:
    return f"None, since {cls.__name__} is no PersistentActor and would keep nothing"


def _problems(v: Mapping[str, Any], unknown: Mapping[str, Any]) -> Iterator[InvalidChildSpec]:
    wrong = name_problem(v["id"])
    if wrong:
        yield InvalidChildSpec("id", v["id"], wrong)
    if not _is_actor_class(v["cls"]):
        yield InvalidChildSpec("cls", v["cls"], "an Actor class")
    if not isinstance(v["args"], tuple):
        yield InvalidChildSpec("args", v["args"], "a tuple or list")
    if not isinstance(v["kwargs"], dict) or not all(isinstance(k, str) for k in v["kwargs"]):
        yield InvalidChildSpec("kwargs", v["kwargs"], "a dict with text keys")
    if not isinstance(v["restart"], Restart):
        yield InvalidChildSpec("restart", v["restart"], _names(Restart))
    shutdown = v["shutdown"]
    if not isinstance(shutdown, Shutdown) and not (
        isinstance(shutdown, float) and math.isfinite(shutdown) and shutdown >= 0
    ):
        expected = f"seconds (0 or more), {_names(Shutdown)}"
        yield InvalidChildSpec("shutdown", shutdown, expected)
    if not isinstance(v["significant"], bool):
        yield InvalidChildSpec("significant", v["significant"], "True or False")
    elif v["significant"] and v["restart"] is Restart.PERMANENT:
        expected = "False for a permanent child, which never ends by itself"
        yield InvalidChildSpec("significant", v["significant"], expected)
    if v["heartbeat"] is not None and not isinstance(v["heartbeat"], Heartbeat):
        yield InvalidChildSpec("heartbeat", v["heartbeat"], "a Heartbeat or None")
    if v["ask_failures"] not in (None, "reply", "supervise"):
        yield InvalidChildSpec("ask_failures", v["ask_failures"], '"reply", "supervise" or None')
    if v["dispatcher"] is not None and not (isinstance(v["dispatcher"], str) and v["dispatcher"]):
        expected = '"pool", "thread", "asyncio", the name of a dispatcher of your own, or None'
        yield InvalidChildSpec("dispatcher", v["dispatcher"], expected)
    if v["mailbox"] is not None and not isinstance(v["mailbox"], Mailbox):
        yield InvalidChildSpec("mailbox", v["mailbox"], "a Mailbox or None")
    if v["persistence_id"] is not None and not isinstance(v["persistence_id"], str):
        yield InvalidChildSpec("persistence_id", v["persistence_id"], "a text or None")
    elif (
        v["persistence_id"] is not None
        and _is_actor_class(v["cls"])
        and not _keeps_history(v["cls"])
    ):
        yield InvalidChildSpec("persistence_id", v["persistence_id"], _no_history(v["cls"]))
    known = ", ".join(field.name for field in fields(ChildSpec))
    for key, value in unknown.items():
        yield InvalidChildSpec(key, value, f"one of the fields {known}")


@dataclass(frozen=True)
class ChildInfo:
    """One row of `which_children()`.

    Attributes:
        id: the spec's id; in a dynamic supervisor the child's name.
        ref: the child's reference, None while it has none (stopped, ignored).
        state: where it is now.
        restart: its restart type.
        type: `"worker"` or `"supervisor"`.
        cls: its class.
        restarts: how often it was restarted since it was first started.
        significant: whether its end may end the supervisor.
        last_failure: text of the last failure, None where there was none.

    """

    id: str
    ref: ActorRef[Any] | None
    state: ChildState
    restart: Restart
    type: str = "worker"
    cls: Any = None
    restarts: int = 0
    significant: bool = False
    last_failure: str | None = None


@dataclass(frozen=True)
class ChildCounts:
    """What `count_children()` returns.

    Attributes:
        specs: all children, dead or alive.
        active: those alive; a restarting child is not.
        supervisors: those whose class is a supervisor.
        workers: the others.

    """

    specs: int
    active: int
    supervisors: int
    workers: int
