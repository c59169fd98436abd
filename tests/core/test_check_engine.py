"""Requirements, cached and background results, flapping, tags, observers."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerflow import checks
from dockerflow.checks import CheckResults, Observation, Registry
from dockerflow.checks._check import Result, State
from dockerflow.config import Config, ConfigError

PATIENCE = 10.0
CONFIG = Config(check_timeout=5, heartbeat_timeout=8)
SKIPPED, TIMED_OUT = "dockerflow.checks.I001", "dockerflow.checks.E002"
STALE, MISCONFIGURED = "dockerflow.checks.E004", "dockerflow.checks.E005"


def run(registry: Registry, config: Config = CONFIG) -> CheckResults:
    results = registry.run(config)
    json.dumps(results, allow_nan=False)
    return results


def arun(registry: Registry, config: Config = CONFIG) -> CheckResults:
    return asyncio.run(registry.arun(config))


Runner = Callable[..., CheckResults]
both = pytest.mark.parametrize("runner", [run, arun])


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def waiting(registry: Registry, name: str) -> int:
    """How many heartbeats wait for a check that is under way."""
    execution = registry._checks[name].execution
    return 0 if execution is None else len(execution._waiters)


def wait_until_still(probe: Probe) -> None:
    """Wait until it is run no more; what was begun may still come."""

    def is_still() -> bool:
        runs = probe.runs
        time.sleep(0.2)
        return probe.runs == runs

    wait_until(is_still)


def ok() -> None: ...


def broken() -> checks.CheckMessage:
    return checks.Error("e", id="x.E1")


def ids(results: CheckResults, name: str) -> list[str]:
    return list(results.details[name]["messages"])


class Probe:
    """A check that counts its runs, and says what it is told to."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.runs = 0

    def __call__(self) -> Any:
        self.runs += 1
        return self.answer


class AsyncProbe(Probe):
    async def __call__(self) -> Any:
        return super().__call__()


probes = pytest.mark.parametrize("kind", [Probe, AsyncProbe])


# Options

WRONG: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("timeout", "ttl", "max_age", "interval", "failures", "recoveries")
        for value in (0, -1, "abc", "1", float("nan"), float("inf"), True, [])
    ),
    ("failures", 1.5),
    ("critical", "no"),
    ("critical", 1),
    *((name, value) for name in ("requires", "tags", "silenced") for value in (5, b"a", [5])),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_wrong_options(name: str, value: Any) -> None:
    registry = Registry()
    for register in (
        lambda: registry.register(ok, **{name: value}),  # type: ignore[call-overload]
        lambda: registry.register(**{name: value}),  # type: ignore[call-overload]
        lambda: registry.register_partial(ok, **{name: value}),
    ):
        with pytest.raises(ValueError, match=f"^{name} is .*, but takes"):
            register()
    assert registry.get_checks() == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ttl": 5, "max_age": 4}, "ttl is 5, but takes at most max_age, which is 4"),
        ({"interval": 5, "max_age": 4}, "interval is 5, but takes at most max_age"),
        ({"interval": 5, "ttl": 4}, "takes one of them"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Registry().register(ok, **options)  # type: ignore[call-overload]


def test_an_option_that_is_none() -> None:
    with pytest.raises(TypeError, match="'timeuot'; there are: timeout, critical"):
        Registry().register(ok, timeuot=5)  # type: ignore[call-overload]


def test_the_checks_own_option_and_a_default_that_exclude_each_other() -> None:
    registry = Registry()
    registry.register(ok, ttl=60)
    with pytest.raises(ConfigError, match="Check ok can't run: ttl is 60, but takes at most max"):
        registry.validate(Config(check_max_age=30))
    assert ids(run(registry, Config(check_max_age=30)), "ok") == [MISCONFIGURED]
    registry.validate(Config(check_interval=1))


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"critical": False}, {}),
        ({}, {"check_critical": False}),
        ({"silenced": "x.E1"}, {}),
        ({"silenced": ["x.E1"]}, {}),
        ({}, {"silenced_checks": "x.E1"}),
    ],
)
def test_options_by_argument_and_by_config(options: Any, config: Any) -> None:
    registry = Registry()
    registry.register_partial(broken, name="check", **options)
    assert run(registry, Config(**config)).level < checks.ERROR
    assert run(Registry()).level == 0


