"""Code around receive: per system, per class, per method, in that order."""

from __future__ import annotations

import asyncio
import functools
import inspect
from dataclasses import dataclass
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.actors._errors import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Interceptor", "around", "intercept"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Interceptor:
    """What runs around the handling of a message.

    before: `before(actor, message)`, or `before(message)`. If it raises, the message is not
        handled, and its sender is told as if the handler had raised.
    after: `after(actor, message, result)`, or fewer of the last ones.
    on_error: `on_error(actor, message, error)`, or fewer; what it returns, unless it is None,
        becomes the answer in place of the error.
    timeout: seconds after which the handling is a `Timeout`: a coroutine handler is cancelled, a
        plain one cannot be, and its late result is refused.
    retries: how often a handler that raised is called again at once, with the same message.

    All of it runs on the actor's own strand, one message at a time.
    """

    before: Callable[..., Any] | None = None
    after: Callable[..., Any] | None = None
    on_error: Callable[..., Any] | None = None
    timeout: float | None = None
    retries: int = 0

    def __post_init__(self) -> None:
        if self.timeout is not None and self.timeout <= 0:
            msg = f"intercept(timeout={self.timeout!r}) is not possible: give seconds above 0"
            raise ValueError(msg)
        if self.retries < 0:
            msg = f"intercept(retries={self.retries!r}) is not possible: give 0 or more"
            raise ValueError(msg)

    def __call__(self, target: T) -> T:
        """Put it around a class (all its messages) or around one method."""
        if inspect.isclass(target):
            cls: Any = target
            cls._us_class_interceptors = (self, *getattr(cls, "_us_class_interceptors", ()))
            return target
        method: T = self._around_method(target)
        return method

    def _around_method(self, method: Any) -> Any:
        if inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            async def wrapped(  # pyright: ignore[reportRedeclaration]  # one of the two
                actor: Any, *args: Any, **kwargs: Any
            ) -> Any:
                message = _first(args, kwargs)
                return await self.run_async(actor, message, lambda: method(actor, *args, **kwargs))
        else:

            @functools.wraps(method)
            def wrapped(actor: Any, *args: Any, **kwargs: Any) -> Any:
                message = _first(args, kwargs)
                return self.run(actor, message, lambda: method(actor, *args, **kwargs))

        return wrapped

    def run(self, actor: Any, message: Any, call: Callable[[], Any]) -> Any:
        """Run `call` with this around it."""
        clock = actor.actor_ref._us_rt.clock
        attempts = self.retries
        started = clock.monotonic() if self.timeout is not None else 0.0
        try:
            if self.before is not None:
                _tell(self.before, actor, message)
            while True:
                try:
                    result = call()
                    break
                except Exception:
                    if not attempts:
                        raise
                    attempts -= 1
            if result.__class__ is CoroutineType:
                return self._finish_async(actor, message, call, result, attempts)
            if self.timeout is not None and clock.monotonic() - started > self.timeout:
                raise Timeout(f"{actor} took longer than {self.timeout} seconds: result refused")
            if self.after is not None:
                _tell(self.after, actor, message, result)
        except Exception as error:
            if self.on_error is None:
                raise
            replacement = _tell(self.on_error, actor, message, error)
            if replacement is None:
                raise
            return replacement
        return result

    async def _finish_async(
        self, actor: Any, message: Any, call: Callable[[], Any], begun: Any, attempts: int
    ) -> Any:
        try:
            while True:
                try:
                    result = await _limited(actor, begun, self.timeout)
                    break
                except Exception:
                    if not attempts:
                        raise
                    attempts -= 1
                    begun = call()
            if self.after is not None:
                _tell(self.after, actor, message, result)
        except Exception as error:
            if self.on_error is None:
                raise
            replacement = _tell(self.on_error, actor, message, error)
            if replacement is None:
                raise
            return replacement
        return result

    async def run_async(self, actor: Any, message: Any, call: Callable[[], Any]) -> Any:
        """`run`, for a coroutine method."""
        result = self.run(actor, message, call)
        return await result if result.__class__ is CoroutineType else result


async def _limited(actor: Any, coroutine: Any, limit: float | None) -> Any:
    if limit is None:
        return await coroutine
    clock = actor.actor_ref._us_rt.clock
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

    handle = clock.call_at(clock.monotonic() + limit, expire)
    try:
        return await coroutine
    except asyncio.CancelledError:
        if not expired:
            raise
        if task is not None:
            task.uncancel()
        raise Timeout(f"{actor} took longer than {limit} seconds and was cancelled") from None
    finally:
        handle.cancel()


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) == 1 and not kwargs:
        return args[0]
    return args if not kwargs else (args, kwargs)


@functools.lru_cache(maxsize=1024)
def _takes(function: Any, most: int) -> int:
    """How many positional arguments a callback takes, of those on offer."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return most
    count = 0
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return most
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            count += 1
    return min(count, most)


def _tell(function: Callable[..., Any], *facts: Any) -> Any:
    """Call with (actor, message, ...): all of it, or without the actor, or as many as it takes."""
    takes = _takes(function, len(facts))
    if takes == len(facts):
        return function(*facts)
    return function(*facts[1 : takes + 1])


def intercept(
    *,
    before: Callable[..., Any] | None = None,
    after: Callable[..., Any] | None = None,
    on_error: Callable[..., Any] | None = None,
    timeout: float | None = None,
    retries: int = 0,
) -> Interceptor:
    """Put code around the handling of messages.

    As a decorator of an actor class it runs around each message and proxied call, as one of a
    method around that method; given to a system (`runtime.intercept(...)`) around all of its
    actors. Where several apply, the system's run outermost, then the class's, then the method's;
    of several at one place the first written is outermost. See `Interceptor` for the arguments.
    """
    return Interceptor(before, after, on_error, timeout, retries)


def around(cell: Any, message: Any, call: Callable[[], Any]) -> Any:
    """Call `call` with all interceptors of the system and the class around it."""
    inner, outer = cell._us_info.interceptors, cell._us_rt.interceptors
    if not (inner or outer):
        return call()
    actor = cell._us_actor
    for interceptor in (*reversed(inner), *reversed(outer)):
        call = functools.partial(interceptor.run, actor, message, call)
    return call()
