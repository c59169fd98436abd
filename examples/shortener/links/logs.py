"""Logs: one line of mozlog on standard output for everything, from the first moment on."""

from __future__ import annotations

from typing import Any

from dockerflow.logging import logging_config


def config() -> dict[str, Any]:
    """Return the configuration that this program and its server share.

    :raises dockerflow.config.ConfigError: when a ``DOCKERFLOW_LOG_*`` variable is wrong.
    """
    made = logging_config("links")
    made["loggers"]["alembic"] = {"level": "WARNING"}  # it tells how it works, at every heartbeat
    return made