# Requirements


@both
@probes
def test_a_failed_requirement_skips(runner: Runner, kind: type[Probe], caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    registry = Registry()
    base, middle, last = kind(checks.Error("e", id="x.E1")), kind(), kind()
    # Whatever the order of registration.
    registry.register(last, name="last", requires=("middle",))
    registry.register(middle, name="middle", requires="base")
    registry.register(base, name="base", critical=False)
    results = runner(registry)
    assert results.statuses == {"last": "info", "middle": "info", "base": "error"}
    assert results.level == checks.WARNING
    assert results.details["middle"]["messages"] == {
        SKIPPED: "Check middle was skipped, as base, which it requires, did not pass"
    }
    assert "middle" in results.details["last"]["messages"][SKIPPED]
    assert (base.runs, middle.runs, last.runs) == (1, 0, 0)
    assert any(SKIPPED in message for message in caplog.messages)
    base.answer = checks.Warning("w")
    assert runner(registry).statuses == {"last": "ok", "middle": "ok", "base": "warning"}


@both
def test_a_dependent_starts_once_its_requirements_are_done(runner: Runner) -> None:
    registry = Registry()
    released = threading.Event()
    order: list[str] = []

    @registry.register
    def slow() -> None:
        assert released.wait(PATIENCE), "nobody waits for this one"

    @registry.register(requires=("first", "first"))
    async def second() -> None:
        order.append("second")
        released.set()

    @registry.register
    def first() -> None:
        order.append("first")

    assert set(runner(registry).statuses.values()) == {"ok"}
    assert order == ["first", "second"]


@both
def test_bad_requirements(runner: Runner) -> None:
    registry = Registry()
    for name, requires in [
        ("a", ("b",)), ("b", ("c", "ok")), ("c", ("b",)), ("self", ("self",)),
        ("lost", ("ok", "nobody")), ("below", ("lost",)), ("ok", ()),
    ]:  # fmt: skip
        registry.register(lambda: None, name=name, requires=requires)
    results = runner(registry)
    assert results.statuses == {
        **dict.fromkeys(("a", "b", "c", "self", "lost"), "error"), "below": "info", "ok": "ok",
    }  # fmt: skip
    for name in ("a", "b", "c", "self", "lost"):
        assert ids(results, name) == [MISCONFIGURED]
    assert "circle: b -> c -> b" in results.details["a"]["messages"][MISCONFIGURED]
    assert "circle: self -> self" in results.details["self"]["messages"][MISCONFIGURED]
    assert "requires 'nobody'" in results.details["lost"]["messages"][MISCONFIGURED]
    with pytest.raises(ConfigError, match="Check lost can't run: it requires 'nobody'"):
        registry.validate(CONFIG)
    registry.register(ok, name="nobody")
    assert runner(registry).statuses["lost"] == "ok"


@both
def test_the_heartbeats_time_holds_for_chains(runner: Runner) -> None:
    registry = Registry()
    released = threading.Event()
    registry.register(lambda: time.sleep(0.3), name="0")
    for number in range(1, 4):
        registry.register(
            lambda: released.wait(60) and None, name=str(number), requires=str(number - 1)
        )
    try:
        started = time.monotonic()
        results = runner(registry, Config(check_timeout=50, heartbeat_timeout=2))
        assert time.monotonic() - started < PATIENCE
    finally:
        released.set()
    assert list(results.statuses.values()) == ["ok", "error", "info", "info"]
    assert results.durations["1"] <= 1.7, "what was left of the two seconds"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.sets(st.integers(0, 9), max_size=3), st.booleans()),
        max_size=8,
    )
)
def test_any_graph(graph: list[tuple[bool, set[int], bool]]) -> None:
    registry = Registry()
    ran: list[int] = []

    def check(number: int) -> checks.CheckMessage | None:
        ran.append(number)
        return checks.Error("e") if graph[number][0] else None

    async def acheck(number: int) -> checks.CheckMessage | None:
        return check(number)

    for number, (_, requires, is_async) in enumerate(graph):
        registry.register_partial(
            acheck if is_async else check, number, name=str(number), requires=map(str, requires)
        )

    def model(number: int, path: tuple[int, ...] = ()) -> str:
        if number in path:
            return "circle"
        is_broken, requires, _ = graph[number]
        known = [model(other, (*path, number)) for other in requires if other < len(graph)]
        if "circle" in known:
            return "circle"
        if any(other >= len(graph) for other in requires):
            return "misconfigured"
        if any(status != "ok" for status in known):
            return "info"
        return "error" if is_broken else "ok"

    expected = [model(number) for number in range(len(graph))]
    for runner in (run, arun):
        ran.clear()
        results = runner(registry)
        for number, status in enumerate(expected):
            shown = "error" if status in {"circle", "misconfigured"} else status
            assert results.statuses[str(number)] == shown
            assert ran.count(number) == (status in {"ok", "error"})


