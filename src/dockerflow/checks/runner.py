"""Run checks: start them, wait for or await them, then collect the results.

A check has at most one execution under way, and all heartbeats that need it join that one. So
concurrent heartbeats share one run, and a check that hangs is not started again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dockerflow import health
from dockerflow.checks import _loop
from dockerflow.checks._background import LONG, Background
from dockerflow.checks._check import CheckFunction, Execution, Result, make_result, start
from dockerflow.checks._log import log_thread
from dockerflow.checks._plan import Entry, Plan
from dockerflow.checks.messages import ERROR, WARNING, CheckMessage, Error, Info, level_to_text

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["CheckDetail", "CheckFunction", "CheckResults", "is_failure"]


class CheckDetail(dict[str, Any]):
    """One check's status, level and messages: a dictionary, so that it can be written as JSON.

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
        """The texts by the messages' IDs."""
        return cast("dict[str, str]", self["messages"])


class CheckResults(NamedTuple):
    """The results of one heartbeat.

    ``statuses`` and ``details`` are shown by the heartbeat: the status of each check by its
    name, and for each check that had a message above level 0 its status, level and messages.
    ``level`` is the highest level of all, where a non-critical check counts as a warning at
    most. ``durations`` has the seconds that each check took, by its name, and ``ages`` the
    seconds since then, for reused results.
    """

    # The first three as python-dockerflow has them, for tests that make one themselves.
    details: dict[str, CheckDetail]
    statuses: dict[str, str]
    level: int
    durations: dict[str, float] = {}  # noqa: RUF012 - these empty ones are never changed
    ages: dict[str, float] = {}  # noqa: RUF012


class Run:
    """One heartbeat under way: the results so far, and the executions that it waits for.

    :param seconds: how long it may take.
    :param loop: the running event loop; ``None`` when there is none.
    """

    def __init__(
        self,
        plan: Plan,
        seconds: float,
        background: Background,
        loop: AbstractEventLoop | None = None,
    ) -> None:
        self.plan = plan
        self.began: float = time.monotonic()
        self.results: dict[str, Result] = {}
        self._end = self.began + seconds
        self._background = background
        self._loop = loop
        self._waiting: dict[str, Execution] = {}
        self._failed: set[str] = set()

    def steps(self, wake: Callable[[], object]) -> Iterator[float]:
        """Run the checks, and yield for how many seconds at most the caller has to wait.

        :param wake: called, in any thread, when the caller needn't wait any longer.
        """
        order = self.plan.order
        while order.is_active():
            if ready := order.get_ready():
                self._begin(ready, wake)
            elif not self._take_results():
                end = min(
                    execution.started + execution.limit for execution in self._waiting.values()
                )
                yield min(max(0.0, min(end, self._end) - time.monotonic()), LONG)
        yield from log_thread.get().flush(wake)

    def _begin(self, names: Iterable[str], wake: Callable[[], object]) -> None:
        """Take the results of checks that need not run now, and start the others."""
        joined: list[Execution] = []
        new: list[Execution] = []
        for name in names:
            entry = self.plan.entries[name]
            check, settings, _ = entry
            now = time.monotonic()
            limit = min(settings.timeout, self._end - (now if check.requires else self.began))
            if (result := self._result_without_run(entry, limit)) is not None:
                self._add(entry, result)
                continue
            # Without a time to live, a result is fresh if it is from this heartbeat's time.
            fresh_from = min(self.began, now - (settings.ttl or 0.0))
            self._waiting[name], is_new = check.join(settings, limit, fresh_from)
            (new if is_new else joined).append(self._waiting[name])
        start(new, self._loop)
        for execution in (*new, *joined):
            # Otherwise nobody waits for it, and a check that hangs would collect callbacks.
            if not (execution.done.done() or execution.is_late):
                execution.done.add_done_callback(lambda _: wake())

    def _take_results(self) -> bool:
        """Take the results that are there now, and return whether there were any."""
        count = len(self._waiting)
        for name, execution in list(self._waiting.items()):
            entry = self.plan.entries[name]
            if (result := self._result(entry, execution)) is not None:
                del self._waiting[name]
                self._add(entry, result)
        return len(self._waiting) < count

    def _add(self, entry: Entry, result: Result) -> None:
        name = entry.check.name
        self.results[name] = result
        if result.is_failure:
            self._failed.add(name)
        self.plan.order.done(name)

    def _result(self, entry: Entry, execution: Execution) -> Result | None:
        """Return the result to show of an execution, if it has ended or has had its time."""
        if execution.done.done():
            result = execution.done.result()
        elif execution.is_late:
            execution.record_timeout()
            result = execution.timeout_result(execution.limit)
        elif time.monotonic() >= self._end:
            # It may yet end in time for other heartbeats, so the check's state doesn't change.
            return execution.timeout_result(min(execution.limit, self._end - self.began))
        else:
            return None
        return entry.check.current_result(entry.settings) or result

    def _result_without_run(self, entry: Entry, limit: float) -> Result | None:
        """Return the result of a check that can't run, or that runs in the background."""
        check = entry.check
        if (message := self._blocked_by(entry)) is None:
            result = self._background_result(entry)
            if result is not None or limit > 0:
                return result
            text = f"Check {check.name} did not start within the time limit for all checks"
            message = Error(text, id=health.ERROR_CHECK_TIMED_OUT)
        result = make_result([message], entry.settings)
        check.report(result)
        return result

    def _blocked_by(self, entry: Entry) -> CheckMessage | None:
        """Return a message with the reason if a check can't be run."""
        name = entry.check.name
        if entry.problem is not None:
            text = f"Check {name} can't run: {entry.problem}"
            return Error(text, id=health.ERROR_CHECK_MISCONFIGURED)
        for required in entry.check.requires:
            if required in self._failed:
                self._failed.add(name)
                entry.check.reset()
                text = (
                    f"Check {name} was skipped because {required}, which it requires, did not pass"
                )
                return Info(text, id=health.INFO_CHECK_SKIPPED)
        return None

    def _background_result(self, entry: Entry) -> Result | None:
        """Return the last result of a check that runs in the background."""
        check, settings, _ = entry
        if settings.interval is None:
            return None
        requirements = self.plan.requirements(entry)
        if self._background.ensure(entry, requirements, settings.interval, self._loop):
            return None  # just scheduled: this heartbeat waits for the first result
        execution = check.execution
        if execution is not None and execution.is_pending and execution.is_late:
            execution.record_timeout()
        return check.current_result(settings)


