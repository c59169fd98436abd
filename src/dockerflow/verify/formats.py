"""Format a report: as text, JSON, JUnit, SARIF or annotations of GitHub Actions."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime
from textwrap import indent
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dockerflow import __version__
from dockerflow.verify.evidence import one_line
from dockerflow.verify.rules import Finding, Rule
from dockerflow.verify.verdicts import Report, Verdict

# What the text shows for a verdict: a mark, a word, a style.
_SHOWN: Final = {
    "passed": ("✓", "passed", "green"),
    "error": ("✗", "error", "bold red"),
    "warning": ("!", "warning", "yellow"),
    "unknown": ("?", "unknown", "yellow"),
    "ignored": ("-", "ignored", "dim"),
    "not checked": ("·", "not checked", "dim"),
}


def text(report: Report, *, width: int = 100, color: bool = False) -> str:
    """Return a table for people, and below it each finding with its fix."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False,
        legacy_windows=False, emoji=False, markup=False,
    )  # fmt: skip
    if report.targets:
        _print(console, ("Dockerflow: " + ", ".join(map(one_line, report.targets)), "bold"))
        _print(console)
    console.print(_table(report))
    for verdict in report.verdicts:
        if verdict.status == "failed":
            _print_findings(console, verdict)
    for verdict in report.verdicts:
        if reason := report.reason(verdict):
            _print(console, (f"\n{verdict.rule.id}: ", "bold red"), one_line(reason))
    for reason in report.could_not_run:
        _print(console)
        _print(console, ("could not run: ", "bold red"), one_line(reason))
    _print(console)
    if report.count("not checked"):
        hint = "Not checked: there was nothing to look at; --explain ID shows what a rule needs."
        _print(console, (hint, "dim"))
    _print(console, (_summary(report), "bold"))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def _print(console: Console, *parts: str | tuple[str, str]) -> None:
    # Not wrapped: a terminal does that, and lines can be searched and copied.
    console.print(Text.assemble(*parts), soft_wrap=True)


def _shown(verdict: Verdict) -> tuple[str, str, str]:
    return _SHOWN[verdict.rule.level if verdict.status == "failed" else verdict.status]


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("mark", "state", "id"):
        table.add_column(name, no_wrap=True)
    table.add_column("title", overflow="fold")
    for verdict in report.verdicts:
        mark, name, style = _shown(verdict)
        title = Text(verdict.rule.title, "dim" if verdict.status == "not checked" else "")
        table.add_row(Text(mark, style), Text(name, style), Text(verdict.rule.id), title)
    return table


def _print_findings(console: Console, verdict: Verdict) -> None:
    rule = verdict.rule
    _, name, style = _shown(verdict)
    _print(console)
    _print(console, (f"{rule.id} {name}: ", style), (rule.title, "bold"))
    _print(console, indent(_details(verdict), "  "))
    _print(console, (f"  more: dockerflow verify --explain {rule.id}", "dim"))


def _details(verdict: Verdict) -> str:
    lines: list[str] = []
    for finding in verdict.findings:
        lines.append(f"{_place(finding)}: {finding.message}")
        if finding.reproduce:
            lines.append(f"  reproduce with: {finding.reproduce}")
    lines += [f"specification: {verdict.rule.sentence}", f"fix: {verdict.rule.fix}"]
    return "\n".join(map(one_line, lines))


def _place(finding: Finding) -> str:
    if finding.line and finding.file == finding.where:
        return f"{one_line(finding.file)}:{finding.line}"
    return one_line(finding.where)


def _summary(report: Report) -> str:
    result = ("Passed", "Failed", "Could not run")[report.exit_code]
    errors, warnings = report.count("failed", "error"), report.count("failed", "warning")
    return (
        f"{result}: {errors} error{'s' * (errors != 1)}, "
        f"{warnings} warning{'s' * (warnings != 1)}, "
        f"{report.count('passed')} passed, {report.count('ignored')} ignored, "
        f"{report.count('not checked')} not checked, in {report.seconds:.1f} s"
    )


def as_json(report: Report) -> str:
    """Return everything in the report, for programs."""
    content = {
        "version": __version__,
        "targets": report.targets,
        "exit_code": report.exit_code,
        "seconds": round(report.seconds, 3),
        "could_not_run": report.could_not_run,
        "rules": [_json_verdict(verdict) for verdict in report.verdicts],
    }
    return json.dumps(content, indent=2) + "\n"


def _json_verdict(verdict: Verdict) -> dict[str, Any]:
    rule = verdict.rule._asdict()
    del rule["judge"]
    findings = [
        {**found._asdict(), "file": found.file or None, "reproduce": found.reproduce or None}
        for found in verdict.findings
    ]
    rule |= {"documentation": verdict.rule.page, "status": verdict.status, "findings": findings}
    return rule


