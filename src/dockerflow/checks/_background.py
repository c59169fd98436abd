"""The clock of the checks that run in the background: one thread for a registry."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from dockerflow.checks._check import surroundings
from dockerflow.checks._plan import Entry
from dockerflow.checks._workers import start_afresh_after_fork

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

logger = logging.getLogger("dockerflow.checks.registry")

LONG: Final = 3600.0
"""Seconds to wait at most at a time: the platform's own limit may be below an interval."""


class _Clock:
    """When a check is due next, and where it runs: on which event loop if it is async."""

    __slots__ = ("entry", "interval", "loop", "surroundings")

    def __init__(self, entry: Entry, interval: float, loop: AbstractEventLoop | None) -> None:
        self.entry = entry
        self.interval = interval
        self.loop = loop
        self.surroundings = surroundings.get()


class Background:
    """Starts checks when they are due, each in the place where a heartbeat would run it.

    A thread that ended although nobody stopped it is not started again: what it ran gets too
    old, and the heartbeat fails and tells of it.
    """

    def __init__(self) -> None:
        self.start_afresh()
        start_afresh_after_fork(self)

    def start_afresh(self) -> None:
        """Forget everything: the thread is there no more, or ends itself."""
        self._changed = threading.Condition()
        self._clocks: dict[str, _Clock] = {}
        self._due: list[tuple[float, int, _Clock]] = []
        self._order = count()
        self._thread: threading.Thread | None = None

    def ensure(self, entry: Entry, interval: float, loop: AbstractEventLoop | None) -> bool:
        """Have a check run on its clock, and return whether that is new.

        The first run is up to the caller, who waits for its result anyway.

        :param loop: the event loop that runs here; ``None`` when none does.
        """
        check = entry.check
        clock = self._clocks.get(check.name)
        if (
            clock is not None
            and clock.entry.check is check
            and (clock.loop is None or not clock.loop.is_closed())
        ):
            return False
        with self._changed:
            clock = _Clock(entry, interval, loop if check.is_async else None)
            self._clocks[check.name] = clock
            heapq.heappush(self._due, (time.monotonic() + interval, next(self._order), clock))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="dockerflow-clock", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:  # no more threads to be had: the next heartbeat tries again
                    self._thread = None
                    self._clocks.clear()
                    self._due.clear()
            self._changed.notify()
        return True

    def stop(self) -> None:
        """Start no check any more, until a heartbeat asks for one again."""
        with self._changed:
            self._clocks.clear()
            self._due.clear()
            self._thread = None
            self._changed.notify()

    def _work(self) -> None:
        me: Any = threading.current_thread()
        while True:
            with self._changed:
                if self._thread is not me:
                    return
                now = time.monotonic()
                if not self._due or self._due[0][0] > now:
                    # A wait takes no more than so many seconds; then it is looked anew.
                    delay = self._due[0][0] - now if self._due else LONG
                    self._changed.wait(min(delay, LONG))
                    continue
                _, _, clock = heapq.heappop(self._due)
                if self._clocks.get(clock.entry.check.name) is not clock:
                    continue  # registered anew, or moved to another event loop
                heapq.heappush(self._due, (now + clock.interval, next(self._order), clock))
            try:
                _tick(clock)
            except Exception:
                with suppress(Exception):
                    logger.exception("Check %s could not be started", clock.entry.check.name)
            del clock


def _tick(clock: _Clock) -> None:
    check, settings = clock.entry.check, clock.entry.settings
    for requirement in clock.entry.requirements:
        result = requirement.check.view(requirement.settings)
        if result is None or result.is_failure:
            check.forget()
            return
    if clock.loop is None or not clock.loop.is_closed():
        token = surroundings.set(clock.surroundings)
        try:
            check.start(settings, settings.timeout, time.monotonic(), None, clock.loop)
        finally:
            surroundings.reset(token)
