"""Records as mozlog: each becomes one line with a valid JSON object."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import sys
import time
import warnings
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar, Final, Literal, cast

from dockerflow._core.summary import ERROR, NAME, RESERVED
from dockerflow.logging._json import (
    MAX_INT64,
    MIN_INT64,
    JsonValues,
    any_text,
    are_plain,
    encode_line,
    foreign_text,
    free_key,
    safer_format_traceback,
    truncate_to,
    unicode_text,
)

DEFAULT_NAME: Final = "Dockerflow"
SEVERITIES: Final = ("EMERG", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
"""Syslog's severities, by their number (RFC 5424)."""
# The longest names and an empty line around them fit into this.
MIN_BYTES: Final = 1024
# Keys of structlog's events that are logged in another way, or are not for the log.
_EVENT_META: Final = frozenset({"level", "level_number", "logger", "_record", "_from_structlog"})
_MAX_SEVERITY: Final = len(SEVERITIES) - 1
_MAX_INT32: Final = 2**31 - 1
_TEXTS: Final = ("Type", "Logger", "Hostname")
_INTEGERS: Final = {
    "Timestamp": (MIN_INT64, MAX_INT64),
    "Severity": (MIN_INT64, MAX_INT64),  # an app may choose another scale, as Google Cloud's
    "Pid": (0, _MAX_INT32),
}
_is_version: Final = re.compile(r"[0-9]+(?:\.[0-9]+){0,2}").fullmatch


def _hostname() -> str:
    try:
        return unicode_text(socket.gethostname())
    except OSError:
        return "localhost"


