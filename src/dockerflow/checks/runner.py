"""Run checks: prepare, then wait or await, then collect.

A check has at most one execution under way, however many heartbeats ask for it: they join it.
So concurrent heartbeats share one run, and a check that hangs is not started again while it
still does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from dockerflow import health
from dockerflow.checks._background import LONG, Background
from dockerflow.checks._check import CheckFunction, Execution, Result, State, make_result
from dockerflow.checks._observers import Observation
from dockerflow.checks._plan import Entry, Plan
from dockerflow.checks.messages import (
    ERROR,
    WARNING,
    CheckMessage,
    Error,
    Info,
    level_to_text,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["CheckDetail", "CheckFunction", "CheckResults", "is_failure"]

logger: logging.Logger = logging.getLogger("dockerflow.checks.registry")


class CheckDetail(dict[str, Any]):
    """What one check said: JSON as it stands, and its values as attributes too."""

    __slots__ = ()

    @property
    def status(self) -> str:
        """The name of the level."""
        status: str = self["status"]
        return status

    @property
    def level(self) -> int:
        """The highest level of the messages."""
        level: int = self["level"]
        return level

    @property
    def messages(self) -> dict[str, str]:
        """The texts by the messages' ids."""
        messages: dict[str, str] = self["messages"]
        return messages


class CheckResults(NamedTuple):
    """What the checks said.

    ``statuses`` and ``details`` are what the heartbeat shows: the status of each check by its
    name, and for each check that had a message above level 0 its status, level and messages.
    ``level`` is the highest level of all, where a non-critical check counts as a warning at
    most. ``durations`` has the seconds that each check took, by its name, and ``ages`` the
    seconds since then, of those whose result is an earlier one.
    """

    statuses: dict[str, str]
    details: dict[str, CheckDetail]
    level: int
    durations: dict[str, float]
    ages: dict[str, float] = {}  # noqa: RUF012 - nothing changes it


class Run:
    """One heartbeat under way: what is known, and what it waits for.

    :param loop: the event loop that runs here; ``None`` when none does.
    """

    def __init__(
        self, plan: Plan, background: Background, loop: AbstractEventLoop | None = None
    ) -> None:
        self.plan = plan
        self.began: float = time.monotonic()
        self.end: float = self.began + plan.heartbeat_timeout
        self.known: dict[int, Result] = {}
        self.done: SimpleQueue[int] = SimpleQueue()
        self.wake: Callable[[], object] | None = None
        self.waiting: dict[int, tuple[Execution, float]] = {}
        self._background = background
        self._loop = loop
        self._missing = [len(entry.requirements) for entry in plan.entries]
        self._failed: set[str] = set()
        self._deadlines: list[tuple[float, int]] = []
        self._advance(plan.roots[::-1])

    def seconds_to_deadline(self) -> float:
        """Return how long to wait at most for the first of the executions to be late."""
        while self._deadlines[0][1] not in self.waiting:
            heappop(self._deadlines)
        # Python's waits take no more than so many seconds.
        return min(max(0.0, self._deadlines[0][0] - time.monotonic()), LONG)

    def take(self, *, patience: float = 0.0) -> None:
        """Take what is done by now, or what is done next if that is within ``patience`` seconds."""
        with suppress(Empty):
            self._take(self.done.get(timeout=patience) if patience else self.done.get_nowait())
            while True:
                self._take(self.done.get_nowait())
        now = time.monotonic()
        while self.waiting and self._deadlines[0][0] <= now:
            _, index = heappop(self._deadlines)
            if index in self.waiting:
                execution, deadline = self.waiting.pop(index)
                self._settle(index, self._late(index, execution, deadline))

    def _take(self, index: int) -> None:
        waited = self.waiting.pop(index, None)
        if waited is not None:
            self._settle(index, self._view(index, waited[0]))

    def _settle(self, index: int, result: Result) -> None:
        ready: list[int] = []
        self._know(index, result, ready)
        self._advance(ready)

    def _know(self, index: int, result: Result, ready: list[int]) -> None:
        self.known[index] = result
        entry = self.plan.entries[index]
        if result.is_failure:
            self._failed.add(entry.check.name)
        for dependent in entry.dependents:
            self._missing[dependent] -= 1
            if self._missing[dependent] == 0:
                ready.append(dependent)

    def _advance(self, ready: list[int]) -> None:
        while ready:
            index = ready.pop()
            result = self._begin(index, self.plan.entries[index])
            if result is not None:
                self._know(index, result, ready)

    def _hindrance(self, entry: Entry) -> CheckMessage | None:
        """Say why a check isn't to be run, if anything is in its way."""
        check = entry.check
        if entry.problem is not None:
            text = f"Check {check.name} can't run: {entry.problem}"
            return Error(text, id=health.ERROR_CHECK_MISCONFIGURED)
        for requirement in entry.requirements:
            name = requirement.check.name
            if name in self._failed:
                self._failed.add(check.name)
                check.forget()
                text = f"Check {check.name} was skipped, as {name}, which it requires, did not pass"
                return Info(text, id=health.INFO_CHECK_SKIPPED)
        return None

    def _begin(self, index: int, entry: Entry) -> Result | None:
        """Return the result if it is known already, else begin to wait for it."""
        if (hindrance := self._hindrance(entry)) is not None:
            return self._say(entry, hindrance)
        check, settings, requirements, _, _ = entry
        now = time.monotonic()
        fresh_from = self.began
        if settings.interval is not None:
            is_new = self._background.ensure(entry, settings.interval, self._loop)
            result = self._last(entry, now)
            # A clock that has only just started gets the time for a first result.
            if result is not None and not is_new:
                return result
        elif settings.ttl is not None:
            ttl = settings.ttl if settings.max_age is None else min(settings.ttl, settings.max_age)
            fresh_from = min(fresh_from, now - ttl)
        limit = min(settings.timeout, self.end - self.began if not requirements else self.end - now)
        if limit <= 0:
            text = f"Check {check.name} did not start: the time for all checks was over before"
            return self._say(entry, Error(text, id=health.ERROR_CHECK_TIMED_OUT))
        execution = check.start(settings, limit, fresh_from, self._loop)
        if execution.result is not None:
            return self._view(index, execution)
        deadline = min(execution.started + execution.limit, self.end)
        if deadline <= now:
            return self._late(index, execution, deadline)
        self.waiting[index] = execution, deadline
        heappush(self._deadlines, (deadline, index))
        execution.call_when_done(partial(self._notify, index))
        return None

    def _say(self, entry: Entry, message: CheckMessage) -> Result:
        """Return, and log, what the engine itself has to say in the place of a check."""
        result = make_result([message], entry.settings)
        if result.messages:
            with suppress(Exception):  # logging can't break the heartbeat
                logger.log(message.level, "%s: %s", message.id, message.msg)
        check = entry.check
        status = level_to_text(result.level)
        check.observers.tell(
            Observation("check", check.name, status, result.level, 0.0, result.messages)
        )
        return result

    def _notify(self, index: int) -> None:
        self.done.put(index)
        if self.wake is not None:
            self.wake()

    def _last(self, entry: Entry, now: float) -> Result | None:
        """Return the last result of a check in the background, or say that it hangs."""
        execution = entry.check.execution
        if execution is not None and execution.is_pending and execution.is_late(now):
            execution.note_late(now)
        return entry.check.view(entry.settings)

    def _view(self, index: int, execution: Execution) -> Result:
        entry = self.plan.entries[index]
        # Without a state when a heartbeat for which a requirement failed has had it forgotten.
        result = entry.check.view(entry.settings) or execution.result
        assert result is not None  # noqa: S101 - it has ended
        return result

    def _late(self, index: int, execution: Execution, deadline: float) -> Result:
        """Return what to show of an execution that has no result at this heartbeat's deadline."""
        check, settings = execution.check, self.plan.entries[index].settings
        if execution.is_late(now := time.monotonic()):
            execution.note_late(now)
            return check.view(settings) or execution.timed_out_result(execution.limit)
        # It may yet end in time for others, so this is no result of the check's own.
        result = execution.timed_out_result(deadline - execution.started)
        state = State.after(check.state, result, settings.failures, settings.recoveries)
        return check.view(settings, state) or result


