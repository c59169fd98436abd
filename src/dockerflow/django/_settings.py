"""Django's settings, read when they are used."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from django.conf import settings
from django.core.signals import setting_changed

from dockerflow._core.app import Core
from dockerflow._core.settings import Reloading
from dockerflow.config import SETTINGS, Config, ConfigError, parse_bool
from dockerflow.django._connections import check_context

_NAMES: Final = (*SETTINGS, "SILENCED_SYSTEM_CHECKS", "BASE_DIR")
_MISSING: Final = object()


@functools.cache
def _present(_state: object) -> tuple[str, ...]:
    """Return the names that are set: looking up a missing one in the lazy object is slow."""
    return tuple(name for name in _NAMES if hasattr(settings, name))


def _state() -> object:
    """Return a value that changes when code sets another name directly, without a signal."""
    names = getattr(getattr(settings, "_wrapped", None), "__dict__", {})
    return len(names), next(reversed(names), None)


def _forget(**_: object) -> None:
    _present.cache_clear()


setting_changed.connect(_forget, dispatch_uid="dockerflow")


def read() -> dict[str, Any]:
    """Return our settings among Django's, and Django's own that matter here."""
    values = {name: getattr(settings, name, _MISSING) for name in _present(_state())}
    return {name: value for name, value in values.items() if value is not _MISSING}


def make(values: Mapping[str, Any]) -> Core:
    """Make a core from settings, which include Django's own list of silenced checks.

    :raises ConfigError: when a setting is invalid.
    """
    defaults: dict[str, Any] = {"heartbeat_details": "debug"}
    if values.get("BASE_DIR"):
        defaults["version_path"] = values["BASE_DIR"]
    config = Config.from_settings(values, defaults=defaults)
    name = "SILENCED_SYSTEM_CHECKS"
    own: Any = vars(Config)["silenced_checks"].parse(values.get(name, ()), name)
    config = dataclasses.replace(config, silenced_checks=(*config.silenced_checks, *own))
    return Core(config, check_context=check_context)


@functools.cache
def reloading() -> Reloading[Core]:
    """Return the one core of the process, which follows the settings.

    :raises ConfigError: when a setting is invalid at the start.
    """
    return Reloading(read, make)


def runs_system_checks() -> bool:
    """Whether the heartbeat also runs Django's own checks.

    :raises ConfigError: when the setting is not a boolean.
    """
    value: Any = getattr(settings, "DOCKERFLOW_SYSTEM_CHECKS", False)
    try:
        return parse_bool(value)
    except (TypeError, ValueError):
        raise ConfigError(
            f"DOCKERFLOW_SYSTEM_CHECKS must be true or false, not {value!r}"
        ) from None


def get_list(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return a setting that holds dotted paths.

    :raises ConfigError: when it isn't a list of strings.
    """
    value: Any = getattr(settings, name, None)
    if value is None:
        return default
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        items = tuple(value)
        if all(isinstance(item, str) for item in items):
            return cast("tuple[str, ...]", items)
    raise ConfigError(f"{name} must be a list of dotted paths, not {value!r}")
