"""Records as mozlog: one strictly valid JSON object a line, whatever is logged."""

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
from collections.abc import Set as AbstractSet
from functools import cache
from logging import LogRecord
from operator import itemgetter
from typing import Any, ClassVar, Final, Literal, cast

SummaryRecord = LogRecord
untouched = lambda record: None
from dockerflow.logging._json import (
    MAX_INT64,
    MIN_INT64,
    Plain,
    any_repr,
    any_text,
    fit,
    free_key,
    safer_format_traceback,
    unicode_text,
    write_json,
    write_simple,
)

DEFAULT_NAME = "Dockerflow"
# The longest names and an empty line around them fit into this.
MIN_BYTES = 1024
# What logging itself calls the parts of a record.
RESERVED = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# What structlog puts beside the event, and is said elsewhere.
_EVENT_META = frozenset({"level", "level_number", "logger", "_record", "_from_structlog"})
_MAX_SEVERITY = 7
_TEXTS = frozenset({"Type", "Logger", "Hostname"})
_ENVELOPE = _TEXTS | {"EnvVersion", "Severity", "Pid"}
_MAX_INT32 = 2**31 - 1
_version_like = re.compile(r"[0-9]+(?:\.[0-9]+){0,2}").fullmatch


@cache
def _hostname() -> str:
    try:
        return unicode_text(socket.gethostname())
    except OSError:
        return "localhost"


# Asking the system takes as long as writing the line.
_process_id = cache(os.getpid)

if hasattr(os, "register_at_fork"):
    # A child may be moved to a namespace of its own.
    os.register_at_fork(after_in_child=_hostname.cache_clear)
    os.register_at_fork(after_in_child=_process_id.cache_clear)


