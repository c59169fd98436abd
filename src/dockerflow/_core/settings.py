"""What the settings mean for each request, and settings that may change while an app serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from dockerflow._core.summary import FORWARDED, HEADERS
from dockerflow.config import DEFAULT_HEADER, SETTINGS, Config, ConfigError

logger = logging.getLogger("dockerflow")

LIST_HEADERS: Final = ("accept", FORWARDED)
"""The headers of which every line counts (RFC 9110, 5.3); of others the first one does."""

_TRACE_HEADERS: Final = ("traceparent", "x-cloud-trace-context")
"""The headers that log records made during the request may refer to."""


class RequestSettings:
    """What a config means for each request, computed once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        names = config.request_id_header_name
        self.id_headers: tuple[str, ...] = tuple(name.lower() for name in names)
        """The headers to read the request ID from."""
        self.response_header: str = next(
            # A trace ID alone is not a valid traceparent, so that header isn't sent back.
            (name for name in names if name.lower() != "traceparent"),
            DEFAULT_HEADER,
        )
        """The header that sends the request ID back."""
        self.raw_response_header: bytes = self.response_header.lower().encode("latin-1")
        """The same as ASGI has it."""
        self.headers: tuple[str, ...] = tuple(
            sorted({"accept", *HEADERS, *_TRACE_HEADERS, *self.id_headers})
        )
        """The headers that the core needs, in lower case."""
        self.raw_headers: dict[bytes, str] = {name.encode("latin-1"): name for name in self.headers}
        """The same by their names in an ASGI scope."""
        self._environ_keys = {
            "HTTP_" + name.upper().replace("-", "_"): name for name in self.headers
        }

    def headers_of(self, environ: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers that the core needs, from a WSGI environ."""
        # A WSGI server joins the lines of one header, and doesn't tell them apart.
        return {name: environ[key] for key, name in self._environ_keys.items() if key in environ}


def present(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings among a framework's."""
    names = settings.keys()
    return {} if names.isdisjoint(SETTINGS) else {name: settings[name] for name in names & SETTINGS}


def _copy(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that isn't affected if an app changes one of its lists in place."""
    return {
        name: value.copy() if isinstance(value, list | set | dict) else value
        for name, value in settings.items()
    }


_T = TypeVar("_T")


class Reloading(Generic[_T]):
    """A value made from a framework's settings, which is rebuilt when they change.

    :param read: returns the settings as they are now.
    :param make: makes the value from them.
    :raises ConfigError: when a setting is wrong at the start. Later, a wrong one is logged and the
        former value stays.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, Any]], make: Callable[[Mapping[str, Any]], _T]
    ) -> None:
        self._read = read
        self._make = make
        settings = _copy(read())
        # Both in one tuple: another thread may be reading them.
        self._current = settings, make(settings)

    def get(self) -> _T:
        """Return the value for the settings as they are now."""
        settings, value = self._current
        now = self._read()
        if now != settings:
            try:
                value = self._make(now)
            except ConfigError as error:
                logger.error("%s; the previous settings remain in effect", error)  # noqa: TRY400 - the message is complete
            self._current = _copy(now), value
        return value
