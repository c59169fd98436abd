"""The trace and span of OpenTelemetry's current span. Doesn't import OpenTelemetry."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from dockerflow._core.exchange import current_exchange, was_made_here

SPAN_FIELDS: Final = ("trace_id", "span_id", "trace_flags")
"""As OpenTelemetry names them: https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/"""


def add_span(record: logging.LogRecord) -> None:
    """Add the current span to a record that has none; nothing where OpenTelemetry isn't in use."""
    # It may be half imported, by another thread.
    get_span: Any = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if get_span is None:
        return
    span = get_span().get_span_context()
    fields = record.__dict__
    if (
        span.is_valid
        and fields.keys().isdisjoint(SPAN_FIELDS)
        and was_made_here(record, current_exchange.get())
    ):
        ids = f"{span.trace_id:032x}", f"{span.span_id:016x}", f"{span.trace_flags:02x}"
        fields.update(zip(SPAN_FIELDS, ids, strict=True))
