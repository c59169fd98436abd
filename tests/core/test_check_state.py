"""Results that are reused, run in the background, get too old, or flap."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from checking import (
    CONFIG,
    PATIENCE,
    AsyncProbe,
    Probe,
    Runner,
    arun,
    both,
    ids,
    probes,
    run,
    wait_until,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerflow import checks
from dockerflow.checks import CheckMessage, CheckResults, Registry
from dockerflow.config import Config

TIMED_OUT, STALE = "dockerflow.checks.E002", "dockerflow.checks.E004"


def ok() -> None: ...


def broken() -> CheckMessage:
    return checks.Error("e", id="x.E1")


def wait_until_still(probe: Probe) -> None:
    """Wait until it is run no more; what was begun may still come."""

    def is_still() -> bool:
        runs = probe.runs
        time.sleep(0.2)
        return probe.runs == runs

    wait_until(is_still)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Give a clock that goes on by hand; waits and the background's schedule keep the real one."""
    clock = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now)
    for module in ("_check", "runner"):
        monkeypatch.setattr(f"dockerflow.checks.{module}.time", fake)
    return clock


# Time to live


@both
@probes
def test_ttl(runner: Runner, kind: type[Probe]) -> None:
    registry = Registry()
    cached, failing, fresh = kind(), kind(checks.Error("e")), kind()
    registry.register(cached, name="cached", ttl=60)
    registry.register(failing, name="failing", ttl=60)
    registry.register(fresh, name="fresh")
    first = runner(registry)
    second = runner(registry)
    assert first.statuses == second.statuses
    assert (cached.runs, failing.runs, fresh.runs) == (1, 1, 2)
    assert first.ages == {}
    assert list(second.ages) == ["cached", "failing"]
    assert 0 <= second.ages["cached"] < PATIENCE


