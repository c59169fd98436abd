"""PURE: a line of mozlog as text for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

SEVERITIES: Final = (
    "EMERG",
    "ALERT",
    "CRITICAL",
    "ERROR",
    "WARNING",
    "NOTICE",
    "INFO",
    "DEBUG",
)
"""Syslog's levels, by their number."""

_INFO: Final = 6
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_BOLD_RED, _RED, _YELLOW, _DIM, _CYAN = "1;31", "31", "33", "2", "36"
_COLORS: Final = (_BOLD_RED, _BOLD_RED, _BOLD_RED, _RED, _YELLOW, _CYAN, "", _DIM)

# What a summary's message is made of.
_SUMMARY: Final = ("method", "path", "code", "t")
# A terminal would take these for commands, or for the end of a line.
_unprintable: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_is_plain: Final = re.compile(r"[^\s\"'=\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+").fullmatch


def is_mozlog(value: object) -> bool:
    """Whether this, read from JSON, is a line of mozlog rather than some other program's."""
    if not isinstance(value, dict):
        return False
    line = cast("dict[str, Any]", value)
    stamp = line.get("Timestamp")
    return type(stamp) is int and not line.keys().isdisjoint(
        ("Type", "Severity", "EnvVersion", "Fields")
    )


def severity_of(line: Mapping[str, Any]) -> int:
    """Return the number of the line's level: INFO if it has none, as that is optional."""
    severity = line.get("Severity")
    return severity if type(severity) is int and 0 <= severity < len(SEVERITIES) else _INFO


def fields_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line's fields, of which there may be none."""
    fields = line.get("Fields")
    return dict(cast("dict[str, Any]", fields)) if isinstance(fields, dict) else {}


def render(line: Mapping[str, Any], *, color: bool = False, width: int = 0) -> str:
    """Return the line as text: time (UTC), level, type, message, fields; then long texts, indented.

    :param line: a line of mozlog, read from JSON; nothing in it need be as it should.
    :param color: whether to colour it for a terminal.
    :param width: how wide the column of types is at least.
    """
    severity = severity_of(line)
    fields = fields_of(line)
    kind = _one_line(line.get("Type", ""))
    message = _text(fields.pop("msg", ""))
    if kind == "request.summary" and "method" in fields and "path" in fields:
        method, path, code, millis = (fields.pop(key, "") for key in _SUMMARY)
        request = f"{_one_line(method)} {_one_line(path)} {_one_line(code)} {_one_line(millis)} ms"
        message = f"{request} {message}".rstrip()
    if fields.get("traceback"):
        fields.pop("error", None)  # the traceback's last line
    first, *rest = message.splitlines() or [""]
    blocks = ["\n".join(rest)] if rest else []
    pairs: list[str] = []
    for key, value in fields.items():
        if isinstance(value, str) and "\n" in value.strip("\n"):
            blocks.append(_text(value))
        elif value != "":  # a summary's way to say that it doesn't know
            pairs.append(f"{_value(key)}={_value(value)}")
    head = _paint(_time(line.get("Timestamp")), _DIM, color=color)
    level = _paint(f"{SEVERITIES[severity]:<8}", _COLORS[severity], color=color)
    tail = _paint(" ".join(pairs), _DIM, color=color) if pairs else ""
    text = " ".join(part for part in (head, level, kind.ljust(width), first, tail) if part)
    for block in blocks:
        text += "".join(f"\n    {row}" for row in block.strip("\n").splitlines())
    return text


def _time(stamp: Any) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=int(stamp) // 1000)
    except (TypeError, ValueError, OverflowError):
        return _one_line(stamp)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03}"


def _paint(text: str, color_code: str, *, color: bool) -> str:
    return f"\x1b[{color_code}m{text}\x1b[0m" if color and color_code else text


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004


def _text(value: Any) -> str:
    """Return a value as text that may have several lines, and nothing else that moves a cursor."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _unprintable.sub(_escape, text.replace("\r\n", "\n"))


def _one_line(value: Any) -> str:
    return _text(value).replace("\n", "\\n").replace("\t", "\\t")


def _value(value: Any) -> str:
    if isinstance(value, str) and _is_plain(value):
        return value
    return _one_line(json.dumps(value, ensure_ascii=False))