# Tags


def test_tags() -> None:
    registry = Registry()
    registry.register(ok, name="untagged")
    registry.register(ok, name="web", tags="web", requires="base")
    registry.register(ok, name="worker", tags=("worker", "x"))
    registry.register(ok, name="base", tags=("base",))
    everything = ["untagged", "web", "worker", "base"]
    for tags, names in [
        ((), everything),
        ("web", ["web", "base"]),
        ("x,nobody", ["worker"]),
        (("web", "worker"), ["web", "worker", "base"]),
        ("nobody", []),
    ]:
        assert list(run(registry, Config(heartbeat_tags=tags)).statuses) == names


def test_a_tag_that_no_check_has_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    registry.register(ok, tags="a")
    for _ in range(3):
        run(registry, Config(heartbeat_tags="b"))
    assert caplog.messages == ["No check has the tag 'b', which the heartbeat is to run"]


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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Give a clock that goes on by hand; what waits keeps the real one."""
    clock = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now)
    for module in ("_check", "runner", "_background"):
        monkeypatch.setattr(f"dockerflow.checks.{module}.time", fake)
    return clock


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
            with pytest.raises(ValueError, match="ttl is"):
                registry.register(probe, name="probe", ttl=ttl, max_age=max_age)
            return
        registry.register(probe, name="probe", ttl=ttl, max_age=max_age)
        run(registry)
        expected, last = 1, clock.now
        for step in steps:
            clock.now += step
            # At the very moment at which the time is over either would do.
            if clock.now - last > ttl:
                expected, last = expected + 1, clock.now
            results = run(registry)
            assert probe.runs == expected
            assert results.ages.get("probe", 0) == clock.now - last <= ttl


def test_a_result_is_not_used_again_beyond_the_configs_max_age(clock: SimpleNamespace) -> None:
    registry, probe = Registry(), Probe()
    registry.register(probe, name="probe")
    config = Config(check_ttl=10, check_max_age=10)
    run(registry, config)
    clock.now += 11
    run(registry, config)
    assert probe.runs == 2


# Single flight


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


# Flapping


def test_flapping() -> None:
    registry = Registry()
    probe = Probe()
    registry.register(probe, name="probe", failures=3, recoveries=2)
    shown = []
    for is_ok in (1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 0):
        probe.answer = None if is_ok else checks.Error("e")
        shown.append(run(registry).statuses["probe"])
    assert shown == ["ok"] * 6 + ["error"] * 5 + ["ok"] * 2


def test_the_first_result_counts_at_once() -> None:
    registry = Registry()
    registry.register(broken, failures=5)
    assert run(registry).level == checks.ERROR


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_flapping_by_a_model(levels: list[int], failures: int, recoveries: int) -> None:
    state: State | None = None
    is_failed: bool | None = None
    for index, level in enumerate(levels):
        state = State.after(state, Result((), level, 0.0, float(index)), failures, recoveries)
        # The model looks back at the last results, and knows no counter.
        if is_failed is None:
            is_failed = level >= 40
        needed = recoveries if is_failed else failures
        last = [one >= 40 for one in levels[max(0, index + 1 - needed) : index + 1]]
        if len(last) == needed and all(one != is_failed for one in last):
            is_failed = not is_failed
        assert state.shown.is_failure == is_failed
        assert state.newest.level == level or state.streak > 0
        if (level >= 40) == is_failed:
            assert state.shown.level == level


@both
def test_a_check_that_hangs_on_is_borne_for_some_time_limits_only(runner: Runner) -> None:
    registry = Registry()
    released = threading.Event()
    is_hung = False

    @registry.register(failures=3, timeout=0.5)
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
        while probe.runs < 4:  # nobody asks meanwhile
            await asyncio.sleep(0.01)
        results = await ask()
        assert results.statuses == {"probe": "ok"}
        assert "probe" in results.ages
        probe.answer = checks.Error("e", id="x.E1")
        while (await ask()).level == 0:
            await asyncio.sleep(0.01)
        registry.close()
        runs = 0
        while runs != probe.runs:  # what was begun may still come
            runs = probe.runs
            await asyncio.sleep(0.2)
        probe.answer = None
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
    runner: Runner, clock: SimpleNamespace, options: Any
) -> None:
    registry, probe = Registry(), Probe()
    registry.register(probe, name="probe", interval=10, timeout=5, **options)
    max_age = options.get("max_age", 10 * (options.get("failures", 1) + 1) + 5)
    assert runner(registry).level == 0
    registry._background._thread = threading.Thread()  # the other one finds itself replaced
    clock.now += max_age
    assert runner(registry).level == 0
    clock.now += 0.001
    for _ in range(2):
        results = runner(registry)
        assert (results.level, ids(results, "probe")) == (checks.ERROR, [STALE])
        assert results.ages["probe"] > max_age
    assert probe.runs == 1
    registry.close()


def test_a_killed_thread_is_found_out() -> None:
    registry, probe = Registry(), Probe()
    registry.register(probe, name="probe", interval=0.05, max_age=1)
    assert run(registry).level == 0
    wait_until(lambda: probe.runs > 1)
    thread = registry._background._thread
    registry._background._thread = threading.Thread()
    with registry._background._changed:
        registry._background._changed.notify()
    assert thread is not None
    thread.join(PATIENCE)
    assert not thread.is_alive()
    wait_until(lambda: run(registry).level == checks.ERROR)
    assert ids(run(registry), "probe") == [STALE]
    registry.close()
    assert run(registry).level == 0
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
    base.answer = checks.Error("e")
    assert run(registry).statuses == {"base": "error", "probe": "info"}
    wait_until_still(probe)
    runs = probe.runs
    base.answer = None
    assert run(registry).statuses == {"base": "ok", "probe": "ok"}
    wait_until(lambda: probe.runs > runs + 2)
    registry.close()


def test_background_after_a_fork() -> None:
    """Also with the engine's locks held by another thread while the process forks."""
    source = textwrap.dedent("""
        import os, sys, threading, time
        from dockerflow import checks
        from dockerflow.checks._check import _lock

        runs = 0
        @checks.register(interval=0.02, max_age=0.5)
        def check():
            global runs
            runs += 1

        checks.observe(print)
        registry = checks.default_registry
        assert registry.run().level == 0
        held = threading.Event()
        def hold():
            with _lock, registry._background._changed:
                held.set()
                time.sleep(1)
        threading.Thread(target=hold).start()
        held.wait()
        child = os.fork()
        if child == 0:
            sys.stdout = open(os.devnull, "w")
            code = 1
            try:
                runs = 0
                time.sleep(0.6)
                assert runs == 0
                assert registry.run().level == 0
                while runs < 5:
                    time.sleep(0.01)
                while registry.run().level:  # until the clock of a busy machine is in time
                    time.sleep(0.01)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    """)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", source],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# Observers


