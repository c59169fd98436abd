"""Logs as mozlog, as readable text, or for Google Cloud; and one call that sets them up."""

from __future__ import annotations

import logging
from typing import Any

from dockerflow._core.exchange import current_exchange, was_made_here
from dockerflow._core.request_id import (
    get_or_generate_request_id,
    get_request_id,
    request_id_context,
)
from dockerflow.logging._config import (
    auto_filter,
    auto_formatter,
    configure_logging,
    logging_config,
)
from dockerflow.logging._google_cloud import GoogleCloudFormatter
from dockerflow.logging._handlers import MozlogHandler, QueuedHandler
from dockerflow.logging._json import SafeJSONEncoder, safer_format_traceback
from dockerflow.logging._mozlog import JsonLogFormatter, MozlogFormatter
from dockerflow.logging._text import TextFormatter
from dockerflow.logging._trace import add_span

__all__ = [
    "GoogleCloudFormatter",
    "JsonLogFormatter",
    "MozlogFormatter",
    "MozlogHandler",
    "QueuedHandler",
    "RequestIdLogFilter",
    "SafeJSONEncoder",
    "TextFormatter",
    "auto_filter",
    "auto_formatter",
    "configure_logging",
    "get_or_generate_request_id",
    "get_request_id",
    "logging_config",
    "request_id_context",
    "safer_format_traceback",
]


class RequestIdLogFilter(logging.Filter):
    """Adds the ID of the current request to a record, as ``rid``; ``None`` outside of a request.

    It is for other packages' handlers: :class:`MozlogHandler` adds the ID itself. A record that
    has one keeps it. OpenTelemetry's current span is added too, as by that handler.
    """

    def filter(self, record: logging.LogRecord) -> Any:
        """Set ``rid`` and let the record pass."""
        add_span(record)
        if getattr(record, "rid", None) is None:
            is_current = was_made_here(record, current_exchange.get())
            record.rid = get_request_id() if is_current else None
        return super().filter(record)
