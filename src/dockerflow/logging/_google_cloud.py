"""Records for others than mozlog's readers: people in front of a terminal, and Google Cloud."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from typing import Any, Final

from dockerflow._core.exchange import current_exchange as exchange_context
from dockerflow._core.request_id import match_traceparent
from dockerflow.logging._json import TRUNCATED, Plain, any_text, free_key
from dockerflow.logging._mozlog import MozlogFormatter, timestamp
from dockerflow.logging._text import render

_SUMMARY: Final = "request.summary"

# --- people --------------------------------------------------------------------------------------

_WIDTH: Final = 20
"""How wide the column of names is; few are longer."""


class TextFormatter(MozlogFormatter):
    """Formats a record for people: the time, the level, the name logged to, message, fields.

    That is one line, with columns; what has lines of its own, such as a traceback, follows
    indented. Other control characters are escaped. ``dockerflow logs`` shows mozlog alike.

    :param logger_name: as for :class:`MozlogFormatter`; it isn't shown.
    :param max_bytes: how long the text may be in bytes; more is cut from its middle.
    :param use_colors: whether there are colours. By default there are if standard output is a
        terminal and the environment has no ``NO_COLOR`` (https://no-color.org).

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        *,
        logger_name: str | None = None,
        max_bytes: int | None = None,
        use_colors: bool | None = None,
    ) -> None:
        super().__init__(logger_name=logger_name, max_bytes=max_bytes)
        self.use_colors = use_colors

    def _written(self, line: dict[str, Any], *, same: bool) -> str:  # noqa: ARG002
        return self._limit(render(line, color=self._has_colours(), width=_WIDTH))

    def _has_colours(self) -> bool:
        if self.use_colors is not None:
            return self.use_colors
        try:
            return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        except Exception:  # noqa: BLE001  # it may be closed, or anything
            return False

    def _limit(self, text: str) -> str:
        limit = self.max_bytes
        if limit is None or len(data := text.encode("utf-8", "backslashreplace")) < limit:
            return text
        half = (limit - len(TRUNCATED)) // 2 - 1
        return f"{data[:half].decode('utf-8', 'ignore')}{TRUNCATED}" + data[-half:].decode(
            "utf-8", "ignore"
        )


# --- Google Cloud --------------------------------------------------------------------------------

# By syslog's severity: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
_SEVERITIES = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
_ERROR = _SEVERITIES.index("ERROR")
_ERROR_EVENT = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
_TRACE_KEY = "logging.googleapis.com/trace"
# https://cloud.google.com/trace/docs/trace-context#legacy-http-header
_cloud_trace = re.compile(
    r"(?!0{32})([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]))?", re.ASCII
).fullmatch


class GoogleCloudFormatter(MozlogFormatter):
    """Formats a record as Google Cloud Logging reads it: one JSON object, on one line.

    It has ``severity``, ``message``, ``time``, where it was logged, and the fields beside these;
    one with a name that Google has a meaning for gets ``_`` appended. ``request.summary`` has an
    ``httpRequest``. A record that is logged during a request has the trace of the request's
    ``traceparent`` or ``X-Cloud-Trace-Context``. An error has the ``@type`` and, if there is an
    exception, the ``stack_trace`` that Error Reporting asks for.

    See https://cloud.google.com/logging/docs/structured-logging and
    https://cloud.google.com/error-reporting/docs/formatting-error-messages.

    :param logger_name: the app's name, ``serviceContext.service``.
    :param max_bytes: as for :class:`MozlogFormatter`. Google takes 256 KB.
    :param project: the id of the project that has the traces; by default that of the environment,
        ``GOOGLE_CLOUD_PROJECT``.

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
        seconds, nanoseconds = divmod(timestamp(record), 10**9)
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        name = self._name(record)
        out: dict[str, Any] = {
            "severity": _SEVERITIES[severity],
            "message": fields.pop("msg", ""),
            "time": f"{clock}.{nanoseconds:09d}Z",
            "logger": record.name,
            "serviceContext": {"service": name},
            **self._trace(),
        }
        stack_trace = fields.pop("traceback", None)
        if record.name == _SUMMARY:
            out["httpRequest"] = request = _http_request(fields)
            if not out["message"]:
                out["message"] = " ".join(
                    any_text(request.get(key, ""))
                    for key in ("requestMethod", "requestUrl", "status")
                )
        else:
            place = {
                "file": record.pathname,
                "line": str(record.lineno),
                "function": record.funcName,
            }
            out["logging.googleapis.com/sourceLocation"] = place
        if severity <= _ERROR:
            out["@type"] = _ERROR_EVENT
            if stack_trace is None:
                location = {
                    "filePath": record.pathname,
                    "lineNumber": record.lineno,
                    "functionName": record.funcName,
                }
                out["context"] = {"reportLocation": location}
        if stack_trace is not None:
            out["stack_trace"] = stack_trace
        for key, value in fields.items():
            out[free_key(key, out)] = value
        return out

    def _plain(
        self,
        out: dict[Any, Any],
        plain: Plain,
        record: logging.LogRecord,  # noqa: ARG002  # another formatter needs it
    ) -> dict[str, Any]:
        return plain.mapping(out)

    def _trace(self) -> dict[str, Any]:
        exchange = exchange_context.get()
        if exchange is None:
            return {}
        headers = exchange.request.headers
        if match := match_traceparent(headers.get("traceparent", "").strip()):
            trace, span, flags = match.groups()
            is_sampled = bool(int(flags, 16) & 1)
        elif match := _cloud_trace(headers.get("x-cloud-trace-context", "").strip()):
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
    """Return what Google calls an HttpRequest, taken out of the fields of a summary."""
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
