"""One call that sets up logging: for an application, its server and its framework."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Final, Literal

from dockerflow.config import PREFIX, ConfigError
from dockerflow.logging._mozlog import DEFAULT_NAME, MIN_BYTES

_FORMATTERS: Final = {
    "mozlog": "dockerflow.logging.MozlogFormatter",
    "text": "dockerflow.logging.TextFormatter",
    "gcp": "dockerflow.logging.GoogleCloudFormatter",
}

# Servers and frameworks give these handlers of their own. Theirs are taken away.
_PROPAGATING: Final = (
    "django", "hypercorn.error", "request.summary", "sanic", "sanic.error", "sanic.root",
    "sanic.server", "sanic.websockets", "uvicorn", "uvicorn.asgi", "uvicorn.error",
)  # fmt: skip
# What they log of each request; request.summary has it. Neither a level that the server sets later
# nor logging's last resort for those without a handler may bring it back.
_ACCESS: Final = (
    "django.server", "gunicorn.access", "hypercorn.access", "sanic.access", "uvicorn.access",
)  # fmt: skip


def logging_config(  # each is another setting
    name: str | None = None,
    level: int | str | None = None,
    format: Literal["mozlog", "text", "gcp"] | None = None,  # noqa: A002  # its name in dictConfig
    *,
    max_bytes: int | None = None,
    queue_size: int | None = None,
) -> dict[str, Any]:
    """Return a configuration for :func:`logging.config.dictConfig`: one handler for all lines.

    The root logger, ``request.summary`` and the loggers of uvicorn, gunicorn, hypercorn, Sanic,
    Werkzeug and Django write to standard output by it. What the servers log of each request
    isn't written. Loggers that exist stay as they are.

    It is what Django takes as ``LOGGING``, uvicorn as ``log_config``, gunicorn and hypercorn as
    ``logconfig_dict``; and it can be written as JSON.

    What isn't given is read from the environment, and has its default if it isn't there either.

    :param name: the app's name; ``DOCKERFLOW_LOG_NAME``, by default ``Dockerflow``.
    :param level: from which level on lines are written: a name or a number;
        ``DOCKERFLOW_LOG_LEVEL``, by default ``INFO``.
    :param format: ``mozlog``, ``text`` for people or ``gcp`` for Google Cloud;
        ``DOCKERFLOW_LOG_FORMAT``, by default ``mozlog``.
    :param max_bytes: how long a line may be, in bytes, at least 1024; ``DOCKERFLOW_LOG_MAX_BYTES``,
        by default without a limit. See :class:`MozlogFormatter`.
    :param queue_size: how many lines may wait for a slow reader, see :class:`QueuedHandler`;
        ``DOCKERFLOW_LOG_QUEUE_SIZE``, by default 0: the process waits for its reader.
    :raises ConfigError: when one of these isn't what it takes.

    .. versionadded:: 0.1.0
    """
    name = _read("name", name, DEFAULT_NAME, _parse_name, "a text that isn't empty")
    level = _read("level", level, "INFO", _parse_level, "a level's name or a number from 0")
    kind = _read("format", format, "mozlog", _parse_format, "mozlog, text or gcp")
    max_bytes = _read(
        "max_bytes", max_bytes, None, _at_least(MIN_BYTES), f"a number from {MIN_BYTES}"
    )
    queue_size = _read("queue_size", queue_size, 0, _at_least(0), "a number from 0")

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
        # It has no other name for them.
        "werkzeug": {"handlers": [], "propagate": True, "level": "WARNING"},
        # gunicorn's uvicorn workers hand this one's handlers on to uvicorn's loggers, and let
        # them propagate no further.
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


def configure_logging(  # each is another setting
    name: str | None = None,
    level: int | str | None = None,
    format: Literal["mozlog", "text", "gcp"] | None = None,  # noqa: A002  # its name in dictConfig
    *,
    max_bytes: int | None = None,
    queue_size: int | None = None,
) -> None:
    """Set up logging now. What it takes and raises is that of :func:`logging_config`.

    .. versionadded:: 0.1.0
    """
    from logging.config import dictConfig  # noqa: PLC0415  # it loads what few need

    dictConfig(logging_config(name, level, format, max_bytes=max_bytes, queue_size=queue_size))


def _read(
    name: str, value: object, default: object, parse: Callable[[Any], Any], takes: str
) -> Any:
    source = name
    if value is None:
        source = f"{PREFIX}LOG_{name.upper()}"
        # Orchestrators often pass a variable that nobody filled as an empty one.
        value = os.environ.get(source)
        if not value:
            return default
    try:
        return parse(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{source} is {value!r:.80}, but takes {takes}") from None


def _parse_name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not value.strip():
        raise ValueError
    return value


def _parse_level(value: Any) -> int | str:
    if isinstance(value, str) and not value.strip().isdecimal():
        name = value.strip().upper()
        if name not in logging.getLevelNamesMapping():
            raise ValueError
        return name
    return int(_at_least(0)(value))


def _parse_format(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    name = value.strip().lower()
    if name not in _FORMATTERS:
        raise ValueError
    return name


def _at_least(least: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool | float):
            raise TypeError
        number = int(value)
        if number < least:
            raise ValueError
        return number

    return parse
