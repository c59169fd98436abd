"""Run checks at the same time, each for a limited time: prepare, then run or arun, then collect.

A check has at most one execution under way, however many heartbeats ask for it: they join it.
So concurrent heartbeats share one run, and a check that hangs is not started again while it
still does.
"""

from __future__ import annotations

import contextvars
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from dockerflow import health
from dockerflow.checks._workers import loop_thread, thread_pool
from dockerflow.checks.messages import DEBUG, ERROR, WARNING, CheckMessage, Error, level_to_text

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from concurrent.futures import Future

logger = logging.getLogger("dockerflow.checks.registry")

MAX_MESSAGES: Final = 1000
"""How many messages one check may return: a generator may have no end."""

CheckFunction = Callable[[], Any]

surroundings: contextvars.ContextVar[Callable[[], AbstractContextManager[Any]]] = (
    contextvars.ContextVar("surroundings", default=nullcontext)
)
"""What each check runs in, where an adapter's framework needs something set up and cleaned up."""


class CheckResults(NamedTuple):
    """What the checks said.

    ``statuses`` and ``details`` are what the heartbeat shows: the status of each check by its
    name, and for each check that had a message above level 0 its status, level and messages.
    ``level`` is the highest level of all, where a non-critical check counts as a warning at
    most. ``durations`` has the seconds that each check took, by its name.
    """

    statuses: dict[str, str]
    details: dict[str, dict[str, Any]]
    level: int
    durations: dict[str, float]


class Outcome(NamedTuple):
    """How an execution ended: with a value, or with an exception."""

    value: object
    exception: BaseException | None


class Execution:
    """One run of one check, which any number of heartbeats may wait for."""

    __slots__ = (
        "_lock",
        "finished",
        "future",
        "loop",
        "pid",
        "reported",
        "started",
        "task",
        "timed_out",
    )

    def __init__(self) -> None:
        from concurrent.futures import Future  # noqa: PLC0415 - only needed once a check runs

        self.future: Future[Outcome] = Future()
        self.started = time.monotonic()
        self.finished = 0.0
        self.pid = os.getpid()
        self.loop: AbstractEventLoop | None = None
        self.task: Task[None] | None = None
        self.reported = False
        self.timed_out = False
        self._lock = threading.Lock()

    @property
    def is_pending(self) -> bool:
        """Whether it still runs. One that a fork or a closed event loop cut off doesn't."""
        if self.future.done() or self.pid != os.getpid():
            return False
        return self.loop is None or not self.loop.is_closed()

    def end(self, value: object, exception: BaseException | None = None) -> None:
        """Take the outcome and wake whoever waits for it."""
        self.finished = time.monotonic()
        self.future.set_result(Outcome(value, exception))

    def first_report(self) -> bool:
        """Return true once: messages are logged by one of the heartbeats that share this."""
        with self._lock:
            first, self.reported = not self.reported, True
            return first


class Check:
    """A registered function and how to run it.

    ``timeout`` is in seconds, ``None`` for the configured default. A check that isn't
    ``critical`` never fails the heartbeat.
    """

    __slots__ = ("_execution", "_lock", "critical", "function", "is_async", "name", "timeout")

    def __init__(
        self,
        name: str,
        function: CheckFunction,
        *,
        timeout: float | None = None,
        critical: bool = True,
    ) -> None:
        self.name = name
        self.function = function
        self.timeout = timeout
        self.critical = critical
        self.is_async = _is_async(function)
        self._lock = threading.Lock()
        self._execution: Execution | None = None

    def start(self, loop: AbstractEventLoop | None, timeout: float) -> Execution:
        """Return the execution that is under way, or start one.

        :param loop: the event loop that runs here; ``None`` when none does.
        :param timeout: seconds after which an async check is cancelled.
        """
        # In the lock only what can't wait: where the check runs is decided after it.
        with self._lock:
            execution = self._execution
            if execution is not None and execution.is_pending:
                return execution
            execution = Execution()
            if self.is_async:
                execution.loop = loop or loop_thread.get()
            # Last: where no thread could be had, the next heartbeat must not join this one.
            self._execution = execution
        context = contextvars.copy_context()
        if execution.loop is None:
            thread_pool.submit(lambda: context.run(_call, self.function, execution))
        elif execution.loop is loop:
            context.run(_start_task, self.function, execution, timeout)
        else:
            execution.loop.call_soon_threadsafe(
                _start_task, self.function, execution, timeout, context=context
            )
        return execution


