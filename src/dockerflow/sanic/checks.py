"""Checks of what Sanic's extensions connect to."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any, cast

from dockerflow.checks.contrib import redis
from dockerflow.checks.messages import (
    CRITICAL,
    DEBUG,
    ERROR,
    INFO,
    STATUSES,
    WARNING,
    CheckMessage,
    Critical,
    Debug,
    Error,
    Info,
    Warning,  # noqa: A004 - the name that Django's checks use too
    level_to_text,
)

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "INFO",
    "STATUSES",
    "WARNING",
    "CheckMessage",
    "Critical",
    "Debug",
    "Error",
    "Info",
    "Warning",
    "check_redis_connected",
    "level_to_text",
]


async def check_redis_connected(client: Any) -> list[CheckMessage]:
    """Check that Redis answers.

    :param client: a client of ``redis.asyncio``, or an extension that has one as ``conn``.
    :returns: nothing, or what :func:`dockerflow.checks.contrib.redis` says.
    """
    if not hasattr(client, "ping"):
        client = getattr(client, "conn", None)
    message = cast("Any", redis(client))()
    if isawaitable(message):
        message = await message
    return [] if message is None else [message]
