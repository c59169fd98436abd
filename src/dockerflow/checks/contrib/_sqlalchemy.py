"""Databases by SQLAlchemy 2, and migrations by Alembic."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from dockerflow import health
from dockerflow.checks import messages
from dockerflow.checks.contrib._common import AsyncCheck, Check, fail, load, named, report
from dockerflow.checks.messages import CheckMessage, Info

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

_Work = Callable[["Connection"], CheckMessage | None]


@overload
def database(engine: Engine) -> Check: ...
@overload
def database(engine: AsyncEngine) -> AsyncCheck: ...
def database(engine: Any) -> Check | AsyncCheck:
    """Make a check that a database responds, over a connection of the engine's pool.

    A stale pooled connection, as after a restart of the server, is not a failure: the check
    tries once more on a fresh one.

    :param engine: the engine your app uses. With an ``AsyncEngine`` the check is a coroutine
        function, and has to run on the event loop that the app uses the engine on.
    :returns: the check, to be registered. It gives ``dockerflow.health.E001`` when it can't
        connect, ``E002`` when a connection can't be used, ``E011`` when the pool had none free in
        time, ``E008`` and ``E009`` on other errors of the driver and of SQLAlchemy.
    :raises TypeError: when ``engine`` isn't an engine.
    :raises ImportError: without SQLAlchemy.

    .. versionadded:: 0.1.0
    """
    if _is_async(engine):
        return functools.partial(_database_async, engine)
    return functools.partial(_database, engine)


@overload
def migrations(
    engine: Engine,
    config: Config | ScriptDirectory | str | PathLike[str],
    *,
    version_table: str = ...,
    version_table_schema: str | None = ...,
) -> Check: ...
@overload
def migrations(
    engine: AsyncEngine,
    config: Config | ScriptDirectory | str | PathLike[str],
    *,
    version_table: str = ...,
    version_table_schema: str | None = ...,
) -> AsyncCheck: ...
def migrations(
    engine: Any,
    config: Config | ScriptDirectory | str | PathLike[str],
    *,
    version_table: str = "alembic_version",
    version_table_schema: str | None = None,
) -> Check | AsyncCheck:
    """Make a check that the database is at the newest of Alembic's revisions.

    The scripts are read once, when the check first runs: a container's code doesn't change.

    :param engine: the engine your app uses; with an ``AsyncEngine`` the check is a coroutine
        function.
    :param config: Alembic's ``Config`` or ``ScriptDirectory``, or the path of ``alembic.ini`` or
        of the folder with the scripts.
    :param version_table: as in the ``env.py``; so is ``version_table_schema``.
    :returns: the check, to be registered. It gives ``dockerflow.health.W001`` when the database
        isn't at the newest revision (behind, or ahead after a rollback of the code), and ``I001``
        when that can't be determined.
    :raises TypeError: when ``engine`` isn't an engine.
    :raises ImportError: without Alembic.

    .. versionadded:: 0.1.0
    """
    is_async = _is_async(engine)
    load("alembic", "alembic")
    scripts = _Scripts(config, version_table, version_table_schema)
    if is_async:
        return functools.partial(_migrations_async, engine, scripts)
    return functools.partial(_migrations, engine, scripts)


def _is_async(engine: Any) -> bool:
    load("sqlalchemy", "sqlalchemy")
    # Imported by all who have an AsyncEngine; without greenlet it can't be.
    loaded = sys.modules.get("sqlalchemy.ext.asyncio")
    if loaded is not None and isinstance(engine, loaded.AsyncEngine):
        return True
    if not callable(getattr(engine, "connect", None)):
        message = (
            "engine must be an Engine or an AsyncEngine of SQLAlchemy, "
            f"not {type(engine).__name__}"  # a URL may have a password in it
        )
        raise TypeError(message)
    return False


class _WrappedError(Exception):
    """Wraps an exception: some drivers raise their own, and scripts of migrations may raise any.

    ``in_use`` is true if it was raised while a connection was used, not while it was made.
    """

    def __init__(self, error: Exception, *, in_use: bool) -> None:
        super().__init__(error)
        self.error = error
        self.in_use = in_use


class _StaleError(_WrappedError):
    """The driver found the connection dead, and SQLAlchemy emptied its pool: try once more."""


@contextmanager
def _wrapping(*, in_use: bool = False) -> Generator[None]:
    try:
        yield
    except _WrappedError:
        raise
    except Exception as error:
        is_stale = in_use and getattr(error, "connection_invalidated", False)
        wrap = _StaleError if is_stale else _WrappedError
        raise wrap(error, in_use=in_use) from error


def _connect(engine: Engine, work: _Work) -> CheckMessage | None:
    with _wrapping(), engine.connect() as connection, _wrapping(in_use=True):
        return work(connection)


def _with_connection(engine: Engine, work: _Work) -> CheckMessage | None:
    """Do ``work`` on a connection, and once more if it was one from before a restart."""
    with suppress(_StaleError):
        return _connect(engine, work)
    return _connect(engine, work)


async def _connect_async(engine: AsyncEngine, work: _Work) -> CheckMessage | None:
    with _wrapping():
        async with engine.connect() as connection:
            with _wrapping(in_use=True):
                return await connection.run_sync(work)


async def _with_connection_async(engine: AsyncEngine, work: _Work) -> CheckMessage | None:
    with suppress(_StaleError):
        return await _connect_async(engine, work)
    return await _connect_async(engine, work)


def _ping(connection: Connection) -> None:
    connection.execute(load("sqlalchemy", "sqlalchemy").select(1))  # Oracle has it FROM DUAL


@named("database")
def _database(engine: Engine) -> CheckMessage | None:
    try:
        return _with_connection(engine, _ping)
    except _WrappedError as failure:
        return _database_failure(engine, failure)


@named("database")
async def _database_async(engine: AsyncEngine) -> CheckMessage | None:
    try:
        return await _with_connection_async(engine, _ping)
    except _WrappedError as failure:
        return _database_failure(engine, failure)


_DRIVER_FAILED = ("The database driver failed.", health.ERROR_DB_API_EXCEPTION)
_OTHER = ("The database can't be used.", health.ERROR_SQLALCHEMY_EXCEPTION)


def _database_failure(engine: Engine | AsyncEngine, failure: _WrappedError) -> CheckMessage:
    exc = load("sqlalchemy.exc", "sqlalchemy")
    cause = failure.error
    if isinstance(cause, exc.TimeoutError):
        text = "No connection to the database was free in the pool."
        id_ = health.ERROR_DATABASE_POOL_EXHAUSTED
    elif isinstance(cause, exc.SQLAlchemyError) and not isinstance(cause, exc.DBAPIError):
        text, id_ = _OTHER
    elif not failure.in_use:
        text, id_ = "Could not connect to the database.", health.ERROR_CANNOT_CONNECT_DATABASE
    elif isinstance(failure, _StaleError) or isinstance(
        cause, exc.OperationalError | exc.InterfaceError | exc.InternalError
    ):
        text, id_ = "The database connection is unusable.", health.ERROR_UNUSABLE_DATABASE
    else:
        text, id_ = _DRIVER_FAILED
    return fail(text, id_, cause, secrets=_secrets(engine))


def check_engine(engine: Engine) -> CheckMessage | None:
    """Check like ``database(engine)``, with the IDs of python-dockerflow's check for Flask.

    :returns: nothing, or ``dockerflow.health.E008`` for an error of the driver and ``E009`` for
        any other of SQLAlchemy's.
    """
    exc = load("sqlalchemy.exc", "sqlalchemy")
    try:
        return _with_connection(engine, _ping)
    except _WrappedError as failure:
        cause = failure.error
        if not isinstance(cause, exc.SQLAlchemyError):
            raise cause from None
        text, id_ = _DRIVER_FAILED if isinstance(cause, exc.DBAPIError) else _OTHER
        return fail(text, id_, cause, secrets=_secrets(engine))


def _secrets(engine: Any) -> tuple[object, ...]:
    return (getattr(getattr(engine, "url", None), "password", None),)


@dataclass
class _Scripts:
    """Alembic's scripts, and the table in which a database records the ones it has."""

    config: Any
    version_table: str
    version_table_schema: str | None
    _heads: frozenset[str] | None = None

    def heads(self) -> frozenset[str]:
        """Return the newest revisions. Reads the scripts, and runs them, the first time."""
        if self._heads is None:
            self._heads = frozenset(_directory(self.config).get_heads())
        return self._heads

    def compare(self, connection: Connection) -> CheckMessage | None:
        """Report the newest revisions that a database doesn't have."""
        options = {
            "version_table": self.version_table,
            "version_table_schema": self.version_table_schema,
        }
        context = load("alembic.migration", "alembic").MigrationContext
        current = context.configure(connection, opts=options).get_current_heads()
        if not (missing := self.heads() - frozenset(current)):
            return None
        text = f"Migrations that aren't applied: {', '.join(sorted(missing))}"
        return messages.Warning(text, id=health.WARNING_UNAPPLIED_MIGRATION)


