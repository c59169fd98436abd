"""Registering checks, and their options."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock
from xmlrpc.client import ServerProxy

import pytest
from checking import (
    CONFIG,
    PATIENCE,
    Probe,
    Runner,
    arun,
    both,
    run,
    wait_until,
)

from dockerflow import checks, testing
from dockerflow.checks import CheckMessage, Registry
from dockerflow.config import Config


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def _clean_default() -> Iterator[None]:
    checks.clear_checks()
    yield
    checks.clear_checks()


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
    registry.clear_checks()
    assert registry.get_checks() == {}


def test_changing_what_get_checks_returns_changes_the_registry(registry: Registry) -> None:
    """As with python-dockerflow, whose users' tests rely on it."""
    registry.register(plain)
    registry.register(aplain)
    functions = registry.get_checks()
    assert functions.pop("plain") is plain
    assert functions == registry.get_checks() == {"aplain": aplain}
    functions["n"] = plain
    del functions["aplain"]
    assert run(registry).statuses == {"n": "info"}
    with pytest.raises(KeyError):
        del functions["aplain"]
    copy = functions.copy()
    functions.clear()
    assert registry.get_checks() == {}
    functions.update(copy)
    assert registry.get_checks() == copy == {"n": plain}
    functions["last"] = aplain
    assert functions.popitem() == ("last", aplain)
    assert functions.popitem() == ("n", plain)
    with pytest.raises(KeyError):
        functions.popitem()
    assert functions.setdefault("n", aplain) is aplain
    assert registry.get_checks() == {"n": aplain}
    functions |= {"m": plain}
    assert registry.get_checks() == {"n": aplain, "m": plain}
    with mock.patch.dict(functions, clear=True):
        registry.register(plain, name="for the test")
    assert registry.get_checks() == {"n": aplain, "m": plain}


def _made_by_a_factory(text: str) -> Any:
    def check() -> CheckMessage:
        return checks.Info(text)

    return check


class Pinging:
    def ping(self, client: Any) -> None: ...

    async def aping(self, client: Any) -> None: ...

    def __call__(self, client: Any) -> None: ...


class AsyncPinging:
    async def __call__(self, client: Any) -> None: ...


class Made:
    """A class is called as any function is."""

    def __init__(self, client: Any) -> None: ...


def with_client(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that passes what the function needs."""

    @functools.wraps(func)
    def call() -> Any:
        return func(None)

    return call


def two(timeout: float, *rest: Any, client: Any, **options: Any) -> None: ...


@pytest.mark.parametrize(
    "check",
    [
        lambda client: None,
        Pinging().ping,
        Pinging().aping,
        Pinging(),
        AsyncPinging(),
        Made,
        functools.partial(two, 5),
        functools.partial(Pinging().ping),
    ],
)
def test_a_check_that_needs_arguments_is_refused(registry: Registry, check: Any) -> None:
    for register in (registry.register, registry.register(name="x"), registry.register_partial):
        with pytest.raises(TypeError) as caught:
            register(check)
        text = str(caught.value)
        assert "needs the argument 'client'" in text
        assert "register_partial(function, client)" in text
        assert "functools.partial" in text
        assert len(text.splitlines()) == 1
    assert registry.get_checks() == {}


def test_a_method_without_its_object_is_refused(registry: Registry) -> None:
    with pytest.raises(TypeError, match="check method needs the argument 'self'"):
        registry.register(Holder.method)  # type: ignore[arg-type]


def test_a_check_with_its_arguments_bound_is_accepted(registry: Registry) -> None:
    registry.register_partial(Pinging().ping, None, name="method")
    registry.register_partial(Pinging.ping, None, None, name="function")
    registry.register(functools.partial(two, 5, client=None), name="keyword")
    registry.register(lambda *a, b=1, **c: None, name="optional")
    registry.register(mock.Mock(return_value=None), name="mock")
    registry.register(Unreadable(), name="unreadable")
    registry.register(Proxy(), name="proxy")
    registry.register(with_signature(with_client(Pinging().ping)), name="signature")
    registry.register(with_client(Pinging().ping), name="decorated")
    registry.register(with_client(Pinging().aping), name="async decorated")
    assert set(run(registry).statuses.values()) == {"ok"}


def test_annotations_need_not_be_defined(registry: Registry) -> None:
    """Names that only type checkers import."""
    functions: dict[str, Any] = {}
    code = """
def check(client: Client = None) -> Result: ...
def needs(client: Client): ...
def app(environ: Environ, start_response: StartResponse) -> Body:
    start_response("200 OK", [])
    return []
"""
    if sys.version_info < (3, 14):  # later, annotations aren't evaluated in any module
        code = f"from __future__ import annotations\n{code}"
    exec(compile(code, "", "exec", dont_inherit=True), functions)  # noqa: S102
    registry.register(functions["check"])
    with pytest.raises(TypeError, match="check needs needs the argument 'client'"):
        registry.register(functions["needs"])
    assert testing.Client(functions["app"]).get("/").status == 200


class Unreadable:
    __signature__ = 5

    def __call__(self) -> None: ...


class Proxy:
    """As of an object that isn't there yet."""

    @property
    def __signature__(self) -> inspect.Signature:
        raise RuntimeError("not yet")

    def __call__(self) -> None: ...


def with_signature(func: Callable[..., Any]) -> Callable[..., Any]:
    """As wrapt's decorators, which show the signature of the function behind them."""
    func.__signature__ = inspect.signature(func)  # type: ignore[attr-defined]
    return func


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (plain, plain),
        (_made_by_a_factory("a"), _made_by_a_factory("b")),
        tuple(lambda: None for _ in range(2)),
        (functools.partial(plain, "a"), functools.partial(plain, "b")),
        (functools.partial(plain, "a"), plain),
        (PlainCallable(), PlainCallable()),
        (Holder().method, Holder().method),
        (functools.partial(Holder().method), Holder().method),
        (Holder.cls, Holder().cls),
        (ServerProxy("http://a.test").ping, ServerProxy("http://b.test").ping),
        (mock.Mock(), mock.Mock()),
    ],
)
def test_the_same_function_replaces(
    registry: Registry, caplog: pytest.LogCaptureFixture, first: Any, second: Any
) -> None:
    """Also for another client or object: lifespans, factories and fixtures register like that."""
    registry.register(first, name="n")
    registry.register(plain, name="last")
    registry.register(second, name="n")
    assert list(registry.get_checks().items()) == [("n", second), ("last", plain)]
    assert caplog.records == []


