"""Run checks: start them, wait for or await them, then collect the results.

A check has at most one execution under way, and all heartbeats that need it join that one. So
concurrent heartbeats share one run, and a check that hangs is not started again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dockerflow import health
from dockerflow.checks._background import LONG, Background
from dockerflow.checks._check import (
    CheckFunction,
    Execution,
    Result,
    log_messages,
    make_result,
)
from dockerflow.checks._options import Settings
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


class CheckDetail(dict[str, Any]):
    """One check's status, level and messages: a dictionary, so that it is JSON as it stands.

    The values are attributes too, since code written for python-dockerflow reads them so.
    """

    __slots__ = ()

    @property
    def status(self) -> str:
        """The name of the level."""
        return cast("str", self["status"])

    @property
    def level(self) -> int:
        """The highest level of the messages."""
        return cast("int", self["level"])

    @property
    def messages(self) -> dict[str, str]:
        """The texts by the messages' ids."""
        return cast("dict[str, str]", self["messages"])


class CheckResults(NamedTuple):
    """The results of one heartbeat.

    ``statuses`` and ``details`` are shown by the heartbeat: the status of each check by its
    name, and for each check that had a message above level 0 its status, level and messages.
    ``level`` is the highest level of all, where a non-critical check counts as a warning at
    most. ``durations`` has the seconds that each check took, by its name, and ``ages`` the
    seconds since then, for reused results.
    """

    statuses: dict[str, str]
    details: dict[str, CheckDetail]
    level: int
    durations: dict[str, float]
    ages: dict[str, float] = {}  # noqa: RUF012 - this empty one is never changed


class Run:
    """One heartbeat under way: the results so far, and the executions that it waits for.

    :param loop: the running event loop; ``None`` when there is none.
    """

    def __init__(
        self, plan: Plan, background: Background, loop: AbstractEventLoop | None = None
    ) -> None:
        self.plan = plan
        self.began: float = time.monotonic()
        self.end: float = self.began + plan.heartbeat_timeout
        self.results: dict[str, Result] = {}
        self.waiting: dict[str, tuple[Entry, Execution]] = {}
        self._unstarted: list[Entry] = plan.entries
        self._failed: set[str] = set()
        self._background = background
        self._loop = loop

    def seconds_left(self) -> float:
        """Return how long to wait at most for the executions under way."""
        deadline = min(self._deadline(execution) for _, execution in self.waiting.values())
        return min(max(0.0, deadline - time.monotonic()), LONG)

    def _deadline(self, execution: Execution) -> float:
        return min(execution.started + execution.limit, self.end)

    def advance(self, wake: Callable[[], object]) -> None:
        """Take the results that have arrived, and start the checks that can start now.

        :param wake: called, in any thread, whenever there may be more to take.
        """
        now = time.monotonic()
        for name, (entry, execution) in list(self.waiting.items()):
            if execution.result is not None:
                result = entry.check.current_result(entry.settings) or execution.result
            elif now >= self._deadline(execution):
                result = self._late_result(entry, execution)
            else:
                continue
            del self.waiting[name]
            self._add(entry, result)
        unstarted, self._unstarted = self._unstarted, []
        for entry in unstarted:  # each comes after its requirements
            if all(required.check.name in self.results for required in entry.requirements):
                self._begin(entry, wake)
            else:
                self._unstarted.append(entry)

    def _add(self, entry: Entry, result: Result) -> None:
        self.results[entry.check.name] = result
        if result.is_failure:
            self._failed.add(entry.check.name)

    def _begin(self, entry: Entry, wake: Callable[[], object]) -> None:
        """Use a result that is fresh enough, else start to wait for one."""
        if (message := self._blocked_by(entry)) is not None:
            self._add(entry, self._result_without_run(entry, message))
            return
        if (result := self._background_result(entry)) is not None:
            self._add(entry, result)
            return
        check, settings, requirements, _ = entry
        now = time.monotonic()
        limit = min(settings.timeout, self.end - (now if requirements else self.began))
        if limit <= 0:
            text = f"Check {check.name} did not start: the time for all checks was over before"
            message = Error(text, id=health.ERROR_CHECK_TIMED_OUT)
            self._add(entry, self._result_without_run(entry, message))
            return
        execution = check.start(settings, limit, self._fresh_from(settings), self._loop)
        self.waiting[check.name] = entry, execution
        execution.call_when_done(wake)

    def _blocked_by(self, entry: Entry) -> CheckMessage | None:
        """Return a message that says why a check can't be run, if something prevents it."""
        name = entry.check.name
        if entry.problem is not None:
            text = f"Check {name} can't run: {entry.problem}"
            return Error(text, id=health.ERROR_CHECK_MISCONFIGURED)
        for requirement in entry.requirements:
            required = requirement.check.name
            if required in self._failed:
                self._failed.add(name)
                entry.check.reset()
                text = f"Check {name} was skipped, as {required}, which it requires, did not pass"
                return Info(text, id=health.INFO_CHECK_SKIPPED)
        return None

    def _result_without_run(self, entry: Entry, message: CheckMessage) -> Result:
        check = entry.check
        result = make_result([message], entry.settings)
        log_messages(check.name, result)
        check.observers.notify("check", check.name, result.level, 0.0, result.messages)
        return result

    def _background_result(self, entry: Entry) -> Result | None:
        """Return the last result of a check that runs in the background."""
        check, settings, _, _ = entry
        if settings.interval is None:
            return None
        if self._background.ensure(entry, settings.interval, self._loop):
            return None  # just scheduled: this heartbeat waits for the first result
        now = time.monotonic()
        execution = check.execution
        if execution is not None and execution.is_pending and execution.is_late(now):
            execution.record_timeout(now)
        return check.current_result(settings)

    def _fresh_from(self, settings: Settings) -> float:
        """Return the time since which a result is fresh enough for this heartbeat."""
        if settings.ttl is None:
            return self.began
        ttl = settings.ttl if settings.max_age is None else min(settings.ttl, settings.max_age)
        return min(self.began, time.monotonic() - ttl)

    def _late_result(self, entry: Entry, execution: Execution) -> Result:
        """Return the result to show of an execution that is still running at the deadline."""
        check, settings = entry.check, entry.settings
        if execution.is_late(now := time.monotonic()):
            execution.record_timeout(now)
            return check.current_result(settings) or execution.timeout_result(execution.limit)
        # It may yet end in time for other heartbeats, so the check's state doesn't change.
        return execution.timeout_result(self._deadline(execution) - execution.started)


