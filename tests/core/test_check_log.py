"""What is logged of checks, and when; and that logging never holds up a heartbeat."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest
from checking import (
    PATIENCE,
    AsyncProbe,
    Probe,
    Runner,
    both,
    ids,
    probes,
    run,
    wait_until,
)

from dockerflow import asgi, checks, wsgi
from dockerflow.checks import CheckResults, Registry, _log
from dockerflow.checks.contrib import _common
from dockerflow.config import Config
from dockerflow.testing import Client

RAISED, TIMED_OUT = "dockerflow.checks.E001", "dockerflow.checks.E002"

logger = logging.getLogger("dockerflow.checks.registry")


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Give a clock that goes on by hand, by which lines are repeated."""
    clock = SimpleNamespace(ahead=0.0)
    fake = SimpleNamespace(monotonic=lambda: time.monotonic() + clock.ahead)
    monkeypatch.setattr("dockerflow.checks._log.time", fake)
    return clock


class Lines(logging.Handler):
    """Takes what is logged of checks."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str, bool]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage(), bool(record.exc_info)))

    def pop(self) -> list[tuple[str, str, bool]]:
        """Return the lines since the last time: level, text, whether it has a traceback."""
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture
def log() -> Iterator[Lines]:
    handler = Lines()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


# When


def reported(text: str = "Oh.") -> checks.CheckMessage:
    """Give a message as the ready-made checks do."""
    return _common.fail(text, "x.E1", OSError("no route"))


@both
@probes
def test_a_line_when_it_changes_and_one_a_minute_while_it_lasts(
    runner: Runner, kind: type[Probe], registry: Registry, log: Lines, clock: SimpleNamespace
) -> None:
    probe = kind()
    registry.register(probe, name="check")
    runner(registry)
    assert log.pop() == [], "healthy from the start"
    for _ in range(2):
        probe.returns = reported()
        for _ in range(3):
            runner(registry)
        assert log.pop() == [("ERROR", "x.E1: Oh. (OSError: no route)", True)]
        clock.ahead += 59
        runner(registry)
        assert log.pop() == []
        for _ in range(2):
            clock.ahead += 61
            runner(registry)
            runner(registry)
            assert log.pop() == [("ERROR", "x.E1: Oh. (OSError: no route)", False)]
        probe.returns = None
        for _ in range(3):
            runner(registry)
            clock.ahead += 61
        assert log.pop() == [("INFO", "Check check is ok again", False)]


def test_another_text_is_no_change_and_another_id_or_level_is(
    registry: Registry, log: Lines
) -> None:
    """Many texts have numbers in them that change each time."""
    probe = Probe()
    registry.register(probe, name="check")
    for message, is_logged in [
        (checks.Warning("9.1 % is free", id="x.1"), True),
        (checks.Warning("9.2 % is free", id="x.1"), False),
        (checks.Error("4.1 % is free", id="x.1"), True),
        (checks.Error("4.1 % is free", id="x.2"), True),
        (checks.Error("4.2 % is free", id="x.2"), False),
        ([checks.Error("a", id="x.2"), checks.Info("b", id="x.3")], True),
        ([checks.Info("b", id="x.3"), checks.Error("a", id="x.2")], False),
        (checks.Info("b", id="x.3"), True),
    ]:
        probe.returns = message
        run(registry)
        assert bool(log.pop()) is is_logged, message


@both
def test_an_exception_has_its_traceback_once(
    runner: Runner, registry: Registry, log: Lines, clock: SimpleNamespace
) -> None:
    registry.register(lambda: 1 / 0, name="check")
    line = f"{RAISED}: Check check raised ZeroDivisionError"
    runner(registry)
    runner(registry)
    assert log.pop() == [("ERROR", line, True)]
    clock.ahead = 61
    runner(registry)
    assert log.pop() == [("ERROR", line, False)]


@both
@probes
@pytest.mark.parametrize("level", [checks.WARNING, checks.ERROR, checks.CRITICAL])
def test_a_check_that_is_not_critical_is_a_warning_at_most(
    runner: Runner, kind: type[Probe], registry: Registry, log: Lines, level: int
) -> None:
    registry.register(kind(checks.CheckMessage("Oh.", level, id="x.1")), critical=False)
    registry.register(lambda: 1 / 0, name="raises", critical=False)
    registry.register(lambda: checks.Info("i", id="x.2"), name="info", critical=False)
    assert runner(registry).level == checks.WARNING
    assert {level for level, _, _ in log.lines} == {"WARNING", "INFO"}
    assert len(log.lines) == 3


def test_a_hung_check_is_logged_once(registry: Registry, log: Lines) -> None:
    released = threading.Event()
    config = Config(check_timeout=0.05)
    registry.register(lambda: released.wait(PATIENCE) and None, name="hung")
    try:
        for _ in range(4):
            assert ids(registry.run(config), "hung") == [TIMED_OUT]
        assert log.pop() == [
            ("ERROR", f"{TIMED_OUT}: Check hung did not finish within 0.05 s", False)
        ]
    finally:
        released.set()


def test_a_replaced_check_is_logged_as_a_new_one(registry: Registry, log: Lines) -> None:
    for _ in range(2):
        registry.register(reported)
        run(registry)
        assert len(log.pop()) == 1


def test_silenced_messages_are_not_logged(registry: Registry, log: Lines) -> None:
    probe = Probe(checks.Error("e", id="x.E1"))
    registry.register(probe, silenced="x.E1")
    run(registry)
    probe.returns = None
    run(registry)
    assert log.pop() == []


# Where


@both
def test_handlers_see_the_callers_context(runner: Runner, registry: Registry) -> None:
    """Such as the request id."""
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(variable.get("missing"))

    handler = Handler()
    logger.addHandler(handler)
    token = variable.set("of the request")
    try:
        registry.register(reported)
        runner(registry)
    finally:
        variable.reset(token)
        logger.removeHandler(handler)
    assert seen == ["of the request"]


@pytest.fixture
def stuck(log: Lines) -> Iterator[threading.Event]:
    """Give the event for which a check waits that holds the handler's lock."""
    released = threading.Event()
    yield released
    released.set()
    _log.log_thread.get()._worker.join(PATIENCE)  # what is still to be written


