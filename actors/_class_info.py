"""What the kernel needs to know about an actor class, looked up once per class."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.actors._intercept import Interceptor

__all__ = ["ClassInfo", "class_info"]

_MISSING = object()
_NEW: Any = object.__new__


class ClassInfo:
    """The facts of one class.

    `home` is the name of its dispatcher; `inline` is what the class says (None if nothing);
    `plain` means that its messages need nothing but a call of `on_receive`, `simple` that
    its start needs nothing but `__init__`, unless it has an `on_start`; `straight`, that it is
    plain and takes no other message while a handler is suspended.
    """

    __slots__ = (
        "ask_failures",
        "cls",
        "heartbeat",
        "home",
        "inline",
        "interceptors",
        "mailbox",
        "plain",
        "reentrant",
        "simple",
        "steps",
        "straight",
    )

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.interceptors: tuple[Interceptor, ...] = tuple(
            getattr(cls, "_us_class_interceptors", ())
        )
        home = getattr(cls, "dispatcher", None)
        self.home: str = home or ("asyncio" if _has_coroutines(cls) else "pool")
        self.inline: bool | None = getattr(cls, "inline", None)
        self.reentrant: bool = bool(getattr(cls, "reentrant", False))
        self.mailbox: Any = getattr(cls, "mailbox", None)
        self.heartbeat: Any = getattr(cls, "heartbeat", None)
        self.ask_failures: str | None = getattr(cls, "ask_failures", None)
        self.steps = hasattr(cls, "_us_step_begin")
        self.plain = not (self.interceptors or self.steps)
        self.straight = self.plain and not self.reentrant
        self.simple = (
            self.home == "pool"
            and self.mailbox is None
            and getattr(cls, "__new__", None) is _NEW
            and not hasattr(cls, "_us_recover")
        )


def _has_coroutines(cls: type[Any]) -> bool:
    """Whether a public method is a coroutine function. Reads dictionaries, runs no descriptor."""
    seen: set[str] = set()
    for klass in cls.__mro__:
        for name, value in vars(klass).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            if inspect.iscoroutinefunction(value):
                return True
    return False


def class_info(cls: type[Any]) -> ClassInfo:
    """The facts of `cls`, kept on the class itself."""
    info = cls.__dict__.get("_us_info", _MISSING)
    if info is _MISSING:
        info = ClassInfo(cls)
        cls._us_info = info
    return info  # type: ignore[no-any-return]  # __dict__ is untyped
