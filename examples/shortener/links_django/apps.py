"""The Django app, which says what the heartbeat checks."""

from __future__ import annotations

from django.apps import AppConfig

from dockerflow.checks import contrib
from links import health, hits
from links.settings import get_settings

counter = hits.Hits(hits.connect(get_settings()))


class LinksConfig(AppConfig):
    """Registers the checks once Django is set up."""

    name = "links_django"

    def ready(self) -> None:
        """Register them as the other ways do."""
        health.register(contrib.django_database(), contrib.django_migrations(), counter.client)