class MozlogFormatter(logging.Formatter):
    """Formats a record as mozlog: one strictly valid JSON object, on one line.

    The object has ``Timestamp`` (nanoseconds), ``Type`` (the name that was logged to), ``Logger``
    (the app), ``Hostname``, ``EnvVersion``, ``Severity``, ``Pid`` and ``Fields``. The message is
    the field ``msg``, what came by ``extra`` has fields of its own, and so have an exception
    (``error``, ``traceback``) and a stack (``stack``). What was logged is brought to JSON so:

    - ``None`` is left out, and so is ``Fields`` if nothing remains.
    - A mapping becomes an object of one level: ``{"a": {"b": {"c": 1}}}`` gives the field ``a``
      the value ``{"b.c": 1}``. An empty one becomes ``"{}"``.
    - A list, tuple, deque or set becomes an array if all its items are strings, all numbers or
      all booleans. Otherwise its items become strings: a string stays, another is written as
      JSON. An empty one becomes ``"[]"``. Sets are sorted.
    - NaN and the infinities become ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``; an integer
      beyond 64 bits becomes a string (hexadecimal if it is huge).
    - Bytes are decoded as UTF-8; what is no UTF-8 is escaped with a backslash, as are lone
      surrogates.
    - Dates and times are written in ISO 8601; any other object by its ``str()`` if its class
      has one, else by its ``repr()``. If that fails it is ``<unprintable X object>``.
    - A cycle becomes ``"[Circular]"``; what is nested deeper than 16 levels, or comes after
      100,000 values, becomes ``"[Truncated]"``.
    - Keys become strings. Where two have the same name, the later one gets ``_`` appended. A
      field called like one that the formatter makes (``msg``, ``error``, ``traceback``,
      ``stack``, ``args``) makes way in the same manner.
    - Arguments that do not fit the message: the message stays as it is, the arguments become
      the field ``args``.
    - An event of structlog that came by its ``wrap_for_formatter`` is taken apart like any
      other record: see :mod:`dockerflow.structlog`.

    A level between two of :attr:`SYSLOG_LEVEL_MAP` gets the severity that lies between theirs:
    25 is 5, "notice". One above the highest is taken for the highest; one below the lowest has
    :attr:`DEFAULT_SYSLOG_LEVEL`.

    The output is the same whether orjson is installed or not.

    :param fmt: not used; taken for the sake of ``logging.config``, like the next two.
    :param datefmt: not used.
    :param style: not used.
    :param logger_name: the app's name. A subclass may set it as an attribute instead. A name that
        :class:`MozlogHandler` was given is preferred.
    :param max_bytes: how long a line may be in bytes, its end included; at least 1024. In a line
        that is longer, long values are cut to strings with ``[Truncated]`` in their middle, and
        if that isn't enough, the fields that don't fit are left out. The field ``truncated``
        then has the length that the line had. By default there is no limit.
    :raises ValueError: when ``max_bytes`` is something else.
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
    EXCLUDED_LOGRECORD_ATTRS: ClassVar[AbstractSet[str]] = frozenset(
        {
            "args",
            "asctime",
            "color_message",  # uvicorn's: the message again, for terminals
            "created",
            "exc_info",
            "exc_text",
            "filename",
            "funcName",
            "levelname",
            "levelno",
            "lineno",
            "logger_name",
            "message",
            "module",
            "msecs",
            "msg",
            "name",
            "pathname",
            "process",
            "processName",
            "relativeCreated",
            "stack_info",
            "taskName",
            "thread",
            "threadName",
        }
    )

    logger_name: str = DEFAULT_NAME
    # A subclass may forget to call our __init__.
    max_bytes: int | None = None

    def __init__(  # noqa: PLR0913
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
        if max_bytes is not None and not is_int(max_bytes, MIN_BYTES, MAX_INT64):
            raise ValueError(f"max_bytes is {max_bytes!r}, but takes a number from {MIN_BYTES}")
        self.max_bytes = max_bytes
        self._properties: dict[tuple[Any, ...], str] = {}
        if logger_name is not None:
            self.logger_name = logger_name

    @staticmethod
    def is_value_jsonlike(value: Any) -> bool:
        """Return whether the value is a text that looks like a JSON object."""
        return isinstance(value, str) and value.startswith("{") and value.endswith("}")

    def convert_record(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what is logged for the record, as a dictionary.

        Override it to change that. The values may be anything, :meth:`format` makes JSON of them;
        if an override raises, or returns no dictionary, the record is logged without it and the
        field ``logging_error`` says why.
        """
        return self._convert(record)

    def _convert(self, record: logging.LogRecord) -> dict[str, Any]:
        return {
            "Timestamp": timestamp(record),
            "Type": record.name,
            "Logger": self._name(record),
            "Hostname": _hostname(),
            "EnvVersion": self.LOGGING_FORMAT_VERSION,
            "Severity": self._severity(record.levelno),
            "Pid": _pid(record),
            "Fields": self._fields(record),
        }

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        if type(cast("Any", record.msg)) is dict and "_logger" in record.__dict__:
            record = from_event(cast("Any", record.msg), record)
        excluded = self.EXCLUDED_LOGRECORD_ATTRS
        fields: dict[str, Any] = {
            key: value
            for key, value in record.__dict__.items()
            if value is not None and key not in excluded
        }
        for key, value in _own_fields(record).items():
            if key in fields:
                fields[free_key(key, fields)] = fields[key]
            fields[key] = value
        return fields

    def format(self, record: logging.LogRecord) -> str:  # noqa: C901, PLR0912  # calls cost
        """Return the record as one line of JSON; never raise."""
        # Most records have plain values in ASCII. Their line is made here, in a short way; it is
        # the one that _format() makes, which looks closer at all others.
        cls, kind = type(self), type(record)
        if (
            (kind is LogRecord or kind is SummaryRecord)
            and self.max_bytes is None
            and self.EXCLUDED_LOGRECORD_ATTRS is _excluded
            and self.LOGGING_FORMAT_VERSION is _version
            and getattr(self.convert_record, "__func__", None) is _convert_record
            and (cls is MozlogFormatter or _keeps_hooks(cast("Any", cls)))
        ):
            try:
                if kind is not LogRecord and (summary := untouched(record)) is not None:
                    fields, name, created, given = summary
                    if not _OTHERS.isdisjoint(fields):
                        raise ValueError  # noqa: TRY301
                    logger = self.logger_name if given in _NO_NAMES else given
                    level, pid = logging.INFO, _process_id()
                else:
                    state = record.__dict__
                    msg, args, error, error_text, stack, name, level, pid, created = _parts(state)
                    if error or error_text or stack or type(msg) is not str:
                        raise ValueError  # noqa: TRY301
                    fields = state.copy()
                    for key in _ALWAYS_THERE:
                        del fields[key]
                    logger = self.logger_name
                    if not _OTHERS.isdisjoint(fields):
                        logger = self._name(record)
                        for key in _OTHERS:
                            fields.pop(key, None)
                    if args:
                        msg = record.getMessage()
                    if msg:
                        fields["msg"] = msg
                if 0 <= created < _LATEST:
                    same = name, logger, self.SYSLOG_LEVEL_MAP[level], pid
                    properties = self._properties.get(same) or self._remember(*same)
                    written = write_simple(fields)
                    line = f'{{"Timestamp":{int(created * 1e9)},{properties},"Fields":{written}}}'
                    if line.isascii():
                        return line
            except Exception:  # noqa: BLE001, S110  # it is found out below what is wrong
                pass
        try:
            return self._format(record)
        except Exception as error:  # noqa: BLE001  # losing the line would be worse
            return _last_resort(record, error)

    def _remember(self, name: Any, logger: Any, severity: int, pid: Any) -> str:
        """Write the properties that are the same in many lines, and keep that.

        :raises ValueError: when one of them has to be looked at more closely.
        """
        if (
            not (type(name) is type(logger) is str)
            or not is_int(severity, 0, _MAX_SEVERITY)
            or not is_int(pid, 0, _MAX_INT32)
        ):
            raise ValueError
        properties = {
            "Type": name,
            "Logger": logger,
            "Hostname": _hostname(),
            "EnvVersion": MozlogFormatter.LOGGING_FORMAT_VERSION,
            "Severity": severity,
            "Pid": pid,
        }
        if len(self._properties) >= _MAX_REMEMBERED:  # somebody makes loggers without end
            self._properties.clear()
        made = write_json(properties, same=True)[1:-1]
        self._properties[name, logger, severity, pid] = made
        return made

    def _format(self, record: logging.LogRecord) -> str:
        problem = None
        try:
            out: Any = self.convert_record(record)
            if not isinstance(out, dict):
                problem = f"convert_record returned {any_text(out)}"
        except Exception as error:  # noqa: BLE001  # an override may raise anything
            out, problem = None, any_repr(error)
        if problem is not None:
            out = self._convert(record)
            fields = out.get("Fields", out)
            fields[free_key("logging_error", fields)] = problem
        plain = Plain()
        line = self._plain(cast("dict[Any, Any]", out), plain, record)
        return self._written(line, same=plain.same)

    def _written(self, line: dict[str, Any], *, same: bool) -> str:
        if self.max_bytes is None:
            return write_json(line, same=same)
        return fit(line, self.max_bytes, same=same)

    def _plain(
        self, out: dict[Any, Any], plain: Plain, record: logging.LogRecord
    ) -> dict[str, Any]:
        """Return the line's object as plain JSON: an override may have put anything into it."""
        line: dict[str, Any] = {"Timestamp": out.get("Timestamp")}
        if not is_int(line["Timestamp"], MIN_INT64, MAX_INT64):
            line["Timestamp"] = timestamp(record)
        for key, value in out.items():
            if key == "Timestamp":
                continue
            if key == "Fields":
                mapping: Any = cast("Any", value) if isinstance(value, Mapping) else {key: value}
                made: Any = plain.fields(mapping) or None
            elif key in _ENVELOPE:
                made = self._property(key, value, record)
            else:
                made = plain.field(value)
            if made is not None:
                name = key if type(key) is str and key.isascii() else any_text(key)
                line[free_key(name, line)] = made
        return line

    def _property(self, key: str, value: Any, record: logging.LogRecord) -> Any:
        if key in _TEXTS and type(value) is str and value.isascii():
            return value
        if key == "EnvVersion":
            right = isinstance(value, str) and _version_like(value) is not None
            return value if right else MozlogFormatter.LOGGING_FORMAT_VERSION
        if key == "Severity":
            right = is_int(value, 0, _MAX_SEVERITY)
            return value if right else self._severity(record.levelno)
        if key == "Pid":
            return value if is_int(value, 0, _MAX_INT32) else _pid(record)
        return None if value is None else any_text(value)

    def _name(self, record: logging.LogRecord) -> Any:
        given = getattr(record, "logger_name", None)
        # A handler's default is no reason to forget the name that the formatter was given.
        return self.logger_name if given in _NO_NAMES else given

    def _severity(self, level: Any) -> int:
        levels = self.SYSLOG_LEVEL_MAP
        try:
            severity = levels.get(level)
            if severity is None:
                below = max((known for known in levels if known < level), default=None)
                above = min((known for known in levels if known > level), default=None)
                if below is None:
                    severity = self.DEFAULT_SYSLOG_LEVEL
                elif above is None:
                    severity = levels[below]
                else:
                    part = (level - below) / (above - below)
                    exact = levels[below] + (levels[above] - levels[below]) * part
                    # Half-way counts as the graver one.
                    severity = math.ceil(exact - 0.5)
            return min(max(int(severity), 0), _MAX_SEVERITY)
        except Exception:  # noqa: BLE001  # the level may be anything
            return _MAX_SEVERITY