def junit(report: Report) -> str:
    """Return JUnit's XML, valid by the schemas of Jenkins and Ant."""
    failures = [verdict for verdict in report.verdicts if report.fails(verdict)]
    suites = ET.Element("testsuites")
    suite = ET.SubElement(
        suites,
        "testsuite",
        name="dockerflow verify",
        package="dockerflow",
        id="0",
        tests=str(len(report.verdicts) + len(report.could_not_run)),
        failures=str(len(failures)),
        errors=str(len(report.could_not_run)),
        skipped=str(report.count("not checked") + report.count("ignored")),
        time=f"{report.seconds:.3f}",
        # Ant's schema requires a host, and a time without a zone.
        timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        hostname="localhost",
    )
    ET.SubElement(suite, "properties")
    for verdict in report.verdicts:
        case = _junit_case(suite, f"{verdict.rule.id} {verdict.rule.title}")
        if verdict in failures:
            message = one_line("; ".join(finding.message for finding in verdict.findings))
            failure = ET.SubElement(case, "failure", message=message, type=verdict.rule.level)
            failure.text = _details(verdict)
        elif verdict.status in ("not checked", "ignored"):
            ET.SubElement(case, "skipped")
    for reason in map(one_line, report.could_not_run):
        ET.SubElement(_junit_case(suite, reason), "error", message=reason, type="could not run")
    ET.SubElement(suite, "system-out").text = "\n".join(
        f"{verdict.rule.id} {verdict.rule.level}: {verdict.rule.title}\n{_details(verdict)}"
        for verdict in report.verdicts
        if verdict.status == "failed" and verdict not in failures
    )
    ET.SubElement(suite, "system-err")
    ET.indent(suites)
    return ET.tostring(suites, "unicode", xml_declaration=True) + "\n"


def _junit_case(suite: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", name=name, classname="dockerflow.verify", time="0")


def sarif(report: Report) -> str:
    """Return SARIF 2.1.0, for code scanning."""
    results = [
        {
            "ruleId": verdict.rule.id,
            "ruleIndex": index,
            "level": verdict.rule.level,
            "message": {"text": f"{_place(finding)}: {finding.message}"},
            "locations": [_location(finding)],
            **({"suppressions": [{"kind": "inSource"}]} if verdict.status == "ignored" else {}),
            "properties": {"reproduce": finding.reproduce},
        }
        for index, verdict in enumerate(report.verdicts)
        for finding in verdict.findings
    ]
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "dockerflow verify",
                "semanticVersion": __version__,
                "informationUri": "https://github.com/mozilla-services/Dockerflow",
                "rules": [_sarif_rule(verdict.rule) for verdict in report.verdicts],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not report.could_not_run,
                "exitCode": report.exit_code,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": reason}}
                    for reason in report.could_not_run
                ],
            }
        ],
        "results": results,
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word[:1].upper() + word[1:] for word in re.findall(r"[^\W_]+", rule.title)),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.sentence},
        "help": {"text": f"{rule.fix} See {rule.page}."},
        "helpUri": rule.source,
        "defaultConfiguration": {"level": rule.level},
    }


def _location(finding: Finding) -> dict[str, Any]:
    logical = {"logicalLocations": [{"name": one_line(finding.where), "kind": "resource"}]}
    if not finding.file:
        return logical
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.file)}}
    if finding.line:
        physical["region"] = {"startLine": finding.line}
    return {"physicalLocation": physical, **logical}


def github(report: Report) -> str:
    """Return workflow commands, which GitHub Actions shows as annotations."""
    lines = [
        _annotation(verdict.rule, finding)
        for verdict in report.verdicts
        if verdict.status == "failed"
        for finding in verdict.findings
    ]
    title = "title=dockerflow verify"
    lines += [f"::error {title}::{_escape_data(reason)}" for reason in report.could_not_run]
    lines.append(f"::notice {title}::{_escape_data(_summary(report))}")
    return "\n".join(lines) + "\n"


def _annotation(rule: Rule, finding: Finding) -> str:
    properties = {"file": finding.file, "line": finding.line, "title": f"{rule.id} {rule.title}"}
    shown = ",".join(f"{key}={_escape_property(str(v))}" for key, v in properties.items() if v)
    message = f"{_place(finding)}: {finding.message}\nfix: {rule.fix}"
    if finding.reproduce:
        message += f"\nreproduce with: {finding.reproduce}"
    return f"::{rule.level} {shown}::{_escape_data(message)}"


def _escape_data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(value: str) -> str:
    return _escape_data(value).replace(":", "%3A").replace(",", "%2C")


FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "text": text,
    "json": as_json,
    "junit": junit,
    "sarif": sarif,
    "github": github,
}


def explain(rule: Rule) -> str:
    """Return the page on a rule, as in the documentation."""
    kind = "Recommendation: a finding is a warning"
    if rule.level == "error":
        kind = "Requirement: a finding is an error"
    ignore = f"`dockerflow verify --ignore {rule.id}`"
    if "Dockerfile" in rule.looks_at:
        ignore += f", or `# dockerflow ignore={rule.id}` as a line of the Dockerfile"
    return f"""\
# {rule.id}: {rule.heading}

{kind}.

> {rule.sentence}

Quoted from <{rule.source}>.

## What it looks at

{rule.looks_at[0].upper()}{rule.looks_at[1:]}.

## How to fix it

{rule.fix}

## How to ignore it

{ignore}.
"""
