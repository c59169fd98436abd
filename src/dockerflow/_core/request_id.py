"""The ID of the request that is being served: read from its headers, or made."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final

from dockerflow._core.guard import Guarded
from dockerflow.config import DEFAULT_HEADER

logger = logging.getLogger("dockerflow")

request_id_context: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The ID of the request that is being served here; ``None`` outside of one."""

_NOTE: Final = "_dockerflow_request"

# Visible ASCII without spaces can go into a header, a log line and a shell without quoting.
is_valid = re.compile(r"[\x21-\x7e]{1,128}").fullmatch
# Its groups are the trace, the span and the flags.
# https://www.w3.org/TR/trace-context/#traceparent-header
match_traceparent = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2}).*"
).fullmatch


def note_request(exception: BaseException, rid: str, uid: object) -> None:
    """Record on an exception which request it escaped from; see :func:`noted_request`."""
    with suppress(Exception):  # its class may refuse any attribute
        vars(exception)[_NOTE] = rid, uid


def noted_request(exception: object) -> tuple[str | None, object]:
    """Return the ID and the user's ID of the request from which the exception escaped."""
    note: Any = None
    with suppress(Exception):
        note = vars(exception).get(_NOTE)
    return note or (None, None)


def get_request_id() -> str | None:
    """Return the ID of the request that is being served, or ``None`` outside of a request."""
    return request_id_context.get()


def generate_request_id() -> str:
    """Return a new random ID, written as a UUID (version 4, RFC 9562)."""
    # uuid4() takes four times as long, and this is made for each request.
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def choose_request_id(
    headers: Mapping[str, str],
    names: Iterable[str],
    accepts: Callable[[str], object] = is_valid,
    generate: Callable[[], str] = generate_request_id,
) -> str:
    """Return the first acceptable ID in the headers called ``names``, otherwise a new one.

    ``headers`` has lower-case names, and so has ``names``. An ID is accepted when it has 1 to
    128 visible ASCII characters; ``traceparent`` gives its trace ID.
    """
    for name in names:
        value = headers.get(name)
        if value is None:
            continue
        value = value.strip(" \t")
        if name == "traceparent":
            match = match_traceparent(value)
            value = match[1] if match else ""
        if accepts(value):
            return value
    return generate()


class _AppFunction:
    """A function of the app's, which must not break a request.

    :param setting: the setting that has it. The first time that it fails is logged, and no other:
        clients may be able to make it fail with each request.
    """

    def __init__(self, function: Callable[..., Any], setting: str) -> None:
        self._function = function
        self._guard = Guarded(logger, "%s failed; this is logged once", setting)
        self._has_failed = False

    def __call__(self, *args: str) -> Any:
        """Return what the function returns; ``None`` if it raises."""
        with suppress(Exception, SystemExit) if self._has_failed else self._guard:
            return self._function(*args)
        self._has_failed = True
        return None


def guarded_validator(validate: Callable[[str], object]) -> Callable[[str], object]:
    """Return a function that accepts the valid IDs that the app's function accepts as well."""
    validate = _AppFunction(validate, "request_id_validator")
    return lambda rid: is_valid(rid) and validate(rid)


def guarded_generator(generate: Callable[[], object]) -> Callable[[], str]:
    """Return a function that calls the app's generator, or ours if its ID isn't valid."""

    def checked() -> str:
        rid = generate()
        if not isinstance(rid, str) or not is_valid(rid):
            raise ValueError(f"{rid!r} is not a string of 1 to 128 visible ASCII characters")
        return rid

    generate_checked = _AppFunction(checked, "request_id_generator")
    return lambda: generate_checked() or generate_request_id()


def get_or_generate_request_id(
    headers: Mapping[str, str], header_name: str | Iterable[str] | None = None
) -> str:
    """Return the request ID that ``headers`` carry, or a new one.

    :param headers: the request's headers; names in any case.
    :param header_name: the header to read, or several by preference; by default
        ``X-Request-ID``.
    """
    names = [header_name or DEFAULT_HEADER] if isinstance(header_name, str | None) else header_name
    lowered = {name.lower(): value for name, value in headers.items()}
    return choose_request_id(lowered, [name.lower() for name in names])
