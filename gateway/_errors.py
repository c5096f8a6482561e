"""What a client is told when something is wrong: a code, a sentence, whether to try again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.storage import UnderstudyError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Application close codes (4000-4999 are ours to give) follow the HTTP status they resemble.
CLOSE_GOING_AWAY = 1001
CLOSE_INTERNAL = 1011
CLOSE_TRY_LATER = 1013
CLOSE_BAD_REQUEST = 4400
CLOSE_FORBIDDEN = 4403
CLOSE_UNKNOWN_AGENT = 4404
CLOSE_STALLED = 4408
CLOSE_CURSOR_AHEAD = 4409


class GatewayError(UnderstudyError):
    """Something a client sent, or asked for, that cannot be had.

    Attributes:
        code: A stable word for programs.
        message: A sentence for people: the offender, the state and the next step.
        retryable: Whether the same request may succeed later.
        status: The HTTP status it has where it travels over HTTP.
        close: The WebSocket close code where the connection is of no use any more; `None` where it
            stays up.
        extra: Further facts for the frame or the body.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        status: int = 400,
        close: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.status = status
        self.close = close
        self.extra: dict[str, Any] = dict(extra or {})

    def frame(self) -> dict[str, Any]:
        """The error as a WebSocket frame. It has no `seq`: it is not part of the session."""
        return {"type": "error", **self.body()["error"]}

    def body(self) -> dict[str, Any]:
        """The error as a JSON body."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "retryable": self.retryable,
                **self.extra,
            }
        }


class MissingExtra(UnderstudyError):
    """A part of Understudy was asked for whose packages are not installed.

    Attributes:
        extra: The name of the extra, such as `web`.
        package: The package that was not found.
    """

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed, and the gateway needs it: "
            f"run  pip install 'understudy[{extra}]'"
        )
        self.extra = extra
        self.package = package


class BindFailed(UnderstudyError):
    """The server could not have its address.

    Attributes:
        host: The host that was asked for.
        port: The port that was asked for.
        reason: Why not.
    """

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"cannot listen on {host}:{port}: {reason}; "
            f"free it, or take another with --port (--port 0 takes any free one)"
        )
        self.host = host
        self.port = port
        self.reason = reason


class StartupFailed(UnderstudyError):
    """The application's own startup (its lifespan) failed; the log has the cause."""

    def __init__(self) -> None:
        super().__init__(
            "the application failed in its startup; the log lines above have the cause"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one class of error is told to a client."""

    code: str
    retryable: bool
    status: int
    close: int | None = None
    facts: tuple[str, ...] = field(default=())


# By class name, so that an error is told in the same way whichever room defines it, and so that a
# subclass of an application's own finds its base's line through the method resolution order.
VERDICTS: dict[str, Verdict] = {
    "InvalidSessionKey": Verdict("bad_session_key", False, 400, CLOSE_BAD_REQUEST),
    "UnknownAgent": Verdict("unknown_agent", False, 404, CLOSE_UNKNOWN_AGENT, ("known",)),
    "CursorAhead": Verdict("bad_cursor", False, 409, CLOSE_CURSOR_AHEAD),
    "HostStopped": Verdict("stopping", True, 503, CLOSE_GOING_AWAY),
    "TextTooLong": Verdict("text_too_long", False, 413),
    "MailboxFull": Verdict("busy", True, 503),
    "ActorDeadError": Verdict("unavailable", True, 503, CLOSE_TRY_LATER),
    "StorageError": Verdict("storage", True, 503),
    "Timeout": Verdict("timeout", True, 504),
    "TimeoutError": Verdict("timeout", True, 504),
}


def explain(error: BaseException) -> GatewayError | None:
    """The client's form of `error`, or `None` if it is none of the client's business.

    `None` means: log it whole, tell the client only that something failed inside.
    """
    if isinstance(error, GatewayError):
        return error
    for base in type(error).__mro__:
        verdict = VERDICTS.get(base.__name__)
        if verdict is not None:
            extra = {name: _plain(getattr(error, name, None)) for name in verdict.facts}
            return GatewayError(
                verdict.code,
                str(error) or verdict.code,
                retryable=verdict.retryable,
                status=verdict.status,
                close=verdict.close,
                extra={name: value for name, value in extra.items() if value is not None},
            )
    if isinstance(error, UnderstudyError):
        code = getattr(error, "code", None)
        return GatewayError(
            code if isinstance(code, str) else _snake(type(error).__name__),
            str(error),
            retryable=getattr(error, "retryable", False) is True,
        )
    return None


def internal_error(request_id: str | None = None) -> GatewayError:
    """What a client is told about an unexpected failure: nothing of its inside."""
    where = f" under request id {request_id}" if request_id else ""
    return GatewayError(
        "internal",
        f"the server failed to handle this; its log has the cause{where}. Try again.",
        retryable=True,
        status=500,
    )


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple | set | frozenset | dict):
        return sorted(str(part) for part in value)
    return str(value)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
