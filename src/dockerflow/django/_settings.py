"""Django's settings, read when they are used."""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from django.conf import Settings, UserSettingsHolder, global_settings, settings
from django.utils.functional import empty

from dockerflow._core.app import Core, LiveCore
from dockerflow.config import SETTINGS, Config, ConfigError, Picker, parse_bool

_NAMES: Final = {*SETTINGS, "SILENCED_SYSTEM_CHECKS", "BASE_DIR"}
_MISSING: Final = object()
_wrapped: Final = object.__getattribute__  # the lazy object's own is slow
_picker: Final = Picker(_NAMES)


def read() -> dict[str, Any]:
    """Return those of Django's settings that are there and matter here; for each request.

    Where they lie, since the lazy object takes long to find that something isn't there.
    """
    layer = _wrapped(settings, "_wrapped")
    if layer is empty:
        settings.DEBUG  # noqa: B018  # pyright: ignore[reportUnusedExpression] - has them loaded
        layer = _wrapped(settings, "_wrapped")
    return _read(layer)


def _read(layer: Any) -> dict[str, Any]:
    if type(layer) is Settings:
        return _picker.pick(vars(layer))
    if type(layer) is UserSettingsHolder:  # made by hand, or by a test, and laid over others
        own = vars(layer)
        below = _read(own["default_settings"])
        for name in own["_deleted"] & below.keys():
            del below[name]
        return below | {name: own[name] for name in own.keys() & _NAMES}
    if layer is global_settings:  # Django's own defaults, which have none of these but empty ones
        return {}
    # An app's own defaults, or a library's kind of settings.
    values = {name: getattr(layer, name, _MISSING) for name in _NAMES}
    return {name: value for name, value in values.items() if value is not _MISSING}


def make(values: Mapping[str, Any]) -> Core:
    """Make a core; Django's own list silences too."""
    defaults: dict[str, Any] = {"heartbeat_details": "debug"}
    if values.get("BASE_DIR"):
        defaults["version_path"] = values["BASE_DIR"]
    config = Config.from_settings(values, defaults=defaults)
    silenced = (*config.silenced_checks, *values.get("SILENCED_SYSTEM_CHECKS", ()))
    return Core(dataclasses.replace(config, silenced_checks=silenced))


@functools.cache
def live() -> LiveCore:
    """Return the one core of the process, which follows the settings."""
    return LiveCore(read, make)


def core_of(request: Any) -> Core:
    """Return the core that serves a request: the settings are those at its begin."""
    core: Core | None = getattr(request, "_dockerflow_core", None)
    return live().get() if core is None else core


def runs_system_checks() -> bool:
    """Whether the heartbeat also runs Django's own checks.

    :raises ConfigError: when the setting is no truth value.
    """
    value: Any = getattr(settings, "DOCKERFLOW_SYSTEM_CHECKS", False)
    try:
        return parse_bool(value)
    except (TypeError, ValueError):
        raise ConfigError(
            f"DOCKERFLOW_SYSTEM_CHECKS is {value!r}, but takes true or false"
        ) from None


def get_list(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return a setting that holds dotted paths.

    :raises ConfigError: when it isn't a list of texts.
    """
    value: Any = getattr(settings, name, None)
    if value is None:
        return default
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        is_right = False
    else:
        value = tuple(value)
        is_right = all(isinstance(item, str) for item in value)
    if not is_right:
        raise ConfigError(f"{name} is {value!r}, but takes a list of dotted paths")
    return cast("tuple[str, ...]", value)
