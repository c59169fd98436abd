"""Tell whoever asked how each check and each heartbeat went."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Literal, NamedTuple

from dockerflow.checks._workers import ThreadPool
from dockerflow.checks.messages import CheckMessage

logger = logging.getLogger("dockerflow.checks.registry")

MAX_WAITING: Final = 1000
"""How many observations may wait for slow observers; those that come then are dropped."""

PATIENCE: Final = 0.1
"""Seconds that a heartbeat waits for its observers, so that a script ends with all told."""


class Observation(NamedTuple):
    """One result: that of one execution of a check, or that of one heartbeat.

    ``duration`` is in seconds, ``level`` on the scale of :mod:`logging`, 0 for ``ok``. A check's
    is its own level, also where it isn't critical.

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
    """Calls observers one after the other in a thread of their own, so that none holds up others.

    A check's observer must not be able to delay the check, nor block the app's event loop.
    """

    def __init__(self) -> None:
        self._observers: tuple[Observer, ...] = ()
        self._pool = ThreadPool(max_threads=1)
        self._waiting = 0
        self._is_dropping = False

    def add(self, observer: Observer) -> None:
        """Call ``observer`` from now on."""
        self._observers = (*self._observers, observer)

    def tell(self, observation: Observation) -> None:
        """Have the observers called soon. Never raises."""
        if not self._observers:
            return
        if self._waiting >= MAX_WAITING:
            if not self._is_dropping:
                self._is_dropping = True
                _log(f"Observers are too slow: {MAX_WAITING} observations wait, more are dropped")
            return
        self._is_dropping = False
        self._waiting += 1
        self._pool.submit(partial(self._call, observation))

    def _call(self, observation: Observation) -> None:
        for observer in self._observers:
            try:
                observer(observation)
            except BaseException:  # noqa: BLE001 - sys.exit() must not end the thread
                _log(f"The observer {observer!r} failed", is_exception=True)
        self._waiting = max(0, self._waiting - 1)

    def flush(self) -> None:
        """Wait a little until all were told."""
        if self._observers:
            told = threading.Event()
            self._pool.submit(told.set)
            told.wait(PATIENCE)

    async def aflush(self) -> None:
        """Wait like :meth:`flush`, without blocking the event loop."""
        if not self._observers:
            return
        import asyncio

        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(told.set)

        self._pool.submit(tell)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await told.wait()


def _log(text: str, *, is_exception: bool = False) -> None:
    with suppress(Exception):  # logging can't break the heartbeat
        logger.error("%s", text, exc_info=is_exception)
