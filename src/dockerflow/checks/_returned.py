"""PURE: turn what a check returned into messages."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast

from dockerflow import health
from dockerflow.checks.messages import DEBUG, CheckMessage, Error

MAX_MESSAGES: Final = 1000
"""How many messages one check may return: a generator may be endless."""


class Finding(NamedTuple):
    """A message, and what only the log gets of its cause."""

    message: CheckMessage
    detail: str = ""
    error: BaseException | None = None


def to_findings(value: object, name: str) -> list[Finding]:
    """Return what a check found, or an error if it returned anything but messages."""
    if value is None:
        return []
    if _is_message(value):
        return [_finding(value)]
    kind = type(value).__name__
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        return _bad_result(name, f"{kind}, which is not a check message")
    findings: list[Finding] = []
    for item in cast("Iterable[object]", value):
        if len(findings) >= MAX_MESSAGES:
            return _bad_result(name, f"{kind} with more than {MAX_MESSAGES} messages")
        if not _is_message(item):
            text = f"{kind} with {type(item).__name__} in it, which is not a check message"
            return _bad_result(name, text)
        findings.append(_finding(item))
    return findings


def _bad_result(name: str, returned: str) -> list[Finding]:
    text = f"Check {name} returned {returned}"
    return [Finding(Error(text, id=health.ERROR_CHECK_BAD_RESULT))]


def _is_message(value: Any) -> bool:
    # By its shape, since Django's own messages are as good.
    level = getattr(value, "level", None)
    return isinstance(level, int) and hasattr(value, "msg") and hasattr(value, "id")


def _finding(message: Any) -> Finding:
    """Return a message with texts and a level that any JSON parser and any log accepts."""
    level = int(message.level)
    normal = CheckMessage(
        _text(message.msg),
        level=DEBUG if level < 0 else min(level, sys.maxsize),
        hint=getattr(message, "hint", None),
        id=None if message.id is None else _text(message.id),
    )
    return Finding(normal, getattr(message, "log_detail", ""), getattr(message, "log_error", None))


def _text(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
        text = f"<{type(value).__name__} without a text>"
    return text.encode("utf-8", "backslashreplace").decode()  # lone surrogates aren't valid JSON
