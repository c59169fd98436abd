"""A check, one execution of it, and what its results in a row make of its state."""

from __future__ import annotations

import contextvars
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from dockerflow import health
from dockerflow.checks._observers import Observation, Observers
from dockerflow.checks._options import Settings
from dockerflow.checks._workers import loop_thread, start_afresh_after_fork, thread_pool
from dockerflow.checks.messages import DEBUG, ERROR, CheckMessage, Error, level_to_text

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

logger = logging.getLogger("dockerflow.checks.registry")

MAX_MESSAGES: Final = 1000
"""How many messages one check may return: a generator may have no end."""

CheckFunction = Callable[[], Any]


class _Lock:
    """One lock for the few assignments that change a check, so that a fork can renew it."""

    def __init__(self) -> None:
        self.start_afresh()
        start_afresh_after_fork(self)

    def start_afresh(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_lock = _Lock()


class Result(NamedTuple):
    """What one execution of a check gave, without what is silenced.

    ``finished`` is the time by the monotonic clock.
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
    """Return the result that is known now."""
    kept = tuple(message for message in messages if message.id not in settings.silenced)
    level = max((message.level for message in kept), default=0)
    return Result(kept, level, duration, time.monotonic())


surroundings: contextvars.ContextVar[Callable[[], AbstractContextManager[Any]]] = (
    contextvars.ContextVar("surroundings", default=nullcontext)
)
"""What each check runs in, where an adapter's framework needs something set up and cleaned up."""


class State(NamedTuple):
    """PURE: what is shown of a check, whose results may flap.

    ``streak`` is the number of the last results, in a row, that contradict the one ``shown``.
    """

    shown: Result
    newest: Result
    streak: int = 0

    @staticmethod
    def after(state: State | None, result: Result, failures: int, recoveries: int) -> State:
        """Return the state after one more result. The first of all results counts at once."""
        if state is None or result.is_failure == state.shown.is_failure:
            return State(result, result)
        streak = state.streak + 1
        if streak >= (failures if result.is_failure else recoveries):
            return State(result, result)
        return State(state.shown, result, streak)


class Execution:
    """One run of one check, which any number of heartbeats may wait for.

    ``limit`` is how many seconds it may take.
    """

    __slots__ = (
        "_failures",
        "_has_ended",
        "_waiters",
        "check",
        "limit",
        "loop",
        "pid",
        "result",
        "settings",
        "started",
        "task",
        "timed_out",
    )

    def __init__(
        self, check: Check, settings: Settings, limit: float, loop: AbstractEventLoop | None
    ) -> None:
        self.check: Check = check
        self.settings: Settings = settings
        self.limit: float = limit
        self.loop: AbstractEventLoop | None = loop
        self.started: float = time.monotonic()
        self.pid: int = os.getpid()
        self.result: Result | None = None
        self.task: Task[None] | None = None
        self.timed_out: bool = False
        self._has_ended = False
        self._failures = 0  # how often it was reported as late
        self._waiters: list[Callable[[], object]] = []

    @property
    def is_pending(self) -> bool:
        """Whether it still runs. One that a fork or a closed event loop cut off doesn't."""
        if self.result is not None or self.pid != os.getpid():
            return False
        return self.loop is None or not self.loop.is_closed()

    def is_late(self, now: float) -> bool:
        return now >= self.started + self.limit

    def call_when_done(self, wake: Callable[[], object]) -> None:
        """Call ``wake``, in whatever thread, once there is a result."""
        with _lock:
            if self.result is None:
                self._waiters.append(wake)
                return
        wake()

    def end(self, value: object, exception: BaseException | None = None) -> None:
        """Take what the check returned or raised, and wake whoever waits for it."""
        self.conclude(value, exception)()

    def conclude(self, value: object, exception: BaseException | None = None) -> Callable[[], None]:
        """Take what the check returned or raised; gives what lets others have the result."""
        now = time.monotonic()
        if self.timed_out or now > self.started + self.limit:
            # The clock of an event loop may be a little ahead; what is said is the limit.
            result, exception = self.timed_out_result(self.limit), None
        else:
            message = self._message_of(value, exception)
            messages = cast("list[CheckMessage]", value) if message is None else [message]
            result = make_result(messages, self.settings, now - self.started)
        with _lock:
            self._has_ended = True
            was_reported = self._failures > 0
            if self.check.execution is self and not was_reported:
                self.check.take(result, self.settings)
        if not was_reported:
            self._report(result, exception, is_first=True)
        # Only then, so that whoever has the result finds it logged and observed.
        return partial(self._give, result)

    def _give(self, result: Result) -> None:
        with _lock:
            self.result = result
            waiters, self._waiters = self._waiters, []
        for wake in waiters:
            wake()

    def _message_of(self, value: object, exception: BaseException | None) -> CheckMessage | None:
        """Return the message for what is no list of messages."""
        name = self.check.name
        if exception is not None:
            text = f"Check {name} raised {type(exception).__name__}"
            return Error(text, id=health.ERROR_CHECK_RAISED)
        if isinstance(value, list):
            return None
        return Error(f"Check {name} returned {value}", id=health.ERROR_CHECK_BAD_RESULT)

    def timed_out_result(self, seconds: float) -> Result:
        limit = f"{float(f'{seconds if seconds > 0 else self.limit:.3g}'):g}"
        text = f"Check {self.check.name} did not finish within {limit} s"
        message = Error(text, id=health.ERROR_CHECK_TIMED_OUT)
        duration = max(0.0, min(time.monotonic() - self.started, seconds))
        return make_result([message], self.settings, duration)

    def note_late(self, now: float) -> None:
        """Count it as a failure, once for each of its time limits that has passed."""
        passed = max(1, int((now - self.started) / self.limit))
        result = self.timed_out_result(self.limit)
        with _lock:
            new = passed - self._failures
            if self._has_ended or new <= 0:
                return
            is_first = self._failures == 0
            self._failures = passed
            if self.check.execution is self:
                for _ in range(min(new, self.settings.failures)):
                    self.check.take(result, self.settings)
        self._report(result, None, is_first=is_first)

    def _report(self, result: Result, exception: BaseException | None, *, is_first: bool) -> None:
        name = self.check.name
        for message in result.messages:
            with suppress(Exception):  # logging can't break the heartbeat
                logger.log(
                    message.level, "%s: %s", message.id or name, message.msg, exc_info=exception
                )
        if is_first:
            self.check.observers.tell(
                Observation(
                    "check",
                    name,
                    level_to_text(result.level),
                    result.level,
                    result.duration,
                    result.messages,
                )
            )


class Check:
    """A registered function, its options, and its state in this process."""

    __slots__ = (
        "execution",
        "function",
        "is_async",
        "name",
        "observers",
        "options",
        "requires",
        "state",
        "tags",
    )

    def __init__(
        self, name: str, function: CheckFunction, options: Mapping[str, Any], observers: Observers
    ) -> None:
        self.name: str = name
        self.function: CheckFunction = function
        self.options: Mapping[str, Any] = options
        self.requires: tuple[str, ...] = tuple(dict.fromkeys(options.get("requires", ())))
        self.tags: frozenset[str] = frozenset(options.get("tags", ()))
        self.observers: Observers = observers
        self.is_async: bool = _is_async(function)
        self.execution: Execution | None = None
        self.state: State | None = None

    def take(self, result: Result, settings: Settings) -> None:
        self.state = State.after(self.state, result, settings.failures, settings.recoveries)

    def forget(self) -> None:
        """Have no result any more, since a requirement failed."""
        with _lock:
            self.state = None
            if self.execution is not None and not self.execution.is_pending:
                self.execution = None

    def view(self, settings: Settings, state: State | None = None) -> Result | None:
        """Return what is to be shown now: never a healthy result that is too old.

        :param state: another one than the check's own.
        """
        state = state or self.state
        if state is None:
            return None
        shown, newest, _ = state
        age = time.monotonic() - shown.finished
        if settings.max_age is None or shown.is_failure or age <= settings.max_age:
            return shown
        if newest.is_failure:
            return newest
        text = f"The last result of check {self.name} is older than {settings.max_age:g} s"
        result = make_result([Error(text, id=health.ERROR_CHECK_STALE)], settings, shown.duration)
        return result._replace(finished=shown.finished)

    def start(
        self,
        settings: Settings,
        limit: float,
        fresh_from: float,
        here: AbstractEventLoop | None,
        home: AbstractEventLoop | None = None,
    ) -> Execution:
        """Return the execution that is under way, or one that is fresh enough, or start one.

        :param limit: how many seconds it may take.
        :param fresh_from: the time since which a result is fresh enough.
        :param here: the event loop that runs here; ``None`` when none does.
        :param home: the event loop for async checks where none runs here.
        """
        if (execution := self._usable(fresh_from)) is not None:
            return execution
        failure = loop = None
        if self.is_async:
            try:
                loop = here or home or loop_thread.get()
            except RuntimeError as error:  # no more threads to be had
                failure = error
        with _lock:
            if (execution := self._usable(fresh_from)) is not None:
                return execution
            self.execution = execution = Execution(self, settings, limit, loop)
        context = contextvars.copy_context()
        if failure is not None:
            execution.end(None, failure)
        elif loop is None:
            thread_pool.submit(partial(context.run, partial(_call, self.function, execution)))
        elif loop is here:
            context.run(_start_task, self.function, execution)
        else:
            try:
                loop.call_soon_threadsafe(_start_task, self.function, execution, context=context)
            except RuntimeError as error:  # it was closed just now
                execution.end(None, error)
        return execution

    def _usable(self, fresh_from: float) -> Execution | None:
        execution = self.execution
        if execution is None:
            return None
        if execution.result is not None:
            return execution if execution.result.finished >= fresh_from else None
        return execution if execution.is_pending else None


def _is_async(function: CheckFunction) -> bool:
    import functools  # noqa: PLC0415
    import inspect  # noqa: PLC0415 - inspect is slow to import, and only needed to register

    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method itself is asked for
    )


def _call(function: CheckFunction, execution: Execution) -> Callable[[], None]:
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
        return execution.conclude(None, error)
    return execution.conclude(messages)


async def _resolve(value: Awaitable[object]) -> object:
    return await value


def _start_task(function: CheckFunction, execution: Execution) -> None:
    """Start an async check as a task of the running event loop, cancelled after its limit."""
    import asyncio

    loop = asyncio.get_running_loop()
    # The execution keeps the task alive: the event loop holds only a weak reference to it.
    execution.task = task = loop.create_task(_acall(function, execution))

    def time_out() -> None:
        execution.timed_out = True
        task.cancel()

    timer = loop.call_later(execution.limit, time_out)

    def clean_up(_: object) -> None:
        timer.cancel()
        execution.task = None
        if execution.result is None:  # cancelled before its first step
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