def hold(handler: logging.Handler, released: threading.Event) -> Any:
    def check() -> None:
        handler.acquire()
        try:
            released.wait(2 * PATIENCE)
        finally:
            handler.release()

    return check


def start_holding(handler: logging.Handler, released: threading.Event) -> threading.Thread:
    holder = threading.Thread(target=hold(handler, released))
    holder.start()

    def is_held() -> bool:
        assert handler.lock is not None
        if is_free := handler.lock.acquire(blocking=False):
            handler.lock.release()
        return not is_free

    wait_until(is_held)
    return holder


@both
def test_a_check_that_hangs_with_a_handlers_lock_holds_up_nothing(
    runner: Runner, registry: Registry, log: Lines, stuck: threading.Event
) -> None:
    """Neither the heartbeat nor the results of others, who have something to log."""
    config = Config(check_timeout=0.2, heartbeat_timeout=5)
    registry.register(hold(log, stuck), name="hung")
    assert runner(registry, config).statuses == {"hung": "error"}
    registry.register(Probe(reported()), name="sync")
    registry.register(AsyncProbe(reported()), name="async")
    registry.register(Probe(), name="healthy")
    registry.register(Probe(), name="skipped", requires="hung")
    seconds: list[float] = []

    def timed() -> CheckResults:
        started = time.monotonic()
        results = runner(registry, config)
        seconds.append(time.monotonic() - started)
        return results

    for _ in range(4):
        results = timed()
        assert results.statuses == {
            "hung": "error", "sync": "error", "async": "error", "healthy": "ok", "skipped": "info",
        }  # fmt: skip
        assert ids(results, "sync") == ids(results, "async") == ["x.E1"]
    assert max(seconds) < PATIENCE / 2
    assert log.lines == []
    stuck.set()
    wait_until(lambda: len(log.lines) == 4)


@pytest.mark.parametrize("driver", [asgi, wsgi], ids=["asgi", "wsgi"])
def test_the_endpoint_responds_while_a_check_has_a_handlers_lock(
    driver: Any, registry: Registry, log: Lines, stuck: threading.Event
) -> None:
    registry.register(hold(log, stuck), name="hung")
    registry.register(reported, name="fails")
    config = Config(check_timeout=0.2, summary_log_probes=False)
    app = driver.DockerflowMiddleware(None, config=config, registry=registry)
    with Client(app) as client:
        for _ in range(3):
            started = time.monotonic()
            response = client.get("/__heartbeat__")
            assert (response.status, time.monotonic() - started < PATIENCE / 2) == (500, True)
            assert set(response.json()["checks"].values()) == {"error"}
            assert client.get("/__lbheartbeat__").status == 200


def test_a_handler_that_hangs_holds_up_no_event_loop(
    registry: Registry, log: Lines, stuck: threading.Event
) -> None:
    registry.register(AsyncProbe(reported()), name="check")

    async def longest_pause() -> float:
        heartbeat = asyncio.ensure_future(registry.arun())
        longest, last = 0.0, time.monotonic()
        while not heartbeat.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert heartbeat.result().statuses == {"check": "error"}
        return longest

    holder = start_holding(log, stuck)
    assert asyncio.run(longest_pause()) < PATIENCE / 2
    stuck.set()
    holder.join()
    wait_until(lambda: log.lines)


def test_lines_that_wait_for_a_stuck_handler_are_bounded(
    log: Lines, stuck: threading.Event
) -> None:
    before = threading.active_count()
    holder = start_holding(log, stuck)
    for _ in range(1500):
        assert checks.run_checks([("check", reported)]).level == checks.ERROR
    assert threading.active_count() < before + 10
    stuck.set()
    holder.join()
    registry = Registry()
    registry.register(lambda: checks.Info("the last one"), name="last")

    def is_last_written() -> bool:
        registry.register(lambda: checks.Info("the last one"), name="last")
        run(registry)
        return ("INFO", "last: the last one", False) in log.lines

    wait_until(is_last_written)
    assert 1000 <= len(log.lines) < 1100


def test_a_handler_may_raise_anything(registry: Registry, log: Lines) -> None:
    class Exiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit

    exiting = Exiting()
    registry.register(lambda: 1 / 0, name="check")
    logger.addHandler(exiting)
    try:
        for _ in range(2):
            assert run(registry).level == checks.ERROR
    finally:
        logger.removeHandler(exiting)
    log.pop()
    registry.register(reported)
    run(registry)
    assert len(log.pop()) == 1
