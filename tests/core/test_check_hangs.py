"""Checks that hang, crash hard or answer nonsense: the heartbeat answers, in time, and names them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dockerflow import asgi, checks, wsgi
from dockerflow.checks import CheckResults, Registry

from dockerflow.config import Config

DEADLINE = 5.0
"""Seconds that nothing here may take: far over every timeout, far below what hangs."""

CONFIG = Config(check_timeout=0.2, heartbeat_timeout=DEADLINE * 0.8)
PATIENT = Config(check_timeout=DEADLINE * 0.8, heartbeat_timeout=DEADLINE * 0.8)
"""For checks that end: they get far more than the few milliseconds that they take."""


class OwnError(BaseException):
    pass


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
Runner = Callable[..., CheckResults]


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
        end = time.monotonic() + 1.5
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
    results = runner(registry, Config(check_timeout=60, heartbeat_timeout=0.1))
    assert only_message(results, "hung") == (
        "dockerflow.checks.E002",
        "Check hung did not finish within 0.1 s",
    )


@both
def test_own_timeout(runner: Runner, released: threading.Event) -> None:
    registry = Registry()
    registry.register(hung_sync(released), timeout=0.05)
    results = runner(registry, Config(check_timeout=60))
    assert only_message(results, "hung")[1].endswith("within 0.05 s")


@pytest.mark.parametrize(
    ("runner", "is_async", "error"),
    [
        (runner, is_async, error)
        for runner in (run, arun)
        for is_async in (False, True)
        for error in (OwnError, GeneratorExit, asyncio.CancelledError, SystemExit, StopIteration)
        # An exit in the main thread's event loop is meant for the process.
        if not (runner is arun and is_async and error is SystemExit)
    ],
)
def test_base_exceptions(runner: Runner, is_async: bool, error: type[BaseException]) -> None:
    registry = Registry()
    if is_async:

        @registry.register
        async def broken() -> None:
            raise error
    else:

        @registry.register
        def broken() -> None:
            raise error

    registry.register(lambda: None, name="sync sibling")

    @registry.register
    async def sibling() -> None:
        await asyncio.sleep(0)

    for _ in range(3):
        results = runner(registry, PATIENT)
        assert results.statuses == {"broken": "error", "sync sibling": "ok", "sibling": "ok"}
        id_, text = only_message(results, "broken")
        assert id_ == "dockerflow.checks.E001"
        # A coroutine can't raise StopIteration: Python makes it a RuntimeError.
        name = "RuntimeError" if is_async and error is StopIteration else error.__name__
        assert text == f"Check broken raised {name}"


@both
@pytest.mark.parametrize("value", ["text", 5, {"a": 1}, [object()], b"x", object, float("nan")])
def test_nonsense(runner: Runner, value: Any) -> None:
    registry = Registry()
    registry.register(lambda: value, name="odd")
    registry.register(lambda: None, name="sibling")
    results = runner(registry, PATIENT)
    assert results.statuses == {"odd": "error", "sibling": "ok"}
    assert only_message(results, "odd")[0] == "dockerflow.checks.E003"


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


def test_what_is_said_is_the_limit_whatever_the_clock_of_the_loop() -> None:
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


def test_threads_are_bounded(released: threading.Event) -> None:
    """More hung checks than the pool has threads: each is reported, none gets more threads."""
    registry = Registry()
    before = threading.active_count()
    for number in range(300):
        registry.register(hung_sync(released), name=str(number))
    results = run(registry)
    assert set(results.statuses.values()) == {"error"}
    assert threading.active_count() <= before + 64


PREAMBLE = """
import asyncio, os, signal, sys, threading, time
from dockerflow import checks

from dockerflow.config import Config

@checks.register
def hung():
    print("hung", flush=True)
    threading.Event().wait(60)

@checks.register
async def hung_too():
    await asyncio.sleep(60)

