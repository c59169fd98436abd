"""One call that sets up logging: for an application, its server and its framework."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from logging.config import dictConfig
from typing import Any, Final, Literal

from dockerflow.config import PREFIX, ConfigError
from dockerflow.logging._mozlog import DEFAULT_NAME, MIN_BYTES

_FORMATTERS: Final = {
    "mozlog": "dockerflow.logging.MozlogFormatter",
    "text": "dockerflow.logging.TextFormatter",
    "gcp": "dockerflow.logging.GoogleCloudFormatter",
}

# Servers and frameworks give these their own handlers, which are taken away.
_PROPAGATING: Final = (
    "django", "hypercorn.error", "request.summary", "sanic", "sanic.error", "sanic.root",
    "sanic.server", "sanic.websockets", "uvicorn", "uvicorn.asgi", "uvicorn.error",
)  # fmt: skip
# Access logs, replaced by request.summary. They don't propagate, in case that the server sets
# their level later, and are at CRITICAL, as logging's last resort writes the lines of a logger
# without handlers.
_ACCESS: Final = (
    "django.server", "gunicorn.access", "hypercorn.access", "sanic.access", "uvicorn.access",
)  # fmt: skip


def logging_config(
    name: str | None = None,
    level: int | str | None = None,
    format: Literal["mozlog", "text", "gcp"] | None = None,  # noqa: A002  # its name in dictConfig
    *,
    max_bytes: int | None = None,
    queue_size: int | None = None,
) -> dict[str, Any]:
    """Return a configuration for :func:`logging.config.dictConfig`: one handler for all lines.

    It writes the lines of the root logger, ``request.summary`` and the loggers of uvicorn,
    gunicorn, hypercorn, Sanic, Werkzeug and Django to standard output. The servers' access logs
    aren't written. Existing loggers stay as they are.

    Pass it to Django as ``LOGGING``, to uvicorn as ``log_config``, to gunicorn and hypercorn as
    ``logconfig_dict``. It can be written as JSON.

    Arguments that aren't given are read from the environment.

    :param name: the app's name; ``DOCKERFLOW_LOG_NAME``, by default ``Dockerflow``.
    :param level: the lowest level that is written, a name or a number; ``DOCKERFLOW_LOG_LEVEL``,
        by default ``INFO``.
    :param format: ``mozlog``, ``text`` for people or ``gcp`` for Google Cloud;
        ``DOCKERFLOW_LOG_FORMAT``, by default ``mozlog``.
    :param max_bytes: the maximum length of a line in bytes, at least 1024, see
        :class:`MozlogFormatter`; ``DOCKERFLOW_LOG_MAX_BYTES``, by default without a limit.
    :param queue_size: how many lines may wait for a slow reader, see :class:`QueuedHandler`;
        ``DOCKERFLOW_LOG_QUEUE_SIZE``, by default 0: the process waits for its reader.
    :raises ConfigError: if an argument or a variable is wrong.

    .. versionadded:: 0.1.0
    """
    name = _read("name", name, DEFAULT_NAME, _string, "a string that isn't empty")
    level = _read("level", level, "INFO", _level, "a level's name or a number from 0")
    kind = _read("format", format, "mozlog", _format, "mozlog, text or gcp")
    max_bytes = _read(
        "max_bytes", max_bytes, None, _integer, f"a number from {MIN_BYTES}", MIN_BYTES
    )
    queue_size = _read("queue_size", queue_size, 0, _integer, "a number from 0", 0)

    formatter: dict[str, Any] = {"()": _FORMATTERS[kind], "logger_name": name}
    if max_bytes is not None:
        formatter["max_bytes"] = max_bytes
    handler: dict[str, Any] = {
        "class": "dockerflow.logging.MozlogHandler",
        "formatter": "dockerflow",
        "name": name,
    }
    if queue_size:
        handler |= {"class": "dockerflow.logging.QueuedHandler", "queue_size": queue_size}
    loggers: dict[str, dict[str, Any]] = {
        **{logger: {"handlers": [], "propagate": True} for logger in _PROPAGATING},
        **{logger: {"handlers": [], "propagate": False, "level": "CRITICAL"} for logger in _ACCESS},
        # Its access log has the same logger, at INFO.
        "werkzeug": {"handlers": [], "propagate": True, "level": "WARNING"},
        # gunicorn's uvicorn workers give this logger's handlers to uvicorn's loggers, which then
        # don't propagate.
        "gunicorn.error": {"handlers": ["stdout"], "propagate": False, "level": level},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "dockerflow": formatter,
            # Nothing uses these, but uvicorn writes its use_colors into them.
            "default": {},
            "access": {},
        },
        "handlers": {"stdout": handler},
        "loggers": loggers,
        "root": {"handlers": ["stdout"], "level": level},
    }


def configure_logging(
    name: str | None = None,
    level: int | str | None = None,
    format: Literal["mozlog", "text", "gcp"] | None = None,  # noqa: A002  # its name in dictConfig
    *,
    max_bytes: int | None = None,
    queue_size: int | None = None,
) -> None:
    """Apply the configuration that :func:`logging_config` returns for the same arguments.

    :raises ConfigError: if an argument or a variable is wrong.

    .. versionadded:: 0.1.0
    """
    dictConfig(logging_config(name, level, format, max_bytes=max_bytes, queue_size=queue_size))


def _read(
    name: str, value: object, default: object, parse: Callable[..., Any], takes: str, *least: int
) -> Any:
    source = name
    if value is None:
        source = f"{PREFIX}LOG_{name.upper()}"
        # Orchestrators often pass a variable without a value as an empty one.
        value = os.environ.get(source)
        if not value:
            return default
    try:
        return parse(value, *least)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{source} is {value!r:.80}, but takes {takes}") from None


def _string(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def _format(value: object) -> str:
    name = _string(value).strip().lower()
    if name not in _FORMATTERS:
        raise ValueError
    return name


def _level(value: object) -> int | str:
    if not isinstance(value, str) or value.strip().isdecimal():
        return _integer(value, 0)
    name = value.strip().upper()
    if name not in logging.getLevelNamesMapping():
        raise ValueError
    return name


def _integer(value: Any, least: int) -> int:
    if isinstance(value, bool | float) or int(value) < least:
        raise ValueError
    return int(value)
