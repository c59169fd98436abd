"""Checks of the services that Flask extensions connect to, and check messages."""

from __future__ import annotations

from typing import Any, Final, cast

from dockerflow import health
from dockerflow.checks import messages as _messages
from dockerflow.checks.contrib import migrations, redis
from dockerflow.checks.contrib._sqlalchemy import check_engine
from dockerflow.checks.messages import *  # noqa: F403 - these names are public here too
from dockerflow.checks.messages import CheckMessage, Info

__all__ = [
    "check_database_connected",
    "check_migrations_applied",
    "check_redis_connected",
]
__all__ += _messages.__all__


def check_database_connected(db: Any) -> list[CheckMessage]:
    """Check that the database responds. Needs the app's context.

    :param db: Flask-SQLAlchemy's extension.
    :returns: an empty list, or the message of :func:`dockerflow.checks.contrib.database`.
    """
    return _listed(check_engine(db.engine))


def check_migrations_applied(migrate: Any) -> list[CheckMessage]:
    """Check that the database has the newest migration. Needs the app's context.

    :param migrate: Flask-Migrate's extension.
    :returns: an empty list, or the message of :func:`dockerflow.checks.contrib.migrations`.
    """
    try:
        options: dict[str, Any] = getattr(migrate, "alembic_ctx_kwargs", {})
        check = cast("Any", migrations)(
            migrate.db.engine,
            _scripts_of(migrate),
            **{name: options[name] for name in _VERSION_TABLE if name in options},
        )
    except Exception as error:  # noqa: BLE001 - Alembic's set-up may raise anything
        message = f"Can't check migrations: {type(error).__name__}"
        return [Info(message, id=health.INFO_CANT_CHECK_MIGRATIONS)]
    return _listed(check())


_VERSION_TABLE: Final = ("version_table", "version_table_schema")
_SCRIPTS: Final = "_dockerflow_scripts"


def _scripts_of(migrate: Any) -> Any:
    """Return the migrations' ``ScriptDirectory``, kept at ``migrate``, as are the files' contents.

    They are read once: a container's code doesn't change.
    """
    known: dict[str, Any] = cast("Any", vars(migrate))
    if _SCRIPTS not in known:
        from alembic.script import ScriptDirectory

        scripts: Any = ScriptDirectory.from_config(migrate.get_config())
        scripts.get_heads()
        known[_SCRIPTS] = scripts
    return known[_SCRIPTS]


def check_redis_connected(client: Any) -> list[CheckMessage]:
    """Check that Redis responds.

    :param client: a client of redis-py.
    :returns: an empty list, or the message of :func:`dockerflow.checks.contrib.redis`.
    """
    return _listed(cast("Any", redis(client))())


def _listed(message: CheckMessage | None) -> list[CheckMessage]:
    return [] if message is None else [message]