def wait(run: Run) -> None:
    """Wait until every check has a result, or has had its time."""
    while run.waiting:
        run.take(patience=run.seconds_to_deadline())


async def await_all(run: Run) -> None:
    """Wait like :func:`wait`, without blocking the event loop."""
    if not run.waiting:
        return
    import asyncio

    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    is_called = False

    def wake() -> None:
        nonlocal is_called
        if not is_called:  # one call is enough for all that is done until it comes
            is_called = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(woken.set)

    run.wake = wake
    while True:
        run.take()  # also what was done before there was somebody to wake
        if not run.waiting:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(run.seconds_to_deadline()):
                await woken.wait()
        woken.clear()
        is_called = False


def collect(run: Run) -> tuple[CheckResults, Observation]:
    """Turn what is known into results, and what observers are told of them."""
    statuses: dict[str, str] = {}
    details: dict[str, CheckDetail] = {}
    durations: dict[str, float] = {}
    ages: dict[str, float] = {}
    everything: list[CheckMessage] = []
    overall = 0
    now = time.monotonic()
    for index, entry in enumerate(run.plan.entries):
        name = entry.check.name
        messages, level, duration, finished = run.known[index]
        status = level_to_text(level)
        statuses[name] = status
        durations[name] = duration
        if finished < run.began:
            ages[name] = now - finished
        if level > 0:
            details[name] = CheckDetail(status=status, level=level, messages=_by_id(messages, name))
        everything += messages
        overall = max(overall, level if entry.settings.critical else min(level, WARNING))
    results = CheckResults(statuses, details, overall, durations, ages)
    return results, _observation(results, now - run.began, tuple(everything))


def _observation(
    results: CheckResults, duration: float, messages: tuple[CheckMessage, ...]
) -> Observation:
    status = level_to_text(results.level)
    return Observation("heartbeat", "heartbeat", status, results.level, duration, messages)


def draining() -> tuple[CheckResults, Observation]:
    """Return the results of a process that is about to end, for which no check runs."""
    message = Error("The process is about to end and drains", id=health.ERROR_DRAINING)
    status = level_to_text(ERROR)
    detail = CheckDetail(status=status, level=ERROR, messages=_by_id([message], "drain"))
    results = CheckResults({"drain": status}, {"drain": detail}, ERROR, {}, {})
    return results, _observation(results, 0.0, (message,))


def _by_id(messages: Iterable[CheckMessage], name: str) -> dict[str, str]:
    """Return the texts by id; a second message with the same id gets a number behind it."""
    texts: dict[str, str] = {}
    for message in messages:
        key = first = message.id or name
        number = 1
        while key in texts:
            number += 1
            key = f"{first}#{number}"
        texts[key] = message.msg
    return texts


def is_failure(results: CheckResults) -> bool:
    """Whether the heartbeat fails: some critical check has an error or worse."""
    return results.level >= ERROR
