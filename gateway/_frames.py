"""The frames a client may send, read strictly and answered in words when they are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from understudy.gateway._errors import GatewayError

if TYPE_CHECKING:
    from understudy.gateway._limits import Limits


class UserMessage(msgspec.Struct, frozen=True):
    """`{"type": "user_message", "text": …, "message_id": …, "data": …}`.

    `message_id` names the message: sent again, it attaches to the turn it named and makes nothing
    new. Without one the message gets an id of its own, and a client that sends it twice asks
    twice.
    """

    text: str
    message_id: str | None = None
    data: dict[str, Any] | None = None


class Ack(msgspec.Struct, frozen=True):
    """`{"type": "ack", "seq": n}`: this client has the frames up to and including `n`."""

    seq: int


class Cancel(msgspec.Struct, frozen=True):
    """`{"type": "cancel"}`: the running turn of this session shall end."""


Frame = UserMessage | Ack | Cancel

KINDS: dict[str, type[UserMessage | Ack | Cancel]] = {
    "user_message": UserMessage,
    "ack": Ack,
    "cancel": Cancel,
}

EXAMPLES = {
    "user_message": '{"type": "user_message", "text": "hello", "message_id": "m1"}',
    "ack": '{"type": "ack", "seq": 7}',
    "cancel": '{"type": "cancel"}',
}


def read_frame(raw: str | bytes, limits: Limits) -> Frame:
    """The frame in `raw`.

    Raises:
        GatewayError: `frame_too_large`, `malformed`, `unknown_type`, `bad_frame`, `bad_seq`. What
            the text and the message id may be is the session host's to say, when it takes them.
    """
    data = read_object(raw, limits)
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise GatewayError(
            "unknown_type",
            f"unknown frame type {_short(kind)}; a client may send "
            f"{', '.join(KINDS)}, for example {EXAMPLES['user_message']}",
            extra=_named(data),
        )
    try:
        frame = msgspec.convert(data, KINDS[kind])
    except msgspec.ValidationError as error:
        raise GatewayError(
            "bad_frame",
            f"the {kind} frame is wrong: {error}; it looks like {EXAMPLES[kind]}",
            extra=_named(data),
        ) from None
    if isinstance(frame, Ack) and not 0 <= frame.seq < 2**63:
        raise GatewayError(
            "bad_seq", f"ack of seq {frame.seq}: a seq is 0 or more; send the last one you have"
        )
    return frame


def read_message(raw: bytes, limits: Limits) -> UserMessage:
    """The message in the body of a `POST …/messages`; `type` is not needed there.

    Raises:
        GatewayError: As `read_frame`.
    """
    data = read_object(raw, limits)
    try:
        return msgspec.convert(data, UserMessage)
    except msgspec.ValidationError as error:
        raise GatewayError(
            "bad_frame",
            f'the body is wrong: {error}; it looks like {{"text": "hello", "message_id": "m1"}}',
            extra=_named(data),
        ) from None


def read_object(raw: str | bytes, limits: Limits) -> dict[str, Any]:
    """The JSON object in `raw`, which may come from anybody."""
    # A character is at least one byte, so the cheap test goes first.
    size = len(raw)
    if isinstance(raw, str) and size <= limits.frame:
        size = len(raw.encode("utf-8", "surrogatepass"))
    if size > limits.frame:
        raise GatewayError(
            "frame_too_large",
            f"the frame has {size} bytes; at most {limits.frame} are taken",
            status=413,
        )
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise GatewayError(
            "malformed",
            f"this is not JSON: {error}; send one JSON object, "
            f"for example {EXAMPLES['user_message']}",
        ) from None
    if not isinstance(data, dict):
        raise GatewayError(
            "malformed",
            f"a JSON object was expected, not {_short(data)}; "
            f"for example {EXAMPLES['user_message']}",
        )
    return data


def check_identifier(name: str, value: str, limits: Limits) -> None:
    """Refuse an id that could not be a key of the store, or could not be printed in a log.

    Raises:
        GatewayError: With the code `bad_` and the name.
    """
    if not value:
        _bad_identifier(name, "it is empty", limits)
    if len(value.encode()) > limits.identifier:
        _bad_identifier(name, f"it has {len(value.encode())} bytes", limits)
    if not value.isprintable():
        _bad_identifier(name, "it has characters that cannot be printed", limits)


def _bad_identifier(name: str, why: str, limits: Limits) -> NoReturn:
    raise GatewayError(
        f"bad_{name}",
        f"this {name} cannot be used: {why}; take 1 to {limits.identifier} bytes of printable text",
    )


def encode_frame(frame: Any) -> str:
    """One frame as compact JSON text."""
    return msgspec.json.encode(frame, enc_hook=_unknown).decode()


def encode_json(value: Any) -> bytes:
    """Any answer as JSON; what JSON does not know is shown by its `repr`."""
    return msgspec.json.encode(value, enc_hook=_unknown)


def _unknown(value: Any) -> Any:
    return repr(value)


def _named(data: dict[str, Any]) -> dict[str, Any]:
    """The message id the client can match the error by, if it gave a usable one."""
    name = data.get("message_id")
    return {"message_id": name} if isinstance(name, str) and 0 < len(name) <= 200 else {}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
