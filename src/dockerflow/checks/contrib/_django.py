"""Django's databases, migrations, caches, mail and storage.

Django closes connections at the end of a request, which a check's thread never sees. So the
checks close the connections that they opened, and leave those that were open before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast
from uuid import uuid4

from dockerflow import health
from dockerflow.checks import messages
from dockerflow.checks._process import PerProcess
from dockerflow.checks._returned import MAX_MESSAGES
from dockerflow.checks.contrib._common import Check, fail, load, named, report
from dockerflow.checks.contrib._redis import failure, redis
from dockerflow.checks.contrib._smtp import failure as smtp_failure
from dockerflow.checks.messages import CheckMessage, Error, Info
from dockerflow.health import WARNING_UNAPPLIED_MIGRATION

CACHE_SECONDS = 60
"""How long a value that a check couldn't delete stays in the cache."""
MAIL_SECONDS = 3.0
"""For each step, where Django's settings set no timeout for a mail server."""


def django_database(alias: str = "default") -> Check:
    """Make a check that one of Django's databases responds.

    :param alias: its name in the setting ``DATABASES``.
    :returns: the check, to be registered. It gives ``dockerflow.health.E001`` when it can't
        connect, ``E002`` when the connection is unusable, and ``E003`` when the settings are
        wrong or lack the alias.

    .. versionadded:: 0.1.0
    """
    return functools.partial(check_database, alias)


def django_migrations(alias: str = "default") -> Callable[[], list[CheckMessage]]:
    """Make a check that all migrations are applied to one of Django's databases.

    :param alias: its name in the setting ``DATABASES``.
    :returns: the check, to be registered. It gives ``dockerflow.health.W001`` for each migration
        that isn't, and ``I001`` when that can't be determined.

    .. versionadded:: 0.1.0
    """
    return functools.partial(check_migrations, alias)


def django_cache(alias: str = "default") -> Check:
    """Make a check that one of Django's caches returns what was put into it.

    It writes a value under a random key, reads it and deletes it. The check keeps its own cache
    object, since Django makes one per thread, and so would make a new connection each time.

    :param alias: its name in the setting ``CACHES``.
    :returns: the check, to be registered. It gives ``dockerflow.health.E013`` when the settings
        are wrong or lack the alias, ``E014`` when the cache raises, and ``E015`` when it
        lost the value.

    .. versionadded:: 0.1.0
    """
    return functools.partial(_cache, alias)


def django_redis(alias: str = "default") -> Check:
    """Make a check that the Redis behind one of Django's caches responds, by ``django-redis``.

    :param alias: the cache's name in the setting ``CACHES``.
    :returns: the check, to be registered. It gives the IDs of :func:`redis`, and
        ``dockerflow.health.E005`` without django-redis or when the cache isn't Redis, and ``E006``
        when the settings are wrong.

    .. versionadded:: 0.1.0
    """
    return functools.partial(_redis, alias)


def django_mail(alias: str = "default") -> Check:
    """Make a check that Django's mail backend can connect and log in. It sends no mail.

    Backends that need no connection, such as those for the console and for files, always pass.
    Where the settings have no timeout for the backend, the check waits three seconds for each
    step.

    :param alias: its name in the setting ``MAILERS``. Where there is none, as before Django 6.1,
        ``default`` means the one of the setting ``EMAIL_BACKEND``.
    :returns: the check, to be registered. It gives the IDs of :func:`smtp`, and
        ``dockerflow.health.E043`` when the settings are wrong or lack the alias.

    .. versionadded:: 0.1.0
    """
    return functools.partial(_mail, alias)


def django_storage(alias: str = "default") -> Check:
    """Make a check that one of Django's storages returns what was put into it.

    It saves a file under a random name, reads it and deletes it.

    :param alias: its name in the setting ``STORAGES``.
    :returns: the check, to be registered. It gives ``dockerflow.health.E044`` when the settings
        are wrong or lack the alias, ``E045`` when the storage raises, and ``E046`` when it
        returned something other than what was saved.

    .. versionadded:: 0.1.0
    """
    return functools.partial(_storage, alias)


