"""A baseline: the findings that are accepted, so that only new ones fail."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from dockerflow.verify.rules import Finding, Unknown
from dockerflow.verify.verdicts import Report, Status

# Ports, durations, process IDs, line numbers; but not a status, as in "HTTP 404".
_VOLATILE: Final = re.compile(r"(?<!HTTP )(?<!\d)\d+(\.\d+)?")


class Entry(NamedTuple):
    """What identifies a finding from one run to the next."""

    target: str
    """The target's name; empty if it has none."""
    place: str
    rule: str
    message: str
    """The message with ``#`` for each number that may vary."""


def entry(target: str, rule: str, finding: Finding | Unknown) -> Entry:
    """Return the entry of a finding."""
    message = _VOLATILE.sub("#", finding.message)
    place = finding.file or finding.where.partition(", line ")[0]  # of stdin
    return Entry(target, place, rule, message)


def read(path: Path) -> set[Entry]:
    """Return the entries of a baseline file.

    :raises ValueError: if it is not a baseline; the message is one line.
    :raises OSError: if it can't be read.
    """
    try:
        content: Any = json.loads(path.read_text("utf-8"))
        return {Entry(*(str(item[key]) for key in Entry._fields)) for item in content["accepted"]}
    except (KeyError, TypeError, RecursionError):
        message = "it is not a baseline"
        raise ValueError(message) from None


def dump(entries: Iterable[Entry]) -> str:
    """Return the text of a baseline file: sorted, so that changes of it are easy to read."""
    content = {"accepted": [one._asdict() for one in sorted(entries)]}
    return json.dumps(content, indent=2) + "\n"


def update(reports: Iterable[Report], accepted: set[Entry]) -> set[Entry]:
    """Return the entries that accept every finding of the reports.

    Entries of what was not examined are kept.
    """
    result = set(accepted)
    for report in reports:
        result -= _no_longer_found(report, accepted)
        result |= _found(report) - _known(report, accepted)
    return result


def apply(report: Report, accepted: set[Entry]) -> None:
    """Move the accepted findings of a report out of what fails, and note stale entries."""
    stale = sorted(_no_longer_found(report, accepted))
    report.stale = [f"{one.rule} at {one.place}: {one.message}" for one in stale]
    known = _known(report, accepted)
    for number, verdict in enumerate(report.verdicts):
        if verdict.status != "failed":
            continue
        id_ = verdict.rule.id
        old = [found for found in verdict.findings if entry(report.name, id_, found) in known]
        new = [found for found in verdict.findings if found not in old]
        status: Status = "failed" if new else "unknown" if verdict.unknowns else "accepted"
        report.verdicts[number] = replace(verdict, status=status, findings=new, accepted=old)


def _known(report: Report, accepted: set[Entry]) -> set[Entry]:
    """Return the entries with the target's name as it is in this report.

    What is given by its path or URL has none, but may be accepted as part of a named target.
    """
    return accepted if report.name else {one._replace(target="") for one in accepted}


def _found(report: Report) -> set[Entry]:
    return {
        entry(report.name, verdict.rule.id, finding)
        for verdict in report.verdicts
        if verdict.status == "failed"
        for finding in verdict.findings
    }


def _no_longer_found(report: Report, accepted: set[Entry]) -> set[Entry]:
    judged = {verdict.rule.id for verdict in report.verdicts if verdict.status != "not checked"}
    found = _found(report)
    return {
        one
        for one in accepted
        if one.target == report.name or not report.name
        if one.rule in judged and _is_examined(report, one.place)
        if not _known(report, {one}) & found
    }


def _is_examined(report: Report, place: str) -> bool:
    # Such as "stdout of COMMAND" and "/__version__ of URL", which are parts of a target.
    return any(place == one or place.endswith(f" {one}") for one in report.examined)
