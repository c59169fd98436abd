"""Checks of the services that Sanic's extensions connect to."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any, cast

from dockerflow.checks import messages as _messages
from dockerflow.checks.contrib import redis
from dockerflow.checks.messages import *  # noqa: F403 - these names are public here too
from dockerflow.checks.messages import CheckMessage

__all__ = [
    "check_redis_connected",
]
__all__ += _messages.__all__


async def check_redis_connected(redis_client: Any) -> list[CheckMessage]:
    """Check that Redis responds.

    :param redis_client: a client of ``redis.asyncio``, or an extension that has one as ``conn``.
    :returns: an empty list, or the message of :func:`dockerflow.checks.contrib.redis`.
    """
    client = redis_client if hasattr(redis_client, "ping") else getattr(redis_client, "conn", None)
    message = cast("Any", redis(client))()
    if isawaitable(message):
        message = await message
    return [] if message is None else [message]
