"""Logs as mozlog: one strictly valid JSON object a line, whatever is logged."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import socket
import sys
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date
from datetime import time as time_of_day
from functools import cache
from types import TracebackType
from typing import Any, ClassVar, Literal, TextIO, cast

from dockerflow._request_id import (
    get_or_generate_request_id,
    get_request_id,
    request_id_context,
)

__all__ = [
    "JsonLogFormatter",
    "MozlogFormatter",
    "MozlogHandler",
    "RequestIdLogFilter",
    "SafeJSONEncoder",
    "get_or_generate_request_id",
    "get_request_id",
    "request_id_context",
    "safer_format_traceback",
]

_DEFAULT_NAME = "Dockerflow"
_CIRCULAR = "[Circular]"
_TRUNCATED = "[Truncated]"
_MAX_DEPTH = 16
_MAX_VALUES = 100_000
_MAX_CHAIN = 50
_MAX_GROUP = 15
_MAX_GROUP_DEPTH = 10
# The wording of the traceback module, which readers of logs look for.
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_MAX_SEVERITY = 7
_TEXTS = frozenset({"Type", "Logger", "Hostname"})
_ENVELOPE = _TEXTS | {"EnvVersion", "Severity", "Pid"}
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
_MAX_INT32 = 2**31 - 1
_version_like = re.compile(r"[0-9]+(?:\.[0-9]+){0,2}").fullmatch
# Some readers take these for the end of a line; JSON allows both ways to write them.
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
} | {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}

_encode = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode


@cache
def _hostname() -> str:
    try:
        return _unicode(socket.gethostname())
    except OSError:
        return "localhost"


@cache
def _fast_encoder() -> Callable[[Any], bytes] | None:
    """Return orjson's encoder, if there is one; looked up when the first line is written."""
    try:
        from orjson import dumps
    except Exception:  # noqa: BLE001  # an optional package that is broken is no reason to fail
        return None
    return dumps


