"""What checks return and raise, and what the results and the log become of it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import logging
import types
from collections.abc import Iterator
from typing import Any

import pytest
from checking import (
    CONFIG,
    Runner,
    both,
    run,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockerflow import checks
from dockerflow.checks import CheckMessage, CheckResults, Registry
from dockerflow.config import Config


@pytest.fixture
def registry() -> Registry:
    return Registry()


def returns(registry: Registry, value: Any) -> None:
    registry.register(lambda: value, name="check")


@both
def test_no_checks(runner: Runner, registry: Registry) -> None:
    assert runner(registry) == CheckResults({}, {}, 0, {})


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


@both
def test_an_endless_generator_is_cut_short(runner: Runner, registry: Registry) -> None:
    returns(registry, (message() for _ in itertools.count()))
    results = runner(registry)
    assert list(results.details["check"]["messages"]) == ["dockerflow.checks.E003"]


def test_details_have_attributes(registry: Registry) -> None:
    returns(registry, checks.Error("e", id="x.E1"))
    detail = run(registry).details["check"]
    assert (detail.status, detail.level, detail.messages) == ("error", 40, {"x.E1": "e"})
    assert json.loads(json.dumps(detail)) == detail


# Exceptions


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
    assert (record.name, record.levelname) == ("dockerflow.checks.registry", "ERROR")
    assert record.getMessage() == f"dockerflow.checks.E001: {text}"
    assert "ValueError: password=s3cret" in caplog.text
    assert "in broken" in caplog.text, "the traceback"


def test_a_keyboard_interrupt_in_the_main_thread_goes_on(registry: Registry) -> None:
    """Somebody pressed Ctrl-C: that is meant for the process."""

    @registry.register
    async def check() -> None:
        raise KeyboardInterrupt

    tasks = []

    def make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        tasks.append(asyncio.Task(coro, loop=loop, **options))
        return tasks[-1]

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(make_task)
        await registry.arun(CONFIG)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    errors = [task.exception() for task in tasks if not task.cancelled()]
    assert set(errors) == {None}, "asyncio would log it, too"
    results = run(registry)  # on the library's own loop, in another thread
    assert list(results.details["check"].messages) == ["dockerflow.checks.E001"]


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


class Unreadable:
    __signature__ = 5

    def __call__(self, argument: Any) -> None: ...


@both
def test_wrong_signature(runner: Runner, registry: Registry) -> None:
    registry.register(Unreadable(), name="check")  # type: ignore[arg-type]
    assert list(runner(registry).details["check"]["messages"]) == ["dockerflow.checks.E001"]


class OwnError(BaseException):
    pass


@both
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "error", [OwnError, GeneratorExit, asyncio.CancelledError, SystemExit, StopIteration]
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
        results = runner(registry, CONFIG)
        assert results.statuses == {"broken": "error", "sync sibling": "ok", "sibling": "ok"}
        id_, text = next(iter(results.details["broken"].messages.items()))
        assert id_ == "dockerflow.checks.E001"
        # A coroutine can't raise StopIteration: Python makes it a RuntimeError.
        name = "RuntimeError" if is_async and error is StopIteration else error.__name__
        assert text == f"Check broken raised {name}"


# Logging


@both
def test_log(runner: Runner, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dockerflow.checks.registry")
    levels = [checks.Debug, checks.Info, checks.Warning, checks.Error, checks.Critical]
    returns(registry, [cls("100 %s", id="an.id") for cls in levels])
    runner(registry)
    assert caplog.record_tuples == [
        ("dockerflow.checks.registry", n, "an.id: 100 %s") for n in (10, 20, 30, 40, 50)
    ]


@both
def test_log_without_id(
    runner: Runner, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    returns(registry, checks.Error("text"))
    runner(registry)
    assert caplog.messages == ["check: text"]


@both
def test_broken_logging_breaks_no_heartbeat(runner: Runner, registry: Registry) -> None:
    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError

    returns(registry, [checks.Error("e", id="e"), checks.Info("i", id="i")])
    logger = logging.getLogger("dockerflow.checks.registry")
    logger.addFilter(fail)
    try:
        assert runner(registry).details["check"]["messages"] == {"e": "e", "i": "i"}
    finally:
        logger.removeFilter(fail)
