"""Effects: what an agent wants done outside, carried out after it is safe in the journal."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import itertools
import logging
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.actors import Actor, ActorDeadError, Heartbeat
from understudy.agents._errors import SessionError
from understudy.storage._errors import StaleEpoch
from understudy.storage._write import EffectUpdate, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from understudy.actors import Clock
    from understudy.actors._journal_handle import AnyJournal
    from understudy.storage import Effect

log = logging.getLogger("understudy.agents")

# Epochs of runners grow over the incarnations of one process, and by the journal's generation over
# processes: a late word from a runner that was replaced is refused.
_epochs = itertools.count(1)


class EffectRejected(SessionError):
    """Raised by a handler: this effect will never succeed, do not try it again."""

    code = "effect_rejected"


@dataclasses.dataclass(frozen=True, slots=True)
class EffectSettings:
    """How effects are carried out; the defaults of the `effects` section of the configuration.

    Attributes:
        sweep: Seconds between two looks at the outbox without being woken.
        batch: How many effects are taken at a look.
        lease: Seconds for which an effect being carried out belongs to its runner.
        timeout: Seconds for one try of an async handler; None for the lease.
        max_attempts: Tries before an effect counts as failed; None for no limit.
        retry_first: Seconds before the second try.
        retry_factor: How much longer each further pause is.
        retry_maximum: The longest pause, in seconds.
    """

    sweep: float = 0.5
    batch: int = 100
    lease: float = 30.0
    timeout: float | None = None
    max_attempts: int | None = None
    retry_first: float = 0.5
    retry_factor: float = 2.0
    retry_maximum: float = 60.0


class EffectHandler:
    """Carries out the effects of one channel.

    Give the class (or an instance, or a plain function) to `SessionHost(effects={"mail": Mail})`.
    Outside the journal an effect happens at least once: after a crash in the middle it is tried
    again. `effect.dedupe_key` is the same each time; pass it on to a receiver that can tell
    repeats apart.

    Attributes:
        max_attempts: Tries before an effect counts as failed; optional, and if absent
            ``effects.max_attempts``.
        timeout: Seconds for one try of an async `handle`; optional, and if absent
            ``effects.timeout``.
    """

    max_attempts: ClassVar[int | None] = None
    timeout: ClassVar[float | None] = None

    def handle(self, effect: Effect) -> Any:
        """Do it; ``def`` or ``async def``.

        A plain ``def`` runs on a thread of the channel's own and may block; an ``async def`` runs
        on the event loop of the system's dispatcher. What it returns, if it is plain data, is kept
        as the effect's result. If it raises, the effect is tried again later, with growing pauses;
        `EffectRejected` ends it as failed at once.

        Args:
            effect: `channel`, `payload`, `dedupe_key`, `attempts`, `stream`, `id`.
        """
        raise NotImplementedError(f"{type(self).__qualname__} needs handle(self, effect)")


class _Function(EffectHandler):
    def __init__(self, function: Callable[[Effect], Any]) -> None:
        self.function = function
        self.handle = function  # type: ignore[assignment,method-assign]  # it is the handler


def is_async(handler: Any) -> bool:
    """Whether the handler belongs on an event loop."""
    return inspect.iscoroutinefunction(getattr(handler, "handle", handler))


def check_handler(channel: Any, handler: Any) -> None:
    """Refuse what could never carry out an effect.

    Raises:
        TypeError: The channel is no name, or the handler none of the three kinds.
    """
    if not isinstance(channel, str) or not channel:
        raise TypeError(f"effects={{{channel!r}: …}}: a channel is named by text")
    if isinstance(handler, type):
        if not callable(getattr(handler, "handle", None)):
            raise TypeError(f"effects[{channel!r}]: {handler.__qualname__} has no handle(effect)")
    elif not (callable(getattr(handler, "handle", None)) or callable(handler)):
        raise TypeError(
            f"effects[{channel!r}]: {handler!r} is no EffectHandler (class or instance) or function"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """There may be effects to carry out."""


class _Runner(Actor):
    """Carries out the effects of one channel, one after the other, at ``/effects/channel``."""

    heartbeat = Heartbeat(timeout=4.0, on_frozen="restart", lease=120.0)

    def __init__(
        self,
        channel: str,
        handler: Any,
        journal: AnyJournal,
        clock: Clock,
        settings: EffectSettings,
        held: set[int],
    ) -> None:
        super().__init__()
        # Outlives this incarnation: what it holds when it fails, the next one tries at once.
        self._held = held
        self._channel = channel
        self._given = handler
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._signalled = False
        self._unhook: Callable[[], object] | None = None
        self._epoch = 0
        self._handler: EffectHandler

    def on_start(self) -> None:
        """Be woken by commits and by the sweep; begin with what waits already."""
        given = self._given
        if isinstance(given, type):
            self._handler = given()
        else:
            self._handler = given if hasattr(given, "handle") else _Function(given)
        self._epoch = (self._journal.generation << 32) | next(_epochs)
        self._unhook = self._journal.on_commit(self._committed)
        self.context.schedule_every(self._settings.sweep, Run())
        self.actor_ref.tell(Run())

    def on_stop(self) -> None:
        """Be woken no more."""
        self._unwake()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: Any,
    ) -> None:
        """Be woken no more; the next incarnation is."""
        del exception_type, exception_value, traceback
        self._unwake()

    def _unwake(self) -> None:
        if self._unhook is not None:
            self._unhook()

    def _committed(self, info: Any) -> None:
        """Wake up for effects just made safe. Runs on the journal's thread."""
        if self._channel in info.channels and not self._signalled:
            self._signalled = True
            try:
                self.actor_ref.tell(Run())
            except ActorDeadError:
                self._unwake()

    def _due(self) -> list[int]:
        self._signalled = False
        limit = self._settings.batch
        pending = self._journal.outbox.pending(self._channel, limit=limit)
        return [*sorted(self._held), *(effect.id for effect in pending)]

    def _claim(self, effect_id: int) -> Effect | None:
        claimed: Effect | None = self._journal.outbox.claim(
            effect_id, self._settings.lease, self._epoch
        )
        if claimed is None:
            self._held.discard(effect_id)
        else:
            self._held.add(effect_id)
        return claimed

    def _completed(self, effect: Effect, result: Any) -> None:
        update = EffectUpdate(effect.id, "completed", epoch=self._epoch, result=_plain(result))
        self._update(update)

    def _failed(self, effect: Effect, error: Exception) -> None:
        most = self._handler_option("max_attempts")
        text = f"{type(error).__name__}: {error}"
        final = isinstance(error, EffectRejected) or (most is not None and effect.attempts >= most)
        log.warning(
            "effect %s (%s) on channel %s failed at attempt %s%s",
            effect.id,
            effect.dedupe_key,
            self._channel,
            effect.attempts,
            ", for good" if final else "",
            exc_info=error,
        )
        if final:
            self._update(EffectUpdate(effect.id, "failed", error=text, epoch=self._epoch))
            return
        settings = self._settings
        pause = min(
            settings.retry_first * settings.retry_factor ** max(0, effect.attempts - 1),
            settings.retry_maximum,
        )
        self._update(
            EffectUpdate(
                effect.id,
                "pending",
                error=text,
                next_at=self._clock.time() + pause,
                epoch=self._epoch,
            )
        )
        self.context.schedule_once(pause, Run())

    def _handler_option(self, name: str) -> Any:
        own = getattr(self._handler, name, None)
        return getattr(self._settings, name) if own is None else own

    def _update(self, update: EffectUpdate) -> None:
        # Not waited for: until it is safe the effect is executing, and nobody else's.
        self._held.discard(update.id)
        self._journal.submit_write(Write(effect_updates=(update,))).add_done_callback(_report)


