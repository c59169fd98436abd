"""Django's settings, read when they are used."""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from dockerflow._core import Core, LiveCore
from dockerflow.config import SETTINGS, Config, ConfigError

_NAMES = (*SETTINGS, "SILENCED_SYSTEM_CHECKS", "BASE_DIR")


def read() -> dict[str, Any]:
    """Return those of Django's settings that are there and matter here."""
    return {name: getattr(settings, name) for name in _NAMES if hasattr(settings, name)}


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


def get_list(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return a setting that holds dotted paths.

    :raises ConfigError: when it isn't a list of texts.
    """
    value: Any = getattr(settings, name, None)
    if value is None:
        return default
    if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{name} is {value!r}, but takes a list of dotted paths")
    return tuple(value)
