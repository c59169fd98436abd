"""Records of summaries for the logging package, which are made in full only if somebody asks."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from logging import Logger, LogRecord, getLogRecordFactory, makeLogRecord
from types import FunctionType, MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

_has_tasks: Final = sys.version_info >= (3, 12)
_attributes: Final[Any] = LogRecord.__dict__["__dict__"]
# What a record's attributes really are, whatever SummaryRecord makes of that.
_get_own: Final[Callable[[LogRecord], dict[str, Any]]] = _attributes.__get__
_set_own: Final[Callable[[LogRecord, dict[str, Any]], None]] = _attributes.__set__

# Somebody may have put another function in its place before this import, as tracers do.
_make_record: Final = Logger.makeRecord
_is_loggings: Final = (
    type(_make_record) is FunctionType and _make_record.__globals__ is logging.__dict__
)


class _Filling:
    """One lock for all, held for some assignments; a signal handler may come in between."""

    lock = threading.RLock()


def _begin_child() -> None:
    _Filling.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may have held it.
    os.register_at_fork(after_in_child=_begin_child)


class SummaryRecord(LogRecord):
    """A record at INFO, without a message, that has its attributes from when one is asked for.

    Most of the time that a record takes goes into attributes that nobody reads: our formatter
    needs the fields, and :attr:`levelno` is here. To everybody else it is a record like any
    other, be it by an attribute, by ``vars()``, copied or pickled, in whatever threads.
    """

    __slots__ = ("_dockerflow",)

    _dockerflow: tuple[dict[str, Any], Logger, float, int, str | None] | None
    """Until the record is made in full: fields, logger, time, thread and task."""

    levelno = logging.INFO

    @property
    def __dict__(self) -> dict[str, Any]:
        """All attributes."""
        if (parts := self._dockerflow) is not None:
            state = _standard(*parts)
            with _Filling.lock:
                if self._dockerflow is parts:  # no other thread was faster
                    given = _get_own(self)
                    _set_own(self, state | given if given else state)
                    self._dockerflow = None
        return _get_own(self)

    @__dict__.setter
    def __dict__(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, attributes: dict[str, Any]
    ) -> None:
        with _Filling.lock:
            _set_own(self, attributes)
            self._dockerflow = None

    def __getattr__(self, name: str) -> Any:
        if name == "_dockerflow":  # made by somebody who knows the base class
            return None
        if name in (attributes := self.__dict__):
            return attributes[name]
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        vars(self)  # it may be one of those that are still to be made
        super().__delattr__(name)

    def __reduce_ex__(self, protocol: object) -> Any:
        # Whoever unpickles it may not have this class.
        return makeLogRecord, (self.__dict__,)


_new_record: Final = SummaryRecord.__new__


def make_record(log: Logger, level: int, message: str, fields: dict[str, Any]) -> LogRecord:
    """Return a record as :meth:`logging.Logger.makeRecord` would, with more fields.

    Where the app has a record factory or a logger of its own, that makes the record.

    :param message: the text, which is no template.
    :param fields: what the record has besides; the caller sees to it that the names are free, and
        leaves the dictionary to the record.
    """
    make = log.makeRecord
    if (
        level == logging.INFO
        and not message
        and _is_loggings
        and getLogRecordFactory() is LogRecord
        # Not by isinstance(): a tracer's stand-in has the attributes of what it stands for.
        and type(make) is MethodType
        and make.__func__ is _make_record
    ):
        record = _new_record(SummaryRecord)
        task = _task_name() if _has_tasks else None
        # The thread is asked for here, as gevent may have replaced that since the import.
        record._dockerflow = fields, log, time.time(), threading.get_ident(), task  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return record
    # Not by Logger.log(), which searches the stack for its caller: that is always this place.
    # As an argument the message's percent signs stay as they are.
    text, args = ("%s", (message,)) if message else ("", ())
    made = make(log.name, level, __file__, _LINE, text, args, None, _FUNCTION)
    made.__dict__.update(fields)
    return made


_LINE: Final = make_record.__code__.co_firstlineno
_FUNCTION: Final = make_record.__name__


def _standard(
    fields: dict[str, Any], log: Logger, created: float, thread: int, task: str | None
) -> dict[str, Any]:
    """Return what would be in the record if it had been made in full at once."""
    state = vars(LogRecord(log.name, logging.INFO, __file__, _LINE, "", (), None, _FUNCTION))
    state["relativeCreated"] += (created - state["created"]) * 1000
    state["created"] = created
    state["msecs"] = int(created % 1 * 1000) + 0.0
    known = state["thread"]
    if known != thread and known is not None:  # else logging.logThreads is off
        state["thread"] = thread
        state["threadName"] = next(
            (one.name for one in threading.enumerate() if one.ident == thread), None
        )
    if _has_tasks:
        state["taskName"] = task
    state.update(fields)
    return state


def untouched(record: LogRecord) -> tuple[dict[str, Any], str, float, object] | None:
    """Return what is in a summary that nobody has asked for anything else, or changed.

    That is its fields, the name of its logger, its time and, if a handler has set it, its
    ``logger_name``.
    """
    if type(record) is not SummaryRecord:
        return None
    parts = record._dockerflow  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    own = _get_own(record)
    given = own.get("logger_name")
    if parts is None or len(own) != (given is not None):
        return None
    return parts[0], parts[1].name, parts[2], given


def _task_name() -> str | None:
    asyncio: Any = (
        sys.modules.get("asyncio") if getattr(logging, "logAsyncioTasks", False) else None
    )
    try:
        name: str | None = asyncio and asyncio.current_task().get_name()
    except Exception:  # noqa: BLE001  # no event loop runs here, or no task
        return None
    return name
