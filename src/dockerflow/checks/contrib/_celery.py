"""Celery: workers respond to a ping."""

from __future__ import annotations

import functools
from typing import Any

from dockerflow import health
from dockerflow.checks.contrib._common import Check, SuppressStale, fail, load, named, seconds
from dockerflow.checks.messages import CheckMessage


def celery(app: Any, *, timeout: float = 2.0, min_workers: int = 1) -> Check:
    """Make a check that Celery's workers respond to a ping, over a connection of the app's pool.

    It returns as soon as enough have responded. A busy worker responds too, unless it
    runs its tasks in its main process (the ``solo`` pool). A stale pooled connection, as after a
    restart of the broker, is not a failure.

    :param app: the Celery application.
    :param timeout: seconds for connecting to the broker, and again for the workers' responses.
    :param min_workers: how many have to respond.
    :returns: the check, to be registered. It gives ``dockerflow.health.E029`` when the broker
        can't be reached, and ``E030`` when too few workers responded.
    :raises ValueError: when ``timeout`` isn't greater than 0, or ``min_workers`` below 1.
    :raises TypeError: when ``app`` isn't a Celery application.

    .. versionadded:: 0.1.0
    """
    if not callable(getattr(getattr(app, "control", None), "ping", None)):
        message = f"app must be a Celery application, not {type(app).__name__}"
        raise TypeError(message)
    if isinstance(min_workers, bool) or min_workers < 1:
        raise ValueError(f"min_workers must be at least 1, not {min_workers!r}")
    return functools.partial(_celery, app, seconds("timeout", timeout), min_workers)


@named("celery")
def _celery(app: Any, timeout: float, min_workers: int) -> CheckMessage | None:
    errors = _broker_errors(app)
    try:
        with SuppressStale(*errors):
            return _ping(app, timeout, min_workers)
        return _ping(app, timeout, min_workers)
    except errors as error:
        text = "Could not connect to the broker."
        return fail(text, health.ERROR_CANNOT_CONNECT_CELERY_BROKER, error)


def _ping(app: Any, timeout: float, min_workers: int) -> CheckMessage | None:
    with app.connection_or_acquire() as connection:
        # Without this, Celery would wait for the broker for as long as that takes.
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout)
        replies = app.control.ping(connection=connection, timeout=timeout, limit=min_workers)
    if len(replies) >= min_workers:
        return None
    text = f"{len(replies)} of {min_workers} workers responded."
    return fail(text, health.ERROR_NO_CELERY_WORKERS, detail=f"responses from: {replies}")


def _broker_errors(app: Any) -> tuple[type[Exception], ...]:
    """Return kombu's own exception, and those of the transport's library that it lets through."""
    kombu_error = load("kombu.exceptions", "celery").OperationalError
    transport_errors = app.connection_for_write().connection_errors  # this opens no connection
    return (kombu_error, OSError, *transport_errors)