def from_event(event: dict[Any, Any], base: logging.LogRecord) -> logging.LogRecord:
    """Return a record that says what an event of structlog says.

    :param event: structlog's event dictionary; it stays as it is.
    :param base: the record to begin with; it stays as it is, too.
    """
    record = logging.makeLogRecord(base.__dict__)
    taken = record.__dict__
    for key in ("_logger", "_name"):
        taken.pop(key, None)
    fields = {key: value for key, value in event.items() if key not in _EVENT_META}
    record.msg, record.args = fields.pop("event", ""), ()
    info: Any = fields.pop("exc_info", None)
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    elif info and not isinstance(info, tuple):
        info = sys.exc_info()
    # The logger may have looked for the exception in another thread than where it is.
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


_convert_record: Final = MozlogFormatter.convert_record
_excluded: Final = MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS
_version: Final = MozlogFormatter.LOGGING_FORMAT_VERSION
_ALWAYS_THERE: Final = tuple(_excluded & logging.makeLogRecord({}).__dict__.keys())
_OTHERS: Final = frozenset(_excluded - set(_ALWAYS_THERE))
_parts: Final = itemgetter(
    "msg", "args", "exc_info", "exc_text", "stack_info", "name", "levelno", "process", "created"
)
_LATEST: Final = MAX_INT64 // 10**9
_MAX_REMEMBERED: Final = 200
_NO_NAMES: Final = (None, DEFAULT_NAME)
_HOOKS: Final = ("_convert", "_fields", "_format", "_name", "_plain", "_severity", "_written")