def _is_async(function: CheckFunction) -> bool:
    import functools  # noqa: PLC0415
    import inspect  # noqa: PLC0415 - inspect is slow to import, and only needed to register

    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method itself is asked for
    )


def _call(function: CheckFunction, execution: Execution) -> None:
    """Run a sync check to its end, in a thread of the pool."""
    try:
        with surroundings.get()():
            value = function()
            if isinstance(value, Awaitable):  # such as a lambda around an async function
                import asyncio

                value = asyncio.run(_resolve(cast("Awaitable[object]", value)))
            # Here, since an iterable may do the work of the check, and may hang.
            messages = _to_messages(value)
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a check must not end a worker
        execution.end(None, error)
    else:
        execution.end(messages)


async def _resolve(value: Awaitable[object]) -> object:
    return await value


def _start_task(function: CheckFunction, execution: Execution, timeout: float) -> None:
    """Start an async check as a task of the running event loop, cancelled after ``timeout``."""
    import asyncio

    loop = asyncio.get_running_loop()
    # The execution keeps the task alive: the event loop holds only a weak reference to it.
    execution.task = task = loop.create_task(_acall(function, execution))

    def time_out() -> None:
        execution.timed_out = True
        task.cancel()

    timer = loop.call_later(timeout, time_out)

    def clean_up(_: object) -> None:
        timer.cancel()
        execution.task = None
        if not execution.future.done():  # cancelled before its first step
            execution.end(None, asyncio.CancelledError())

    task.add_done_callback(clean_up)


async def _acall(function: Callable[[], Coroutine[Any, Any, Any]], execution: Execution) -> None:
    try:
        with surroundings.get()():
            messages = _to_messages(await function())
    except (KeyboardInterrupt, SystemExit) as error:
        execution.end(None, error)
        if threading.current_thread() is threading.main_thread():
            raise  # meant for the process, as when somebody pressed Ctrl-C
    except BaseException as error:  # noqa: BLE001 - contained, and reported by the heartbeat
        execution.end(None, error)
    else:
        execution.end(messages)


class Started(NamedTuple):
    """A check with the execution that a heartbeat waits for, until ``deadline``."""

    check: Check
    execution: Execution
    deadline: float
    timeout: float


def prepare(
    checks: Iterable[Check],
    *,
    check_timeout: float,
    heartbeat_timeout: float,
    loop: AbstractEventLoop | None = None,
) -> list[Started]:
    """Start every check that isn't running yet, and say until when each may take."""
    end = time.monotonic() + heartbeat_timeout
    started: list[Started] = []
    for check in checks:
        timeout = check_timeout if check.timeout is None else check.timeout
        timeout = min(timeout, heartbeat_timeout)
        execution = check.start(loop, timeout)
        started.append(Started(check, execution, min(execution.started + timeout, end), timeout))
    return started


def wait(started: Iterable[Started]) -> None:
    """Wait until each execution is over or its deadline has passed."""
    from concurrent.futures import wait as wait_for  # noqa: PLC0415

    for _, execution, deadline, _ in sorted(started, key=_by_deadline):
        if not execution.future.done():
            wait_for((execution.future,), timeout=max(0, deadline - time.monotonic()))


async def await_all(started: Iterable[Started]) -> None:
    """Wait like :func:`wait`, without blocking the event loop."""
    import asyncio

    for _, execution, deadline, _ in sorted(started, key=_by_deadline):
        if not execution.future.done():
            # Neither the time limit nor a cancelled heartbeat cancels the execution, which
            # other heartbeats may be waiting for.
            future = asyncio.wrap_future(execution.future)
            await asyncio.wait((future,), timeout=max(0, deadline - time.monotonic()))


