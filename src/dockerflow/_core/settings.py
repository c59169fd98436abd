"""What the settings mean for each request, and settings that may change while an app serves."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, Final, Generic, TypeVar, cast

from dockerflow._core.request_id import (
    generate_request_id,
    guarded_generator,
    guarded_validator,
    is_valid,
)
from dockerflow._core.summary import FORWARDED, HEADERS
from dockerflow.config import DEFAULT_HEADER, PREFIX, SETTINGS, Config, ConfigError

logger = logging.getLogger("dockerflow")

LIST_HEADERS: Final = ("accept", FORWARDED)
"""The headers of which every line counts (RFC 9110, 5.3); of others the first one does."""

AUTHORIZATION: Final = "authorization"

_TRACE_HEADERS: Final = ("traceparent", "x-cloud-trace-context")
"""The headers that log records made during the request may refer to."""


class RequestSettings:
    """What a config means for each request, computed once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        names = config.request_id_header_name
        self.id_headers: tuple[str, ...] = tuple(name.lower() for name in names)
        """The headers to read the request ID from."""
        validate: Any = config.request_id_validator
        self.accepts_id: Callable[[str], object] = (
            guarded_validator(validate) if validate else is_valid
        )
        """Whether an ID of these headers is accepted."""
        generate: Any = config.request_id_generator
        self.generate_id: Callable[[], str] = (
            guarded_generator(generate) if generate else generate_request_id
        )
        self.response_header: str = next(
            # A trace ID alone is not a valid traceparent, so that header isn't sent back.
            (name for name in names if name.lower() != "traceparent"),
            DEFAULT_HEADER,
        )
        """The header that sends the request ID back."""
        self.raw_response_header: bytes = self.response_header.lower().encode("latin-1")
        """The same as ASGI has it."""
        wanted = {"accept", *HEADERS, *_TRACE_HEADERS, *self.id_headers}
        if config.heartbeat_details == "authorized":
            wanted.add(AUTHORIZATION)
        self.headers: tuple[str, ...] = tuple(sorted(wanted))
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
    copied: dict[str, Any] = {}
    for name, value in settings.items():
        copied[name] = deepcopy(cast("object", value)) if isinstance(value, _CHANGEABLE) else value
    return copied


# Names of ours that aren't fields of Config, without the prefix.
_OTHERS: Final = frozenset({
    "CHECKS", "SYSTEM_CHECKS", "VERSION_CALLBACK",  # of Django
    "LOG_NAME", "LOG_LEVEL", "LOG_FORMAT", "LOG_MAX_BYTES", "LOG_QUEUE_SIZE",
    "SOURCE", "VERSION", "COMMIT", "BUILD",  # of version.json
})  # fmt: skip
# Names that aren't ours: of test suites, and what Kubernetes sets for a Service whose name begins
# with "dockerflow".
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_is_foreign = re.compile(
    r"TEST_.*|(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_.+)?)"
).fullmatch

_warned: Final[set[str]] = set()


def unknown(names: Iterable[object]) -> dict[str, str]:
    """Return the names that look like settings but aren't, each with a hint or an empty string."""
    known = {name.removeprefix(PREFIX) for name in SETTINGS} | _OTHERS
    found: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.startswith(PREFIX):
            continue
        rest = name.removeprefix(PREFIX)
        if rest not in known and not _is_foreign(rest):
            near = get_close_matches(rest, known, n=1)
            found[name] = f"did you mean {PREFIX}{near[0]}?" if near else ""
    return found


def warn_of_unknown(names: Iterable[object], where: str) -> None:
    """Log names that look like settings but aren't, each once in a process.

    :param where: where the names are from, for the message.
    """
    for name, hint in unknown(names).items():
        if name not in _warned:
            _warned.add(name)
            text = "%s in %s is not a setting of Dockerflow"
            logger.warning(f"{text}: {hint}" if hint else text, name, where)


_CHANGEABLE: Final = (list, set, dict)
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
