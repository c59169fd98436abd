"""Judge the evidence by the rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, Literal

from dockerflow.verify.evidence import Evidence
from dockerflow.verify.rules import RULES, Finding, Rule, Unknown

Status = Literal["passed", "failed", "unknown", "accepted", "ignored", "not checked"]

FAIL_ON: Final = ("error", "warning", "unknown", "not-checked", "never")
"""What makes a verification fail: each value includes those before it, except ``never``."""


@dataclass(frozen=True)
class Verdict:
    """The result of one rule."""

    rule: Rule
    status: Status
    findings: list[Finding]
    unknowns: list[Unknown] = field(default_factory=list[Unknown])
    accepted: list[Finding] = field(default_factory=list[Finding])
    """Those that the baseline accepts; they are not in ``findings``."""

    @property
    def found(self) -> list[Finding | Unknown]:
        """The findings, and what can't be told."""
        return [*self.findings, *self.unknowns]

    @property
    def level(self) -> str:
        """One of ``FAIL_ON``; empty if it passed or is ignored."""
        if self.status == "failed":
            return self.rule.level
        return self.status.replace(" ", "-") if self.status in ("unknown", "not checked") else ""


@dataclass
class Report:
    """The results of all rules for one target, or for several that have no name."""

    targets: list[str]
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    could_not_run: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    fail_on: str = "error"
    required: Collection[str] = ()
    """The IDs of the rules that must have been looked at."""
    name: str = ""
    """The target's name in the settings."""
    file: str = ""
    """The file that findings without one of their own are shown at, as SARIF requires one."""
    examined: set[str] = field(default_factory=set[str])
    """The places of ``targets`` that could be examined, as findings name them."""
    stale: list[str] = field(default_factory=list[str])
    """The entries of the baseline that no longer occur, in words."""

    def fails(self, verdict: Verdict) -> bool:
        """Whether this verdict makes the whole verification fail."""
        if self.fail_on == "never":
            return False
        is_open = bool(verdict.unknowns) or verdict.status == "not checked"
        levels = FAIL_ON[: FAIL_ON.index(self.fail_on) + 1]
        return verdict.level in levels or (is_open and verdict.rule.id in self.required)

    @property
    def exit_code(self) -> int:
        """0 passed, 1 findings, 2 something could not run."""
        if self.could_not_run:
            return 2
        return int(any(map(self.fails, self.verdicts)))

    def count(self, status: Status, level: str | None = None) -> int:
        """Return how many rules have this status, and this level if one is given."""
        return sum(
            verdict.status == status and level in (None, verdict.rule.level)
            for verdict in self.verdicts
        )


def exit_code(reports: Iterable[Report]) -> int:
    """Return the exit code of several reports: the worst of theirs."""
    return max((report.exit_code for report in reports), default=0)


def judge(
    evidence: Evidence,
    selected: Collection[str] | None = None,
    ignored_at: Sequence[tuple[str, Collection[str]]] = (),
) -> list[Verdict]:
    """Return the verdict of each selected rule; by default of all.

    :param ignored_at: patterns of places, such as ``services/legacy/*``, each with the IDs of the
        rules that are ignored there.
    """
    return [
        _verdict(rule, evidence, [pattern for pattern, ids in ignored_at if rule.id in ids])
        for rule in RULES.values()
        if selected is None or rule.id in selected
    ]


def _verdict(rule: Rule, evidence: Evidence, patterns: list[str]) -> Verdict:
    ignoring = {found.where for found in evidence.dockerfiles if rule.id in found.ignored}

    def is_ignored(one: Finding | Unknown) -> bool:
        return one.where in ignoring or any(
            fnmatchcase(place, pattern) for pattern in patterns for place in (one.file, one.where)
        )

    results = list(rule.judge(evidence))
    unknowns = [one for one in results if isinstance(one, Unknown) and not is_ignored(one)]
    findings = [one for one in results if isinstance(one, Finding)]
    kept = [finding for finding in findings if not is_ignored(finding)]
    if kept or unknowns:
        return Verdict(rule, "failed" if kept else "unknown", kept, unknowns)
    if any(result is not None for result in results):
        return Verdict(rule, "ignored", findings)
    return Verdict(rule, "passed" if results else "not checked", [])
