"""Structured logs: one JSON object a line, for our records and everybody else's."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from understudy.observability._tracing import trace_ids

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# A handler of ours is found again by this name, so that configuring twice does not print twice.
HANDLER_NAME = "understudy"


def add_trace_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor that adds `trace_id` and `span_id` of the current trace."""
    ids = trace_ids()
    if ids is not None:
        event.setdefault("trace_id", ids[0])
        event.setdefault("span_id", ids[1])
    return event


def _without_copy(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    # Another handler's formatter leaves the finished text and time in the record.
    event.pop("asctime", None)
    if event.get("message") == event.get("event"):
        event.pop("message", None)
    return event


def _plain(value: Any) -> Any:
    """What JSON does not know: as data where it can say itself so, such as a supervisor report."""
    as_dict = getattr(value, "as_dict", None)
    return as_dict() if callable(as_dict) and not isinstance(value, type) else repr(value)


def configure_logging(
    level: str | int = "INFO",
    *,
    json: bool | None = None,
    stream: TextIO | None = None,
) -> None:
    """Print the log records of structlog and of the standard library in one form.

    Both kinds pass through the same steps: level, logger, time in UTC, the variables bound with
    `structlog.contextvars` (the gateway binds `request_id`), trace and span id where there is a
    trace, a traceback as text in `exception`. A library does not call this; an application does,
    once, and `understudy serve` does it for what it serves. Called again it replaces what it set
    up before; handlers of others stay.

    Args:
        level: The least level shown: a name or a number of the standard library.
        json: Whether to print JSON lines; optional, and if absent JSON is printed unless `stream`
            is a terminal, where a person reads.
        stream: Where to print; optional, and if absent it is the standard error stream.

    Raises:
        ValueError: `level` is no level.
    """
    target = stream if stream is not None else sys.stderr
    numeric = _level(level)
    as_json = not target.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _without_copy,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace_ids,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last: list[Processor]
    if as_json:
        last = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=_plain, ensure_ascii=False),
        ]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=target.isatty())]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(target)
    handler.set_name(HANDLER_NAME)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [known for known in root.handlers if known.get_name() == HANDLER_NAME]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(numeric)


def _level(level: str | int) -> int:
    if isinstance(level, int):
        return level
    known: dict[str, int] = logging.getLevelNamesMapping()
    found = known.get(level.upper())
    if found is None:
        names = ", ".join(name.lower() for name in known if name not in {"NOTSET", "WARN"})
        msg = f"log level {level!r} is unknown; take one of {names}"
        raise ValueError(msg)
    return found


def logger(name: str = "understudy", **bound: Any) -> Any:
    """A structlog logger called `name` with `bound` in each of its records.

    Context variables do not cross threads: what a record shall carry wherever it is made is bound
    here.
    """
    return structlog.get_logger(name).bind(**bound)
