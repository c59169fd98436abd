"""Databases without SQLAlchemy: drivers with the interface of PEP 249, and pools."""

from __future__ import annotations

import functools
import inspect
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, overload

from dockerflow import health
from dockerflow.checks.contrib._common import (
    QUICK,
    AsyncCheck,
    Check,
    SuppressStale,
    fail,
    load,
    named,
)
from dockerflow.checks.messages import CheckMessage
from dockerflow.config import is_async

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

_STATEMENT: Final = "SELECT 1"
_find: Final = re.compile(r"://[^:/@]*:(.+)@|password\s*=\s*(?:'([^']*)'|(\S+))").finditer


def dbapi(connect: Callable[[], Any]) -> Check:
    """Make a check that a database responds, over a new connection of any DB-API 2.0 driver.

    It makes a connection, runs ``SELECT 1`` and closes it.

    :param connect: makes the connection, such as ``functools.partial(pymysql.connect, ...)``,
        with the driver's timeouts.
    :returns: the check, to be registered. It gives ``dockerflow.health.E001`` when it can't
        connect or log in, and ``E002`` when the connection can't be used.
    :raises TypeError: when ``connect`` isn't a function, or is a coroutine function.

    .. versionadded:: 0.1.0
    """
    if not callable(connect) or is_async(connect):
        message = (
            f"connect must be a function that returns a connection, not {type(connect).__name__}"
        )
        raise TypeError(message)
    return functools.partial(_dbapi, connect)


@named("database")
def _dbapi(connect: Callable[[], Any]) -> CheckMessage | None:
    try:
        connection = connect()
    except Exception as error:  # noqa: BLE001 - each driver has its own exceptions
        return _cannot_connect(error, *_passwords(connect))
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(_STATEMENT)
            cursor.fetchall()
    except Exception as error:  # noqa: BLE001
        return _unusable(error)
    finally:
        with suppress(Exception):  # a connection that broke
            connection.close()
    return None


def _passwords(connect: Any) -> Iterator[object]:
    """Yield the passwords among the arguments of a partial; drivers quote a URL that is wrong."""
    keywords = getattr(connect, "keywords", {})
    yield from (keywords.get("password"), keywords.get("passwd"))
    for argument in (*getattr(connect, "args", ()), *keywords.values()):
        if isinstance(argument, str):
            yield from (password for match in _find(argument) for password in match.groups())


class _Pool(Protocol):
    """A pool of asyncpg, aiomysql or asyncmy, which have no types, or none in common."""

    def acquire(self) -> Any: ...
    def release(self, connection: Any, /) -> Any: ...


@overload
def database_pool(pool: ConnectionPool[Any]) -> Check: ...
@overload
def database_pool(pool: AsyncConnectionPool[Any] | _Pool) -> AsyncCheck: ...
def database_pool(pool: Any) -> Check | AsyncCheck:
    """Make a check that a database responds, over a connection of the pool that your app uses.

    Stale connections, as after a restart of the server, are not a failure.

    :param pool: a ``ConnectionPool`` or an ``AsyncConnectionPool`` of ``psycopg_pool``, or a pool
        of ``asyncpg``, ``aiomysql`` or ``asyncmy``. With all but the first the check is a coroutine
        function, and has to run on the event loop that the app uses the pool on.
    :returns: the check, to be registered. It gives ``dockerflow.health.E001`` when it can't
        connect or log in, ``E002`` when the connection can't be used, and ``E011`` when
        ``psycopg_pool`` gave no connection in time: it doesn't tell whether the app uses all of
        them or none can be made.
    :raises TypeError: when ``pool`` isn't one of these.

    .. versionadded:: 0.1.0
    """
    if hasattr(pool, "getconn") and hasattr(pool, "check"):
        if inspect.iscoroutinefunction(pool.getconn):
            return functools.partial(_psycopg_async, pool)
        return functools.partial(_psycopg, pool)
    if hasattr(pool, "acquire") and hasattr(pool, "release"):
        return functools.partial(_acquired, pool)
    message = (
        "pool must be a pool of psycopg_pool, asyncpg, aiomysql or asyncmy, "
        f"not {type(pool).__name__}"  # a URL may have a password in it
    )
    raise TypeError(message)


@named("database")
def _psycopg(pool: Any) -> CheckMessage | None:
    def ask() -> None:
        with pool.connection() as connection:
            connection.execute(_STATEMENT)

    psycopg = load("psycopg", "psycopg")
    try:
        with SuppressStale(psycopg.OperationalError):
            ask()
            return None
        pool.check()  # replaces all that are stale
        ask()
    except psycopg.Error as error:
        return _psycopg_failure(error)
    return None


@named("database")
async def _psycopg_async(pool: Any) -> CheckMessage | None:
    async def ask() -> None:
        async with pool.connection() as connection:
            await connection.execute(_STATEMENT)

    psycopg = load("psycopg", "psycopg")
    try:
        with SuppressStale(psycopg.OperationalError):
            await ask()
            return None
        await pool.check()
        await ask()
    except psycopg.Error as error:
        return _psycopg_failure(error)
    return None


def _psycopg_failure(error: Exception) -> CheckMessage:
    library = load("psycopg_pool", "psycopg")
    if isinstance(error, library.PoolTimeout | library.TooManyRequests):
        text = "The pool gave no connection to the database in time."
        return fail(text, health.ERROR_DATABASE_POOL_EXHAUSTED, error)
    return _unusable(error)


@named("database")
async def _acquired(pool: Any) -> CheckMessage | None:
    started = time.monotonic()
    message = await _acquire(pool)
    # What fails quickly may be a stale connection.
    if message is not None and time.monotonic() - started < QUICK:
        message = await _acquire(pool)
    return message


async def _acquire(pool: Any) -> CheckMessage | None:
    is_acquired = False
    try:
        async with pool.acquire() as connection:
            is_acquired = True
            if hasattr(connection, "execute"):  # asyncpg
                await connection.execute(_STATEMENT)
            else:
                async with connection.cursor() as cursor:
                    await cursor.execute(_STATEMENT)
    except Exception as error:  # noqa: BLE001 - each driver has its own exceptions
        return _unusable(error) if is_acquired else _cannot_connect(error)
    return None


def _cannot_connect(error: Exception, *secrets: object) -> CheckMessage:
    text, id_ = "Could not connect to the database.", health.ERROR_CANNOT_CONNECT_DATABASE
    return fail(text, id_, error, secrets=secrets)


def _unusable(error: Exception) -> CheckMessage:
    text, id_ = "The database connection is unusable.", health.ERROR_UNUSABLE_DATABASE
    return fail(text, id_, error)
