"""A check, one execution of it, and the state that follows from its last results."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dockerflow import health
from dockerflow.checks import _loop
from dockerflow.checks._log import CheckLog
from dockerflow.checks._observers import Observers
from dockerflow.checks._options import Settings
from dockerflow.checks._process import background_loop, lock, workers
from dockerflow.checks._returned import Finding, to_findings
from dockerflow.checks.messages import ERROR, CheckMessage, Error
from dockerflow.config import is_async

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

CheckFunction = Callable[[], Any]

check_context: ContextVar[Callable[[], AbstractContextManager[Any]]] = ContextVar(
    "check_context", default=nullcontext
)
"""Returns the context manager that each check runs in, for adapters whose framework needs one."""


class Result(NamedTuple):
    """The result of one execution of a check, without silenced messages.

    ``duration`` is in seconds, ``finished`` the time by the monotonic clock.
    """

    messages: tuple[CheckMessage, ...]
    level: int
    duration: float
    finished: float

    @property
    def is_failure(self) -> bool:
        return self.level >= ERROR


def make_result(
    messages: Iterable[CheckMessage], settings: Settings, duration: float = 0.0
) -> Result:
    """Return the result known so far."""
    kept = tuple(message for message in messages if message.id not in settings.silenced)
    level = max((message.level for message in kept), default=0)
    return Result(kept, level, duration, time.monotonic())


class State(NamedTuple):
    """The result that is shown of a check, whose results may flap.

    ``streak`` is the number of the last results, in a row, that contradict the one ``shown``.
    """

    shown: Result
    newest: Result
    streak: int = 0


def _next_state(state: State | None, result: Result, settings: Settings) -> State:
    """PURE: return the state after one more result. The very first result always counts."""
    if state is None or result.is_failure == state.shown.is_failure:
        return State(result, result)
    streak = state.streak + 1
    if streak >= (settings.failures if result.is_failure else settings.recoveries):
        return State(result, result)
    return State(state.shown, result, streak)


@dataclass(slots=True, eq=False)
class Execution:
    """One run of one check, which any number of heartbeats may wait for.

    ``limit`` is how many seconds it may take, ``started`` the time by the monotonic clock.
    ``loop`` is the event loop that an async check runs on. ``done`` has the result at the end.
    """

    check: Check
    settings: Settings
    limit: float
    started: float
    done: Future[Result] = field(default_factory=Future[Result])
    pid: int = field(default_factory=os.getpid)
    loop: AbstractEventLoop | None = None
    task: Task[None] | None = None
    _has_ended: bool = False
    _timeouts: int = 0  # how many time limits have been recorded as failures

    @property
    def is_pending(self) -> bool:
        """Whether it still runs. A fork or a closed event loop cuts it off."""
        # First the process: a fork may have come while the parent held the future's lock.
        if self.pid != os.getpid() or self.done.done():
            return False
        return self.loop is None or not self.loop.is_closed()

    def is_fresh(self, fresh_from: float) -> bool:
        """Whether this process has its result, from that time on."""
        if self.pid != os.getpid() or not self.done.done():
            return False
        return self.done.result().finished > fresh_from

    @property
    def is_late(self) -> bool:
        return time.monotonic() >= self.started + self.limit

    def end(
        self,
        ended: list[Finding] | BaseException,
        *,
        timed_out: bool = False,
    ) -> None:
        """Record the end of the check and wake all who wait for it.

        :param ended: what it found, or the exception that it raised.
        :param timed_out: whether its event loop found it to be late; the loop's clock may be a
            little ahead.
        """
        now = time.monotonic()
        findings: list[Finding] = []
        if timed_out or now > self.started + self.limit:
            result = self.timeout_result(self.limit)
        else:
            if isinstance(ended, BaseException):
                text = f"Check {self.check.name} raised {type(ended).__name__}"
                ended = [Finding(Error(text, id=health.ERROR_CHECK_RAISED), error=ended)]
            findings = [one for one in ended if one.message.id not in self.settings.silenced]
            messages = [one.message for one in findings]
            result = make_result(messages, self.settings, now - self.started)
        with lock.get():
            if self._has_ended:
                return
            self._has_ended = True
            is_news = self._timeouts == 0
            if is_news:
                self._record(result)
        if is_news:
            # Before anyone gets the result, so that heartbeats know which lines to wait for.
            self.check.report(result, findings)
        self.done.set_result(result)

    def timeout_result(self, seconds: float) -> Result:
        """Return the result of not having finished within so many seconds."""
        text = f"Check {self.check.name} did not finish within {float(f'{seconds:.3g}'):g} s"
        message = Error(text, id=health.ERROR_CHECK_TIMED_OUT)
        duration = min(time.monotonic() - self.started, seconds)
        return make_result([message], self.settings, duration)

    def record_timeout(self) -> None:
        """Count a check that is late as a failure, once for each time limit that has passed."""
        passed = max(1, int((time.monotonic() - self.started) / self.limit))
        result = self.timeout_result(self.limit)
        with lock.get():
            new = passed - self._timeouts
            if self._has_ended or new <= 0:
                return
            is_first = self._timeouts == 0
            self._timeouts = passed
            self._record(result, min(new, self.settings.failures))
        if is_first:
            self.check.report(result)
        else:
            self.check.log(result)

    def _record(self, result: Result, times: int = 1) -> None:
        """Count a result in the state of the check, unless another execution has begun."""
        if self.check.execution is self:
            for _ in range(times):
                self.check.state = _next_state(self.check.state, result, self.settings)


@dataclass(eq=False)
class Check:
    """A registered function, its options, and its state in this process."""

    name: str
    function: CheckFunction
    options: Mapping[str, Any]
    observers: Observers
    execution: Execution | None = None
    state: State | None = None
    is_registered: bool = True

    def __post_init__(self) -> None:
        self.requires: tuple[str, ...] = self.options.get("requires", ())
        self.tags: tuple[str, ...] = self.options.get("tags", ())
        self.is_async: bool = is_async(unwrap(self.function))
        if self.is_async:
            # Not in the first heartbeat, during which the process may fork: the child would wait
            # for the import of a thread that it doesn't have.
            importlib.import_module("asyncio")
        self._log = CheckLog(self.name, critical=self.options.get("critical", True))

    def log(self, result: Result, findings: Sequence[Finding] = ()) -> None:
        """Log a result if it has changed, with the causes if ``findings`` has them."""
        self._log.write(findings or [Finding(message) for message in result.messages])

    def report(self, result: Result, findings: Sequence[Finding] = ()) -> None:
        """Log a result and notify the observers, unless the check was removed or replaced."""
        if self.is_registered:
            self.log(result, findings)
            messages = result.messages
            self.observers.notify("check", self.name, result.level, messages, result.duration)

    def reset(self) -> None:
        """Discard the result because a requirement failed."""
        with lock.get():
            self.state = None
            if self.execution is not None and not self.execution.is_pending:
                self.execution = None

    def current_result(self, settings: Settings) -> Result | None:
        """Return the result to show now: never a healthy one that is too old."""
        if (state := self.state) is None:
            return None
        shown, newest, _ = state
        age = time.monotonic() - shown.finished
        if settings.max_age is None or shown.is_failure or age <= settings.max_age:
            return shown
        if newest.is_failure:
            return newest
        text = f"The last result of check {self.name} is older than {settings.max_age:g} s"
        result = make_result([Error(text, id=health.ERROR_CHECK_STALE)], settings, shown.duration)
        self.log(result)
        return result._replace(finished=shown.finished)

    def join(self, settings: Settings, limit: float, fresh_from: float) -> tuple[Execution, bool]:
        """Return an execution that is under way or fresh enough, or a new one.

        :param limit: how many seconds a new one may take.
        :param fresh_from: the time, by the monotonic clock, since which a result is fresh enough.
        :returns: the execution, and whether it is new: then the caller must :func:`start` it.
        """
        with lock.get():
            execution = self.execution
            if execution is not None and (execution.is_pending or execution.is_fresh(fresh_from)):
                return execution, False
            self.execution = Execution(self, settings, limit, time.monotonic())
            return self.execution, True


def unwrap(function: CheckFunction) -> CheckFunction:
    """Return the function behind partials."""
    while isinstance(function, partial):
        function = function.func
    return function


if sys.version_info >= (3, 14):
    from annotationlib import Format

    # By default it evaluates the annotations, whose names may be there for type checkers only.
    signature = partial(inspect.signature, annotation_format=Format.STRING)
else:
    signature = inspect.signature


def start(executions: list[Execution], loop: AbstractEventLoop | None) -> None:
    """Run checks in threads or on an event loop, with the caller's context variables.

    Those that can't be started end as if they had raised the error.

    :param loop: the event loop for async checks; ``None`` for the library's own.
    """
    sync = [execution for execution in executions if not execution.check.is_async]
    async_ = [execution for execution in executions if execution.check.is_async]
    try:
        workers.get().submit(*(_job(execution) for execution in sync))
    except RuntimeError as error:  # no thread could be started
        for execution in sync:
            execution.end(error)
    if not async_:
        return
    try:
        loop = loop or background_loop.get()
        for execution in async_:
            execution.loop = loop
        loop.call_soon_threadsafe(_create_tasks, loop, async_)
    except RuntimeError as error:  # no thread for the loop, or it was just closed
        for execution in async_:
            execution.end(error)


def _job(execution: Execution) -> Callable[[], None]:
    context = copy_context()
    return lambda: context.run(_run, execution)


def _run(execution: Execution) -> None:
    """Run a sync check to its end."""
    try:
        with check_context.get()():
            value = execution.check.function()
            if isinstance(value, Awaitable):  # such as a lambda around an async function
                import asyncio

                value = asyncio.run(_resolve(cast("Awaitable[object]", value)))
            # In here, since an iterable may do the work of the check, and may hang.
            findings = to_findings(value, execution.check.name)
    except BaseException as error:  # noqa: BLE001 - also sys.exit() ends the check only
        execution.end(error)
    else:
        execution.end(findings)


async def _resolve(value: Awaitable[object]) -> object:
    return await value


def _create_tasks(loop: AbstractEventLoop, executions: list[Execution]) -> None:
    for execution in executions:
        # The execution keeps the task alive: the event loop has only a weak reference to it.
        execution.task = loop.create_task(_arun(execution))


async def _arun(execution: Execution) -> None:
    """Run an async check to its end, cancelled after its limit."""
    function = cast("Callable[[], Coroutine[Any, Any, Any]]", execution.check.function)
    limit = _loop.timeout(execution.limit)
    try:
        async with limit:
            with check_context.get()():
                findings = to_findings(await function(), execution.check.name)
    except BaseException as error:  # noqa: BLE001 - sys.exit() must not end the server
        execution.end(error, timed_out=limit.expired())
        is_main = threading.current_thread() is threading.main_thread()
        if isinstance(error, KeyboardInterrupt) and is_main:
            _loop.interrupt(error)  # meant for the process, as when somebody pressed Ctrl-C
    else:
        execution.end(findings, timed_out=limit.expired())
    execution.task = None
