"""Checks that hang: the heartbeat responds, in time, and names them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from checking import (
    PATIENCE,
    Runner,
    ids,
    wait_until,
    waiting,
)

from dockerflow import asgi, checks, wsgi
from dockerflow.checks import CheckResults, Registry
from dockerflow.config import Config

DEADLINE = 5.0


CONFIG = Config(check_timeout=0.2, heartbeat_timeout=DEADLINE * 0.8)


PATIENT = Config(check_timeout=DEADLINE * 0.8, heartbeat_timeout=DEADLINE * 0.8)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Give what hung checks wait for; set at the end, so that they leave no thread behind."""
    event = threading.Event()
    yield event
    event.set()


def run(registry: Registry, config: Config = CONFIG) -> CheckResults:
    started = time.monotonic()
    results = registry.run(config)
    assert time.monotonic() - started < DEADLINE
    json.dumps(results, allow_nan=False)
    return results


def arun(registry: Registry, config: Config = CONFIG) -> CheckResults:
    async def main() -> tuple[CheckResults, float]:
        started = time.monotonic()
        return await registry.arun(config), time.monotonic() - started

    results, seconds = asyncio.run(main())
    assert seconds < DEADLINE
    json.dumps(results, allow_nan=False)
    return results


both = pytest.mark.parametrize("runner", [run, arun])


def only_message(results: CheckResults, name: str) -> tuple[str, str]:
    assert results.statuses[name] == results.details[name]["status"] == "error"
    (message,) = results.details[name]["messages"].items()
    assert name in message[1]
    return message


def hung_async(released: threading.Event) -> Callable[[], Any]:
    async def hung() -> None:
        await asyncio.sleep(60)

    return hung


def stubborn_async(released: threading.Event) -> Callable[[], Any]:
    async def hung() -> None:
        end = time.monotonic() + 0.8
        while not released.is_set() and time.monotonic() < end:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    return hung


def hung_sync(released: threading.Event) -> Callable[[], Any]:
    def hung() -> None:
        released.wait(60)

    return hung


def hung_generator(released: threading.Event) -> Callable[[], Any]:
    def hung() -> Iterator[Any]:
        released.wait(60)
        yield checks.Info("late")

    return hung


@both
@pytest.mark.parametrize("kind", [hung_async, stubborn_async, hung_sync, hung_generator])
def test_hang(runner: Runner, kind: Any, released: threading.Event) -> None:
    registry = Registry()
    patient = {"timeout": PATIENT.check_timeout}
    registry.register(lambda: checks.Info("i", id="i"), name="before", **patient)
    registry.register(kind(released))

    @registry.register(**patient)
    async def after() -> None:
        await asyncio.sleep(0)

    for _ in range(2):
        results = runner(registry)
        assert results.statuses == {"before": "info", "hung": "error", "after": "ok"}
        id_, text = only_message(results, "hung")
        assert id_ == "dockerflow.checks.E002"
        assert text == "Check hung did not finish within 0.2 s"
        assert results.level == checks.ERROR


@both
def test_several_hangs_take_as_long_as_one(runner: Runner, released: threading.Event) -> None:
    registry = Registry()
    for number in range(20):
        registry.register(hung_sync(released), name=f"sync{number}")
        registry.register(hung_async(released), name=f"async{number}")
    started = time.monotonic()
    results = runner(registry, Config(check_timeout=0.2, heartbeat_timeout=60))
    assert time.monotonic() - started < 4  # one after the other, they take eight seconds
    assert set(results.statuses.values()) == {"error"}


@both
@pytest.mark.parametrize("kind", [hung_async, hung_sync])
def test_total_timeout_caps(runner: Runner, kind: Any, released: threading.Event) -> None:
    registry = Registry()
    registry.register(kind(released), timeout=60)
    for number in range(100):  # which put off the start of the last one
        registry.register(hung_async(released), name=f"hung{number}", timeout=60)
    results = runner(registry, Config(check_timeout=60, heartbeat_timeout=0.1))
    for name in ("hung", "hung99"):
        id_, text = only_message(results, name)
        assert id_ == "dockerflow.checks.E002"
        assert text == f"Check {name} did not finish within 0.1 s"


@both
def test_own_timeout(runner: Runner, released: threading.Event) -> None:
    registry = Registry()
    registry.register(hung_sync(released), timeout=0.05)
    results = runner(registry, Config(check_timeout=60))
    assert only_message(results, "hung")[1].endswith("within 0.05 s")


@both
@pytest.mark.parametrize("is_async", [False, True])
def test_recovers(runner: Runner, is_async: bool, released: threading.Event) -> None:
    registry = Registry()
    ended = threading.Event()
    if is_async:

        @registry.register
        async def flaky() -> None:
            if not released.is_set():
                await asyncio.sleep(60)
    else:

        @registry.register
        def flaky() -> None:
            released.wait(60)
            ended.set()

    assert runner(registry).statuses == {"flaky": "error"}
    released.set()
    if not is_async:
        assert ended.wait(DEADLINE)
    # A heartbeat may still join the old execution until its end has been noticed.
    end = time.monotonic() + DEADLINE
    while (statuses := runner(registry).statuses) != {"flaky": "ok"}:
        assert statuses == {"flaky": "error"}
        assert time.monotonic() < end
        time.sleep(0.01)


