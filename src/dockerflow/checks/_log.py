"""Log what checks find: when it changes, and once a minute while it lasts."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Final

from dockerflow.checks._process import Job, PerProcess, Workers, lock
from dockerflow.checks._returned import Finding
from dockerflow.checks.messages import WARNING

logger = logging.getLogger("dockerflow.checks.registry")

REPEAT_SECONDS: Final = 60.0
"""How long the same findings of a check are not logged again."""

FLUSH_SECONDS: Final = 1.0
"""How long a heartbeat waits for its log lines at most."""

MAX_WAITING: Final = 1000
"""How many log calls may wait for a handler that hangs; further ones are dropped."""


class LogThread:
    """Makes log calls one after the other in one thread.

    A handler may block forever, for example when a check hangs while it holds the handler's lock.
    That must delay neither a heartbeat nor an event loop.
    """

    def __init__(self) -> None:
        self._worker = Workers(max_threads=1, name="dockerflow-log")
        self._is_stuck = False

    def submit(self, job: Job) -> None:
        """Call ``job`` with the caller's context variables, such as the request ID."""
        job = partial(self._call, partial(copy_context().run, job))
        if self._worker.waiting < MAX_WAITING:
            try:
                self._worker.submit(job)
            except RuntimeError:  # no thread can be started
                job()

    def _call(self, job: Job) -> None:
        with suppress(BaseException):  # logging can't break the heartbeat, nor end this thread
            job()
        self._is_stuck = False

    def flush(self, wake: Callable[[], object]) -> Iterator[float]:
        """Wait for the calls so far as :meth:`Run.steps` does; not again while a handler hangs."""
        if self._worker.is_idle or self._is_stuck:
            return
        done = threading.Event()

        def finish() -> None:
            done.set()
            wake()

        self.submit(finish)
        end = time.monotonic() + FLUSH_SECONDS
        while not done.is_set():
            if (seconds := end - time.monotonic()) <= 0:
                self._is_stuck = True
                return
            yield seconds


log_thread: Final = PerProcess(LogThread)


class CheckLog:
    """The log lines of one check.

    :param critical: whether the check is; otherwise no line is above WARNING.
    """

    def __init__(self, name: str, *, critical: bool) -> None:
        self._name = name
        self._highest = sys.maxsize if critical else WARNING
        self._kinds: frozenset[tuple[int, str | None]] = frozenset()
        self._repeat_at = 0.0

    def write(self, findings: Sequence[Finding]) -> None:
        """Log the findings, unless they were logged recently."""
        # Without the texts, which may have numbers in them that change each time.
        kinds = frozenset((message.level, message.id) for message, _, _ in findings)
        now = time.monotonic()
        with lock.get():
            is_new = kinds != self._kinds
            if not is_new and (not kinds or now < self._repeat_at):
                return
            self._kinds, self._repeat_at = kinds, now + REPEAT_SECONDS
        log_thread.get().submit(partial(self._write, findings, with_cause=is_new))

    def _write(self, findings: Sequence[Finding], *, with_cause: bool) -> None:
        if not findings:
            logger.info("Check %s is ok again", self._name)
        for message, detail, error in findings:
            level = min(message.level, self._highest)
            form = "%s: %s (%s)" if detail else "%s: %s"
            args = (message.id or self._name, message.msg, *([detail] if detail else []))
            with suppress(Exception):  # the other lines are still worth a try
                logger.log(level, form, *args, exc_info=error if with_cause else None)
