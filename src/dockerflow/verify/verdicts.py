"""Judge the evidence by the rules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from dockerflow.verify.evidence import Evidence
from dockerflow.verify.rules import RULES, Finding, Rule, Unknown

Status = Literal["passed", "failed", "unknown", "ignored", "not checked"]


@dataclass(frozen=True)
class Verdict:
    """The result of one rule."""

    rule: Rule
    status: Status
    findings: list[Finding]
    unknowns: list[Unknown] = field(default_factory=list[Unknown])


@dataclass
class Report:
    """The results of all rules, for every format."""

    targets: list[str]
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    could_not_run: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    fail_on: str = "error"

    def fails(self, verdict: Verdict) -> bool:
        """Whether this verdict makes the whole verification fail."""
        if verdict.status != "failed" or self.fail_on == "never":
            return False
        return self.fail_on == "warning" or verdict.rule.level == "error"

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


def judge(evidence: Evidence, selected: Collection[str] | None = None) -> list[Verdict]:
    """Return the verdict of each selected rule; by default of all."""
    return [
        _verdict(rule, evidence)
        for rule in RULES.values()
        if selected is None or rule.id in selected
    ]


def _verdict(rule: Rule, evidence: Evidence) -> Verdict:
    results = list(rule.judge(evidence))
    ignoring = {found.where for found in evidence.dockerfiles if rule.id in found.ignored}
    unknowns = [one for one in results if isinstance(one, Unknown) and one.where not in ignoring]
    findings = [one for one in results if isinstance(one, Finding)]
    kept = [finding for finding in findings if finding.where not in ignoring]
    if kept or unknowns:
        return Verdict(rule, "failed" if kept else "unknown", kept, unknowns)
    if findings:
        return Verdict(rule, "ignored", findings)
    return Verdict(rule, "passed" if results else "not checked", [])
