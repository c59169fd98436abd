"""The same small application once per framework, for the contract and the server tests.

Each has ``/``, ``/fail`` (raises ``ValueError("100% broken")``), ``/status/500`` (with the headers
``CORS``) and ``/stream`` (three chunks); everything else is its framework's own 404.
"""

import dataclasses
from typing import Any

from dockerflow.config import Config

BROKEN = "100% broken"
CHUNKS = (b"one ", b"two ", b"three")
CORS = {"Access-Control-Expose-Headers": "X-Total"}


def settings_of(config: Config) -> dict[str, Any]:
    """The fields of a configuration, by the names that they have in a framework's settings."""
    names = [field.name for field in dataclasses.fields(Config)]
    return {f"DOCKERFLOW_{name.upper()}": getattr(config, name) for name in names}