@contextmanager
def closing_django_connections() -> Generator[None]:
    """Close the database connections that are opened within it, in this thread."""
    connections = load("django.db", "django").connections
    already_open = [wrapper for wrapper in _wrappers(connections) if wrapper.connection is not None]
    try:
        yield
    finally:
        for wrapper in _wrappers(connections):
            if wrapper.connection is not None and wrapper not in already_open:
                _close(wrapper)


def _wrappers(connections: Any) -> list[Any]:
    return list(connections.all(initialized_only=True))


def _close(wrapper: Any) -> None:
    wrapper.close()
    if wrapper.connection is not None:
        # Django never closes SQLite in memory, as its data would be lost. This is a second
        # connection to a shared database, or the only one to a database of this thread.
        opened, wrapper.connection = wrapper.connection, None
        opened.close()


@named("database")
def check_database(alias: str, connection: Any = None) -> CheckMessage | None:
    """Check the alias's connection, or the one that replaces it."""
    unusable = Error("The database connection is unusable.", id=health.ERROR_UNUSABLE_DATABASE)
    utils = load("django.db.utils", "django")
    misconfigured = (
        load("django.core.exceptions", "django").ImproperlyConfigured,
        utils.ConnectionDoesNotExist,
    )
    try:
        with closing_django_connections():
            wrapper = connection or _connection(alias)
            was_open = getattr(wrapper, "connection", None) is not None
            wrapper.ensure_connection()
            usable = wrapper.is_usable()
            if not usable and was_open and not wrapper.in_atomic_block:
                # A persistent connection of this thread, from before a restart of the server.
                wrapper.close()
                wrapper.ensure_connection()
                usable = wrapper.is_usable()
    except misconfigured as error:
        return fail("The database is misconfigured.", health.ERROR_MISCONFIGURED_DATABASE, error)
    except utils.OperationalError as error:
        text, id_ = "Could not connect to the database.", health.ERROR_CANNOT_CONNECT_DATABASE
        return fail(text, id_, error, secrets=_secrets(alias))
    except utils.Error as error:
        return report(unusable, error, secrets=_secrets(alias))
    return None if usable else unusable


def _connection(alias: str) -> Any:
    return load("django.db", "django").connections[alias]


def _secrets(alias: str) -> tuple[object, ...]:
    return (load("django.conf", "django").settings.DATABASES.get(alias, {}).get("PASSWORD"),)


@named("migrations")
def check_migrations(
    alias: str, connection: Any = None, app_configs: Iterable[Any] | None = None
) -> list[CheckMessage]:
    """Check the migrations of these apps, or of all."""
    try:
        make_loader = load("django.db.migrations.loader", "django").MigrationLoader
        with closing_django_connections():
            loader = make_loader(connection or _connection(alias), ignore_no_migrations=True)
    except Exception as error:  # noqa: BLE001 - also migrations that are broken
        message = Info("Can't check migrations.", id=health.INFO_CANT_CHECK_MIGRATIONS)
        return [report(message, error, secrets=_secrets(alias))]
    labels = {app.label for app in app_configs} if app_configs else loader.migrated_apps
    unapplied = sorted(
        str(migration)
        for key, migration in loader.graph.nodes.items()
        if key not in loader.applied_migrations and migration.app_label in labels
    )
    return [
        messages.Warning(f"Unapplied migration {name}", id=WARNING_UNAPPLIED_MIGRATION)
        for name in unapplied[:MAX_MESSAGES]  # more of them would be an error
    ]


_caches: PerProcess[dict[str, tuple[Any, Any]]] = PerProcess(dict)
"""One cache object for each alias, with the settings that it was made from."""


def _cache_of(alias: str) -> Any:
    caches = load("django.core.cache", "django").caches
    settings = caches.settings.get(alias)
    if settings is None:
        raise caches.exception_class(f"The setting CACHES has no {alias!r}.")
    made_from, cache = _caches.get().get(alias, (None, None))
    if made_from is not settings:  # the first time, and when a test has changed the settings
        cache = caches.create_connection(alias)
        _caches.get()[alias] = (settings, cache)
    return cache


