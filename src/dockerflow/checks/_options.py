"""PURE: the options of a check, and what they mean under a ``Config``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypedDict

from dockerflow.config import (
    UNSILENCEABLE,
    Config,
    conflict,
    parse_bool,
    parse_count,
    parse_list,
    parse_seconds,
    parse_silenced,
)


class CheckOptions(TypedDict, total=False):
    """The options of :meth:`Registry.register`, all of them optional.

    ``None`` is the same as leaving an option out.
    """

    timeout: float | None
    critical: bool | None
    ttl: float | None
    max_age: float | None
    requires: str | Collection[str] | None
    interval: float | None
    failures: int | None
    recoveries: int | None
    tags: str | Collection[str] | None
    silenced: str | Collection[str] | None


class Settings(NamedTuple):
    """The options of one check under one ``Config``, complete. Times are in seconds."""

    timeout: float
    critical: bool
    ttl: float | None
    max_age: float | None
    interval: float | None
    failures: int
    recoveries: int
    silenced: frozenset[str]


def _names(value: Any) -> tuple[str, ...]:
    # A check's name may contain a comma, so a string is one name.
    return tuple(dict.fromkeys(parse_list((value,) if isinstance(value, str) else value)))


_SECONDS = ("a number of seconds greater than 0", parse_seconds)
_COUNT = ("a whole number greater than 0", parse_count)
_NAMES = ("a string or several strings", _names)
_TAKES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "timeout": _SECONDS,
    "critical": ("True or False", parse_bool),
    "ttl": _SECONDS,
    "max_age": _SECONDS,
    "requires": _NAMES,
    "interval": _SECONDS,
    "failures": _COUNT,
    "recoveries": _COUNT,
    "tags": _NAMES,
    "silenced": (
        f"a string or several strings, none of which begins with {UNSILENCEABLE}",
        lambda value: parse_silenced(_names(value)),
    ),
}


def parse(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that were given, checked.

    :raises TypeError: when there is no such option.
    :raises ValueError: when an option has a wrong value.
    """
    parsed: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _TAKES:
            raise TypeError(f"a check has no option {name!r}; the options are {', '.join(_TAKES)}")
        if value is None:
            continue
        takes, parse_one = _TAKES[name]
        try:
            parsed[name] = parse_one(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{name} must be {takes}, not {value!r}") from None
    problem = conflict(parsed.get("ttl"), parsed.get("interval"), parsed.get("max_age"))
    if problem is not None:
        raise ValueError(problem)
    return parsed


def resolve(options: Mapping[str, Any], config: Config) -> Settings:
    """Return the settings of a check with ``options`` under ``config``."""
    timeout: float = options.get("timeout", config.check_timeout)
    failures: int = options.get("failures", 1)
    # They exclude each other, so the check's own option decides.
    ttl = options.get("ttl", None if "interval" in options else config.check_ttl)
    interval = options.get("interval", None if "ttl" in options else config.check_interval)
    max_age = options.get("max_age")
    if max_age is None and interval is not None:
        # All tolerated failures may come, and one more result may still be under way.
        max_age = (failures + 1) * interval + timeout
    return Settings(
        timeout=timeout,
        critical=options.get("critical", True),
        ttl=ttl,
        max_age=max_age,
        interval=interval,
        failures=failures,
        recoveries=options.get("recoveries", 1),
        silenced=frozenset((*options.get("silenced", ()), *config.silenced_checks)),
    )
