"""Checks: registering them, running them, and what their results become."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import json
import logging
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockerflow import checks
from dockerflow.checks import CheckMessage, CheckResults, Registry
from dockerflow.config import Config

CONFIG = Config(check_timeout=5, heartbeat_timeout=5)
LOGGER = "dockerflow.checks.registry"

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def run(registry: Registry, config: Config = CONFIG) -> CheckResults:
    results = registry.run(config)
    json.dumps(results, allow_nan=False)
    return results


def arun(registry: Registry, config: Config = CONFIG) -> CheckResults:
    results = asyncio.run(registry.arun(config))
    json.dumps(results, allow_nan=False)
    return results


def waiting(registry: Registry) -> int:
    """How many heartbeats wait for the only check."""
    execution = registry._checks["check"].execution
    return 0 if execution is None else len(execution._waiters)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 4
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


Runner = Callable[..., CheckResults]
both = pytest.mark.parametrize("runner", [run, arun])


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def _clean_default() -> Iterator[None]:
    checks.clear_checks()
    yield
    checks.clear_checks()


def returns(registry: Registry, value: Any) -> None:
    registry.register(lambda: value, name="check")


# Registering


class Holder:
    def method(self) -> CheckMessage:
        return checks.Info("method")

    async def amethod(self) -> CheckMessage:
        return checks.Info("amethod")

    @classmethod
    def cls(cls) -> CheckMessage:
        return checks.Info("cls")

    @staticmethod
    def static() -> CheckMessage:
        return checks.Info("static")


class PlainCallable:
    def __call__(self) -> CheckMessage:
        return checks.Info("called")


class AsyncCallable:
    async def __call__(self) -> CheckMessage:
        return checks.Info("acalled")


def plain(text: str = "plain") -> CheckMessage:
    return checks.Info(text)


async def aplain(text: str = "aplain") -> CheckMessage:
    return checks.Info(text)


@both
@pytest.mark.parametrize(
    ("register", "name", "text"),
    [
        (lambda r: r.register(plain), "plain", "plain"),
        (lambda r: r.register(aplain), "aplain", "aplain"),
        (lambda r: r.register()(plain), "plain", "plain"),
        (lambda r: r.register(name="n")(aplain), "n", "aplain"),
        (lambda r: r.register(None, "n")(plain), "n", "plain"),
        (lambda r: r.register(plain, "n"), "n", "plain"),
        (lambda r: r.register(plain, name="n", timeout=1, critical=False), "n", "plain"),
        (lambda r: r.register(functools.partial(plain, "p")), "plain", "p"),
        (lambda r: r.register(functools.partial(aplain, text="p")), "aplain", "p"),
        (lambda r: r.register_partial(plain, "p"), "plain", "p"),
        (lambda r: r.register_partial(aplain, "p", name="n"), "n", "p"),
        (lambda r: r.register(Holder().method), "method", "method"),
        (lambda r: r.register(Holder().amethod), "amethod", "amethod"),
        (lambda r: r.register(Holder.cls), "cls", "cls"),
        (lambda r: r.register(Holder.static), "static", "static"),
        (lambda r: r.register(PlainCallable()), "PlainCallable", "called"),
        (lambda r: r.register(AsyncCallable()), "AsyncCallable", "acalled"),
        (lambda r: r.register(functools.partial(AsyncCallable())), "AsyncCallable", "acalled"),
        (lambda r: r.register(lambda: aplain("wrapped"), name="n"), "n", "wrapped"),
    ],
)
def test_forms(runner: Runner, registry: Registry, register: Any, name: str, text: str) -> None:
    function = register(registry)
    assert registry.get_checks() == {name: function}
    results = runner(registry)
    assert results.statuses == {name: "info"}
    assert results.details == {
        name: {"status": "info", "level": 20, "messages": {name: text}},
    }


def test_decorator_returns_the_function(registry: Registry) -> None:
    @registry.register
    def bare() -> None: ...

    @registry.register(name="other", timeout=1)
    async def called() -> None: ...

    assert isinstance(bare, types.FunctionType)
    assert registry.get_checks() == {"bare": bare, "other": called}
    registry.get_checks().clear()
    assert len(registry.get_checks()) == 2, "a copy"
    registry.clear_checks()
    assert registry.get_checks() == {}


def test_same_function_replaces(registry: Registry) -> None:
    source = "def check():\n    return checks.Info('{}')\n"
    for version in ("old", "new"):
        # As when the module is reloaded.
        namespace = {"checks": checks, "__name__": "app.checks"}
        exec(source.format(version), namespace)  # noqa: S102
        registry.register(namespace["check"])  # type: ignore[call-overload]
    assert run(registry).details["check"]["messages"] == {"check": "new"}
    registry.register(plain)
    registry.register(plain, critical=False)
    registry.register_partial(plain, "p", name="n")
    registry.register_partial(plain, "p", name="n")
    holder = Holder()
    registry.register(holder.method)
    registry.register(holder.method)
    assert list(registry.get_checks()) == ["check", "plain", "n", "method"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (plain, aplain),
        (lambda: None, lambda: None),
        (functools.partial(plain, "a"), functools.partial(plain, "b")),
        (functools.partial(plain, "a"), plain),
        (PlainCallable(), PlainCallable()),
        (Holder().method, Holder().method),
        (Holder().method, Holder().amethod),
    ],
)
def test_other_function_is_an_error(registry: Registry, first: Any, second: Any) -> None:
    registry.register(first, name="n")
    with pytest.raises(ValueError, match="'n'"):
        registry.register(second, name="n")
    assert registry.get_checks() == {"n": first}


@pytest.mark.parametrize("timeout", [0, -1, "abc", float("nan"), float("inf"), True])
def test_wrong_timeout(registry: Registry, timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout is "):
        registry.register(plain, timeout=timeout)
    assert registry.get_checks() == {}


@pytest.mark.parametrize("func", [5, "text", object()])
def test_not_callable(registry: Registry, func: Any) -> None:
    with pytest.raises(TypeError):
        registry.register(func)


@pytest.mark.usefixtures("_clean_default")
def test_default_registry(registry: Registry) -> None:
    registry.register(plain)
    assert checks.get_checks() == {}
    checks.register(aplain)
    checks.register(name="n")(plain)
    checks.register_partial(plain, "p", name="p")
    assert list(checks.get_checks()) == ["aplain", "n", "p"]
    assert checks.default_registry.get_checks() == checks.get_checks()
    assert list(registry.get_checks()) == ["plain"]
    assert list(run(checks.default_registry).statuses) == ["aplain", "n", "p"]
    checks.clear_checks()
    assert checks.get_checks() == {}


@pytest.mark.usefixtures("_clean_default")
def test_run_checks() -> None:
    def broken() -> CheckMessage:
        return checks.Error("e", id="x.E001")

    pairs: list[Any] = [("a", plain), ("b", broken)]
    for results in (
        checks.run_checks(pairs),
        checks.run_checks(iter(pairs), None),
        asyncio.run(checks.run_checks_async(pairs)),
    ):
        assert results.statuses == {"a": "info", "b": "error"}
        assert results.level == 40
    for results in (
        checks.run_checks(pairs, ["x.E001"]),
        asyncio.run(checks.run_checks_async(pairs, {"x.E001"})),
    ):
        assert results.statuses == {"a": "info", "b": "ok"}
        assert results.level == 20
    assert checks.get_checks() == {}


@both
def test_no_checks(runner: Runner, registry: Registry) -> None:
    assert runner(registry) == CheckResults({}, {}, 0, {})


# Results


def generator() -> Iterator[CheckMessage]:
    yield checks.Warning("w", id="w")
    yield checks.Info("i", id="i")


@both
@pytest.mark.parametrize(
    ("value", "level", "messages"),
    [
        (lambda: None, 0, {}),
        (list, 0, {}),
        (tuple, 0, {}),
        (lambda: iter(()), 0, {}),
        (lambda: checks.Debug("d", id="d"), 10, {"d": "d"}),
        (lambda: [checks.Critical("c", id="c")], 50, {"c": "c"}),
        (generator, 30, {"w": "w", "i": "i"}),
        (lambda: tuple(generator()), 30, {"w": "w", "i": "i"}),
        (
            lambda: [checks.Error(str(n), id="i") for n in range(3)],
            40,
            {"i": "0", "i#2": "1", "i#3": "2"},
        ),
        (lambda: checks.Error("none"), 40, {"check": "none"}),
        (lambda: [checks.Error("1"), checks.Error("2")], 40, {"check": "1", "check#2": "2"}),
        (lambda: [checks.Info("1", id="i#2"), *[checks.Info("2", id="i")] * 2], 20, None),
        (lambda: [checks.Error("e", id=""), checks.Info("i", id="i")], 40, None),
        (lambda: CheckMessage("zero", 0, id="z"), 0, {}),
        (
            lambda: types.SimpleNamespace(level=40, msg="Django's", id="d"),
            40,
            {"d": "Django's"},
        ),
    ],
)
def test_results(
    runner: Runner, registry: Registry, value: Any, level: int, messages: dict[str, str] | None
) -> None:
    registry.register(value, name="check")
    results = runner(registry)
    status = checks.STATUSES[level]
    assert results.statuses == {"check": status}
    assert results.level == level
    if level == 0:
        assert results.details == {}
        return
    detail = results.details["check"]
    assert (detail["status"], detail["level"]) == (status, level)
    if messages is None:
        assert len(detail["messages"]) == len(value()), "no message gets lost"
    else:
        assert detail["messages"] == messages


def _async_generator() -> Any:
    async def generate() -> Any:
        yield checks.Info("i")

    return generate()


def message(**values: Any) -> CheckMessage:
    result = checks.Error("m", id="i")
    for key, value in values.items():
        setattr(result, key, value)
    return result


class BrokenText:
    def __str__(self) -> str:
        raise RuntimeError("secret")


@both
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("text", "str"),
        ("", "str"),
        (b"x", "bytes"),
        (5, "int"),
        (False, "bool"),
        ({"id": "x"}, "dict"),
        ({}, "dict"),
        (object(), "object"),
        (checks.Info, "type"),
        (["text"], "list with str"),
        ([checks.Info("i"), None], "list with NoneType"),
        (message(level="40"), "Error"),
        (message(level=None), "Error"),
        (message(level=4.5), "Error"),
        ([message(level="error")], "list with Error"),
        (types.SimpleNamespace(level=40, msg="m"), "SimpleNamespace"),
    ],
)
def test_nonsense(runner: Runner, registry: Registry, value: Any, kind: str) -> None:
    returns(registry, value)
    results = runner(registry)
    ((id_, text),) = results.details["check"]["messages"].items()
    assert (results.level, id_) == (40, "dockerflow.checks.E003")
    assert text.startswith(f"Check check returned {kind}")


@both
def test_async_generator(runner: Runner, registry: Registry) -> None:
    registry.register(_async_generator, name="check")
    messages = runner(registry).details["check"]["messages"]
    assert list(messages) == ["dockerflow.checks.E003"]
    assert "async_generator" in messages["dockerflow.checks.E003"]


@both
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"msg": 5}, {"i": "5"}),
        ({"msg": None}, {"i": "None"}),
        ({"msg": BrokenText()}, {"i": "<BrokenText without a text>"}),
        ({"msg": "\ud800é%s"}, {"i": "\\ud800é%s"}),
        ({"msg": "a\nb"}, {"i": "a\nb"}),
        ({"id": 5}, {"5": "m"}),
        ({"id": None}, {"check": "m"}),
        ({"id": BrokenText()}, {"<BrokenText without a text>": "m"}),
        ({"hint": BrokenText(), "obj": BrokenText()}, {"i": "m"}),
        ({"msg": "x" * 100_000}, {"i": "x" * 100_000}),
    ],
)
def test_odd_texts(
    runner: Runner, registry: Registry, values: dict[str, Any], expected: dict[str, str]
) -> None:
    returns(registry, message(**values))
    results = runner(registry, Config(silenced_checks=["other"]))
    assert results.details["check"]["messages"] == expected


@both
@pytest.mark.parametrize(
    "level", [1, 5, 35, 45, 60, 2**70, 10**5000, True, -1, -(10**5000)], ids=lambda n: hex(n)[:9]
)
def test_level_off_the_scale(runner: Runner, registry: Registry, level: int) -> None:
    """Nothing is lost, and what is worse than an error fails as one."""
    returns(registry, message(level=level))
    results = runner(registry)
    detail = results.details["check"]
    assert detail["messages"] == {"i": "m"}
    assert detail["status"] == results.statuses["check"] == checks.level_to_text(detail["level"])
    assert (results.level >= 40) is (level >= 40)
    if 0 < level < 100:
        assert detail["level"] == results.level == level


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    name=st.text(),
    texts=st.lists(st.tuples(st.text(), st.none() | st.text(), st.integers()), max_size=5),
)
def test_any_message(name: str, texts: list[tuple[str, str | None, int]]) -> None:
    registry = Registry()
    value = [CheckMessage(text, level, id=id_) for text, id_, level in texts]
    registry.register(lambda: value, name=name)
    results = run(registry)
    assert list(results.statuses) == [name]
    for detail in results.details.values():
        assert len(detail["messages"]) == len(texts)


@both
def test_silenced(runner: Runner, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    returns(registry, [checks.Error("e", id="x.E1"), checks.Warning("w", id="x.W1")])
    results = runner(registry, Config(silenced_checks=["x.E1", "no.such"]))
    assert (results.level, results.details["check"]["messages"]) == (30, {"x.W1": "w"})
    results = runner(registry, Config(silenced_checks=["x.E1", "x.W1"]))
    assert (results.level, results.statuses, results.details) == (0, {"check": "ok"}, {})
    assert not [record for record in caplog.records if "x.E1" in record.getMessage()]


@both
@pytest.mark.parametrize(("level", "overall"), [(0, 0), (20, 20), (30, 30), (40, 30), (50, 30)])
def test_not_critical(runner: Runner, registry: Registry, level: int, overall: int) -> None:
    registry.register(lambda: CheckMessage("m", level), name="check", critical=False)
    results = runner(registry)
    assert results.statuses == {"check": checks.STATUSES[level]}, "its own status stays"
    assert results.level == overall
    registry.register(lambda: checks.Error("m"), name="critical")
    assert runner(registry).level == 40


@both
def test_level_is_the_highest(runner: Runner, registry: Registry) -> None:
    for name in ("Info", "Critical", "Warning"):
        registry.register(functools.partial(getattr(checks, name), "m"), name=name)
    results = runner(registry)
    assert results.statuses == {"Info": "info", "Critical": "critical", "Warning": "warning"}
    assert list(results.details) == list(results.durations) == ["Info", "Critical", "Warning"]
    assert results.level == 50


# Logging


@both
def test_log(runner: Runner, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    levels = [checks.Debug, checks.Info, checks.Warning, checks.Error, checks.Critical]
    returns(registry, [cls("100 %s", id="an.id") for cls in levels])
    runner(registry)
    assert caplog.record_tuples == [(LOGGER, n, "an.id: 100 %s") for n in (10, 20, 30, 40, 50)]


@both
def test_log_without_id(
    runner: Runner, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    returns(registry, checks.Error("text"))
    runner(registry)
    assert caplog.messages == ["check: text"]


@both
@pytest.mark.parametrize("is_async", [False, True])
def test_exception(
    runner: Runner, registry: Registry, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    if is_async:

        @registry.register
        async def broken() -> None:
            raise ValueError("password=s3cret")
    else:

        @registry.register
        def broken() -> None:
            raise ValueError("password=s3cret")

    results = runner(registry)
    text = "Check broken raised ValueError"
    assert results.details["broken"]["messages"] == {"dockerflow.checks.E001": text}
    assert "s3cret" not in repr(results)
    (record,) = caplog.records
    assert (record.name, record.levelname) == (LOGGER, "ERROR")
    assert record.getMessage() == f"dockerflow.checks.E001: {text}"
    assert "ValueError: password=s3cret" in caplog.text
    assert "in broken" in caplog.text, "the traceback"


@both
def test_exception_while_iterating(runner: Runner, registry: Registry) -> None:
    @registry.register
    def check() -> Iterator[CheckMessage]:
        yield checks.Info("i")
        raise ValueError

    assert list(runner(registry).details["check"]["messages"]) == ["dockerflow.checks.E001"]


@both
def test_exception_without_text(runner: Runner, registry: Registry) -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @registry.register
    def check() -> None:
        raise OddError

    assert runner(registry).statuses == {"check": "error"}


@both
def test_wrong_signature(runner: Runner, registry: Registry) -> None:
    registry.register(lambda _: None, name="check")  # type: ignore[misc]
    assert list(runner(registry).details["check"]["messages"]) == ["dockerflow.checks.E001"]


# Running


@both
def test_durations(runner: Runner, registry: Registry) -> None:
    registry.register(lambda: time.sleep(0.8), name="slow")
    registry.register(lambda: None, name="fast")
    registry.register(functools.partial(asyncio.sleep, 0.8), name="aslow")
    started = time.monotonic()
    durations = runner(registry).durations
    seconds = time.monotonic() - started
    assert 0.79 < durations["slow"] < seconds
    assert 0.79 < durations["aslow"] < seconds
    assert 0 <= durations["fast"] < 0.79


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
    runs = 0
    event = threading.Event()

    @registry.register
    async def check() -> None:
        nonlocal runs
        runs += 1
        while not event.is_set():
            await asyncio.sleep(0.001)

    async def main() -> None:
        probes = [asyncio.create_task(registry.arun(CONFIG)) for _ in range(2)]
        await asyncio.sleep(0.01)
        probes[0].cancel()
        await asyncio.sleep(0)
        event.set()
        assert (await probes[1]).statuses == {"check": "ok"}
        with pytest.raises(asyncio.CancelledError):
            await probes[0]

    asyncio.run(main())
    assert runs == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_single_flight_of_tasks(
    registry: Registry, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    runs = 0
    event = threading.Event()
    if is_async:

        @registry.register
        async def check() -> CheckMessage:
            nonlocal runs
            runs += 1
            while not event.is_set():
                await asyncio.sleep(0.001)
            return checks.Error("e")
    else:

        @registry.register
        def check() -> CheckMessage:
            nonlocal runs
            runs += 1
            event.wait(4)
            return checks.Error("e")

    async def main() -> list[CheckResults]:
        asyncio.get_running_loop().call_later(0.05, event.set)
        return await asyncio.gather(*(registry.arun(CONFIG) for _ in range(100)))

    everything = asyncio.run(main())
    assert runs == 1
    assert all(results == everything[0] for results in everything)
    assert everything[0].level == 40
    assert len(caplog.records) == 1, "one run, one record"
    run(registry)
    assert runs == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_single_flight_of_threads(registry: Registry, is_async: bool) -> None:
    runs = 0
    count = 100
    event = threading.Event()
    if is_async:

        @registry.register
        async def check() -> CheckMessage:
            nonlocal runs
            runs += 1
            while not event.is_set():
                await asyncio.sleep(0.001)
            return checks.Info("i")
    else:

        @registry.register
        def check() -> CheckMessage:
            nonlocal runs
            runs += 1
            event.wait(4)
            return checks.Info("i")

    everything: list[CheckResults] = []

    def probe() -> None:
        everything.append(registry.run(CONFIG))

    threads = [threading.Thread(target=probe) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_until(lambda: waiting(registry) == count)
    event.set()
    for thread in threads:
        thread.join()
    assert runs == 1
    assert len(everything) == count
    assert all(results == everything[0] for results in everything)


def test_probes_of_threads_and_loops_share_a_run(registry: Registry) -> None:
    runs = 0
    event = threading.Event()

    @registry.register
    async def check() -> None:
        nonlocal runs
        runs += 1
        while not event.is_set():
            await asyncio.sleep(0.001)

    async def main() -> None:
        first = asyncio.create_task(registry.arun(CONFIG))
        second = asyncio.create_task(asyncio.to_thread(registry.run, CONFIG))
        third = asyncio.create_task(asyncio.to_thread(arun, registry))
        async with asyncio.timeout(4):
            while waiting(registry) < 3:
                await asyncio.sleep(0.001)
        event.set()
        for task in (first, second, third):
            assert (await task).statuses == {"check": "ok"}

    asyncio.run(main())
    assert runs == 1


def test_config_of_the_environment(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    returns(registry, checks.Error("e", id="x.E1"))
    monkeypatch.setenv("DOCKERFLOW_SILENCED_CHECKS", "x.E1")
    assert registry.run().statuses == {"check": "ok"}
    assert asyncio.run(registry.arun()).statuses == {"check": "ok"}
    assert checks.run_checks([("a", lambda: checks.Error("e", id="x.E1"))]).level == 0


def test_checks_may_register_checks(registry: Registry) -> None:
    """What a check changes counts from the next heartbeat on."""

    @registry.register
    def first() -> None:
        registry.register(plain)

    assert run(registry).statuses == {"first": "ok"}
    assert run(registry).statuses == {"first": "ok", "plain": "info"}


@both
def test_broken_logging_breaks_no_heartbeat(runner: Runner, registry: Registry) -> None:
    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError

    returns(registry, [checks.Error("e", id="e"), checks.Info("i", id="i")])
    logger = logging.getLogger(LOGGER)
    logger.addFilter(fail)
    try:
        assert runner(registry).details["check"]["messages"] == {"e": "e", "i": "i"}
    finally:
        logger.removeFilter(fail)


@both
def test_an_endless_generator_is_cut_short(runner: Runner, registry: Registry) -> None:
    returns(registry, (message() for _ in itertools.count()))
    results = runner(registry)
    assert list(results.details["check"]["messages"]) == ["dockerflow.checks.E003"]


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