def _directory(config: Any) -> Any:
    directory: Any = load("alembic.script", "alembic").ScriptDirectory
    if hasattr(config, "get_heads"):
        return config
    if isinstance(config, str | PathLike):
        path = Path(fspath(cast("str | PathLike[str]", config)))
        if not path.exists():
            raise FileNotFoundError(path)
        if path.is_dir():
            return directory(str(path))
        config = load("alembic.config", "alembic").Config(str(path))
    return directory.from_config(config)


@named("migrations")
def _migrations(engine: Engine, scripts: _Scripts) -> CheckMessage | None:
    try:
        with _wrapping():
            scripts.heads()  # before a connection is taken
        return _with_connection(engine, scripts.compare)
    except _WrappedError as failure:
        return _unknown_migrations(engine, failure)


@named("migrations")
async def _migrations_async(engine: AsyncEngine, scripts: _Scripts) -> CheckMessage | None:
    import asyncio

    try:
        with _wrapping():
            await asyncio.to_thread(scripts.heads)
        return await _with_connection_async(engine, scripts.compare)
    except _WrappedError as failure:
        return _unknown_migrations(engine, failure)


def _unknown_migrations(engine: Any, failure: _WrappedError) -> CheckMessage:
    message = Info("Can't check migrations.", id=health.INFO_CANT_CHECK_MIGRATIONS)
    return report(message, failure.error, secrets=_secrets(engine))