CONFIG = Config(check_timeout=0.1)
"""
RUN = "assert set(checks.default_registry.run(CONFIG).statuses.values()) == {'error'}\n"
ARUN = (
    "async def main():\n"
    "    results = await checks.default_registry.arun(CONFIG)\n"
    "    assert set(results.statuses.values()) == {'error'}\n"
    "asyncio.run(main())\n"
)


@pytest.mark.parametrize("code", [RUN, ARUN, RUN + ARUN])
@pytest.mark.parametrize("ending", ["sys.exit(3)", "SIGTERM"])
def test_process_exits(code: str, ending: str) -> None:
    """Within a second; the best of three, as the machine may be busy with something else."""
    tail = ending if ending != "SIGTERM" else "while True: time.sleep(60)"
    source = f"{PREAMBLE}\n{code}\nprint('ready', flush=True)\n{tail}\n"
    assert any(seconds_to_exit(source, ending) < 1 for _ in range(3))


def seconds_to_exit(source: str, ending: str) -> float:
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as p:
        try:
            assert p.stdout is not None
            assert {p.stdout.readline() for _ in range(2)} == {"hung\n", "ready\n"}
            started = time.monotonic()
            if ending == "SIGTERM":
                p.send_signal(signal.SIGTERM)
            assert p.wait(10) == (-signal.SIGTERM if ending == "SIGTERM" else 3)
            return time.monotonic() - started
        finally:
            p.kill()


def test_fork() -> None:
    """As in a server that loads the app, and perhaps runs its checks, before it forks."""
    source = PREAMBLE + textwrap.dedent("""
        is_child = False
        PATIENT = Config(check_timeout=1)

        @checks.register
        def fine():
            if not is_child:
                threading.Event().wait(60)

        @checks.register
        async def fine_too():
            if not is_child:
                await asyncio.sleep(60)

        def run(expected):
            for results in (
                checks.default_registry.run(PATIENT),
                asyncio.run(checks.default_registry.arun(PATIENT)),
            ):
                assert results.statuses == expected, results

        results = checks.default_registry.run(CONFIG)
        assert set(results.statuses.values()) == {"error"}, results
        child = os.fork()
        if child == 0:
            is_child = True
            try:
                run({"hung": "error", "hung_too": "error", "fine": "ok", "fine_too": "ok"})
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    """)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", source],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_async_checks_run_again_when_there_are_threads_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dockerflow.checks._check.loop_thread", loops := LoopThread())
    registry = Registry()

    @registry.register
    async def check() -> None:
        pass

    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert only_message(run(registry), "check")[0] == "dockerflow.checks.E001"
    assert run(registry).statuses == {"check": "ok"}
    loop = loops.get()
    loop.call_soon_threadsafe(loop.stop)
    while loop.is_running():
        time.sleep(0.01)
    loop.close()


def test_thread_pool() -> None:
    """Jobs beyond the threads wait for one; threads without a job end, and come back."""
    pool = ThreadPool(max_threads=3, idle_seconds=0.05)
    lock = threading.Lock()
    workers: list[threading.Thread] = []
    active = peak = 0

    def work(gate: threading.Event) -> None:
        nonlocal active, peak
        with lock:
            workers.append(threading.current_thread())
            active += 1
            peak = max(peak, active)
        gate.wait(DEADLINE)
        with lock:
            active -= 1

    def wait_until(condition: Callable[[int], bool], count: int) -> None:
        end = time.monotonic() + DEADLINE
        while not condition(count):
            assert time.monotonic() < end
            time.sleep(0.01)

    def have_ended(count: int) -> bool:
        return len(workers) == count and not any(worker.is_alive() for worker in workers)

    for done in (10, 20):
        gate = threading.Event()
        for _ in range(10):
            pool.submit(functools.partial(work, gate))
        wait_until(lambda count: active == count, 3)
        assert len(workers) == done - 7, "the others wait"
        gate.set()
        wait_until(have_ended, done)
    assert peak == 3


class LingeringLoop(asyncio.SelectorEventLoop):
    """Holds up whoever wakes it, as a busy machine may in between."""

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(*args, **kwargs)
        time.sleep(0.02)
        return handle


def test_heartbeats_one_after_another_share_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one comes before the thread that told of the last one's result is done with that."""
    monkeypatch.setattr("dockerflow.checks._check.thread_pool", ThreadPool(idle_seconds=DEADLINE))
    registry = Registry()
    threads: set[threading.Thread] = set()
    registry.register(lambda: threads.add(threading.current_thread()), name="check")
    with asyncio.Runner(loop_factory=LingeringLoop) as runner:
        for _ in range(5):
            assert runner.run(registry.arun(PATIENT)).statuses == {"check": "ok"}
    assert len(threads) == 1
