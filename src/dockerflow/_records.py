"""Records for the logging package, of one place in the code, made faster than it makes them."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from logging import Logger, LogRecord, getLogRecordFactory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

_templates: Final[dict[tuple[str, int], dict[str, Any]]] = {}
"""What is the same in all records of this process, by logger and level.

So the names of levels and of the process, and what logging is told to leave out, are those of when
the first record was made.
"""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_templates.clear)

_MAX_TEMPLATES: Final = 100
_make_record: Final = Logger.makeRecord
_has_tasks: Final = sys.version_info >= (3, 12)


def make_record(
    log: Logger, level: int, message: str, place: tuple[str, int, str], fields: Mapping[str, Any]
) -> LogRecord:
    """Return a record as :meth:`logging.Logger.makeRecord` would, with more fields.

    Most of the time that takes goes into what is always the same, as the names of file and level.
    Where the app has a record factory or a logger of its own, that makes the record.

    :param message: the text, which is no template.
    :param place: the file, line and function that the record is to name.
    :param fields: what the record has besides; the caller sees to it that the names are free.
    """
    if (
        message
        or getLogRecordFactory() is not LogRecord
        or getattr(log.makeRecord, "__func__", None) is not _make_record
    ):
        # As an argument its percent signs stay as they are.
        args, text = ((message,), "%s") if message else ((), "")
        made = log.makeRecord(log.name, level, *place[:2], text, args, None, place[2])
        made.__dict__.update(fields)
        return made
    key = log.name, level
    template = _templates.get(key)
    if template is None:
        template = vars(log.makeRecord(log.name, level, *place[:2], "", (), None, place[2]))
        if len(_templates) >= _MAX_TEMPLATES:
            _templates.clear()
        _templates[key] = template
    state = template.copy()
    state["created"] = created = time.time()
    state["msecs"] = int(created % 1 * 1000) + 0.0
    state["relativeCreated"] += (created - template["created"]) * 1000
    if state["thread"] is not None:  # else logging.logThreads is off
        # Looked up here, as gevent may have replaced them since the import.
        state["thread"] = threading.get_ident()
        state["threadName"] = threading.current_thread().name
    if _has_tasks:
        state["taskName"] = _task_name()
    state.update(fields)
    record: LogRecord = LogRecord.__new__(LogRecord)
    record.__dict__ = state
    return record


def _task_name() -> str | None:
    asyncio: Any = (
        sys.modules.get("asyncio") if getattr(logging, "logAsyncioTasks", False) else None
    )
    try:
        name: str | None = asyncio and asyncio.current_task().get_name()
    except Exception:  # noqa: BLE001  # no event loop runs here, or no task
        return None
    return name
