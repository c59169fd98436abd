"""Notify observers of check results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Final, Literal, NamedTuple

from dockerflow.checks._log import log_thread, logger
from dockerflow.checks._process import PerProcess, Workers, lock
from dockerflow.checks.messages import CheckMessage, level_to_text

MAX_WAITING: Final = 1000
"""How many observations may wait for slow observers; further ones are dropped."""


class Observation(NamedTuple):
    """One result: that of one execution of a check, or that of one heartbeat.

    ``name`` is the check's, or ``heartbeat``, or ``heartbeat/ready`` for the heartbeat of the group
    ``ready``. ``duration`` is in seconds, ``level`` on the scale of :mod:`logging`, 0 for ``ok``.
    A check's level is its own, even if the check isn't critical.

    .. versionadded:: 0.1.0
    """

    kind: Literal["check", "heartbeat"]
    name: str
    status: str
    level: int
    duration: float
    messages: tuple[CheckMessage, ...]


Observer = Callable[[Observation], object]


class Observers:
    """The observers of one registry, called one after the other in one thread."""

    def __init__(self) -> None:
        self._observers: tuple[Observer, ...] = ()
        self._worker = PerProcess(lambda: Workers(max_threads=1, name="dockerflow-observers"))
        self._is_dropping = False

    def add(self, observer: Observer) -> None:
        """Call ``observer`` with all further observations."""
        with lock.get():
            self._observers = (*self._observers, observer)

    def notify(
        self,
        kind: Literal["check", "heartbeat"],
        name: str,
        level: int,
        messages: Iterable[CheckMessage],
        duration: float = 0.0,
    ) -> None:
        """Have the observers called soon. Neither waits nor raises."""
        if not self._observers:
            return
        worker = self._worker.get()
        if worker.waiting >= MAX_WAITING:
            if not self._is_dropping:
                self._is_dropping = True
                text = "Observers are too slow: %d results are waiting, further ones are dropped"
                log_thread.get().submit(partial(logger.error, text, MAX_WAITING))
            return
        self._is_dropping = False
        # Copies, since an observer must not be able to change what the heartbeat shows.
        copies = tuple(copy(message) for message in messages)
        observation = Observation(kind, name, level_to_text(level), level, duration, copies)
        with suppress(RuntimeError):  # no thread can be started
            worker.submit(partial(self._call, observation))

    def _call(self, observation: Observation) -> None:
        for observer in self._observers:
            try:
                observer(observation)
            except BaseException:  # noqa: BLE001 - also sys.exit() must not end the thread
                with suppress(Exception):
                    logger.exception("The observer %r failed", observer)

    def join(self, seconds: float) -> None:
        """Wait until everything so far was observed, for so many seconds at most."""
        self._worker.get().join(seconds)
