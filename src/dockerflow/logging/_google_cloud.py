"""Records as Google Cloud Logging reads them."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from dockerflow._core.exchange import current_exchange, was_made_here
from dockerflow._core.request_id import match_traceparent
from dockerflow._core.summary import NAME
from dockerflow.logging._json import JsonValues, any_text, free_key, is_logged
from dockerflow.logging._mozlog import SEVERITIES, MozlogFormatter, timestamp
from dockerflow.logging._trace import SPAN_FIELDS

# https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
_SEVERITIES: Final = ("EMERGENCY", *SEVERITIES[1:])
_ERROR: Final = SEVERITIES.index("ERROR")
_ERROR_EVENT: Final = (
    "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
)
_TRACE_KEY: Final = "logging.googleapis.com/trace"
# https://cloud.google.com/trace/docs/trace-context#legacy-http-header
_is_cloud_trace: Final = re.compile(
    r"(?!0{32})([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]))?", re.ASCII
).fullmatch


class GoogleCloudFormatter(MozlogFormatter):
    """Formats a record as Google Cloud Logging reads it: one JSON object, on one line.

    It has ``severity``, ``message``, ``time``, the place in the source, and the record's fields; a
    field with the name of one of Google's gets ``_`` appended. ``request.summary`` has an
    ``httpRequest``. A record has the trace of OpenTelemetry's current span, as
    :class:`MozlogHandler` adds it; else, during a request, that of the request's ``traceparent`` or
    ``X-Cloud-Trace-Context``. An error has the ``@type`` and, if there is an
    exception, the ``stack_trace`` that Error Reporting asks for.

    See https://cloud.google.com/logging/docs/structured-logging and
    https://cloud.google.com/error-reporting/docs/formatting-error-messages.

    :param logger_name: the app's name, ``serviceContext.service``.
    :param max_bytes: as for :class:`MozlogFormatter`. Google's limit is 256 KB.
    :param project: the ID of the project that has the traces; by default
        ``GOOGLE_CLOUD_PROJECT`` in the environment.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        *,
        logger_name: str | None = None,
        max_bytes: int | None = None,
        project: str | None = None,
    ) -> None:
        super().__init__(logger_name=logger_name, max_bytes=max_bytes)
        self.project: str | None = project or os.environ.get("GOOGLE_CLOUD_PROJECT")

    def _convert(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = self._fields(record)
        severity = self._severity(record.levelno)
        if not 0 <= severity < len(_SEVERITIES):
            severity = len(_SEVERITIES) - 1
        seconds, nanoseconds = divmod(timestamp(record), 10**9)
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        out: dict[str, Any] = {
            "severity": _SEVERITIES[severity],
            "message": fields.pop("msg", ""),
            "time": f"{clock}.{nanoseconds:09d}Z",
            "logger": record.name,
            "serviceContext": {"service": self._app_name(record)},
            **self._trace(record, fields),
        }
        if record.funcName == NAME:
            out["message"] = record.getMessage()
            out["httpRequest"] = _http_request(fields)
        else:
            out["logging.googleapis.com/sourceLocation"] = {
                "file": record.pathname,
                "line": str(record.lineno),
                "function": record.funcName,
            }
        stack_trace = fields.pop("traceback", None)
        if stack_trace is not None:
            out["stack_trace"] = stack_trace
        if severity <= _ERROR:
            out["@type"] = _ERROR_EVENT
            if stack_trace is None:
                location = {
                    "filePath": record.pathname,
                    "lineNumber": record.lineno,
                    "functionName": record.funcName,
                }
                out["context"] = {"reportLocation": location}
        for key, value in fields.items():
            if is_logged(value):
                out[free_key(key, out)] = value
        return out

    def _checked(self, out: dict[Any, Any], record: logging.LogRecord) -> dict[str, Any]:  # noqa: ARG002
        return out

    def _plain(self, line: dict[str, Any]) -> dict[str, Any]:
        return JsonValues().mapping(line)

    def _trace(self, record: logging.LogRecord, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the trace of the span that the handler has added, or of the request's headers."""
        exchange = current_exchange.get()
        headers: Mapping[str, str] = {}
        current_span = "-".join(["00", *(any_text(fields.get(name)) for name in SPAN_FIELDS)])
        if match_traceparent(current_span):
            headers = {"traceparent": current_span}
            for name in SPAN_FIELDS:
                del fields[name]
        elif exchange is not None and was_made_here(record, exchange):
            headers = exchange.request.headers
        if match := match_traceparent(headers.get("traceparent", "").strip()):
            trace, span, flags = match.groups()
            is_sampled = bool(int(flags, 16) & 1)
        elif match := _is_cloud_trace(headers.get("x-cloud-trace-context", "").strip()):
            trace, number, flags = match.groups()
            span = f"{int(number or 0) % 2**64:016x}"
            is_sampled = flags == "1"
        else:
            return {}
        made: dict[str, Any] = {
            _TRACE_KEY: f"projects/{self.project}/traces/{trace}" if self.project else trace
        }
        if int(span, 16):
            made["logging.googleapis.com/spanId"] = span
        made["logging.googleapis.com/trace_sampled"] = is_sampled
        return made


def _http_request(fields: dict[str, Any]) -> dict[str, Any]:
    """Return Google's HttpRequest of a summary, and remove what it has from the fields."""
    request: dict[str, Any] = {}
    for ours, theirs in (("method", "requestMethod"), ("code", "status"), ("agent", "userAgent")):
        value = fields.pop(ours, None)
        if value not in (None, ""):
            request[theirs] = value
    url = any_text(fields.pop("path", ""))
    if query := fields.pop("querystring", ""):
        url = f"{url}?{any_text(query)}"
    request["requestUrl"] = url
    if isinstance(milliseconds := fields.pop("t", None), int | float):
        request["latency"] = f"{milliseconds / 1000:.3f}s"
    addresses = fields.pop("remoteAddressChain", None)
    if isinstance(addresses, list) and addresses:
        request["remoteIp"] = addresses[0]
    return request
