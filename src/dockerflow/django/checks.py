"""Django's checks for the heartbeat, and those that ``DOCKERFLOW_CHECKS`` names.

Each takes ``(app_configs, **kwargs)`` and returns a list of messages, as Django's own do.
"""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.core import checks as system_checks
from django.utils.module_loading import import_string

from dockerflow import health
from dockerflow.checks import contrib
from dockerflow.checks.contrib._django import closing_django_connections
from dockerflow.checks.messages import CheckMessage
from dockerflow.checks.registry import Registry, default_registry
from dockerflow.config import ConfigError
from dockerflow.django import _settings

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
    """Check that the default database answers."""
    return _as_list(contrib.django_database()())


def check_migrations_applied(app_configs: object, **kwargs: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check that all migrations are applied to the default database."""
    return _as_list(contrib.django_migrations()())


def check_redis_connected(app_configs: object, **kwargs: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check that the Redis of the default cache answers, by django-redis."""
    return _as_list(contrib.django_redis()())


class _Registered:
    """What :func:`register` put into the registry, and for which value of the setting."""

    paths: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()


def register() -> None:
    """Register the checks that ``DOCKERFLOW_CHECKS`` names, in the place of those before.

    :raises ConfigError: when the setting names something that isn't there.
    """
    paths = _settings.get_list("DOCKERFLOW_CHECKS", DEFAULT_CHECKS)
    functions = [_load(path) for path in paths]
    for name in _Registered.names:
        _forget(name)
    names: list[str] = []
    for path, function in zip(paths, functions, strict=True):
        name = getattr(function, "__name__", path)
        if name in names:
            name = path  # two of the same name in different modules
        default_registry.register(_bind(function), name=name)
        names.append(name)
    _Registered.paths, _Registered.names = paths, tuple(names)


def registry() -> Registry:
    """Return the checks of a heartbeat: the default registry, up to date with the settings."""
    if _settings.get_list("DOCKERFLOW_CHECKS", DEFAULT_CHECKS) != _Registered.paths:
        register()
    if getattr(settings, "DOCKERFLOW_SYSTEM_CHECKS", False):
        default_registry.register(system, name="system")
    elif default_registry.get_checks().get("system") is system:
        _forget("system")
    return default_registry


def _forget(name: str) -> None:
    # There is no public way to forget one check.
    default_registry._checks.pop(name, None)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def system() -> Iterable[Any]:
    """Run all of Django's own system checks, those for deployment only without ``DEBUG``."""
    with closing_django_connections():
        return system_checks.run_checks(include_deployment_checks=not settings.DEBUG)


def _load(path: str) -> Callable[..., Any]:
    try:
        function: Any = import_string(path)
    except ImportError as error:
        raise ConfigError(f"DOCKERFLOW_CHECKS names {path!r}, but {error}") from error
    if not callable(function):
        raise ConfigError(f"DOCKERFLOW_CHECKS names {path!r}, which is no function")
    return function


def _call(function: Callable[..., Any]) -> Any:
    # Django closes connections when a request ends, and none does in a check's thread.
    with closing_django_connections():
        return function(None)


def _bind(function: Callable[..., Any]) -> functools.partial[Any]:
    """Return a check without arguments."""
    if iscoroutinefunction(function):
        return functools.partial(function, None)
    return functools.partial(_call, function)
