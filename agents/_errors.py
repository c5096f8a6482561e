"""What sessions and agents refuse, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from understudy.storage._errors import UnderstudyError

if TYPE_CHECKING:
    from collections.abc import Iterable


class SessionError(UnderstudyError):
    """A session could not do what was asked.

    Attributes:
        code: A short stable word for programs; what the gateway sends as `code`.
        retryable: Whether the same request may succeed later.
    """

    code: ClassVar[str] = "session_error"
    retryable: ClassVar[bool] = False


class InvalidSessionKey(SessionError, ValueError):
    """A session key that cannot be read.

    Attributes:
        key: What was given.
        reason: What is wrong with it.
    """

    code = "bad_session_key"

    def __init__(self, key: Any, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(
            f"session key {key!r} is not valid: {reason}; a key is user:agent:thread, "
            "as in 'ada:echo:t1'"
        )


class InvalidMessageId(SessionError, ValueError):
    """A message id that cannot be kept.

    Attributes:
        message_id: What was given.
        reason: What is wrong with it.
    """

    code = "bad_message_id"

    def __init__(self, message_id: Any, reason: str) -> None:
        self.message_id = message_id
        self.reason = reason
        super().__init__(f"message_id {message_id!r} is not valid: {reason}")


class InvalidClient(SessionError, ValueError):
    """A client's name that cannot be kept.

    Attributes:
        client: What was given.
        reason: What is wrong with it.
    """

    code = "bad_client"

    def __init__(self, client: Any, reason: str) -> None:
        self.client = client
        self.reason = reason
        super().__init__(f"client {client!r} is not valid: {reason}")


class InvalidText(SessionError, ValueError):
    """A message whose text or data cannot be kept.

    Attributes:
        reason: What is wrong with it.
    """

    code = "bad_message"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the message is not valid: {reason}")


class TextTooLong(SessionError, ValueError):
    """A message over the size limit; nothing of it was kept.

    Attributes:
        size: Its size in bytes.
        limit: The greatest size allowed, in bytes.
    """

    code = "text_too_long"

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(
            f"the message has {size} bytes and the limit is {limit}; send it in parts, or raise "
            "sessions.max_text_bytes"
        )


class UnknownAgent(SessionError, LookupError):
    """A session key names an agent that this host does not have.

    Attributes:
        agent: The name in the key.
        known: The names this host has, sorted.
    """

    code = "unknown_agent"

    def __init__(self, agent: str, known: Iterable[str]) -> None:
        self.agent = agent
        self.known = tuple(sorted(known))
        super().__init__(
            f"there is no agent {agent!r} here; known agents: {', '.join(self.known) or 'none'}"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class CursorAhead(SessionError, ValueError):
    """A client claims frames that the session has not sent.

    Attributes:
        after: The seq the client gave.
        last: The session's last frame.
    """

    code = "bad_cursor"

    def __init__(self, after: int, last: int) -> None:
        self.after = after
        self.last = last
        super().__init__(
            f"seq {after} is not between 0 and the session's last frame, {last}; reconnect with "
            "the seq of the last frame you received"
        )


class HostStopped(SessionError):
    """The session host is shutting down; nothing of the message was kept."""

    code = "stopping"
    retryable = True

    def __init__(self) -> None:
        super().__init__("the session host is stopping; send the message again when it is back")


class TurnFailed(SessionError):
    """A turn closed with an error frame instead of an answer.

    Attributes:
        code: The frame's code.
        reason: The frame's message.
        retryable: The frame's word on whether the same question may be answered later.
        message_id: The turn.
        frame: The frame itself; None if the failure was before any frame could be written.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        retryable: bool,
        message_id: str,
        frame: dict[str, Any] | None = None,
    ) -> None:
        self.code = code  # type: ignore[misc]  # one class for every code a frame can carry
        self.reason = reason
        self.retryable = retryable  # type: ignore[misc]  # ditto
        self.message_id = message_id
        self.frame = frame
        super().__init__(f"turn {message_id!r} failed ({code}): {reason}")


class AgentCrash(SessionError):
    """What `SessionHost.crash` raises inside an agent, to show that its session survives."""

    code = "agent_crash"

    def __init__(self) -> None:
        super().__init__("the agent was told to crash")
