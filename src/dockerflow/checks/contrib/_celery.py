"""Celery: that workers answer."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from dockerflow import health
from dockerflow.checks.contrib._common import QUICK, load, named, report
from dockerflow.checks.messages import CheckMessage, Error
from dockerflow.config import parse_seconds

Check = Callable[[], CheckMessage | None]


def celery(app: Any, *, timeout: float = 2.0, min_workers: int = 1) -> Check:
    """Make a check that Celery's workers answer a ping, over a connection of the app's own pool.

    It returns as soon as enough have answered. A worker that is busy answers too, unless it
    runs its tasks in its main process (the ``solo`` pool). A pooled connection that turns out to
    be stale, as after a restart of the broker, is no failure.

    :param app: the Celery application.
    :param timeout: seconds for connecting to the broker, and again for the workers to answer.
    :param min_workers: how many have to answer.
    :returns: the check, to be registered. It gives ``dockerflow.health.E029`` when the broker
        can't be reached, and ``E030`` when too few workers answered.
    :raises ValueError: when a number can't be right.
    :raises TypeError: when ``app`` is no Celery application.

    .. versionadded:: 0.1.0
    """
    if not callable(getattr(getattr(app, "control", None), "ping", None)):
        message = f"app takes an application of Celery, not {type(app).__name__}"
        raise TypeError(message)
    if isinstance(min_workers, bool) or min_workers < 1:
        raise ValueError(f"min_workers is {min_workers!r}, but takes a number from 1")
    try:
        seconds = parse_seconds(timeout)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"timeout is {timeout!r}, but takes a number of seconds over 0") from None
    return functools.partial(_celery, app, seconds, min_workers)


@named("celery")
def _celery(app: Any, timeout: float, min_workers: int) -> CheckMessage | None:
    started = time.monotonic()
    try:
        try:
            replies = _ping(app, timeout, min_workers)
        except Exception as error:
            # A pooled connection from before a restart of the broker shows that at once.
            if not _is_of_broker(app, error) or time.monotonic() - started > QUICK:
                raise
            replies = _ping(app, timeout, min_workers)
    except Exception as error:
        if not _is_of_broker(app, error):
            raise
        message = Error(
            "Could not connect to the broker.", id=health.ERROR_CANNOT_CONNECT_CELERY_BROKER
        )
        return report(message, error)
    if len(replies) >= min_workers:
        return None
    message = Error(
        f"{len(replies)} of {min_workers} workers answered.", id=health.ERROR_NO_CELERY_WORKERS
    )
    return report(message, detail=f"those who answered: {replies}")


def _ping(app: Any, timeout: float, min_workers: int) -> Any:
    with app.connection_or_acquire() as connection:
        # Without this, Celery would wait for the broker for as long as that takes.
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout)
        return app.control.ping(connection=connection, timeout=timeout, limit=min_workers)


def _is_of_broker(app: Any, error: Exception) -> bool:
    # What kombu raises, and what it lets through of the transport's own library.
    kombu_error = load("kombu.exceptions", "celery").OperationalError
    of_transport = app.connection_for_write().connection_errors  # it isn't opened for that
    return isinstance(error, (kombu_error, OSError, *of_transport))
