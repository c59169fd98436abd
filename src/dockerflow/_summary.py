"""PURE: what one request.summary record says of a request and how it ended."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

from dockerflow._http import Request

KEY: Final = "dockerflow.summary"
"""Where an ASGI scope or a WSGI environ holds the fields that the app adds to the summary."""

HEADERS: Final = ("user-agent", "accept-language")
"""The headers whose values a summary has."""

CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request whose client went away before a status was sent (nginx's number)."""

SERVER_ERROR: Final = 500

# What logging itself calls these; it refuses them as names of extra fields.
_RESERVED: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}

_SECRET: Final = re.compile(
    "pass|pwd|secret|token|key|auth|code|credential|session|signature|sig|jwt", re.IGNORECASE
)


class Outcome(NamedTuple):
    """How a request ended.

    The status sent, if any, what escaped, whether the client left, and what the framework caught
    and turned into an answer.
    """

    status: int | None
    exception: BaseException | None = None
    client_gone: bool = False
    handled: BaseException | None = None


def summarise(  # noqa: PLR0913 - each is another fact about the request
    request: Request,
    outcome: Outcome,
    *,
    seconds: float,
    rid: str,
    extra: Mapping[str, Any],
    querystring: bool = False,
) -> tuple[int, str, dict[str, Any]]:
    """Return level, message and fields of the record.

    :param seconds: from the start of the request to its last byte.
    :param extra: fields that the app added; they win over ours but for the real ``code``. A
        field that is ``None`` is left out.
    :param querystring: whether to show the query string, with the values of secrets replaced.
    """
    exception = outcome.exception
    # Cancellation (asyncio's, trio's, a closed generator) is no error of the app.
    failed = isinstance(exception, Exception | SystemExit | KeyboardInterrupt)
    code = outcome.status
    if code is None:
        gone = outcome.client_gone or (exception is not None and not failed)
        code = CLIENT_CLOSED_REQUEST if gone else SERVER_ERROR
    if not failed and outcome.handled is not None and code >= SERVER_ERROR:
        exception, failed = outcome.handled, True
    errno = code if code >= SERVER_ERROR else SERVER_ERROR if failed else 0
    headers = request.headers
    fields: dict[str, Any] = {
        "agent": headers.get("user-agent", ""),
        "code": int(code),
        "errno": errno,
        "lang": headers.get("accept-language", ""),
        "method": request.method,
        "path": request.path,
        "rid": rid,
        "t": int(seconds * 1000),
        "uid": "",
    }
    if querystring:
        fields["querystring"] = redact(request.query)
    if extra:
        for key, value in extra.items():
            name = str(key)
            if value is None:
                fields.pop(name, None)
            else:
                fields[name + "_" if name in _RESERVED else name] = value
        fields["code"] = int(code)
    if failed:
        return logging.ERROR, _text(exception), fields
    return logging.INFO, "", fields


def redact(query: str) -> str:
    """Return a query string with the values of keys that sound like secrets replaced."""
    parts = re.split("([&;])", query)
    for index, part in enumerate(parts):
        key, separator, _ = part.partition("=")
        if separator and _SECRET.search(unquote_plus(key)):
            parts[index] = f"{key}=[redacted]"
    return "".join(parts)


def _text(exception: BaseException | None) -> str:
    try:
        return str(exception) or type(exception).__name__
    except Exception:  # noqa: BLE001 - whatever a foreign __str__ raises
        return type(exception).__name__
