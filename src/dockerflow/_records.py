"""Records of summaries for the logging package, which are made in full only if somebody asks."""

# The record's parts are this module's.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from logging import Logger, LogRecord, getLogRecordFactory, makeLogRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

_templates: Final[dict[str, dict[str, Any]]] = {}
"""What is the same in all records of this process, by logger.

So the names of levels and of the process, and what logging is told to leave out, are those of when
the first record was made.
"""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_templates.clear)

_MAX_TEMPLATES: Final = 100
_make_record: Final = Logger.makeRecord
_has_tasks: Final = sys.version_info >= (3, 12)
_own_attributes: Final[Callable[[LogRecord], dict[str, Any]]] = LogRecord.__dict__[
    "__dict__"
].__get__


class SummaryRecord(LogRecord):
    """A record at INFO, without a message, that has its attributes from when one is asked for.

    Most of the time that a record takes goes into attributes that nobody reads: our formatter
    needs the fields, and :attr:`levelno` is here. To everybody else it is a record like any
    other, be it by an attribute, by ``vars()``, copied or pickled.
    """

    __slots__ = ("_log", "_task", "_thread", "_time", "_values")

    levelno = logging.INFO

    # The base class' would make everything at once.
    def __init__(  # pyright: ignore[reportMissingSuperCall]
        self, log: Logger, fields: dict[str, Any]
    ) -> None:
        self._log = log
        self._values: dict[str, Any] | None = fields  # until the record is made in full
        self._time = time.time()
        # Looked up here, as gevent may have replaced it since the import.
        self._thread = threading.get_ident()
        if _has_tasks:
            self._task = _task_name()

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """All attributes."""
        own = _own_attributes(self)
        fields, self._values = self._values, None
        if fields is not None:
            given = own.copy()
            own.clear()
            own.update(self._standard())
            own.update(fields)
            own.update(given)
        return own

    def __getattr__(self, name: str) -> Any:
        if self._values is not None and name in (attributes := self.__dict__):
            return attributes[name]
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        vars(self)  # it may be one of those that are still to be made
        super().__delattr__(name)

    def __reduce_ex__(self, protocol: object) -> Any:
        # Whoever unpickles it may not have this class.
        return makeLogRecord, (self.__dict__,)

    def _standard(self) -> dict[str, Any]:
        """Return what :meth:`logging.Logger.makeRecord` puts into a record."""
        name = self._log.name
        template = _templates.get(name)
        if template is None:
            template = vars(_make(self._log, logging.INFO, "", ()))
            if len(_templates) >= _MAX_TEMPLATES:
                _templates.clear()
            _templates[name] = template
        state = template.copy()
        state["created"] = created = self._time
        state["msecs"] = int(created % 1 * 1000) + 0.0
        state["relativeCreated"] += (created - template["created"]) * 1000
        if state["thread"] is not None:  # else logging.logThreads is off
            state["thread"] = self._thread
            state["threadName"] = _thread_name(self._thread)
        if _has_tasks:
            state["taskName"] = self._task
        return state


def make_record(log: Logger, level: int, message: str, fields: dict[str, Any]) -> LogRecord:
    """Return a record as :meth:`logging.Logger.makeRecord` would, with more fields.

    Where the app has a record factory or a logger of its own, that makes the record.

    :param message: the text, which is no template.
    :param fields: what the record has besides; the caller sees to it that the names are free, and
        leaves the dictionary to the record.
    """
    if (
        level == logging.INFO
        and not message
        and getLogRecordFactory() is LogRecord
        and getattr(log.makeRecord, "__func__", None) is _make_record
    ):
        return SummaryRecord(log, fields)
    # As an argument its percent signs stay as they are.
    made = _make(log, level, "%s", (message,)) if message else _make(log, level, "", ())
    made.__dict__.update(fields)
    return made


def _make(log: Logger, level: int, text: str, args: tuple[str, ...]) -> LogRecord:
    # Not by Logger.log(), which searches the stack for its caller: that is always this place.
    code = make_record.__code__
    return log.makeRecord(
        log.name, level, __file__, code.co_firstlineno, text, args, None, code.co_name
    )


def untouched(record: LogRecord) -> tuple[dict[str, Any], str, float, object] | None:
    """Return what is in a summary that nobody has asked for anything else, or changed.

    That is its fields, the name of its logger, its time and, if a handler has set it, its
    ``logger_name``.
    """
    if type(record) is not SummaryRecord:
        return None
    own = _own_attributes(record)
    given = own.get("logger_name")
    fields, log, created = record._values, record._log, record._time  # noqa: SLF001
    if fields is None or len(own) != (given is not None):
        return None
    return fields, log.name, created, given


def _thread_name(ident: int) -> str | None:
    if ident == threading.get_ident():
        return threading.current_thread().name
    return next((one.name for one in threading.enumerate() if one.ident == ident), None)


def _task_name() -> str | None:
    asyncio: Any = (
        sys.modules.get("asyncio") if getattr(logging, "logAsyncioTasks", False) else None
    )
    try:
        name: str | None = asyncio and asyncio.current_task().get_name()
    except Exception:  # noqa: BLE001  # no event loop runs here, or no task
        return None
    return name
