"""Checks of Django's database and cache, and the registration of ``DOCKERFLOW_CHECKS``.

Checks are called like Django's system checks, with ``(app_configs, **kwargs)``, and return a list
of messages.
"""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.conf import settings
from django.core import checks
from django.core.checks.registry import registry as django_check_registry
from django.db import DEFAULT_DB_ALIAS, connection
from django.utils.module_loading import import_string

from dockerflow import health
from dockerflow.checks import contrib
from dockerflow.checks.contrib._django import check_database, check_migrations
from dockerflow.checks.messages import CheckMessage
from dockerflow.checks.registry import Registry, default_registry
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

TAG = "dockerflow"
"""The tag of system checks that are about the settings, not about the health of a process."""

DEFAULT_CHECKS = (
    "dockerflow.django.checks.check_database_connected",
    "dockerflow.django.checks.check_migrations_applied",
)


def check_database_connected(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check that the default database responds."""
    message = check_database(DEFAULT_DB_ALIAS, connection)
    return [] if message is None else [_as_django(message)]


def check_migrations_applied(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check that the migrations of these apps, or of all, are applied to the default database."""
    return [
        _as_django(message)
        for message in check_migrations(DEFAULT_DB_ALIAS, connection, app_configs)
    ]


def check_redis_connected(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check that the Redis of the default cache responds, through django-redis."""
    message = contrib.django_redis()()
    return [] if message is None else [_as_django(message)]


def _as_django(message: CheckMessage) -> checks.CheckMessage:
    """Return the message in Django's own class; a terminal shows the cause, too."""
    made = getattr(checks, type(message).__name__)(message.msg)
    vars(made).update(vars(message))
    made.hint = made.hint or message.log_detail or None
    return made


@dataclass
class _Registered:
    """What :func:`register` has registered, and the settings that it was made from."""

    settings: object = None
    checks: dict[str, Callable[[], Any]] = field(default_factory=dict)
    system_checks: list[Any] = field(default_factory=list)
    """Those of Django's system checks that are ours."""


_registered = _Registered()


def register() -> None:
    """Register the checks that the settings name, instead of the former ones.

    They are checks of the heartbeat, and Django's system checks, so that ``manage.py check`` runs
    them, too. If ``DOCKERFLOW_SYSTEM_CHECKS`` is on, the heartbeat also runs all other system
    checks, those for deployment only without ``DEBUG``.

    :raises ConfigError: when ``DOCKERFLOW_CHECKS`` names a function that doesn't exist, or that
        Django doesn't accept, or that needs other arguments than Django's.
    """
    named = {path: _load(path) for path in _paths()}
    functions = named.copy()
    for function in sorted(_system_checks().difference(named.values()), key=_path_of):
        functions[_path_of(function)] = function
    wanted: dict[str, Callable[[], Any]] = {}
    for path, function in functions.items():
        name = getattr(function, "__name__", path)
        # Functions of the same name in different modules are distinguished by their paths.
        # With the arguments that manage.py check has.
        called = partial(function, app_configs=None, databases=None)
        try:
            Registry().register(called)  # nothing is changed yet
        except TypeError as error:  # it needs another argument
            raise ConfigError(f"DOCKERFLOW_CHECKS names {path!r}, but {error}") from error
        wanted[path if name in wanted else name] = called
    django_check_registry.registered_checks.difference_update(_registered.system_checks)
    _registered.system_checks.clear()
    for path, function in named.items():
        _register_with_django(path, function)
    _replace(wanted, _current_settings())


def _replace(wanted: dict[str, Callable[[], Any]], made_from: object) -> None:
    """Make these the checks of the heartbeat, instead of those registered before."""
    known = default_registry.get_checks()
    for name, check in _registered.checks.items():
        if known.get(name) is check:
            default_registry.unregister(name)
    for name, check in wanted.items():
        default_registry.register(check, name=name)
    _registered.checks = wanted
    _registered.settings = made_from


def _register_with_django(path: str, function: Callable[..., Any]) -> None:
    """Register a system check, unless the app has done it itself, with its own tags."""
    if function in django_check_registry.get_checks(include_deployment_checks=True):
        return
    check = _as_sync(function) if iscoroutinefunction(function) else function
    try:
        checks.register(check)
    except (AttributeError, TypeError) as error:
        raise ConfigError(f"DOCKERFLOW_CHECKS names {path!r}, but {error}") from error
    _registered.system_checks.append(check)


def _as_sync(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an async check as Django calls one."""

    @wraps(function)
    def check(**kwargs: Any) -> Any:
        return async_to_sync(function)(**kwargs)

    return check


def _path_of(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"


def update(registry: Any = django_check_registry) -> None:
    """Register the checks that the settings name, if they have changed.

    :param registry: Django's registry of checks. If a test has replaced it or its ``get_checks``,
        the heartbeat runs the checks that the test gives, and no others.
    :raises ConfigError: as :func:`register` does.
    """
    if registry is not django_check_registry or "get_checks" in vars(registry):
        functions = registry.get_checks(include_deployment_checks=not settings.DEBUG)
        _replace({f.__name__: partial(f, app_configs=None) for f in functions}, registry)
        return
    known = default_registry.get_checks()
    if _registered.settings != _current_settings() or any(
        name not in known for name in _registered.checks
    ):
        register()


def update_or_log(registry: Any) -> None:
    """Register checks like :func:`update`, but log a wrong setting: the app is serving."""
    try:
        update(registry)
    except ConfigError:
        logger.exception("A setting is wrong; only the checks that could be registered are active")


def _current_settings() -> object:
    return _paths(), _system_checks()


def _paths() -> tuple[str, ...]:
    return _settings.get_list("DOCKERFLOW_CHECKS", DEFAULT_CHECKS)


def _system_checks() -> set[Any]:
    """Return Django's system checks that the heartbeat runs, except ours."""
    if not _settings.runs_system_checks():
        return set()
    known = django_check_registry.get_checks(include_deployment_checks=not settings.DEBUG)
    others = (check for check in known if TAG not in check.tags)
    return set(others).difference(_registered.system_checks)


def _load(path: str) -> Callable[..., Any]:
    try:
        function: Any = import_string(path)
    except ImportError as error:
        raise ConfigError(f"DOCKERFLOW_CHECKS names {path!r}, but {error}") from error
    if not callable(function):
        raise ConfigError(f"DOCKERFLOW_CHECKS names {path!r}, which is not a function")
    return function
