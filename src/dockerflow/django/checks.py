"""Checks of Django's database and cache, and the registration of ``DOCKERFLOW_CHECKS``.

Checks are called like Django's system checks, with ``(app_configs, **kwargs)``, and return a list
of messages.
"""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core import checks as system_checks
from django.utils.module_loading import import_string

from dockerflow import health
from dockerflow.checks import contrib
from dockerflow.checks.messages import CheckMessage
from dockerflow.checks.registry import default_registry
from dockerflow.config import ConfigError
from dockerflow.django import _settings

logger: logging.Logger = logging.getLogger("dockerflow.django")

INFO_CANT_CHECK_MIGRATIONS = health.INFO_CANT_CHECK_MIGRATIONS
WARNING_UNAPPLIED_MIGRATION = health.WARNING_UNAPPLIED_MIGRATION
ERROR_CANNOT_CONNECT_DATABASE = health.ERROR_CANNOT_CONNECT_DATABASE
ERROR_UNUSABLE_DATABASE = health.ERROR_UNUSABLE_DATABASE
ERROR_MISCONFIGURED_DATABASE = health.ERROR_MISCONFIGURED_DATABASE
ERROR_CANNOT_CONNECT_REDIS = health.ERROR_CANNOT_CONNECT_REDIS
ERROR_MISSING_REDIS_CLIENT = health.ERROR_MISSING_REDIS_CLIENT
ERROR_MISCONFIGURED_REDIS = health.ERROR_MISCONFIGURED_REDIS
ERROR_REDIS_PING_FAILED = health.ERROR_REDIS_PING_FAILED

DEFAULT_CHECKS = (
    "dockerflow.django.checks.check_database_connected",
    "dockerflow.django.checks.check_migrations_applied",
)


def _as_list(message: CheckMessage | None) -> list[CheckMessage]:
    return [] if message is None else [message]


def check_database_connected(app_configs: object, **kwargs: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check that the default database responds."""
    return _as_list(contrib.django_database()())


def check_migrations_applied(app_configs: object, **kwargs: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check that all migrations are applied to the default database."""
    return _as_list(contrib.django_migrations()())


def check_redis_connected(app_configs: object, **kwargs: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check that the Redis of the default cache responds, through django-redis."""
    return _as_list(contrib.django_redis()())


class _Registered:
    """The checks that :func:`register` has put into the registry, and their settings."""

    settings: object = None
    checks: dict[str, Callable[[], Any]] = {}  # noqa: RUF012 - replaced, never changed


def register() -> None:
    """Register the checks that the settings name, instead of the former ones.

    :raises ConfigError: when ``DOCKERFLOW_CHECKS`` names a function that doesn't exist.
    """
    paths = _settings.get_list("DOCKERFLOW_CHECKS", DEFAULT_CHECKS)
    wanted: dict[str, Callable[..., Any]] = {}
    for path in paths:
        function = _load(path)
        name = getattr(function, "__name__", path)
        # Functions of the same name in different modules are distinguished by their paths.
        wanted[path if name in wanted else name] = _bind(function)
    if _settings.runs_system_checks():
        wanted["system"] = system
    known = default_registry.get_checks()
    for name, function in _Registered.checks.items():
        if known.get(name) is function:
            default_registry.unregister(name)
    _Registered.checks = {}
    for name, function in wanted.items():
        default_registry.register(function, name=name)
        _Registered.checks = {**_Registered.checks, name: function}
    _Registered.settings = _current_settings()


def update() -> None:
    """Register the checks that the settings name, if they have changed.

    :raises ConfigError: as :func:`register` does.
    """
    known = default_registry.get_checks()
    if _Registered.settings != _current_settings() or any(
        name not in known for name in _Registered.checks
    ):
        register()


def update_or_log() -> None:
    """Register checks like :func:`update`, but log a wrong setting: the app is serving."""
    try:
        update()
    except ConfigError:
        logger.exception("A setting is wrong; the checks are those that could be registered")


def _current_settings() -> object:
    return getattr(settings, "DOCKERFLOW_CHECKS", None), _settings.runs_system_checks()


def system() -> Iterable[Any]:
    """Run all of Django's system checks; those for deployment only without ``DEBUG``."""
    return system_checks.run_checks(include_deployment_checks=not settings.DEBUG)


def _load(path: str) -> Callable[..., Any]:
    try:
        function: Any = import_string(path)
    except ImportError as error:
        raise ConfigError(f"DOCKERFLOW_CHECKS names {path!r}, but {error}") from error
    if not callable(function):
        raise ConfigError(f"DOCKERFLOW_CHECKS names {path!r}, which is not a function")
    return function


def _bind(function: Callable[..., Any]) -> Callable[[], Any]:
    """Return a check without arguments."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:  # it takes the argument by name only, as Django itself passes it
        return functools.partial(function, app_configs=None)
    except ValueError:  # its signature is unknown
        pass
    return functools.partial(function, None)
