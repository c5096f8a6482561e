"""A language model that words the answer, over any OpenAI-compatible endpoint.

Chosen by the environment: `OPENAI_BASE_URL` and `OPENAI_API_KEY` switch it on,
`OPENAI_MODEL` names the model. The protocol is one POST whose answer is read
line by line; the standard library's `http.client` does both, so the example
needs nothing installed beside `understudy[web]`. It blocks, so it runs on a
thread, and its pieces cross to the event loop through a queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

DEFAULT_MODEL = "gpt-4o-mini"

# Between two pieces; models think before the first one.
TIMEOUT = 60.0


class ModelError(Exception):
    """The endpoint did not answer as it should.

    `status` is the HTTP status or None, `retryable` says whether asking again may
    help (429, 5xx, a broken connection) and `detail` is what the endpoint said.
    """

    def __init__(self, what: str, status: int | None = None, detail: str = "") -> None:
        self.status = status
        self.detail = detail
        self.retryable = status is None or status == 429 or status >= 500
        hint = {
            401: "check OPENAI_API_KEY",
            403: "check OPENAI_API_KEY",
            404: "check OPENAI_BASE_URL and OPENAI_MODEL",
            429: "the endpoint's rate limit is reached; ask again in a while",
        }.get(status or 0, "ask again" if self.retryable else "check the OPENAI_* settings")
        super().__init__(f"{what}{f': {detail}' if detail else ''}; {hint}")


@dataclass(frozen=True, slots=True)
class Model:
    """Where the language model is. The key is not shown in its repr."""

    base_url: str
    key: str = field(repr=False)
    name: str = DEFAULT_MODEL
    timeout: float = TIMEOUT

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Model | None:
        """Return the model the environment names, or None where it names none.

        Raises:
            ValueError: OPENAI_BASE_URL is no http or https address.
        """
        base_url, key = environ.get("OPENAI_BASE_URL", ""), environ.get("OPENAI_API_KEY", "")
        if not base_url or not key:
            return None
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(
                f"OPENAI_BASE_URL={base_url!r} is not an address such as https://host/v1"
            )
        return cls(base_url.rstrip("/"), key, environ.get("OPENAI_MODEL") or DEFAULT_MODEL)


@dataclass(slots=True)
class Usage:
    """Tokens the endpoint counted; None where it did not say."""

    prompt: int | None = None
    completion: int | None = None


async def stream(
    model: Model, messages: Sequence[Mapping[str, str]], usage: Usage | None = None
) -> AsyncGenerator[str]:
    """Yield the model's answer as it comes.

    Closing the iterator early (a cancelled turn) closes the connection, so that
    the endpoint stops too. `usage` is filled in when the endpoint reports it.

    Raises:
        ModelError: refused, broken off, or not the protocol.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
    call = _Call(model, messages, usage if usage is not None else Usage())

    def hand_over(item: str | BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            call.run(hand_over)
        except ModelError as error:
            hand_over(error)
        except (OSError, HTTPException) as error:
            hand_over(
                ModelError(f"the model at {model.base_url} cannot be reached", None, f"{error}")
            )
        except Exception as error:
            hand_over(error)
        else:
            hand_over(None)

    threading.Thread(target=read, name="librarian-model", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        call.close()


class _Call:
    """One request, on a thread of its own; `close` may come from another."""

    def __init__(self, model: Model, messages: Sequence[Mapping[str, str]], usage: Usage) -> None:
        self._model = model
        self._messages = [dict(message) for message in messages]
        self._usage = usage
        self._connection: HTTPConnection | None = None
        self._closed = False

    def close(self) -> None:
        self._closed = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                # Wakes the thread that reads; close() alone would not.
                connection.sock.shutdown(2)

    def run(self, hand_over: Any) -> None:
        model = self._model
        parts = urlsplit(model.base_url)
        assert parts.hostname is not None
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = self._connection = kind(parts.hostname, parts.port, timeout=model.timeout)
        body = {
            "model": model.name,
            "messages": self._messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        headers = {
            "Authorization": f"Bearer {model.key}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
        }
        try:
            connection.request(
                "POST", f"{parts.path}/chat/completions", json.dumps(body).encode(), headers
            )
            response = connection.getresponse()
            if response.status != 200:
                detail = _error_detail(response.read(10_000))
                raise ModelError(f"the model answered {response.status}", response.status, detail)
            self._read(response, hand_over)
        except (OSError, HTTPException):
            if not self._closed:
                raise
        finally:
            connection.close()

    def _read(self, response: HTTPResponse, hand_over: Any) -> None:
        finished = False
        for line in response:
            if self._closed:
                return  # nobody listens any more; `run` closes the connection
            if not line.startswith(b"data:"):
                continue  # comments, event names and the blank line between events
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            try:
                event = json.loads(data)
                if "error" in event:
                    raise ModelError("the model broke off", None, _error_detail(data))
                usage = event.get("usage") or {}
                self._usage.prompt = usage.get("prompt_tokens", self._usage.prompt)
                self._usage.completion = usage.get("completion_tokens", self._usage.completion)
                for choice in event.get("choices", ())[:1]:
                    text = (choice.get("delta") or {}).get("content")
                    finished = finished or choice.get("finish_reason") is not None
                    if text:
                        hand_over(text)
            except (ValueError, AttributeError, TypeError) as error:
                raise ModelError(
                    "the model's stream is not chat/completions", None, f"{error}"
                ) from error
        if not finished and not self._closed:
            raise ModelError("the model's answer broke off before its end")


def _error_detail(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:300]
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()[:300]
