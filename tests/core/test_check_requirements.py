"""Checks that require others, tags, and the plan that follows."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from checking import (
    CONFIG,
    PATIENCE,
    Probe,
    Runner,
    arun,
    both,
    probes,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerflow import checks
from dockerflow.checks import CheckMessage, Registry
from dockerflow.config import Config, ConfigError

SKIPPED, MISCONFIGURED = "dockerflow.checks.I001", "dockerflow.checks.E005"


def ok() -> None: ...


def broken() -> CheckMessage:
    return checks.Error("e", id="x.E1")


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
        SKIPPED: "Check middle was skipped because base, which it requires, did not pass"
    }
    assert "middle" in results.details["last"]["messages"][SKIPPED]
    assert (base.runs, middle.runs, last.runs) == (1, 0, 0)
    assert any(SKIPPED in message for message in caplog.messages)
    base.returns = checks.Warning("w")
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
def test_the_heartbeats_time_holds_for_chains(runner: Runner) -> None:
    registry = Registry()
    released = threading.Event()
    registry.register(lambda: time.sleep(0.1), name="0")
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
    assert results.durations["1"] <= 1.9, "the rest of the two seconds"


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
            return "skipped"
        return "error" if is_broken else "ok"

    # Of a circle, and of what leads to it, each is in error or skipped; some are in error.
    shown = {
        "ok": {"ok"}, "error": {"error"}, "misconfigured": {"error"}, "skipped": {"info"},
        "circle": {"error", "info"},
    }  # fmt: skip
    expected = [model(number) for number in range(len(graph))]
    for runner in (run, arun):
        ran.clear()
        results = runner(registry)
        for number, status in enumerate(expected):
            assert results.statuses[str(number)] in shown[status]
            assert ran.count(number) == (status in {"ok", "error"})
        circles = [str(number) for number, status in enumerate(expected) if status == "circle"]
        assert not circles or "error" in {results.statuses[name] for name in circles}


def test_a_long_chain() -> None:
    registry = Registry()
    for number in range(1000):
        requires = (str(number + 1),) if number < 999 else ()
        registry.register(ok, name=str(number), requires=requires)
    assert set(run(registry).statuses.values()) == {"ok"}


# Requirements that can't be met


def problems(registry: Registry, config: Config = CONFIG) -> dict[str, str]:
    """What the heartbeat shows of the checks that can't run; validate() raises the same."""
    details = run(registry, config).details
    found = {
        name: detail["messages"][MISCONFIGURED].partition(" can't run: ")[2]
        for name, detail in details.items()
        if MISCONFIGURED in detail["messages"]
    }
    if found:
        with pytest.raises(ConfigError) as caught:
            registry.validate(config)
        raised = dict(part.split(" can't run: ") for part in str(caught.value).split("; "))
        assert raised == {f"Check {name}": text for name, text in found.items()}
    else:
        registry.validate(config)
    return found


@both
def test_unknown_requirement(runner: Runner) -> None:
    registry = Registry()
    registry.register(ok, name="below", requires="lost")
    registry.register(ok, name="lost", requires=("ok", "nobody", "gone"))
    registry.register(ok)
    assert runner(registry).statuses == {"below": "info", "lost": "error", "ok": "ok"}
    expected = {"lost": "it requires 'nobody', but no check has that name"}
    assert problems(registry) == expected
    registry.register(ok, name="nobody")
    registry.register(ok, name="gone")
    assert set(runner(registry).statuses.values()) == {"ok"}
    assert problems(registry) == {}


@pytest.mark.parametrize(
    ("graph", "circles", "skipped"),
    [
        ({"a": "a"}, {"a": "a -> a"}, ""),
        ({"a": "b", "b": "a"}, dict.fromkeys("ab", "a -> b -> a"), ""),
        # Those that lead to a circle are skipped; those that it leads to run.
        (
            {"fine": (), "x": ("fine", "b"), "b": "c", "c": ("fine", "b"), "y": "x"},
            dict.fromkeys("bc", "b -> c -> b"),
            "xy",
        ),
        ({"a": "a", "b": "b", "c": "a"}, {"a": "a -> a", "b": "b -> b"}, "c"),
        # An unknown requirement isn't part of a circle.
        ({"a": ("gone", "b"), "b": "a"}, dict.fromkeys("ab", "a -> b -> a"), ""),
    ],
)
def test_circles(graph: dict[str, Any], circles: dict[str, str], skipped: str) -> None:
    registry = Registry()
    probes = {name: Probe() for name in graph}
    for name, requires in graph.items():
        registry.register(probes[name], name=name, requires=requires)
    assert problems(registry) == {
        name: f"circular requirement: {circle}" for name, circle in circles.items()
    }
    statuses = run(registry).statuses
    assert {name for name, status in statuses.items() if status == "info"} == set(skipped)
    assert not any(probes[name].runs for name in (*circles, *skipped))


