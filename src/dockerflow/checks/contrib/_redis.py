"""Redis: sync and asyncio clients, single servers and clusters."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, overload

from dockerflow import health
from dockerflow.checks.contrib._common import QUICK, load, named, report
from dockerflow.checks.messages import CheckMessage, Error

if TYPE_CHECKING:
    from redis import Redis, RedisCluster
    from redis.asyncio import Redis as AsyncRedis
    from redis.asyncio import RedisCluster as AsyncRedisCluster


@overload
def redis(
    client: AsyncRedis | AsyncRedisCluster,
) -> Callable[[], Awaitable[CheckMessage | None]]: ...
@overload
def redis(client: Redis | RedisCluster | None) -> Callable[[], CheckMessage | None]: ...
def redis(client: Any) -> Callable[[], Any]:
    """Make a check that Redis answers, or that a cluster says that it is well.

    It uses a connection of the client's own pool, with the client's own time-outs and retries. A
    pooled connection that turns out to be stale, as after a restart, is no failure.

    :param client: a ``Redis`` or a ``RedisCluster``, of ``redis`` or ``redis.asyncio``. With an
        asyncio one the check is a coroutine function, and has to run on the event loop that
        the app uses the client on. ``None``, where an app has no client, fails the check.
    :returns: the check, to be registered. It gives ``dockerflow.health.E004`` when it can't
        connect or log in, ``E005`` without a client, ``E007`` when the answer to a ping is no
        pong, ``E012`` when the cluster is down, and ``E010`` on any other error of Redis.
    :raises TypeError: when ``client`` is no client of Redis.

    .. versionadded:: 0.1.0
    """
    if client is not None and not callable(getattr(client, "ping", None)):
        message = f"client takes a client of redis or redis.asyncio, not {type(client).__name__}"
        raise TypeError(message)
    check = _redis_async if _is_async(client) else _redis
    return functools.partial(check, client)


def _is_async(client: Any) -> bool:
    from inspect import iscoroutinefunction  # noqa: PLC0415 - slow, and only needed here

    module = sys.modules.get("redis.asyncio")  # not imported: then it is none of its clients
    if module is not None and isinstance(client, (module.Redis, module.RedisCluster)):
        return True
    return iscoroutinefunction(getattr(client, "ping", None))


def _ask(client: Any) -> Any:
    """Ask a server for a pong and a cluster for its state; gives the answer or an awaitable."""
    # Nodes of a broken cluster still answer a ping.
    return client.cluster_info() if _is_cluster(client) else client.ping()


def _is_cluster(client: Any) -> bool:
    modules = (sys.modules.get("redis"), sys.modules.get("redis.asyncio"))
    return any(module and isinstance(client, module.RedisCluster) for module in modules)


@named("redis")
def _redis(client: Any) -> CheckMessage | None:
    if client is None:
        return _no_client()
    started = time.monotonic()
    try:
        try:
            answer = _ask(client)
        except Exception as error:
            if not _may_be_stale(error, started):
                raise
            answer = _ask(client)
    except Exception as error:
        message = failure_of(error)
        if message is None:
            raise
        return report(message, error, secrets=_secrets(client))
    return _judge(client, answer)


@named("redis")
async def _redis_async(client: Any) -> CheckMessage | None:
    started = time.monotonic()
    try:
        try:
            answer = await _ask(client)
        except Exception as error:
            if not _may_be_stale(error, started):
                raise
            answer = await _ask(client)
    except Exception as error:
        message = failure_of(error)
        if message is None:
            raise
        return report(message, error, secrets=_secrets(client))
    return _judge(client, answer)


def _may_be_stale(error: Exception, started: float) -> bool:
    """Whether it may be that a pooled connection was from before a restart of the server.

    That shows at once. A client that has tried again by itself took longer.
    """
    is_connection_error = isinstance(error, load("redis.exceptions", "redis").ConnectionError)
    return is_connection_error and time.monotonic() - started < QUICK


def _no_client() -> CheckMessage:
    return Error("There is no Redis client.", id=health.ERROR_MISSING_REDIS_CLIENT)


def _judge(client: Any, answer: Any) -> CheckMessage | None:
    if _is_cluster(client):
        state = answer.get("cluster_state")
        if state == "ok":
            return None
        message = Error("The Redis cluster is down.", id=health.ERROR_REDIS_CLUSTER_DOWN)
        return report(message, detail=f"cluster_state is {state!r}")
    if answer:
        return None
    return Error("Redis did not answer a ping.", id=health.ERROR_REDIS_PING_FAILED)


def failure_of(error: Exception) -> CheckMessage | None:
    """Return the message for an error of Redis, and nothing for any other."""
    exc = load("redis.exceptions", "redis")
    if isinstance(error, exc.ClusterDownError):
        return Error("The Redis cluster is down.", id=health.ERROR_REDIS_CLUSTER_DOWN)
    # That the cluster's client found no node is no RedisError.
    if isinstance(error, exc.ConnectionError | exc.RedisClusterException):
        return Error("Could not connect to Redis.", id=health.ERROR_CANNOT_CONNECT_REDIS)
    if isinstance(error, exc.RedisError):
        return Error("Redis failed.", id=health.ERROR_REDIS_EXCEPTION)
    return None


def _secrets(client: Any) -> tuple[object, ...]:
    pool = getattr(client, "connection_pool", None)
    return (getattr(pool, "connection_kwargs", {}).get("password"),)
