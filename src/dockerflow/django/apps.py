"""The Django app: validates the settings and registers the checks at start."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

from django.apps import AppConfig

from dockerflow.config import ConfigError


class DockerFlowAppConfig(AppConfig):
    """Reads the settings at start, so that a wrong one fails early, and registers the checks."""

    name = "dockerflow.django"
    label = "dockerflow"
    verbose_name: str = "Dockerflow"

    def ready(self) -> None:
        """Read the settings and register the checks that they name.

        :raises ConfigError: when a setting is wrong and there is no middleware, which would raise
            it when the application starts, and which ``manage.py check`` reports before.
        """
        from dockerflow.django import _settings, _system_checks, checks

        _system_checks.register()
        try:
            _settings.reloading()
            checks.register()
        except ConfigError:
            if not _system_checks.positions():
                raise
