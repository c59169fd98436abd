"""Verify targets: collect the evidence, judge it, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from dockerflow.verify.evidence import CouldNotRunError, Evidence, hide_passwords
from dockerflow.verify.probes import Collector, Targets
from dockerflow.verify.rules import Finding, Unknown
from dockerflow.verify.verdicts import Report, Verdict, judge

_Result = TypeVar("_Result", Finding, Unknown)


def verify(
    targets: Targets,
    *,
    selected: Collection[str] | None = None,
    ignored_at: Sequence[tuple[str, Collection[str]]] = (),
    fail_on: str = "error",
    required: Collection[str] = (),
    on_progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Examine all targets and judge them; errors of a target are in the report.

    :param selected: IDs of the rules to judge by; by default all.
    :param ignored_at: patterns of places, each with the IDs of the rules to ignore there.
    :param fail_on: the lowest level that fails, one of ``FAIL_ON``.
    :param required: IDs of the rules that must have been looked at.
    :param on_progress: is called with a text for people, such as "waiting for ...".
    :returns: the report, without the passwords of URLs.
    """
    began = time.monotonic()
    evidence, report = Evidence(), Report([], fail_on=fail_on, required=required)

    def show(text: str) -> None:
        on_progress(hide_passwords(text))

    for name, collect in Collector(targets, evidence, show).probes():
        report.targets.append(hide_passwords(name))
        show(name)
        try:
            collect()
        except CouldNotRunError as error:
            report.could_not_run.append(hide_passwords(str(error)))
        else:
            shown = hide_passwords(name)
            report.examined |= {shown, shown.rstrip("/")}
    verdicts = judge(evidence, selected, ignored_at)
    report.verdicts = [_without_passwords(verdict) for verdict in verdicts]
    if not report.could_not_run and all(v.status == "not checked" for v in report.verdicts):
        report.could_not_run.append("none of the rules had anything to check")
    report.seconds = time.monotonic() - began
    return report


def _without_passwords(verdict: Verdict) -> Verdict:
    findings, unknowns = map(_hide, verdict.findings), map(_hide, verdict.unknowns)
    return replace(verdict, findings=list(findings), unknowns=list(unknowns))


def _hide(result: _Result) -> _Result:
    texts: dict[str, Any] = {
        key: hide_passwords(value)
        for key, value in result._asdict().items()
        if isinstance(value, str)
    }
    return result._replace(**texts)
