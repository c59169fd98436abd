"""PURE: which checks a heartbeat runs, and in which order, given their requirements."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from dockerflow.checks._check import Check
from dockerflow.checks._options import Settings, resolve
from dockerflow.config import Config, conflict

TAG = "tag:"
"""What a tag begins with where it stands among names of checks."""

MAX_NAMES = 10
"""How many names of a circular requirement are shown."""


class Entry(NamedTuple):
    """One check in a plan. ``problem`` is the reason why it can't run, if there is one."""

    check: Check
    settings: Settings
    problem: str | None


class Plan(NamedTuple):
    """The checks of one heartbeat by name, and the order in which their requirements allow them."""

    entries: dict[str, Entry]
    order: TopologicalSorter[str]

    def requirements(self, entry: Entry) -> list[Entry]:
        """Return the checks that one without a problem requires."""
        return [self.entries[name] for name in entry.check.requires]


def make(checks: Mapping[str, Check], config: Config, group: str | None = None) -> Plan:
    """Plan a heartbeat: the checks that ``config`` selects for it, and what they require.

    :param group: the name of the group in ``heartbeat_groups``, if it is the heartbeat of one.
    """
    wanted = selectors(config, group)
    selected = _select(checks, wanted) if wanted else dict(checks)
    order, circles = _sort(selected)
    entries: dict[str, Entry] = {}
    for name, check in selected.items():
        settings = resolve(check.options, config)
        problem = circles.get(name) or _problem(check, settings, selected)
        entries[name] = Entry(check, settings, problem)
    return Plan(entries, order)


def make_empty(placeholder: Check, config: Config, group: str | None) -> Plan:
    """Plan a heartbeat that fails, as no check is among those that ``config`` selects for it.

    :param placeholder: stands in for those checks.
    """
    wanted = ", ".join(map(repr, config.heartbeat_tags))
    text = f"no check has any of the tags in the setting heartbeat_tags: {wanted}"
    if group is not None:
        wanted = ", ".join(map(repr, config.heartbeat_groups[group]))
        text = f"no check is in the group {group!r} of the setting heartbeat_groups: {wanted}"
    entry = Entry(placeholder, resolve(placeholder.options, config), text)
    return Plan({placeholder.name: entry}, _sort({placeholder.name: placeholder})[0])


def selectors(config: Config, group: str | None) -> Collection[str]:
    """Return what selects the checks of a heartbeat: names, and tags as ``tag:TAG``."""
    if group is not None:
        return config.heartbeat_groups[group]
    return [TAG + tag for tag in config.heartbeat_tags]


def selectors_of(check: Check) -> set[str]:
    """Return what selects a check."""
    return {check.name, *(TAG + tag for tag in check.tags)}


def _select(checks: Mapping[str, Check], wanted: Collection[str]) -> dict[str, Check]:
    names = [name for name, check in checks.items() if not selectors_of(check).isdisjoint(wanted)]
    selected = set(names)
    for name in names:  # grows in the loop
        for required in checks[name].requires:
            if required in checks and required not in selected:
                selected.add(required)
                names.append(required)
    return {name: check for name, check in checks.items() if name in selected}


def _sort(checks: Mapping[str, Check]) -> tuple[TopologicalSorter[str], dict[str, str]]:
    """Return the order of the checks, and the problem of those with circular requirements."""
    requires = {name: checks.keys() & check.requires for name, check in checks.items()}
    circles: dict[str, str] = {}
    while True:
        order = TopologicalSorter(requires)
        try:
            order.prepare()
        except CycleError as error:
            names: list[str] = error.args[1][:0:-1]  # each requires the next one
        else:
            return order, circles
        at = names.index(next(name for name in requires if name in names))
        names = names[at:] + names[:at]
        shown = [*names[:MAX_NAMES], "..."] if len(names) > MAX_NAMES else names
        text = "circular requirement: " + " -> ".join([*shown, names[0]])
        for name in names:
            circles[name] = text
            requires[name] = set()


def _problem(check: Check, settings: Settings, selected: Mapping[str, Check]) -> str | None:
    for name in check.requires:
        if name not in selected:
            return f"it requires {name!r}, but no check has that name"
    return conflict(settings.ttl, settings.interval, settings.max_age)
