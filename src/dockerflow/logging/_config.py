"""One call that sets up logging: for an application, its server and its framework."""

from __future__ import annotations

import logging
from functools import partial
from logging.config import dictConfig
from typing import Any, Final, Literal

from dockerflow._core.summary import NAME, is_routine
from dockerflow.config import Setting
from dockerflow.logging._mozlog import DEFAULT_NAME, MIN_BYTES, MozlogFormatter
from dockerflow.logging._text import TextFormatter, is_terminal

_FORMATTERS: Final = {
    "auto": "dockerflow.logging.auto_formatter",
    "mozlog": "dockerflow.logging.MozlogFormatter",
    "text": "dockerflow.logging.TextFormatter",
    "gcp": "dockerflow.logging.GoogleCloudFormatter",
}

# Servers and frameworks give these their own handlers, which are taken away.
_PROPAGATING: Final = (
    "django", "hypercorn.error", NAME, "sanic", "sanic.error", "sanic.root",
    "sanic.server", "sanic.websockets", "uvicorn", "uvicorn.asgi", "uvicorn.error",
)  # fmt: skip
# Access logs, replaced by request.summary. They don't propagate, in case the server sets
# their level later, and are at CRITICAL, as logging's last resort writes the lines of a logger
# without handlers.
_ACCESS: Final = (
    "aiohttp.access", "django.server", "gunicorn.access", "hypercorn.access", "sanic.access",
    "uvicorn.access",
)  # fmt: skip


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


class _Settings:
    """The settings; :func:`logging_config` documents them."""

    log_name = Setting(DEFAULT_NAME, "a string that isn't empty", _string, "")
    log_level = Setting("INFO", "a level's name or a number from 0", _level, "")
    log_format = Setting("auto", "auto, mozlog, text or gcp", _format, "")
    log_max_bytes = Setting(
        None, f"a number from {MIN_BYTES}", partial(_integer, least=MIN_BYTES), ""
    )
    log_queue_size = Setting(0, "a number from 0", partial(_integer, least=0), "")


def _read(name: str, value: object) -> Any:
    setting: Setting = getattr(_Settings, f"log_{name}")
    return setting.from_environment() if value is None else setting.parse(value, name)


def auto_formatter(
    *, logger_name: str | None = None, max_bytes: int | None = None
) -> MozlogFormatter:
    """Return a :class:`TextFormatter` if standard output is a terminal, else a mozlog formatter.

    The parameters are those of both. It is for dictConfig; :func:`logging_config` uses it for the
    format ``auto``.

    .. versionadded:: 0.1.0
    """
    made = TextFormatter if is_terminal() else MozlogFormatter
    return made(logger_name=logger_name, max_bytes=max_bytes)


def auto_filter() -> logging.Filter:
    """Return a filter that keeps development quiet if standard output is a terminal.

    It leaves out the ``request.summary`` of ``/__heartbeat__`` and its groups, of
    ``/__lbheartbeat__`` and of static files, that is of paths that end in ``.css``, ``.js``,
    ``.png`` or the like, unless the status is 400 or higher. If standard output isn't a
    terminal, the filter leaves out nothing.

    .. versionadded:: 0.1.0
    """
    return _QuietFilter() if is_terminal() else logging.Filter()


class _QuietFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is no summary of a probe or a static file that succeeded."""
        return not (record.funcName == NAME and is_routine(record.__dict__))


def logging_config(
    name: str | None = None,
    level: int | str | None = None,
    format: Literal["auto", "mozlog", "text", "gcp"] | None = None,  # noqa: A002  # its name in dictConfig
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
    :param format: ``mozlog``, ``text`` for people, ``gcp`` for Google Cloud, or ``auto``;
        ``DOCKERFLOW_LOG_FORMAT``, by default ``auto``: when the configuration is applied, that is
        ``text`` if standard output is a terminal, see :func:`auto_filter`, else ``mozlog``.
    :param max_bytes: the maximum length of a line in bytes, at least 1024, see
        :class:`MozlogFormatter`; ``DOCKERFLOW_LOG_MAX_BYTES``, by default without a limit.
    :param queue_size: how many lines may wait for a slow reader, see :class:`QueuedHandler`;
        ``DOCKERFLOW_LOG_QUEUE_SIZE``, by default 0: the process waits for its reader.
    :raises ConfigError: if an argument or a variable is wrong.

    .. versionadded:: 0.1.0
    """
    name = _read("name", name)
    level = _read("level", level)
    max_bytes = _read("max_bytes", max_bytes)
    queue_size = _read("queue_size", queue_size)
    chosen = _read("format", format)
    formatter: dict[str, Any] = {"()": _FORMATTERS[chosen], "logger_name": name}
    if max_bytes is not None:
        formatter["max_bytes"] = max_bytes
    handler: dict[str, Any] = {
        "class": "dockerflow.logging.MozlogHandler",
        "formatter": "dockerflow",
        "name": name,
    }
    if chosen == "auto":
        handler["filters"] = ["dockerflow"]
    if queue_size:
        handler |= {"class": "dockerflow.logging.QueuedHandler", "queue_size": queue_size}
    loggers: dict[str, dict[str, Any]] = {
        **{logger: {"handlers": [], "propagate": True} for logger in _PROPAGATING},
        **{logger: {"handlers": [], "propagate": False, "level": "CRITICAL"} for logger in _ACCESS},
        # Its access log has the same logger, at INFO.
        "werkzeug": {"handlers": [], "propagate": True, "level": "WARNING"},
        # At INFO it tells of each file that is written, in the process that reloads the app. In a
        # log file in the watched folder, each of its lines would cause the next.
        "watchfiles": {"level": "WARNING"},
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
        "filters": {"dockerflow": {"()": "dockerflow.logging.auto_filter"}},
        "handlers": {"stdout": handler},
        "loggers": loggers,
        "root": {"handlers": ["stdout"], "level": level},
    }


def configure_logging(
    name: str | None = None,
    level: int | str | None = None,
    format: Literal["auto", "mozlog", "text", "gcp"] | None = None,  # noqa: A002  # its name in dictConfig
    *,
    max_bytes: int | None = None,
    queue_size: int | None = None,
) -> None:
    """Apply the configuration that :func:`logging_config` returns for the same arguments.

    :raises ConfigError: if an argument or a variable is wrong.

    .. versionadded:: 0.1.0
    """
    dictConfig(logging_config(name, level, format, max_bytes=max_bytes, queue_size=queue_size))
