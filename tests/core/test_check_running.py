"""Where checks run, at the same time, and once for all heartbeats that ask."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import threading
import time
import types

import pytest
from checking import (
    CONFIG,
    PATIENCE,
    AsyncProbe,
    Probe,
    Runner,
    arun,
    both,
    run,
    wait_until,
    waiting,
)

from dockerflow import checks
from dockerflow.checks import CheckMessage, CheckResults, Registry
from dockerflow.config import Config


@pytest.fixture
def registry() -> Registry:
    return Registry()


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def plain(text: str = "plain") -> CheckMessage:
    return checks.Info(text)


async def aplain(text: str = "aplain") -> CheckMessage:
    return checks.Info(text)


class Held:
    """A check that fails when it is released, and counts its runs."""

    def __init__(self, *, is_async: bool) -> None:
        self.check = self._async if is_async else self._sync
        self.released = threading.Event()
        self.runs = 0

    def _sync(self) -> CheckMessage:
        self.runs += 1
        self.released.wait(PATIENCE)
        return checks.Error("e")

    async def _async(self) -> CheckMessage:
        self.runs += 1
        while not self.released.is_set():
            await asyncio.sleep(0.001)
        return checks.Error("e")


@both
def test_durations(runner: Runner, registry: Registry) -> None:
    registry.register(lambda: time.sleep(0.2), name="slow")
    registry.register(lambda: None, name="fast")
    registry.register(functools.partial(asyncio.sleep, 0.2), name="aslow")
    started = time.monotonic()
    durations = runner(registry).durations
    seconds = time.monotonic() - started
    assert 0.19 < durations["slow"] < seconds
    assert 0.19 < durations["aslow"] < seconds
    assert 0 <= durations["fast"] < 0.19


@both
def test_concurrent(runner: Runner, registry: Registry) -> None:
    """No check ends before all have begun, sync and async ones."""
    count = 8
    lock = threading.Lock()
    begun = 0
    all_begun = threading.Event()
    barrier = threading.Barrier(count)

    def begin() -> None:
        nonlocal begun
        with lock:
            begun += 1
            if begun == 2 * count:
                all_begun.set()

    def sync() -> None:
        begin()
        barrier.wait(4)
        assert all_begun.wait(4)

    async def async_() -> None:
        begin()
        while not all_begun.is_set():
            await asyncio.sleep(0.001)

    for number in range(count):
        registry.register(sync, name=f"sync{number}")
        registry.register(async_, name=f"async{number}")
    assert set(runner(registry).statuses.values()) == {"ok"}


@both
def test_the_clock_stands_still(
    runner: Runner, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an app's tests that freeze the time: the next heartbeat runs the checks again."""
    found: list[CheckMessage] = []
    registry.register(lambda: list(found), name="plain")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    levels = []
    for _ in range(3):
        levels.append(runner(registry).level)
        found[:] = [] if found else [checks.Error("e")]
    assert levels == [0, checks.ERROR, 0]


@both
def test_context_variables(runner: Runner, registry: Registry) -> None:
    seen = {}

    @registry.register
    def sync() -> None:
        seen["sync"] = variable.get()
        variable.set("changed")

    @registry.register
    async def async_() -> None:
        await asyncio.sleep(0)
        seen["async"] = variable.get()
        variable.set("changed")

    for value in ("one", "two"):
        token = variable.set(value)
        try:
            runner(registry)
            assert variable.get() == value
        finally:
            variable.reset(token)
        assert seen == {"sync": value, "async": value}


def test_where_checks_run(registry: Registry) -> None:
    threads: dict[str, threading.Thread] = {}

    @registry.register
    def sync() -> None:
        threads["sync"] = threading.current_thread()

    @registry.register
    async def async_() -> None:
        threads["async"] = threading.current_thread()

    arun(registry)
    assert threads["async"] is threading.current_thread()
    assert threads["sync"] is not threading.current_thread()
    run(registry)
    assert threads["sync"] is not threading.current_thread()
    assert threads["async"] is not threading.current_thread()
    assert threads["async"].daemon
    assert threads["sync"].daemon


def test_run_where_a_loop_runs(registry: Registry) -> None:
    registry.register(aplain)
    registry.register(plain)
    expected = {"aplain": "info", "plain": "info"}

    async def main() -> None:
        # Blocks this loop for as long as the checks take, but must not wait for it.
        assert registry.run(CONFIG).statuses == expected
        assert (await asyncio.to_thread(registry.run, CONFIG)).statuses == expected
        assert (await registry.arun(CONFIG)).statuses == expected

    asyncio.run(main())


def test_sync_check_does_not_block_the_loop(registry: Registry) -> None:
    event = threading.Event()

    @registry.register
    def check() -> None:
        assert event.wait(4), "the event loop is blocked"

    async def main() -> CheckResults:
        asyncio.get_running_loop().call_later(0.01, event.set)
        return await registry.arun(CONFIG)

    assert asyncio.run(main()).statuses == {"check": "ok"}


def test_cancelled_probe_leaves_the_check_alone(registry: Registry) -> None:
    held = Held(is_async=True)
    registry.register(held.check, name="check")

    async def main() -> None:
        probes = [asyncio.create_task(registry.arun(CONFIG)) for _ in range(2)]
        await asyncio.sleep(0.01)
        probes[0].cancel()
        await asyncio.sleep(0)
        held.released.set()
        assert (await probes[1]).statuses == {"check": "error"}
        with pytest.raises(asyncio.CancelledError):
            await probes[0]

    asyncio.run(main())
    assert held.runs == 1


