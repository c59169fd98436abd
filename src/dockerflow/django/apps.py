"""The Django app: validates the settings and registers the checks at start."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

from django.apps import AppConfig


class DockerFlowAppConfig(AppConfig):
    """Reads the settings at start, so that a wrong one fails early."""

    name = "dockerflow.django"
    label = "dockerflow"
    verbose_name: str = "Dockerflow"

    def ready(self) -> None:
        """Read the settings and register the checks that they name.

        :raises ConfigError: when a setting is wrong.
        """
        from dockerflow.django import _settings, checks

        _settings.reloading()
        checks.register()
