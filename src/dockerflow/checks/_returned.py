"""PURE: turn what a check returned into messages."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final, cast

from dockerflow import health
from dockerflow.checks.messages import DEBUG, CheckMessage, Error

MAX_MESSAGES: Final = 1000
"""How many messages one check may return: a generator may be endless."""


def to_messages(value: object, name: str) -> list[CheckMessage]:
    """Return the messages of a check, or an error if it returned anything else."""
    if value is None:
        return []
    if _is_message(value):
        return [_normalise(value)]
    kind = type(value).__name__
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        return _bad_result(name, f"{kind}, which is not a check message")
    messages: list[CheckMessage] = []
    for item in cast("Iterable[object]", value):
        if len(messages) >= MAX_MESSAGES:
            return _bad_result(name, f"{kind} with more than {MAX_MESSAGES} messages")
        if not _is_message(item):
            text = f"{kind} with {type(item).__name__} in it, which is not a check message"
            return _bad_result(name, text)
        messages.append(_normalise(item))
    return messages


def _bad_result(name: str, returned: str) -> list[CheckMessage]:
    return [Error(f"Check {name} returned {returned}", id=health.ERROR_CHECK_BAD_RESULT)]


def _is_message(value: Any) -> bool:
    # By its shape, since Django's own messages are as good.
    level = getattr(value, "level", None)
    return isinstance(level, int) and hasattr(value, "msg") and hasattr(value, "id")


def _normalise(message: Any) -> CheckMessage:
    """Return ``message`` with texts and a level that any JSON parser and any log accepts."""
    level = int(message.level)
    return CheckMessage(
        _text(message.msg),
        level=DEBUG if level < 0 else min(level, sys.maxsize),
        hint=getattr(message, "hint", None),
        id=None if message.id is None else _text(message.id),
    )


def _text(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
        text = f"<{type(value).__name__} without a text>"
    return text.encode("utf-8", "backslashreplace").decode()  # lone surrogates aren't valid JSON
