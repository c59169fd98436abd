"""What the verifier's tests share."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dockerflow.verify.rules import Finding
from dockerflow.verify.verdicts import Report

SUBJECTS = Path(__file__).parent / "subjects"
APP = (sys.executable, str(SUBJECTS / "app.py"))
VERSION = SUBJECTS / "version.json"
DOCKERFILE = SUBJECTS / "Dockerfile"
LINE = {
    "Timestamp": 1,
    "Type": "request.summary",
    "Logger": "a",
    "Hostname": "h",
    "EnvVersion": "2.0",
    "Severity": 6,
    "Pid": 1,
    "Fields": {"agent": "", "errno": 0, "lang": "", "method": "GET", "path": "/", "t": 1},
}
LINE_TEXT = json.dumps(LINE)


def with_status(report: Report, status: str) -> set[str]:
    """The ids of the rules that have this status."""
    return {verdict.rule.id for verdict in report.verdicts if verdict.status == status}


def failed(report: Report) -> set[str]:
    return with_status(report, "failed")


def findings(report: Report, rule: str) -> list[Finding]:
    (verdict,) = [verdict for verdict in report.verdicts if verdict.rule.id == rule]
    return verdict.findings
