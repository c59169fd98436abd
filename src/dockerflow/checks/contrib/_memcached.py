"""Memcached, by pymemcache."""

from __future__ import annotations

import functools
from typing import Any

from dockerflow import health
from dockerflow.checks.contrib._common import Check, SuppressStale, fail, load, named
from dockerflow.checks.messages import CheckMessage


def memcached(client: Any) -> Check:
    """Make a check that memcached, or each of several servers, returns its version.

    A stale connection, as after a restart, is not a failure.

    :param client: a ``PooledClient`` or a ``HashClient`` of pymemcache, with its timeouts. A
        ``Client``, or a ``HashClient`` without ``use_pooling``, isn't thread-safe, so the check
        needs one that nobody else uses.
    :returns: the check, to be registered. It gives ``dockerflow.health.E039`` when it can't
        connect, and ``E040`` on any other error, such as a timeout of the client.
    :raises TypeError: when ``client`` isn't a client of pymemcache.

    .. versionadded:: 0.1.0
    """
    if not any(hasattr(client, name) for name in ("version", "clients")):
        message = f"client must be a client of pymemcache, not {type(client).__name__}"
        raise TypeError(message)
    return functools.partial(_memcached, client)


@named("memcached")
def _memcached(client: Any) -> CheckMessage | None:
    errors = (OSError, load("pymemcache.exceptions", "memcached").MemcacheError)
    for server in _servers(client):
        try:
            with SuppressStale(*errors):
                server.version()
                continue
            server.version()
        except errors as error:
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                text, id_ = "Could not connect to memcached.", health.ERROR_CANNOT_CONNECT_MEMCACHED
            else:
                text, id_ = "Memcached failed.", health.ERROR_MEMCACHED_EXCEPTION
            return fail(text, id_, error)
    return None


def _servers(client: Any) -> list[Any]:
    """Return the clients for each server of a ``HashClient``, or else the client itself."""
    clients: Any = getattr(client, "clients", None)
    return list(clients.values()) if hasattr(clients, "values") else [client]
