"""Checks that run in the background, in one thread per registry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dockerflow.checks._check import check_context, start
from dockerflow.checks._plan import Entry

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

LONG: Final = 3600.0
"""The longest single wait in seconds: a check's interval may exceed the platform's limit."""


@dataclass(slots=True, eq=False)
class Schedule:
    """When a check is due next, by the monotonic clock, and where it runs.

    ``loop`` is the event loop of an async check; ``None`` for the library's own.
    """

    entry: Entry
    requirements: list[Entry]
    interval: float
    loop: AbstractEventLoop | None
    due: float
    context: Callable[[], AbstractContextManager[Any]]

    @property
    def is_alive(self) -> bool:
        is_open = self.loop is None or not self.loop.is_closed()
        return is_open and self.entry.check.is_registered

    def run(self) -> None:
        """Start the check, unless its event loop is closed or a requirement is gone or failed."""
        check, settings, _ = self.entry
        for required in self.requirements:
            result = required.check.current_result(required.settings)
            if not required.check.is_registered or result is None or result.is_failure:
                check.reset()
                return
        if not self.is_alive:
            return
        execution, is_new = check.join(settings, settings.timeout, time.monotonic())
        if is_new:
            token = check_context.set(self.context)
            start([execution], self.loop)
            check_context.reset(token)


class Background:
    """Starts the checks of one registry when they are due, where a heartbeat would run them.

    Its thread ends when no check is scheduled.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._schedules: dict[str, Schedule] = {}
        self._is_running = False

    def ensure(
        self,
        entry: Entry,
        requirements: list[Entry],
        interval: float,
        loop: AbstractEventLoop | None,
    ) -> bool:
        """Schedule a check every ``interval`` seconds, and return whether it wasn't scheduled yet.

        The first run is up to the caller, who waits for its result anyway.

        :param loop: the running event loop; ``None`` when there is none.
        """
        check = entry.check
        with self._changed:
            if not check.is_registered:  # by now: only the heartbeat that calls this needs it
                return True
            known = self._schedules.get(check.name)
            if known is not None and known.entry.check is check and known.is_alive:
                # A requirement may have been registered again, and settings may have changed.
                known.entry, known.requirements, known.interval = entry, requirements, interval
                if known.due > (due := time.monotonic() + interval):
                    known.due = due
                    self._changed.notify()
                return False
            self._schedules[check.name] = Schedule(
                entry,
                requirements,
                interval,
                loop if check.is_async else None,
                time.monotonic() + interval,
                check_context.get(),
            )
            if not self._is_running:
                thread = threading.Thread(target=self._work, name="dockerflow-clock", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread can be started: the next heartbeat tries again
                    self._schedules.clear()
                    return True
                self._is_running = True
            self._changed.notify()
        return True

    def remove(self) -> None:
        """Stop scheduling checks that are no longer registered."""
        with self._changed:
            for name, schedule in list(self._schedules.items()):
                if not schedule.entry.check.is_registered:
                    del self._schedules[name]
            self._changed.notify()

    def clear(self) -> None:
        """Stop scheduling checks."""
        with self._changed:
            self._schedules.clear()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._schedules:
                    self._is_running = False
                    return
                schedule = min(self._schedules.values(), key=lambda schedule: schedule.due)
                now = time.monotonic()
                if schedule.due > now:
                    self._changed.wait(min(schedule.due - now, LONG))
                    continue
                schedule.due = now + schedule.interval
            schedule.run()