def _by_deadline(started: Started) -> float:
    return started.deadline


def collect(started: Iterable[Started], silenced: Collection[str] = ()) -> CheckResults:
    """Turn what the executions gave by now into results, and log each message once."""
    statuses: dict[str, str] = {}
    details: dict[str, dict[str, Any]] = {}
    durations: dict[str, float] = {}
    overall = 0
    for check, execution, deadline, timeout in started:
        messages, exception, duration = _read(check, execution, deadline, timeout)
        messages = [message for message in messages if message.id not in silenced]
        level = max((message.level for message in messages), default=0)
        status = level_to_text(level)
        statuses[check.name] = status
        durations[check.name] = duration
        if level > 0:
            details[check.name] = {
                "status": status,
                "level": level,
                "messages": _by_id(messages, check.name),
            }
        overall = max(overall, level if check.critical else min(level, WARNING))
        # A check that hangs is logged by every heartbeat that it fails.
        if messages and (not execution.future.done() or execution.first_report()):
            for message in messages:
                with suppress(Exception):  # logging can't break the heartbeat
                    logger.log(
                        message.level,
                        "%s: %s",
                        message.id or check.name,
                        message.msg,
                        exc_info=exception,
                    )
    return CheckResults(statuses, details, overall, durations)


def _read(
    check: Check, execution: Execution, deadline: float, timeout: float
) -> tuple[list[CheckMessage], BaseException | None, float]:
    """Return the messages of an execution, the exception behind them, and its seconds."""
    late = not execution.future.done() or execution.finished > deadline
    if late or execution.timed_out:
        message = Error(
            f"Check {check.name} did not finish within {timeout:g} s",
            id=health.ERROR_CHECK_TIMED_OUT,
        )
        return (
            [message],
            None,
            max(0.0, min(execution.finished or time.monotonic(), deadline) - execution.started),
        )
    duration = execution.finished - execution.started
    value, exception = execution.future.result()
    if exception is not None:
        message = Error(
            f"Check {check.name} raised {type(exception).__name__}", id=health.ERROR_CHECK_RAISED
        )
        return [message], exception, duration
    if isinstance(value, list):
        return cast("list[CheckMessage]", value), None, duration
    message = Error(f"Check {check.name} returned {value}", id=health.ERROR_CHECK_BAD_RESULT)
    return [message], None, duration


def _to_messages(value: object) -> list[CheckMessage] | str:
    """Return what a check returned as a list of messages, or say what it returned instead."""
    if value is None:
        return []
    if _is_message(value):
        return [_normalise(value)]
    kind = type(value).__name__
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        return f"{kind}, which is no check message"
    messages: list[CheckMessage] = []
    for item in cast("Iterable[object]", value):
        if len(messages) >= MAX_MESSAGES:
            return f"{kind} with more than {MAX_MESSAGES} messages"
        if not _is_message(item):
            return f"{kind} with {type(item).__name__} in it, which is no check message"
        messages.append(_normalise(item))
    return messages


def _is_message(value: Any) -> bool:
    # By its shape, since Django's own messages are as good.
    level = getattr(value, "level", None)
    return isinstance(level, int) and hasattr(value, "msg") and hasattr(value, "id")


def _normalise(message: Any) -> CheckMessage:
    """Return ``message`` with texts that any JSON parser and any log takes."""
    return CheckMessage(
        _text(message.msg),
        level=_to_level(int(message.level)),
        hint=message.hint if hasattr(message, "hint") else None,
        id=None if message.id is None else _text(message.id),
    )


def _to_level(level: int) -> int:
    """Return a level that the results show, and that log and JSON can write out."""
    return DEBUG if level < 0 else min(level, sys.maxsize)


def _text(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - whatever a foreign __str__ raises
        text = f"<{type(value).__name__} without a text>"
    return text.encode("utf-8", "backslashreplace").decode()  # lone surrogates are no JSON


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