def wait(run: Run) -> None:
    """Wait until every check has a result, or has had its time."""
    woken = threading.Event()
    run.advance(woken.set)
    while run.waiting:
        woken.wait(run.seconds_left())
        woken.clear()
        run.advance(woken.set)


async def await_all(run: Run) -> None:
    """Wait like :func:`wait`, without blocking the event loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(woken.set)

    run.advance(wake)
    while run.waiting:
        with suppress(TimeoutError):
            async with asyncio.timeout(run.seconds_left()):
                await woken.wait()
        woken.clear()
        run.advance(wake)


def collect(run: Run) -> tuple[CheckResults, tuple[CheckMessage, ...]]:
    """Return the results of a run that is complete, and all messages."""
    statuses: dict[str, str] = {}
    details: dict[str, CheckDetail] = {}
    durations: dict[str, float] = {}
    ages: dict[str, float] = {}
    everything: list[CheckMessage] = []
    overall = 0
    now = time.monotonic()
    is_critical = {entry.check.name: entry.settings.critical for entry in run.plan.entries}
    for name in run.plan.names:
        messages, level, duration, finished = run.results[name]
        statuses[name] = level_to_text(level)
        durations[name] = duration
        if finished < run.began:
            ages[name] = now - finished
        if level > 0:
            details[name] = _detail(level, messages, name)
        everything += messages
        overall = max(overall, level if is_critical[name] else min(level, WARNING))
    return CheckResults(statuses, details, overall, durations, ages), tuple(everything)


def draining() -> tuple[CheckResults, tuple[CheckMessage, ...]]:
    """Return the results of a process that is about to end, for which no check runs."""
    message = Error("The process is about to end and drains", id=health.ERROR_DRAINING)
    detail = _detail(ERROR, [message], "drain")
    return CheckResults({"drain": detail.status}, {"drain": detail}, ERROR, {}, {}), (message,)


def _detail(level: int, messages: Iterable[CheckMessage], name: str) -> CheckDetail:
    return CheckDetail(status=level_to_text(level), level=level, messages=_by_id(messages, name))


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
    """Return whether the heartbeat fails: a critical check has an error or worse."""
    return results.level >= ERROR
