"""Django system checks of the middleware and the settings, for ``manage.py check``."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import functools
import logging
from contextlib import suppress
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from dockerflow import health
from dockerflow._core.settings import unknown, warn_of_unknown
from dockerflow.config import Config, ConfigError
from dockerflow.django import _settings
from dockerflow.django import checks as heartbeat_checks

logger: logging.Logger = logging.getLogger("dockerflow.django")

APP: Final = "dockerflow.django"
_MIDDLEWARE: Final = "dockerflow.django.middleware.DockerflowMiddleware"
# These trace or count requests, and never respond themselves.
_MAY_COME_FIRST: Final = ("django_prometheus.", "elasticapm.", "opentelemetry.")

Messages = list[checks.CheckMessage]


def register() -> None:
    """Register these checks with Django; a second time changes nothing."""
    for check in CHECKS:
        checks.register(check, heartbeat_checks.TAG)


def positions() -> list[int]:
    """Return the positions of our middleware in ``MIDDLEWARE``, or of its subclasses."""
    paths = list(settings.MIDDLEWARE)
    # Import the other entries only if ours isn't listed by name.
    return [at for at, path in enumerate(paths) if path == _MIDDLEWARE] or [
        at for at, path in enumerate(paths) if _is_subclass(path)
    ]


def _is_subclass(path: str) -> bool:
    found: Any = None
    with suppress(Exception):  # which Django reports when it starts
        found = import_string(path)
    bases: tuple[type, ...] = getattr(found, "__mro__", ())  # it may be a function
    return any(f"{base.__module__}.{base.__qualname__}" == _MIDDLEWARE for base in bases)


def check_middleware(app_configs: Any, **kwargs: Any) -> Messages:  # noqa: ARG001 - Django's signature
    """Check that ``MIDDLEWARE`` has ours once, before any that may respond to a probe."""
    ours = positions()
    if not ours:
        message = f"MIDDLEWARE has no {_MIDDLEWARE}, so nothing serves Dockerflow's endpoints."
        hint = (
            "Make it the first entry. Silence this check if the application is wrapped in the "
            "middleware of dockerflow.asgi or dockerflow.wsgi."
        )
        return [checks.Warning(message, hint=hint, id=health.WARNING_MIDDLEWARE_MISSING)]
    messages: Messages = []
    paths = list(settings.MIDDLEWARE)
    before = [path for path in paths[: ours[0]] if not path.startswith(_MAY_COME_FIRST)]
    if before:
        message = f"In MIDDLEWARE, {before[0]} comes before {paths[ours[0]]}."
        hint = (
            "Put Dockerflow's first: it must respond to probes before host checks, redirects, "
            "sessions and the database are involved."
        )
        messages.append(checks.Warning(message, hint=hint, id=health.WARNING_MIDDLEWARE_NOT_FIRST))
    if len(ours) > 1:
        first, second = paths[ours[0]], paths[ours[1]]
        in_addition = "twice" if first == second else f"in addition to {first}"
        message = f"MIDDLEWARE has {second} {in_addition}."
        hint = "Keep the first one."
        messages.append(checks.Warning(message, hint=hint, id=health.WARNING_MIDDLEWARE_DUPLICATED))
    return messages


def check_settings(app_configs: Any, **kwargs: Any) -> Messages:  # noqa: ARG001 - Django's signature
    """Check every setting in Django's settings and in the environment."""
    values = _settings.read()
    messages: Messages = []

    def validate(hint: str | None, function: Any, *args: Any) -> None:
        try:
            function(*args)
        except ConfigError as error:
            text = f"{str(error).removesuffix('.')}."
            messages.append(checks.Error(text, hint=hint, id=health.ERROR_WRONG_SETTING))

    for setting in Config.table():
        name, value = setting.variable, values.get(setting.variable)
        if value is None:
            validate(setting.description, setting.from_environment)
        else:
            validate(setting.description, setting.parse, value, name)
    if not messages:  # settings that exclude each other, and Django's own
        validate(None, _settings.make, values)
    validate(None, heartbeat_checks.update)
    validate(None, _load_version_callback)
    for name, hint in unknown(dir(settings)).items():
        message = f"{name} is not a setting of Dockerflow."
        hint_text = hint[:1].upper() + hint[1:] or None
        messages.append(checks.Warning(message, hint=hint_text, id=health.WARNING_UNKNOWN_SETTING))
    return messages


def _load_version_callback() -> None:
    path: Any = getattr(settings, "DOCKERFLOW_VERSION_CALLBACK", None)
    text = f"DOCKERFLOW_VERSION_CALLBACK must be the dotted path of a function, not {path!r}"
    try:
        is_wrong = path is not None and not callable(import_string(path))
    except ImportError as error:
        raise ConfigError(f"{text}: {error}") from error
    except AttributeError:  # it isn't a string
        is_wrong = True
    if is_wrong:
        raise ConfigError(text)


def check_installed(app_configs: Any = None, **kwargs: Any) -> Messages:  # noqa: ARG001 - Django's signature
    """Check that the app is installed; otherwise only the middleware registers these checks."""
    if apps.is_installed(APP):
        return []
    message = (
        f'INSTALLED_APPS has no "{APP}", so manage.py check runs none of Dockerflow\'s checks.'
    )
    return [checks.Warning(message, hint="Add it.", id=health.WARNING_APP_NOT_INSTALLED)]


def warn() -> None:
    """Log the problems that a serving process can't leave to ``manage.py check``, each once."""
    if health.WARNING_UNKNOWN_SETTING not in settings.SILENCED_SYSTEM_CHECKS:
        warn_of_unknown(dir(settings), "Django's settings")
    if health.WARNING_APP_NOT_INSTALLED not in settings.SILENCED_SYSTEM_CHECKS:
        _warn_if_not_installed()


@functools.cache
def _warn_if_not_installed() -> None:
    for message in check_installed():
        logger.warning("%s (%s) %s", message.msg, message.id, message.hint)


CHECKS: Final = (check_middleware, check_settings, check_installed)
