"""Keeps the faults of hooks, of foreign functions and of our own out of the app."""

from __future__ import annotations

import logging
from contextlib import suppress


class Guarded:
    """A context manager that logs an exception as an error, and goes on.

    Logging, ids and checks must not break the app that they serve.

    :param logger: where to log.
    :param message: the text.
    :param args: the arguments of the text.
    """

    def __init__(self, logger: logging.Logger, message: str, *args: object) -> None:
        self._logger = logger
        self._message = message
        self._args = args

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        with suppress(Exception):  # handlers may be broken, too
            self._logger.error(self._message, *self._args, exc_info=error)
        return True