def run_all(run: Run) -> None:
    """Run the checks, and block until each has a result or has had its time."""
    woken = threading.Event()
    for seconds in run.steps(woken.set):
        woken.wait(seconds)
        woken.clear()


async def arun_all(run: Run) -> None:
    """Run the checks like :func:`run_all`, without blocking the event loop."""
    loop = _loop.running_loop()
    woken = _loop.make_event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(notify)

    def notify() -> None:
        woken.set()  # the one that is waited for now

    for seconds in run.steps(wake):
        with suppress(TimeoutError):
            async with _loop.timeout(seconds):
                await woken.wait()
        woken = _loop.make_event()


def collect(run: Run) -> tuple[CheckResults, list[CheckMessage]]:
    """Return the results of a run that is complete, and all messages."""
    results = CheckResults({}, {}, 0, {}, {})
    everything: list[CheckMessage] = []
    overall = 0
    now = time.monotonic()
    for name, entry in run.plan.entries.items():
        messages, level, duration, finished = run.results[name]
        results.statuses[name] = level_to_text(level)
        results.durations[name] = duration
        if finished < run.began:
            results.ages[name] = now - finished
        if level > 0:
            results.details[name] = _detail(level, messages, name)
        everything += messages
        overall = max(overall, level if entry.settings.critical else min(level, WARNING))
    return results._replace(level=overall), everything


def draining() -> tuple[CheckResults, list[CheckMessage]]:
    """Return the results of a process that is about to exit, for which no check runs."""
    message = Error("The process is draining and about to exit", id=health.ERROR_DRAINING)
    detail = _detail(ERROR, [message], "drain")
    return CheckResults({"drain": detail}, {"drain": detail.status}, ERROR), [message]


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