@cache
def _keeps_hooks(cls: type[MozlogFormatter]) -> bool:
    """Whether the subclass makes lines as its base does; else nothing is cut short."""
    return all(getattr(cls, name) is getattr(MozlogFormatter, name) for name in _HOOKS)


class JsonLogFormatter(MozlogFormatter):
    """The former name of :class:`MozlogFormatter`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            "JsonLogFormatter is called MozlogFormatter now", DeprecationWarning, stacklevel=2
        )
        super().__init__(*args, **kwargs)


def is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def timestamp(record: logging.LogRecord) -> int:
    try:
        stamp = int(record.created * 1e9)
        if is_int(stamp, MIN_INT64, MAX_INT64):
            return stamp
    except Exception:  # noqa: BLE001, S110  # it may have been set to anything
        pass
    return time.time_ns()


def _pid(record: logging.LogRecord) -> int:
    # The process that logged need not be the one that formats.
    pid: Any = record.process
    return pid if is_int(pid, 0, _MAX_INT32) else os.getpid()


def _own_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that are not taken over from the record as they are."""
    fields: dict[str, Any] = {}
    template: Any = record.msg
    try:
        is_bytes = isinstance(template, bytes | bytearray) and not record.args
        message: Any = template if is_bytes else record.getMessage()
    except Exception:  # noqa: BLE001  # the arguments do not fit, or any code ran in there
        message = template
        if record.args:
            fields["args"] = record.args
    if not (type(message) is str and message.isascii()):
        message = any_text(message)
    if message:
        fields["msg"] = message
    info: Any = record.exc_info
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and len(cast("Any", info)) == 3:  # noqa: PLR2004
        kind, exc, trace = cast("Any", info)
        if exc is not None or kind is not None:
            fields["error"] = any_repr(kind if exc is None else exc)
            fields["traceback"] = safer_format_traceback(kind, exc, trace)
    elif record.exc_text:
        # From another process, where the exception itself could not be sent along.
        fields["error"] = any_text(record.exc_text).rstrip("\n").rpartition("\n")[2]
        fields["traceback"] = record.exc_text
    if record.stack_info:
        fields["stack"] = record.stack_info
    return fields


def _last_resort(record: logging.LogRecord, error: BaseException) -> str:
    """Return a line that has the text at least, by as little code as possible."""
    try:
        template: Any = getattr(record, "msg", None)
        # Where the stack is at its limit even a call may be too much.
        is_plain = type(template) is str and template.isascii()
        fields = {
            "msg": template if is_plain else any_text(template),
            "logging_error": type(error).__name__,
        }
        arguments: Any = getattr(record, "args", None)
        if arguments:
            fields["args"] = any_text(arguments)
        out = {
            "Timestamp": time.time_ns(),
            "Type": any_text(getattr(record, "name", "")),
            "Logger": DEFAULT_NAME,
            "Hostname": _hostname(),
            "EnvVersion": MozlogFormatter.LOGGING_FORMAT_VERSION,
            "Severity": 3,
            "Pid": os.getpid(),
            "Fields": fields,
        }
        return write_json(out, same=False)
    except Exception:  # noqa: BLE001  # there is nothing left that could be tried
        return f'{{"Timestamp":{time.time_ns()},"Fields":{{"msg":"<unprintable record>"}}}}'