class MozlogFormatter(logging.Formatter):
    """Formats a record as mozlog: one valid JSON object, on one line.

    The object has ``Timestamp`` (nanoseconds), ``Type`` (the name of the logger), ``Logger``
    (the app), ``Hostname``, ``EnvVersion``, ``Severity``, ``Pid`` and ``Fields``. The message is
    the field ``msg``; a ``request.summary`` has none, or the text of its exception. What was passed
    as ``extra`` has its own fields, and so have an exception (``error``, ``traceback``) and a stack
    (``stack``). Values are converted to JSON as follows:

    - ``None`` is left out, and so is ``Fields`` if it would be empty. Functions and methods
      among a record's attributes are left out too.
    - A mapping becomes an object of one level: ``{"a": {"b": {"c": 1}}}`` gives the field ``a``
      the value ``{"b.c": 1}``. An empty one becomes ``"{}"``.
    - A list, tuple, deque or set becomes an array if all its items are strings, all numbers or
      all booleans. Otherwise its items become strings: a string stays, another item is written
      as JSON. An empty one becomes ``"[]"``. Sets are sorted.
    - NaN and the infinities become ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``; an integer
      beyond 64 bits becomes a string (hexadecimal if it is huge).
    - Bytes are decoded as UTF-8. Bytes that aren't UTF-8 and lone surrogates are escaped with a
      backslash.
    - Dates and times are written in ISO 8601; any other object by its ``str()`` if its class
      defines one, else by its ``repr()``. If that fails, it is ``<unprintable X object>``.
    - A cycle becomes ``"[Circular]"``; what is nested deeper than 16 levels, or comes after
      100,000 values, becomes ``"[Truncated]"``.
    - Keys become strings. If two have the same name, the later one gets ``_`` appended, as does
      a field with the name of one that the formatter makes for this record (``msg``, ``error``,
      ``traceback``, ``stack``, ``args``).
    - If the arguments don't fit the message, the message stays as it is and the arguments become
      the field ``args``.
    - An event of structlog that was passed on by its ``wrap_for_formatter`` is taken apart: see
      :mod:`dockerflow.structlog`.

    A level between two of :attr:`SYSLOG_LEVEL_MAP` gets the severity between theirs: 25 is 5,
    "notice". A level above the highest counts as the highest; one below the lowest has
    :attr:`DEFAULT_SYSLOG_LEVEL`. A subclass may replace both, and may use another scale than
    syslog's: what it sets is written.

    Lines are encoded by orjson if it is installed.

    :param fmt: not used; accepted for ``logging.config``, like the next two.
    :param datefmt: not used.
    :param style: not used.
    :param logger_name: the app's name. A subclass may set it as an attribute instead. A name that
        :class:`MozlogHandler` was given has precedence.
    :param max_bytes: the maximum length of a line in bytes, its end included; at least 1024. In a
        longer line, long values are cut to strings with ``[Truncated]`` in the middle; if that
        isn't enough, the fields that don't fit are left out. The field ``truncated`` then has
        the original length. By default there is no limit.
    :raises ValueError: if ``max_bytes`` is not such a number.
    """

    LOGGING_FORMAT_VERSION: ClassVar[str] = "2.0"
    SYSLOG_LEVEL_MAP: ClassVar[Mapping[int, int]] = {
        logging.CRITICAL: 2,
        logging.ERROR: 3,
        logging.WARNING: 4,
        logging.INFO: 6,
        logging.DEBUG: 7,
    }
    DEFAULT_SYSLOG_LEVEL: ClassVar[int] = 7
    EXCLUDED_LOGRECORD_ATTRS: ClassVar[set[str]] = {
        *RESERVED,
        "getMessage",  # New Relic's agent puts its own on each record
        "color_message",  # uvicorn's: the message again, for terminals
        "logger_name",  # is Logger
        ERROR,  # is the summary's msg
    }

    # Class attributes, since a subclass may not call our __init__.
    logger_name: str = DEFAULT_NAME
    hostname: str = _hostname()
    max_bytes: int | None = None

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        logger_name: str | None = None,
        *,
        validate: bool = False,
        defaults: Mapping[str, Any] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__(fmt, datefmt, style, validate=validate, defaults=defaults)
        if max_bytes is not None and not _is_int(max_bytes, MIN_BYTES, MAX_INT64):
            raise ValueError(f"max_bytes must be a number from {MIN_BYTES} on, not {max_bytes!r}")
        self.max_bytes = max_bytes
        self.hostname = _hostname()
        if logger_name is not None:
            self.logger_name = logger_name

    def is_value_jsonlike(self, value: Any) -> bool:
        """Return whether the value is a string that looks like a JSON object.

        It isn't used, unless a subclass overrides it: then a message for which it is true is left
        out.
        """
        return isinstance(value, str) and value.startswith("{") and value.endswith("}")

    def convert_record(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what is logged for the record, as a dictionary.

        Override it to change that. The values may be any objects: :meth:`format` converts them.
        If an override raises or returns something else, the record is logged without it, and
        the field ``logging_error`` has the reason.
        """
        return self._convert(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON; never raises."""
        try:
            converter = getattr(self.convert_record, "__func__", None)
            if converter is MozlogFormatter.convert_record:
                line = self._convert(record)
            else:
                line = self._checked(self._converted(record), record)
            return self._write(self._plain(line))
        except Exception as error:  # noqa: BLE001  # losing the line would be worse
            return _last_resort(record, error)

    def _converted(self, record: logging.LogRecord) -> dict[Any, Any]:
        """Return what an override of ``convert_record`` returns, or what it replaces."""
        try:
            out: dict[Any, Any] = self.convert_record(record)
            if isinstance(cast("object", out), dict):
                return out
            problem = f"convert_record returned {any_text(out)}"
        except Exception as error:  # noqa: BLE001  # an override may raise anything
            problem = foreign_text(repr, error)
        out = self._convert(record)
        fields = out.get("Fields", out)
        fields[free_key("logging_error", fields)] = problem
        return out

    # What the other formatters replace: the content, its conversion to plain JSON values, and how
    # these are written.

    def _convert(self, record: logging.LogRecord) -> dict[str, Any]:
        pid = record.process
        return {
            "Timestamp": timestamp(record),
            "Type": any_text(record.name),
            "Logger": any_text(self._app_name(record)),
            "Hostname": any_text(self.hostname),
            "EnvVersion": self.LOGGING_FORMAT_VERSION,
            "Severity": self._severity(record.levelno),
            "Pid": pid if _is_int(pid, 1, _MAX_INT32) else os.getpid(),
            "Fields": self._fields(record),
        }

    def _plain(self, line: dict[str, Any]) -> dict[str, Any]:
        fields = line.pop("Fields", {})
        if not are_plain(fields):
            fields = JsonValues().fields(fields)
        if fields:
            line["Fields"] = fields
        return line

    def _checked(self, out: dict[Any, Any], record: logging.LogRecord) -> dict[str, Any]:
        """Return what an override returned with each property in the type that it must have."""
        values = JsonValues()
        line: dict[str, Any] = {"Timestamp": timestamp(record)}
        for key, value in out.items():
            if key == "Fields":
                # A copy: it may be no dictionary, or one that the override uses again.
                is_mapping = isinstance(value, Mapping)
                line[key] = dict(cast("Any", value).items()) if is_mapping else {key: value}
            elif key == "EnvVersion":
                is_right = isinstance(value, str) and _is_version(value) is not None
                line[key] = value if is_right else self.LOGGING_FORMAT_VERSION
            elif key in _INTEGERS:
                is_right = _is_int(value, *_INTEGERS[key])
                line[key] = value if is_right else self._convert(record)[key]
            elif key in _TEXTS and value is not None:
                line[key] = any_text(value)
            elif (made := values.field(value)) is not None:
                line[free_key(any_text(key), line)] = made
        return line

    def _write(self, line: dict[str, Any]) -> str:
        return encode_line(line) if self.max_bytes is None else truncate_to(self.max_bytes, line)

    def _app_name(self, record: logging.LogRecord) -> Any:
        given = getattr(record, "logger_name", None)
        # A handler's default doesn't replace the name that the formatter was given.
        return self.logger_name if given in (None, DEFAULT_NAME) else given

    def _severity(self, level: Any) -> int:
        levels = self.SYSLOG_LEVEL_MAP
        try:
            severity = levels[level] if level in levels else self._severity_between(level)
        except TypeError:  # it isn't a number
            return _MAX_SEVERITY
        return severity if _is_int(severity, MIN_INT64, MAX_INT64) else _MAX_SEVERITY

    def _severity_between(self, level: float) -> int:
        levels = self.SYSLOG_LEVEL_MAP
        below = max((known for known in levels if known < level), default=None)
        above = min((known for known in levels if known > level), default=None)
        if below is None:
            return self.DEFAULT_SYSLOG_LEVEL
        if above is None:
            return levels[below]
        part = (level - below) / (above - below)
        # Half-way counts as the graver one.
        return math.ceil(levels[below] + (levels[above] - levels[below]) * part - 0.5)

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        message: Any = record.msg
        if type(message) is dict and "_logger" in record.__dict__:
            record = from_event(cast("Any", message), record)
        excluded = self.EXCLUDED_LOGRECORD_ATTRS
        fields = {key: value for key, value in record.__dict__.items() if key not in excluded}
        own = _own_fields(record)
        is_overridden = type(self).is_value_jsonlike is not MozlogFormatter.is_value_jsonlike
        if is_overridden and self.is_value_jsonlike(own.get("msg")):
            own.pop("msg", None)
        for key, value in own.items():
            if key in fields:
                fields[free_key(key, fields)] = fields[key]
            fields[key] = value
        return fields


def from_event(event: dict[Any, Any], base: logging.LogRecord) -> logging.LogRecord:
    """Return a record with the message and fields of an event of structlog.

    :param event: structlog's event dictionary, which isn't changed.
    :param base: the record with the other attributes, which isn't changed either.
    """
    record = logging.makeLogRecord(base.__dict__)
    taken = record.__dict__
    for key in ("_logger", "_name"):
        taken.pop(key, None)
    fields = {key: value for key, value in event.items() if key not in _EVENT_META}
    record.msg, record.args = fields.pop("event", ""), ()
    info: Any = fields.pop("exc_info", None)
    if info and not isinstance(info, tuple | BaseException):
        info = sys.exc_info()
    # structlog's asynchronous methods log in another thread than the one with the exception.
    record.exc_info = cast("Any", info) or record.exc_info
    for key, attribute in (
        ("exception", "exc_text"),  # from structlog.processors.format_exc_info
        ("stack", "stack_info"),  # from structlog.processors.StackInfoRenderer
        ("stack_info", "stack_info"),
    ):
        value = fields.get(key)
        if isinstance(value, str):
            setattr(record, attribute, value)
        if isinstance(value, str | bool):
            del fields[key]
    for key, value in fields.items():
        taken[key if key not in RESERVED else free_key(f"{key}_", fields)] = value
    return record


class JsonLogFormatter(MozlogFormatter):
    """The former name of :class:`MozlogFormatter`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            "JsonLogFormatter is deprecated: use MozlogFormatter", DeprecationWarning, stacklevel=2
        )
        super().__init__(*args, **kwargs)


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def timestamp(record: logging.LogRecord) -> int:
    """Return the record's time in nanoseconds; the present if it isn't one."""
    try:
        stamp = int(record.created * 1e9)
    except (TypeError, ValueError, OverflowError):
        return time.time_ns()
    return stamp if MIN_INT64 <= stamp <= MAX_INT64 else time.time_ns()


def exception_of(record: logging.LogRecord) -> tuple[Any, Any, Any]:
    """Return the exception of a record, as :func:`sys.exc_info` would."""
    match cast("Any", record.exc_info):
        case BaseException() as exc:
            return type(exc), exc, exc.__traceback__
        case (kind, exc, trace):
            return kind, exc, trace
        case _:
            return None, None, None


def _own_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that are made from the record's standard attributes."""
    fields: dict[str, Any] = {}
    message: Any = record.msg
    try:
        if record.funcName == NAME:  # its other fields have the rest of the message
            message = record.__dict__.get(ERROR, "")
        elif record.args or not isinstance(message, bytes | bytearray):
            message = record.getMessage()
    except Exception:  # noqa: BLE001  # the arguments don't fit, or any code ran in there
        if record.args:
            fields["args"] = record.args
    if message := any_text(message):
        fields["msg"] = message
    kind, exc, trace = exception_of(record) if record.exc_info else (None, None, None)
    if kind is not None or exc is not None:
        fields["error"] = foreign_text(repr, kind if exc is None else exc)
        fields["traceback"] = safer_format_traceback(kind, exc, trace)
    elif record.exc_text:
        # From another process, which could not send the exception itself.
        fields["error"] = any_text(record.exc_text).rstrip("\n").rpartition("\n")[2]
        fields["traceback"] = record.exc_text
    if record.stack_info:
        fields["stack"] = record.stack_info
    return fields


def _last_resort(record: logging.LogRecord, error: Exception) -> str:
    """Return a line with the message at least, by as little code as possible."""
    fields = {
        "msg": foreign_text(attrgetter("msg"), record),
        "args": foreign_text(lambda record: str(record.args), record),
        "logging_error": type(error).__name__,
    }
    return encode_line(
        {
            "Timestamp": time.time_ns(),
            "Type": foreign_text(attrgetter("name"), record),
            "Logger": DEFAULT_NAME,
            "Hostname": MozlogFormatter.hostname,
            "EnvVersion": MozlogFormatter.LOGGING_FORMAT_VERSION,
            "Severity": 3,
            "Pid": os.getpid(),
            "Fields": fields,
        }
    )