@pytest.mark.parametrize("size", [10, 11, 1000])
def test_a_long_circle_is_shown_in_part(size: int) -> None:
    registry = Registry()
    for number in range(size):
        registry.register(ok, name=str(number), requires=str((number + 1) % size))
    [text] = set(problems(registry).values())
    names = text.partition("requirement: ")[2].split(" -> ")
    assert len(names) == (11 if size == 10 else 12)
    assert names[0] == names[-1]
    assert ("..." in names) is (size > 10)


@pytest.mark.parametrize(
    ("options", "config", "problem"),
    [
        ({"ttl": 5}, {"check_interval": 6}, None),  # the check's own wins
        ({"max_age": 4}, {"check_ttl": 4}, None),
        ({"max_age": 4}, {"check_ttl": 5}, "ttl must be at most max_age, which is 4, not 5"),
        (
            {"max_age": 4},
            {"check_interval": 5},
            "interval must be at most max_age, which is 4, not 5",
        ),
    ],
)
def test_options_and_settings_that_exclude_each_other(
    options: Any, config: Any, problem: str | None
) -> None:
    registry = Registry()
    registry.register(ok, name="a", **options)
    found = problems(registry, Config(**config))
    assert found.keys() == ({"a"} if problem else set())
    assert (problem or "") in found.get("a", "")
    registry.close()


# Tags


def test_tags() -> None:
    registry = Registry()
    registry.register(ok, name="untagged")
    registry.register(ok, name="web", tags="web", requires="base")
    registry.register(ok, name="worker", tags=("worker", "x"), requires="missing")
    registry.register(ok, name="base", tags=("base",))
    everything = ["untagged", "web", "worker", "base"]
    for tags, names in [
        ((), everything),
        ("web", ["web", "base"]),
        ("x,nobody", ["worker"]),
        (("web", "worker"), ["web", "worker", "base"]),
    ]:
        assert list(run(registry, Config(heartbeat_tags=tags)).statuses) == names


def test_a_tag_that_no_check_has_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    registry.register(ok, tags="a")
    for _ in range(3):
        assert run(registry, Config(heartbeat_tags="a,b")).statuses == {"ok": "ok"}
    assert caplog.messages == ["No check has the tag 'b' from the setting heartbeat_tags"]


class TestGroups:
    CONFIG = Config(heartbeat_groups={"ready": ["b", "nobody", "tag:web", "tag:none"], "no": "x"})

    def test_what_no_check_has_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        registry = Registry()
        registry.register(ok, name="b")
        registry.register(ok, name="nobody2", tags=("nobody", "web"))
        for _ in range(3):
            results = registry.run(self.CONFIG, group="ready")
            assert results.statuses == {"b": "ok", "nobody2": "ok"}
        assert caplog.messages == [
            "No check has the name 'nobody' from the setting heartbeat_groups",
            "No check has the tag 'none' from the setting heartbeat_groups",
        ]

    def test_one_without_a_check_is_found_by_validate(self) -> None:
        registry = Registry()
        registry.register(ok, name="b")
        with pytest.raises(ConfigError, match="no check is in the group 'no' of .*: 'x'$"):
            registry.validate(self.CONFIG)
        registry.register(ok, name="x")
        registry.validate(self.CONFIG)

    def test_heartbeats_of_different_groups_share_a_run(self) -> None:
        registry = Registry()
        config = Config(heartbeat_groups={"one": "slow", "two": "tag:t"})
        started, released = threading.Event(), threading.Event()
        runs: list[None] = []

        @registry.register(tags="t")
        def slow() -> None:
            runs.append(None)
            started.set()
            released.wait(10)

        with ThreadPoolExecutor() as pool:
            futures = [pool.submit(registry.run, config, group="one")]
            assert started.wait(10)
            futures += [pool.submit(registry.run, config, group=name) for name in ("two", None)]
            time.sleep(0.1)  # so that they have joined it
            released.set()
            assert [future.result().statuses for future in futures] == [{"slow": "ok"}] * 3
        assert len(runs) == 1

    def test_an_unknown_group(self) -> None:
        with pytest.raises(KeyError, match="other"):
            Registry().run(self.CONFIG, group="other")


@pytest.mark.parametrize("names", [(), ("other",)])
def test_tags_that_select_no_check_fail_the_heartbeat(names: tuple[str, ...]) -> None:
    """A heartbeat that checks nothing because of a wrong setting isn't healthy."""
    registry = Registry()
    for name in names:
        registry.register(ok, name=name, tags="a")
    config = Config(heartbeat_tags="reddy,redy")
    for runner in (run, arun):
        results = runner(registry, config)
        assert (results.level, results.statuses) == (40, {"heartbeat_tags": "error"})
        [(id_, text)] = results.details["heartbeat_tags"].messages.items()
        assert id_ == "dockerflow.checks.E005"
        assert "'reddy', 'redy'" in text
    with pytest.raises(ConfigError, match="no check has any of the tags"):
        registry.validate(config)
    registry.register(ok, name="late", tags="redy")
    assert run(registry, config).statuses == {"late": "ok"}
