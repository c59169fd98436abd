"""What existing Django apps import and override."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest

pytest.importorskip("django")
sys.path.insert(0, str(Path(__file__).parents[1]))
import apps.django_app  # noqa: F401  # configures Django


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("middleware", ["DockerflowMiddleware"]),
        (
            "checks",
            [
                "check_database_connected",
                "check_migrations_applied",
                "check_redis_connected",
                "register",
            ],
        ),
        ("signals", ["heartbeat_passed", "heartbeat_failed"]),
        ("views", ["version", "heartbeat", "lbheartbeat"]),
    ],
)
def test_names(module, names):
    found = importlib.import_module(f"dockerflow.django.{module}")
    assert all(hasattr(found, name) for name in names)


def test_the_middlewares_hooks():
    from dockerflow.django.middleware import DockerflowMiddleware

    signatures = {
        "process_request": ["self", "request"],
        "process_response": ["self", "request", "response"],
        "process_exception": ["self", "request", "exception"],
        "_build_extra_meta": ["self", "request"],
    }
    for name, parameters in signatures.items():
        assert list(inspect.signature(getattr(DockerflowMiddleware, name)).parameters) == parameters
    assert len(DockerflowMiddleware.viewpatterns) == 3


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("check_database_connected", "dockerflow.health.E003"),
        ("check_migrations_applied", "dockerflow.health.I001"),
    ],
)
def test_checks_take_djangos_arguments(name, id_):
    from dockerflow.django import checks

    # There is no database in the settings.
    [message] = getattr(checks, name)(None, databases=None)
    assert message.id == id_
