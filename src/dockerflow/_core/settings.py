"""What the settings mean for each request, and settings that may change while an app serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from dockerflow._core.summary import FORWARDED, HEADERS
from dockerflow.config import DEFAULT_HEADER, SETTINGS, Config, ConfigError

logger = logging.getLogger("dockerflow")

LIST_HEADERS: Final = ("accept", FORWARDED)
"""The headers of which every line counts (RFC 9110, 5.3); of others the first one does."""

_TRACE_HEADERS: Final = ("traceparent", "x-cloud-trace-context")
"""The headers that log records made during the request may refer to."""


@dataclass(frozen=True)
class RequestSettings:
    """What a config means for each request, computed once."""

    config: Config
    id_headers: tuple[str, ...]
    """The headers to read the request id from, in lower case."""
    response_header: str
    """The header that sends the request id back."""
    environ_keys: Mapping[str, str]
    """The names of the headers that the core needs, by their keys in a WSGI environ."""
    raw_headers: Mapping[bytes, str]
    """The names of the headers that the core needs, by their names in an ASGI scope."""

    @classmethod
    def of(cls, config: Config) -> RequestSettings:
        """Compute them."""
        names = config.request_id_header_name
        id_headers = tuple(name.lower() for name in names)
        needed = sorted({"accept", *HEADERS, *_TRACE_HEADERS, *id_headers})
        return cls(
            config,
            id_headers,
            # A trace id alone is not a valid traceparent, so that header isn't sent back.
            next((name for name in names if name.lower() != "traceparent"), DEFAULT_HEADER),
            {"HTTP_" + name.upper().replace("-", "_"): name for name in needed},
            {name.encode("latin-1"): name for name in needed},
        )


def present(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a framework's settings that are there and ours."""
    return {name: settings[name] for name in SETTINGS if name in settings}


_T = TypeVar("_T")


class Reloading(Generic[_T]):
    """What an adapter makes of its framework's settings, made again when they have changed.

    :param read: returns the settings as they are now.
    :param make: makes the value of them.
    :raises ConfigError: when a setting is wrong at the start. Later a wrong one is logged, and
        those before it stay.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, Any]], make: Callable[[Mapping[str, Any]], _T]
    ) -> None:
        self._read = read
        self._make = make
        settings = dict(read())
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
                logger.error("%s; the former settings stay", error)  # noqa: TRY400 - it says it all
            self._current = dict(now), value
        return value
