"""Keeps exceptions in hooks, the app's functions and this library from breaking a response."""

from __future__ import annotations

import logging
from contextlib import suppress


class Guarded:
    """A context manager that logs an exception instead of raising it.

    Logging and request IDs must not break the app that they serve.

    :param message: the text to log, with ``args`` as its arguments.
    """

    def __init__(self, logger: logging.Logger, message: str, *args: object) -> None:
        self._logger = logger
        self._message = message
        self._args = args

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception | SystemExit):
            return False
        with suppress(Exception):  # handlers may be broken, too
            self._logger.error(self._message, *self._args, exc_info=error)
        return True
