"""Lets the tests of this process, whichever of them set Django up, use servers of their own."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("django")
sys.path.insert(0, str(Path(__file__).parents[1]))

import django
from apps import django_app  # noqa: F401 - configures the settings, unless that is done
from django.db import connections
from django.db.utils import ConnectionHandler
from django.test import override_settings

django.setup()


def add_database(alias, postgres=None, **settings):
    if postgres is not None:
        settings = {
            "ENGINE": "django.db.backends.postgresql", "NAME": "app", "USER": "app",
            "PASSWORD": postgres.password, "HOST": "127.0.0.1", "PORT": postgres.port, **settings,
        }  # fmt: skip
    handler = ConnectionHandler({"default": {}, alias: settings})
    connections.settings[alias] = handler.settings[alias]
    if hasattr(connections._connections, alias):
        connections[alias].close()
        del connections[alias]
    return alias


def mail_settings(server, backend="django.core.mail.backends.smtp.EmailBackend", **options):
    """A context in which Django's mail backend is one for this server."""
    options = {"host": "127.0.0.1", "port": server.port, "username": "app",
               "password": server.password, **options}  # fmt: skip
    if django.VERSION >= (6, 1):
        return override_settings(MAILERS={"default": {"BACKEND": backend, "OPTIONS": options}})
    names = {"username": "HOST_USER", "password": "HOST_PASSWORD"}
    settings = {f"EMAIL_{names.get(key, key.upper())}": value for key, value in options.items()}
    return override_settings(EMAIL_BACKEND=backend, **settings)