@settings(max_examples=60, deadline=None)
@given(
    ttl=st.integers(1, 20),
    max_age=st.none() | st.integers(1, 20),
    steps=st.lists(st.integers(0, 30), max_size=10),
)
def test_ttl_by_a_controlled_clock(ttl: int, max_age: int | None, steps: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(now=1000.0)
        fake = SimpleNamespace(monotonic=lambda: clock.now)
        for module in ("_check", "runner"):
            patch.setattr(f"dockerflow.checks.{module}.time", fake)
        registry, probe = Registry(), Probe()
        if max_age is not None and ttl > max_age:
            with pytest.raises(ValueError, match="ttl must be"):
                registry.register(probe, name="probe", ttl=ttl, max_age=max_age)
            return
        registry.register(probe, name="probe", ttl=ttl, max_age=max_age)
        run(registry)
        expected, last = 1, clock.now
        for step in steps:
            clock.now += step
            if clock.now - last >= ttl:
                expected, last = expected + 1, clock.now
            results = run(registry)
            assert probe.runs == expected
            assert results.ages.get("probe", 0) == clock.now - last <= ttl


def test_a_result_is_not_reused_beyond_its_max_age(clock: SimpleNamespace) -> None:
    registry, probe = Registry(), Probe()
    registry.register(probe, name="probe", max_age=10)
    config = Config(check_ttl=10)
    run(registry, config)
    clock.now += 11
    run(registry, config)
    assert probe.runs == 2


# Flapping


def test_flapping() -> None:
    registry = Registry()
    probe = Probe()
    registry.register(probe, name="probe", failures=3, recoveries=2)
    shown = []
    for is_ok in (1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 0):
        probe.returns = None if is_ok else checks.Error("e")
        shown.append(run(registry).statuses["probe"])
    assert shown == ["ok"] * 6 + ["error"] * 5 + ["ok"] * 2


def test_the_first_result_counts_at_once() -> None:
    registry = Registry()
    registry.register(broken, failures=5)
    assert run(registry).level == checks.ERROR


@settings(deadline=None)
@given(
    levels=st.lists(st.sampled_from([0, 30, 40, 50]), max_size=20),
    failures=st.integers(1, 4),
    recoveries=st.integers(1, 4),
)
def test_flapping_by_a_model(levels: list[int], failures: int, recoveries: int) -> None:
    """The model looks back at the last results, and knows no counter."""
    registry, probe = Registry(), AsyncProbe()
    registry.register(probe, name="probe", failures=failures, recoveries=recoveries)

    async def show(level: int) -> int:
        probe.returns = checks.CheckMessage("m", level)
        results = await registry.arun(CONFIG)
        return results.details["probe"].level if results.details else 0

    async def main() -> None:
        is_failed: bool | None = None
        for index, level in enumerate(levels):
            shown = await show(level)
            if is_failed is None:
                is_failed = level >= 40
            needed = recoveries if is_failed else failures
            last = [one >= 40 for one in levels[max(0, index + 1 - needed) : index + 1]]
            if len(last) == needed and all(one != is_failed for one in last):
                is_failed = not is_failed
            assert (shown >= 40) == is_failed
            if (level >= 40) == is_failed:
                assert shown == level, "the newest of its kind"

    asyncio.run(main())


@both
def test_a_check_that_hangs_on_is_borne_for_some_time_limits_only(runner: Runner) -> None:
    registry = Registry()
    released = threading.Event()
    is_hung = False

    @registry.register(failures=3, timeout=0.15)
    def check() -> None:
        if is_hung:
            released.wait(PATIENCE)

    try:
        wait_until(lambda: runner(registry).level == 0)
        is_hung = True
        assert runner(registry).level == 0
        wait_until(lambda: runner(registry).level == checks.ERROR)
        assert ids(runner(registry), "check") == [TIMED_OUT]
    finally:
        released.set()


# In the background


@both
@probes
def test_background(runner: Runner, kind: type[Probe]) -> None:
    registry = Registry()
    probe = kind()
    registry.register(probe, name="probe", interval=0.05, max_age=60)

    async def main() -> None:
        async def ask() -> CheckResults:
            return registry.run(CONFIG) if runner is run else await registry.arun(CONFIG)

        assert probe.runs == 0, "it starts with the first use"
        assert (await ask()).statuses == {"probe": "ok"}
        assert probe.runs == 1
        while probe.runs < 4:  # without a heartbeat
            await asyncio.sleep(0.01)
        results = await ask()
        assert results.statuses == {"probe": "ok"}
        assert "probe" in results.ages
        probe.returns = checks.Error("e", id="x.E1")
        while (await ask()).level == 0:
            await asyncio.sleep(0.01)
        registry.close()
        runs = 0
        while runs != probe.runs:  # what was begun may still come
            runs = probe.runs
            await asyncio.sleep(0.2)
        probe.returns = None
        while (await ask()).level:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    registry.close()


def test_one_thread_for_all_in_the_background_which_ends() -> None:
    def all_clocks() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "dockerflow-clock"}

    def clocks() -> int:
        return len(all_clocks() - before)

    before = all_clocks()  # of other tests
    registry = Registry()
    for number in range(20):
        registry.register(ok, name=str(number), interval=60)
    run(registry)
    run(registry)
    assert clocks() == 1
    registry.clear_checks()
    wait_until(lambda: clocks() == 0)
    registry.register(ok, interval=60)
    run(registry)
    assert clocks() == 1
    del registry
    wait_until(lambda: clocks() == 0)


