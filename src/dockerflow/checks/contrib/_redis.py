"""Redis: sync and asyncio clients, single servers and clusters."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, overload

from dockerflow import health
from dockerflow.checks.contrib._common import AsyncCheck, Check, SuppressStale, fail, load, named
from dockerflow.checks.messages import CheckMessage, Error

if TYPE_CHECKING:
    from redis import Redis, RedisCluster
    from redis.asyncio import Redis as AsyncRedis
    from redis.asyncio import RedisCluster as AsyncRedisCluster


@overload
def redis(client: AsyncRedis | AsyncRedisCluster) -> AsyncCheck: ...
@overload
def redis(client: Redis | RedisCluster | None) -> Check: ...
def redis(client: Any) -> Check | AsyncCheck:
    """Make a check that Redis responds, or that a cluster reports that it is healthy.

    It uses a connection of the client's pool, with the client's timeouts and retries. A stale
    pooled connection, as after a restart, is not a failure.

    :param client: a ``Redis`` or a ``RedisCluster``, of ``redis`` or ``redis.asyncio``. With an
        asyncio one the check is a coroutine function, and has to run on the event loop that
        the app uses the client on. ``None``, where an app has no client, fails the check.
    :returns: the check, to be registered. It gives ``dockerflow.health.E004`` when it can't
        connect or log in, ``E005`` without a client, ``E007`` when it doesn't reply to a ping
        with a pong, ``E012`` when the cluster is down, and ``E010`` on any other error of Redis.
    :raises TypeError: when ``client`` isn't a client of Redis.

    .. versionadded:: 0.1.0
    """
    if client is not None and not callable(getattr(client, "ping", None)):
        message = f"client must be a client of redis or redis.asyncio, not {type(client).__name__}"
        raise TypeError(message)
    if _is_async(client):
        return functools.partial(check_async, client)
    return functools.partial(_redis, client)


def _is_async(client: Any) -> bool:
    module = sys.modules.get("redis.asyncio")  # imported by all who have such a client
    if module is not None and isinstance(client, (module.Redis, module.RedisCluster)):
        return True
    return inspect.iscoroutinefunction(getattr(client, "ping", None))


def _ask(client: Any) -> Any:
    """Ask a server for a pong and a cluster for its state; returns that, or an awaitable of it."""
    # The nodes of a broken cluster still reply to a ping.
    return client.cluster_info() if _is_cluster(client) else client.ping()


def _is_cluster(client: Any) -> bool:
    # The other one may be half imported, by another thread.
    modules = (sys.modules.get("redis"), sys.modules.get("redis.asyncio"))
    return any(isinstance(client, getattr(module, "RedisCluster", ())) for module in modules)


@named("redis")
def _redis(client: Any) -> CheckMessage | None:
    if client is None:
        return Error("There is no Redis client.", id=health.ERROR_MISSING_REDIS_CLIENT)
    exc = load("redis.exceptions", "redis")
    try:
        with SuppressStale(exc.ConnectionError):
            return _judge(client, _ask(client))
        return _judge(client, _ask(client))
    except (exc.RedisError, exc.RedisClusterException) as error:
        return failure(error, client)


@named("redis")
async def check_async(client: Any) -> CheckMessage | None:
    """Check an asyncio client, or one whose methods may return awaitables."""
    exc = load("redis.exceptions", "redis")
    try:
        with SuppressStale(exc.ConnectionError):
            return _judge(client, await _awaited(_ask(client)))
        return _judge(client, await _awaited(_ask(client)))
    except (exc.RedisError, exc.RedisClusterException) as error:
        return failure(error, client)


async def _awaited(reply: Any) -> Any:
    return await reply if inspect.isawaitable(reply) else reply


_DOWN = ("The Redis cluster is down.", health.ERROR_REDIS_CLUSTER_DOWN)


def _judge(client: Any, reply: Any) -> CheckMessage | None:
    if inspect.isawaitable(reply):  # of a wrapper that doesn't look like an asyncio client
        getattr(reply, "close", bool)()
        message = "the client is asynchronous, but its ping() isn't a coroutine function"
        raise TypeError(message)
    if _is_cluster(client):
        state = reply.get("cluster_state")
        if state == "ok":
            return None
        return fail(*_DOWN, detail=f"cluster_state is {state!r}")
    if reply:
        return None
    return Error("Redis did not respond to a ping.", id=health.ERROR_REDIS_PING_FAILED)


def failure(error: Exception, client: Any = None) -> CheckMessage:
    """Report a ``RedisError`` or a ``RedisClusterException``."""
    exc = load("redis.exceptions", "redis")
    if isinstance(error, exc.ClusterDownError):
        text, id_ = _DOWN
    # A cluster's client that found no node raises the other one, which isn't a RedisError.
    elif isinstance(error, exc.ConnectionError | exc.RedisClusterException):
        text, id_ = "Could not connect to Redis.", health.ERROR_CANNOT_CONNECT_REDIS
    else:
        text, id_ = "Redis failed.", health.ERROR_REDIS_EXCEPTION
    pool = getattr(client, "connection_pool", None)
    password = getattr(pool, "connection_kwargs", {}).get("password")
    return fail(text, id_, error, secrets=(password,))
