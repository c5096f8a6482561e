"""The errors of the kernel: small, with the facts as attributes.

A message names the offender, its state and the next step. Errors about a message that was not
delivered carry it as `message`, so that the sender can do something with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

from understudy.storage._errors import UnderstudyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from understudy.actors._exit import Exit

__all__ = [
    "ActorDeadError",
    "AskCycle",
    "BlockingAsk",
    "ConfigError",
    "DeathPact",
    "Fenced",
    "Forked",
    "Ignore",
    "InvalidMailbox",
    "LoopStuck",
    "MailboxFull",
    "StartFailed",
    "SystemStopped",
    "Timeout",
    "UnknownDispatcher",
]


class ActorDeadError(UnderstudyError, pykka.ActorDeadError):
    """The actor is dead, or died before it answered.

    Also a `pykka.ActorDeadError`. `ref` is the actor and `message` what could not be delivered,
    both None where they are not known.
    """

    def __init__(self, text: str = "", *, ref: Any = None, message: Any = None) -> None:
        super().__init__(text or f"{ref} not found")
        self.ref = ref
        self.message = message


class Timeout(UnderstudyError, pykka.Timeout, TimeoutError):
    """No answer within the time given. Also a `pykka.Timeout` and a `TimeoutError`."""


class MailboxFull(UnderstudyError):
    """A bounded mailbox refused a message, which is handed back as `message`."""

    def __init__(self, message: Any, ref: Any = None, capacity: int | None = None) -> None:
        super().__init__(
            f"The mailbox of {ref} is full ({capacity} waiting): send later, slow down, or give "
            "it more capacity or another overflow policy"
        )
        self.message = message
        self.ref = ref
        self.capacity = capacity


class AskCycle(UnderstudyError):
    """An ask that could never be answered: its callee waits, in the end, for the caller.

    `cycle` holds the refs in the order in which they wait, beginning and ending with the caller.
    """

    def __init__(self, cycle: Iterable[Any]) -> None:
        self.cycle = tuple(cycle)
        chain = " asks ".join(str(getattr(ref, "path", ref)) for ref in self.cycle)
        super().__init__(f"{chain}: none of them can answer. Use tell, or reply with a future")


class BlockingAsk(UnderstudyError):
    """A blocking wait on a thread that runs an event loop, which would stop the loop."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} would block the event loop that runs on this thread: "
            "use `await ref.ask_async(...)`, or await the future of `ask(..., block=False)`"
        )


class StartFailed(UnderstudyError):
    """An actor could not be started: its `__init__` or `on_start` raised `cause`.

    Of a supervisor, `cause` is the `StartFailed` of the child that did not start, and so on down;
    the text names all of them and the exception at the bottom.
    """

    def __init__(
        self,
        id: Any,  # noqa: A002 - OTP's word
        cause: BaseException | None,
    ) -> None:
        self.id: Any = id
        self.cause: BaseException | None = cause
        chain, root = [str(id)], cause
        while isinstance(root, StartFailed):
            chain.append(str(root.id))
            root = root.cause
        text = f"{id} could not start"
        if len(chain) > 1:
            text += f", because {'/'.join(chain)} could not"
        if isinstance(root, UnderstudyError):
            why = str(root)
        elif isinstance(root, OSError):  # whose repr leaves out which file it was about
            why = f"{type(root).__name__}: {root}"
        else:
            why = repr(root)
        super().__init__(f"{text}: {why}")
        self.__cause__ = cause


class Ignore(UnderstudyError):
    """Raised by `on_start` (or `__init__`): do not run me, and that is no failure."""


class SystemStopped(UnderstudyError):
    """The actor system is stopped or stopping, and takes no new actors."""

    def __init__(self, name: str) -> None:
        super().__init__(f"System {name!r} is stopped: create a new ActorSystem to spawn in")
        self.name = name


class Forked(UnderstudyError):
    """The process was forked: threads do not survive that, so the actors here are lifeless."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"System {name!r} belongs to the parent process; a fork has no threads to run it. "
            "Create the system after the fork, or start processes with 'spawn' or 'forkserver'"
        )
        self.name = name


class UnknownDispatcher(UnderstudyError):
    """An actor asked for a dispatcher its system does not have."""

    def __init__(self, name: Any, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(f"No dispatcher {name!r}: use one of {', '.join(self.known)}")


class InvalidMailbox(UnderstudyError, ValueError):
    """A `Mailbox` was given an option it cannot have."""

    def __init__(self, field: str, value: Any, accepted: str) -> None:
        super().__init__(f"Mailbox({field}={value!r}) is not possible: {accepted}")
        self.field = field
        self.value = value


class ConfigError(UnderstudyError, ValueError):
    """A configuration key or value is not accepted; the message lists what is."""

    def __init__(
        self, key: str, value: Any, accepted: str, origin: str, *, text: str | None = None
    ) -> None:
        super().__init__(text or f"{key} = {value!r} (from {origin}) is not accepted: {accepted}")
        self.key = key
        self.value = value
        self.accepted = accepted
        self.origin = origin


class Fenced(UnderstudyError):
    """An incarnation that was replaced tried to act; what it tried was refused and counted."""

    def __init__(self, ref: Any, incarnation: int, what: str) -> None:
        super().__init__(
            f"Incarnation {incarnation} of {ref} was replaced: its {what} is refused. "
            "Let the handler end"
        )
        self.ref = ref
        self.incarnation = incarnation


class LoopStuck(UnderstudyError):
    """Another actor's handler blocked the event loop that this one ran on."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The event loop {name!r} was blocked by a handler and left behind: blocking calls "
            "belong into actors of the pool"
        )
        self.name = name


class DeathPact(UnderstudyError):
    """An actor it watched ended, and the watcher has no handler for `Terminated`."""

    def __init__(self, ref: Any, reason: Exit) -> None:
        super().__init__(
            f"{ref} ended ({reason}) and its watcher does not handle Terminated: "
            "handle it in on_receive, or unwatch"
        )
        self.ref = ref
        self.reason = reason