@both
@probes
def test_observers(runner: Runner, kind: type[Probe]) -> None:
    registry = Registry()
    seen: list[Observation] = []
    assert registry.observe(seen.append) == seen.append
    registry.register(kind(), name="good", ttl=60)
    registry.register(kind(checks.Error("e", id="x.E1")), name="bad", critical=False)
    registry.register(kind(), name="skipped", requires="bad")
    runner(registry)
    assert {o.name for o in seen[:2]} == {"good", "bad"}
    by_name = {o.name: o for o in seen}
    assert by_name["good"][:4] == ("check", "good", "ok", 0)
    assert by_name["bad"][:4] == ("check", "bad", "error", 40)
    assert by_name["skipped"][:4] == ("check", "skipped", "info", 20)
    assert [message.id for message in by_name["bad"].messages] == ["x.E1"]
    assert seen[-1][:4] == ("heartbeat", "heartbeat", "warning", 30)
    assert [message.id for message in seen[-1].messages] == ["x.E1", SKIPPED]
    assert all(0 <= o.duration < PATIENCE for o in seen)
    seen.clear()
    runner(registry)
    names = [o.name for o in seen]
    assert names == ["bad", "skipped", "heartbeat"], "a result that is kept is told once"


@both
def test_observers_that_fail(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    seen: list[Observation] = []
    registry.register(ok)

    @registry.observe
    def fail(_: Observation) -> None:
        raise SystemExit("broken observer")

    registry.observe(seen.append)
    assert runner(registry).level == 0
    assert [o.name for o in seen] == ["ok", "heartbeat"]
    assert "broken observer" in caplog.text
    with pytest.raises(TypeError):
        registry.observe(5)  # type: ignore[type-var]


@both
def test_observers_that_are_slow(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    released = threading.Event()
    for number in range(1200):
        registry.register(ok, name=str(number))
    registry.observe(lambda _: released.wait(PATIENCE))
    try:
        started = time.monotonic()
        assert runner(registry).level == 0
        assert time.monotonic() - started < 5
        assert caplog.text.count("Observers are too slow") == 1
    finally:
        released.set()


def test_a_check_that_hangs_is_observed_once() -> None:
    registry = Registry()
    seen: list[Observation] = []
    released = threading.Event()
    registry.observe(seen.append)
    registry.register(lambda: released.wait(PATIENCE) and None, name="hung", timeout=0.05)
    for _ in range(5):
        run(registry)
    released.set()
    (observation,) = [o for o in seen if o.kind == "check"]
    assert observation.messages[0].id == TIMED_OUT


# Sizes


@both
def test_many_checks(runner: Runner) -> None:
    """Twice as many take about twice as long: far less than four times, the best of some."""

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

    assert seconds(1000) < 4 * 4 * seconds(250)


def test_a_long_chain() -> None:
    registry = Registry()
    for number in range(1000):
        requires = (str(number + 1),) if number < 999 else ()
        registry.register(ok, name=str(number), requires=requires)
    assert set(run(registry).statuses.values()) == {"ok"}
    registry.register(broken, name="1000")
    registry.register(ok, name="999", requires="0")
    results = run(registry)
    assert results.statuses["0"] == "error"
    assert len(results.details["0"]["messages"][MISCONFIGURED]) < 200


# What the results are


def test_details_have_attributes() -> None:
    registry = Registry()
    registry.register(broken)
    detail = run(registry).details["broken"]
    assert (detail.status, detail.level, detail.messages) == ("error", 40, {"x.E1": "e"})
    assert json.loads(json.dumps(detail)) == detail


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
    assert ids(follower, "check") == [TIMED_OUT]
    released.set()
    leader.join()
    assert results[0].statuses == {"check": "ok"}
    assert runner(registry).level == 0


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


@both
def test_times_without_end(runner: Runner) -> None:
    """More seconds than the platform's waits take."""
    registry = Registry()
    registry.register(lambda: time.sleep(0.01), name="a", timeout=1e300)
    registry.register(lambda: time.sleep(0.01), name="b", interval=1e300)
    registry.register(lambda: time.sleep(0.01), name="c", ttl=1e300)
    for _ in range(2):
        assert runner(registry, Config(heartbeat_timeout=1e300)).level == 0
    thread = registry._background._thread
    assert thread is not None
    assert thread.is_alive()
    registry.close()
