"""Django's middleware takes SIGTERM, as the drivers for ASGI and WSGI do."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import asyncio, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))  # as a server does
from django.conf import settings
settings.configure(
    ALLOWED_HOSTS=["*"],
    DOCKERFLOW_CHECKS=[],
    DOCKERFLOW_DRAIN_SECONDS=60,
    LOGGING_CONFIG=None,
    MIDDLEWARE=["dockerflow.django.middleware.DockerflowMiddleware"],
    ROOT_URLCONF=__name__,
)
urlpatterns = []
import django
django.setup()
from django.test import AsyncClient, Client
def get(path):
    if sys.argv[1] == "async":
        return asyncio.run(AsyncClient().get(path)).status_code
    return Client().get(path).status_code
before = get("/__heartbeat__")
signal.raise_signal(signal.SIGTERM)
print(before, get("/__heartbeat__"), get("/__lbheartbeat__"))
"""


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_sigterm_drains(mode: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CODE, mode],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout.split()) == (0, ["200", "503", "200"]), run.stderr
