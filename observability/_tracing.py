"""W3C trace context: read from whoever calls, carried with messages, written to whoever is called.

Only the API package of OpenTelemetry is needed. Without its SDK nothing is recorded anywhere, but
the ids still travel, so that the log lines of one request can be found by one id; with the SDK
installed and configured, the same calls continue real spans.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from opentelemetry.context import Context

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_PROPAGATOR = TraceContextTextMapPropagator()


def extract_trace(carrier: Mapping[str, str] | None) -> Context | None:
    """The trace that `carrier` (request headers, message metadata) belongs to.

    A header that breaks the W3C rules counts as none, as the standard asks: a caller with a bug
    must not be refused for it.

    Args:
        carrier: A mapping that may hold `traceparent` and `tracestate`, in lower case.

    Returns:
        A context to attach, or `None` if the carrier names no valid trace.
    """
    if not carrier or TRACEPARENT not in carrier:
        return None
    parent = carrier[TRACEPARENT]
    if not isinstance(parent, str):
        return None
    headers = {TRACEPARENT: parent}
    state = carrier.get(TRACESTATE)
    if isinstance(state, str):
        headers[TRACESTATE] = state
    found = _PROPAGATOR.extract(headers, context=otel_context.Context())
    if not trace.get_current_span(found).get_span_context().is_valid:
        return None
    return found


def inject_trace(
    carrier: MutableMapping[str, str], context: Context | None = None
) -> MutableMapping[str, str]:
    """Write the current trace (or that of `context`) into `carrier` and return it.

    Nothing is written where there is no trace.
    """
    _PROPAGATOR.inject(carrier, context=context)
    return carrier


def new_trace(*, sampled: bool = True) -> Context:
    """A context with a fresh trace, for work that nobody asked for from outside."""
    span = trace.SpanContext(
        trace_id=secrets.randbits(128) | 1,
        span_id=secrets.randbits(64) | 1,
        is_remote=False,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else 0),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(span), otel_context.Context())


def trace_ids(context: Context | None = None) -> tuple[str, str] | None:
    """Trace id and span id of the current trace (or that of `context`), in hex, `None` outside."""
    span = trace.get_current_span(context).get_span_context()
    if not span.is_valid:
        return None
    return trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)


@contextlib.contextmanager
def use_trace(context: Context | Mapping[str, str] | None) -> Iterator[None]:
    """Run the block of a `with` inside a trace.

    Context variables do not cross threads. Whoever handles a message elsewhere than it was made
    opens this block with what came along.

    Args:
        context: What `extract_trace` gave, or a carrier it can read; `None` or a carrier without a
            trace changes nothing.
    """
    if context is not None and not isinstance(context, otel_context.Context):
        context = extract_trace(context)
    if context is None:
        yield
        return
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)