def test_a_reloaded_module_replaces_its_check(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    source = "def check():\n    return checks.Info('{}')\n"
    for version in ("old", "new"):
        namespace = {"checks": checks, "__name__": "app.checks"}
        exec(source.format(version), namespace)  # noqa: S102
        registry.register(namespace["check"])  # type: ignore[call-overload]
    assert run(registry).details["check"]["messages"] == {"check": "new"}
    assert caplog.records == []


ME = f"{__name__}."


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (plain, aplain, ["aplain", "plain"]),
        (
            lambda: None,
            lambda: None,
            ["<lambda> in line", "<lambda> in line"],
        ),
        (functools.partial(plain, "a"), AsyncCallable(), ["AsyncCallable", "plain"]),
        (Holder().method, Holder().amethod, ["Holder.amethod", "Holder.method"]),
    ],
)
def test_another_function_replaces_with_a_warning(
    registry: Registry, caplog: pytest.LogCaptureFixture, first: Any, second: Any, names: list[str]
) -> None:
    registry.register(first, name="n")
    registry.register(second, name="n")
    assert registry.get_checks() == {"n": second}
    [record] = caplog.records
    assert (record.name, record.levelname) == ("dockerflow.checks.registry", "WARNING")
    new, old = record.getMessage().removeprefix("Check n is registered twice: ").split(" replaces ")
    assert new.startswith(ME + names[0])
    assert old.startswith(ME + names[1])


def test_unregister(registry: Registry) -> None:
    registry.register(plain)
    registry.register(aplain)
    registry.unregister("plain")
    assert run(registry).statuses == {"aplain": "info"}
    with pytest.raises(KeyError, match="no check is named 'plain'; there are aplain"):
        registry.unregister("plain")


