"""Metrics, traces, logs and the audit trail: a listener that the rooms below know nothing of."""

from __future__ import annotations

from understudy.observability._attach import attach
from understudy.observability._audit import AuditEntry, audit
from understudy.observability._logging import add_trace_ids, configure_logging, logger
from understudy.observability._metrics import LATENCY_BUCKETS, Metrics
from understudy.observability._tracing import (
    extract_trace,
    inject_trace,
    new_trace,
    trace_ids,
    use_trace,
)

__all__ = [
    "LATENCY_BUCKETS",
    "AuditEntry",
    "Metrics",
    "add_trace_ids",
    "attach",
    "audit",
    "configure_logging",
    "extract_trace",
    "inject_trace",
    "logger",
    "new_trace",
    "trace_ids",
    "use_trace",
]
