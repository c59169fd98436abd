"""PURE: which checks a heartbeat runs, and in which order they need each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from dockerflow.checks._check import Check
from dockerflow.checks._options import Settings, resolve
from dockerflow.config import Config, conflict

MAX_NAMES = 10
"""How many names of a circle are shown."""


class Entry(NamedTuple):
    """One check in a plan.

    ``problem`` is the reason why the check can't run, if there is one; then ``requirements`` is
    empty.
    """

    check: Check
    settings: Settings
    requirements: tuple[Entry, ...]
    problem: str | None


class Plan(NamedTuple):
    """The checks of one heartbeat.

    ``entries`` has each check after its requirements, ``names`` has them as they are shown.
    """

    entries: list[Entry]
    names: list[str]
    heartbeat_timeout: float
    unknown_tags: tuple[str, ...]


def make(checks: Mapping[str, Check], config: Config) -> Plan:
    """Plan a heartbeat: the checks with the tags that ``config`` names, and what they require."""
    selected = _select(checks, config.heartbeat_tags)
    requires = {
        name: tuple(required for required in check.requires if required in selected)
        for name, check in selected.items()
    }
    order, circles = _sort(requires)
    entries: dict[str, Entry] = {}
    for name in order:
        check = selected[name]
        settings = resolve(check.options, config)
        problem = circles.get(name) or _problem(check, settings, selected)
        requirements = () if problem else tuple(entries[required] for required in check.requires)
        entries[name] = Entry(check, settings, requirements, problem)
    tags = {tag for check in checks.values() for tag in check.tags}
    unknown_tags = tuple(tag for tag in config.heartbeat_tags if tag not in tags)
    return Plan(list(entries.values()), list(selected), config.heartbeat_timeout, unknown_tags)


def _select(checks: Mapping[str, Check], tags: Iterable[str]) -> dict[str, Check]:
    wanted = set(tags)
    if not wanted:
        return dict(checks)
    names = [name for name, check in checks.items() if not wanted.isdisjoint(check.tags)]
    selected = set(names)
    for name in names:  # grows in the loop
        for required in checks[name].requires:
            if required in checks and required not in selected:
                selected.add(required)
                names.append(required)
    return {name: check for name, check in checks.items() if name in selected}


def _sort(requires: dict[str, tuple[str, ...]]) -> tuple[list[str], dict[str, str]]:
    """Return all names, each after those that it requires, and the problem of those in a circle."""
    circles: dict[str, str] = {}
    while True:
        try:
            return list(TopologicalSorter(requires).static_order()), circles
        except CycleError as error:
            names: list[str] = error.args[1][:0:-1]  # each requires the next one
        at = names.index(next(name for name in requires if name in names))
        names = names[at:] + names[:at]
        shown = [*names[:MAX_NAMES], "..."] if len(names) > MAX_NAMES else names
        text = "its requirements run in a circle: " + " -> ".join([*shown, names[0]])
        for name in names:
            circles[name] = text
            requires[name] = ()


def _problem(check: Check, settings: Settings, selected: Mapping[str, Check]) -> str | None:
    for name in check.requires:
        if name not in selected:
            return f"it requires {name!r}, and no check is registered by that name"
    return conflict(settings.ttl, settings.interval, settings.max_age)
