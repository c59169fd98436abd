"""PURE: what one request.summary record says of a request and how it ended."""

from __future__ import annotations

import logging
import re

from dockerflow.config import REDACTED_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from dockerflow._core.messages import Request

KEY: Final = "dockerflow.summary"
"""Where an ASGI scope or a WSGI environ holds the fields that the app adds to the summary."""

HEADERS: Final = ("user-agent", "accept-language")
"""The headers whose values a summary has."""

CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request whose client went away before a status was sent (nginx's number)."""

SERVER_ERROR: Final = 500

# What logging itself calls these; it refuses them as names of extra fields.
_RESERVED: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}

TRACE_HEADERS: Final = ("traceparent", "x-cloud-trace-context")
"""The headers that lines logged during a request may refer to."""

FORWARDED: Final = "x-forwarded-for"
"""The header with the addresses that the request came by."""

_PERSONAL: Final = ("uid", "email", "remoteAddressChain")


class Outcome:
    """How a request ended, or how far it is."""

    status: int | None = None
    """What was sent, if anything was."""
    exception: BaseException | None = None
    """What escaped the app."""
    client_gone: bool = False
    handled: BaseException | None = None
    """What the framework caught and turned into an answer; it counts if that is a 5xx."""

    def __init__(
        self,
        status: int | None,
        exception: BaseException | None = None,
        client_gone: bool = False,  # noqa: FBT001, FBT002
        handled: BaseException | None = None,
    ) -> None:
        self.status = status
        self.exception = exception
        self.client_gone = client_gone
        self.handled = handled


def summarise(  # noqa: C901, PLR0913 - each is another fact about the request
    request: Request,
    outcome: Outcome,
    seconds: float,
    rid: str,
    extra: Mapping[str, Any],
    *,
    querystring: bool = False,
    redacted: Iterable[str] = REDACTED_KEYS,
    route: object = None,
    peer: str | None = None,
) -> tuple[int, str, dict[str, Any]]:
    """Return level, message and fields of the record.

    :param seconds: from the start of the request to its last byte.
    :param extra: fields that the app added; they win over ours but for the real ``code``. A
        field that is ``None`` is left out.
    :param querystring: whether to show the query string, with the values of secrets replaced.
    :param redacted: parts of the names of keys that hold secrets.
    :param route: the template of the route that the path matched, if it is known.
    :param peer: the address of whoever is connected, if addresses are to be shown.
    """
    code, exception = outcome.status, outcome.exception
    failed = False
    errno = 0
    # Nothing else is to be asked of most requests.
    if exception is not None or code is None or code >= SERVER_ERROR:
        # Cancellation (asyncio's, trio's, a closed generator) is no error of the app.
        failed = isinstance(exception, Exception | SystemExit | KeyboardInterrupt)
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
        fields["querystring"] = redact(request.query, redacted)
    if route and isinstance(route, str):  # it is whatever the framework has there
        fields["route"] = route
    if peer is not None:
        fields["remoteAddressChain"] = _addresses(headers.get(FORWARDED, ""), peer)
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


def without_personal_data(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without the user's id and addresses."""
    return {name: value for name, value in fields.items() if name not in _PERSONAL}


def redact(query: str, keys: Iterable[str] = REDACTED_KEYS) -> str:
    """Return a query string with the values of keys that sound like secrets replaced.

    :param keys: parts of such keys, in lower case.
    """
    from urllib.parse import unquote_plus  # noqa: PLC0415 - slow to import, and few need it

    parts = re.split("([&;])", query)
    for index, part in enumerate(parts):
        key, separator, _ = part.partition("=")
        name = unquote_plus(key).lower()
        if separator and any(part in name for part in keys):
            parts[index] = f"{key}=[redacted]"
    return "".join(parts)


def _addresses(forwarded: str, peer: str) -> list[str] | None:
    chain = [address.strip() for address in [*forwarded.split(","), peer]]
    return [address for address in chain if address] or None


def _text(exception: BaseException | None) -> str:
    try:
        return str(exception) or type(exception).__name__
    except Exception:  # noqa: BLE001 - whatever a foreign __str__ raises
        return type(exception).__name__
