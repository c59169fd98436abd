"""Readable lines: mozlog as text, for :class:`TextFormatter` and ``dockerflow logs``."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from dockerflow._core.summary import DETAIL_FIELDS, NAME, TEXT_FIELDS, summary_text
from dockerflow.logging._json import TRUNCATED, escape_controls, unicode_text
from dockerflow.logging._mozlog import SEVERITIES, MozlogFormatter

_INFO: Final = SEVERITIES.index("INFO")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAME_WIDTH: Final = 20
"""The width of the column of names."""
_SUMMARY_WIDTH: Final = 120
"""The maximum width of a summary's line."""
_MIN_PATH: Final = 20
"""How much of a path is shown at least."""
_MAX_METHOD: Final = 20
"""How much of a method is shown at most; a client may send a longer one than those in use."""

_BOLD_RED, _RED, _GREEN, _YELLOW, _CYAN, _DIM = "1;31", "31", "32", "33", "36", "2"
_COLORS: Final = (_BOLD_RED, _BOLD_RED, _BOLD_RED, _RED, _YELLOW, _CYAN, "", _DIM)
_STATUS_COLORS: Final = {"2": _GREEN, "3": _CYAN, "4": _YELLOW, "5": _RED}

_is_word: Final = re.compile(r"[^\s\"'=]+").fullmatch


class TextFormatter(MozlogFormatter):
    """Formats a record as readable text: the time, the level, the logger's name, message, fields.

    That is one line, with columns. Values of several lines, such as a traceback, follow indented.
    Other control characters are escaped. A name that is longer than its column loses its first
    parts.

    The line of a ``request.summary`` has at most 120 characters: the middle of a long path is left
    out, and so are further fields that don't fit. ``agent``, ``errno``, ``lang`` and ``rid`` aren't
    shown. An exception's text that doesn't fit follows indented.

    :param logger_name: as for :class:`MozlogFormatter`; it isn't shown.
    :param max_bytes: the maximum length of the text in bytes; a longer one is cut in the middle.
    :param use_colors: whether to use colours. By default the environment decides: ``NO_COLOR``
        switches them off (https://no-color.org), else ``FORCE_COLOR`` on, else ``TERM=dumb`` off;
        without these, they are used if standard output is a terminal.

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
        color = use_colors() if self.use_colors is None else self.use_colors
        text = render(line, color=color, compact=True)
        if self.max_bytes is None or len(text.encode()) < self.max_bytes:
            return text
        # Without colours: a cut could leave half of an escape sequence, or none to reset them.
        data = render(line, compact=True).encode()
        if len(data) < self.max_bytes:
            return data.decode()
        half = (self.max_bytes - len(TRUNCATED)) // 2 - 1
        head, tail = data[:half].decode(errors="ignore"), data[-half:].decode(errors="ignore")
        return f"{head}{TRUNCATED}{tail}"


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def use_colors() -> bool:
    """Whether standard output gets colours, by the environment; as Python 3.13 decides."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (
        os.environ.get("TERM") != "dumb" and is_terminal()
    )


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


def render(line: Mapping[str, Any], *, color: bool = False, compact: bool = False) -> str:
    """Return the line as text: time (UTC), level, type, message, fields; then long texts, indented.

    :param line: a line of mozlog, read from JSON; its values may be of any type.
    :param color: whether to colour it for a terminal.
    :param compact: whether types have a column of fixed width, and summaries one line.
    """
    severity = severity_of(line)
    fields = fields_of(line)
    kind = _one_line(line.get("Type", ""))
    first, *rest = _text(fields.pop("msg", "")).splitlines() or [""]
    request: list[str] = []
    if kind == NAME and "method" in fields and "path" in fields:
        request = summary_text(fields).split(" ", 3)
        unseen = (*TEXT_FIELDS, *DETAIL_FIELDS) if compact else TEXT_FIELDS
        fields = {key: value for key, value in fields.items() if key not in unseen}
    tail, blocks = _pairs(fields)
    begin = [_time(line.get("Timestamp")), f"{SEVERITIES[severity]:<8}"]
    begin.append(_column(kind) if compact else kind)
    if request and compact:
        if len(request[0]) > _MAX_METHOD:
            request[0] = f"{request[0][: _MAX_METHOD - 1]}…"
        room = _SUMMARY_WIDTH - len(" ".join([*begin, *request]))
        if first and len(first) + 2 > room:
            rest.insert(0, first)
            first = ""
        request[1], tail = _fit(request[1], tail, room - len(first) - (2 if first else 0))
    if request:
        request[2] = _paint(request[2], _STATUS_COLORS.get(request[2][0], ""), color=color)
        first = " ".join(request) + (f": {first}" if first else "")
    if rest:
        blocks.insert(0, "\n".join(rest))
    colors = (_DIM, _COLORS[severity], "", "", _DIM)
    parts = zip((*begin, first, tail), colors, strict=True)
    text = " ".join(_paint(part, code, color=color) for part, code in parts if part)
    for block in blocks:
        text += "".join(f"\n    {row}" for row in block.strip("\n").splitlines())
    return text


def _pairs(fields: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the fields as text, and those that have several lines apart."""
    if fields.get("traceback"):
        fields.pop("error", None)  # it is the traceback's last line
    pairs: list[str] = []
    blocks: list[str] = []
    for key, value in fields.items():
        if isinstance(value, str) and "\n" in value.strip("\n"):
            blocks.append(_text(value))
        elif value != "":  # how a summary writes what isn't known
            pairs.append(f"{_value(key)}={_value(value)}")
    return " ".join(pairs), blocks


def _column(name: str) -> str:
    if len(name) > _NAME_WIDTH:
        while len(name) >= _NAME_WIDTH and "." in name:
            name = name.partition(".")[2]
        name = f"…{name}"[:_NAME_WIDTH]
    return name.ljust(_NAME_WIDTH)


def _fit(path: str, tail: str, room: int) -> tuple[str, str]:
    """Return a path and what follows it, cut so that they need ``room`` characters more or less.

    :param room: how many characters the line may have in addition; negative if it is too long.
    """
    length = max(len(path) + room - (len(tail) + 1 if tail else 0), _MIN_PATH)
    if length < len(path):
        room += len(path) - length
        path = f"{path[: length * 2 // 3]}…{path[-(length - 1 - length * 2 // 3) :]}"
    if len(tail) >= room:
        tail = f"{tail[: room - 2]}…" if room > _MIN_PATH else ""
    return path, tail


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
