"""Verify targets: collect the evidence, judge it, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from dockerflow.verify.evidence import CouldNotRunError, Evidence
from dockerflow.verify.probes import Collector, Targets
from dockerflow.verify.verdicts import Report, judge


def verify(
    targets: Targets,
    *,
    selected: Collection[str] | None = None,
    ignored_at: Sequence[tuple[str, Collection[str]]] = (),
    fail_on: str = "error",
    on_progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Examine all targets and judge them; errors of a target are in the report.

    :param selected: ids of the rules to judge by; by default all.
    :param ignored_at: patterns of places, each with the ids of the rules to ignore there.
    :param fail_on: the lowest level that fails: error, warning or never.
    :param on_progress: is called with a text for people, such as "waiting for ...".
    """
    began = time.monotonic()
    evidence, report = Evidence(), Report([], fail_on=fail_on)
    for name, collect in Collector(targets, evidence, on_progress).probes():
        report.targets.append(name)
        on_progress(name)
        try:
            collect()
        except CouldNotRunError as error:
            report.could_not_run.append(str(error))
        else:
            report.examined |= {name, name.rstrip("/")}
    report.verdicts = judge(evidence, selected, ignored_at)
    if not report.could_not_run and all(v.status == "not checked" for v in report.verdicts):
        report.could_not_run.append("there was nothing that any of the rules could be applied to")
    report.seconds = time.monotonic() - began
    return report
