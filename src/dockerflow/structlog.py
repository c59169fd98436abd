"""Writes structlog's events as mozlog, like the standard library's records.

There are two ways; both need the extra ``structlog``.

- Through the standard library: :func:`configure`, or structlog's own configuration with
  :func:`processors`. Each event becomes a record, and the handlers that
  :func:`dockerflow.logging.configure_logging` or others set up write it, in any format.
- Through structlog: :class:`MozlogRenderer` as the last processor of structlog's chain or of its
  ``ProcessorFormatter``.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from dockerflow._core.summary import RESERVED
from dockerflow.logging._handlers import add_context
from dockerflow.logging._mozlog import MozlogFormatter, from_event

__all__ = ["MozlogRenderer", "configure", "processors", "render_to_record"]

_TAKEN_BY_LOGGING = ("exc_info", "stack_info", "stacklevel")


def render_to_record(
    _logger: WrappedLogger, _method_name: str, event_dict: EventDict
) -> tuple[tuple[object], dict[str, Any]]:
    """Pass an event to a logger of the standard library; the last of a chain of processors.

    The event becomes the message, and the bound values become the record's fields. A field with
    the name of an attribute of records gets ``_`` appended.
    """
    event = event_dict.pop("event", "")
    options = {key: event_dict.pop(key) for key in _TAKEN_BY_LOGGING if key in event_dict}
    extra: dict[str, Any] = {}
    for key, value in event_dict.items():
        name = str(key)
        while name in RESERVED or name in extra:
            name += "_"
        extra[name] = value
    return (event,), {"extra": extra, **options}


def processors() -> list[Processor]:
    """Return a chain of processors that ends in the standard library's logging.

    It drops events below the logger's level, adds the variables of ``structlog.contextvars``, and
    supports positional arguments and ``stack_info``. Insert your own before the last one.

    .. versionadded:: 0.1.0
    """
    return [
        structlog.stdlib.filter_by_level,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        cast("Processor", render_to_record),
    ]


def configure() -> None:
    """Make structlog log through the standard library, whose handlers then write its events.

    .. versionadded:: 0.1.0
    """
    structlog.configure(
        processors=processors(),
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class MozlogRenderer:
    """Renders an event as a line of mozlog; the last of a chain of processors.

    The line has the ID of the current request. ``level`` and ``logger``, from structlog's
    ``add_log_level`` and ``add_logger_name``, become ``Severity`` and ``Type``. A record that a
    ``ProcessorFormatter`` passes is rendered as :class:`MozlogFormatter` would.

    :param logger_name: the app's name, logged as ``Logger``.
    :param formatter: the formatter to use, by default a :class:`MozlogFormatter`.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self, logger_name: str | None = None, *, formatter: logging.Formatter | None = None
    ) -> None:
        self._formatter = formatter or MozlogFormatter(logger_name=logger_name)

    def __call__(
        self, logger: WrappedLogger, method_name: str, event_dict: MutableMapping[str, Any]
    ) -> str:
        """Return the line."""
        base = event_dict.get("_record")
        if not isinstance(base, logging.LogRecord):
            level = _level(event_dict.get("level", method_name))
            name = event_dict.get("logger") or getattr(logger, "name", None) or "structlog"
            base = logging.LogRecord(str(name), level, "", 0, "", (), None)
        record = from_event(dict(event_dict), base)
        add_context(record)
        return self._formatter.format(record)


def _level(name: object) -> int:
    if isinstance(name, int):
        return name
    levels = {**logging.getLevelNamesMapping(), "EXCEPTION": logging.ERROR}
    return levels.get(str(name).upper()) or logging.INFO  # not NOTSET
