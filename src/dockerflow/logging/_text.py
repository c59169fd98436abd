"""Readable lines: mozlog as text, for :class:`TextFormatter` and ``dockerflow logs``."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from dockerflow._core.exchange import summary_logger
from dockerflow._core.summary import TEXT_FIELDS, summary_text
from dockerflow.logging._json import TRUNCATED, escape_controls, unicode_text
from dockerflow.logging._mozlog import SEVERITIES, MozlogFormatter

_INFO: Final = SEVERITIES.index("INFO")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAME_WIDTH: Final = 20
"""The minimum width of the column of names; few are longer."""

_BOLD_RED, _RED, _YELLOW, _DIM, _CYAN = "1;31", "31", "33", "2", "36"
_COLORS: Final = (_BOLD_RED, _BOLD_RED, _BOLD_RED, _RED, _YELLOW, _CYAN, "", _DIM)

_is_word: Final = re.compile(r"[^\s\"'=]+").fullmatch


class TextFormatter(MozlogFormatter):
    """Formats a record as readable text: the time, the level, the logger's name, message, fields.

    That is one line, with columns. Values of several lines, such as a traceback, follow indented.
    Other control characters are escaped. ``dockerflow logs`` shows mozlog in the same way.

    :param logger_name: as for :class:`MozlogFormatter`; it isn't shown.
    :param max_bytes: the maximum length of the text in bytes; a longer one is cut in the middle.
    :param use_colors: whether to use colours. By default they are used if standard output is a
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

    def _write(self, line: dict[str, Any]) -> str:
        text = render(line, color=self._has_colors(), width=_NAME_WIDTH)
        if self.max_bytes is None or len(text.encode()) < self.max_bytes:
            return text
        # Without colours: a cut could leave half of an escape sequence, or none to reset them.
        data = render(line, width=_NAME_WIDTH).encode()
        if len(data) < self.max_bytes:
            return data.decode()
        half = (self.max_bytes - len(TRUNCATED)) // 2 - 1
        head, tail = data[:half].decode(errors="ignore"), data[-half:].decode(errors="ignore")
        return f"{head}{TRUNCATED}{tail}"

    def _has_colors(self) -> bool:
        if self.use_colors is not None:
            return self.use_colors
        try:
            return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        except (AttributeError, ValueError):  # there is none, or it is closed
            return False


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
    """Return the number of the line's level; INFO if it has none, as that is optional."""
    severity = line.get("Severity")
    return severity if type(severity) is int and 0 <= severity < len(SEVERITIES) else _INFO


def fields_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the line's fields."""
    fields = line.get("Fields")
    return dict(cast("dict[str, Any]", fields)) if isinstance(fields, dict) else {}


def render(line: Mapping[str, Any], *, color: bool = False, width: int = 0) -> str:
    """Return the line as text: time (UTC), level, type, message, fields; then long texts, indented.

    :param line: a line of mozlog, read from JSON; its values may be of any type.
    :param color: whether to colour it for a terminal.
    :param width: the minimum width of the column of types.
    """
    severity = severity_of(line)
    fields = fields_of(line)
    kind = _one_line(line.get("Type", ""))
    message = _text(fields.pop("msg", ""))
    if kind == summary_logger.name and "method" in fields and "path" in fields:
        message = f"{_one_line(summary_text(fields))} {message}".rstrip()
        fields = {key: value for key, value in fields.items() if key not in TEXT_FIELDS}
    if fields.get("traceback"):
        fields.pop("error", None)  # it is the traceback's last line
    first, *rest = message.splitlines() or [""]
    blocks = ["\n".join(rest)] if rest else []
    pairs: list[str] = []
    for key, value in fields.items():
        if isinstance(value, str) and "\n" in value.strip("\n"):
            blocks.append(_text(value))
        elif value != "":  # how a summary writes what isn't known
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


def _text(value: Any) -> str:
    """Return a value as text that may have several lines, and no other control characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return escape_controls(unicode_text(text.replace("\r\n", "\n")), keep="\n\t")


def _one_line(value: Any) -> str:
    return escape_controls(_text(value))


def _value(value: Any) -> str:
    if isinstance(value, str) and _is_word(value) and _one_line(value) == value:
        return value
    return _one_line(json.dumps(value, ensure_ascii=False))