class ThreadRunner(_Runner):
    """Runs handlers that block, on a thread of their own."""

    dispatcher = "thread"

    def on_receive(self, message: Any) -> None:
        """Carry out what is due."""
        if not isinstance(message, Run):
            raise TypeError(f"an effect runner takes Run, not {message!r}")
        for effect_id in self._due():
            claimed = self._claim(effect_id)
            if claimed is None:
                continue
            self.context.heartbeat(lease=max(self._settings.lease, 120.0))
            try:
                result = self._handler.handle(claimed)
            except Exception as error:
                self._failed(claimed, error)
            else:
                self._completed(claimed, result)


class AsyncRunner(_Runner):
    """Runs ``async def`` handlers on the event loop."""

    dispatcher = "asyncio"

    async def on_receive(self, message: Any) -> None:
        """Carry out what is due."""
        if not isinstance(message, Run):
            raise TypeError(f"an effect runner takes Run, not {message!r}")
        for effect_id in self._due():
            # the claim waits for the disk: not on the loop that everybody shares
            claimed = await asyncio.to_thread(self._claim, effect_id)
            if claimed is None:
                continue
            timeout = self._handler_option("timeout")
            try:
                async with asyncio.timeout(self._settings.lease if timeout is None else timeout):
                    result = await self._handler.handle(claimed)
            except Exception as error:
                self._failed(claimed, error)
            else:
                self._completed(claimed, result)


def start_runners(system: Any, handlers: Mapping[str, Any], settings: EffectSettings) -> None:
    """Start the runner of each channel under ``/effects``, without waiting for them.

    One that cannot be started is logged, and its effects stay pending.
    """
    if not handlers:
        return
    effects = system.lookup("/effects").proxy()
    for channel, handler in handlers.items():
        runner = AsyncRunner if is_async(handler) else ThreadRunner
        started = effects.start_child(
            runner,
            channel,
            handler,
            system.journal,
            system.clock,
            settings,
            set(),
            name=channel.replace("/", "%2F"),
            restart="permanent",
        )
        started.add_done_callback(functools.partial(_report_start, channel))


def _report_start(channel: str, started: Any) -> None:
    error = started.exception()
    if error is not None:
        log.error("the effects of channel %r stay pending: %s", channel, error, exc_info=error)


def _plain(result: Any) -> Any:
    """The result, if the journal can keep it; else what it looks like."""
    if result is None or isinstance(result, bool | int | float | str | bytes):
        return result
    if isinstance(result, dict | list | tuple):
        try:
            import msgspec

            msgspec.msgpack.encode(result)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return repr(result)
        return result
    return repr(result)


def _report(done: Any) -> None:
    error = done.exception()
    if isinstance(error, StaleEpoch):
        log.info("an effect runner that was replaced came too late: %s", error)
    elif error is not None:
        log.error("the end of an effect could not be recorded; it will be tried again: %r", error)