class EarlyLoop(asyncio.SelectorEventLoop):
    """Its clock is ahead, as uvloop's may be by what the present round of the loop took."""

    def call_later(self, delay: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        return super().call_later(delay * 0.9, *args, **kwargs)


def test_the_message_has_the_limit_even_if_the_clock_of_the_loop_is_ahead() -> None:
    registry = Registry()

    @registry.register
    async def hung() -> None:
        await asyncio.sleep(60)

    with asyncio.Runner(loop_factory=EarlyLoop) as runner:
        results = runner.run(registry.arun(CONFIG))
    [text] = results.details["hung"]["messages"].values()
    assert text == "Check hung did not finish within 0.2 s"


def test_closed_event_loop_does_not_poison() -> None:
    registry = Registry()
    is_hung = True

    @registry.register
    async def check() -> None:
        if is_hung:
            await asyncio.sleep(60)

    loop = asyncio.new_event_loop()
    # Nothing is ended in order here, as when a server is torn down.
    loop.set_exception_handler(lambda *_: None)
    config = Config(check_timeout=30, heartbeat_timeout=0.05)
    cut_off = asyncio.wait_for(registry.arun(config), 0.01)
    with pytest.raises(asyncio.TimeoutError):
        loop.run_until_complete(cut_off)
    loop.close()
    is_hung = False
    assert run(registry, PATIENT).statuses == {"check": "ok"}
    assert arun(registry, PATIENT).statuses == {"check": "ok"}
    # What was cut off is to end here, and not in the midst of another test.
    gc.collect()


def scope_of(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
    }


def test_10_000_asgi_heartbeats(released: threading.Event) -> None:
    registry = Registry()
    registry.register(hung_sync(released))
    app = asgi.DockerflowMiddleware(
        None,  # type: ignore[arg-type]
        config=Config(check_timeout=0.05),
        registry=registry,
    )

    async def probe() -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope_of("/__heartbeat__"), None, send)  # type: ignore[arg-type]
        assert sent[0]["status"] == 500
        assert json.loads(sent[1]["body"])["checks"] == {"hung": "error"}

    async def main() -> None:
        await probe()
        threads = threading.active_count()
        for number in range(100):
            await asyncio.gather(*(probe() for _ in range(100)))
            if number % 25 == 0:
                job = asyncio.get_running_loop().run_in_executor(None, threading.get_ident)
                assert await asyncio.wait_for(job, DEADLINE)
        assert threading.active_count() <= threads + 1  # the one of run_in_executor

    asyncio.run(main())


def test_10_000_wsgi_heartbeats(released: threading.Event) -> None:
    registry = Registry()
    registry.register(hung_sync(released))
    app = wsgi.DockerflowMiddleware(
        None,  # type: ignore[arg-type]
        config=Config(check_timeout=0.05),
        registry=registry,
    )
    statuses: set[str] = set()

    def probe(count: int) -> None:
        for _ in range(count):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/__heartbeat__"}
            body = app(environ, lambda status, *_: statuses.add(status) or bytes)  # type: ignore[arg-type]
            content = b"".join(body)
            body.close()  # type: ignore[attr-defined]
            assert json.loads(content)["checks"] == {"hung": "error"}

    probe(1)
    threads = threading.active_count()
    callers = [threading.Thread(target=probe, args=(1000,)) for _ in range(10)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert threading.active_count() <= threads
    assert statuses == {"500 Internal Server Error"}


@both
def test_a_check_that_hangs_on_collects_no_heartbeats(
    runner: Runner, released: threading.Event
) -> None:
    """Each that waited for it would stay in memory for as long as it hangs."""
    registry = Registry()
    registry.register(hung_sync(released), timeout=0.05)
    runner(registry)
    waited = waiting(registry, "hung")
    for _ in range(20):
        runner(registry)
    assert waiting(registry, "hung") == waited


def test_threads_are_bounded(released: threading.Event) -> None:
    """More hung checks than there may be threads: all are reported, and those that wait run later."""
    registry = Registry()
    before = threading.active_count()
    for number in range(300):
        registry.register(hung_sync(released), name=str(number))
    for _ in range(3):
        results = run(registry)
        assert set(results.statuses.values()) == {"error"}
        assert threading.active_count() <= before + 64
    released.set()
    wait_until(lambda: set(run(registry).statuses.values()) == {"ok"})
    wait_until(lambda: threading.active_count() <= before)


@both
def test_a_stuck_leader_delays_its_followers_by_one_deadline(runner: Runner) -> None:
    registry = Registry()
    released = threading.Event()
    registry.register(lambda: released.wait(PATIENCE) and None, name="stuck", timeout=0.5)
    durations: list[float] = []

    def ask() -> None:
        started = time.monotonic()
        assert runner(registry).statuses == {"stuck": "error"}
        durations.append(time.monotonic() - started)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    try:
        for thread in threads:
            thread.start()
            time.sleep(0.04)
        for thread in threads:
            thread.join()
    finally:
        released.set()
    assert len(durations) == 20
    assert max(durations) < 3  # ten, if each waited for the one before it
    assert min(durations) < 0.3, "who comes late waits for the rest only"


@both
def test_a_stuck_async_leader_with_a_longer_limit(runner: Runner) -> None:
    """A follower with less time answers in its own, and changes nothing for the leader."""
    registry = Registry()
    released = threading.Event()

    begun = threading.Event()

    @registry.register
    def check() -> None:
        begun.set()
        released.wait(PATIENCE)

    leader = threading.Thread(target=lambda: results.append(runner(registry)))
    results: list[CheckResults] = []
    leader.start()
    assert begun.wait(PATIENCE)
    follower = runner(registry, Config(heartbeat_timeout=0.1))
    assert ids(follower, "check") == ["dockerflow.checks.E002"]
    released.set()
    leader.join()
    assert results[0].statuses == {"check": "ok"}
    assert runner(registry).level == 0