@pytest.mark.parametrize("how", ["register", "unregister", "clear_checks"])
def test_a_check_that_is_gone_leaves_nothing_behind(
    registry: Registry, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Neither its run under way, its result or its clock, nor what it means to others."""
    released, old, new = threading.Event(), Probe(), Probe()
    seen: list[checks.Observation] = []
    registry.observe(seen.append)

    def hung() -> CheckMessage:
        released.wait(PATIENCE)
        return checks.Error("of the old one")

    registry.register(hung, name="hung", ttl=60)
    registry.register(old, name="background", interval=0.01)
    registry.register(Probe(), name="dependent", interval=0.01, requires="background")
    waiting = threading.Thread(target=run, args=(registry,))
    waiting.start()
    try:
        wait_until(lambda: old.runs > 1)
        if how == "unregister":
            registry.unregister("hung")
            registry.unregister("background")
        elif how == "clear_checks":
            registry.clear_checks()
        registry.register(ok, name="hung")
        registry.register(new, name="background")
        registry.register(Probe(), name="dependent", interval=60, requires="background")
        runs = old.runs
        assert run(registry).statuses == dict.fromkeys(("hung", "background", "dependent"), "ok")
        assert not waiting.join(0)
        assert waiting.is_alive(), "the old heartbeat still waits for the old check"
        time.sleep(0.05)
        assert old.runs <= runs + 1, "one may have been due"
    finally:
        released.set()
        waiting.join()
        registry.close()
    assert "error" not in {
        observation.status for observation in seen if observation.kind == "check"
    }
    assert "of the old one" not in caplog.text
    assert run(registry).statuses["hung"] == "ok"


def clocks() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "dockerflow-clock"}


def test_the_clock_stops_when_its_check_is_replaced(registry: Registry) -> None:
    before = clocks()
    registry.register(ok, interval=60)
    run(registry)
    [clock] = clocks() - before
    registry.register(ok)
    wait_until(lambda: not clock.is_alive())


def test_a_check_replaced_while_its_heartbeat_starts_it_is_not_scheduled(
    registry: Registry,
) -> None:
    """The heartbeat planned with the old one, and still runs it once."""
    before = clocks()
    old = Probe()

    @registry.register
    def first() -> None:
        registry.register(ok, name="second")

    registry.register(old, name="second", interval=0.01, requires="first")
    run(registry)
    time.sleep(0.05)
    assert old.runs == 1
    assert clocks() <= before


@pytest.fixture
def _quick_switches() -> Iterator[None]:
    """Threads take turns within single statements, as they do without the interpreter's lock."""
    seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(seconds)


@pytest.mark.usefixtures("_quick_switches")
def test_many_threads_change_and_run_one_registry(registry: Registry) -> None:
    """Nothing raises, and no check gets lost."""
    stop = time.monotonic() + 2
    failures: list[BaseException] = []

    def work(number: int) -> None:
        own = f"own{number}"
        try:
            while time.monotonic() < stop:
                registry.register(ok, name=own, interval=60 if number % 2 else None)
                registry.register(ok, name="shared", tags=str(number))
                for _ in range(100):
                    assert "shared" in registry.get_checks()
                results = registry.run(CONFIG) if number < 4 else arun(registry)
                assert results.statuses[own] == "ok"
                assert own in dict(registry.get_checks())
                registry.unregister(own)
                assert own not in registry.get_checks()
                registry.register_partial(plain, own, name=own)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(registry.get_checks()) == [*(f"own{number}" for number in range(8)), "shared"]
    registry.close()


@pytest.mark.parametrize("name", [5, b"a", ("a",)])
def test_a_name_that_is_no_string(registry: Registry, name: Any) -> None:
    """The heartbeat could not show it."""
    with pytest.raises(TypeError, match="name must be a string, not"):
        registry.register(lambda: None, name=name)
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
    checks.unregister("n")
    assert list(checks.get_checks()) == ["aplain", "p"]
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


def test_config_of_the_environment(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.register(broken, name="check")
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


# Options


def ok() -> None: ...


def broken() -> CheckMessage:
    return checks.Error("e", id="x.E1")


WRONG: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("timeout", "ttl", "max_age", "interval", "failures", "recoveries")
        for value in (0, -1, "abc", float("nan"), float("inf"), True, [])
    ),
    ("failures", 1.5),
    ("critical", "perhaps"),
    ("critical", 1),
    *((name, value) for name in ("requires", "tags", "silenced") for value in (5, b"a", [5])),
    ("silenced", "dockerflow.checks.E001"),
    ("silenced", ["x.E1", "dockerflow.checks.E002"]),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_wrong_options(name: str, value: Any) -> None:
    registry = Registry()
    for register in (
        lambda: registry.register(ok, **{name: value}),  # type: ignore[call-overload]
        lambda: registry.register(**{name: value}),  # type: ignore[call-overload]
        lambda: registry.register_partial(ok, **{name: value}),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be .*, not "):
            register()
    assert registry.get_checks() == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ttl": 5, "max_age": 4}, "ttl must be at most max_age, which is 4, not 5"),
        ({"interval": 5, "max_age": 4}, "interval must be at most max_age, which is 4, not 5"),
        ({"interval": 5, "ttl": 4}, "can't be combined"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Registry().register(ok, **options)  # type: ignore[call-overload]


def test_an_option_that_is_none() -> None:
    with pytest.raises(TypeError, match="'timeuot'; the options are timeout, critical"):
        Registry().register(ok, timeuot=5)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"critical": False}, {}),
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