@named("cache")
def _cache(alias: str) -> CheckMessage | None:
    try:
        cache = _cache_of(alias)
        if isinstance(cache, load("django.core.cache.backends.dummy", "django").DummyCache):
            return None  # it stores nothing by design
        key = f"dockerflow.{uuid4()}"  # other processes check the cache too
        with closing_django_connections():
            cache.set(key, key, CACHE_SECONDS)
            value = cache.get(key)
            cache.delete(key)
    except load("django.core.exceptions", "django").ImproperlyConfigured as error:
        return fail("The cache is misconfigured.", health.ERROR_MISCONFIGURED_CACHE, error)
    except Exception as error:  # noqa: BLE001 - each backend raises its client's own exceptions
        return fail("The cache failed.", health.ERROR_CACHE_EXCEPTION, error)
    if value == key:
        return None
    return Error("The cache lost a value.", id=health.ERROR_CACHE_LOST_VALUE)


@named("redis")
def _redis(alias: str) -> CheckMessage | None:
    try:
        get_client = load("django_redis", "redis").get_redis_connection
    except ImportError as error:
        return fail("django-redis is not installed.", health.ERROR_MISSING_REDIS_CLIENT, error)
    try:
        client = get_client(alias)
    except NotImplementedError as error:  # another kind of cache
        text = "The cache has no Redis client."
        return fail(text, health.ERROR_MISSING_REDIS_CLIENT, error)
    except load("django.core.exceptions", "django").ImproperlyConfigured as error:
        return fail("Redis is misconfigured.", health.ERROR_MISCONFIGURED_REDIS, error)
    except load("redis.exceptions", "redis").RedisError as error:
        return failure(error)
    return cast("Check", redis(client))()


@named("mail")
def _mail(alias: str) -> CheckMessage | None:
    backend = None
    try:
        backend = _mail_backend(alias)
        if isinstance(backend, load("django.core.mail.backends.filebased", "django").EmailBackend):
            return None  # it has looked at its folder, and would open a new file each time
        backend.fail_silently = False
        if getattr(backend, "timeout", 0) is None:
            backend.timeout = MAIL_SECONDS
        try:
            backend.open()
        finally:
            backend.close()
    except (
        ImportError,
        ValueError,
        load("django.core.exceptions", "django").ImproperlyConfigured,
    ) as error:
        return fail("The mail backend is misconfigured.", health.ERROR_MISCONFIGURED_MAIL, error)
    except Exception as error:  # noqa: BLE001 - each backend raises its client's own exceptions
        return smtp_failure(error, getattr(backend, "password", None))
    return None


def _mail_backend(alias: str) -> Any:
    mail = load("django.core.mail", "django")
    if hasattr(mail, "mailers"):  # Django 6.1
        return mail.mailers[alias]
    if alias != "default":
        error = load("django.core.exceptions", "django").ImproperlyConfigured
        raise error(f"This version of Django has no MAILERS, so there is no {alias!r}.")
    return mail.get_connection()


@named("storage")
def _storage(alias: str) -> CheckMessage | None:
    files = load("django.core.files.base", "django")
    saved = f"dockerflow.{uuid4()}"
    try:
        storage = load("django.core.files.storage", "django").storages[alias]
        name = storage.save(saved, files.ContentFile(saved.encode()))
        try:
            with storage.open(name) as file:
                read = file.read()
        finally:
            storage.delete(name)
    except load("django.core.exceptions", "django").ImproperlyConfigured as error:
        return fail("The storage is misconfigured.", health.ERROR_MISCONFIGURED_STORAGE, error)
    except Exception as error:  # noqa: BLE001 - each storage raises its client's own exceptions
        return fail("The storage failed.", health.ERROR_STORAGE_EXCEPTION, error)
    if read == saved.encode():
        return None
    return Error("The storage lost a file.", id=health.ERROR_STORAGE_LOST_FILE)