def _unicode(text: str) -> str:
    """Return the text as an exact ``str`` that UTF-8 can hold: a lone surrogate is escaped."""
    text = str.__str__(text)
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def _text(value: Any) -> str:
    """Return a text for any object, and never raise."""
    try:
        if isinstance(value, str):
            return _unicode(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(cast("Any", value)).decode("utf-8", "backslashreplace")
        if isinstance(value, date | time_of_day):
            return _unicode(value.isoformat())
        # The plain object's str() is its repr(), and that of an exception lacks its type.
        if getattr(cast("Any", type(value)), "__str__", None) is object.__str__ or isinstance(
            value, BaseException
        ):
            return _unicode(repr(value))
        return _unicode(str(value))
    except Exception:  # noqa: BLE001  # any code may run in there
        return _placeholder(cast("Any", value))


def _repr(value: object) -> str:
    try:
        return _unicode(repr(value))
    except Exception:  # noqa: BLE001  # any code may run in there
        return _placeholder(value)


def _placeholder(value: Any) -> str:
    try:
        return f"<unprintable {_unicode(type(value).__name__)} object>"
    except Exception:  # noqa: BLE001  # a metaclass may do anything
        return "<unprintable object>"


def _free(key: str, taken: Mapping[str, Any]) -> str:
    """Return the key, or one like it that isn't taken; fast even where thousands are alike."""
    for _ in range(4):
        if key not in taken:
            return key
        key += "_"
    number = len(taken)
    while f"{key}{number}" in taken:
        number += 1
    return f"{key}{number}"


class _Plain:
    """Makes plain JSON values of any objects, for one line."""

    __slots__ = ("above", "left", "same")

    def __init__(self) -> None:
        self.above: set[int] = set()
        self.left = _MAX_VALUES
        # Whether orjson would write what was seen as the standard library does.
        self.same = True

    def value(self, value: Any) -> Any:  # noqa: PLR0911
        """Return the value as plain JSON of any depth, ``None`` included."""
        self.left -= 1
        try:
            if value is None or value is True or value is False:
                return value
            if isinstance(value, str):
                return _unicode(value)
            if isinstance(value, int):
                return self.integer(value)
            if isinstance(value, float):
                return self.number(value)
            if isinstance(value, Mapping):
                return self.within(cast("Any", value), self.mapping)
            if isinstance(value, list | tuple | deque):
                return self.within(cast("Any", value), self.sequence)
            if isinstance(value, AbstractSet):
                return self.within(cast("Any", value), self.set_)
        except Exception:  # noqa: BLE001  # any code may run in there
            return _text(cast("Any", value))
        return _text(value)

    @staticmethod
    def integer(value: int) -> int | str:
        value = int.__index__(value)
        if _MIN_INT64 <= value <= _MAX_INT64:
            return value
        try:
            return str(value)
        except ValueError:  # more digits than Python is willing to write
            return hex(value)

    def number(self, value: float) -> float | str:
        value = float.__float__(value)
        if math.isfinite(value):
            # The two encoders write exponents in different ways.
            self.same = self.same and "e" not in float.__repr__(value)
            return value
        if math.isnan(value):
            return "NaN"
        return "Infinity" if value > 0 else "-Infinity"

    def within(self, value: Any, make: Callable[[Any], Any]) -> Any:
        identity = id(value)
        if identity in self.above:
            return _CIRCULAR
        if len(self.above) >= _MAX_DEPTH or self.left <= 0:
            return _TRUNCATED
        self.above.add(identity)
        try:
            return make(value)
        finally:
            self.above.discard(identity)

    def mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in value.items():
            if self.left <= 0:
                out[_free(_TRUNCATED, out)] = _TRUNCATED
                break
            out[_free(_text(key), out)] = self.value(item)
        return out

    def sequence(self, value: Iterable[Any]) -> list[Any]:
        out: list[Any] = []
        for item in value:
            if self.left <= 0:
                out.append(_TRUNCATED)
                break
            out.append(self.value(item))
        return out

    def set_(self, value: Iterable[Any]) -> list[Any]:
        # A set's order differs from one process to the next.
        out = self.sequence(value)
        try:
            return sorted(out)
        except TypeError:
            return sorted(out, key=_encode)

    def field(self, value: Any) -> Any:
        """Return the value in the shape that mozlog allows in a field; ``None`` if it is."""
        value = self.value(value)
        if isinstance(value, dict):
            out: dict[str, Any] = {}
            _flatten(cast("dict[str, Any]", value), "", out)
            return out or "{}"
        if isinstance(value, list):
            return _array(cast("Any", value))
        return value

    def fields(self, fields: Mapping[Any, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in fields.items():
            name = key if type(key) is str and key.isascii() else _text(key)
            if name in out:
                name = _free(name, out)
            kind: Any = type(cast("object", value))
            if (
                (kind is str and value.isascii())
                or kind is bool
                or (kind is int and _MIN_INT64 <= value <= _MAX_INT64)
            ):
                out[name] = value
            elif value is not None:
                out[name] = self.field(value)
        return out


def _flatten(value: dict[str, Any], prefix: str, out: dict[str, Any]) -> None:
    for name, item in value.items():
        key = prefix + name
        if isinstance(item, dict) and item:
            _flatten(cast("dict[str, Any]", item), f"{key}.", out)
        elif item is not None:
            if isinstance(item, list):
                item = _array(cast("Any", item))  # noqa: PLW2901
            out[_free(key, out)] = item if item != {} else "{}"


def _array(items: list[Any]) -> list[Any] | str:
    if not items:
        return "[]"
    kinds = set(map(type, items))
    if kinds in ({str}, {bool}) or kinds <= {int, float}:
        return items
    return [item if isinstance(item, str) else _encode(item) for item in items]


def _write(out: dict[str, Any], *, same: bool) -> str:
    """Return the JSON of plain values; both encoders give the same text."""
    fast = _fast_encoder() if same else None
    line = _encode(out) if fast is None else fast(out).decode()
    return line if line.isascii() else line.translate(_LINE_ENDS)


def _exception_lines(
    exc: BaseException, trace: TracebackType | None, depth: int, seen: set[int]
) -> list[str]:
    chain: list[tuple[BaseException, TracebackType | None, str]] = []
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if current.__cause__ is not None:
            following, link = current.__cause__, _CAUSE
        elif current.__context__ is not None and not current.__suppress_context__:
            following, link = current.__context__, _CONTEXT
        else:
            following, link = None, ""
        if len(chain) >= _MAX_CHAIN:
            link = f"{_TRUNCATED} Followed by:"
            following = None
        chain.append((current, trace if current is exc else current.__traceback__, link))
        current = following
    lines: list[str] = []
    for one, frames, link in reversed(chain):
        if link:
            lines.append(f"\n{link}\n\n")
        if frames is not None:
            lines.append("Traceback (most recent call last):\n")
            lines.extend(traceback.format_tb(frames))
        lines.append(f"{_exception_text(one)}\n")
        notes = getattr(one, "__notes__", ())
        if isinstance(notes, list | tuple):
            lines.extend(f"{_text(note).translate(_CONTROLS)}\n" for note in cast("Any", notes))
        if isinstance(one, BaseExceptionGroup):
            lines.extend(_group_lines(cast("Any", one), depth, seen))
    return lines


def _group_lines(group: BaseExceptionGroup[BaseException], depth: int, seen: set[int]) -> list[str]:
    if depth >= _MAX_GROUP_DEPTH:
        return [f"  | {_TRUNCATED}\n"]
    lines: list[str] = []
    total = len(group.exceptions)
    for number, inner in enumerate(group.exceptions[:_MAX_GROUP], 1):
        lines.append(f"  +---------------- {number} of {total} ----------------\n")
        text = "".join(_exception_lines(inner, inner.__traceback__, depth + 1, seen))
        lines.extend(f"  | {line}\n" for line in text.split("\n")[:-1])
    if total > _MAX_GROUP:
        lines.append(f"  | and {total - _MAX_GROUP} more\n")
    return lines


def _exception_text(exc: BaseException) -> str:
    kind = type(exc)
    name = kind.__qualname__
    if kind.__module__ not in {"builtins", "__main__"}:
        name = f"{kind.__module__}.{name}"
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001  # any code may run in there
        text = _placeholder(exc)
    return f"{name}: {text.translate(_CONTROLS)}" if text else name


def safer_format_traceback(
    exc_typ: type[BaseException] | None,
    exc_val: BaseException | None,
    exc_tb: TracebackType | None,
) -> str:
    """Return the traceback as text in which an exception's message cannot forge a line.

    Causes, contexts, notes and the exceptions of a group are part of it. Control characters in a
    message are escaped. It never raises, and what it writes is bounded.
    """
    try:
        if exc_val is not None:
            return "".join(_exception_lines(exc_val, exc_tb, 0, set()))
        lines = traceback.format_tb(exc_tb)
        if exc_typ is not None:
            lines.append(exc_typ.__qualname__)
        return "".join(lines)
    except Exception:  # noqa: BLE001  # attributes of the exception may run any code
        return _repr(exc_val).translate(_CONTROLS)


class SafeJSONEncoder(json.JSONEncoder):
    """A JSON encoder that takes any object, for ``json.dumps(value, cls=SafeJSONEncoder)``.

    What JSON does not know is written as text, in the way of :class:`MozlogFormatter`; nested
    values and ``None`` stay as they are.
    """

    def default(self, o: Any) -> Any:
        """Return a text for the object."""
        return _text(o)

    def encode(self, o: Any) -> str:
        """Return the JSON of any object."""
        return super().encode(_Plain().value(o))

    def iterencode(self, o: Any, _one_shot: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Yield the JSON of any object."""
        return super().iterencode(_Plain().value(o), _one_shot)


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

    A level between two of :attr:`SYSLOG_LEVEL_MAP` gets the severity that lies between theirs:
    25 is 5, "notice". One above the highest is taken for the highest; one below the lowest has
    :attr:`DEFAULT_SYSLOG_LEVEL`.

    The output is the same whether orjson is installed or not.

    :param fmt: not used; taken for the sake of ``logging.config``, like the next two.
    :param datefmt: not used.
    :param style: not used.
    :param logger_name: the app's name. A subclass may set it as an attribute instead. A name that
        :class:`MozlogHandler` was given is preferred.
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

    logger_name: str = _DEFAULT_NAME

    def __init__(  # noqa: PLR0913
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        logger_name: str | None = None,
        *,
        validate: bool = False,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(fmt, datefmt, style, validate=validate, defaults=defaults)
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
        excluded = self.EXCLUDED_LOGRECORD_ATTRS
        fields: dict[str, Any] = {
            key: value
            for key, value in record.__dict__.items()
            if value is not None and key not in excluded
        }
        for key, value in _own_fields(record).items():
            if key in fields:
                fields[_free(key, fields)] = fields[key]
            fields[key] = value
        return {
            "Timestamp": _timestamp(record),
            "Type": record.name,
            "Logger": self._name(record),
            "Hostname": _hostname(),
            "EnvVersion": self.LOGGING_FORMAT_VERSION,
            "Severity": self._severity(record.levelno),
            "Pid": _pid(record),
            "Fields": fields,
        }

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON; never raise."""
        try:
            return self._format(record)
        except Exception as error:  # noqa: BLE001  # losing the line would be worse
            return _last_resort(record, error)

    def _format(self, record: logging.LogRecord) -> str:
        problem = None
        try:
            out: Any = self.convert_record(record)
            if not isinstance(out, dict):
                problem = f"convert_record returned {_text(out)}"
        except Exception as error:  # noqa: BLE001  # an override may raise anything
            out, problem = None, _repr(error)
        if problem is not None:
            out = MozlogFormatter.convert_record(self, record)
            out["Fields"][_free("logging_error", out["Fields"])] = problem
        plain = _Plain()
        line = self._envelope(cast("dict[Any, Any]", out), plain, record)
        return _write(line, same=plain.same)

    def _envelope(
        self, out: dict[Any, Any], plain: _Plain, record: logging.LogRecord
    ) -> dict[str, Any]:
        """Return the line's object: an override may have put anything into it."""
        line: dict[str, Any] = {"Timestamp": out.get("Timestamp")}
        if not _is_int(line["Timestamp"], _MIN_INT64, _MAX_INT64):
            line["Timestamp"] = _timestamp(record)
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
                name = key if type(key) is str and key.isascii() else _text(key)
                line[_free(name, line)] = made
        return line

    def _property(self, key: str, value: Any, record: logging.LogRecord) -> Any:
        if key in _TEXTS and type(value) is str and value.isascii():
            return value
        if key == "EnvVersion":
            right = isinstance(value, str) and _version_like(value) is not None
            return value if right else MozlogFormatter.LOGGING_FORMAT_VERSION
        if key == "Severity":
            right = _is_int(value, 0, _MAX_SEVERITY)
            return value if right else self._severity(record.levelno)
        if key == "Pid":
            return value if _is_int(value, 0, _MAX_INT32) else _pid(record)
        return None if value is None else _text(value)

    def _name(self, record: logging.LogRecord) -> Any:
        given = getattr(record, "logger_name", None)
        # A handler's default is no reason to forget the name that the formatter was given.
        return self.logger_name if given is None or given == _DEFAULT_NAME else given

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


class JsonLogFormatter(MozlogFormatter):
    """The former name of :class:`MozlogFormatter`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            "JsonLogFormatter is called MozlogFormatter now", DeprecationWarning, stacklevel=2
        )
        super().__init__(*args, **kwargs)


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _timestamp(record: logging.LogRecord) -> int:
    try:
        stamp = int(record.created * 1e9)
        if _is_int(stamp, _MIN_INT64, _MAX_INT64):
            return stamp
    except Exception:  # noqa: BLE001, S110  # it may have been set to anything
        pass
    return time.time_ns()


def _pid(record: logging.LogRecord) -> int:
    # The process that logged need not be the one that formats.
    pid: Any = record.process
    return pid if _is_int(pid, 0, _MAX_INT32) else os.getpid()


def _own_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that are not taken over from the record as they are."""
    fields: dict[str, Any] = {}
    template: Any = record.msg
    try:
        if isinstance(template, bytes | bytearray) and not record.args:
            message = _text(template)
        else:
            message = _text(record.getMessage())
    except Exception:  # noqa: BLE001  # the arguments do not fit, or any code ran in there
        message = _text(template)
        if record.args:
            fields["args"] = record.args
    if message:
        fields["msg"] = message
    info: Any = record.exc_info
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and len(cast("Any", info)) == 3:  # noqa: PLR2004
        kind, exc, trace = cast("Any", info)
        if exc is not None or kind is not None:
            fields["error"] = _repr(kind if exc is None else exc)
            fields["traceback"] = safer_format_traceback(kind, exc, trace)
    elif record.exc_text:
        # From another process, where the exception itself could not be sent along.
        fields["error"] = _text(record.exc_text).rstrip("\n").rpartition("\n")[2]
        fields["traceback"] = record.exc_text
    if record.stack_info:
        fields["stack"] = record.stack_info
    return fields


def _last_resort(record: logging.LogRecord, error: BaseException) -> str:
    """Return a line that has the text at least, by as little code as possible."""
    try:
        template: Any = getattr(record, "msg", None)
        fields = {"msg": _text(template), "logging_error": type(error).__name__}
        arguments: Any = getattr(record, "args", None)
        if arguments:
            fields["args"] = _text(arguments)
        out = {
            "Timestamp": time.time_ns(),
            "Type": _text(getattr(record, "name", "")),
            "Fields": fields,
        }
        return _write(out, same=False)
    except Exception:  # noqa: BLE001  # there is nothing left that could be tried
        return f'{{"Timestamp":{time.time_ns()},"Fields":{{"msg":"<unprintable record>"}}}}'


class MozlogHandler(logging.StreamHandler[TextIO]):
    """Writes mozlog to standard output.

    :param stream: where to write. If none is given it is whatever ``sys.stdout`` is when a
        record is written.
    :param name: the app's name, logged as ``Logger``.
    """

    def __init__(self, stream: TextIO | None = None, name: str = _DEFAULT_NAME) -> None:
        self._stream = stream
        super().__init__(stream)
        # The base class has put standard error in the place of no stream.
        self._stream = stream
        self.logger_name = name
        self.formatter = MozlogFormatter()

    @property
    def stream(self) -> Any:
        """The stream that is written to."""
        return sys.stdout if self._stream is None else self._stream

    @stream.setter
    def stream(self, stream: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; one that nobody can read, the stream being closed, is dropped."""
        record.logger_name = self.logger_name
        stream = self.stream
        if stream is None or getattr(stream, "closed", False):
            return
        try:
            line = self.format(record) + self.terminator
            try:
                stream.write(line)
            except UnicodeEncodeError:
                stream.write(_ascii(line))
            self.flush()
        except Exception:  # noqa: BLE001  # this is what the logging package does about it
            self.handleError(record)

    def flush(self) -> None:
        """Flush the stream, unless it is closed."""
        if not getattr(self.stream, "closed", False):
            super().flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Report what went wrong, but for a reader that is gone."""
        error = sys.exc_info()[1]
        if isinstance(error, BrokenPipeError) or getattr(self.stream, "closed", False):
            return
        super().handleError(record)


def _ascii(line: str) -> str:
    """Escape what is not ASCII, in a way that is right in JSON."""
    return "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in line)


class RequestIdLogFilter(logging.Filter):
    """Adds the id of the request that is being served to a record, as ``rid``.

    A record that has one already keeps it. Outside of a request it is ``None``.
    """

    def filter(self, record: logging.LogRecord) -> Any:
        """Set ``rid`` and let the record pass."""
        if getattr(record, "rid", None) is None:
            with suppress(AttributeError):
                record.rid = get_request_id()
        return super().filter(record)
