"""PURE: which checks a heartbeat runs, in which order, and what is said of those that can't."""

from __future__ import annotations

from typing import Any

import pytest

from dockerflow.checks import Registry
from dockerflow.checks._plan import MAX_NAMES, Entry, Plan, make
from dockerflow.config import Config


def plan(checks: dict[str, Any], **config: Any) -> Plan:
    """The plan for checks with these options; a text or a tuple is what one requires."""
    registry = Registry()
    for name, options in checks.items():
        kept = options if isinstance(options, dict) else {"requires": options}
        registry.register(lambda: None, name=name, **kept)
    return make(registry._checks, Config(**config))


def by_name(made: Plan) -> dict[str, Entry]:
    return {entry.check.name: entry for entry in made.entries}


def requirements(entry: Entry) -> list[str]:
    return [required.check.name for required in entry.requirements]


def dependents(made: Plan, name: str) -> list[str]:
    return [made.entries[index].check.name for index in by_name(made)[name].dependents]


def roots(made: Plan) -> list[str]:
    return [made.entries[index].check.name for index in made.roots]


def test_requirements_come_first_whatever_the_order_of_registration() -> None:
    made = plan({"last": ("middle", "base"), "middle": "base", "base": (), "other": ()})
    entries = by_name(made)
    assert list(entries) == ["last", "middle", "base", "other"]  # as they are shown
    assert requirements(entries["last"]) == ["middle", "base"]
    assert requirements(entries["middle"]) == ["base"]
    assert entries["last"].requirements[0] is entries["middle"]
    assert dependents(made, "base") == ["last", "middle"]
    assert dependents(made, "middle") == ["last"]
    assert dependents(made, "last") == []
    assert roots(made) == ["base", "other"]
    assert [entry.problem for entry in made.entries] == [None] * 4


def test_the_order_of_what_needs_each_other_can_be_any() -> None:
    made = plan({"d": ("b", "c"), "c": "a", "b": "a", "a": ()})
    assert requirements(by_name(made)["d"]) == ["b", "c"]
    assert dependents(made, "a") == ["c", "b"]
    assert roots(made) == ["a"]


def test_none() -> None:
    assert plan({}) == Plan([], [], 10.0, ())


def test_the_time_limit_is_the_configs() -> None:
    assert plan({}, heartbeat_timeout=3).heartbeat_timeout == 3.0


def test_unknown_requirement() -> None:
    made = plan({"a": ("there", "gone", "lost"), "there": (), "b": "a"})
    entry = by_name(made)["a"]
    assert entry.problem == "it requires 'gone', and no check is registered by that name"
    assert entry.requirements == ()
    assert requirements(by_name(made)["b"]) == ["a"]  # which can't run, so that b is skipped
    assert by_name(made)["b"].problem is None
    assert roots(made) == ["a", "there"]


@pytest.mark.parametrize(
    ("checks", "problems"),
    [
        ({"a": "a"}, {"a": "a -> a"}),
        ({"a": "b", "b": "a"}, {"a": "a -> b -> a", "b": "a -> b -> a"}),
        # Those before a circle and behind it are told of it too; no one else is.
        (
            {"fine": (), "x": ("fine", "b"), "b": "c", "c": ("fine", "b"), "y": "x"},
            dict.fromkeys("xbcy", "b -> c -> b"),
        ),
        ({"a": "a", "b": "b"}, {"a": "a -> a", "b": "b -> b"}),
        # A circle that is found after the one that all before ran into.
        (
            {"a": "b", "b": "b", "c": "a", "d": "d"},
            {**dict.fromkeys("abc", "b -> b"), "d": "d -> d"},
        ),
        # What isn't registered is no part of a circle.
        ({"a": ("gone", "b"), "b": "a"}, dict.fromkeys("ab", "a -> b -> a")),
    ],
)
def test_circles(checks: dict[str, Any], problems: dict[str, str]) -> None:
    made = plan(checks)
    said = {entry.check.name: entry.problem for entry in made.entries if entry.problem}
    assert said == {
        name: f"its requirements run in a circle: {circle}" for name, circle in problems.items()
    }
    assert all(entry.requirements == () for entry in made.entries if entry.problem)


@pytest.mark.parametrize("size", [MAX_NAMES, MAX_NAMES + 1])
def test_how_much_of_a_circle_is_told(size: int) -> None:
    made = plan({str(number): str((number + 1) % size) for number in range(size)})
    names = [str(number) for number in range(MAX_NAMES)] + ["..."] * (size > MAX_NAMES) + ["0"]
    text = "its requirements run in a circle: " + " -> ".join(names)
    assert {entry.problem for entry in made.entries} == {text}


@pytest.mark.parametrize(
    ("options", "config", "problem"),
    [
        ({"ttl": 5}, {"check_interval": 6}, None),  # the check's own wins
        ({"ttl": 5}, {"check_max_age": 4}, "ttl is 5, but takes at most max_age"),
        ({"interval": 5}, {"check_max_age": 4}, "interval is 5, but takes at most max_age"),
        ({"max_age": 4}, {"check_interval": 4}, None),
    ],
)
def test_options_and_settings_that_exclude_each_other(
    options: Any, config: Any, problem: str | None
) -> None:
    entry = plan({"base": (), "a": {**options, "requires": "base"}}, **config).entries[1]
    assert (entry.problem or "").startswith(problem or "")
    assert bool(entry.problem) is bool(problem)
    assert requirements(entry) == ([] if problem else ["base"])
    assert {name: getattr(entry.settings, name) for name in options} == options


def test_tags_choose_and_requirements_come_along() -> None:
    checks = {
        "base": {"tags": "base"},
        "far": {"requires": "base"},
        "web": {"tags": ("web", "http"), "requires": ("far", "gone")},
        "both": {"tags": "http", "requires": "web"},
        "other": {"tags": "other", "requires": "web"},
    }
    made = plan(checks, heartbeat_tags="http,nobody,base,other?")
    assert [entry.check.name for entry in made.entries] == ["base", "far", "web", "both"]
    assert made.unknown_tags == ("nobody", "other?")
    assert [entry.check.name for entry in plan(checks, heartbeat_tags="base").entries] == ["base"]
    all_of_them = plan(checks)
    assert [entry.check.name for entry in all_of_them.entries] == list(checks)
    assert all_of_them.unknown_tags == ()
    assert plan(checks, heartbeat_tags="nobody").entries == []