# Single flight


@pytest.mark.parametrize("is_async", [False, True])
def test_single_flight_of_tasks(
    registry: Registry, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(is_async=is_async)
    registry.register(held.check, name="check")

    async def main() -> list[CheckResults]:
        asyncio.get_running_loop().call_later(0.05, held.released.set)
        return await asyncio.gather(*(registry.arun(CONFIG) for _ in range(100)))

    everything = asyncio.run(main())
    assert held.runs == 1
    assert all(results == everything[0] for results in everything)
    assert everything[0].level == 40
    assert len(caplog.records) == 1, "one run, one record"
    run(registry)
    assert held.runs == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_single_flight_of_threads(registry: Registry, is_async: bool) -> None:
    count = 100
    held = Held(is_async=is_async)
    registry.register(held.check, name="check")
    everything: list[CheckResults] = []

    def probe() -> None:
        everything.append(registry.run(CONFIG))

    threads = [threading.Thread(target=probe) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_until(lambda: waiting(registry, "check") == count)
    held.released.set()
    for thread in threads:
        thread.join()
    assert held.runs == 1
    assert len(everything) == count
    assert all(results == everything[0] for results in everything)


def test_probes_of_threads_and_loops_share_a_run(registry: Registry) -> None:
    held = Held(is_async=True)
    registry.register(held.check, name="check")

    async def main() -> None:
        first = asyncio.create_task(registry.arun(CONFIG))
        second = asyncio.create_task(asyncio.to_thread(registry.run, CONFIG))
        third = asyncio.create_task(asyncio.to_thread(arun, registry))
        async with asyncio.timeout(4):
            while waiting(registry, "check") < 3:
                await asyncio.sleep(0.001)
        held.released.set()
        for task in (first, second, third):
            assert (await task).statuses == {"check": "error"}

    asyncio.run(main())
    assert held.runs == 1


def test_a_run_that_is_shared_by_two_time_limits_timed_out_for_both(registry: Registry) -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    registry.register(hang, name="check")

    async def main() -> None:
        limits = (Config(check_timeout=0.05), Config(check_timeout=5))
        for results in await asyncio.gather(*map(registry.arun, limits)):
            assert list(results.details["check"]["messages"]) == ["dockerflow.checks.E002"]
            assert results.durations["check"] < 1

    asyncio.run(main())


@pytest.mark.parametrize("kind", [Probe, AsyncProbe])
def test_100_probes_run_each_check_of_a_chain_once(kind: type[Probe]) -> None:
    registry = Registry()
    released = threading.Event()
    registry.register(lambda: released.wait(PATIENCE) and None, name="first")
    chain = [kind() for _ in range(5)]
    for number, probe in enumerate(chain):
        requires = str(number - 1) if number else "first"
        registry.register(probe, name=str(number), requires=requires)

    async def tasks() -> None:
        asyncio.get_running_loop().call_later(0.05, released.set)
        await asyncio.gather(*(registry.arun(CONFIG) for _ in range(100)))

    asyncio.run(tasks())
    assert [probe.runs for probe in chain] == [1] * 5

    released.clear()

    def ask() -> None:
        assert registry.run(CONFIG).level == 0

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    wait_until(lambda: waiting(registry, "first") == 100)
    released.set()
    for thread in threads:
        thread.join()
    assert [probe.runs for probe in chain] == [2] * 5


def test_a_check_that_is_registered_while_a_heartbeat_runs(registry: Registry) -> None:
    """The next heartbeat runs it, however the two fall together."""
    begun, released = threading.Event(), threading.Event()

    @registry.register
    def first() -> None:
        begun.set()
        released.wait(PATIENCE)

    heartbeat = threading.Thread(target=registry.run, args=(CONFIG,))
    heartbeat.start()
    assert begun.wait(PATIENCE)
    registry.register(plain)
    released.set()
    heartbeat.join()
    assert run(registry).statuses == {"first": "ok", "plain": "info"}


def test_trio_may_be_half_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may be importing it during a heartbeat."""
    monkeypatch.setitem(sys.modules, "trio", types.ModuleType("trio"))
    registry = Registry()
    registry.register(aplain)
    assert arun(registry).statuses == {"aplain": "info"}


# Sizes


@both
def test_many_checks(runner: Runner) -> None:
    """Twice as many take about twice as long: far less than four times, on a busy machine too."""

    def seconds(count: int) -> float:
        registry = Registry()

        async def check() -> None: ...

        for number in range(count):
            requires = (str(number - 1),) if number % 10 else ()
            registry.register(check, name=str(number), requires=requires)
        best = PATIENCE
        for _ in range(4):
            started = time.perf_counter()
            assert runner(registry).level == 0
            best = min(best, time.perf_counter() - started)
        return best

    assert any(seconds(1000) < 4 * 4 * seconds(250) for _ in range(3))


@both
def test_times_without_end(runner: Runner) -> None:
    """More seconds than the platform's waits take."""
    registry = Registry()
    registry.register(lambda: time.sleep(0.01), name="a", timeout=1e300)
    registry.register(lambda: time.sleep(0.01), name="b", interval=1e300)
    registry.register(lambda: time.sleep(0.01), name="c", ttl=1e300)
    for _ in range(2):
        assert runner(registry, Config(heartbeat_timeout=1e300)).level == 0
    [_] = (thread for thread in threading.enumerate() if thread.name == "dockerflow-clock")
    registry.close()
