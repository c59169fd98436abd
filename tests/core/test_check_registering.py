"""Registering checks, and their options."""

from __future__ import annotations

import asyncio
import functools
import types
from collections.abc import Iterator
from typing import Any

import pytest
from checking import (
    Runner,
    both,
    run,
)

from dockerflow import checks
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
