"""PURE: which checks a heartbeat runs, and in which order they need each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dockerflow.checks._check import Check
from dockerflow.checks._options import Settings, settle
from dockerflow.config import Config, conflict

MAX_NAMES = 10
"""How many names of a circle are told."""


class Entry(NamedTuple):
    """One check in a plan.

    ``dependents`` are indexes of other entries. ``problem`` says why the check can't run, where
    it can't; such a one has no requirements.
    """

    check: Check
    settings: Settings
    requirements: tuple[Entry, ...]
    dependents: list[int]
    problem: str | None


class Plan(NamedTuple):
    """The checks of one heartbeat, in the order in which they are shown.

    ``roots`` are the indexes of those that can start at once.
    """

    entries: list[Entry]
    roots: list[int]
    heartbeat_timeout: float
    unknown_tags: tuple[str, ...]


def make(checks: Mapping[str, Check], config: Config) -> Plan:
    """Plan a heartbeat: the checks with the tags that ``config`` names, and what they require."""
    selected = _select(checks, config.heartbeat_tags)
    indexes = {check.name: index for index, check in enumerate(selected)}
    dependents: list[list[int]] = [[] for _ in selected]
    missing = [0] * len(selected)
    for index, check in enumerate(selected):
        for name in check.requires:
            if name in indexes:
                dependents[indexes[name]].append(index)
                missing[index] += 1
    # Those that can run at all, each after its requirements (Kahn's algorithm).
    order = [index for index, count in enumerate(missing) if count == 0]
    for index in order:
        for dependent in dependents[index]:
            missing[dependent] -= 1
            if missing[dependent] == 0:
                order.append(dependent)
    circles = _circles(selected, indexes, missing)

    by_name: dict[str, Entry] = {}
    for index in (*order, *circles):
        check = selected[index]
        settings = settle(check.options, config)
        problem = circles.get(index) or _problem(check, settings, indexes)
        requirements = () if problem else tuple(by_name[name] for name in check.requires)
        by_name[check.name] = Entry(check, settings, requirements, dependents[index], problem)
    tags = {tag for check in checks.values() for tag in check.tags}
    entries = [by_name[check.name] for check in selected]
    return Plan(
        entries,
        [index for index, entry in enumerate(entries) if not entry.requirements],
        config.heartbeat_timeout,
        tuple(tag for tag in config.heartbeat_tags if tag not in tags),
    )


def _select(checks: Mapping[str, Check], tags: Iterable[str]) -> list[Check]:
    wanted = set(tags)
    if not wanted:
        return list(checks.values())
    names = [name for name, check in checks.items() if not wanted.isdisjoint(check.tags)]
    selected = set(names)
    for name in names:  # grows meanwhile
        for required in checks[name].requires:
            if required in checks and required not in selected:
                selected.add(required)
                names.append(required)
    return [check for name, check in checks.items() if name in selected]


def _circles(
    selected: list[Check], indexes: Mapping[str, int], missing: list[int]
) -> dict[int, str]:
    """Return, for each check that requires itself by way of others, what to say of it."""
    found: dict[int, str] = {}
    for start, count in enumerate(missing):
        if count == 0 or start in found:
            continue
        path: dict[int, None] = {}
        index = start
        while index not in path and index not in found:
            path[index] = None
            # Of what can't run at least one requirement can't run either.
            index = next(
                indexes[name]
                for name in selected[index].requires
                if name in indexes and missing[indexes[name]] > 0
            )
        if index in found:
            circle = found[index]
        else:
            steps = list(path)
            names = [selected[step].name for step in steps[steps.index(index) :]]
            shown = [*names[:MAX_NAMES], "..."] if len(names) > MAX_NAMES else names
            circle = "its requirements run in a circle: " + " -> ".join([*shown, names[0]])
        found.update(dict.fromkeys(path, circle))
    return found


def _problem(check: Check, settings: Settings, indexes: Mapping[str, int]) -> str | None:
    unknown = [name for name in check.requires if name not in indexes]
    if unknown:
        return f"it requires {unknown[0]!r}, and no check is registered by that name"
    return conflict(settings.ttl, settings.interval, settings.max_age)
