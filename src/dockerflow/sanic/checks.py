"""Checks of the services that Sanic's extensions connect to."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

from dockerflow.checks import messages as _messages
from dockerflow.checks.contrib import redis
from dockerflow.checks.contrib._redis import check_async
from dockerflow.checks.messages import *  # noqa: F403 - these names are public here too
from dockerflow.checks.messages import CheckMessage

__all__ = [
    "check_redis_connected",
]
__all__ += _messages.__all__


async def check_redis_connected(redis_client: Any) -> list[CheckMessage]:
    """Check that Redis responds.

    :param redis_client: a client of ``redis.asyncio``, or an extension that has one as ``conn``,
        also one that has to be awaited and entered first.
    :returns: an empty list, or the message of :func:`dockerflow.checks.contrib.redis`.
    """
    client = redis_client if hasattr(redis_client, "ping") else getattr(redis_client, "conn", None)
    if not hasattr(client, "ping") and isawaitable(client):
        client = await client
    if client is None:
        message = redis(None)()
    elif not hasattr(client, "ping") and hasattr(client, "__enter__"):
        with client as connection:
            message = await check_async(connection)
    else:
        message = await check_async(client)
    return [] if message is None else [message]
