"""PURE: judge the evidence by the rules, and keep the verdicts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from dockerflow.verify.evidence import Evidence
from dockerflow.verify.rules import RULES, Finding, Rule

Status = Literal["passed", "failed", "ignored", "not checked"]


@dataclass(frozen=True)
class Verdict:
    """What one rule came to."""

    rule: Rule
    status: Status
    findings: list[Finding]


@dataclass
class Report:
    """What was found, for all renderers."""

    targets: list[str]
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    could_not_run: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    fail_on: str = "error"

    def fails(self, verdict: Verdict) -> bool:
        """Say whether this verdict makes the whole fail."""
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
        """Return how many rules came to this."""
        return sum(
            verdict.status == status and level in (None, verdict.rule.level)
            for verdict in self.verdicts
        )


def judge(seen: Evidence, selected: Collection[str] | None = None) -> list[Verdict]:
    """Return what each selected rule comes to; by default all."""
    return [
        _verdict(rule, seen) for rule in RULES.values() if selected is None or rule.id in selected
    ]


def _verdict(rule: Rule, seen: Evidence) -> Verdict:
    results = list(rule.judge(seen))
    ignoring = {
        dockerfile.where for dockerfile in seen.dockerfiles if rule.id in dockerfile.ignored
    }
    found = [finding for finding in results if finding is not None]
    kept = [finding for finding in found if finding.where not in ignoring]
    if kept:
        return Verdict(rule, "failed", kept)
    if found:
        return Verdict(rule, "ignored", found)
    return Verdict(rule, "passed" if results else "not checked", [])