@both
@pytest.mark.parametrize("options", [{}, {"failures": 3}, {"max_age": 25}, {"silenced": "x"}])
def test_a_clock_that_stands_still_fails(
    runner: Runner, clock: SimpleNamespace, options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    registry, probe = Registry(), Probe()
    registry.register(probe, name="probe", interval=10, timeout=5, **options)
    max_age = options.get("max_age", 10 * (options.get("failures", 1) + 1) + 5)
    assert runner(registry).level == 0
    clock.now += max_age
    assert runner(registry).level == 0
    clock.now += 0.001
    for _ in range(2):
        results = runner(registry)
        assert (results.level, ids(results, "probe")) == (checks.ERROR, [STALE])
        assert results.ages["probe"] > max_age
    assert probe.runs == 1
    [line] = caplog.messages
    assert line.startswith(f"{STALE}: ")
    registry.close()


@both
def test_a_hung_check_in_the_background_fails(runner: Runner) -> None:
    registry = Registry()
    released = threading.Event()
    is_hung = False

    @registry.register(interval=0.02, timeout=0.2, max_age=60)
    def check() -> None:
        if is_hung:
            released.wait(PATIENCE)

    try:
        wait_until(lambda: runner(registry).level == 0)
        is_hung = True
        wait_until(lambda: runner(registry).level == checks.ERROR)
        assert ids(runner(registry), "check") == [TIMED_OUT]
        is_hung = False
        released.set()
        wait_until(lambda: runner(registry).level == 0)
    finally:
        released.set()
        registry.close()


@both
def test_a_setting_that_changes_counts_for_a_check_in_the_background(runner: Runner) -> None:
    """Its schedule has the new interval, as its maximum age does."""
    registry = Registry()
    probe = Probe()
    registry.register(probe, name="a")
    runner(registry, Config(check_interval=600))
    quick = Config(check_interval=0.05)
    runner(registry, quick)
    wait_until(lambda: probe.runs > 3)
    assert runner(registry, quick).statuses == {"a": "ok"}
    registry.close()


def test_a_closed_event_loop_is_left() -> None:
    registry, probe = Registry(), AsyncProbe()
    registry.register(probe, name="probe", interval=0.02, max_age=0.2)
    for runner in (arun, arun, run, arun):
        # Where the clock goes on, it may be late; one on a closed loop never runs the check again.
        wait_until(lambda runner=runner: runner(registry).statuses == {"probe": "ok"})
        time.sleep(0.25)
    registry.close()


def test_requirements_in_the_background() -> None:
    registry = Registry()
    base, probe = Probe(), Probe()
    registry.register(base, name="base")
    registry.register(probe, name="probe", interval=0.02, requires="base", max_age=60)
    assert run(registry).level == 0
    base.returns = checks.Error("e")
    assert run(registry).statuses == {"base": "error", "probe": "info"}
    wait_until_still(probe)
    runs = probe.runs
    base.returns = None
    assert run(registry).statuses == {"base": "ok", "probe": "ok"}
    wait_until(lambda: probe.runs > runs + 2)
    registry.close()


def test_a_requirement_that_is_gone_stops_the_background() -> None:
    registry, probe = Registry(), Probe()
    registry.register(Probe(), name="base")
    registry.register(probe, name="probe", interval=0.02, requires="base", max_age=60)
    assert run(registry).level == 0
    registry.unregister("base")
    wait_until_still(probe)
    assert ids(run(registry), "probe") == ["dockerflow.checks.E005"]
    registry.close()


def test_a_requirement_that_is_registered_again() -> None:
    registry = Registry()
    base, probe = Probe(), Probe()
    registry.register(base, name="base")
    registry.register(probe, name="probe", interval=0.02, requires="base", max_age=60)
    assert run(registry).level == 0
    base.returns = checks.Error("e")
    assert run(registry).statuses == {"base": "error", "probe": "info"}
    base.returns = None
    registry.register(base, name="base")
    assert run(registry).level == 0
    runs = probe.runs
    wait_until(lambda: probe.runs > runs + 2)
    registry.close()


def test_the_end_of_the_lifespan_stops_the_background() -> None:
    from dockerflow.asgi import DockerflowMiddleware

    registry, probe = Registry(), Probe()
    registry.register(probe, name="probe", interval=0.02)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await registry.arun(CONFIG)
        while probe.runs < 3:
            await asyncio.sleep(0.01)

    async def main() -> None:
        await DockerflowMiddleware(app, registry=registry)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
        wait_until_still(probe)

    asyncio.run(main())
